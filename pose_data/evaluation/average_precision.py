"""Average precision and recall from matched detections: COCO's ten numbers, bit for bit.

Source: cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py, accumulate and summarize.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pose_data.errors import InputError, UsageError
from pose_data.evaluation.matching import EvaluationOptions, Matching, match
from pose_data.evaluation.people import Detections, GroundTruth

__all__ = ["NUMBERS", "Result", "accumulate", "evaluate", "ten_numbers"]

_Float = npt.NDArray[np.float64]
_TINY = float(np.spacing(1))

NUMBERS: tuple[str, ...] = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """An evaluation. -1 stands where there was no counted person.

    ``precision`` (T, R, A), ``recall`` (T, A), ``scores`` (T, R, A): the score at which that recall is reached.
    """

    numbers: Mapping[str, float]
    precision: _Float
    recall: _Float
    scores: _Float
    matching: Matching
    truth: GroundTruth
    detections: Detections
    options: EvaluationOptions
    warnings: tuple[str, ...] = ()


def evaluate(truth: GroundTruth, detections: Detections, *, options: EvaluationOptions | None = None) -> Result:
    """Return how well detections agree with the annotated persons.

    Raises InputError for detections of another number of keypoints, UsageError for a skeleton without sigmas.
    """
    options = options or EvaluationOptions()
    skeleton = truth.skeleton
    if len(skeleton.sigmas) != skeleton.keypoint_count:
        raise UsageError(
            "sigmas-missing", f"the skeleton {skeleton.name} has no OKS sigmas", hint="one for each keypoint"
        )
    if detections.keypoints.shape[1] != skeleton.keypoint_count and len(detections):
        raise InputError(
            "kpt-length",
            f"the results have {detections.keypoints.shape[1]} keypoints against {skeleton.keypoint_count} of "
            f"{skeleton.name}",
            hint="name the skeleton that the results have",
        )
    warnings = (*truth.warnings, *detections.warnings)
    if not len(detections):
        warnings = (*warnings, "there are no results: AP is 0")
    matching = match(truth, detections, options)
    precision, recall, scores = accumulate(matching, options)
    return Result(
        numbers=ten_numbers(precision, recall, options), precision=precision, recall=recall, scores=scores,
        matching=matching, truth=truth, detections=detections, options=options, warnings=warnings,
    )  # fmt: skip


def accumulate(
    matching: Matching, options: EvaluationOptions, *, recalls: _Float | None = None
) -> tuple[_Float, _Float, _Float]:
    """Return precision (T, R, A), recall (T, A) and scores (T, R, A), at COCO's recalls or others (R,)."""
    recalls = options.recall_thresholds() if recalls is None else recalls
    areas, steps, _ = matching.found.shape
    shape = (steps, len(recalls), areas)
    precision, scores = np.full(shape, -1.0), np.full(shape, -1.0)
    recall = np.full((steps, areas), -1.0)
    order = np.argsort(-matching.score, kind="stable")
    if not len(order):
        return _of_nothing(precision, recall, scores, matching)
    sorted_scores = matching.score[order]
    for area in range(areas):
        counted = int(np.count_nonzero(~matching.person_ignored[area]))
        if not counted:
            continue
        hit = np.take(matching.found[area] >= 0, order, axis=1)
        shown = ~np.take(matching.detection_ignored[area], order, axis=1)
        for step in range(steps):
            # Recall rises at true positives alone, and precision is read where it rises.
            place = np.flatnonzero(hit[step] & shown[step])
            false = np.searchsorted(np.flatnonzero(~hit[step] & shown[step]), place).astype(np.float64)
            true = np.arange(1.0, len(place) + 1)
            reached = true / counted
            precise = np.maximum.accumulate((true / (false + true + _TINY))[::-1])[::-1]
            recall[step, area] = reached[-1] if len(place) else 0.0
            first = np.searchsorted(reached, recalls, side="left")
            inside = first < len(place)
            first = first[inside]
            precision[step, :, area], scores[step, :, area] = 0.0, 0.0
            precision[step, inside, area] = precise[first]
            scores[step, inside, area] = sorted_scores[place[first]]
            # A recall of 0 is reached before anything is found.
            scores[step, recalls <= 0, area] = sorted_scores[0]
    return precision, recall, scores


def _of_nothing(precision: _Float, recall: _Float, scores: _Float, matching: Matching) -> tuple[_Float, _Float, _Float]:
    """Return what no detection at all amounts to: 0 wherever a person was to be found."""
    for area in range(recall.shape[1]):
        if not matching.person_ignored[area].all():
            precision[..., area], recall[..., area], scores[..., area] = 0.0, 0.0, 0.0
    return precision, recall, scores


def ten_numbers(precision: _Float, recall: _Float, options: EvaluationOptions) -> dict[str, float]:
    """Return :data:`NUMBERS` of precision (T, R, A) and recall (T, A)."""
    thresholds = options.iou_thresholds()
    half, three_quarters = thresholds == 0.5, thresholds == 0.75

    def mean(values: _Float) -> float:
        there = values[values > -1]
        return float(np.mean(there)) if len(there) else -1.0

    def five(values: _Float) -> list[float]:
        rows = (values[..., 0], values[half][..., 0], values[three_quarters][..., 0], values[..., 1], values[..., 2])
        return [mean(np.ascontiguousarray(part)) for part in rows]

    return dict(zip(NUMBERS, [*five(precision), *five(recall)], strict=True))
