"""The network as a training step calls it: compiled, shared among processes, or replayed on the GPU in one piece."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from pose_data.recipes import Recipe
from pose_models.cuda_graph import replayed
from pose_models.devices import Place
from pose_models.step_loss import enough_memory
from pose_models.train_config import TrainConfig

__all__ = ["network_of_steps"]


def network_of_steps(
    network: nn.Module, config: TrainConfig, recipe: Recipe, place: Place, note: Callable[[str], None]
) -> nn.Module:
    """Return what a step calls with its images; its weights are the network's. Raises ModelError without the memory.

    A CUDA graph is for one GPU and an update each step: its gradients lie where the next step's will, so they cannot be
    added up, and DDP must see each of them.
    """
    alone = place.world_size == 1
    if config.cuda_graph and place.device.type == "cuda" and alone and config.accumulate == 1 and not config.compile:
        return _recorded(network, config, recipe, place, note)
    whole: nn.Module = torch.compile(network) if config.compile else network  # type: ignore[assignment]
    if alone:
        return whole
    return DistributedDataParallel(whole, device_ids=[place.device.index] if place.device.type == "cuda" else None)


def _recorded(
    network: nn.Module, config: TrainConfig, recipe: Recipe, place: Place, note: Callable[[str], None]
) -> nn.Module:
    layout = torch.channels_last if config.channels_last else torch.contiguous_format
    shape = (config.batch_size, 3, recipe.crop_height_px, recipe.crop_width_px)
    try:
        with enough_memory(config.batch_size):
            return replayed(network, torch.zeros(shape, device=place.device).to(memory_format=layout), config.amp)
    except RuntimeError as error:
        reason = str(error).strip().partition("\n")[0]
        note(f"the network cannot be recorded, its steps go to the GPU piece by piece: {reason}")
        return network
