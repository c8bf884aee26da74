"""Confidence maps from keypoints: rounded, unbiased and UDP Gaussians, and one hot cell.

All points are in map cells (frame ``map``), maps are (N, K, h, w) with a peak of 1 (float) or 255
(uint8). What each encoding draws about a point p:

``gaussian``
    The cell ``m = int(p + 0.5)``, truncated toward zero (not floored: they differ below zero), and a
    window of 3 sigma about m. Source: microsoft/human-pose-estimation.pytorch,
    lib/dataset/JointsDataset.py; HRNet and mmpose's MSRAHeatmap do the same.
``unbiased``
    The exact p, without a window. Source: ilovepose/DarkPose, lib/dataset/JointsDataset.py.
``udp``
    The exact p, inside the window of 3 sigma about m. Source: HuangJunJie2017/UDP-Pose.
``one-hot``
    The cell ``int(p)``. Source: borarak/human-pose-estimation.

A map is empty (all zero) where the keypoint is not visible or has a coordinate that is not finite,
and where the reference leaves it empty: the window of 3 sigma lies wholly outside (``one-hot``: p does).
"""

from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from pose_data.errors import UsageError

__all__ = ["encode_heatmaps", "encode_heatmaps_uint8"]

_Float = NDArray[np.float64]
_Index = NDArray[np.intp]
_Scalar = TypeVar("_Scalar", np.float32, np.uint8)

_ENCODINGS = ("gaussian", "unbiased", "udp", "one-hot")
_CELLS_AT_ONCE = 1 << 18
"""Temporaries stay near this many cells, whatever the batch is."""
_TABLE_CELLS = 1 << 24
"""Largest table of ready-made rows; larger maps are computed window by window."""
_ROUNDING_BITS = np.float32(1.5 * 2**23)
"""Added to a float32 below 2**22, it leaves the value, rounded half to even, in the lowest bits."""


def encode_heatmaps(
    xy_map: NDArray[np.floating[Any]],
    visible: NDArray[np.bool_],
    *,
    encoding: str,
    map_width: int,
    map_height: int,
    sigma: float,
    out: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Return the maps (N, K, map_height, map_width) float32 of points ``xy_map`` (N, K, 2) in map cells.

    ``visible`` is (N, K); ``sigma`` in cells; ``out`` is filled and returned when given. The module's
    text says what each ``encoding`` draws. Raises UsageError for an unknown encoding or an ``out`` of
    another shape or type.
    """
    maps = _target(out, (*visible.shape, map_height, map_width), np.float32)
    flat = maps.reshape(-1, map_height, map_width)
    centre, drawn = _centres(xy_map, visible, encoding, flat.shape, sigma)
    if encoding == "one-hot":
        _draw_cells(centre, drawn, flat, 1)
    elif encoding == "gaussian" and _table_fits(map_width, sigma):
        _paste_rows(centre, drawn, flat, _rows_float32(map_width, sigma), _reach(sigma))
    else:
        at_once = max(1, _CELLS_AT_ONCE // (map_width * map_height))
        for first in range(0, len(flat), at_once):
            part = slice(first, first + at_once)
            origin = np.zeros((len(centre[part]), 2), dtype=np.intp)
            across, down = _profiles(centre[part], drawn[part], origin, (map_width, map_height), encoding, sigma)
            np.multiply(down[:, :, None], across[:, None, :], out=flat[part])
    return maps


def encode_heatmaps_uint8(
    xy_map: NDArray[np.floating[Any]],
    visible: NDArray[np.bool_],
    *,
    encoding: str,
    map_width: int,
    map_height: int,
    sigma: float,
    out: NDArray[np.uint8] | None = None,
) -> NDArray[np.uint8]:
    """Return ``rint(255 * maps)`` (N, K, map_height, map_width) uint8, of exactly :func:`encode_heatmaps`'s maps.

    Arguments and errors as there. Made for the inner loop of a preparation: a handful of NumPy calls
    for a batch, which release the interpreter lock where they are long.
    """
    maps = _target(out, (*visible.shape, map_height, map_width), np.uint8)
    flat = maps.reshape(-1, map_height, map_width)
    centre, drawn = _centres(xy_map, visible, encoding, flat.shape, sigma)
    if encoding == "one-hot":
        _draw_cells(centre, drawn, flat, 255)
    elif encoding == "gaussian" and _table_fits(map_width, sigma):
        _paste_rows(centre, drawn, flat, _rows_uint8(map_width, sigma), _reach(sigma))
    else:
        _paste_windows(centre, drawn, flat, encoding, sigma)
    return maps


def _target(out: NDArray[_Scalar] | None, shape: tuple[int, ...], dtype: type[_Scalar]) -> NDArray[_Scalar]:
    if out is None:
        return np.empty(shape, dtype=dtype)
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous:
        raise UsageError("option-value", f"out is not a contiguous {dtype.__name__} array of shape {shape}")
    return out


def _reach(sigma: float) -> int:
    # The slack keeps 3 * sigma whole where it is meant to be.
    return int(3.0 * sigma + 1e-6)


def _centres(
    xy_map: NDArray[np.floating[Any]],
    visible: NDArray[np.bool_],
    encoding: str,
    flat_shape: tuple[int, ...],
    sigma: float,
) -> tuple[_Float, NDArray[np.bool_]]:
    """Return the centres (M, 2), rounded where the encoding rounds, and which of them are drawn (M,)."""
    if encoding not in _ENCODINGS:
        raise UsageError("option-value", f"encoding is {encoding!r}", hint=f"one of: {', '.join(_ENCODINGS)}")
    point = np.asarray(xy_map, dtype=np.float64).reshape(-1, 2)
    finite = np.isfinite(point)
    if not finite.all():
        point = np.where(finite, point, -np.inf)
    size = np.array(flat_shape[:0:-1], dtype=np.float64)
    if encoding == "one-hot":
        inside = (point >= 0.0) & (point < size)
        centre = point
    elif encoding == "unbiased":
        inside = (point - 3.0 * sigma < size) & (point + (3.0 * sigma + 2.0) > 0.0)
        centre = point
    else:
        nearest = np.trunc(point + 0.5)
        reach = _reach(sigma)
        inside = (nearest >= -reach) & (nearest < size + reach)
        centre = nearest if encoding == "gaussian" else point
    drawn = visible.reshape(-1) & inside[:, 0] & inside[:, 1]
    return np.where(drawn[:, None], centre, 0.0), drawn


def _draw_cells(centre: _Float, drawn: NDArray[np.bool_], flat: NDArray[Any], peak: int) -> None:
    flat[...] = 0
    which = np.flatnonzero(drawn)
    cell = centre[which].astype(np.intp)
    flat[which, cell[:, 1], cell[:, 0]] = peak


# -- rounded Gaussians: every row of every map is one of a few ready-made rows


def _table_fits(map_width: int, sigma: float) -> bool:
    reach = _reach(sigma)
    return (reach + 1) * (map_width + 2 * reach) * map_width < _TABLE_CELLS


@lru_cache(maxsize=4)
def _rows_float32(map_width: int, sigma: float) -> NDArray[np.float32]:
    """Return an empty row, then row ``1 + |dy| * (w + 2 reach) + x + reach`` for a centre at x, dy rows away."""
    reach = _reach(sigma)
    away_y = np.arange(reach + 1, dtype=np.float64)[:, None, None]
    away_x = np.arange(map_width) - np.arange(-reach, map_width + reach, dtype=np.float64)[:, None]
    values = np.where(np.abs(away_x) <= reach, np.exp(-(away_x**2 + away_y**2) / (2.0 * sigma**2)), 0.0)
    rows = np.zeros((1 + values.shape[0] * values.shape[1], map_width), dtype=np.float32)
    rows[1:] = values.reshape(-1, map_width)
    rows.setflags(write=False)
    return rows


@lru_cache(maxsize=4)
def _rows_uint8(map_width: int, sigma: float) -> NDArray[np.uint8]:
    rows: NDArray[np.uint8] = np.rint(np.float32(255) * _rows_float32(map_width, sigma)).astype(np.uint8)
    rows.setflags(write=False)
    return rows


def _paste_rows(
    centre: _Float, drawn: NDArray[np.bool_], flat: NDArray[_Scalar], rows: NDArray[_Scalar], reach: int
) -> None:
    height, width = flat.shape[1:]
    cell = centre.astype(np.intp)
    # Row numbers by distance from the centre, from far above it to far below; far away means the empty row.
    away = np.abs(np.arange(-height - reach, height + reach))
    numbers = np.where(away <= reach, 1 + away * (width + 2 * reach), np.iinfo(np.int32).min)
    step = numbers.strides[0]
    by_start = as_strided(numbers, (2 * reach + height + 1, height), (step, step), writeable=False)
    index = by_start[np.where(drawn, height + reach - cell[:, 1], 0)]
    index += (cell[:, 0] + reach)[:, None]
    # Clipping turns the negative numbers into row 0, and lets take() write straight into the maps.
    np.take(rows, index, axis=0, out=flat, mode="clip")


# -- sub-pixel Gaussians: separable, and zero in uint8 outside a window


def _profiles(
    centre: _Float,
    drawn: NDArray[np.bool_],
    origin: _Index,
    size_wh: tuple[int, int],
    encoding: str,
    sigma: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the Gaussians along x (M, width) and along y (M, height) in the windows that begin at ``origin``."""
    profiles = []
    nearest = np.trunc(centre + 0.5)
    for axis, length in enumerate(size_wh):
        cell = origin[:, axis, None] + np.arange(length, dtype=np.float64)
        away = cell - centre[:, axis, None]
        np.multiply(away, away, out=away)
        away *= -0.5 / sigma**2
        value = np.exp(away, out=away).astype(np.float32)
        if encoding != "unbiased":
            cell -= nearest[:, axis, None]
            value[np.abs(cell, out=cell) > _reach(sigma)] = 0.0
        profiles.append(value)
    profiles[0][~drawn] = 0.0
    return profiles[0], profiles[1]


def _paste_windows(
    centre: _Float, drawn: NDArray[np.bool_], flat: NDArray[np.uint8], encoding: str, sigma: float
) -> None:
    flat[...] = 0
    _, height, width = flat.shape
    # 255 g rounds to 0 beyond sqrt(2 ln 510) = 3.531 sigma; a window in the map is moved, never cut.
    side = 2 * int(np.ceil(3.54 * sigma)) + 2
    across, down = min(side, width), min(side, height)
    which = np.flatnonzero(drawn)
    stride = flat.strides
    at_once = max(1, _CELLS_AT_ONCE // (across * down))
    for first in range(0, len(which), at_once):
        part = which[first : first + at_once]
        origin = np.floor(centre[part]).astype(np.intp) - (side // 2 - 1)
        np.clip(origin, 0, [width - across, height - down], out=origin)
        along_x, along_y = _profiles(centre[part], drawn[part], origin, (across, down), encoding, sigma)
        values = along_y[:, :, None] * along_x[:, None, :]
        values *= np.float32(255)
        values += _ROUNDING_BITS
        low_byte = values.view(np.uint32).astype(np.uint8)
        windows = as_strided(
            flat,
            (len(flat), height - down + 1, width - across + 1, down, across),
            (stride[0], stride[1], stride[2], stride[1], stride[2]),
        )
        windows[part, origin[:, 1], origin[:, 0]] = low_byte
