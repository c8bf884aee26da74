"""What a training step calls: the network itself, shared, or recorded; and what is said where it cannot be."""

import pytest
import torch
from torch import nn

from pose_data.errors import ModelError, UsageError
from pose_data.recipes import build_recipe
from pose_models import step_network
from pose_models.devices import Place
from pose_models.step_network import network_of_steps
from pose_models.train_config import changed, default_config

RECIPE = build_recipe("coco-256x192")
GPU = Place(torch.device("cuda", 0))


def config_of(**options):
    return changed(default_config("simplebaseline-r50-256x192"), {"batch_size": 6, **options})


def test_without_options_it_is_the_network_itself():
    network = nn.Conv2d(3, 4, 1)
    for place in (Place(torch.device("cpu")), GPU):
        assert network_of_steps(network, config_of(), RECIPE, place) is network


def test_what_is_recorded_is_a_pass_of_a_batch(monkeypatch):
    asked = []
    monkeypatch.setattr(
        step_network, "replayed", lambda *given, **options: asked.append((given, options)) or "recorded"
    )
    network = nn.Conv2d(3, 4, 1)
    config = config_of(cuda_graph=True, amp="bf16", channels_last=True)
    assert network_of_steps(network, config, RECIPE, GPU) == "recorded"
    assert asked == [((network, (6, 3, 256, 192), GPU.device), {"amp": "bf16", "channels_last": True})]


@pytest.mark.parametrize(
    ("text", "code", "hint"),
    [
        ("operation not permitted when stream is capturing\nat line 3", "not-recorded", "cuda_graph=false"),
        ("CUDA out of memory. Tried to allocate", "out-of-memory", "--batch-size 3"),
    ],
)
def test_a_recording_that_fails_says_why(monkeypatch, text, code, hint):
    def fails(*given, **options):
        raise RuntimeError(text)

    monkeypatch.setattr(step_network, "replayed", fails)
    with pytest.raises(ModelError) as caught:
        network_of_steps(nn.Conv2d(3, 4, 1), config_of(cuda_graph=True), RECIPE, GPU)
    assert caught.value.code == code
    assert hint in caught.value.hint
    assert "at line 3" not in caught.value.message


@pytest.mark.parametrize("place", [Place(torch.device("cpu")), Place(GPU.device, rank=0, world_size=2)])
def test_recording_is_for_one_gpu(place):
    with pytest.raises(UsageError, match="one GPU"):
        network_of_steps(nn.Conv2d(3, 4, 1), config_of(cuda_graph=True), RECIPE, place)


@pytest.mark.parametrize("other", [{"compile": True}, {"accumulate": 2}])
def test_recording_goes_with_neither_compiling_nor_accumulating(other):
    with pytest.raises(UsageError, match="goes neither with compile nor with accumulate"):
        config_of(cuda_graph=True, **other)
