"""A sample's random numbers are its own, and distributed as they say."""

import numpy as np
import pytest

from pose_models.draws import sample_draws

ROWS = np.arange(200_000, dtype=np.int64)


def test_a_samples_draws_do_not_depend_on_its_batch():
    whole = sample_draws(ROWS[:100], seed=3, epoch=2)
    part = sample_draws(ROWS[40:50], seed=3, epoch=2)
    for draw in ("uniform", "normal", "truncated_normal"):
        np.testing.assert_array_equal(getattr(whole, draw)(5)[40:50], getattr(part, draw)(5))


@pytest.mark.parametrize("change", [{"seed": 4}, {"epoch": 3}])
def test_seed_and_epoch_change_them(change):
    before = sample_draws(ROWS, seed=3, epoch=2).uniform(0)
    after = sample_draws(ROWS, **{"seed": 3, "epoch": 2, **change}).uniform(0)
    assert abs(np.corrcoef(before, after)[0, 1]) < 0.01


def test_uniform_draws_are_uniform_and_independent():
    draws = sample_draws(ROWS, seed=0, epoch=0)
    first, second = draws.uniform(0), draws.uniform(1)
    counts = np.histogram(first, bins=50, range=(0, 1))[0]
    assert first.min() >= 0
    assert first.max() < 1
    assert ((counts - 4000) ** 2 / 4000).sum() < 90  # chi square of 49 degrees, 0.9998
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.01
    assert abs(np.corrcoef(first[:-1], first[1:])[0, 1]) < 0.01


def test_normal_draws_are_normal():
    values = sample_draws(ROWS, seed=0, epoch=0).normal(0)
    assert values.mean() == pytest.approx(0, abs=0.01)
    assert values.std() == pytest.approx(1, abs=0.01)
    assert (np.abs(values) > 1.96).mean() == pytest.approx(0.05, abs=0.003)


def test_truncated_draws_stay_inside_and_are_not_heaped_at_the_bounds():
    values = sample_draws(ROWS, seed=0, epoch=0).truncated_normal(0)
    assert np.abs(values).max() <= 1
    assert (np.abs(values) == 1).mean() < 0.001
    # A standard normal between -1 and 1 has a standard deviation of 0.5396.
    assert values.std() == pytest.approx(0.5396, abs=0.005)
