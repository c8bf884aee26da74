"""Parts of a body, each evaluated on its own: feet, face and hands of COCO-WholeBody.

Source of the rules: jin-s13/xtcocoapi, COCOeval with the types ``keypoints_body``, ``_foot``, ``_face``, ``_lefthand``,
``_righthand`` and ``_wholebody``. The area is the whole person's; a person is ignored where no keypoint of the part is
labelled; a detection without a third number above 0 in the part is left out; the score is the whole detection's.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from pose_data.errors import UsageError
from pose_data.evaluation.average_precision import Result, evaluate
from pose_data.evaluation.matching import EvaluationOptions
from pose_data.evaluation.people import Detections, GroundTruth
from pose_data.evaluation.rules import Rules
from pose_data.skeleton import subset

__all__ = ["evaluate_parts", "part_of"]


def evaluate_parts(
    truth: GroundTruth, detections: Detections, rules: Rules, *, options: EvaluationOptions | None = None
) -> Mapping[str, Result]:
    """Return the results of every part of the rules, and under ``whole`` that of all keypoints together.

    Raises UsageError, InputError as :func:`pose_data.evaluation.evaluate` does.
    """
    results = {part: evaluate(*part_of(truth, detections, rules, part), options=options) for part in rules.parts}
    return {**results, "whole": evaluate(truth, detections, options=options)}


def part_of(truth: GroundTruth, detections: Detections, rules: Rules, part: str) -> tuple[GroundTruth, Detections]:
    """Return persons and detections with the keypoints of one part. Raises UsageError ``part-unknown``."""
    if part not in rules.parts:
        raise UsageError(
            "part-unknown", f"{rules.name} has no part {part!r}", hint=f"one of {', '.join(rules.parts) or '(none)'}"
        )
    kept = slice(*rules.parts[part])
    skeleton, _ = subset(rules.skeleton, rules.skeleton.names[kept])
    keypoints = truth.keypoints[:, kept]
    persons = replace(
        truth, keypoints=keypoints, skeleton=replace(skeleton, name=f"{rules.skeleton.name}-{part}"),
        num_keypoints=np.count_nonzero(keypoints[..., 2] > 0, axis=1),
    )  # fmt: skip
    numbers = detections.keypoints[:, kept]
    scored = np.flatnonzero((numbers[..., 2] > 0).any(axis=1)) if rules.drop_unscored else np.arange(len(detections))
    area = _areas(detections)
    return persons, replace(
        detections, image_id=detections.image_id[scored], keypoints=numbers[scored], score=detections.score[scored],
        bbox_xywh=None if detections.bbox_xywh is None else detections.bbox_xywh[scored], area=area[scored],
    )  # fmt: skip


def _areas(detections: Detections) -> npt.NDArray[np.float64]:
    if detections.area is not None:
        return detections.area
    if detections.bbox_xywh is not None:
        return detections.bbox_xywh[:, 2] * detections.bbox_xywh[:, 3]
    size: npt.NDArray[np.float64] = np.ptp(detections.keypoints[..., :2], axis=1)
    return size[:, 0] * size[:, 1]
