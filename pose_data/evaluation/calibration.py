"""What a score says: how often detections with it are right, and which score to cut at."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pose_data.evaluation.average_precision import Result

__all__ = ["BestCut", "Bin", "Reliability", "best_cut", "reliability"]

_Float = npt.NDArray[np.float64]
_BINS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Detections whose scores lie between two values."""

    low: float
    high: float
    detections: int
    mean_score: float
    right_share: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """How scores and shares of right detections go together at one OKS threshold.

    ``error`` is the expected calibration error: the mean difference of score and share, weighted by detections (Guo et
    al., ICML 2017). None where scores do not lie in 0..1, for they are no probabilities then.
    """

    oks: float
    bins: tuple[Bin, ...]
    error: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class BestCut:
    """The score below which detections are best left out, by F1 at an OKS threshold."""

    oks: float
    score: float
    precision: float
    recall: float
    f1: float


def reliability(result: Result, oks: float) -> Reliability:
    """Return ten bins of equal width over 0..1, or over the scores' own range; empty ones are left out."""
    score, right = _counted(result, oks)
    in_unit = bool(len(score)) and bool(score.min() >= 0.0) and bool(score.max() <= 1.0)
    low, high = (0.0, 1.0) if in_unit or not len(score) else (float(score.min()), float(score.max()))
    edges = np.linspace(low, high, _BINS + 1)
    place = np.clip(np.searchsorted(edges, score, side="right") - 1, 0, _BINS - 1)
    bins = []
    for number in range(_BINS):
        members = place == number
        if members.any():
            bins.append(
                Bin(
                    low=float(edges[number]),
                    high=float(edges[number + 1]),
                    detections=int(members.sum()),
                    mean_score=float(score[members].mean()),
                    right_share=float(right[members].mean()),
                )
            )
    off = sum(part.detections * abs(part.mean_score - part.right_share) for part in bins)
    return Reliability(oks=oks, bins=tuple(bins), error=off / len(score) if in_unit else None)


def best_cut(result: Result, oks: float = 0.5) -> BestCut | None:
    """Return the score with the highest F1, None where nothing is right."""
    score, right = _counted(result, oks)
    persons = int((~result.matching.person_ignored[0]).sum())
    if not right.any() or not persons:
        return None
    order = np.argsort(-score, kind="stable")
    true = np.cumsum(right[order])
    shown = np.arange(1, len(order) + 1)
    f1 = 2.0 * true / (shown + persons)
    # A cut lies between two scores: of equal scores only the last place counts.
    f1[:-1][np.diff(score[order]) == 0] = -1.0
    best = int(np.argmax(f1))
    return BestCut(
        oks=oks, score=float(score[order][best]), precision=float(true[best] / shown[best]),
        recall=float(true[best] / persons), f1=float(f1[best]),
    )  # fmt: skip


def _counted(result: Result, oks: float) -> tuple[_Float, npt.NDArray[np.bool_]]:
    """Return the scores of detections that count, and whether each found a person."""
    step = int(np.argmin(np.abs(result.options.iou_thresholds() - oks)))
    shown = ~result.matching.detection_ignored[0, step]
    return result.matching.score[shown], result.matching.found[0, step][shown] >= 0
