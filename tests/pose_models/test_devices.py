"""Where a training runs: which device a name means, and what is said where there is none."""

import pytest
import torch

from pose_data.errors import ModelError
from pose_models.devices import autocast, repeatable, taking_part


@pytest.fixture
def two_gpus(monkeypatch):
    """Two GPUs as far as torch is asked, the second one in use; returns which were chosen."""
    chosen = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    return chosen


@pytest.mark.parametrize(("name", "number"), [("auto", 1), ("cuda", 1), ("cuda:0", 0)])
def test_a_gpu_is_chosen_by_its_number(two_gpus, name, number):
    with taking_part(name) as place:
        assert place.device == torch.device("cuda", number)
    # torch takes no device without a number here.
    assert two_gpus == [torch.device("cuda", number)]


def test_a_gpu_that_is_not_there_is_named(two_gpus):
    with pytest.raises(ModelError, match="there is no GPU 2: this computer has 2"), taking_part("cuda:2"):
        pass
    assert two_gpus == []


def test_a_gpu_is_asked_for_repeatable_sums_and_left_as_it_was(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    with repeatable(torch.device("cpu")):
        assert not torch.are_deterministic_algorithms_enabled()
    with repeatable(torch.device("cuda", 0)):
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.is_deterministic_algorithms_warn_only_enabled()
        assert not torch.utils.deterministic.fill_uninitialized_memory
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory


def test_precisions():
    cpu = torch.device("cpu")
    assert not autocast(cpu, "off")._enabled
    with autocast(cpu, "bf16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
