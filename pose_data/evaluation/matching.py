"""Who found whom: detections matched with annotated persons, at every threshold and area range at once.

The rules are COCO's (cocoeval.py, evaluateImg): the 20 best-scored detections of a picture choose in the order of their
scores; each takes the free person with the highest OKS of at least the threshold, among equals the last one in the
file; a counted person comes before an ignored one whatever their OKS; a crowd may be taken any number of times, any
other person once. A detection that found nobody and whose own area is outside the range is ignored there.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from pose_data.errors import UsageError
from pose_data.evaluation.oks import oks_of_rows
from pose_data.evaluation.people import Detections, GroundTruth

__all__ = ["AREA_RANGES", "EvaluationOptions", "Matching", "match"]

_Float = npt.NDArray[np.float64]
_Index = npt.NDArray[np.intp]
_Mask = npt.NDArray[np.bool_]

AREA_RANGES: tuple[tuple[str, float, float], ...] = (
    ("all", 0.0, 1e5**2),
    ("medium", 32.0**2, 96.0**2),
    ("large", 96.0**2, 1e5**2),
)
"""Name and bounds in square pixels, both inclusive."""

_ROWS_AT_ONCE = 1 << 11
"""Keypoints of so many persons stay in the processor's cache."""

AreaOfDetections = Literal["coco", "box", "extent"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """The rules of an evaluation that may be chosen; the defaults are COCO's."""

    max_detections: int = 20
    """So many of a picture's detections count, the best-scored ones."""
    detection_area: AreaOfDetections = "coco"
    """``coco``: as given, else of the box where results have boxes, else ``extent``; ``box``; ``extent``: of the
    smallest box around all detected keypoints. It decides which unmatched detections a range ignores."""

    def __post_init__(self) -> None:
        if self.max_detections < 1:
            raise UsageError("option-value", f"max_detections is {self.max_detections}", hint="at least 1")
        if self.detection_area not in ("coco", "box", "extent"):
            raise UsageError("option-value", f"detection_area is {self.detection_area!r}")

    def iou_thresholds(self) -> _Float:
        """Return the OKS thresholds (T,): 0.5, 0.55 … 0.95, made as COCO makes them."""
        return np.linspace(0.5, 0.95, 10, endpoint=True)

    def recall_thresholds(self) -> _Float:
        """Return the recalls (R,) at which precision is read: 0, 0.01 … 1."""
        return np.linspace(0.0, 1.0, 101, endpoint=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matching:
    """What was matched. E detections took part, sorted by picture, then by falling score.

    Axes: A area ranges (all, medium, large), T thresholds.
    """

    detection: _Index
    """(E,) row of the Detections."""
    image: _Index
    """(E,) place of the picture among the sorted picture ids."""
    score: _Float
    """(E,)"""
    found: npt.NDArray[np.int32]
    """(A, T, E) row of the GroundTruth that was found, or -1."""
    detection_ignored: _Mask
    """(A, T, E)"""
    person_image: _Index
    """(G,) place of the person's picture among the sorted picture ids."""
    person_ignored: _Mask
    """(A, G)"""
    pair_detection: _Index
    """(P,) place among E of each pair of one picture that reaches the lowest threshold, sorted."""
    pair_person: _Index
    """(P,) row of the GroundTruth."""
    pair_oks: _Float
    """(P,)"""
    images: npt.NDArray[np.int64]
    """(I,) picture ids, ascending."""

    def oks_of_found(self, area: int = 0, threshold: int = 0) -> _Float:
        """Return (E,) the OKS of each detection with the person it found, NaN where it found nobody."""
        values = np.full(len(self.detection), np.nan)
        found = self.found[area, threshold]
        hit = found[self.pair_detection] == self.pair_person
        values[self.pair_detection[hit]] = self.pair_oks[hit]
        return values


@np.errstate(over="ignore", invalid="ignore")  # coordinates of any size: far away is a similarity of 0
def match(
    truth: GroundTruth,
    detections: Detections,
    options: EvaluationOptions,
    *,
    thresholds: _Float | None = None,
    ranges: _Float | None = None,
) -> Matching:
    """Match detections with persons, at COCO's thresholds and in its area ranges unless others (T,), (A, 2) are given.

    Raises InputError for another number of keypoints, UsageError without sigmas.
    """
    thresholds = options.iou_thresholds() if thresholds is None else thresholds
    images = np.unique(truth.image_ids)
    person_image = np.searchsorted(images, truth.image_id)
    chosen, image = _ranked(detections, images, options.max_detections)
    extent = _extents(detections.keypoints, chosen)
    pairs = _pairs(truth, detections, chosen, image, person_image, extent, float(thresholds.min()))
    ranges = np.array([bounds[1:] for bounds in AREA_RANGES]) if ranges is None else ranges
    person_ignored = truth.ignored | (truth.area < ranges[:, :1]) | (truth.area > ranges[:, 1:])
    area = _areas(detections, chosen, extent, options.detection_area)
    outside = (area < ranges[:, :1]) | (area > ranges[:, 1:])
    found, ignored = _chosen_persons(truth, pairs, image, person_ignored, outside, thresholds)
    return Matching(
        detection=chosen, image=image, score=detections.score[chosen], found=found, detection_ignored=ignored,
        person_image=person_image, person_ignored=person_ignored, pair_detection=pairs.detection,
        pair_person=pairs.person, pair_oks=pairs.oks, images=images,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Pairs:
    detection: _Index
    person: _Index
    oks: _Float


def _ranked(detections: Detections, images: npt.NDArray[np.int64], most: int) -> tuple[_Index, _Index]:
    """Return the rows of each picture's best detections, by picture and falling score, and their pictures."""
    place = np.searchsorted(images, detections.image_id)
    known = place < len(images)
    known[known] = images[place[known]] == detections.image_id[known]
    rows = np.flatnonzero(known)
    rows = rows[np.argsort(-detections.score[rows], kind="stable")]
    # NumPy sorts small integers by their digits: many times as fast.
    small = np.uint16 if len(images) <= 1 << 16 else np.int64
    order = rows[np.argsort(place[rows].astype(small), kind="stable")]
    image = place[order]
    kept = _ranks(image, len(images)) < most
    return order[kept], image[kept]


def _ranks(image: _Index, images: int) -> _Index:
    """Return (E,) how many stand before each in its own picture; sorted by picture."""
    count = np.bincount(image, minlength=images)
    ranks: _Index = np.arange(len(image)) - (np.cumsum(count) - count)[image]
    return ranks


def _extents(keypoints: _Float, rows: _Index) -> _Float:
    """Return (4, E) the smallest x, y and the largest x, y of each detection's keypoints."""
    extent = np.empty((4, len(rows)))
    for first in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(first, first + _ROWS_AT_ONCE)
        # Along the first axis NumPy compares many rows at once.
        numbers = np.ascontiguousarray(keypoints[rows[part]].reshape(-1, 3 * keypoints.shape[1]).T)
        for axis in range(2):
            np.min(numbers[axis::3], axis=0, out=extent[axis, part])
            np.max(numbers[axis::3], axis=0, out=extent[2 + axis, part])
    return extent


def _pairs(
    truth: GroundTruth,
    detections: Detections,
    chosen: _Index,
    image: _Index,
    person_image: _Index,
    extent: _Float,
    least: float,
) -> _Pairs:
    """Return every pair of one picture whose OKS is at least ``least``, by detection, persons in file order."""
    persons = np.argsort(person_image, kind="stable")
    in_image = np.bincount(person_image, minlength=int(image.max(initial=-1)) + 1)
    count = in_image[image]
    detection = np.repeat(np.arange(len(chosen)), count)
    within = np.arange(len(detection)) - np.repeat(np.cumsum(count) - count, count)
    person = persons[np.repeat((np.cumsum(in_image) - in_image)[image], count) + within]
    near = _may_reach(truth, extent, detection, person, least)
    detection, person = detection[near], person[near]
    oks = oks_of_rows(
        detections.keypoints, chosen[detection], truth.keypoints, person, truth.area, truth.bbox_xywh,
        truth.skeleton.sigmas,
    )  # fmt: skip
    enough = oks >= least
    return _Pairs(detection[enough], person[enough], oks[enough])


def _may_reach(truth: GroundTruth, extent: _Float, detection: _Index, person: _Index, least: float) -> _Mask:
    """Return which pairs can reach the OKS ``least`` at all, from the boxes around their keypoints alone.

    For a mean of q some keypoint must have a similarity of q or more, so it lies within sqrt(2 ln(1/q) · area) · 2 ·
    the largest sigma of its label, or of the grown box of a person without labels. The detected keypoints' smallest box
    must reach that of the labelled ones, or the grown box, grown by that much.
    """
    flags = truth.keypoints[..., 2] > 0
    unlabelled = ~flags.any(axis=1)
    # One part in a million more than the bound, for its own rounding.
    reach = np.sqrt(2.0 * np.log(1.0 / least) * (truth.area + 1e-12)) * 2.0 * max(truth.skeleton.sigmas)
    reach = reach * (1 + 1e-6) + 1e-6
    near = np.ones(len(detection), bool)
    for axis in range(2):
        values = truth.keypoints[..., axis]
        low = np.where(flags, values, np.inf).T.min(axis=0, initial=np.inf)
        high = np.where(flags, values, -np.inf).T.max(axis=0, initial=-np.inf)
        ends = truth.bbox_xywh[:, axis] + truth.bbox_xywh[:, 2 + axis] * np.array([[-1.0], [2.0]])
        low = np.where(unlabelled, ends.min(axis=0), low) - reach
        high = np.where(unlabelled, ends.max(axis=0), high) + reach
        near &= (extent[axis][detection] <= high[person]) & (extent[2 + axis][detection] >= low[person])
    return near


def _chosen_persons(
    truth: GroundTruth, pairs: _Pairs, image: _Index, person_ignored: _Mask, outside: _Mask, thresholds: _Float
) -> tuple[npt.NDArray[np.int32], _Mask]:
    """Return (A, T, E) the person that each detection takes, -1 for nobody, and whether the detection is ignored.

    One round for each rank of a picture. ``outside`` (A, E): what is ignored where it found nobody.
    """
    ranges, steps = len(person_ignored), len(thresholds)
    found = np.full((ranges * steps, len(image)), -1, np.int32)
    ignored = np.repeat(outside, steps, axis=0)
    taken = np.zeros((ranges * steps, len(truth.area)), bool)
    rank = _ranks(image, int(image.max(initial=-1)) + 1)[pairs.detection]
    # By rank, by detection, then by OKS; among equals the last one of the file wins.
    order = np.lexsort((pairs.oks, pairs.detection, rank))
    enough = pairs.oks[order] >= np.minimum(thresholds, 1 - 1e-10)[:, None]
    bounds = np.flatnonzero(np.diff(rank[order], prepend=-1, append=-1)).tolist()
    for begin, end in pairwise(bounds):
        rows = order[begin:end]
        detection, person = pairs.detection[rows], pairs.person[rows]
        count = np.int32(len(rows))
        starts = np.flatnonzero(np.diff(detection, prepend=-1))
        free = ~taken[:, person] | truth.iscrowd[person]
        free = free.reshape(ranges, steps, -1) & enough[:, begin:end]
        # A counted person comes before every ignored one.
        preference = np.arange(count, dtype=np.int32) + np.where(person_ignored[:, None, person], np.int32(0), count)
        best = np.maximum.reduceat(np.where(free, preference, np.int32(-1)), starts, axis=2).ravel()
        hits = np.flatnonzero(best >= 0)
        line, place = np.divmod(hits, len(starts))
        winner, taker = person[best[hits] % count], detection[starts[place]]
        found[line, taker] = winner
        ignored[line, taker] = person_ignored[line // steps, winner]
        taken[line, winner] = True
    shape = (ranges, steps, len(image))
    return found.reshape(shape), ignored.reshape(shape)


def _areas(detections: Detections, chosen: _Index, extent: _Float, rule: AreaOfDetections) -> _Float:
    boxes = detections.bbox_xywh
    if detections.area is not None and rule == "coco":
        return detections.area[chosen]
    if rule == "box" and boxes is None:
        raise UsageError("option-conflict", "the results have no boxes", hint="detection_area='extent'")
    if boxes is not None and rule != "extent":
        return (boxes[:, 2] * boxes[:, 3])[chosen]
    areas: _Float = (extent[2] - extent[0]) * (extent[3] - extent[1])
    return areas
