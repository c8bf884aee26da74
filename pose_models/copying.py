"""Copies to and from a device that hold up neither the device nor the processor.

Batches go on a queue of their own, so that they overlap what the device computes. The memory that is copied from is
used again by the reader's threads, which know nothing of the device. A copy therefore tells the device's computing
queue to wait for it (:meth:`Copy.tensors`), and the reader's side can wait for it (:meth:`Copy.wait`) before that
memory is given back. What is wanted back (:class:`Fetched`) is waited for alone, not with all that the device was given
since.
On the CPU nothing is copied.
"""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

__all__ = ["Copies", "Copy", "Fetched", "copies_to", "sent"]

_Arrays = Mapping[str, npt.NDArray[Any]]


def sent(values: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Return an array on the device; the processor does not wait for what the device still has to do."""
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return _pinned(tensor).to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _pinned(tensor: Tensor) -> Tensor:
    # From other memory a copy waits for all that its queue holds.
    return tensor if tensor.is_pinned() else tensor.pin_memory()


class Fetched:
    """A tensor on its way from the device to the processor."""

    def __init__(self, tensor: Tensor) -> None:
        """Begin to fetch a tensor, once the device has computed it."""
        self._tensor, self._ended = tensor, None
        if tensor.device.type == "cuda":
            self._tensor = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._tensor.copy_(tensor, non_blocking=True)
            self._ended = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            self._ended.record()

    def value(self) -> Tensor:
        """Return it, on the CPU; waits for it."""
        if self._ended is not None:
            self._ended.synchronize()
        return self._tensor


class Copy(Protocol):
    """A batch on its way."""

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the tensors on the device; what is computed with them from now on waits for the copy there."""

    def wait(self) -> None:
        """Wait here until the memory that is copied from may be changed."""


class Copies(Protocol):
    """The way to a device."""

    def begin(self, arrays: _Arrays) -> Copy:
        """Begin to copy a batch's arrays."""


def copies_to(device: torch.device) -> Copies:
    """Return the way to a device: a queue of its own on CUDA, none on the CPU."""
    return _CudaCopies(device) if device.type == "cuda" else _NoCopies()


class _Shared:
    """Tensors that lie in the reader's own memory."""

    def __init__(self, arrays: _Arrays) -> None:
        self._tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}

    def tensors(self) -> Mapping[str, Tensor]:
        return self._tensors

    def wait(self) -> None:
        pass


class _NoCopies:
    def begin(self, arrays: _Arrays) -> Copy:
        return _Shared(arrays)


class _CudaCopies:
    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._queue = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def begin(self, arrays: _Arrays) -> Copy:
        with torch.cuda.stream(self._queue):
            tensors = {
                name: _pinned(torch.from_numpy(values)).to(self._device, non_blocking=True)
                for name, values in arrays.items()
            }
            ended = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            ended.record(self._queue)
        return _CudaCopy(self._device, arrays, tensors, ended)


class _CudaCopy:
    def __init__(
        self, device: torch.device, arrays: _Arrays, tensors: Mapping[str, Tensor], ended: torch.cuda.Event
    ) -> None:
        # The arrays are held until the copy has ended: a column's memory is nobody else's.
        self._device, self._arrays, self._tensors, self._ended = device, arrays, tensors, ended

    def tensors(self) -> Mapping[str, Tensor]:
        computing = torch.cuda.current_stream(self._device)
        computing.wait_event(self._ended)
        for tensor in self._tensors.values():
            tensor.record_stream(computing)  # or its memory would be free for the next copy while it is computed with
        return self._tensors

    def wait(self) -> None:
        self._ended.synchronize()
