"""Joining what no limb joins: parts of persons, and single peaks, that lie near each other and lack each other."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["nearest_joins"]

_Float = NDArray[np.float64]
_Index = NDArray[np.intp]

_LEAST_EXTENT_CELLS = 8.0
"""A single peak says nothing of its person's size; this is a person of 64 pixels at a stride of 8."""


def nearest_joins(members: _Index, xy: _Float, reach: float) -> list[tuple[int, int]]:
    """Return pairs (stays, goes) of fragments to join one after the other, the nearest first; stays < goes.

    ``members`` (F, K) are indices of peaks, -1 where a keypoint is missing, ``xy`` (P, 2) the peaks' places in map
    cells. Two fragments may be joined when they have no keypoint in common and their nearest peaks are less
    than ``reach`` times the larger one's extent apart: the longer side of the box about its peaks, at least
    8 cells. The joined fragment takes the place of ``stays``.
    """
    has = members >= 0
    apart = ~(has.astype(np.float32) @ has.T.astype(np.float32) > 0.0)
    which = np.flatnonzero(apart.any(axis=1))
    if not len(which):
        return []
    has, apart = has[which], apart[np.ix_(which, which)]
    fragment, keypoint = np.nonzero(has)
    place = xy[members[which][fragment, keypoint]]
    first = np.searchsorted(fragment, np.arange(len(which)))
    low, high = np.minimum.reduceat(place, first), np.maximum.reduceat(place, first)
    gap = _gaps(place, first)
    extent = np.maximum((high - low).max(axis=1), _LEAST_EXTENT_CELLS)
    cost = np.where(apart & (gap < reach * np.maximum(extent[:, None], extent)), gap, np.inf)
    alive, joins = np.ones(len(which), dtype=np.bool_), list[tuple[int, int]]()
    while True:
        one, other = sorted(divmod(int(np.argmin(cost)), len(cost)))
        if not np.isfinite(cost[one, other]):
            return joins
        joins.append((int(which[one]), int(which[other])))
        has[one] |= has[other]
        low[one], high[one] = np.minimum(low[one], low[other]), np.maximum(high[one], high[other])
        extent[one] = max(float((high[one] - low[one]).max()), _LEAST_EXTENT_CELLS)
        gap[one] = gap[:, one] = np.minimum(gap[one], gap[other])
        alive[other], cost[other], cost[:, other] = False, np.inf, np.inf
        free = alive & ~(has & has[one]).any(axis=1) & (gap[one] < reach * np.maximum(extent, extent[one]))
        cost[one] = cost[:, one] = np.where(free, gap[one], np.inf)


def _gaps(place: _Float, first: _Index) -> _Float:
    """Return the distances (F, F) between the nearest peaks of fragments; each fragment's begin at ``first``."""
    rows = np.split(place, first[1:])
    squares = np.empty((len(first), len(place)))
    for index, mine in enumerate(rows):
        away = place - mine[:, None]
        away *= away
        np.min(away[..., 0] + away[..., 1], axis=0, out=squares[index])
    gaps: _Float = np.sqrt(np.minimum.reduceat(squares, first, axis=1))
    return gaps
