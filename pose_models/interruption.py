"""Ctrl-C and SIGTERM during a training: the first lets the running step end, the second is immediate."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["StopRequest", "asking_to_stop"]


class StopRequest:
    """Whether somebody has asked to stop; ``number`` is the signal's, 0 before."""

    def __init__(self) -> None:
        self.number = 0

    @property
    def exit_code(self) -> int:
        """Return 128 and the signal's number, as shells do."""
        return 128 + self.number

    def take(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal; the second one interrupts at once."""
        if self.number:
            raise KeyboardInterrupt
        self.number = number


@contextmanager
def asking_to_stop() -> Iterator[StopRequest]:
    """Yield a request that signals fill in while the body runs (in the main thread; elsewhere it stays empty)."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, request.take) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
