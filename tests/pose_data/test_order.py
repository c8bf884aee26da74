"""The order of an epoch: every row once, on any number of ranks, wherever it was stopped."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_data.errors import ResumeMismatchError, UsageError
from pose_data.order import EpochOrder, Position, RankRows, Samples, Segment, epoch_rows, padded, samples_of

orders = st.builds(
    EpochOrder,
    seed=st.integers(0, 5),
    shuffle=st.sampled_from(["window", "full", "none"]),
    window=st.integers(1, 40),
    run_rows=st.integers(1, 20),
)
row_sets = st.sets(st.integers(0, 300), max_size=120).map(lambda rows: np.array(sorted(rows), np.int64))


def beginning(order=None, rows=None, epoch=0):
    rows = np.arange(3, dtype=np.int64) if rows is None else rows
    return Position(order=order or EpochOrder(), samples=samples_of(rows, rows), epoch=epoch)


def all_ranks(order, rows, world_size, epoch=0, position=None):
    return [
        epoch_rows(order, rows, epoch=epoch, rank=rank, world_size=world_size, position=position)
        for rank in range(world_size)
    ]


@given(orders, row_sets, st.integers(1, 7), st.integers(0, 3))
def test_every_row_comes_once_on_any_number_of_ranks(order, rows, world_size, epoch):
    parts = all_ranks(order, rows, world_size, epoch)
    assert sorted(np.concatenate([part.rows for part in parts])) == rows.tolist()
    sizes = [len(part.rows) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert {part.most for part in parts} == {max(sizes)}


@given(orders, row_sets, st.lists(st.tuples(st.integers(1, 4), st.integers(0, 30)), max_size=3), st.integers(1, 4))
def test_what_was_read_before_and_what_is_read_after_are_all_rows(order, rows, history, world_size):
    position, read = beginning(order, rows), []
    for size, count in history:
        parts = all_ranks(order, rows, size, position=position)
        read += [part.rows[:count] for part in parts]
        position = position.after(size, count)
    read += [part.rows for part in all_ranks(order, rows, world_size, position=position)]
    assert sorted(np.concatenate(read)) == rows.tolist()


@given(orders, row_sets, st.integers(1, 4), st.integers(0, 40))
def test_the_same_number_of_ranks_goes_on_as_if_nothing_had_happened(order, rows, world_size, count):
    whole = all_ranks(order, rows, world_size)
    rest = all_ranks(order, rows, world_size, position=beginning(order, rows).after(world_size, count))
    for before, after in zip(whole, rest, strict=True):
        assert before.rows[count:].tolist() == after.rows.tolist()
        assert before.part.tolist() == after.part.tolist()


@given(orders, row_sets)
def test_the_order_depends_on_nothing_but_its_key(order, rows):
    first = epoch_rows(order, rows, epoch=1, rank=1, world_size=3)
    again = epoch_rows(order, rows.copy(), epoch=1, rank=1, world_size=3)
    assert first.rows.tolist() == again.rows.tolist()


def test_epochs_and_seeds_differ_and_full_is_another_order_than_window():
    rows = np.arange(1000, dtype=np.int64)
    orders = [
        epoch_rows(EpochOrder(seed=seed, shuffle=shuffle, window=200, run_rows=16), rows, epoch=epoch).rows.tolist()
        for seed, shuffle, epoch in ((0, "window", 0), (0, "window", 1), (1, "window", 0), (0, "full", 0))
    ]
    assert len({tuple(order) for order in orders}) == 4
    assert epoch_rows(EpochOrder(shuffle="none"), rows, epoch=3).rows.tolist() == rows.tolist()


def test_a_window_reads_whole_runs():
    order = EpochOrder(window=64, run_rows=16)
    got = epoch_rows(order, np.arange(640, dtype=np.int64), epoch=0).rows
    for first in range(0, 640, 64):
        runs, counts = np.unique(got[first : first + 64] // 16, return_counts=True)
        assert counts.tolist() == [16] * 4
        assert len(runs) == 4


def test_a_position_survives_json():
    position = beginning(EpochOrder(seed=3, shuffle="full"), epoch=4).after(2, 64).after(2, 32).after(3, 16)
    assert position.segments == (Segment(2, 96), Segment(3, 16))
    assert position.samples_read == 2 * 96 + 3 * 16
    assert Position.from_dict(json.loads(json.dumps(position.as_dict()))) == position


@pytest.mark.parametrize(
    "values",
    [
        {"epoch": -1}, {"segments": [[0, 1]]}, {"segments": [3]}, {"order": None}, {"order": {"seed": -1}},
        {"order": {"pace": 1}}, {"samples": {}},
    ],
)  # fmt: skip
def test_what_is_no_position_is_refused(values):
    with pytest.raises(UsageError):
        Position.from_dict({**beginning().as_dict(), **values})
    with pytest.raises(UsageError, match="position-invalid"):
        Position.from_dict({"epoch": 0, "segments": []})


@pytest.mark.parametrize(
    ("order", "rows", "told"),
    [
        (EpochOrder(seed=2), 10, "seed was 1 and is 2"),
        (EpochOrder(seed=1, window=9), 10, "window was 1024 and is 9"),
        (EpochOrder(seed=1, run_rows=8), 10, "run_rows was 64 and is 8"),
        (EpochOrder(seed=1, shuffle="full"), 10, "window was 1024 and is not used"),
        (EpochOrder(seed=1), 11, "there were 10 samples and are 11"),
    ],
)
def test_a_position_fits_only_its_own_order_and_samples(order, rows, told):
    numbers = np.arange(rows, dtype=np.int64)
    position = beginning(EpochOrder(seed=1), np.arange(10, dtype=np.int64)).after(1, 4)
    position.require(EpochOrder(seed=1), samples_of(np.arange(10), np.arange(10)))
    with pytest.raises(ResumeMismatchError, match="position-mismatch") as caught:
        position.require(order, samples_of(numbers, numbers))
    assert told in caught.value.message
    assert caught.value.exit_code == 7
    assert "begin the epoch again" in caught.value.hint


def test_as_many_other_samples_are_noticed():
    rows = np.arange(10, dtype=np.int64)
    position = Position(order=EpochOrder(), samples=samples_of(rows, rows + 100))
    with pytest.raises(ResumeMismatchError, match="the samples are others"):
        position.require(EpochOrder(), samples_of(rows, rows + 200))
    assert samples_of(rows, rows) == Samples(10, samples_of(rows, rows).checksum)


def test_what_an_order_does_not_use_may_change():
    samples = samples_of(np.arange(3), np.arange(3))
    Position(order=EpochOrder(shuffle="none"), samples=samples).require(EpochOrder(shuffle="none", seed=9), samples)
    full = EpochOrder(shuffle="full", window=5)
    Position(order=full, samples=samples).require(EpochOrder(shuffle="full"), samples)


def test_a_part_is_filled_up_from_its_own_beginning():
    part = np.array([5, 7, 8, 9])
    rows, valid = padded(RankRows(part[1:], 8, part), 8, np.array([1]))
    assert rows.tolist() == [7, 8, 9, 5, 7, 8, 9, 5]
    assert valid.tolist() == [True] * 3 + [False] * 5
    nothing = np.array([], np.int64)
    rows, valid = padded(RankRows(nothing, 1, nothing), 2, np.array([5]))
    assert rows.tolist() == [5, 5]
    assert not valid.any()


@pytest.mark.parametrize("options", [{"shuffle": "some"}, {"window": 0}, {"run_rows": 0}, {"seed": -1}])
def test_wrong_options_are_refused(options):
    with pytest.raises(UsageError, match="option-value"):
        EpochOrder(**options)
    with pytest.raises(UsageError, match="option-value"):
        epoch_rows(EpochOrder(), np.arange(3), epoch=0, rank=2, world_size=2)
