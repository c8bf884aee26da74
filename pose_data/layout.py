"""The layout of a split: which arrays it has, their shapes and types, and how their chunks are coded.

The table of ``docs/store-format.md`` in code. An array is either *sharded* (many inner chunks in
one file: images and maps) or a *column* (one chunk a shard). Of scenes, some columns have a place for every
person instead of one for every row: as many a shard as the fullest shard needs, so that a shard is still one file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from pose_data.limbs import find_limb_table
from pose_data.recipes import Recipe

__all__ = ["MAP_ARRAYS", "ArrayLayout", "ChunkCodec", "map_arrays", "scene_map_arrays", "split_arrays"]

ChunkCodec = Literal["blosc-lz4-bitshuffle", "blosc-lz4", "zstd", "none", "jpeg"]

MAP_ARRAYS = ("heatmaps", "simcc_x", "simcc_y", "pafs", "mask")
"""Names that arrays of training targets may have."""

_IMAGE_CODECS: Mapping[str, ChunkCodec] = MappingProxyType(
    {"lossless": "blosc-lz4-bitshuffle", "fast": "blosc-lz4", "raw": "none", "jpeg": "jpeg"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayLayout:
    """One array: ``row_shape`` is the shape of one row, ``dimensions`` names all axes."""

    name: str
    row_shape: tuple[int, ...]
    dtype: np.dtype[Any]
    dimensions: tuple[str, ...]
    codec: ChunkCodec = "none"
    sharded: bool = False
    jpeg_quality: int = 95
    attributes: Mapping[str, Any] = field(default_factory=dict)
    persons_a_shard: int = 0
    """Places of a shard in an array that has one for every person; 0: it has one for every row."""

    @property
    def of_persons(self) -> bool:
        """Return whether the array has a place for every person of a scene, and not for every row."""
        return self.persons_a_shard > 0

    def places(self, rows: int, shard_rows: int) -> int:
        """Return the length of the array in a split of so many rows and rows a shard."""
        return -(-rows // shard_rows) * self.persons_a_shard if self.of_persons else rows

    def places_a_shard(self, shard_rows: int) -> int:
        """Return how much of the array one shard holds."""
        return self.persons_a_shard or shard_rows

    def row_bytes(self) -> int:
        """Return the size of one decoded row."""
        return int(np.prod(self.row_shape, dtype=np.int64)) * self.dtype.itemsize


def map_arrays(recipe: Recipe, keypoint_count: int) -> tuple[ArrayLayout, ...]:
    """Return the arrays of training targets that a recipe makes, each row in the window's frame."""
    dtype = np.dtype(recipe.map_dtype)
    scale = 1.0 / 255.0 if recipe.map_dtype == "uint8" else 1.0
    if recipe.encoding == "simcc":
        lengths = {
            "simcc_x": round(recipe.crop_width_px * recipe.split_ratio),
            "simcc_y": round(recipe.crop_height_px * recipe.split_ratio),
        }
        return tuple(
            ArrayLayout(
                name=name, row_shape=(keypoint_count, bins), dtype=dtype, dimensions=("row", "keypoint", "bin"),
                codec="zstd", sharded=True, attributes={"scale": scale, "split_ratio": recipe.split_ratio},
            )
            for name, bins in lengths.items()
        )  # fmt: skip
    return (
        ArrayLayout(
            name="heatmaps", row_shape=(keypoint_count, recipe.map_height, recipe.map_width), dtype=dtype,
            dimensions=("row", "keypoint", "y", "x"), codec="zstd", sharded=True,
            attributes={"scale": scale, "encoding": recipe.encoding, "sigma_cells": recipe.sigma},
        ),
    )  # fmt: skip


def scene_map_arrays(recipe: Recipe) -> tuple[ArrayLayout, ...]:
    """Return the arrays of a scene's training targets: maps, fields and mask, of the whole stored picture."""
    table = find_limb_table(recipe.limbs)
    width, height = recipe.stored_width_px // recipe.stride_px, recipe.stored_height_px // recipe.stride_px
    map_dtype, field_dtype = np.dtype(recipe.map_dtype), np.dtype(recipe.field_dtype)
    names = [*table.skeleton.names, "background"]
    limbs = [[table.skeleton.names[start], table.skeleton.names[end]] for start, end in table.limbs]
    drawn = {"stride_px": recipe.stride_px}

    def targets(name: str, dtype: np.dtype[Any], axes: tuple[str, ...], channels: tuple[int, ...], **attributes: Any
                ) -> ArrayLayout:  # fmt: skip
        return ArrayLayout(
            name=name, row_shape=(*channels, height, width), dtype=dtype, dimensions=("row", *axes, "y", "x"),
            codec="zstd", sharded=True, attributes={**attributes, **drawn},
        )  # fmt: skip

    return (
        targets(
            "heatmaps", map_dtype, ("keypoint",), (len(names),), scale=1.0 / 255.0 if map_dtype == np.uint8 else 1.0,
            encoding=recipe.encoding, sigma_cells=recipe.sigma, overlap=recipe.map_overlap, keypoints=names,
        ),
        targets(
            "pafs", field_dtype, ("limb_x_y",), (2 * len(limbs),), scale=1.0 / 127.0 if field_dtype == np.int8 else 1.0,
            limb_table=recipe.limbs, limbs=limbs, overlap=recipe.field_overlap, limb_region=recipe.limb_region,
            limb_half_width_cells=recipe.limb_half_width,
        ),
        targets("mask", np.dtype(np.uint8), (), (), scale=1.0 / 255.0, rule=recipe.untrained),
    )  # fmt: skip


def split_arrays(recipe: Recipe, keypoint_count: int, persons_a_shard: int = 1) -> tuple[ArrayLayout, ...]:
    """Return all arrays of a split, in the order in which a shard's files are written.

    ``persons_a_shard`` is the number of persons in the fullest shard, for scenes.
    """
    images = ArrayLayout(
        name="images",
        row_shape=(recipe.stored_height_px, recipe.stored_width_px, 3),
        dtype=np.dtype(np.uint8),
        dimensions=("row", "y", "x", "channel"),
        codec=_IMAGE_CODECS[recipe.image_codec],
        sharded=True,
        jpeg_quality=recipe.jpeg_quality,
        attributes={
            "colour_order": "RGB",
            "window_xywh": [recipe.context_px, recipe.context_px, recipe.crop_width_px, recipe.crop_height_px],
        },
    )
    if recipe.rows == "scenes":
        return (images, *scene_map_arrays(recipe), *_scene_columns(keypoint_count, persons_a_shard))
    return (images, *map_arrays(recipe, keypoint_count), *_columns(keypoint_count))


def _column(
    name: str, dtype: type, *row_shape: tuple[int, str], note: str = "", persons_a_shard: int = 0
) -> ArrayLayout:
    return ArrayLayout(
        name=name,
        row_shape=tuple(size for size, _ in row_shape),
        dtype=np.dtype(dtype),
        dimensions=("person" if persons_a_shard else "row", *(label for _, label in row_shape)),
        attributes={"frame": note} if note else {},
        persons_a_shard=persons_a_shard,
    )


def _columns(keypoint_count: int) -> tuple[ArrayLayout, ...]:
    return (
        _column("keypoints", np.float32, (keypoint_count, "keypoint"), (3, "x_y_visibility"), note="stored image"),
        _column("transforms", np.float64, (2, "output"), (3, "input"), note="stored image to source picture"),
        _column("annotation_id", np.int64),
        _column("image_id", np.int64),
        _column("bbox_xywh", np.float64, (4, "x_y_width_height"), note="source picture"),
        _column("area", np.float64),
        _column("score", np.float64),
        _column("iscrowd", np.bool_),
        _column("kept", np.bool_),
    )


def _scene_columns(keypoint_count: int, persons_a_shard: int) -> tuple[ArrayLayout, ...]:
    def of_persons(name: str, dtype: type, *row_shape: tuple[int, str], note: str = "") -> ArrayLayout:
        return _column(name, dtype, *row_shape, note=note, persons_a_shard=persons_a_shard)

    return (
        of_persons("keypoints", np.float32, (keypoint_count, "keypoint"), (3, "x_y_visibility"), note="stored image"),
        of_persons("annotation_id", np.int64),
        of_persons("bbox_xywh", np.float64, (4, "x_y_width_height"), note="source picture"),
        of_persons("area", np.float64),
        of_persons("score", np.float64),
        _column("offsets", np.int64, (2, "first_end")),
        _column("transforms", np.float64, (2, "output"), (3, "input"), note="stored image to source picture"),
        _column("image_id", np.int64),
        _column("kept", np.bool_),
    )
