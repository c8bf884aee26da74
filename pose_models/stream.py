"""From a store to the device: batches read ahead, in pinned memory, copied while the device computes.

Images and maps stay uint8 on the way; what is to become of them is decided on the device. ``wait_s`` adds up how long
the consumer waited for data, the number that says whether reading holds training back.

On CUDA a batch is copied on a queue of its own (:mod:`pose_models.copying`): when the consumer asks for it, the device
still computes with the one before, and the processor waits for neither.
"""

import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pose_data.aligned import aligned_array
from pose_data.batch_memory import KEPT_BATCHES
from pose_data.order import EpochOrder, Position, Samples
from pose_data.reader import Batch, BatchReader, ReadableSplit
from pose_data.store import Split
from pose_models.copying import Copies, Copy, copies_to

__all__ = ["DeviceBatch", "SampleStream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceBatch:
    """A batch on the device.

    ``rows`` (B,) int64 and ``valid`` (B,) bool are on the CPU; ``arrays`` maps names to tensors (B, …) on the device:
    ``images`` (B, H, W, 3) uint8 RGB, maps as stored, columns in their own types. On the CPU the tensors of sharded
    arrays are valid until the next batch but one is asked for; on other devices they are their own.
    """

    rows: Tensor
    arrays: Mapping[str, Tensor]
    valid: Tensor


class SampleStream:
    """The batches of a split on a device, epoch by epoch; see :class:`pose_data.reader.BatchReader` for the order.

    Pickles while no epoch is under way, for processes that are spawned.

    Args:
        split: A split of an opened store, or of any Zarr store.
        batch_size: B; every batch has it, rows that only fill up the last one are not ``valid``.
        device: Where the tensors are to be.
        order: Seed, shuffle, window.
        rank, world_size: This process among those that share an epoch.
        arrays: Which arrays to read.
        threads: Decoding threads at most, of which as few read as keep up; None means one for each processor that this
            process may use.
        most_persons: Of scenes, only pictures with so many persons or fewer; 0: all.
    """

    def __init__(
        self,
        split: Split | ReadableSplit,
        *,
        batch_size: int,
        device: str | torch.device = "cpu",
        order: EpochOrder | None = None,
        rank: int = 0,
        world_size: int = 1,
        arrays: Sequence[str] = ("images", "keypoints"),
        threads: int | None = None,
        most_persons: int = 0,
    ) -> None:
        self.device = torch.device(device)
        self._reader = BatchReader(
            split, batch_size=batch_size, arrays=arrays, order=order, rank=rank, world_size=world_size,
            threads=threads, reuse_memory=True, most_persons=most_persons,
            allocate=_pinned_array if self.device.type == "cuda" else aligned_array,
        )  # fmt: skip
        self._position = self._reader.position
        self._copies: Copies | None = None  # made in the process that uses it
        self.wait_s = 0.0

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the device's queue: another process makes its own."""
        return {**self.__dict__, "_copies": None}

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch."""
        return len(self._reader)

    @property
    def split(self) -> ReadableSplit:
        """Return the split that is read."""
        return self._reader.split

    @property
    def samples(self) -> Samples:
        """Return what identifies the samples that are read."""
        return self._reader.samples

    def close(self) -> None:
        """Close the open files."""
        self._reader.close()

    def state(self) -> dict[str, Any]:
        """Return the place behind the last batch that was handed out, JSON-ready."""
        return self._position.as_dict()

    def epoch(self, epoch: int = 0, *, resume: Mapping[str, Any] | None = None) -> Iterator[DeviceBatch]:
        """Return the batches of an epoch, or what ``resume`` (of :meth:`state`, any number of ranks) leaves of it.

        Leaving the iterator early, an error and an interrupt end its threads. Raises DamageError, StorageError, and
        ResumeMismatchError where ``resume`` belongs to another order or to other samples.
        """
        position = None if resume is None else Position.from_dict(resume)
        batches = self._reader.epoch(epoch, position=position)
        self._position = self._reader.position
        return self._on_device(batches)

    def _on_device(self, batches: Iterator[Batch]) -> Iterator[DeviceBatch]:
        # The same queue in every epoch: the device's allocator keeps memory for each queue that there ever was.
        copies = self._copies = self._copies or copies_to(self.device)
        under_way: deque[Copy] = deque()  # out of memory that the reader still keeps for us
        try:
            while True:
                began_s = time.perf_counter()
                if len(under_way) == KEPT_BATCHES:
                    under_way.popleft().wait()  # asking for the next batch gives its memory back
                batch = next(batches, None)
                self.wait_s += time.perf_counter() - began_s
                if batch is None:
                    return
                copy = copies.begin(batch.arrays)
                under_way.append(copy)
                self._position = self._reader.position
                yield DeviceBatch(
                    rows=torch.from_numpy(batch.rows), arrays=copy.tensors(), valid=torch.from_numpy(batch.valid)
                )
        finally:
            for copy in under_way:
                copy.wait()
            close = getattr(batches, "close", None)
            if close is not None:
                close()


def _pinned_array(shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    memory = torch.empty(int(np.prod(shape)) * dtype.itemsize, dtype=torch.uint8, pin_memory=True)
    return memory.numpy().view(dtype).reshape(shape)
