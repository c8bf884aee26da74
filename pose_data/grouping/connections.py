"""Which pairs of peaks a limb may join: the part affinity field sampled along the straight line between them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pose_data.grouping.options import GroupingOptions
from pose_data.grouping.peaks import Peaks

__all__ = ["Connections", "score_limbs"]

_Float = NDArray[np.float64]
_Index = NDArray[np.intp]

_PAIRS_AT_ONCE = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """Pairs of peaks (C,): ``limb``, ``start`` and ``end`` (indices of peaks), ``score``."""

    limb: _Index
    start: _Index
    end: _Index
    score: _Float


def score_limbs(
    peaks: Peaks, fields: NDArray[np.float32], limbs: tuple[tuple[int, int], ...], options: GroupingOptions
) -> Connections:
    """Return the pairs that may be limbs, limb by limb, the best first.

    ``fields`` (2 L, h, w) is enlarged as the maps were. The field is sampled at ``sample_count`` places from
    start to end, both included; a place passes when the field's part along the limb is above
    ``minimum_field``. A pair may be a limb when more than ``minimum_share`` of the places pass and its score
    is above 0: the mean of what passed, less the penalty for length where that is asked for. Equal scores
    stay in the order of their peaks.

    Source: Cao et al., CVPR 2017, section 2.3, for the line integral; the rest is that of
    Daniil-Osokin/lightweight-human-pose-estimation.pytorch, ``modules/keypoints.py``, whose versions before 2020
    penalised length.
    """
    field = _Field(fields, options)
    ends = np.array(limbs, dtype=np.intp).reshape(-1, 2)
    parts = [_score_pairs(_Pairs(peaks, block, ends, options.sample_count), field, options)
             for block in _blocks(peaks, ends)]  # fmt: skip
    limb, start, end, score = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return Connections(limb=limb, start=start, end=end, score=score)


def _blocks(peaks: Peaks, ends: _Index) -> list[_Index]:
    """Return the limbs in runs of few pairs: what is worked on at once stays in the processor's cache."""
    peak_count = np.bincount(peaks.map_index, minlength=int(ends.max(initial=0)) + 1)
    before = np.cumsum(peak_count[ends[:, 0]] * peak_count[ends[:, 1]]) // _PAIRS_AT_ONCE
    return np.split(np.arange(len(ends)), np.flatnonzero(np.diff(before)) + 1)


def _score_pairs(pairs: "_Pairs", field: "_Field", options: GroupingOptions) -> tuple[_Index, _Index, _Index, _Float]:
    count, total = np.zeros(len(pairs.limb), dtype=np.intp), np.zeros(len(pairs.limb))
    may_fail = options.sample_count - options.needed_samples()
    for looks, place in enumerate(_spread(options.sample_count), start=1):
        value = field.along(pairs, place)
        passes = value > options.minimum_field
        count += passes
        total += np.where(passes, value, 0.0)
        # Most pairs fail at once: what cannot pass any more is not looked at again.
        hopeful = count >= looks - may_fail
        if np.count_nonzero(hopeful) < 0.8 * len(hopeful):
            which = np.flatnonzero(hopeful)
            pairs, count, total = pairs.taken(which), count[which], total[which]
    score = total / np.maximum(count, 1)
    if options.penalise_length:
        score += np.minimum(field.half_height / pairs.length - 1.0, 0.0)
    good = np.flatnonzero((count >= options.needed_samples()) & (score > 0.0))
    good = good[np.lexsort((-score[good], pairs.limb[good]))]
    return pairs.limb[good], pairs.start[good], pairs.end[good], score[good]


def _spread(count: int) -> list[int]:
    """Return the places 0 … count - 1, those first that lie in the middle of what was not looked at."""
    order, waiting = list[int](), [(0, count)]
    while waiting:
        first, last = waiting.pop(0)
        if first < last:
            middle = (first + last) // 2
            order.append(middle)
            waiting += [(middle + 1, last), (first, middle)]
    return order


class _Pairs:
    """All that is known of pairs of peaks (C,): where the line begins, its step from place to place, its direction."""

    __slots__ = ("end", "length", "limb", "start", "step_x", "step_y", "unit_x", "unit_y", "x", "y")

    def __init__(self, peaks: Peaks, limbs: _Index, ends: _Index, sample_count: int) -> None:
        limb, start, end = _all_pairs(peaks.map_index, limbs, ends)
        x, y = peaks.xy_grid[:, 0].copy(), peaks.xy_grid[:, 1].copy()
        across, down = x[end] - x[start], y[end] - y[start]
        length = np.sqrt(across * across + down * down)
        if not length.all():
            which = np.flatnonzero(length)
            limb, start, end, length = limb[which], start[which], end[which], length[which]
            across, down = across[which], down[which]
        self.limb, self.start, self.end, self.length = limb, start, end, length
        self.x, self.y = x[start], y[start]
        self.step_x, self.step_y = across / (sample_count - 1), down / (sample_count - 1)
        self.unit_x, self.unit_y = across / length, down / length

    def taken(self, which: _Index) -> "_Pairs":
        """Return some of the pairs."""
        some = object.__new__(_Pairs)
        for name in _Pairs.__slots__:
            setattr(some, name, getattr(self, name)[which])
        return some


def _all_pairs(map_index: _Index, limbs: _Index, ends: _Index) -> tuple[_Index, _Index, _Index]:
    """Return (limb, start peak, end peak) of every pair that could be one of ``limbs``; peaks are sorted by map."""
    bound = np.searchsorted(map_index, np.arange(int(ends.max(initial=0)) + 2))
    first, count = bound[:-1], np.diff(bound)
    # One row for every possible start, with as many pairs as there are ends.
    rows = count[ends[limbs, 0]]
    row_limb = np.repeat(limbs, rows)
    row_start = _ramps(first[ends[limbs, 0]], rows)
    lengths = count[ends[row_limb, 1]]
    end = _ramps(first[ends[row_limb, 1]], lengths)
    return np.repeat(row_limb, lengths), np.repeat(row_start, lengths), end


def _ramps(first: _Index, length: _Index) -> _Index:
    """Return ``first[i], first[i] + 1, …`` of ``length[i]`` numbers each, one after the other."""
    before = np.cumsum(length) - length
    ramps: _Index = np.arange(int(length.sum())) + np.repeat(first - before, length)
    return ramps


class _Field:
    """Fields (2 L, h, w), and what they say along pairs of peaks."""

    __slots__ = ("_flat", "_height", "_offset", "_vectors", "_width", "half_height")

    def __init__(self, fields: NDArray[np.float32], options: GroupingOptions) -> None:
        _, self._height, self._width = fields.shape
        self.half_height = self._height // 2
        self._offset = options.field_offset_cells * options.upsample
        self._flat = fields.reshape(-1)
        self._vectors: NDArray[np.complex64] | None = None
        if options.sampling == "bilinear":
            # Both parts of a vector in one number: half as many places to fetch it from.
            self._vectors = (fields[0::2] + np.complex64(1j) * fields[1::2]).reshape(-1)

    def along(self, pairs: _Pairs, place: int) -> _Float:
        """Return (C,): the field's part along each pair's line, ``place`` steps from its start."""
        x = pairs.x + place * pairs.step_x
        y = pairs.y + place * pairs.step_y
        if self._offset:
            # Peaks lie in the maps: only the offset leads out of the field, to the right and below.
            np.minimum(x + self._offset, self._width - 1.0, out=x)
            np.minimum(y + self._offset, self._height - 1.0, out=y)
        if self._vectors is None:
            return self._nearest(pairs, x, y)
        return self._bilinear(pairs, x, y, self._vectors)

    def _nearest(self, pairs: _Pairs, x: _Float, y: _Float) -> _Float:
        cell = np.rint(y).astype(np.intp)
        cell += 2 * self._height * pairs.limb
        cell *= self._width
        cell += np.rint(x).astype(np.intp)
        value: _Float = self._flat[cell] * pairs.unit_x
        cell += self._height * self._width
        value += self._flat[cell] * pairs.unit_y
        return value

    def _bilinear(self, pairs: _Pairs, x: _Float, y: _Float, vectors: NDArray[np.complex64]) -> _Float:
        left, above = x.astype(np.intp), y.astype(np.intp)
        cell = (pairs.limb * self._height + above) * self._width + left
        to_right, to_below = left < self._width - 1, self._width * (above < self._height - 1)
        x -= left
        y -= above
        upper, lower = vectors[cell], vectors[cell + to_below]
        cell += to_right
        upper = upper + x * (vectors[cell] - upper)
        lower = lower + x * (vectors[cell + to_below] - lower)
        upper += y * (lower - upper)
        value: _Float = upper.real * pairs.unit_x + upper.imag * pairs.unit_y
        return value
