"""A pipeline of threads: one reads ahead, one works while the next item is made, one writes behind; all are bounded."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Generic, Self, TypeVar

__all__ = ["Ahead", "Behind", "overlapped"]

_T = TypeVar("_T")
_R = TypeVar("_R")
_MOST_ITEMS = 64
_LEAVE_WAIT_S = 15.0
"""Longer than a stream that is silent is waited for."""


class _Bounded(Generic[_T]):
    """A queue that holds at most ``limit`` of the items' weights, or one item."""

    def __init__(self, weight: Callable[[_T], int], limit: int) -> None:
        self._weight, self._limit = weight, limit
        self._items: deque[tuple[_T, int]] = deque()
        self._held = 0
        self._ended = self._stopped = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def _full(self, weight: int) -> bool:
        return bool(self._items) and (self._held + weight > self._limit or len(self._items) >= _MOST_ITEMS)

    def _put(self, item: _T) -> None:
        weight = self._weight(item)
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or not self._full(weight))
            self._append(item, weight)

    def _append(self, item: _T, weight: int) -> None:
        self._items.append((item, weight))
        self._held += weight
        self._changed.notify_all()

    def _get(self) -> tuple[_T] | None:
        """Return the next item in a tuple, None at the end."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._items) or self._ended or self._stopped)
            if not self._items:
                return None
            item, weight = self._items.popleft()
            self._held -= weight
            self._changed.notify_all()
            return (item,)

    def _end(self, error: BaseException | None = None) -> None:
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def _stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._items.clear()
            self._changed.notify_all()


class Ahead(_Bounded[_T]):
    """Iterates over a generator in a thread of its own; use as a context manager, which ends the thread.

    Of items that are ``droppable`` only the newest is held: a camera does not wait. ``dropped`` counts the others. An
    exception of the generator is raised where it is iterated.
    """

    def __init__(
        self,
        items: Generator[_T, None, None] | Iterator[_T],
        *,
        weight: Callable[[_T], int],
        limit: int,
        droppable: Callable[[_T], bool] = lambda item: False,
    ) -> None:
        super().__init__(weight, limit)
        self._source, self._droppable = items, droppable
        self.dropped = 0
        self._thread = threading.Thread(target=self._work, name="read-ahead", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        self._thread.join(_LEAVE_WAIT_S)

    def __iter__(self) -> Iterator[_T]:
        while (item := self._get()) is not None:
            yield item[0]
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        try:
            for item in self._source:
                if self._droppable(item):
                    self._drop_older()
                self._put(item)
                if self._stopped:
                    break
            if isinstance(self._source, Generator):
                self._source.close()
            self._end()
        except BaseException as error:  # noqa: BLE001 - it is raised again where the items are taken
            self._end(error)

    def _drop_older(self) -> None:
        with self._changed:
            kept = [pair for pair in self._items if not self._droppable(pair[0])]
            self.dropped += len(self._items) - len(kept)
            self._items = deque(kept)
            self._held = sum(weight for _, weight in kept)


class Behind(_Bounded[_T]):
    """Calls ``work`` with every item that is put, in order, in a thread of its own; leaving waits for the last one.

    An exception of ``work`` is raised at the next ``put`` or on leaving.
    """

    def __init__(self, work: Callable[[_T], None], *, weight: Callable[[_T], int], limit: int) -> None:
        super().__init__(weight, limit)
        self._call = work
        self._thread = threading.Thread(target=self._work, name="write-behind", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def put(self, item: _T) -> None:
        """Hand an item over; waits while too much is held."""
        if self._error is not None:
            raise self._error
        self._put(item)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._error is None:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
        self._thread.join()
        if self._error is not None and kind is None:
            raise self._error

    def _work(self) -> None:
        try:
            while (item := self._get()) is not None:
                self._call(item[0])
        except BaseException as error:  # noqa: BLE001 - it is raised again by put() and on leaving
            with self._changed:
                self._error = error
                self._stopped = True
                self._items.clear()
                self._changed.notify_all()


def overlapped(
    items: Iterable[_T], work: Callable[[_T], _R], *, urgent: Callable[[_T], bool] = lambda item: False
) -> Iterator[tuple[_T, _R]]:
    """Yield each item with what ``work`` makes of it, in order; meanwhile the next item is made.

    ``work`` runs in a thread of its own, on one item at a time. An ``urgent`` item is yielded before the next one is
    asked for. An exception of ``work`` is raised here; leaving early waits for the item that is worked on.
    """
    pool = ThreadPoolExecutor(1, thread_name_prefix="overlapped")
    waiting: deque[tuple[_T, Future[_R]]] = deque()
    try:
        for item in items:
            waiting.append((item, pool.submit(work, item)))
            while len(waiting) > (0 if urgent(item) else 1):
                done, result = waiting.popleft()
                yield done, result.result()
        for done, result in waiting:
            yield done, result.result()
    finally:
        pool.shutdown(cancel_futures=True)
