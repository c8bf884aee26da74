"""What changes in a training, to a checkpoint and back."""

import pytest
import torch

from pose_models.networks.catalogue import find_network
from pose_models.optimisers import MovingAverage, build_optimiser
from pose_models.train_config import default_config
from pose_models.training_state import TrainingState

NETWORK = "small-128x96"


def fresh_state(amp="off", *, scale=256.0, average=False):
    network = find_network(NETWORK).build(2)
    return TrainingState(
        network=network, optimiser=build_optimiser(default_config(NETWORK), network),
        scaler=torch.amp.GradScaler("cpu", enabled=amp == "fp16", init_scale=scale),
        average=MovingAverage(network, 0.5) if average else None,
    )  # fmt: skip


def backward(state):
    loss = state.network(torch.ones(1, 3, 128, 96)).square().mean()
    state.scaler.scale(loss).backward()


def gradients(state):
    return [parameter.grad / state.scaler.get_scale() for parameter in state.network.parameters()]


@pytest.mark.parametrize(
    ("before", "after", "scale"),
    [("off", "off", 1.0), ("fp16", "off", 1.0), ("off", "fp16", 1024.0), ("fp16", "fp16", 256.0)],
)
def test_gradients_that_wait_for_an_update_survive_another_precision(before, after, scale):
    one, other = fresh_state(before, scale=256.0), fresh_state(after, scale=1024.0)
    backward(one)
    other.load(one.checkpoint(NETWORK, None))
    assert other.scaler.get_scale() == scale
    for found, expected in zip(gradients(other), gradients(one), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-6, atol=0)
        assert expected.abs().max() > 0


@pytest.mark.parametrize("average", [False, True])
def test_a_state_is_finite_if_all_that_is_saved_of_it_is(average):
    state = fresh_state(average=average)
    backward(state)
    assert state.is_finite()
    kept = [next(state.network.parameters()).data, next(state.network.parameters()).grad]

    kept += [next(iter(state.average.weights.values()))] if average else []
    for values in kept:
        before = values.flatten()[0].item()
        for bad in (float("nan"), float("inf")):
            values.view(-1)[0] = bad
            assert not state.is_finite()
        values.view(-1)[0] = before
    assert state.is_finite()


def test_infinite_gradients_of_fp16_are_the_scalers_business():
    state = fresh_state("fp16")
    backward(state)
    next(state.network.parameters()).grad.view(-1)[0] = float("inf")
    assert state.is_finite()
    next(state.network.parameters()).data.view(-1)[0] = float("inf")
    assert not state.is_finite()
