"""Reading ahead: as many threads as it takes, and memory in one piece."""

import itertools
import threading
import time

import numpy as np
import pytest

from pose_data.order import EpochOrder
from pose_data.read_ahead import Pace, ReadAhead
from pose_data.reader import BatchReader
from pose_data.store import open_store


def test_all_threads_read_until_everything_is_read_ahead_and_then_as_few_as_keep_up():
    pace = Pace(6)
    assert pace.reading == 6
    pace.ahead()
    assert pace.reading == 1
    pace.behind()
    assert pace.reading == 2
    pace.ahead()
    assert pace.reading == 2  # one was too few
    pace.behind()
    pace.behind()
    assert pace.reading == 6


def test_every_epoch_begins_with_all_threads_and_goes_on_with_as_many_as_kept_up_before():
    pace = Pace(8)
    pace.ahead()
    pace.behind()
    pace.begin()
    assert pace.reading == 8
    pace.ahead()
    assert pace.reading == 2


@pytest.fixture
def busy_threads(monkeypatch):
    """Return the names of the threads that read, in order."""
    names = []
    load = ReadAhead._load

    def noting(self, run, memory, scratch):
        names.append(threading.current_thread().name)
        load(self, run, memory, scratch)

    monkeypatch.setattr(ReadAhead, "_load", noting)
    return names


def reader_of(store, threads, **options):
    split = open_store(store)["train2017"]
    order = EpochOrder(window=2, run_rows=1)
    return split, BatchReader(split, batch_size=1, order=order, threads=threads, reuse_memory=True, **options)


def test_a_slow_consumer_is_served_by_one_thread(finished_store, busy_threads):
    split, reader = reader_of(finished_store, threads=8)
    assert len(reader) > 12
    for number, batch in enumerate(reader.epoch(0)):
        time.sleep(0.03)
        if number == 8:
            busy_threads.clear()  # the beginning is read by all
        np.testing.assert_array_equal(batch.arrays["images"], split["images"][:][batch.rows])
    assert set(busy_threads) == {"reader-0"}
    reader.close()


@pytest.fixture
def slow_loads(monkeypatch, busy_threads):
    """Let every run take 50 ms."""
    load = ReadAhead._load

    def slowly(self, run, memory, scratch):
        time.sleep(0.05)
        load(self, run, memory, scratch)

    monkeypatch.setattr(ReadAhead, "_load", slowly)


def test_a_consumer_that_waits_gets_more_threads(finished_store, busy_threads, slow_loads):
    _, reader = reader_of(finished_store, threads=8)
    batches = reader.epoch(0)
    next(batches)
    time.sleep(1.0)  # all is read ahead
    assert reader._pace.reading == 1
    busy_threads.clear()
    for _ in batches:
        pass
    assert len(set(busy_threads)) > 1
    reader.close()


def test_a_fast_epoch_after_one_that_a_single_thread_kept_up_with_has_all_threads(
    finished_store, busy_threads, slow_loads
):
    _, reader = reader_of(finished_store, threads=4)
    for _ in reader.epoch(0):
        time.sleep(0.1)
    busy_threads.clear()
    for _ in reader.epoch(1):
        pass
    # A consumer that is never ahead must not be left to the one thread of the epoch before.
    assert set(busy_threads) == {f"reader-{number}" for number in range(4)}
    reader.close()


def test_a_thread_that_cannot_be_started_leaves_none_behind(finished_store, monkeypatch):
    _, reader = reader_of(finished_store, threads=4)
    start, before = threading.Thread.start, threading.active_count()

    def refuse_the_third(thread):
        if thread.name == "reader-2":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse_the_third)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        next(reader.epoch(0))
    assert threading.active_count() == before
    monkeypatch.undo()
    assert len(list(reader.epoch(0))) == len(reader)
    reader.close()


@pytest.mark.parametrize("batch_size", [1, 3, 5])
@pytest.mark.parametrize(("window", "run_rows"), [(4, 2), (16, 8), (64, 64)])
def test_rows_of_all_chunks_come_to_their_places(finished_store, batch_size, window, run_rows):
    split = open_store(finished_store)["train2017"]
    reader = BatchReader(
        split, batch_size=batch_size, order=EpochOrder(window=window, run_rows=run_rows), threads=3, reuse_memory=True
    )
    images, maps = split["images"][:], split["heatmaps"][:]
    for epoch in range(3):
        for batch in itertools.islice(reader.epoch(epoch), 12):
            np.testing.assert_array_equal(batch.arrays["images"], images[batch.rows])
            np.testing.assert_array_equal(batch.arrays["heatmaps"], maps[batch.rows])
    reader.close()
