"""Memory of batches: in one piece, for as many epochs as one likes, and never changed while somebody may look at it."""

import itertools
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_data.batch_memory import KEPT_BATCHES, EpochMemory, MemoryPool

SHAPES = {"images": ((3, 2, 4), np.dtype(np.uint8)), "maps": ((3, 5), np.dtype(np.float16))}


def test_batches_are_rows_of_one_array():
    memory = EpochMemory(SHAPES, np.zeros, 4)
    memory.begin()
    batches = [memory.take() for _ in range(4)]
    assert sorted(batch.first for batch in batches) == [0, 3, 6, 9]
    for name, (shape, dtype) in SHAPES.items():
        assert len({id(batch.arena[name]) for batch in batches}) == 1
        for number, batch in enumerate(batches):
            assert (batch.arrays[name].shape, batch.arrays[name].dtype) == (shape, dtype)
            batch.arrays[name][...] = number + 1
            assert np.array_equal(batch.arena[name][batch.first : batch.first + 3], batch.arrays[name])
        assert (batches[0].arena[name] > 0).all()  # nobody wrote over another's


def test_batches_with_memory_of_their_own_share_none():
    memory = EpochMemory(SHAPES, np.zeros, 0)
    memory.begin()
    taken = []
    for _ in range(5):
        memory.next_is_asked_for()
        taken.append(memory.take())
        memory.hand_out(taken[-1])
    assert len({id(batch.arena["images"]) for batch in taken}) == 5


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(0, 9), st.booleans()), max_size=12))
def test_whatever_is_kept_stays_and_memory_is_enough(epochs):
    """Epochs of up to four batches filled ahead, each left after some batches: in order, or in the midst of one."""
    most_ahead = 4
    pool = MemoryPool({"images": ((1, 1), np.dtype(np.int64))}, np.zeros, most_ahead + KEPT_BATCHES)
    handed_out, stamps = [], itertools.count()

    def fill(memory, filled, ahead):
        while len(filled) < ahead:
            batch, stamp = memory.take(), next(stamps)
            batch.arrays["images"][...] = stamp
            filled.append((batch, stamp))

    for ahead, length, broken in epochs:
        memory, filled = pool.lend(), []
        fill(memory, filled, ahead)  # threads are at it before anything is asked for
        for number in range(length):
            memory.next_is_asked_for()
            fill(memory, filled, ahead)
            batch, stamp = filled.pop(0)
            if broken and number == length - 1:
                break  # an interrupt came before it was handed out
            memory.hand_out(batch)
            handed_out.append((batch, stamp))
            for kept, value in handed_out[-KEPT_BATCHES:]:
                assert kept.arrays["images"] == value
        pool.take_back(memory)
    assert len({id(batch.arena["images"]) for batch, _ in handed_out}) <= 1


def test_epochs_at_a_time_have_memory_of_their_own_that_later_ones_use_again():
    pool = MemoryPool(SHAPES, np.empty, 3)
    one, other = pool.lend(), pool.lend()
    assert one is not other
    pool.take_back(one)
    pool.take_back(other)
    assert {id(pool.lend()), id(pool.lend())} == {id(one), id(other)}


@pytest.mark.parametrize("used", [False, True])
def test_another_process_and_a_closed_pool_make_their_own(used):
    pool = MemoryPool({"images": ((1000, 100), np.dtype(np.uint8))}, np.empty, 3)
    memory = pool.lend()
    if used:
        pool.take_back(memory)
    assert len(pickle.dumps(pool)) < 1000
    pool.clear()
    assert pool.lend() is not memory
