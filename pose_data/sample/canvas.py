"""Painting soft-edged shapes on a float picture, and value noise. NumPy, and the blur and resize of rendering."""

import numpy as np
from numpy.typing import NDArray

from pose_data.sample.rendering import resize

__all__ = ["Canvas", "fractal_noise", "stretch_noise"]

Array = NDArray[np.float32]
Colour = tuple[float, float, float] | NDArray[np.floating]


def stretch_noise(rng: np.random.Generator, width: int, height: int, columns: int, rows: int) -> Array:
    """Return (height, width) smooth noise of about -1 to 1 with the given number of cells across and down."""
    return resize(rng.uniform(-1, 1, (max(2, rows), max(2, columns))).astype(np.float32), width, height)


def fractal_noise(rng: np.random.Generator, width: int, height: int, cells: float, octaves: int) -> Array:
    """Return (height, width) noise of several scales, the coarsest with ``cells`` cells across, within about -1..1."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        columns = min(width, round(cells * 2**octave))
        total += stretch_noise(rng, width, height, columns, round(columns * height / width)) * np.float32(0.62**octave)
    return total / np.float32(sum(0.62**octave for octave in range(octaves)) * 0.8)


class Canvas:
    """A picture ``rgb`` (h, w, 3) of display values with ``alpha`` (h, w): how much of it has been painted.

    Coordinates are pixels with centres at integers; shapes have edges about one pixel soft.
    """

    def __init__(self, rng: np.random.Generator, width: int, height: int) -> None:
        self.rng, self.width, self.height = rng, width, height
        self.rgb: Array = np.zeros((height, width, 3), np.float32)
        self.alpha: Array = np.zeros((height, width), np.float32)
        self.grain: Array = fractal_noise(rng, width, height, 28, 4)
        self.leaves: Array = fractal_noise(rng, width, height, 60, 3)

    def window(self, x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice, Array, Array]:
        """Return the slices of the pixels that a box may touch, and their x (1, w) and y (h, 1)."""
        left, right = int(np.clip(np.floor(x0) - 1, 0, self.width)), int(np.clip(np.ceil(x1) + 2, 0, self.width))
        top, bottom = int(np.clip(np.floor(y0) - 1, 0, self.height)), int(np.clip(np.ceil(y1) + 2, 0, self.height))
        x = np.arange(left, max(left, right), dtype=np.float32)[None, :]
        y = np.arange(top, max(top, bottom), dtype=np.float32)[:, None]
        return slice(top, max(top, bottom)), slice(left, max(left, right)), x, y

    def cover(self, rows: slice, columns: slice, coverage: Array, colour: Colour | Array,
              shade: NDArray[np.floating] | float = 1.0, texture: float = 0.0) -> None:  # fmt: skip
        """Paint a colour, times a shade and some grain, where coverage (h, w) says."""
        if coverage.size == 0:
            return
        light = np.asarray(shade, np.float32) + np.float32(texture) * self.grain[rows, columns]
        paint = np.asarray(colour, np.float32) * np.broadcast_to(light, coverage.shape)[:, :, None]
        target = self.rgb[rows, columns]
        target += (paint - target) * coverage[:, :, None]
        self.alpha[rows, columns] += (1 - self.alpha[rows, columns]) * coverage

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, colour: Colour, *, top: float = 1.05,
                  bottom: float = 0.85, radius: float = 0.0, texture: float = 0.06) -> None:  # fmt: skip
        """Paint a box, lighter above and darker below, with round corners."""
        rows, columns, x, y = self.window(x0, y0, x1, y1)
        dx = np.abs(x - (x0 + x1) / 2) - (x1 - x0) / 2 + radius
        dy = np.abs(y - (y0 + y1) / 2) - (y1 - y0) / 2 + radius
        distance = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0)) + np.minimum(np.maximum(dx, dy), 0) - radius
        shade = top + (bottom - top) * np.clip((y - y0) / max(1.0, y1 - y0), 0, 1)
        self.cover(rows, columns, np.clip(0.5 - distance, 0, 1).astype(np.float32), colour, shade, texture)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour, *, ball: float = 0.4,
                texture: float = 0.04, opacity: float = 1.0) -> None:  # fmt: skip
        """Paint an ellipse, lit from above left by ``ball``."""
        rows, columns, px, py = self.window(x - rx, y - ry, x + rx, y + ry)
        u, v = (px - x) / max(rx, 0.5), (py - y) / max(ry, 0.5)
        distance = (np.hypot(u, v) - 1) * min(rx, ry)
        shade = 1 - ball * (0.35 * u + 0.65 * v)
        self.cover(rows, columns, opacity * np.clip(0.5 - distance, 0, 1).astype(np.float32), colour, shade, texture)

    def polygon(self, corners: list[tuple[float, float]], colour: Colour, *, top: float = 1.05, bottom: float = 0.85,
                texture: float = 0.06) -> None:  # fmt: skip
        """Paint a convex polygon whose corners run clockwise on the screen."""
        xs, ys = [corner[0] for corner in corners], [corner[1] for corner in corners]
        rows, columns, x, y = self.window(min(xs), min(ys), max(xs), max(ys))
        coverage = np.ones((y.size, x.size), np.float32)
        for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
            length = max(1e-3, float(np.hypot(bx - ax, by - ay)))
            inside = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / length
            coverage = np.minimum(coverage, np.clip(0.5 + inside, 0, 1).astype(np.float32))
        shade = top + (bottom - top) * np.clip((y - min(ys)) / max(1.0, max(ys) - min(ys)), 0, 1)
        self.cover(rows, columns, coverage, colour, shade, texture)

    def line(self, a: tuple[float, float], b: tuple[float, float], width: float, colour: Colour, *, shade: float = 1.0,
             opacity: float = 1.0) -> None:  # fmt: skip
        """Paint a line with round ends, shaded like a rod."""
        half = width / 2
        rows, columns, x, y = self.window(min(a[0], b[0]) - half, min(a[1], b[1]) - half, max(a[0], b[0]) + half,
                                          max(a[1], b[1]) + half)  # fmt: skip
        dx, dy = b[0] - a[0], b[1] - a[1]
        t = np.clip(((x - a[0]) * dx + (y - a[1]) * dy) / max(1e-6, dx * dx + dy * dy), 0, 1)
        ox, oy = x - a[0] - t * dx, y - a[1] - t * dy
        coverage = opacity * np.clip(0.5 + half - np.hypot(ox, oy), 0, 1).astype(np.float32)
        self.cover(rows, columns, coverage, colour, shade * (1 - 0.3 * (ox + oy) / max(half, 0.7)), 0.04)

    def foliage(self, x: float, y: float, rx: float, ry: float, colour: Colour, *, ragged: float = 0.35) -> None:
        """Paint a clump of leaves: an ellipse with a ragged edge and dappled light."""
        rows, columns, px, py = self.window(x - rx * 1.4, y - ry * 1.4, x + rx * 1.4, y + ry * 1.4)
        u, v = (px - x) / max(rx, 0.5), (py - y) / max(ry, 0.5)
        rough, fine = self.grain[rows, columns], self.leaves[rows, columns]
        distance = np.hypot(u, v) - 1 + ragged * (0.5 * rough + 0.8 * fine)
        coverage = np.clip(0.5 - distance * min(rx, ry) * 0.5, 0, 1).astype(np.float32)
        shade = np.clip(0.82 - 0.22 * v - 0.14 * u + 0.45 * fine + 0.25 * rough, 0.12, 1.6)
        self.cover(rows, columns, coverage, colour, shade)

    def shadow(self, x: float, y: float, rx: float, ry: float, strength: float = 0.45) -> None:
        """Darken a soft ellipse of ground."""
        rows, columns, px, py = self.window(x - rx, y - ry, x + rx, y + ry)
        if px.size and py.size:
            near = np.clip(1 - np.hypot((px - x) / max(rx, 1), (py - y) / max(ry, 1)), 0, 1)
            self.rgb[rows, columns] *= (1 - strength * np.clip(1.6 * near, 0, 1))[:, :, None].astype(np.float32)
