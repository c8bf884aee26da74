"""Things in a picture other than persons: furniture, plants, buildings, cars, and what stands in front. NumPy only.

Every painter takes the canvas, the foot of the thing ``(x, y)`` in pixels and ``unit``, the pixels of one metre there.
"""

from collections.abc import Callable, Mapping

import numpy as np

from pose_data.sample.canvas import Canvas

__all__ = ["OCCLUDERS", "building", "car", "picture_frame", "plant", "shelf", "sofa", "table", "tree", "window"]

Painter = Callable[[Canvas, float, float, float], None]


def _tint(canvas: Canvas, low: float = 0.2, high: float = 0.85) -> np.ndarray:
    """Return a muted random colour."""
    base = canvas.rng.uniform(low, high)
    return np.clip(base + canvas.rng.normal(0, 0.1, 3), 0.04, 0.97)


def _wood(canvas: Canvas) -> np.ndarray:
    return np.array([0.55, 0.37, 0.22]) * canvas.rng.uniform(0.45, 1.25)


def _green(canvas: Canvas) -> np.ndarray:
    return np.array([0.31, 0.43, 0.2]) * canvas.rng.uniform(0.6, 1.2) * canvas.rng.uniform(0.88, 1.12, 3)


def plant(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """Paint a potted plant of long leaves."""
    rng, pot, green = canvas.rng, _tint(canvas, 0.35, 0.8), _green(canvas)
    tall = unit * rng.uniform(0.75, 1.25)
    wide, top = 0.17 * unit, y - 0.3 * unit
    canvas.shadow(x, y, 1.6 * wide, 0.4 * wide)
    canvas.polygon([(x - wide, top), (x + wide, top), (x + 0.7 * wide, y), (x - 0.7 * wide, y)], pot)
    canvas.ellipse(x, top, wide, 0.25 * wide, pot * 0.45, ball=0.0)
    for _ in range(22):
        angle = rng.uniform(-1.25, 1.25)
        reach = tall * rng.uniform(0.5, 1.0)
        bend = (x + 0.45 * reach * np.sin(angle), top - 0.6 * reach)
        tip = (x + reach * np.sin(angle), top - reach * np.cos(0.9 * angle) * 0.9)
        shade = float(rng.uniform(0.55, 1.3))
        canvas.line((x, top), bend, 0.035 * unit, green, shade=shade)
        canvas.line(bend, tip, 0.05 * unit * rng.uniform(0.6, 1.3), green, shade=shade * 1.1)


def shelf(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """Paint a bookcase."""
    rng, wood = canvas.rng, _wood(canvas)
    wide, tall, rows = unit * rng.uniform(0.7, 1.3), unit * rng.uniform(1.4, 2.1), int(rng.integers(3, 6))
    left, top = x - wide / 2, y - tall
    canvas.rectangle(left, top, left + wide, y, wood * 0.5)
    step = tall / rows
    for row in range(rows):
        base, at = top + (row + 1) * step - 0.06 * step, left + 0.05 * wide
        while at < left + 0.92 * wide:
            book = unit * rng.uniform(0.025, 0.07)
            if rng.random() < 0.85:
                canvas.rectangle(at, base - step * rng.uniform(0.5, 0.85), at + book, base, _tint(canvas))
            at += book * 1.08
        canvas.rectangle(left, base, left + wide, base + 0.07 * step, wood)
    canvas.rectangle(left, top, left + 0.04 * wide, y, wood)
    canvas.rectangle(left + 0.96 * wide, top, left + wide, y, wood * 0.85)


def sofa(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """Paint a sofa with cushions."""
    cloth, wide = _tint(canvas, 0.25, 0.75), unit * canvas.rng.uniform(0.8, 1.2)
    r = 0.08 * unit
    canvas.shadow(x, y, 1.15 * wide, 0.14 * unit)
    canvas.rectangle(x - wide, y - 0.86 * unit, x + wide, y - 0.2 * unit, cloth * 0.85, radius=r)
    for part in range(2):
        left = x - 0.84 * wide + part * 0.84 * wide
        canvas.rectangle(left, y - 0.8 * unit, left + 0.82 * wide, y - 0.36 * unit, cloth * 0.97, radius=r, bottom=0.75)
        canvas.rectangle(left, y - 0.46 * unit, left + 0.82 * wide, y - 0.26 * unit, cloth * 1.1, radius=r)
    canvas.rectangle(x - 0.85 * wide, y - 0.28 * unit, x + 0.85 * wide, y - 0.06 * unit, cloth * 0.8)
    for side in (-1, 1):
        canvas.rectangle(x + side * 0.93 * wide - 0.12 * unit, y - 0.6 * unit, x + side * 0.93 * wide + 0.12 * unit,
                         y - 0.04 * unit, cloth, radius=r)  # fmt: skip
    pillow = _tint(canvas, 0.4, 0.9)
    canvas.rectangle(x - 0.7 * wide, y - 0.66 * unit, x - 0.7 * wide + 0.36 * unit, y - 0.36 * unit, pillow, radius=r)


def table(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """Paint a table with a few things on it."""
    rng, wood = canvas.rng, _wood(canvas)
    wide, tall = unit * rng.uniform(0.5, 0.9), 0.72 * unit
    canvas.shadow(x, y, 1.1 * wide, 0.16 * unit)
    for side in (-0.9, 0.9):
        canvas.line(
            (x + side * wide * 0.9, y - tall), (x + side * wide * 0.86, y - 0.1 * unit), 0.05 * unit, wood * 0.6
        )
        canvas.line((x + side * wide, y - tall), (x + side * wide, y), 0.06 * unit, wood * 0.85)
    canvas.polygon([(x - 0.88 * wide, y - tall - 0.13 * unit), (x + 0.88 * wide, y - tall - 0.13 * unit),
                    (x + 1.05 * wide, y - tall), (x - 1.05 * wide, y - tall)], wood * 1.15, bottom=1.0)  # fmt: skip
    canvas.rectangle(x - 1.05 * wide, y - tall, x + 1.05 * wide, y - tall + 0.06 * unit, wood * 0.8)
    for _ in range(int(rng.integers(1, 5))):
        at, size = x + wide * rng.uniform(-0.8, 0.8), unit * rng.uniform(0.05, 0.1)
        base = y - tall - unit * rng.uniform(0.01, 0.08)
        canvas.rectangle(
            at - size / 2, base - size * rng.uniform(0.8, 2.4), at + size / 2, base, _tint(canvas), radius=size / 4
        )


def picture_frame(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """Paint a framed picture on a wall; (x, y) is its lower middle."""
    rng = canvas.rng
    wide, tall = unit * rng.uniform(0.2, 0.45), unit * rng.uniform(0.3, 0.7)
    canvas.rectangle(
        x - wide + 0.03 * unit, y - tall + 0.03 * unit, x + wide + 0.03 * unit, y + 0.03 * unit, (0.2, 0.18, 0.16)
    )
    canvas.rectangle(x - wide, y - tall, x + wide, y, _wood(canvas))
    edge = 0.035 * unit
    canvas.rectangle(
        x - wide + edge, y - tall + edge, x + wide - edge, y - edge, _tint(canvas, 0.4, 0.9), top=1.2, bottom=0.6
    )
    canvas.ellipse(x + wide * rng.uniform(-0.4, 0.4), y - tall * 0.4, wide * 0.4, tall * 0.22, _tint(canvas))


def window(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """Paint a bright window in a wall; (x, y) is its lower middle."""
    wide, tall = unit * canvas.rng.uniform(0.45, 0.8), unit * canvas.rng.uniform(0.9, 1.4)
    edge = 0.05 * unit
    canvas.rectangle(x - wide - edge, y - tall - edge, x + wide + edge, y + edge, (0.86, 0.85, 0.82))
    canvas.rectangle(x - wide, y - tall, x + wide, y, (0.8, 0.9, 0.98), top=1.1, bottom=0.9)
    canvas.foliage(x - 0.3 * wide, y - 0.1 * tall, 0.5 * wide, 0.28 * tall, (0.5, 0.62, 0.42))
    canvas.rectangle(x - wide, y - 0.04 * tall, x + wide, y, (0.7, 0.72, 0.66))
    canvas.rectangle(x - edge / 2, y - tall, x + edge / 2, y, (0.86, 0.85, 0.82))
    canvas.rectangle(x - wide, y - 0.55 * tall - edge / 2, x + wide, y - 0.55 * tall + edge / 2, (0.84, 0.83, 0.8))


def tree(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """Paint a broad-leaved tree."""
    rng, green = canvas.rng, _green(canvas)
    tall, trunk = unit * rng.uniform(3.0, 5.5), unit * rng.uniform(0.12, 0.24)
    canvas.shadow(x, y, 4 * trunk, 0.9 * trunk)
    fork = y - 0.7 * tall
    canvas.polygon([(x - 0.6 * trunk, fork), (x + 0.6 * trunk, fork), (x + trunk, y), (x - trunk, y)],
                   np.array([0.34, 0.26, 0.19]) * rng.uniform(0.6, 1.2), texture=0.25)  # fmt: skip
    for _ in range(7):
        dx, dy = rng.uniform(-0.34, 0.34) * tall, rng.uniform(0.5, 1.0) * tall
        size = tall * rng.uniform(0.17, 0.3)
        canvas.foliage(x + dx, y - dy, size, 0.8 * size, green * rng.uniform(0.75, 1.15))


def building(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """Paint a house front with rows of windows."""
    rng, wall = canvas.rng, _tint(canvas, 0.4, 0.8)
    wide, storeys = unit * rng.uniform(3.0, 6.0), int(rng.integers(2, 6))
    storey = unit * rng.uniform(2.6, 3.3)
    left, top = x - wide / 2, y - storeys * storey
    canvas.rectangle(left, top, left + wide, y, wall, texture=0.1, top=1.1)
    columns = int(rng.integers(3, 7))
    pitch, glass = wide / columns, np.array([0.3, 0.36, 0.42]) * rng.uniform(0.6, 1.4)
    for row in range(storeys):
        high = y - row * storey
        if high - 0.8 * storey > canvas.height or high < 0:
            continue
        canvas.rectangle(left, high - storey, left + wide, high - 0.96 * storey, wall * 0.75)
        for column in range(columns):
            at = left + (column + 0.5) * pitch
            if not -pitch < at < canvas.width + pitch:
                continue
            low = high - (0.05 if row == 0 else 0.3) * storey
            canvas.rectangle(at - 0.3 * pitch, high - 0.83 * storey, at + 0.3 * pitch, low + 0.03 * storey, wall * 1.2)
            canvas.rectangle(
                at - 0.25 * pitch,
                high - 0.8 * storey,
                at + 0.25 * pitch,
                low,
                glass * rng.uniform(0.5, 1.5),
                top=1.3,
                bottom=0.7,
            )
            canvas.rectangle(at - 0.02 * pitch, high - 0.8 * storey, at + 0.02 * pitch, low, wall)


def car(canvas: Canvas, x: float, y: float, unit: float) -> None:
    """Paint a parked car from the side."""
    paint = _tint(canvas, 0.2, 0.85)
    long, u = 2.1 * unit, unit
    canvas.shadow(x, y, 1.15 * long, 0.2 * u, 0.6)
    canvas.polygon([(x - 0.5 * long, y - 1.38 * u), (x + 0.36 * long, y - 1.38 * u), (x + 0.66 * long, y - 0.85 * u),
                    (x - 0.72 * long, y - 0.85 * u)], paint * 0.9)  # fmt: skip
    canvas.polygon([(x - 0.46 * long, y - 1.3 * u), (x + 0.32 * long, y - 1.3 * u), (x + 0.56 * long, y - 0.9 * u),
                    (x - 0.62 * long, y - 0.9 * u)], (0.2, 0.25, 0.3), top=1.6, bottom=0.7)  # fmt: skip
    canvas.rectangle(x - 0.05 * u, y - 1.34 * u, x + 0.05 * u, y - 0.85 * u, paint)
    canvas.rectangle(x - long, y - 0.92 * u, x + long, y - 0.25 * u, paint, radius=0.2 * u, top=1.2, bottom=0.6)
    canvas.rectangle(x + 0.9 * long, y - 0.75 * u, x + 0.99 * long, y - 0.6 * u, (0.95, 0.9, 0.75), radius=0.04 * u)
    canvas.line((x - 0.04 * long, y - 0.88 * u), (x - 0.04 * long, y - 0.3 * u), 0.02 * u, paint * 0.5)
    for side in (-0.62, 0.62):
        canvas.ellipse(x + side * long, y - 0.3 * u, 0.32 * u, 0.32 * u, (0.07, 0.07, 0.07), ball=0.1)
        canvas.ellipse(x + side * long, y - 0.3 * u, 0.18 * u, 0.18 * u, (0.6, 0.6, 0.62))


def _crate(canvas: Canvas, x: float, y: float, unit: float) -> None:
    wood, wide, tall = _wood(canvas), unit * canvas.rng.uniform(0.25, 0.45), unit * canvas.rng.uniform(0.4, 0.75)
    canvas.rectangle(x - wide, y - tall, x + wide, y, wood, texture=0.12)
    lid = 0.12 * unit
    canvas.polygon([(x - 0.85 * wide, y - tall - lid), (x + 0.85 * wide, y - tall - lid), (x + wide, y - tall),
                    (x - wide, y - tall)], wood * 1.3)  # fmt: skip
    for part in range(1, 4):
        high = y - tall + part * tall / 4
        canvas.rectangle(x - wide, high - 0.012 * unit, x + wide, high + 0.012 * unit, wood * 0.45)
    for side in (-0.88, 0.88):
        canvas.rectangle(x + side * wide - 0.05 * unit, y - tall, x + side * wide + 0.05 * unit, y, wood * 0.85)


def _pole(canvas: Canvas, x: float, y: float, unit: float) -> None:
    metal = _tint(canvas, 0.2, 0.6)
    canvas.rectangle(x - 0.05 * unit, y - 4.2 * unit, x + 0.05 * unit, y, metal)
    canvas.rectangle(x - 0.05 * unit, y - 4.2 * unit, x - 0.015 * unit, y, metal * 1.4)
    canvas.rectangle(x - 0.1 * unit, y - 0.18 * unit, x + 0.1 * unit, y, metal * 0.8)


def _fence(canvas: Canvas, x: float, y: float, unit: float) -> None:
    paint, wide = _tint(canvas, 0.25, 0.9), unit * canvas.rng.uniform(0.8, 1.6)
    for level in (0.25, 0.72):
        canvas.rectangle(
            x - wide, y - level * unit - 0.035 * unit, x + wide, y - level * unit + 0.035 * unit, paint * 0.9
        )
    for at in np.arange(x - wide, x + wide, 0.26 * unit):
        canvas.rectangle(at, y - 0.86 * unit, at + 0.085 * unit, y, paint, radius=0.03 * unit)


def _bush(canvas: Canvas, x: float, y: float, unit: float) -> None:
    green = _green(canvas)
    for _ in range(5):
        size = unit * canvas.rng.uniform(0.26, 0.42)
        canvas.foliage(
            x + unit * canvas.rng.uniform(-0.45, 0.45),
            y - size * canvas.rng.uniform(0.6, 1.2),
            size,
            size * 0.85,
            green,
        )


def _suitcase(canvas: Canvas, x: float, y: float, unit: float) -> None:
    shell, wide = _tint(canvas, 0.2, 0.8), 0.24 * unit
    canvas.line((x - 0.1 * unit, y - 0.95 * unit), (x - 0.1 * unit, y - 0.6 * unit), 0.025 * unit, (0.5, 0.5, 0.5))
    canvas.line((x + 0.1 * unit, y - 0.95 * unit), (x + 0.1 * unit, y - 0.6 * unit), 0.025 * unit, (0.5, 0.5, 0.5))
    canvas.line((x - 0.1 * unit, y - 0.95 * unit), (x + 0.1 * unit, y - 0.95 * unit), 0.04 * unit, (0.12, 0.12, 0.12))
    canvas.rectangle(x - wide, y - 0.68 * unit, x + wide, y - 0.03 * unit, shell, radius=0.06 * unit, top=1.2)
    for part in (-0.5, 0.0, 0.5):
        canvas.rectangle(
            x + part * wide - 0.008 * unit,
            y - 0.62 * unit,
            x + part * wide + 0.008 * unit,
            y - 0.08 * unit,
            shell * 0.65,
        )


OCCLUDERS: Mapping[str, tuple[Painter, ...]] = {
    "indoor": (plant, table, _crate, _suitcase, _crate),
    "outdoor": (_bush, _pole, _fence, _crate, _suitcase, plant),
}
"""Where -> things that may stand in front of a person."""
