"""Threads that fill batches ahead of their reader.

The rows of an epoch are known in advance, so each row has its place: batch p // B, slot p % B. Rows of one window are
sorted into *runs* of neighbouring rows; a thread takes the next run, decodes it once, and puts every row into its
place. A batch is handed out when its last row has come. At most two windows of batches are in memory.
"""

import itertools
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pose_data.chunk_rows import ChunkRows, Scratch, Wanted
from pose_data.errors import DamageError

__all__ = ["KEPT_BATCHES", "Allocate", "ReadAhead"]

Allocate = Callable[[tuple[int, ...], np.dtype[Any]], npt.NDArray[Any]]
Explain = Callable[[DamageError, str, int, npt.NDArray[np.int64]], DamageError]
_Rows = npt.NDArray[np.int64]
_Buffers = Mapping[str, npt.NDArray[Any]]

KEPT_BATCHES = 2
"""Batches that stay untouched while their memory is used again: the one handed out, and the one before it."""
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class _Run:
    shard: int
    rows: _Rows
    """Of the split."""
    batches: list[int]
    """The batch of each row."""
    slots: list[int]
    """Its place in the batch."""
    last_batch: int


class ReadAhead:
    """An iterator of filled batches (array name → (B, …)); use as a context manager, which ends its threads.

    ``rows`` (n·B,) are the epoch's rows in order, ``shapes`` the batches' shapes and types by array, ``into_window``
    how many rows of the first window are behind it. ``spare`` gives and takes the memory of batches that are done with,
    for this epoch and the next; None makes fresh memory for each batch.
    """

    def __init__(
        self,
        chunks: ChunkRows,
        rows: _Rows,
        batch_size: int,
        shapes: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]],
        *,
        shard_rows: int,
        run_rows: int,
        window: int,
        into_window: int,
        threads: int,
        allocate: Allocate,
        spare: deque[_Buffers] | None,
        explain: Explain,
    ) -> None:
        self._chunks, self._rows, self._size, self._shapes = chunks, rows, batch_size, shapes
        self._shard_rows, self._run_rows = shard_rows, run_rows
        self._allocate, self._spare, self._explain = allocate, spare, explain
        self._count = len(rows) // batch_size
        self._runs = self._all_runs(window, into_window)
        self._next_run: _Run | None = None
        window_batches = -(-window // batch_size) + 1
        self._capacity = 2 * window_batches + KEPT_BATCHES
        self._filled: dict[int, _Buffers] = {}
        self._missing: dict[int, int] = {}
        self._handed_out = 0
        self._error: BaseException | None = None
        self._stopped = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, name=f"reader-{number}", daemon=True) for number in range(threads)
        ]

    def __enter__(self) -> Self:
        if self._shapes:
            for thread in self._threads:
                thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        if self._spare is not None:
            self._spare.extend(self._filled.values())

    def __iter__(self) -> Iterator[_Buffers]:
        held: deque[_Buffers] = deque()
        for number in range(self._count):
            if not self._shapes:
                yield {}
                continue
            buffers = self._wait_for(number)
            held.append(buffers)
            yield buffers
            with self._changed:
                self._handed_out = number + 1
                if len(held) >= KEPT_BATCHES:
                    oldest = held.popleft()
                    if self._spare is not None:
                        self._spare.append(oldest)
                self._changed.notify_all()

    def _wait_for(self, number: int) -> _Buffers:
        with self._changed:
            # Only rows can be missing that no run has begun yet, so a batch without an entry is not ready.
            while self._error is None and self._missing.get(number, 1):
                self._changed.wait(_POLL_S)
            if self._error is not None:
                raise self._error
            del self._missing[number]
            return self._filled.pop(number)

    # -- in the threads

    def _work(self) -> None:
        scratch = Scratch()
        try:
            while (taken := self._take()) is not None:
                run, buffers = taken
                self._load(run, buffers, scratch)
                self._arrived(run)
        except BaseException as error:  # noqa: BLE001 - raised where the batches are asked for
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _take(self) -> tuple[_Run, dict[int, _Buffers]] | None:
        """Return the next run, once there is room for all batches that it goes to, and these; None at the end."""
        with self._changed:
            while not self._stopped and self._error is None:
                if self._next_run is None:
                    self._next_run = next(self._runs, None)
                run = self._next_run
                if run is None:
                    return None
                if run.last_batch < self._handed_out + self._capacity:
                    self._next_run = None
                    numbers = set(run.batches)
                    for number in numbers.difference(self._missing):
                        self._missing[number] = self._size
                        self._filled[number] = self._memory()
                    return run, {number: self._filled[number] for number in numbers}
                self._changed.wait()
            return None

    def _memory(self) -> _Buffers:
        """Return the memory of a batch that is done with, or fresh memory."""
        try:
            if self._spare is not None:
                return self._spare.pop()
        except IndexError:  # asking first would not do: another epoch of the same reader may take the last one
            pass
        return self._fresh()

    def _fresh(self) -> _Buffers:
        return {name: self._allocate(shape, dtype) for name, (shape, dtype) in self._shapes.items()}

    def _load(self, run: _Run, buffers: Mapping[int, _Buffers], scratch: Scratch) -> None:
        places = {}
        for name in self._shapes:
            arrays = {number: batch[name] for number, batch in buffers.items()}
            places[name] = [arrays[number][slot] for number, slot in zip(run.batches, run.slots, strict=True)]
        wanted = Wanted(run.shard, run.rows - run.shard * self._shard_rows, places)
        for name in self._shapes:
            try:
                self._chunks.load(name, wanted, scratch)
            except DamageError as error:
                raise self._explain(error, name, run.shard, run.rows) from error

    def _arrived(self, run: _Run) -> None:
        counts = Counter(run.batches)
        with self._changed:
            done = False
            for number, count in counts.items():
                self._missing[number] -= count
                done = done or not self._missing[number]
            if done:
                self._changed.notify_all()

    # -- the runs of the epoch, made as they are needed

    def _all_runs(self, window: int, into_window: int) -> Iterator[_Run]:
        first, end = 0, min(len(self._rows), window - into_window)
        while first < len(self._rows):
            yield from self._runs_of(first, end)
            first, end = end, min(len(self._rows), end + window)

    def _runs_of(self, first: int, end: int) -> Iterator[_Run]:
        """Yield the runs of the positions first … end - 1, by row."""
        rows = self._rows[first:end]
        by_row = np.argsort(rows, kind="stable")
        ordered, positions = rows[by_row], by_row + first
        borders = np.flatnonzero(np.diff(ordered // self._run_rows) | np.diff(ordered // self._shard_rows)) + 1
        last_batch = (end - 1) // self._size
        batches, slots = (positions // self._size).tolist(), (positions % self._size).tolist()
        for begin, stop in itertools.pairwise([0, *borders.tolist(), len(ordered)]):
            part = ordered[begin:stop]
            shard = int(part[0]) // self._shard_rows
            yield _Run(shard, part, batches[begin:stop], slots[begin:stop], last_batch)
