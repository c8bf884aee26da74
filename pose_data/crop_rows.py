"""Rows that are crops: one person each."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pose_data.imaging import Picture, PictureProblem, person_mask, square_crop, warp_crop, whiten_outside
from pose_data.maps import render_maps
from pose_data.recipes import Recipe
from pose_data.row_maker import Segmentations
from pose_data.shard_plan import column_values, shard_geometry

__all__ = ["CropRows", "picture_sizes"]

Pixels = npt.NDArray[np.uint8]


class CropRows:
    """See :class:`pose_data.row_maker.RowMaker`."""

    def __init__(
        self, table: pa.Table, recipe: Recipe, keypoint_indices: tuple[int, ...], segmentations: Segmentations
    ) -> None:
        self._table, self._recipe, self._segmentations = table, recipe, segmentations
        self.geometry = shard_geometry(table, recipe, keypoint_indices)
        self.names: list[str] = table["file_name"].to_pylist()
        self.sizes_wh = picture_sizes(table)
        self.table_kept = table["kept"].to_numpy().astype(np.bool_)
        self.person_row = np.arange(table.num_rows, dtype=np.int64)
        keypoints = pc.list_flatten(table["keypoints"]).to_numpy().reshape(table.num_rows, -1, 3)
        self.annotated = keypoints[:, list(keypoint_indices)]

    def draw(self, picture: Picture, row: int, out: Pixels, scratch: Pixels | None = None) -> None:
        """Fill ``out`` with a person's crop. Raises PictureProblem (``mask-missing``)."""
        recipe = self._recipe
        pixels = picture.to_warp
        mask = self._mask(pixels, row) if recipe.background == "white" else None
        if recipe.geometry == "square":
            _square_row(recipe, pixels, mask, self.geometry.boxes_xywh_image[row], out)
        else:
            border = 0 if mask is None else 255
            source = pixels if mask is None else whiten_outside(pixels, mask)
            warp_crop(source, self.geometry.image_to_stored[row], out, border=border, scratch=scratch)

    def _mask(self, pixels: Pixels, row: int) -> Pixels:
        segmentation = self._segmentations(row)
        height_px, width_px = pixels.shape[:2]
        mask = None if segmentation is None else person_mask(json.loads(segmentation), width_px, height_px)
        if mask is None or not mask.any():
            raise PictureProblem("mask-missing", "the segmentation cannot be read or is empty")
        return mask

    def targets(self, part: slice, kept: npt.NDArray[np.bool_], out: Mapping[str, npt.NDArray[Any]]) -> None:
        """Draw the maps of rows ``part``."""
        geometry = self.geometry
        has_map = geometry.has_map[part] & kept[:, None]
        render_maps(self._recipe, geometry.xy_crop[part], geometry.xy_map[part], has_map, out)

    def can_make(self, array: str) -> bool:
        """Return True: maps are made from keypoints."""
        return True

    def columns(self, kept: npt.NDArray[np.bool_]) -> Mapping[str, npt.NDArray[Any]]:
        """Return the values of every column."""
        return column_values(self._table, self.geometry, kept)


def picture_sizes(table: pa.Table) -> list[tuple[int, int] | None]:
    """Return width and height of each row's picture as the annotation file says, None where it does not."""
    sides = (table["image_width_px"].to_pylist(), table["image_height_px"].to_pylist())
    return [None if width is None or height is None else (width, height) for width, height in zip(*sides, strict=True)]


def _square_row(recipe: Recipe, pixels: Pixels, mask: Pixels | None, box: npt.NDArray[np.float64], out: Pixels) -> None:
    """Fill ``out`` with the box on its white square; only the box itself is masked, not the whole picture."""
    left, top, width, height = (int(value) for value in box)
    rows = slice(max(top, 0), max(top + height, 0))
    columns = slice(max(left, 0), max(left + width, 0))
    patch = pixels[rows, columns]
    if mask is not None:
        patch = whiten_outside(patch, mask[rows, columns])
    moved = np.array([left - columns.start, top - rows.start, width, height], np.float64)
    square_crop(patch, moved, crop_px=recipe.crop_width_px, frame=recipe.frame, out=out)
