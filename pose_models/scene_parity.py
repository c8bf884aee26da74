"""How far an exported network of whole pictures is from the one that it was made of: maps, persons, and AP."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pose_data.evaluation import evaluate
from pose_data.evaluation.store_truth import ground_truth_from_split
from pose_data.order import EpochOrder
from pose_data.reader import BatchReader
from pose_data.store import Split
from pose_models.scene_frames import SceneEstimator
from pose_models.scene_inference import FoundPersons, ScenePredictions, in_picture, persons_of_pictures

__all__ = ["CLOSE_SHARE", "SceneParity", "ap_of_scenes", "compare_scenes"]

CLOSE_SHARE = 1e-3
"""What maps and fields of an export in float32 may differ by, as a share of their greatest value."""
_AT_A_TIME = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneParity:
    """Two estimators on the same pictures."""

    pictures: int
    largest_share: float
    """Largest difference of maps and fields, as a share of the greatest value of either kind."""
    persons: int
    """Found by the first."""
    persons_again: int
    """Of them, those that the second finds with the same keypoints, none of them farther than a cell away."""
    largest_px: float
    """Largest distance of their keypoints, in pixels of the picture."""


def compare_scenes(first: SceneEstimator, second: SceneEstimator, pictures: npt.NDArray[np.uint8]) -> SceneParity:
    """Return the parity of two estimators on pictures (N, H, W, 3) uint8 RGB."""
    recipe = first.conventions.recipe
    largest_share, persons, distances = 0.0, 0, list[float]()
    for start in range(0, len(pictures), _AT_A_TIME):
        part = pictures[start : start + _AT_A_TIME]
        mine, theirs = first.maps_and_fields(part), second.maps_and_fields(part)
        largest_share = max(largest_share, *map(_largest_share, mine, theirs))
        found, again = (persons_of_pictures(*outputs, first.conventions) for outputs in (mine, theirs))
        for one, other in zip(found, again, strict=True):
            persons += len(one.score)
            distances += _distances(one, other, most_px=recipe.stride_px)
    return SceneParity(
        pictures=len(pictures), largest_share=largest_share, persons=persons, persons_again=len(distances),
        largest_px=max(distances, default=0.0),
    )  # fmt: skip


def _largest_share(values: Tensor, others: Tensor) -> float:
    return float((values - others).abs().max() / values.abs().max().clamp(min=1e-12))


def _distances(first: FoundPersons, second: FoundPersons, *, most_px: float) -> list[float]:
    """Return the largest distance of the keypoints of every person of the first that the second has, too."""
    distances = []
    for keypoints in first.keypoints:
        there = keypoints[:, 2] > 0
        alike = ((second.keypoints[..., 2] > 0) == there).all(axis=1)
        away = np.linalg.norm(second.keypoints[alike][:, there, :2] - keypoints[there, :2], axis=2)
        nearest = away.max(axis=1, initial=0.0).min(initial=np.inf)
        if nearest <= most_px:
            distances.append(float(nearest))
    return distances


def ap_of_scenes(estimator: SceneEstimator, split: Split) -> float:
    """Return the AP of an estimator on a split's stored pictures, as ``posetrain evaluate`` gives it, no flip added."""
    rows, in_stored = list[int](), list[FoundPersons]()
    transforms: list[npt.NDArray[np.float64]] = []
    order = EpochOrder(shuffle="none")
    with BatchReader(split, batch_size=_AT_A_TIME, arrays=("images", "transforms"), order=order) as reader:
        for batch in reader.epoch(0):
            images = np.ascontiguousarray(batch.arrays["images"][batch.valid])
            in_stored += persons_of_pictures(*estimator.maps_and_fields(images), estimator.conventions)
            rows += batch.rows[batch.valid].tolist()
            transforms += list(batch.arrays["transforms"][batch.valid])
    found = ScenePredictions(
        rows=np.array(rows, np.int64), in_stored=in_stored, in_picture=_in_pictures(in_stored, transforms)
    )
    detections = found.as_detections(np.asarray(split["image_id"][:]))
    return float(evaluate(ground_truth_from_split(split), detections).numbers["AP"])


def _in_pictures(
    in_stored: Sequence[FoundPersons], transforms: Sequence[npt.NDArray[np.float64]]
) -> list[FoundPersons]:
    return [in_picture(found, transform) for found, transform in zip(in_stored, transforms, strict=True)]
