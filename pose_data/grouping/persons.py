"""Persons from limbs: assembly along the limb table, closing limbs, pruning.

Limbs are followed outward (:meth:`pose_data.limbs.LimbTable.steps`). A connection whose nearer peak
belongs to a person gives that person its farther peak; otherwise it begins a person. A person's score is
the sum of the scores of its peaks and connections. What a *closing* limb does, between two keypoints
that other limbs reach already:

``copy``
    Every person that has one end and lacks the other gets it, uncounted, even when another person has it:
    the lightweight port.
``merge``
    Two persons without a common keypoint become one; a free peak is given to the person at the other end;
    both are counted. For when a neck is missing: the head is not lost.

With ``join_reach``, every peak that is left begins a fragment, and fragments are joined by their distance
(:mod:`pose_data.grouping.fragments`): that is not published anywhere, and guesses.

Persons of fewer than ``minimum_joints`` counted keypoints, or of a score below ``minimum_mean_score`` for
each of them, are dropped.

Source: Daniil-Osokin/lightweight-human-pose-estimation.pytorch, ``modules/keypoints.py`` and ``val.py``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose_data.errors import ModelError, UsageError
from pose_data.grouping.assignment import assign_greedy, assign_optimal
from pose_data.grouping.connections import score_limbs
from pose_data.grouping.fragments import nearest_joins
from pose_data.grouping.options import GROUPINGS, GroupingOptions
from pose_data.grouping.peaks import Peaks, find_peaks, upsample_maps
from pose_data.limbs import LimbTable

__all__ = ["Persons", "group_persons"]

_Float = NDArray[np.float64]
_Index = NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Persons:
    """The persons (D) of one picture, in the order in which they were begun.

    ``keypoints`` (D, K, 3) float64: x and y in cells of the maps as given (frame ``map``), and the peak's score;
    all 0 where the keypoint was not found. ``score`` (D,): sum over the person. ``joint_count`` (D,).
    """

    keypoints: _Float
    score: _Float
    joint_count: _Index

    def coco_score(self) -> _Float:
        """Return the scores (D,) that rank persons in COCO's results: ``score * (joint_count - 1)``, as published."""
        return self.score * np.maximum(self.joint_count - 1, 0)

    def keypoints_input(self, stride_px: int = 8) -> _Float:
        """Return ``keypoints`` with x and y in pixels of the network's input, cell i being at (i + ½) stride - ½."""
        moved = self.keypoints.copy()
        moved[..., :2] = np.where(moved[..., 2:] > 0.0, (moved[..., :2] + 0.5) * stride_px - 0.5, 0.0)
        return moved


def group_persons(
    maps: NDArray[np.floating[Any]],
    fields: NDArray[np.floating[Any]],
    table: LimbTable,
    options: GroupingOptions = GROUPINGS["published"],
) -> list[Persons]:
    """Return the persons of each of N pictures.

    ``maps`` is (N, K, h, w) or, with a background that is not looked at, (N, K + 1, h, w); ``fields`` (N, 2 L, h, w),
    channels as in ``table``. Raises UsageError for other shapes and ModelError for numbers that are not finite.
    """
    keypoint_count, limb_count = table.skeleton.keypoint_count, len(table.limbs)
    fits = maps.ndim == fields.ndim == 4 and maps.shape[1] in (keypoint_count, keypoint_count + 1)
    if not fits or fields.shape != (maps.shape[0], 2 * limb_count, *maps.shape[2:]):
        raise UsageError(
            "maps-shape",
            f"maps of shape {maps.shape} and fields of shape {fields.shape} are not those of {table.name}",
            hint=f"(N, {keypoint_count} or {keypoint_count + 1}, h, w) and (N, {2 * limb_count}, h, w)",
        )
    if not (np.isfinite(maps).all() and np.isfinite(fields).all()):
        raise ModelError("output-not-finite", "the network's maps or fields hold numbers that are not finite")
    return [_group(maps[index, :keypoint_count], fields[index], table, options) for index in range(len(maps))]


def _group(
    maps: NDArray[np.floating[Any]], fields: NDArray[np.floating[Any]], table: LimbTable, options: GroupingOptions
) -> Persons:
    peaks = find_peaks(upsample_maps(maps, options.upsample), options)
    possible = score_limbs(peaks, upsample_maps(fields, options.upsample), table.limbs, options)
    connections = assign_greedy(possible) if options.assignment == "greedy" else assign_optimal(possible)
    draft = _Draft(peaks, table.skeleton.keypoint_count)
    bounds = np.searchsorted(connections.limb, np.arange(len(table.limbs) + 1))
    for limb, near, far, closing in table.steps():
        part = slice(bounds[limb], bounds[limb + 1])
        start, end, score = connections.start[part], connections.end[part], connections.score[part]
        if (near, far) != table.limbs[limb]:
            start, end = end, start
        if not closing:
            draft.grow(near, far, start, end, score)
        elif options.closing == "copy":
            draft.copy(near, far, start, end)
        else:
            draft.merge(near, far, start, end, score)
    if options.join_reach > 0.0:
        draft.join_nearest(peaks, options)
    return draft.persons(peaks, options)


class _Draft:
    """Persons while they are put together: rows of peak indices, -1 where a keypoint is missing."""

    __slots__ = ("_copied", "_count", "_members", "_peak_score", "_person_of", "_size", "_total")

    def __init__(self, peaks: Peaks, keypoint_count: int) -> None:
        # No more persons than peaks can begin.
        room = len(peaks.score)
        self._members = np.full((room, keypoint_count), -1, dtype=np.intp)
        self._total, self._count = np.zeros(room), np.zeros(room, dtype=np.intp)
        self._person_of = np.full(room, -1, dtype=np.intp)
        self._copied = np.zeros(room, dtype=np.bool_)
        self._peak_score = peaks.score
        self._size = 0

    def grow(self, near: int, far: int, start: _Index, end: _Index, score: _Float) -> None:
        """Give the persons of the peaks ``start`` of keypoint ``near`` the peaks ``end`` of ``far``."""
        self._begin(near, start[self._person_of[start] < 0])
        self._add(self._person_of[start], far, end, self._peak_score[end] + score)

    def copy(self, near: int, far: int, start: _Index, end: _Index) -> None:
        """Complete persons that lack one end, uncounted."""
        members = self._members[: self._size]
        mine, theirs = self._person_of[start], self._person_of[end]
        # Nobody lacks what one person has both ends of, unless another person got a copy of an end.
        open_to_all = (mine != theirs) | (mine < 0) | self._copied[start] | self._copied[end]
        for one, other in zip(start[open_to_all].tolist(), end[open_to_all].tolist(), strict=True):
            lacks_far = (members[:, near] == one) & (members[:, far] < 0)
            lacks_near = (members[:, far] == other) & (members[:, near] < 0)
            members[lacks_far, far] = other
            members[lacks_near, near] = one
            self._copied[one] |= lacks_near.any()
            self._copied[other] |= lacks_far.any()

    def merge(self, near: int, far: int, start: _Index, end: _Index, score: _Float) -> None:
        """Join the two persons of each connection, or give one of them the free peak."""
        for one, other, value in zip(start.tolist(), end.tolist(), score.tolist(), strict=True):
            first, second = self._person_of[one], self._person_of[other]
            if first == second:
                continue
            if first >= 0 and second >= 0:
                self._join(min(first, second), max(first, second), value)
            elif first >= 0 and self._members[first, far] < 0:
                self._add(first, far, other, self._peak_score[other] + value)
            elif second >= 0 and self._members[second, near] < 0:
                self._add(second, near, one, self._peak_score[one] + value)

    def join_nearest(self, peaks: Peaks, options: GroupingOptions) -> None:
        """Begin fragments with the free peaks, and join fragments that lie near each other."""
        free = np.flatnonzero(self._person_of < 0)
        person = np.arange(self._size, self._size + len(free))
        self._size += len(free)
        self._add(person, peaks.map_index[free], free, self._peak_score[free])
        whole = np.flatnonzero(self._count[: self._size] > 0)
        xy_map = peaks.xy_grid / options.upsample
        for stays, goes in nearest_joins(self._members[whole], xy_map, options.join_reach):
            self._join(whole[stays], whole[goes], 0.0)

    def persons(self, peaks: Peaks, options: GroupingOptions) -> Persons:
        """Return the persons that are left after pruning."""
        count, total = self._count[: self._size], self._total[: self._size]
        stays = (count > 0) & (count >= options.minimum_joints)
        stays &= total >= options.minimum_mean_score * count
        members = self._members[: self._size][stays]
        found = np.zeros((*members.shape, 3))
        who, keypoint = np.nonzero(members >= 0)
        peak = members[who, keypoint]
        found[who, keypoint, :2] = (peaks.xy_grid[peak] + 0.5) / options.upsample - 0.5
        found[who, keypoint, 2] = peaks.score[peak]
        return Persons(keypoints=found, score=total[stays], joint_count=count[stays])

    def _begin(self, keypoint: int, peak: _Index) -> None:
        person = np.arange(self._size, self._size + len(peak))
        self._size += len(peak)
        self._add(person, keypoint, peak, self._peak_score[peak])

    def _add(self, person: Any, keypoint: Any, peak: Any, score: Any) -> None:
        """Give each person, all different, one peak."""
        self._members[person, keypoint] = peak
        self._person_of[peak] = person
        self._total[person] += score
        self._count[person] += 1

    def _join(self, stays: int, goes: int, score: float) -> None:
        mine, theirs = self._members[stays], self._members[goes]
        if ((mine >= 0) & (theirs >= 0)).any():
            return
        self._person_of[theirs[theirs >= 0]] = stays
        np.maximum(mine, theirs, out=mine)
        self._total[stays] += self._total[goes] + score
        self._count[stays] += self._count[goes]
        theirs[:], self._total[goes], self._count[goes] = -1, 0.0, 0
