"""How large a network is: parameters, multiply-adds, and MSRA's own count.

The published figures of one network differ by up to 1.7 times because they were counted differently, so
every figure here names its counter.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["count_gmac", "count_msra_g", "count_parameters"]

_MSRA_KINDS = (nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def count_parameters(network: nn.Module) -> int:
    """Return the number of parameters, frozen ones included, buffers not."""
    return sum(parameter.numel() for parameter in network.parameters())


def count_gmac(network: nn.Module, *, width_px: int, height_px: int, channels: int = 3) -> float:
    """Return the multiply-adds of one picture in units of 1e9, by torch's own counter (flop divided by 2).

    Convolutions, linear layers and matrix products are counted; a transposed convolution at its *input* size,
    which is what it computes. Fused attention is not: neither do published figures have its two products.
    Nothing is computed: the network is copied to the ``meta`` device.
    """
    counter = FlopCounterMode(display=False)
    with _without_values(network) as hollow, counter, _AttentionLeftOut():
        hollow(torch.empty(1, channels, height_px, width_px, device="meta"))
    return sum(counter.get_flop_counts()["Global"].values()) / 2e9


def count_msra_g(network: nn.Module, *, width_px: int, height_px: int, channels: int = 3) -> float:
    """Return what the counting script of Microsoft's pose repositories prints as "GFLOPs".

    The weight elements of every convolution and linear layer times its *output* positions, divided by 2**30;
    no bias, normalisation or activation. A transposed convolution of stride 2 is so counted four times too dear.
    Source: leoxiaobin/deep-high-resolution-net.pytorch, lib/utils/utils.py (get_model_summary).
    """
    products = 0

    def add(module: nn.Module, _inputs: Any, output: Tensor) -> None:
        nonlocal products
        weight = module.weight
        assert isinstance(weight, Tensor)
        channels_out = module.out_features if isinstance(module, nn.Linear) else module.out_channels
        assert isinstance(channels_out, int)
        products += weight.numel() * (output.numel() // channels_out)

    with _without_values(network) as hollow:
        for module in hollow.modules():
            if isinstance(module, _MSRA_KINDS):
                module.register_forward_hook(add)
        hollow(torch.empty(1, channels, height_px, width_px, device="meta"))
    return products / 2**30


class _AttentionLeftOut(TorchFunctionMode):
    """Answers fused attention with an empty tensor: on the ``meta`` device it would be two plain products."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is functional.scaled_dot_product_attention:
            query, _, value = args[:3]
            return query.new_empty(*query.shape[:-1], value.shape[-1])
        return function(*args, **(kwargs or {}))


@contextmanager
def _without_values(network: nn.Module) -> Iterator[nn.Module]:
    """Yield a copy of the network on the ``meta`` device, in eval mode, without gradients."""
    with torch.no_grad():
        yield copy.deepcopy(network).to("meta").eval()
