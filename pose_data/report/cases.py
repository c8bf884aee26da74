"""Which persons and detections are worth looking at, worst first."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pose_data.evaluation.average_precision import Result
from pose_data.evaluation.localisation import Kind, Localisation
from pose_data.evaluation.matching import AREA_RANGES
from pose_data.evaluation.oks import oks_of_pairs
from pose_data.report.judgement import Baseline, Judgement

__all__ = ["SORTS", "Case", "choose_cases"]

_Float = npt.NDArray[np.float64]
_Index = npt.NDArray[np.intp]

SORTS: tuple[tuple[str, str], ...] = (
    ("missed", "large persons whom nobody found"),
    ("worst", "persons found with the lowest OKS"),
    ("inversion", "left and right mixed up, by score"),
    ("swap", "keypoints on another person, by score"),
    ("background", "detections of nobody, by score"),
    ("label", "perhaps wrong labels: two results agree, and not with the label"),
    ("change", "largest changes against the other results"),
)
"""Name and meaning; the last two only where other results are compared."""

_LEAST_FAULTS = 2
"""Keypoints that must be inverted or swapped before a person is shown for it."""
_AGREEING_OKS = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One person, or one detection of nobody."""

    sort: str
    image_id: int
    person: int = -1
    """Row of the GroundTruth, or -1."""
    detection: int = -1
    """Row of the Detections, or -1."""
    place: int = -1
    """Place in the Localisation, or -1."""
    oks: float | None = None
    other_oks: float | None = None
    """With which the other results found the person."""
    size: str = ""
    """small, medium or large; empty for detections of nobody."""


def choose_cases(judgement: Judgement, *, most: int = 200) -> tuple[Case, ...]:
    """Return up to ``most`` cases, in equal shares by sort; nobody is shown twice."""
    sorts = [iter(cases) for cases in _by_sort(judgement)]
    chosen: dict[tuple[int, int], Case] = {}
    while sorts and len(chosen) < most:
        for cases in list(sorts):
            case = next((case for case in cases if (case.person, case.detection) not in chosen), None)
            if case is None:
                sorts.remove(cases)
            elif len(chosen) < most:
                chosen[case.person, case.detection] = case
    order = [name for name, _ in SORTS]
    return tuple(sorted(chosen.values(), key=lambda case: order.index(case.sort)))


def _by_sort(judgement: Judgement) -> Iterator[Iterator[Case]]:
    result, found = judgement.result, judgement.found
    truth = result.truth
    large = found.missed[np.argsort(-truth.area[found.missed], kind="stable")]
    yield (_person_case(result, "missed", int(person)) for person in large)
    score = result.detections.score[found.detection]
    for sort, kind in (("inversion", Kind.INVERSION), ("swap", Kind.SWAP)):
        places = np.flatnonzero((found.kind == kind).sum(axis=1) >= _LEAST_FAULTS)
        order = places[np.argsort(-score[places], kind="stable")]
        yield _found_cases(result, found, sort, order)
    rows = found.background[np.argsort(-result.detections.score[found.background], kind="stable")]
    yield (
        Case(sort="background", image_id=int(result.detections.image_id[row]), detection=int(row))
        for row in rows.tolist()
    )
    yield _found_cases(result, found, "worst", np.argsort(found.oks, kind="stable"))
    if judgement.baseline is not None:
        yield from _against(result, found, judgement.baseline)


def _against(result: Result, found: Localisation, baseline: Baseline) -> Iterator[Iterator[Case]]:
    """Yield suspected label errors, and the largest changes."""
    truth = result.truth
    theirs = np.full(len(truth.area), -1)
    theirs[baseline.found.person] = np.arange(len(baseline.found.person))
    both = np.flatnonzero(theirs[found.person] >= 0)
    other = theirs[found.person[both]]
    agreement = oks_of_pairs(
        result.detections.keypoints[found.detection[both]],
        _as_labels(baseline.result.detections.keypoints[baseline.found.detection[other]]),
        truth.area[found.person[both]], truth.bbox_xywh[found.person[both]], truth.skeleton.sigmas,
    )  # fmt: skip
    other_oks = np.full(len(found.person), 0.0)
    other_oks[both] = baseline.found.oks[other]
    doubt = np.full(len(found.person), -np.inf)
    doubt[both] = np.where(agreement >= _AGREEING_OKS, agreement - found.oks[both], -np.inf)
    suspects = np.argsort(-doubt, kind="stable")
    suspects = suspects[doubt[suspects] > 0.3]
    yield (_found_case(result, found, "label", place, other_oks[place]) for place in suspects.tolist())
    change = np.abs(found.oks - other_oks)
    order = np.argsort(-change, kind="stable")
    order = order[change[order] > 0.05]
    yield (_found_case(result, found, "change", place, other_oks[place]) for place in order.tolist())


def _as_labels(keypoints: _Float) -> _Float:
    labels = keypoints.copy()
    labels[..., 2] = 2.0
    return labels


def _found_cases(result: Result, found: Localisation, sort: str, places: _Index) -> Iterator[Case]:
    for place in places.tolist():
        yield _found_case(result, found, sort, place)


def _found_case(result: Result, found: Localisation, sort: str, place: int, other_oks: float | None = None) -> Case:
    person = int(found.person[place])
    return Case(
        sort=sort, image_id=int(result.truth.image_id[person]), person=person,
        detection=int(found.detection[place]), place=place, oks=float(found.oks[place]),
        other_oks=None if other_oks is None else float(other_oks), size=_size(result, person),
    )  # fmt: skip


def _person_case(result: Result, sort: str, person: int) -> Case:
    return Case(sort=sort, image_id=int(result.truth.image_id[person]), person=person, size=_size(result, person))


def _size(result: Result, person: int) -> str:
    area = result.truth.area[person]
    if area < AREA_RANGES[1][1]:
        return "small"
    return "medium" if area <= AREA_RANGES[1][2] else "large"
