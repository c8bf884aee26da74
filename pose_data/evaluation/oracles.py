"""What each kind of error costs: AP if that kind alone did not exist, and AP as one after the other is taken away.

The order of the second is that of Ronchi and Perona (ICCV 2017) for keypoints: miss, swap, inversion, jitter; then
second detections of a person, detections of nobody, persons whom nobody found, and at last the order of the scores. The
first does not depend on an order.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pose_data.evaluation.average_precision import Result, evaluate
from pose_data.evaluation.localisation import LOWEST_OKS, Kind, Localisation, repaired
from pose_data.evaluation.matching import EvaluationOptions, match
from pose_data.evaluation.people import Detections, GroundTruth

__all__ = ["REPAIRS", "Gain", "ideal_scores", "oracle_gains"]

REPAIRS: tuple[tuple[str, str], ...] = (
    ("miss", "keypoints near no label at all"),
    ("swap", "keypoints on another person"),
    ("inversion", "left and right mixed up"),
    ("jitter", "keypoints near, but not near enough"),
    ("duplicate", "more than one detection of a person"),
    ("background", "detections of nobody"),
    ("missed", "persons whom nobody found"),
    ("scoring", "better poses with lower scores"),
)
"""Name and meaning, in the order in which they are taken away one after the other."""

_KINDS = {"miss": Kind.MISS, "swap": Kind.SWAP, "inversion": Kind.INVERSION, "jitter": Kind.JITTER}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """What taking one kind of error away would bring."""

    name: str
    meaning: str
    alone: float
    """AP without this kind, all others staying."""
    gain: float
    """``alone`` minus the AP as it is."""
    cumulative: float
    """AP without this kind and all before it."""
    step: float
    """What this kind adds to those before it."""


def oracle_gains(result: Result, found: Localisation, *, threads: int = 1) -> tuple[Gain, ...]:
    """Return the gain of each of :data:`REPAIRS`, in their order, from the detections that count."""
    now = result.numbers["AP"]
    part, places = _that_count(result, found)
    names = [name for name, _ in REPAIRS]
    wanted = [*([name] for name in names), *(names[: number + 1] for number in range(1, len(names)))]
    with ThreadPoolExecutor(max(1, threads)) as pool:
        values = list(pool.map(lambda chosen: _ap_without(part, places, chosen), wanted))
    all_alone, in_turn = values[: len(names)], [values[0], *values[len(names) :]]
    before = now
    gains = []
    for (name, meaning), alone, cumulative in zip(REPAIRS, all_alone, in_turn, strict=True):
        gains.append(
            Gain(
                name=name,
                meaning=meaning,
                alone=alone,
                gain=alone - now,
                cumulative=cumulative,
                step=cumulative - before,
            )
        )
        before = cumulative
    return tuple(gains)


def _that_count(result: Result, found: Localisation) -> tuple[Result, Localisation]:
    """Return both with nothing but the detections that took part: a picture's best-scored ones."""
    matching = found.matching
    kept = np.zeros(len(result.detections), bool)
    kept[matching.detection] = True
    place = np.cumsum(kept) - 1
    return replace(result, detections=result.detections.chosen(kept)), replace(
        found, detection=place[found.detection], background=place[found.background], duplicate=place[found.duplicate],
        matching=replace(matching, detection=place[matching.detection]),
    )  # fmt: skip


def _ap_without(result: Result, found: Localisation, names: Sequence[str]) -> float:
    kinds = [_KINDS[name] for name in names if name in _KINDS]
    detections = repaired(result, found, kinds) if kinds else result.detections
    truth = result.truth
    kept = np.ones(len(detections), bool)
    if "duplicate" in names:
        # Of several near one person the best pose stays, whatever its score.
        near = np.ones(len(detections), bool)
        near[found.background] = False
        kept &= ~near | (ideal_scores(truth, detections, result.options) > 0) | ~_counted(found, len(detections))
    if "background" in names:
        kept[found.background] = False
    detections = detections if kept.all() else detections.chosen(kept)
    if "missed" in names:
        counted = truth.num_keypoints.copy()
        counted[found.missed] = 0
        truth = replace(truth, num_keypoints=counted)
    if "scoring" in names:
        detections = replace(detections, score=ideal_scores(truth, detections, result.options))
    return evaluate(truth, detections, options=result.options).numbers["AP"]


def _counted(found: Localisation, count: int) -> npt.NDArray[np.bool_]:
    """Return (D,) which detections took part, and are not ignored, when matched at an OKS of 0.1."""
    counted = np.zeros(count, bool)
    matching = found.matching
    counted[matching.detection[~matching.detection_ignored[0, 0]]] = True
    return counted


def ideal_scores(truth: GroundTruth, detections: Detections, options: EvaluationOptions) -> npt.NDArray[np.float64]:
    """Return (D,) the scores that rank detections best: the best one of each person has its OKS, all others 0.

    Persons and detections are put together by falling OKS, each once, down to an OKS of 0.1.
    """
    every = replace(options, max_detections=max(len(detections), 1))
    matching = match(truth, detections, every, thresholds=np.array([LOWEST_OKS]))
    counted = ~matching.person_ignored[0][matching.pair_person]
    row = matching.detection[matching.pair_detection[counted]]
    person, oks = matching.pair_person[counted], matching.pair_oks[counted]
    scores = np.zeros(len(detections))
    while len(row):
        # The pairs that are the best of both their sides are those that going down the list would take.
        best_of_row, best_of_person = np.zeros(len(detections)), np.zeros(len(truth.area))
        np.maximum.at(best_of_row, row, oks)
        np.maximum.at(best_of_person, person, oks)
        mutual = np.flatnonzero((oks == best_of_row[row]) & (oks == best_of_person[person]))
        _, first = np.unique(row[mutual], return_index=True)
        mutual = mutual[first]
        _, first = np.unique(person[mutual], return_index=True)
        mutual = mutual[first]
        scores[row[mutual]] = oks[mutual]
        left = ~np.isin(row, row[mutual]) & ~np.isin(person, person[mutual])
        row, person, oks = row[left], person[left], oks[left]
    return scores
