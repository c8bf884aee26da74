"""How far an epoch is, how fast it goes, and how much of its time is spent waiting for data."""

import time

from pose_models.stream import SampleStream

__all__ = ["EpochProgress"]

_TELL_EVERY_S = 1.0


class EpochProgress:
    """Counts the samples of one epoch, all processes' together.

    ``read_before`` of them were read before a training that goes on in its midst; those count for how far it is, and
    not for how fast it goes.
    """

    def __init__(self, stream: SampleStream, *, read_before: int) -> None:
        self._stream, self.total, self._before = stream, stream.samples.count, read_before
        self._began_s, self._waited_before_s = time.perf_counter(), stream.wait_s
        self._told_s = 0.0
        self.seen = 0

    def saw(self, samples: int) -> None:
        """Take note of samples that were read."""
        self.seen += samples

    @property
    def done(self) -> int:
        """Return how many samples of the epoch are read; what fills up its last batch is none."""
        return min(self._before + self.seen, self.total)

    @property
    def seconds(self) -> float:
        """Return how long this process has been at it."""
        return time.perf_counter() - self._began_s

    def is_to_be_told(self) -> bool:
        """Return whether the last time that this was true is a second ago."""
        now_s = self.seconds
        if now_s - self._told_s < _TELL_EVERY_S:
            return False
        self._told_s = now_s
        return True

    def rates(self) -> dict[str, float]:
        """Return samples a second, and the share of the time that was spent waiting for data."""
        seconds = self.seconds
        waited_s = self._stream.wait_s - self._waited_before_s
        return {"samples_per_s": self.seen / seconds, "wait_share": waited_s / seconds}
