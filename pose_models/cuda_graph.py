"""A network's forward and backward pass, recorded once and replayed on the GPU in one piece.

A step of ResNet-50 is some twelve hundred small pieces of work for the GPU, and handing them over one by one takes the
processor longer than the GPU takes for a batch of 64. A CUDA graph hands over all of them at once. What is computed is
the same; docs/gpu.md has the figures. Source: PyTorch, ``torch.cuda.make_graphed_callables``.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from pose_models.devices import autocast

__all__ = ["replayed"]


class _Pass(nn.Module):
    """The network under its precision: a graph must not use weights that were rounded outside of it."""

    def __init__(self, network: nn.Module, device: torch.device, amp: str) -> None:
        super().__init__()
        self.network, self._device, self._amp = network, device, amp

    def forward(self, images: Tensor) -> object:
        with autocast(self._device, self._amp, cached=False):
            return self.network(images)


def replayed(
    network: nn.Module, shape: tuple[int, int, int, int], device: torch.device, *, amp: str, channels_last: bool = False
) -> nn.Module:
    """Return a module that computes what ``network`` does in training, for images of ``shape`` (B, 3, H, W).

    The module and the network share their weights. The passes that are made to record leave weights, gradients and
    running statistics as they were. No other thread may use the GPU meanwhile. Raises RuntimeError where a pass cannot
    be recorded (one that looks at a value on the way), or has not the memory; the process's random numbers on the GPU
    are then of no more use.
    """
    layout = torch.channels_last if channels_last else torch.contiguous_format
    images = torch.zeros(shape, device=device).to(memory_format=layout)
    before = {name: values.clone() for name, values in network.state_dict().items()}
    training = network.training
    _expect_the_recordings_queue()
    try:
        whole = _Pass(network.train(), device, amp)
        recorded: Any = torch.cuda.make_graphed_callables(whole, (images,), allow_unused_input=True)
    finally:
        network.load_state_dict(before)
        network.train(training)
    return cast("nn.Module", recorded)


def _expect_the_recordings_queue() -> None:
    """Have torch (2.9 and later) not warn at the first step.

    What adds up the gradients was made while recording, on a queue of its own; torch waits for it where it must.
    """
    warn = getattr(torch.autograd.graph, "set_warn_on_accumulate_grad_stream_mismatch", None)
    if warn is not None:
        warn(False)
