"""Enlarged maps, and their peaks: a maximum filter over all maps at once, suppression, sub-cell refinement."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose_data.grouping.options import GroupingOptions

__all__ = ["Peaks", "find_peaks", "upsample_maps"]

_Float = NDArray[np.float64]
_Index = NDArray[np.intp]
_Maps = NDArray[np.floating[Any]]

_CUBIC = -0.75
"""The free parameter of the cubic kernel, as OpenCV has it."""
_TILE_CELLS = 12
"""Enlarging works on so many cells at once: small products cost least of those measured, 8 to 1,000."""
_FLOOR = 1e-3
"""Least value whose logarithm is taken: the bicubic kernel swings below zero beside a peak."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peaks:
    """Peaks (P,) of some maps, in the order of their map, then x, then y.

    ``map_index`` (P,); ``xy_grid`` (P, 2) float64 in cells of the maps that were looked at; ``score`` (P,) float64.
    """

    map_index: _Index
    xy_grid: _Float
    score: _Float


def upsample_maps(maps: _Maps, factor: int) -> NDArray[np.float32]:
    """Return maps (M, h, w) enlarged ``factor`` times by bicubic interpolation, (M, h factor, w factor) float32.

    Cell u of the result is at ``(u + 1/2) / factor - 1/2`` of the input, and cells beyond the border repeat
    it. The same as OpenCV's ``resize`` with ``INTER_CUBIC``, to float32 rounding: kernel of Keys, "Cubic
    Convolution Interpolation", 1981, with a = -0.75. Products with small dense matrices: NumPy has no
    faster way.
    """
    small = np.ascontiguousarray(maps, dtype=np.float32)
    if factor == 1:
        return small
    count, height, width = small.shape
    across = np.empty((count, height, width * factor), dtype=np.float32)
    for inner, outer in _tiles(width, factor):
        np.matmul(small[:, :, inner], _interpolation(width, factor)[outer, inner].T, out=across[:, :, outer])
    large = np.empty((count, height * factor, width * factor), dtype=np.float32)
    for inner, outer in _tiles(height, factor):
        np.matmul(_interpolation(height, factor)[outer, inner], across[:, inner], out=large[:, outer])
    return large


def _tiles(length: int, factor: int) -> Iterator[tuple[slice, slice]]:
    """Yield (cells, enlarged cells) piece by piece: two cells beyond a piece are all that it depends on."""
    for first in range(0, length, _TILE_CELLS):
        last = min(first + _TILE_CELLS, length)
        yield slice(max(first - 2, 0), min(last + 2, length)), slice(first * factor, last * factor)


@lru_cache(maxsize=32)
def _interpolation(length: int, factor: int) -> NDArray[np.float32]:
    """Return the matrix (length factor, length) that interpolates along one axis."""
    at = (np.arange(length * factor) + 0.5) / factor - 0.5
    first = np.floor(at).astype(np.intp)
    matrix = np.zeros((length * factor, length))
    for tap in range(-1, 3):
        away = np.abs(at - (first + tap))
        near = ((_CUBIC + 2.0) * away - (_CUBIC + 3.0)) * away * away + 1.0
        far = (((away - 5.0) * away + 8.0) * away - 4.0) * _CUBIC
        np.add.at(matrix, (np.arange(len(at)), np.clip(first + tap, 0, length - 1)), np.where(away <= 1.0, near, far))
    weights = matrix.astype(np.float32)
    weights.setflags(write=False)
    return weights


def find_peaks(maps: NDArray[np.float32], options: GroupingOptions) -> Peaks:
    """Return the peaks of maps (M, h, w), which are already enlarged ``options.upsample`` times.

    A cell is a peak when it is at least ``minimum_peak``, above its left and upper neighbour and not below
    its right and lower one. (The lightweight port wants it above all four, and so loses a keypoint that
    lies just between two cells.) The strongest ``maximum_peaks`` of a map are kept, and refined where that is
    asked for; then of two nearer than ``peak_distance_cells`` the one further right goes, or the weaker one.
    """
    which = np.flatnonzero(_maxima(maps, options.minimum_peak))
    _, height, width = maps.shape
    row_of_all, column = np.divmod(which, width)
    index, row = np.divmod(row_of_all, height)
    score = maps.reshape(-1)[which].astype(np.float64)
    chosen = _strongest(index, score, options.maximum_peaks)
    index, column, row, score = index[chosen], column[chosen], row[chosen], score[chosen]
    xy = np.stack([column, row], axis=-1).astype(np.float64)
    if options.refine:
        xy, score = _refined(maps, index, column, row)
    order = np.lexsort((xy[:, 1], xy[:, 0], index))
    index, xy, score = index[order], xy[order], score[order]
    kept = _apart(index, xy, score, options)
    return Peaks(map_index=index[kept], xy_grid=xy[kept], score=score[kept])


def _maxima(maps: NDArray[np.float32], minimum: float) -> NDArray[np.bool_]:
    # One comparison for each direction, over all maps as if they were one line; the borders are put right after.
    width = maps.shape[2]
    flat = maps.reshape(-1)
    is_peak: NDArray[np.bool_] = flat >= minimum
    for step, first, last in (
        (1, np.s_[:, :, 0], np.s_[:, :, -1]),
        (width, np.s_[:, 0], np.s_[:, -1]),
    ):
        rises = np.ones(len(flat) + step, dtype=np.bool_)
        np.greater(flat[step:], flat[:-step], out=rises[step:-step])
        above_before = rises[:-step].copy().reshape(maps.shape)
        not_below_after = ~rises[step:].reshape(maps.shape)
        above_before[first], not_below_after[last] = True, True
        is_peak &= above_before.reshape(-1)
        is_peak &= not_below_after.reshape(-1)
    return is_peak


def _strongest(index: _Index, score: _Float, maximum: int) -> _Index:
    """Return which of the peaks, sorted by map, are among the ``maximum`` strongest of their map, in order."""
    counts = np.bincount(index)
    if not len(index) or counts.max() <= maximum:
        return np.arange(len(index))
    by_score = np.lexsort((-score, index))
    rank = np.arange(len(index)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(by_score[rank < maximum])


def _apart(index: _Index, xy: _Float, score: _Float, options: GroupingOptions) -> NDArray[np.bool_]:
    """Return which peaks stay (P,), where none suppresses another that was suppressed itself."""
    kept = np.ones(len(index), dtype=np.bool_)
    first, second = _near_pairs(index, xy[:, 0], xy[:, 1], options.peak_distance_cells * options.upsample)
    if not len(first):
        return kept
    if options.peak_priority == "strongest":
        swap = score[second] > score[first]
        first, second = np.where(swap, second, first), np.where(swap, first, second)
        order = np.argsort(-score[first], kind="stable")
    else:
        order = np.argsort(first, kind="stable")
    for stays, goes in zip(first[order].tolist(), second[order].tolist(), strict=True):
        if kept[stays]:
            kept[goes] = False
    return kept


def _near_pairs(index: _Index, x: _Float, y: _Float, distance: float) -> tuple[_Index, _Index]:
    """Return the pairs (i, j), i < j, of one map's peaks nearer than ``distance``; peaks are sorted by map and x."""
    firsts, seconds = [np.empty(0, dtype=np.intp)], [np.empty(0, dtype=np.intp)]
    candidate = np.arange(len(index))
    for step in range(1, len(index)):
        candidate = candidate[candidate + step < len(index)]
        across = x[candidate + step] - x[candidate]
        beside = (index[candidate + step] == index[candidate]) & (across < distance)
        candidate, across = candidate[beside], across[beside]
        if not len(candidate):
            break
        down = y[candidate + step] - y[candidate]
        near = candidate[across * across + down * down < distance * distance]
        firsts.append(near)
        seconds.append(near + step)
    return np.concatenate(firsts), np.concatenate(seconds)


def _refined(maps: NDArray[np.float32], index: _Index, column: _Index, row: _Index) -> tuple[_Float, _Float]:
    """Return the tops (P, 2) and their values (P,) of the Gaussians through each peak and its four neighbours."""
    _, height, width = maps.shape
    top = here = np.log(np.maximum(maps[index, row, column].astype(np.float64), _FLOOR))
    found = np.empty((len(index), 2))
    for axis, (cell, size) in enumerate(((column, width), (row, height))):
        sides = []
        for step in (-1, 1):
            beside = np.clip(cell + step, 0, size - 1)
            value = maps[index, row, beside] if axis == 0 else maps[index, beside, column]
            sides.append(np.log(np.maximum(value.astype(np.float64), _FLOOR)))
        slope, bend = 0.5 * (sides[1] - sides[0]), 2.0 * here - sides[0] - sides[1]
        inner = (cell > 0) & (cell < size - 1) & (bend > 1e-12)
        shift = np.where(inner, np.clip(slope / np.where(inner, bend, 1.0), -0.5, 0.5), 0.0)
        found[:, axis] = cell + shift
        top = top + shift * slope - 0.5 * shift * shift * bend
    return found, np.exp(top)
