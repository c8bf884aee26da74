"""The One-Euro filter: little lag in fast movements, little jitter in slow ones.

Source: Casiez, Roussel and Vogel, "1€ Filter: A Simple Speed-based Low-pass Filter for Noisy Input in Interactive
Systems", CHI 2012. Speeds are measured in the person's own size a second, so that the same numbers hold for near and
far persons and for any picture size.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pose_data.errors import UsageError

__all__ = ["OneEuro", "Smoothing"]

_Float = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Smoothing:
    """How strongly positions are smoothed."""

    least_cutoff_hz: float = 1.5
    """At rest; lower is smoother."""
    speed_share: float = 8.0
    """How much the cutoff grows with the speed, in Hz for one person's size a second."""
    speed_cutoff_hz: float = 1.0
    """Of the filter of the speed itself."""

    def __post_init__(self) -> None:
        if min(self.least_cutoff_hz, self.speed_cutoff_hz) <= 0 or self.speed_share < 0:
            raise UsageError("option-value", f"{self}: cutoffs are above 0, the share of the speed is not below")


class OneEuro:
    """The filter of one person's keypoints."""

    def __init__(self, options: Smoothing) -> None:
        self._options = options
        self._xy: _Float | None = None
        self._speed: _Float | None = None
        self._time_s = 0.0

    def filtered(self, xy: _Float, time_s: float, size_px: float) -> _Float:
        """Return points (K, 2) filtered; the first ones, and those at a time not later, as they are.

        ``size_px`` is the person's size, such as the square root of the area.
        """
        step_s = time_s - self._time_s
        if self._xy is None or self._speed is None or step_s <= 0:
            self._xy, self._speed, self._time_s = xy.copy(), np.zeros_like(xy), time_s
            return xy
        options = self._options
        speed = (xy - self._xy) / step_s
        self._speed = self._speed + _share(options.speed_cutoff_hz, step_s) * (speed - self._speed)
        relative = np.linalg.norm(self._speed, axis=1, keepdims=True) / max(size_px, 1.0)
        cutoff_hz = options.least_cutoff_hz + options.speed_share * relative
        self._xy = self._xy + _share(cutoff_hz, step_s) * (xy - self._xy)
        self._time_s = time_s
        return self._xy.copy()


def _share(cutoff_hz: _Float | float, step_s: float) -> _Float | float:
    """Return the weight of the new value: 1 / (1 + tau / step), tau = 1 / (2 pi cutoff)."""
    return 1.0 / (1.0 + 1.0 / (2.0 * np.pi * cutoff_hz * step_s))
