"""How far an exported network is from the one that it was made of: in pixels of the crops, and in AP on a split."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pose_data.evaluation import Detections, evaluate
from pose_data.evaluation.nms import rescored
from pose_data.evaluation.store_truth import ground_truth_from_split
from pose_data.geometry import apply_affines
from pose_data.order import EpochOrder
from pose_data.reader import BatchReader
from pose_data.recipes import Recipe
from pose_data.store import Split
from pose_models.conventions import Conventions
from pose_models.estimator import Estimator

__all__ = ["CLOSE_PX", "Parity", "ap_of_estimator", "compare", "crops_of_split", "generated_crops"]

CLOSE_PX = 1e-3
"""What an export in float32 may differ by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parity:
    """Two estimators on the same crops; distances in pixels of the crop."""

    crops: int
    keypoints: int
    """Compared: those inside the crop, scored by the first at the conventions' least score or more, where any are."""
    largest_px: float
    mean_px: float
    close_share: float
    """Share of them within :data:`CLOSE_PX`."""
    largest_score_difference: float


def compare(first: Estimator, second: Estimator, crops: npt.NDArray[np.uint8], *, batch_size: int = 32) -> Parity:
    """Return the parity of two estimators on crops (N, H, W, 3) uint8 RGB."""
    parts = [crops[start : start + batch_size] for start in range(0, len(crops), batch_size)]
    mine, theirs = (np.concatenate([each.keypoints(part) for part in parts]) for each in (first, second))
    size = np.array([crops.shape[2], crops.shape[1]])
    inside = ((mine[..., :2] >= 0) & (mine[..., :2] < size)).all(axis=2)
    sure = inside & (mine[..., 2] >= first.conventions.least_score)
    # Where a map is flat the decoding's Newton step goes anywhere: there is nothing to compare.
    chosen = sure if sure.any() else inside
    distance = np.linalg.norm(mine[..., :2] - theirs[..., :2], axis=2)[chosen]
    score = np.abs(mine[..., 2] - theirs[..., 2])[chosen]
    if not len(distance):
        distance = score = np.zeros(1)
    return Parity(
        crops=len(crops), keypoints=int(chosen.sum()), largest_px=float(distance.max()),
        mean_px=float(distance.mean()), close_share=float((distance <= CLOSE_PX).mean()),
        largest_score_difference=float(score.max()),
    )  # fmt: skip


def crops_of_split(split: Split, *, count: int) -> npt.NDArray[np.uint8]:
    """Return up to ``count`` crops (N, H, W, 3) of a split, spread over it; of scenes whole pictures."""
    recipe = split.recipe
    samples = np.flatnonzero(split["kept"][:])
    rows = samples[np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).astype(int))]
    stored = np.stack([np.asarray(split["images"][int(row)]) for row in rows])
    if recipe.rows == "scenes":
        return stored
    return np.ascontiguousarray(stored[(slice(None), *_window(recipe))])


def generated_crops(conventions: Conventions, *, count: int) -> npt.NDArray[np.uint8]:
    """Return crops, or pictures as large as a training's, (N, H, W, 3), of soft noise, where no store is at hand."""
    recipe = conventions.recipe
    coarse = np.random.default_rng(0).integers(0, 256, (count, 8, 6, 3)).astype(np.float64)
    rows = np.linspace(0, 7, recipe.crop_height_px)
    columns = np.linspace(0, 5, recipe.crop_width_px)
    tall = _blended(coarse, rows, axis=1)
    return _blended(tall, columns, axis=2).astype(np.uint8)


def _blended(values: npt.NDArray[np.float64], places: npt.NDArray[np.float64], *, axis: int) -> npt.NDArray[np.float64]:
    low = np.minimum(places.astype(int), values.shape[axis] - 2)
    share = (places - low).reshape([-1 if number == axis else 1 for number in range(4)])
    blended: npt.NDArray[np.float64] = values.take(low, axis) * (1 - share) + values.take(low + 1, axis) * share
    return blended


def ap_of_estimator(estimator: Estimator, split: Split, *, batch_size: int = 32) -> float:
    """Return the AP of an estimator on a split, with the annotated boxes, as ``posetrain evaluate`` gives it."""
    context = split.recipe.context_px
    ids, keypoints = [], []
    for images, transforms, image_id in _batches(split, ("images", "transforms"), batch_size):
        found = estimator.keypoints(images)
        found[..., :2] = apply_affines(transforms, found[..., :2] + context)
        ids.append(image_id)
        keypoints.append(found)
    joined = np.concatenate(keypoints)
    score = rescored(np.ones(len(joined)), joined[..., 2], least=estimator.conventions.least_score)
    detections = Detections(image_id=np.concatenate(ids), keypoints=joined, score=score)
    return float(evaluate(ground_truth_from_split(split), detections).numbers["AP"])


def _batches(
    split: Split, arrays: tuple[str, ...], batch_size: int = 32
) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.float64], npt.NDArray[np.int64]]]:
    """Yield windows (n, H, W, 3), transforms (n, 2, 3) from the stored image, and picture ids of a split's samples."""
    recipe = split.recipe
    rows, columns = _window(recipe)
    image_id = np.asarray(split["image_id"][:])
    with BatchReader(split, batch_size=batch_size, arrays=arrays, order=EpochOrder(shuffle="none")) as reader:
        for batch in reader.epoch(0):
            windows = np.ascontiguousarray(batch.arrays["images"][batch.valid, rows, columns])
            transforms = batch.arrays.get("transforms", np.zeros((len(batch.rows), 2, 3)))[batch.valid]
            yield windows, transforms, image_id[batch.rows[batch.valid]]


def _window(recipe: Recipe) -> tuple[slice, slice]:
    """Return the rows and the columns of the stored image that the network sees."""
    context = recipe.context_px
    return slice(context, context + recipe.crop_height_px), slice(context, context + recipe.crop_width_px)
