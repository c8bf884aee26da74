"""What a store's arrays look like in numbers, gathered shard by shard and added up."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Statistics", "channel_sums"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Sums over kept rows, from which the figures follow; add two up with :meth:`merge`.

    ``channel_sums`` and ``channel_square_sums`` are of the training window's R, G and B, grey levels 0 to 255.
    ``visibility`` counts flags 0, 1 and 2 for each keypoint. ``peaks``: maps that are not empty.
    ``empty_maps``: keypoints that should have a map and lie too far outside for one. Errors are the largest seen:
    of a decoded map from its keypoint (cells, or bins for SimCC) and of crop → image (pixels).
    ``crop_levels`` is the largest difference of a crop made again, ``crop_tolerance`` what was allowed.
    """

    rows: int = 0
    kept: int = 0
    pixels: int = 0
    channel_sums: tuple[int, int, int] = (0, 0, 0)
    channel_square_sums: tuple[int, int, int] = (0, 0, 0)
    visibility: tuple[tuple[int, int, int], ...] = ()
    peaks: int = 0
    peak_sum: float = 0.0
    peak_min: float = float("inf")
    empty_maps: int = 0
    map_error: float = 0.0
    transform_error_px: float = 0.0
    crops_compared: int = 0
    crop_levels: int = 0
    crop_tolerance: int = 0

    def merge(self, other: "Statistics") -> "Statistics":
        """Return the statistics of both."""
        merged: dict[str, Any] = {
            field.name: getattr(self, field.name) + getattr(other, field.name)
            for field in fields(self)
            if field.name in _ADDED
        }
        for name in ("map_error", "transform_error_px", "crop_levels", "crop_tolerance"):
            merged[name] = max(getattr(self, name), getattr(other, name))
        for name in ("channel_sums", "channel_square_sums"):
            merged[name] = tuple(a + b for a, b in zip(getattr(self, name), getattr(other, name), strict=True))
        merged["peak_min"] = min(self.peak_min, other.peak_min)
        merged["visibility"] = _add_counts(self.visibility, other.visibility)
        return Statistics(**merged)

    def mean_rgb(self) -> tuple[float, ...]:
        """Return the mean of each channel, grey levels; NaN without pixels."""
        return tuple(total / self.pixels if self.pixels else float("nan") for total in self.channel_sums)

    def std_rgb(self) -> tuple[float, ...]:
        """Return the standard deviation of each channel, grey levels; NaN without pixels."""
        if not self.pixels:
            return (float("nan"),) * 3
        # Whole numbers until the last step: nothing is lost between large squares.
        return tuple(
            float(np.sqrt((self.pixels * squares - total * total) / self.pixels**2))
            for total, squares in zip(self.channel_sums, self.channel_square_sums, strict=True)
        )

    def peak_mean(self) -> float:
        """Return the mean of the maps' maxima (1 is the most); NaN without maps."""
        return self.peak_sum / self.peaks if self.peaks else float("nan")

    def as_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-ready values; None where there is nothing to say."""
        return {
            "rows": self.rows,
            "kept": self.kept,
            "mean_rgb": [round(value, 4) for value in self.mean_rgb()] if self.pixels else None,
            "std_rgb": [round(value, 4) for value in self.std_rgb()] if self.pixels else None,
            "visibility": [list(counts) for counts in self.visibility],
            "peaks": self.peaks,
            "peak_mean": round(self.peak_mean(), 6) if self.peaks else None,
            "peak_min": round(self.peak_min, 6) if self.peaks else None,
            "empty_maps": self.empty_maps,
            "map_error": self.map_error,
            "transform_error_px": self.transform_error_px,
            "crops_compared": self.crops_compared,
            "crop_levels": self.crop_levels,
            "crop_tolerance": self.crop_tolerance,
        }


_ADDED = frozenset(["rows", "kept", "pixels", "peaks", "peak_sum", "empty_maps", "crops_compared"])


def _add_counts(first: tuple[Any, ...], second: tuple[Any, ...]) -> tuple[Any, ...]:
    if not first or not second:
        return first or second
    return tuple(
        tuple(a + b for a, b in zip(mine, theirs, strict=True)) for mine, theirs in zip(first, second, strict=True)
    )


def channel_sums(windows: npt.NDArray[np.uint8]) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return sums and sums of squares of each channel of (n, H, W, 3) uint8 pixels."""
    sums = np.zeros(3, np.int64)
    squares = np.zeros(3, np.int64)
    for window in windows:
        # One image at a time: the squares of a whole chunk would be twelve times its size.
        flat = window.reshape(-1, 3).astype(np.uint32)
        sums += flat.sum(axis=0, dtype=np.int64)
        squares += np.multiply(flat, flat, out=flat).sum(axis=0, dtype=np.int64)
    return _three(sums), _three(squares)


def _three(values: npt.NDArray[np.int64]) -> tuple[int, int, int]:
    red, green, blue = values.tolist()
    return red, green, blue
