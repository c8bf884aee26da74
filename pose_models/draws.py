"""Random numbers that belong to a sample: drawn from (seed, epoch, row) by counting, not by the order of calls.

The generator is splitmix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014; its
finaliser by Stafford): number i of a sample is a hash of its key plus i times the golden ratio.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Draws", "sample_draws"]

_Float = npt.NDArray[np.float64]
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_TRIES = 8
"""Normal draws outside the bounds are drawn again so often (2⁻¹³ are still outside then, and are cut)."""


@dataclass(frozen=True, slots=True)
class Draws:
    """The random numbers of a batch of samples; ``keys`` (B,) uint64 say whose they are.

    A uniform draw takes one index, a normal one two, a truncated normal one three (the third for all its tries).
    """

    keys: npt.NDArray[np.uint64]

    def uniform(self, index: int) -> _Float:
        """Return number ``index`` of every sample (B,), uniform in [0, 1)."""
        with np.errstate(over="ignore"):
            bits = _mixed(self.keys + np.uint64(index + 1) * _GOLDEN) >> np.uint64(11)
        return bits.astype(np.float64) * 2.0**-53

    def normal(self, index: int) -> _Float:
        """Return standard normal numbers (B,), by Box and Muller's transform of ``index`` and the next one."""
        radius = np.sqrt(-2.0 * np.log(1.0 - self.uniform(index)))
        return radius * np.cos(2.0 * np.pi * self.uniform(index + 1))

    def truncated_normal(self, index: int) -> _Float:
        """Return standard normal numbers (B,) that lie between -1 and 1."""
        found = self.normal(index)
        with np.errstate(over="ignore"):
            base = _mixed(self.keys + np.uint64(index + 3) * _GOLDEN)
        for number in range(_TRIES):
            again = np.abs(found) > 1.0
            if not again.any():
                break
            found = np.where(again, Draws(base).normal(2 * number), found)
        return np.clip(found, -1.0, 1.0)


def sample_draws(rows: npt.NDArray[np.int64], *, seed: int, epoch: int) -> Draws:
    """Return the draws of samples (B,) in an epoch of a training with a seed."""
    with np.errstate(over="ignore"):
        key = _mixed(np.array([seed], np.uint64) * _GOLDEN + np.uint64(1))
        key = _mixed(key + np.uint64(epoch) * _GOLDEN)
        return Draws(_mixed(key + rows.astype(np.uint64) * _GOLDEN))


def _mixed(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
