"""The network as a training step calls it: compiled, shared among processes, or replayed on the GPU in one piece."""

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pose_data.errors import ModelError, UsageError
from pose_data.recipes import Recipe
from pose_models.cuda_graph import replayed
from pose_models.devices import Place
from pose_models.step_loss import enough_memory
from pose_models.train_config import TrainConfig

__all__ = ["network_of_steps"]


def network_of_steps(network: nn.Module, config: TrainConfig, recipe: Recipe, place: Place) -> nn.Module:
    """Return what a step calls with its images; its weights are the network's.

    Raises UsageError where a CUDA graph is asked for and there is not one GPU, ModelError where the network cannot be
    recorded or the device has not the memory.
    """
    if config.cuda_graph:
        return _recorded(network, config, recipe, place)
    whole: nn.Module = torch.compile(network) if config.compile else network  # type: ignore[assignment]
    if place.world_size == 1:
        return whole
    return DistributedDataParallel(whole, device_ids=[place.device.index] if place.device.type == "cuda" else None)


def _recorded(network: nn.Module, config: TrainConfig, recipe: Recipe, place: Place) -> nn.Module:
    if place.device.type != "cuda" or place.world_size > 1:
        raise UsageError(
            "option-conflict", "cuda_graph is for a training on one GPU",
            where=f"{place.world_size} of {place.device.type}", hint="--set cuda_graph=false",
        )  # fmt: skip
    shape = (config.batch_size, 3, recipe.crop_height_px, recipe.crop_width_px)
    try:
        with enough_memory(config.batch_size):
            return replayed(network, shape, place.device, amp=config.amp, channels_last=config.channels_last)
    except RuntimeError as error:
        raise ModelError(
            "not-recorded", f"{config.network} cannot be recorded as a CUDA graph: {str(error).partition(chr(10))[0]}",
            hint="--set cuda_graph=false hands its work to the GPU piece by piece",
        ) from error  # fmt: skip
