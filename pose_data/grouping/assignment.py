"""Choosing limbs so that each peak is used once by each: greedily, as published, or with the greatest sum of scores."""

import numpy as np
from numpy.typing import NDArray

from pose_data.grouping.connections import Connections

__all__ = ["assign_greedy", "assign_optimal"]

_Float = NDArray[np.float64]
_Index = NDArray[np.intp]


def assign_greedy(connections: Connections) -> Connections:
    """Return the connections that are left when each, the best first, takes its two peaks from the others.

    Source: Cao et al., CVPR 2017, section 2.4, relax the problem to one bipartite matching for each limb; that
    it is solved greedily is what the programs do.
    """
    kept, taken = [], set[tuple[int, int]]()
    pairs = zip(connections.limb.tolist(), connections.start.tolist(), connections.end.tolist(), strict=True)
    for index, (limb, start, end) in enumerate(pairs):
        if (limb, start) not in taken and (limb, end) not in taken:
            taken.update(((limb, start), (limb, end)))
            kept.append(index)
    return _chosen(connections, np.array(kept, dtype=np.intp))


def assign_optimal(connections: Connections) -> Connections:
    """Return the connections with the greatest sum of scores that use each peak once for each limb, the best first."""
    kept = [np.empty(0, dtype=np.intp)]
    bounds = np.flatnonzero(np.diff(connections.limb, prepend=-1, append=-1))
    for first, last in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        part = slice(first, last)
        kept.append(first + _best_matching(connections.start[part], connections.end[part], connections.score[part]))
    return _chosen(connections, np.concatenate(kept))


def _chosen(connections: Connections, which: _Index) -> Connections:
    return Connections(
        limb=connections.limb[which], start=connections.start[which],
        end=connections.end[which], score=connections.score[which],
    )  # fmt: skip


def _best_matching(start: _Index, end: _Index, score: _Float) -> _Index:
    """Return the sorted indices of the pairs of one limb, all of positive score, that make the greatest sum."""
    rows, row = np.unique(start, return_inverse=True)
    columns, column = np.unique(end, return_inverse=True)
    # What shares no peak with another pair is part of any best matching.
    alone = (np.bincount(row)[row] == 1) & (np.bincount(column)[column] == 1)
    rest = np.flatnonzero(~alone)
    if not len(rest):
        return np.arange(len(start))
    cost, pair = np.zeros((len(rows), len(columns))), np.full((len(rows), len(columns)), -1, dtype=np.intp)
    cost[row[rest], column[rest]] = -score[rest]
    pair[row[rest], column[rest]] = rest
    busy_rows, busy_columns = np.unique(row[rest]), np.unique(column[rest])
    cost, pair = cost[np.ix_(busy_rows, busy_columns)], pair[np.ix_(busy_rows, busy_columns)]
    if cost.shape[0] > cost.shape[1]:
        cost, pair = cost.T, pair.T
    matched = pair[np.arange(len(cost)), _least_cost(cost)]
    return np.sort(np.concatenate([np.flatnonzero(alone), matched[matched >= 0]]))


def _least_cost(cost: _Float) -> _Index:
    """Return the column of each row (n,) in the assignment of least total cost; ``cost`` is (n, m), n <= m.

    Successive shortest augmenting paths with dual prices: Jonker and Volgenant, "A Shortest Augmenting Path
    Algorithm for Dense and Sparse Linear Assignment Problems", Computing 38, 1987. At most n² m steps.
    """
    count, width = cost.shape
    # Every row takes its cheapest column; only rows that find it taken need a path.
    favourite, row_price, column_price = cost.argmin(axis=1), cost.min(axis=1), np.zeros(width)
    row_of = np.full(width, -1, dtype=np.intp)
    columns, first = np.unique(favourite, return_index=True)
    row_of[columns] = first
    for fresh in np.setdiff1d(np.arange(count), first).tolist():
        distance, before = np.full(width, np.inf), np.full(width, -1, dtype=np.intp)
        done = np.zeros(width, dtype=np.bool_)
        row, came_from, travelled = fresh, -1, 0.0
        while True:
            reached = travelled + cost[row] - row_price[row] - column_price
            nearer = ~done & (reached < distance)
            distance[nearer], before[nearer] = reached[nearer], came_from
            column = int(np.argmin(np.where(done, np.inf, distance)))
            travelled = float(distance[column])
            if row_of[column] < 0:
                break
            done[column] = True
            row, came_from = int(row_of[column]), column
        passed = np.flatnonzero(done)
        row_price[fresh] += travelled
        row_price[row_of[passed]] += travelled - distance[passed]
        column_price[passed] -= travelled - distance[passed]
        while column >= 0:
            earlier = int(before[column])
            row_of[column] = row_of[earlier] if earlier >= 0 else fresh
            column = earlier
    column_of = np.empty(count, dtype=np.intp)
    used = np.flatnonzero(row_of >= 0)
    column_of[row_of[used]] = used
    return column_of
