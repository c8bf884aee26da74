"""PyTorch's ``Dataset`` and ``IterableDataset`` views of a split, for training loops of one's own.

:class:`SampleDataset` gives single rows by number, for samplers and ``DataLoader`` workers; each row costs a chunk. The
:class:`SampleIterable` gives whole shuffled batches and is much faster; with workers, each of them takes the part that
the order deals to a rank, so every sample comes once an epoch.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, get_worker_info

from pose_data.chunk_rows import ChunkRows, Scratch, Wanted
from pose_data.errors import UsageError
from pose_data.order import EpochOrder
from pose_data.reader import BatchReader, ReadableSplit, open_readable
from pose_data.store import open_store

__all__ = ["SampleDataset", "SampleIterable"]

_ARRAYS = ("images", "heatmaps", "keypoints")


class SampleDataset(Dataset[dict[str, Tensor]]):
    """The samples of a split by number: array name → tensor, as stored, and ``row``.

    Pickles as its path, so that workers, forked or spawned, open the store themselves.
    """

    def __init__(self, store: str | Path, split: str, *, arrays: Sequence[str] = _ARRAYS) -> None:
        self._store, self._split, self._arrays = Path(store), split, tuple(arrays)
        self._opened: tuple[int, ReadableSplit, ChunkRows] | None = None
        self._rows = self._open()[0].sample_rows

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._rows)

    def __getitem__(self, number: int) -> dict[str, Tensor]:
        """Return one sample. Raises IndexError, DamageError."""
        split, chunks = self._open()
        row = int(self._rows[number])
        shard, within = divmod(row, split.facts.shard_rows)
        sample = {"row": torch.tensor(row)}
        for name in self._arrays:
            layout = split.layouts[name]
            if layout.sharded:
                values = np.empty(layout.row_shape, layout.dtype)
                chunks.load(name, Wanted(shard, np.array([within]), places={name: [values]}), Scratch())
            else:
                values = np.array(split.row(name, row))
            sample[name] = torch.from_numpy(values)
        return sample

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_opened": None}

    def _open(self) -> tuple[ReadableSplit, ChunkRows]:
        """Open the store in the process that reads: descriptors are not shared."""
        if self._opened is None or self._opened[0] != os.getpid():
            split = open_readable(open_store(self._store)[self._split])
            unknown = [name for name in self._arrays if name not in split.layouts]
            if unknown:
                hint = f"arrays: {', '.join(split.layouts)}"
                raise UsageError("array-unknown", f"no array {unknown[0]!r}", hint=hint)
            facts = split.facts
            layouts = [layout for layout in split.layouts.values() if layout.sharded]
            chunks = ChunkRows(split.source, layouts, shard_rows=facts.shard_rows, chunk_rows=facts.recipe.chunk_rows)
            self._opened = os.getpid(), split, chunks
        return self._opened[1], self._opened[2]


class SampleIterable(IterableDataset[dict[str, Tensor]]):
    """Shuffled batches of a split: array name → (B, …) tensor, ``row`` and ``valid`` (B,).

    Use with ``DataLoader(..., batch_size=None)``. ``rank`` and ``world_size`` are those of the training process;
    workers divide its part among them. Call :meth:`set_epoch` before each epoch.
    """

    def __init__(
        self,
        store: str | Path,
        split: str,
        *,
        batch_size: int,
        arrays: Sequence[str] = _ARRAYS,
        order: EpochOrder | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self._store, self._split, self._batch_size, self._arrays = Path(store), split, batch_size, tuple(arrays)
        self._order, self._rank, self._world_size = order or EpochOrder(), rank, world_size
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order comes next."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        """Return the batches of the epoch. Raises DamageError, StoreError."""
        worker = get_worker_info()
        workers, number = (worker.num_workers, worker.id) if worker is not None else (1, 0)
        with BatchReader(
            open_store(self._store)[self._split], batch_size=self._batch_size, arrays=self._arrays, order=self._order,
            rank=self._rank * workers + number, world_size=self._world_size * workers,
            threads=None if workers == 1 else 1,
        ) as reader:  # fmt: skip
            for batch in reader.epoch(self._epoch):
                tensors = {name: torch.from_numpy(values) for name, values in batch.arrays.items()}
                yield {**tensors, "row": torch.from_numpy(batch.rows), "valid": torch.from_numpy(batch.valid)}
