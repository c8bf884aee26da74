"""Assignment: the greedy one as it reads, the optimal one against trying everything."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_data.grouping.assignment import assign_greedy, assign_optimal
from pose_data.grouping.connections import Connections

pair = st.tuples(st.integers(0, 1), st.integers(0, 4), st.integers(5, 9), st.integers(1, 20))
pairs_of_two_limbs = st.lists(pair, max_size=9, unique_by=lambda one: one[:3])


def connections_of(pairs) -> Connections:
    pairs = sorted(pairs, key=lambda one: (one[0], -one[3]))
    limb, start, end, score = np.array(pairs, dtype=np.intp).reshape(-1, 4).T
    return Connections(limb=limb, start=start, end=end, score=score / 10.0)


def triples(connections: Connections, limb: int):
    which = np.flatnonzero(connections.limb == limb)
    columns = connections.start[which], connections.end[which], connections.score[which]
    return list(zip(*(column.tolist() for column in columns), strict=True))


@settings(deadline=None)
@given(pairs_of_two_limbs)
def test_greedy_takes_the_best_that_is_left(plain, pairs):
    possible = connections_of(pairs)
    chosen = assign_greedy(possible)
    for limb in (0, 1):
        assert triples(chosen, limb) == plain.greedy(triples(possible, limb))


@settings(deadline=None)
@given(pairs_of_two_limbs)
def test_optimal_has_the_greatest_sum_and_shares_no_peak(plain, pairs):
    possible = connections_of(pairs)
    chosen = assign_optimal(possible)
    for limb in (0, 1):
        found = triples(chosen, limb)
        assert len({one[0] for one in found}) == len({one[1] for one in found}) == len(found)
        assert set(found) <= set(triples(possible, limb))
        assert abs(sum(one[2] for one in found) - plain.best_total(triples(possible, limb))) < 1e-9
        assert [one[2] for one in found] == sorted((one[2] for one in found), reverse=True)


def test_optimal_beats_greedy_where_the_best_limb_blocks_two_good_ones():
    possible = connections_of([(0, 0, 5, 10), (0, 0, 6, 9), (0, 1, 5, 9)])
    assert [one[:2] for one in triples(assign_greedy(possible), 0)] == [(0, 5)]
    assert sorted(one[:2] for one in triples(assign_optimal(possible), 0)) == [(0, 6), (1, 5)]


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32 - 1), st.integers(1, 25), st.integers(1, 25))
def test_no_swap_of_two_limbs_improves_a_large_assignment(seed, rows, columns):
    score = np.random.default_rng(seed).uniform(0.1, 1.0, (rows, columns))
    start, end = (part.ravel() for part in np.mgrid[:rows, 100 : 100 + columns])
    order = np.argsort(-score.ravel(), kind="stable")
    possible = Connections(
        limb=np.zeros(rows * columns, np.intp), start=start[order], end=end[order], score=score.ravel()[order]
    )
    chosen = assign_optimal(possible)
    assert len(chosen.score) == min(rows, columns)
    assert chosen.score.sum() >= assign_greedy(possible).score.sum() - 1e-9
    at = score[np.ix_(chosen.start, chosen.end - 100)]
    assert (chosen.score[:, None] + chosen.score >= at + at.T - 1e-9).all()
