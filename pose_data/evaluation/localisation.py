"""What went wrong with each keypoint of each person that was found: jitter, inversion, swap or miss.

Source of the kinds: Ronchi and Perona, "Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation", ICCV 2017,
section 3. A detected keypoint is compared, by the keypoint similarity of OKS, with its own label, with the label of its
left/right counterpart, and with both of every other person in the picture; the nearest one (highest similarity, the
own label among equals) decides:

    good       nearest is the own label, similarity at least 0.85
    jitter     nearest is the own label, similarity from 0.5 to 0.85
    inversion  nearest is the counterpart's label of the same person, similarity at least 0.5
    swap       nearest is a label of another person, similarity at least 0.5
    miss       no label has a similarity of 0.5

Persons are matched with detections at an OKS of 0.1, by COCO's rules, so that badly placed ones are looked at too.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
import numpy.typing as npt

from pose_data.evaluation.average_precision import Result
from pose_data.evaluation.matching import Matching, match
from pose_data.evaluation.oks import keypoint_similarities, variances
from pose_data.evaluation.people import Detections, GroundTruth

__all__ = ["GOOD", "LOOSE", "LOWEST_OKS", "Kind", "Localisation", "localise", "repaired"]

_Float = npt.NDArray[np.float64]
_Index = npt.NDArray[np.intp]

LOWEST_OKS = 0.1
"""At which persons are matched for the diagnosis."""
GOOD, LOOSE = 0.85, 0.5
"""Keypoint similarities that end what is good, and what is near."""


class Kind(IntEnum):
    """What is wrong with a keypoint."""

    UNLABELLED = -1
    GOOD = 0
    JITTER = 1
    INVERSION = 2
    SWAP = 3
    MISS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Localisation:
    """The M counted persons that were found at an OKS of 0.1, keypoint by keypoint, in the order of the detections."""

    detection: _Index
    """(M,) row of the Detections."""
    person: _Index
    """(M,) row of the GroundTruth."""
    oks: _Float
    """(M,)"""
    similarity: _Float
    """(M, K) with the own label; NaN where there is none."""
    nearest: _Float
    """(M, K) with the nearest label of all; NaN where the own one is missing."""
    distance_px: _Float
    """(M, K) from the own label, in pixels of the picture; NaN where there is none."""
    kind: npt.NDArray[np.int8]
    """(M, K) of :class:`Kind`."""
    background: _Index
    """(B,) rows of Detections that found nobody, and that have an OKS of 0.1 with no one."""
    duplicate: _Index
    """(R,) rows of Detections near a person whom a better-scored one had found."""
    missed: _Index
    """(F,) rows of counted persons of the GroundTruth whom nobody found."""
    matching: Matching
    """At the one threshold 0.1."""

    def counts(self) -> npt.NDArray[np.int64]:
        """Return (K, 5) how many keypoints are good, jitter, inversion, swap, miss."""
        return np.stack([(self.kind == kind).sum(axis=0) for kind in range(5)], axis=1).astype(np.int64)


def localise(result: Result) -> Localisation:
    """Match at an OKS of 0.1 and say what is wrong with each keypoint."""
    truth, detections = result.truth, result.detections
    matching = match(truth, detections, result.options, thresholds=np.array([LOWEST_OKS]))
    found = matching.found[0, 0]
    ignored = matching.person_ignored[0]
    counted = np.flatnonzero((found >= 0) & ~ignored[found]) if len(ignored) else np.zeros(0, np.intp)
    rows, persons = matching.detection[counted], found[counted].astype(np.intp)
    detected, labelled = detections.keypoints[rows], truth.keypoints[persons]
    similarity = keypoint_similarities(detected, labelled, truth.area[persons], truth.skeleton.sigmas)
    alone = (found < 0) & ~matching.detection_ignored[0, 0]
    near = np.zeros(len(found), bool)
    near[matching.pair_detection] = True
    kind, nearest = _kinds(truth, detected, persons, similarity)
    there = labelled[..., 2] > 0
    distance = np.where(there, np.hypot(*np.moveaxis(detected[..., :2] - labelled[..., :2], -1, 0)), np.nan)
    return Localisation(
        detection=rows, person=persons, oks=matching.oks_of_found()[counted], similarity=similarity, nearest=nearest,
        distance_px=distance, kind=kind, matching=matching,
        background=matching.detection[alone & ~near], duplicate=matching.detection[alone & near],
        missed=np.setdiff1d(np.flatnonzero(~ignored), persons),
    )  # fmt: skip


def _kinds(truth: GroundTruth, detected: _Float, persons: _Index, own: _Float) -> tuple[npt.NDArray[np.int8], _Float]:
    """Return the kind and the highest similarity (M, K) of detected keypoints (M, K, 3) of ``persons`` (M,)."""
    order = list(truth.skeleton.flip_order())
    mirrored = truth.keypoints[:, order]
    here = np.where(np.isnan(own), -1.0, own)
    inverted = _similarities(truth, mirrored, detected, persons)
    pair, other = _other_persons(truth, persons)
    direct_elsewhere = np.full(own.shape, -1.0)
    inverted_elsewhere = np.full(own.shape, -1.0)
    np.maximum.at(direct_elsewhere, pair, _similarities(truth, truth.keypoints, detected[pair], other))
    np.maximum.at(inverted_elsewhere, pair, _similarities(truth, mirrored, detected[pair], other))
    elsewhere = np.maximum(direct_elsewhere, inverted_elsewhere)
    best = np.maximum(here, np.maximum(inverted, elsewhere))
    is_own = here == best
    is_inversion = ~is_own & (inverted == best) & (direct_elsewhere < best)
    kind = np.select(
        [best < LOOSE, is_own & (best >= GOOD), is_own, is_inversion],
        [Kind.MISS, Kind.GOOD, Kind.JITTER, Kind.INVERSION], Kind.SWAP,
    )  # fmt: skip
    labelled = ~np.isnan(own)
    return np.where(labelled, kind, Kind.UNLABELLED).astype(np.int8), np.where(labelled, best, np.nan)


def _similarities(truth: GroundTruth, labels: _Float, detected: _Float, persons: _Index) -> _Float:
    """Return (M, K) the similarity with the labels (G, K, 3) of ``persons``, -1 where there is none."""
    values = keypoint_similarities(detected, labels[persons], truth.area[persons], truth.skeleton.sigmas)
    return np.where(np.isnan(values), -1.0, values)


def _other_persons(truth: GroundTruth, persons: _Index) -> tuple[_Index, _Index]:
    """Return all pairs (place in ``persons``, another labelled person of the same picture)."""
    labelled = np.flatnonzero((truth.keypoints[..., 2] > 0).any(axis=1))
    labelled = labelled[np.argsort(truth.image_id[labelled], kind="stable")]
    images = truth.image_id[labelled]
    first = np.searchsorted(images, truth.image_id[persons], side="left")
    count = np.searchsorted(images, truth.image_id[persons], side="right") - first
    pair = np.repeat(np.arange(len(persons)), count)
    within = np.arange(len(pair)) - np.repeat(np.cumsum(count) - count, count)
    other = labelled[np.repeat(first, count) + within]
    kept = other != persons[pair]
    return pair[kept], other[kept]


def repaired(result: Result, found: Localisation, kinds: Collection[Kind]) -> Detections:
    """Return the detections with keypoints of some kinds put where they would have been without that fault.

    A keypoint is moved along the line to its own label until its similarity is what the fault stood for: jitter to
    0.85, a miss to 0.5, inversions and swaps to the similarity that they have with the wrong label. The distance is
    that of the same (2σ)² as the similarity's, so that a repaired keypoint has just that similarity.
    """
    truth, detections = result.truth, result.detections
    wanted = np.select(
        [found.kind == Kind.JITTER, found.kind == Kind.MISS], [GOOD, LOOSE], np.nan_to_num(found.nearest, nan=1.0)
    )
    area = truth.area[found.person][:, None] + np.spacing(1)
    wanted_px = np.sqrt(-2.0 * np.log(np.minimum(wanted, 1.0)) * area * variances(truth.skeleton.sigmas))
    # A billionth nearer, so that rounding does not put it beyond its similarity.
    wanted_px *= 1.0 - 1e-9
    labelled = truth.keypoints[found.person][..., :2]
    keypoints = detections.keypoints.copy()
    away = keypoints[found.detection][..., :2] - labelled
    share = wanted_px / np.maximum(np.nan_to_num(found.distance_px), np.spacing(1))
    moved = labelled + away * share[..., None]
    chosen = np.isin(found.kind, [int(kind) for kind in kinds])
    place = np.nonzero(chosen)
    keypoints[found.detection[place[0]], place[1], :2] = moved[chosen]
    return replace(detections, keypoints=keypoints)
