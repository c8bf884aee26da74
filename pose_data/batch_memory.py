"""Memory of batches that is used again, from batch to batch and from epoch to epoch.

Each epoch that is under way has an :class:`EpochMemory` of its own, which goes back to the reader's
:class:`MemoryPool` at its end. What its last batches lie in stays untouched until the next epoch has handed out others.
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

__all__ = ["KEPT_BATCHES", "Allocate", "BatchMemory", "EpochMemory", "MemoryPool", "Shapes"]

Allocate: TypeAlias = Callable[[tuple[int, ...], np.dtype[Any]], npt.NDArray[Any]]
Shapes: TypeAlias = Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
"""Array name → shape (B, …) and type of a batch's array."""
_Arrays = Mapping[str, npt.NDArray[Any]]

KEPT_BATCHES = 2
"""Batches that stay untouched while their memory is used again: the one handed out, and the one before it."""


@dataclass(frozen=True, slots=True, eq=False)
class BatchMemory:
    """A batch's arrays, which are rows of larger ones from row ``first`` on."""

    arrays: _Arrays
    arena: _Arrays
    first: int


class EpochMemory:
    """Memory of ``batches`` batches in one piece, so that a chunk's rows can go to several of them in one copy.

    With 0 batches each one has memory of its own, which is not used again. Not to be used by two threads at once.
    """

    def __init__(self, shapes: Shapes, allocate: Allocate, batches: int) -> None:
        self._shapes, self._allocate = shapes, allocate
        self._all = self._in_one_piece(batches) if batches else []
        self._spare: list[BatchMemory] = []
        self._held: deque[BatchMemory] = deque()

    def begin(self) -> None:
        """Begin an epoch: whatever was not handed out last is free."""
        self._spare = [memory for memory in reversed(self._all) if memory not in self._held]

    def take(self) -> BatchMemory:
        """Return the memory of a batch that is done with: of those in use there are ``batches`` at most."""
        return self._spare.pop() if self._all else self._in_one_piece(1)[0]

    def next_is_asked_for(self) -> None:
        """Take note that whoever has the batch that was handed out wants another: the one before is done with."""
        if len(self._held) == KEPT_BATCHES:
            self._spare.append(self._held.popleft())

    def hand_out(self, memory: BatchMemory) -> None:
        """Take note that a batch is handed out."""
        if self._all:
            self._held.append(memory)

    def _in_one_piece(self, batches: int) -> list[BatchMemory]:
        arena = {
            name: self._allocate((batches * size, *row_shape), dtype)
            for name, ((size, *row_shape), dtype) in self._shapes.items()
        }
        size = next(iter(self._shapes.values()))[0][0] if self._shapes else 0
        return [
            BatchMemory({name: rows[first : first + size] for name, rows in arena.items()}, arena, first)
            for first in (number * size for number in range(batches))
        ]


class MemoryPool:
    """A reader's memory: one :class:`EpochMemory` for each epoch that is under way at a time. Pickles without them."""

    def __init__(self, shapes: Shapes, allocate: Allocate, batches: int) -> None:
        """Note what to make memory of, see :class:`EpochMemory`; nothing is made yet."""
        self.shapes = shapes
        self._allocate, self._batches = allocate, batches
        self._spare: deque[EpochMemory] = deque()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the memory: another process makes its own."""
        return {**self.__dict__, "_spare": deque()}

    def lend(self) -> EpochMemory:
        """Return memory for an epoch that begins, of an epoch that has ended where there is such a one."""
        try:
            memory = self._spare.pop()
        except IndexError:  # asking first would not do: another thread may take the last one
            memory = EpochMemory(self.shapes, self._allocate, self._batches)
        memory.begin()
        return memory

    def take_back(self, memory: EpochMemory) -> None:
        """Take an epoch's memory back, into which nobody writes any more."""
        self._spare.append(memory)

    def clear(self) -> None:
        """Let the memory go."""
        self._spare.clear()
