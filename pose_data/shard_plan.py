"""The arrays of one shard that follow from the annotations alone: boxes, transforms, keypoints, columns."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pose_data.geometry import apply_affines, crop_to_map, crop_transforms, invert_affines, shift_transforms
from pose_data.recipes import Recipe
from pose_data.selection import clean_table_boxes

__all__ = ["ShardGeometry", "column_values", "shard_geometry"]

_MAP_DECIMALS = 9
_PIECE_ROWS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardGeometry:
    """Where everything of a shard's n rows lies.

    ``boxes_xywh_image`` (n, 4) after the box rule; ``image_to_stored`` (n, 2, 3) float64;
    ``keypoints_stored`` (n, K, 3) float64 x, y in the stored image's frame and visibility;
    ``xy_crop`` (n, K, 2) in the window's frame, ``xy_map`` (n, K, 2) in cells; ``has_map`` (n, K).
    """

    boxes_xywh_image: npt.NDArray[np.float64]
    image_to_stored: npt.NDArray[np.float64]
    keypoints_stored: npt.NDArray[np.float64]
    xy_crop: npt.NDArray[np.float64]
    xy_map: npt.NDArray[np.float64]
    has_map: npt.NDArray[np.bool_]


def shard_geometry(rows: pa.Table, recipe: Recipe, keypoint_indices: tuple[int, ...]) -> ShardGeometry:
    """Return the geometry of planned rows (PLAN_SCHEMA) under a recipe."""
    # In pieces: what is computed on the way takes several times the memory of the result.
    pieces = [
        _piece(rows.slice(first, _PIECE_ROWS), recipe, keypoint_indices)
        for first in range(0, max(1, rows.num_rows), _PIECE_ROWS)
    ]
    return ShardGeometry(**{
        name: np.concatenate([getattr(piece, name) for piece in pieces]) for name in ShardGeometry.__slots__
    })  # fmt: skip


def _piece(rows: pa.Table, recipe: Recipe, keypoint_indices: tuple[int, ...]) -> ShardGeometry:
    boxes = clean_table_boxes(rows, recipe)
    keypoints = pc.list_flatten(rows["keypoints"]).to_numpy().reshape(rows.num_rows, -1, 3)
    keypoints = keypoints[:, list(keypoint_indices)]
    image_to_crop = crop_transforms(
        boxes, geometry=recipe.geometry, crop_width_px=recipe.crop_width_px, crop_height_px=recipe.crop_height_px,
        padding=recipe.padding, frame=recipe.frame,
    )  # fmt: skip
    image_to_stored = shift_transforms(image_to_crop, recipe.context_px, recipe.context_px)
    xy_crop = apply_affines(image_to_crop, keypoints[..., :2])
    # A place on the very edge between two cells must not fall to the wrong one by the affine's last bit.
    xy_map = np.round(
        crop_to_map(
            xy_crop, geometry=recipe.geometry, crop_width_px=recipe.crop_width_px,
            crop_height_px=recipe.crop_height_px, map_width=recipe.map_width, map_height=recipe.map_height,
        ),
        _MAP_DECIMALS,
    )  # fmt: skip
    labelled = keypoints[..., 2] > 0
    stored = keypoints.copy()
    # An unlabelled keypoint has no place: it stays (0, 0), not the image origin's place in the crop.
    stored[..., :2] = np.where(labelled[..., None], apply_affines(image_to_stored, keypoints[..., :2]), 0.0)
    return ShardGeometry(
        boxes_xywh_image=boxes,
        image_to_stored=image_to_stored,
        keypoints_stored=stored,
        xy_crop=xy_crop,
        xy_map=xy_map,
        has_map=labelled if recipe.visibility == "labelled" else keypoints[..., 2] == 2,
    )  # fmt: skip


def column_values(
    rows: pa.Table, geometry: ShardGeometry, kept: npt.NDArray[np.bool_]
) -> Mapping[str, npt.NDArray[Any]]:
    """Return the values of every column array for a shard's rows; rows not kept hold zeros.

    ``area`` and ``score`` are NaN where the annotation has none.
    """
    boxes = np.full((rows.num_rows, 4), np.nan)
    # As read it may have fewer numbers; NaN then, and the box used was made from the keypoints.
    original = pc.fill_null(pc.equal(pc.list_value_length(rows["bbox_xywh"]), 4), False)
    boxes[original.to_numpy()] = pc.list_flatten(rows["bbox_xywh"].filter(original)).to_numpy().reshape(-1, 4)
    values: dict[str, npt.NDArray[Any]] = {
        "keypoints": geometry.keypoints_stored.astype(np.float32),
        "transforms": invert_affines(geometry.image_to_stored),
        "annotation_id": pc.fill_null(rows["annotation_id"], 0).to_numpy(),
        "image_id": pc.fill_null(rows["image_id"], 0).to_numpy(),
        "bbox_xywh": boxes,
        "area": pc.fill_null(rows["area"], np.nan).to_numpy(),
        "score": pc.fill_null(rows["score"], np.nan).to_numpy(),
        "iscrowd": pc.fill_null(rows["iscrowd"], False).to_numpy(),
        "kept": kept,
    }
    for name in ("keypoints", "transforms"):
        values[name] = np.where(kept.reshape(-1, *[1] * (values[name].ndim - 1)), values[name], 0)
    return values
