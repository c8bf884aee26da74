"""The One-Euro filter: against its published formula, still and moving."""

import math

import numpy as np
import pytest

from pose_data.errors import UsageError
from pose_data.smoothing import OneEuro, Smoothing


def plain(values, times, options, size):
    """The filter of the paper for one number, written from its algorithm."""

    def alpha(cutoff, step):
        return 1 / (1 + 1 / (2 * math.pi * cutoff) / step)

    shown, speed, before = [values[0]], 0.0, times[0]
    for value, now in zip(values[1:], times[1:], strict=True):
        step = now - before
        edge = (value - shown[-1]) / step
        speed = alpha(options.speed_cutoff_hz, step) * edge + (1 - alpha(options.speed_cutoff_hz, step)) * speed
        cutoff = options.least_cutoff_hz + options.speed_share * abs(speed) / size
        weight = alpha(cutoff, step)
        shown.append(weight * value + (1 - weight) * shown[-1])
        before = now
    return shown


def test_the_filter_is_the_papers():
    random = np.random.default_rng(0)
    times = np.cumsum(random.uniform(0.02, 0.06, 40))
    values = np.cumsum(random.normal(0, 5, 40)) + 100
    options = Smoothing()
    one_euro = OneEuro(options)
    mine = [
        one_euro.filtered(np.array([[value, 7.0]]), float(now), 80.0)[0]
        for value, now in zip(values, times, strict=True)
    ]
    assert [point[0] for point in mine] == pytest.approx(plain(values.tolist(), times.tolist(), options, 80.0))
    assert [point[1] for point in mine] == pytest.approx([7.0] * 40)


def test_jitter_shrinks_and_a_fast_move_hardly_lags():
    random = np.random.default_rng(1)
    times = np.arange(120) / 30
    noise = random.normal(0, 2.0, (120, 1, 2))
    still, moving = OneEuro(Smoothing()), OneEuro(Smoothing())
    shown = np.stack([still.filtered(300 + noise[i], times[i], 100.0) for i in range(120)])
    assert shown[30:].std() < 0.6 * noise[30:].std()
    # Five times its own size a second.
    path = np.stack([np.array([[500 * now, 0.0]]) for now in times])
    shown = np.stack([moving.filtered(path[i], times[i], 100.0) for i in range(120)])
    assert np.abs(shown - path)[30:].max() < 3.0


def test_a_time_that_stands_still_begins_anew():
    one_euro = OneEuro(Smoothing())
    one_euro.filtered(np.zeros((1, 2)), 1.0, 10.0)
    assert one_euro.filtered(np.full((1, 2), 50.0), 1.0, 10.0).tolist() == [[50.0, 50.0]]


def test_cutoffs_are_positive():
    with pytest.raises(UsageError, match="cutoffs"):
        Smoothing(least_cutoff_hz=0.0)
