"""Optimisers by name, and their state as tensors and JSON."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from pose_data.errors import ModelError
from pose_models.train_config import TrainConfig

__all__ = ["MovingAverage", "build_optimiser", "load_optimiser", "optimiser_state", "parameter_groups"]


_LAYER = re.compile(r"backbone\.layers\.(\d+)\.")
_BEFORE_LAYERS = re.compile(r"backbone\.(pos_embed|patch_embed)")


def build_optimiser(config: TrainConfig, network: nn.Module) -> torch.optim.Optimizer:
    """Return the optimiser that a configuration names, over :func:`parameter_groups`."""
    groups = parameter_groups(config, network)
    rate, decay = config.learning_rate, config.weight_decay
    # On a GPU all weights are changed in a few pieces of work.
    fused = True if next(network.parameters()).is_cuda else None
    match config.optimiser:
        case "adam":
            return torch.optim.Adam(groups, lr=rate, weight_decay=decay, fused=fused)
        case "adamw":
            return torch.optim.AdamW(groups, lr=rate, weight_decay=decay, fused=fused)
        case "rmsprop":
            return torch.optim.RMSprop(groups, lr=rate, weight_decay=decay, momentum=config.momentum)
        case "sgd":
            return torch.optim.SGD(
                groups, lr=rate, weight_decay=decay, momentum=config.momentum, nesterov=True, fused=fused
            )


def parameter_groups(config: TrainConfig, network: nn.Module) -> list[dict[str, Any]]:
    """Return the network's parameters in groups; ``lr_scale`` of a group multiplies its learning rate.

    With ``layer_decay`` d, layer i of a transformer's n learns at d**(n - i) of the rate, what is before the layers at
    d**(n + 1), what is after them at the rate itself (BEiT; mmpose's LayerDecayOptimWrapperConstructor). Without
    ``decay_all``, vectors (norms, biases) and position embeddings have no weight decay.
    """
    if config.layer_decay == 1.0 and config.decay_all:
        return [{"params": list(network.parameters()), "lr_scale": 1.0}]
    named = dict(network.named_parameters())
    layers = 1 + max((int(found[1]) for name in named if (found := _LAYER.match(name))), default=-1)
    groups: dict[tuple[float, bool], dict[str, Any]] = {}
    for name, parameter in named.items():
        scale = config.layer_decay ** _layers_after(name, layers)
        decays = config.decay_all or (parameter.ndim > 1 and not name.endswith("pos_embed"))
        group: dict[str, Any] = {"params": [], "lr_scale": scale}
        if not decays:
            group["weight_decay"] = 0.0
        groups.setdefault((scale, decays), group)["params"].append(parameter)
    return list(groups.values())


def _layers_after(name: str, layers: int) -> int:
    found = _LAYER.match(name)
    if found:
        return layers - int(found[1])
    return layers + 1 if _BEFORE_LAYERS.match(name) else 0


def optimiser_state(optimiser: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return an optimiser's state: tensors by name, and the rest JSON-ready."""
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    for index, values in optimiser.state_dict()["state"].items():
        for name, value in values.items():
            key = f"optimiser.{index}.{name}"
            if isinstance(value, Tensor):
                tensors[key] = value
            else:
                numbers[key] = value
    return tensors, numbers


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], numbers: Mapping[str, Any]) -> None:
    """Put a state back that :func:`optimiser_state` returned. Raises ModelError."""
    state: dict[int, dict[str, Any]] = {}
    for key, value in {**tensors, **numbers}.items():
        if key.startswith("optimiser."):
            _, index, name = key.split(".", 2)
            state.setdefault(int(index), {})[name] = value
    try:
        optimiser.load_state_dict({"state": state, "param_groups": optimiser.state_dict()["param_groups"]})
    except (ValueError, KeyError) as error:
        raise ModelError("checkpoint-mismatch", f"the optimiser's state does not fit: {error}") from error
    for weights, values in optimiser.state.items():
        for name, value in values.items():
            if isinstance(value, Tensor) and value.shape == weights.shape:
                # In the memory layout of the weights, as the optimiser makes it: its fused code takes no other.
                values[name] = torch.empty_like(weights, dtype=value.dtype).copy_(value)


class MovingAverage:
    """The exponential moving average of a network's weights; buffers are copied.

    The decay rises from 0.1 with the number of updates up to its value, so that early weights are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self._decay = decay
        self.weights = {name: value.detach().clone() for name, value in network.state_dict().items()}

    @torch.no_grad()
    def update(self, network: nn.Module, updates: int) -> None:
        """Take in the weights after an update (counted from 0)."""
        decay = min(self._decay, (1 + updates) / (10 + updates))
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                self.weights[name].lerp_(value.to(self.weights[name].dtype), 1.0 - decay)
            else:
                self.weights[name].copy_(value)
