"""Threads that fill batches ahead of their reader.

The rows of an epoch are known in advance, so each row has its place: batch p // B, slot p % B. Rows of one window are
sorted into *runs* of neighbouring rows; a thread takes the next run, decodes it once, and puts every row into its
place. A batch is handed out when its last row has come. At most two windows of batches are in memory.

Of the threads only as many read as it takes (:class:`Pace`): each one that does not need to takes turns with the thread
that trains, at Python's lock, and slows it.
"""

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from pose_data.batch_memory import KEPT_BATCHES, BatchMemory, MemoryPool
from pose_data.chunk_rows import ChunkRows, Scratch, Wanted
from pose_data.errors import DamageError

__all__ = ["Pace", "ReadAhead", "most_batches"]

Explain = Callable[[DamageError, str, int, npt.NDArray[np.int64]], DamageError]
_Rows = npt.NDArray[np.int64]

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


@dataclass(slots=True)
class Pace:
    """How many of a reader's threads read: in each epoch all until everything is read ahead, then as few as keep up.

    How many that takes is kept from epoch to epoch.
    """

    threads: int
    reading: int = field(init=False)
    _least: int = field(init=False, default=1)

    def __post_init__(self) -> None:
        self.begin()

    def begin(self) -> None:
        """Take note that an epoch begins: nothing is read ahead, so waiting will say nothing about the threads."""
        self.reading = self.threads

    def ahead(self) -> None:
        """Take note that all that may be read ahead is read."""
        self.reading = self._least

    def behind(self) -> None:
        """Take note that a batch had to be waited for, though all was read ahead before."""
        self.reading = self._least = min(self.threads, 2 * self.reading)


def _window_batches(window: int, batch_size: int) -> int:
    return -(-window // batch_size) + 1


def _most_ahead(window: int, batch_size: int) -> int:
    """Return how many batches from the one handed out on may be filled: two windows and those that are kept."""
    return 2 * _window_batches(window, batch_size) + KEPT_BATCHES


def most_batches(window: int, batch_size: int, batches: int) -> int:
    """Return how many batches are in memory at most in an epoch of ``batches``, with those of the one before it."""
    return min(_most_ahead(window, batch_size), batches) + KEPT_BATCHES


class ReadAhead:
    """An iterator of filled batches (array name → (B, …)); use as a context manager, which ends its threads.

    ``rows`` (n·B,) are the epoch's rows in order, ``into_window`` how many rows of the first window are behind it.
    ``memory`` lends what the batches lie in, enough for :func:`most_batches`, or memory of its own for each.
    """

    def __init__(
        self,
        chunks: ChunkRows,
        rows: _Rows,
        batch_size: int,
        *,
        shard_rows: int,
        run_rows: int,
        window: int,
        into_window: int,
        pace: Pace,
        memory: MemoryPool,
        explain: Explain,
    ) -> None:
        self._chunks, self._rows, self._size = chunks, rows, batch_size
        self._shard_rows, self._run_rows = shard_rows, run_rows
        self._pool, self._names, self._explain = memory, list(memory.shapes), explain
        self._count = len(rows) // batch_size
        self._runs = self._all_runs(window, into_window)
        self._next_run: _Run | None = None
        self._window_batches, self._most_ahead = _window_batches(window, batch_size), _most_ahead(window, batch_size)
        self._filled: dict[int, BatchMemory] = {}
        self._missing: dict[int, int] = {}
        self._handed_out = 0
        self._error: BaseException | None = None
        self._stopped = False
        self._pace, self._may_be_behind_from = pace, self._count
        lock = threading.Lock()
        self._changed, self._more_wanted = threading.Condition(lock), threading.Condition(lock)
        self._threads = [
            threading.Thread(target=self._work, args=(number,), name=f"reader-{number}", daemon=True)
            for number in range(pace.threads)
        ]

    def __enter__(self) -> Self:
        self._pace.begin()
        self._memory = self._pool.lend()
        if self._names:
            try:
                for thread in self._threads:
                    thread.start()
            except BaseException:
                self._end()
                raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        with self._changed:
            self._stopped = True
            self._wake_all()
        for thread in self._threads:
            if thread.ident is not None:
                thread.join()
        self._pool.take_back(self._memory)

    def __iter__(self) -> Iterator[Mapping[str, npt.NDArray[Any]]]:
        for number in range(self._count):
            if not self._names:
                yield {}
                continue
            with self._changed:
                self._memory.next_is_asked_for()
                self._handed_out = number
                self._changed.notify_all()
            batch = self._wait_for(number)
            self._memory.hand_out(batch)
            yield batch.arrays

    def _wait_for(self, number: int) -> BatchMemory:
        with self._changed:
            # Only rows can be missing that no run has begun yet, so a batch without an entry is not ready.
            if number >= self._may_be_behind_from and self._missing.get(number, 1):
                self._pace.behind()
                self._may_be_behind_from = number + self._window_batches  # not before more threads have shown
                self._more_wanted.notify_all()
            while self._error is None and self._missing.get(number, 1):
                self._changed.wait(_POLL_S)
            if self._error is not None:
                raise self._error
            del self._missing[number]
            return self._filled.pop(number)

    # -- in the threads

    def _wake_all(self) -> None:
        self._changed.notify_all()
        self._more_wanted.notify_all()

    def _work(self, number: int) -> None:
        scratch = Scratch()
        try:
            while (taken := self._take(number)) is not None:
                run, memory = taken
                self._load(run, memory, scratch)
                self._arrived(run)
        except BaseException as error:  # noqa: BLE001 - raised where the batches are asked for
            with self._changed:
                self._error = self._error or error
                self._wake_all()

    def _take(self, thread: int) -> tuple[_Run, dict[int, BatchMemory]] | None:
        """Return the next run, once there is room for all batches that it goes to, and these; None at the end."""
        with self._changed:
            while not self._stopped and self._error is None:
                if thread >= self._pace.reading:
                    self._more_wanted.wait()
                    continue
                if self._next_run is None:
                    self._next_run = next(self._runs, None)
                run = self._next_run
                if run is None:
                    self._may_be_behind_from = self._count  # nothing is left to take
                    return None
                if run.last_batch < self._handed_out + self._most_ahead:
                    self._next_run = None
                    numbers = set(run.batches)
                    for number in numbers.difference(self._missing):
                        self._filled[number] = self._memory.take()
                        self._missing[number] = self._size
                    return run, {number: self._filled[number] for number in numbers}
                self._pace.ahead()
                self._may_be_behind_from = min(self._may_be_behind_from, self._handed_out + 1)
                self._changed.wait()
            return None

    def _load(self, run: _Run, memory: Mapping[int, BatchMemory], scratch: Scratch) -> None:
        batches = [memory[number] for number in run.batches]
        rows, arena = run.rows - run.shard * self._shard_rows, batches[0].arena
        if all(batch.arena is arena for batch in memory.values()):
            arena_rows = np.array([batch.first for batch in batches], np.int64) + np.array(run.slots, np.int64)
            wanted = Wanted(run.shard, rows, arena=arena, arena_rows=arena_rows)
        else:
            by_batch = list(zip(batches, run.slots, strict=True))
            places = {name: [batch.arrays[name][slot] for batch, slot in by_batch] for name in self._names}
            wanted = Wanted(run.shard, rows, places=places)
        for name in self._names:
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
