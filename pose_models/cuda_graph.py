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
        self.accumulators: list[Any] = []

    def forward(self, images: Tensor) -> object:
        with autocast(self._device, self._amp, cached=False):
            return self.network(images)


def replayed(network: nn.Module, images: Tensor, amp: str) -> nn.Module:
    """Return a module that computes what ``network`` does in training, for batches of the shape of ``images``.

    The module and the network share their weights. ``images`` (B, 3, H, W) may hold anything: the passes that are made
    to record leave weights, gradients and running statistics as they were. No other thread may use the GPU meanwhile.
    Raises RuntimeError where a pass cannot be recorded (one that looks at a value on the way), or has not the memory.
    """
    before = {name: values.clone() for name, values in network.state_dict().items()}
    training = network.training
    try:
        whole = _Pass(network.train(), images.device, amp)
        whole.accumulators = _accumulators(network)
        recorded: Any = torch.cuda.make_graphed_callables(whole, (images,), allow_unused_input=True)
    finally:
        network.load_state_dict(before)
        network.train(training)
    return cast("nn.Module", recorded)


def _accumulators(network: nn.Module) -> list[Any]:
    """Return what adds up the gradients of each weight, made on the queue that steps run on.

    They live as long as somebody holds them. Were they first made while recording, on a queue of its own, every step
    would wait for that queue.
    """
    shared = [weights.view_as(weights).grad_fn for weights in network.parameters() if weights.requires_grad]
    return [made.next_functions[0][0] for made in shared if made is not None]
