"""Call a function for many numbers in Dask's threads, results as they come, stoppable between the calls."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ["in_threads"]

_Result = TypeVar("_Result")
_POLL_S = 0.1


def in_threads(
    function: Callable[[int], _Result], numbers: Sequence[int], *, workers: int, stop: threading.Event
) -> Iterator[tuple[int, _Result]]:
    """Yield (number, result) in the order in which calls end, at most ``workers`` at a time.

    When the consumer leaves, or a call raises, ``stop`` is set, no further call begins, and the running ones are
    waited for; a long function looks at ``stop`` itself. Raises what a call raised.
    """
    results: queue.SimpleQueue[tuple[int, _Result] | BaseException] = queue.SimpleQueue()

    def one(number: int) -> None:
        if not stop.is_set():
            results.put((number, function(number)))

    def drive() -> None:
        import dask.threaded

        graph = {("call", number): (one, number) for number in numbers}
        try:
            dask.threaded.get(graph, list(graph), num_workers=workers)
        except BaseException as error:  # noqa: BLE001 - handed to the consumer below, which raises it
            stop.set()
            results.put(error)

    if workers == 1 or len(numbers) == 1:
        yield from ((number, function(number)) for number in numbers)
        return
    driver = threading.Thread(target=drive, name="dask-driver", daemon=True)
    driver.start()
    try:
        for _ in numbers:
            result = _next(results)
            if isinstance(result, BaseException):
                raise result
            yield result
    except BaseException:
        stop.set()
        driver.join()
        raise
    driver.join()


def _next(
    results: "queue.SimpleQueue[tuple[int, _Result] | BaseException]",
) -> tuple[int, _Result] | BaseException:
    while True:
        try:
            # With a limit, so that Ctrl-C is answered at once.
            return results.get(timeout=_POLL_S)
        except queue.Empty:
            continue
