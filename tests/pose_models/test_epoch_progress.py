"""How far an epoch is, and how fast it goes."""

from types import SimpleNamespace

import pytest

from pose_data.order import Samples
from pose_models import epoch_progress
from pose_models.epoch_progress import EpochProgress


@pytest.fixture
def clock(monkeypatch):
    """Return a clock that stands still until its ``now_s`` is changed."""
    clock = SimpleNamespace(now_s=50.0)
    monkeypatch.setattr(epoch_progress.time, "perf_counter", lambda: clock.now_s)
    return clock


def stream_of(count):
    return SimpleNamespace(samples=Samples(count, 0), wait_s=3.0)


def test_rates_are_of_this_process_and_what_is_done_is_of_the_epoch(clock):
    stream = stream_of(100)
    progress = EpochProgress(stream, read_before=60)
    assert (progress.done, progress.total) == (60, 100)
    progress.saw(16)
    clock.now_s, stream.wait_s = 54.0, 4.0
    assert progress.rates() == {"samples_per_s": 4.0, "wait_share": 0.25}
    progress.saw(16)
    assert progress.done == 92
    progress.saw(16)  # the last batch is filled up
    assert (progress.done, progress.seen) == (100, 48)


def test_progress_is_told_once_a_second(clock):
    progress = EpochProgress(stream_of(10), read_before=0)
    told = []
    for tenth in range(1, 35):
        clock.now_s = 50.0 + tenth / 10
        if progress.is_to_be_told():
            told.append(tenth)
    assert told == [10, 20, 30]
