"""Schedules: the references' values, pure functions of the step, and refusals of nonsense."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pose_data.errors import UsageError
from pose_models.schedules import (
    SCHEDULES,
    CyclicTriangle,
    DoublingWarmUp,
    FlatCosine,
    Plateau,
    PlateauState,
    Step,
    WarmUpCosine,
    build_schedule,
)


def test_steps_at_epochs_170_and_200() -> None:
    schedule = Step()
    factors = [schedule.factor(epoch * 10 + 5, 10) for epoch in (0, 169, 170, 199, 200, 209)]
    assert factors == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    assert schedule.factor(1699, 10) == 1
    assert schedule.factor(1700, 10) == pytest.approx(0.1)


def test_a_step_schedule_is_torchs() -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimiser, [3, 5], 0.1)
    ours = Step(milestones_epochs=(3, 5))
    for epoch in range(8):
        assert ours.factor(epoch * 7, 7) == pytest.approx(theirs.get_last_lr()[0])
        assert ours.factor(epoch * 7 + 6, 7) == pytest.approx(theirs.get_last_lr()[0])
        optimiser.step()
        theirs.step()


def test_the_triangle_has_22_steps() -> None:
    schedule = CyclicTriangle()
    rates = [2.5e-4 * schedule.factor(700 * place, 1) for place in range(23)]
    rising = [2.5e-6 + level * (2.5e-4 - 2.5e-6) / 10 for level in range(11)]
    assert rates == pytest.approx([*rising, *reversed(rising), rising[0]])
    assert schedule.factor(699, 1) == schedule.factor(0, 1)
    assert schedule.factor(22 * 700 + 650, 1) == schedule.factor(0, 1)


def test_the_warm_up_doubles_every_100_steps_until_1() -> None:
    schedule = DoublingWarmUp()
    assert [schedule.factor(step, 1) for step in (0, 99, 100, 250, 699)] == pytest.approx(
        [0.01, 0.01, 0.02, 0.04, 0.64]
    )
    assert schedule.factor(700, 1) == 1
    assert schedule.factor(10**9, 1) == 1


def test_rtmpose_is_flat_then_a_cosine() -> None:
    schedule = FlatCosine()
    assert schedule.factor(0, 100) == pytest.approx(1e-5)
    assert schedule.factor(999, 100) == 1
    assert schedule.factor(21_000, 100) == 1
    assert schedule.factor(31_500, 100) == pytest.approx((1 + 0.05) / 2)
    assert schedule.factor(42_000, 100) == pytest.approx(0.05)
    assert schedule.factor(10**6, 100) == pytest.approx(0.05)


def test_a_cosine_after_a_warm_up() -> None:
    schedule = WarmUpCosine(epochs=10, warm_up_steps=100, warm_up_from=0.0)
    assert [schedule.factor(step, 50) for step in (0, 33, 66, 99)] == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert schedule.factor(300, 50) == pytest.approx(0.5)
    assert schedule.factor(500, 50) == pytest.approx(0)
    # A training shorter than its warm-up ends before the fall.
    assert WarmUpCosine(epochs=1, warm_up_steps=100).factor(49, 50) < 0.5


def test_a_plateau_is_torchs() -> None:
    values = [
        3.0,
        2.0,
        2.0,
        1.9999,
        2.1,
        2.0,
        2.0,
        1.5,
        1.5,
        1.5,
        1.5,
        1.5,
        math.nan,
        math.nan,
        math.nan,
        math.nan,
        1.0,
    ]
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=3)
    ours, state = Plateau(), PlateauState()
    for value in values:
        theirs.step(value)
        state = ours.after_epoch(state, value)
        assert state.factor == pytest.approx(optimiser.param_groups[0]["lr"])
    assert state.factor < 1
    assert ours.factor(0, 10) == 1


def test_a_plateau_may_wait_for_an_accuracy() -> None:
    schedule = Plateau(higher_is_better=True, patience_epochs=0)
    state = schedule.after_epoch(PlateauState(), 0.5)
    state = schedule.after_epoch(state, 0.6)
    assert state == PlateauState(best=0.6)
    assert schedule.after_epoch(state, 0.55) == PlateauState(factor=0.5, best=0.6)


@given(name=st.sampled_from(sorted(SCHEDULES)), step=st.integers(0, 10**7), steps_per_epoch=st.integers(1, 5000))
def test_factors_are_between_0_and_1_and_depend_on_the_step_alone(name: str, step: int, steps_per_epoch: int) -> None:
    schedule = build_schedule(name)
    factor = schedule.factor(step, steps_per_epoch)
    assert 0 <= factor <= 1
    assert factor == build_schedule(name).factor(step, steps_per_epoch)


def test_options_come_from_a_file() -> None:
    assert build_schedule("step", milestones_epochs=[90, 120]) == Step(milestones_epochs=(90, 120))
    assert build_schedule("flat-cosine", flat_share=1) == FlatCosine(flat_share=1)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("cosine", {}, "no schedule 'cosine'"),
        ("step", {"milestones": [1]}, "no option milestones"),
        ("step", {"gamma": 2.0}, "gamma is 2.0"),
        ("step", {"gamma": "0.1"}, "gamma is '0.1'"),
        ("step", {"gamma": math.nan}, "gamma is nan"),
        ("step", {"milestones_epochs": [1.5]}, "milestones_epochs"),
        ("step", {"milestones_epochs": 90}, "milestones_epochs"),
        ("cyclic-triangle", {"levels": 1}, "levels is 1"),
        ("doubling-warm-up", {"start": 0.0}, "start is 0.0"),
        ("plateau", {"patience_epochs": True}, "patience_epochs is True"),
    ],
)
def test_nonsense_is_refused(name: str, options: dict, text: str) -> None:
    with pytest.raises(UsageError, match=text):
        build_schedule(name, **options)
