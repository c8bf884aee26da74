"""Ctrl-C and SIGTERM: the first asks the command to stop, the second ends the process at once."""

import os
import signal
from types import FrameType

from pose_data.events import Terminated

__all__ = ["Stopper"]


class Stopper:
    """The signal handler of the command line. Installed, it raises in the main thread, once."""

    def __init__(self) -> None:
        self.number = 0
        """The first signal that came, 0 before."""

    def install(self) -> None:
        """Take over SIGINT (unless it is ignored, as for background jobs of a plain shell) and SIGTERM."""
        if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
            signal.signal(signal.SIGINT, self._stop)
        signal.signal(signal.SIGTERM, self._stop)

    @property
    def exit_code(self) -> int:
        """Return 128 and the signal's number, as shells do."""
        return 128 + (self.number or signal.SIGINT)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.number:
            # Whoever asks twice does not want to wait: no clean-up; the next run sweeps what is left.
            os._exit(128 + number)
        self.number = number
        raise Terminated if number == signal.SIGTERM else KeyboardInterrupt
