"""The layout of a split: which arrays it has, their shapes and types, and how their chunks are coded.

The table of ``docs/store-format.md`` in code. An array is either *sharded* (many inner chunks in
one file: images and maps) or a *column* (one chunk a shard).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from pose_data.recipes import Recipe

__all__ = ["MAP_ARRAYS", "ArrayLayout", "ChunkCodec", "map_arrays", "split_arrays"]

ChunkCodec = Literal["blosc-lz4-bitshuffle", "blosc-lz4", "zstd", "none", "jpeg"]

MAP_ARRAYS = ("heatmaps", "simcc_x", "simcc_y")
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


def split_arrays(recipe: Recipe, keypoint_count: int) -> tuple[ArrayLayout, ...]:
    """Return all arrays of a split, in the order in which a shard's files are written."""
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
    return (images, *map_arrays(recipe, keypoint_count), *_columns(keypoint_count))


def _columns(keypoint_count: int) -> tuple[ArrayLayout, ...]:
    def column(name: str, dtype: type, *row_shape: tuple[int, str], note: str = "") -> ArrayLayout:
        return ArrayLayout(
            name=name,
            row_shape=tuple(size for size, _ in row_shape),
            dtype=np.dtype(dtype),
            dimensions=("row", *(label for _, label in row_shape)),
            attributes={"frame": note} if note else {},
        )

    return (
        column("keypoints", np.float32, (keypoint_count, "keypoint"), (3, "x_y_visibility"), note="stored image"),
        column("transforms", np.float64, (2, "output"), (3, "input"), note="stored image to source picture"),
        column("annotation_id", np.int64),
        column("image_id", np.int64),
        column("bbox_xywh", np.float64, (4, "x_y_width_height"), note="source picture"),
        column("area", np.float64),
        column("score", np.float64),
        column("iscrowd", np.bool_),
        column("kept", np.bool_),
    )
