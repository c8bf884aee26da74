"""Cluttered backgrounds that look like photographs: rooms, streets, parks, beaches, sports halls. NumPy only."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pose_data.sample import objects
from pose_data.sample.canvas import Canvas, fractal_noise, stretch_noise
from pose_data.sample.rendering import Light, blur

__all__ = ["Backdrop", "Ground", "develop", "paint_backdrop"]

Array = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """Where the ground is: a person standing at row y is ``(y - horizon_px) / camera_heights`` pixels high.

    ``camera_heights``: how high the camera is, in body heights of an adult; ``back_px``: the row of the farthest
    foot, so that walls and water keep behind it.
    """

    horizon_px: float
    camera_heights: float
    back_px: float
    edge_px: float | None = None

    def person_px(self, foot_y: float) -> float:
        """Return the pixels of an adult's height at a row."""
        return max(1.0, (foot_y - self.horizon_px) / self.camera_heights)

    def foot_y(self, person_px: float) -> float:
        """Return the row at which an adult of that many pixels stands."""
        return self.horizon_px + self.camera_heights * person_px

    def below(self, row_px: float) -> "Ground":
        """Return the same ground as far as it lies below a row, for painting a part of it."""
        return replace(self, edge_px=row_px)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backdrop:
    """A background (h, w, 3) of display values, its light, and whether it is indoors."""

    rgb: Array
    light: Light
    place: str


def _ground_plane(canvas: Canvas, ground: Ground, colour: NDArray[np.float64], kind: str) -> None:
    """Paint everything below the horizon: planks, tiles, carpet, lawn, sand or asphalt in perspective."""
    top = int(np.clip(ground.edge_px or ground.horizon_px, 0, canvas.height - 1))
    rows = slice(top, canvas.height)
    y = np.arange(top, canvas.height, dtype=np.float32)[:, None]
    x = np.arange(canvas.width, dtype=np.float32)[None, :] - np.float32(canvas.width / 2)
    size = np.maximum((y - ground.horizon_px) / ground.camera_heights, 0.5)
    across, away = x / size, 260.0 / size + 0 * x
    sharp = np.clip(size / 70 - 0.25, 0, 1)
    shade = np.ones_like(across) * (0.9 + 0.12 * (y - top) / max(1, canvas.height - top))
    if kind == "planks":
        row = np.floor(across * 9)
        shade += sharp * (
            0.13 * np.sin(row * 12.9 + np.floor(away * 0.6 + row * 0.37) * 7.1) - 0.3 * (across * 9 % 1 < 0.05)
        )
    elif kind == "tiles":
        shade += sharp * (0.09 * np.sin(np.floor(across * 3) * 5.3 + np.floor(away * 3) * 3.7)
                          - 0.25 * ((across * 3 % 1 < 0.03) | (away * 3 % 1 < 0.05)))  # fmt: skip
    elif kind == "lawn":
        fine = stretch_noise(
            canvas.rng, canvas.width, canvas.height - top, canvas.width // 2, (canvas.height - top) // 3
        )
        shade += 0.24 * fine + 0.16 * canvas.leaves[rows]
    else:
        shade += 0.07 * canvas.leaves[rows] + 0.05 * stretch_noise(
            canvas.rng, canvas.width, canvas.height - top, canvas.width, canvas.height - top
        )
    canvas.cover(rows, slice(0, canvas.width), np.ones(shade.shape, np.float32), colour, shade.astype(np.float32), 0.07)


def _sky(canvas: Canvas, ground: Ground) -> None:
    rng = canvas.rng
    y = np.arange(canvas.height, dtype=np.float32)[:, None, None] / max(1.0, ground.horizon_px)
    high, low = (
        np.array([0.36, 0.56, 0.84]) * rng.uniform(0.8, 1.1),
        np.array([0.82, 0.88, 0.93]) * rng.uniform(0.88, 1.05),
    )
    if rng.random() < 0.3:
        high, low = np.array([0.7, 0.73, 0.77]), np.array([0.86, 0.87, 0.88])
    canvas.rgb[...] = high + (low - high) * np.clip(y, 0, 1)
    clouds = np.clip(fractal_noise(rng, canvas.width, canvas.height, 3, 5) * 1.6 - 0.1, 0, 1) * rng.uniform(0.1, 0.8)
    canvas.rgb += (np.float32(0.97) - canvas.rgb) * clouds[:, :, None]


def _scatter(canvas: Canvas, ground: Ground, painter: objects.Painter, count: int, low: float, high: float) -> None:
    """Put things on the ground, far ones first; ``low``, ``high``: how large a person would be there, in heights."""
    behind = ground.person_px(ground.back_px) / canvas.height
    sizes = np.sort(canvas.rng.uniform(min(low, 0.8 * behind), min(high, behind), count)) * canvas.height
    for size in sizes:
        painter(canvas, float(canvas.rng.uniform(0, canvas.width)), ground.foot_y(float(size)), float(size) / 1.72)


def _room(canvas: Canvas, ground: Ground) -> None:
    rng = canvas.rng
    wall = np.clip(rng.uniform(0.45, 0.85) + rng.normal(0, 0.05, 3), 0.15, 0.95)
    base = min(ground.back_px - canvas.height * rng.uniform(0.01, 0.04), canvas.height * 0.82)
    unit = ground.person_px(base) / 1.72
    canvas.rectangle(-2, -2, canvas.width + 2, canvas.height + 2, wall, top=1.08, bottom=0.8, texture=0.015)
    if rng.random() < 0.35:
        for row, y in enumerate(np.arange(0, base, 0.11 * unit)):
            canvas.rectangle(0, y, canvas.width, y + 0.012 * unit, wall * 0.78, texture=0.0)
            for x in np.arange((row % 2) * 0.15 * unit, canvas.width, 0.3 * unit):
                canvas.rectangle(x, y, x + 0.012 * unit, y + 0.11 * unit, wall * 0.8, texture=0.0)
    for painter in (objects.window, objects.picture_frame, objects.picture_frame, objects.window)[
        : int(rng.integers(1, 5))
    ]:
        painter(canvas, float(rng.uniform(0, canvas.width)), base - unit * rng.uniform(0.9, 1.3), unit)
    floor = (
        np.array([0.58, 0.43, 0.3]) * rng.uniform(0.6, 1.3)
        if rng.random() < 0.6
        else np.full(3, rng.uniform(0.4, 0.75))
    )
    kind = ("planks", "tiles", "carpet")[int(rng.integers(3))]
    _ground_plane(canvas, ground.below(base), floor, kind)
    canvas.rectangle(-2, base - 0.1 * unit, canvas.width + 2, base, wall * 0.6 + 0.3, texture=0.02)
    furniture = [objects.shelf, objects.sofa, objects.table, objects.plant, objects.shelf, objects.plant, objects.sofa]
    for index in rng.permutation(len(furniture))[: int(rng.integers(2, 5))]:
        furniture[index](canvas, float(rng.uniform(0, canvas.width)), base + unit * rng.uniform(0.02, 0.25), unit)


def _street(canvas: Canvas, ground: Ground) -> None:
    rng = canvas.rng
    _sky(canvas, ground)
    _scatter(canvas, ground, objects.building, int(rng.integers(3, 7)), 0.07, 0.16)
    _scatter(canvas, ground, objects.tree, int(rng.integers(0, 4)), 0.1, 0.2)
    _ground_plane(canvas, ground.below(ground.foot_y(0.1 * canvas.height)),
                  np.full(3, rng.uniform(0.32, 0.5)), "asphalt")  # fmt: skip
    kerb = ground.foot_y(canvas.height * rng.uniform(0.28, 0.5))
    for x in np.arange(-0.1, 1.1, 0.3) * canvas.width:
        y = 0.45 * ground.foot_y(0.12 * canvas.height) + 0.55 * kerb
        canvas.polygon(
            [(x, y), (x + 0.14 * canvas.width, y), (x + 0.15 * canvas.width, y + 4), (x, y + 4)], (0.8, 0.8, 0.76)
        )
    _scatter(canvas, ground, objects.car, int(rng.integers(1, 4)), 0.2, 0.34)
    if kerb < canvas.height:
        _ground_plane(canvas, ground.below(kerb),
                      np.full(3, rng.uniform(0.5, 0.68)) * np.array([1.03, 1.0, 0.95]), "tiles")  # fmt: skip
        canvas.rectangle(-2, kerb - 3, canvas.width + 2, kerb + 3, (0.66, 0.65, 0.62))


def _park(canvas: Canvas, ground: Ground) -> None:
    rng = canvas.rng
    _sky(canvas, ground)
    green = np.array([0.27, 0.38, 0.2]) * rng.uniform(0.8, 1.2)
    for _ in range(16):
        size = canvas.height * rng.uniform(0.08, 0.22)
        canvas.foliage(
            float(rng.uniform(0, canvas.width)),
            ground.horizon_px - 0.2 * size,
            size * 1.5,
            size,
            green * rng.uniform(0.7, 1.2),
        )
    _ground_plane(
        canvas, ground, np.array([0.4, 0.47, 0.24]) * rng.uniform(0.7, 1.15) * rng.uniform(0.93, 1.07, 3), "lawn"
    )
    if rng.random() < 0.5:
        x, far = canvas.width * rng.uniform(0.1, 0.9), canvas.width * 0.04
        near = canvas.width * rng.uniform(-0.2, 1.2)
        canvas.polygon([(x - far, ground.horizon_px + 6), (x + far, ground.horizon_px + 6),
                        (near + 6 * far, canvas.height + 1.0), (near - 6 * far, canvas.height + 1.0)],
                       (0.67, 0.6, 0.48), texture=0.12)  # fmt: skip
    _scatter(canvas, ground, objects.tree, int(rng.integers(1, 5)), 0.12, 0.34)


def _beach(canvas: Canvas, ground: Ground) -> None:
    rng = canvas.rng
    _sky(canvas, ground)
    sea = np.array([0.2, 0.45, 0.55]) * rng.uniform(0.8, 1.25)
    shore = min(ground.foot_y(canvas.height * rng.uniform(0.16, 0.4)), ground.back_px - 2)
    height = max(2, int(shore - ground.horizon_px) + 2)
    _ground_plane(canvas, ground, sea, "water")
    waves = stretch_noise(rng, canvas.width, height, 9, max(4, height // 4))
    top = int(np.clip(ground.horizon_px, 0, canvas.height - 1))
    part = canvas.rgb[top : top + height]
    part += (np.float32(0.92) - part) * np.clip(waves[: part.shape[0]] * 1.6 - 0.75, 0, 0.8)[:, :, None]
    if shore < canvas.height - 3:
        _ground_plane(canvas, ground.below(shore),
                      np.array([0.82, 0.72, 0.55]) * rng.uniform(0.85, 1.1), "sand")  # fmt: skip
        canvas.rectangle(-2, shore - 3, canvas.width + 2, shore + 2, (0.92, 0.93, 0.92), texture=0.1)
    for _ in range(int(rng.integers(1, 5))):
        size = min(canvas.height * rng.uniform(0.25, 0.45), ground.person_px(ground.back_px))
        x, y, unit = rng.uniform(0, canvas.width), ground.foot_y(size), size / 1.72
        shade = rng.uniform(0.2, 0.95, 3)
        canvas.shadow(x + 0.3 * unit, y, unit, 0.2 * unit, 0.35)
        canvas.line((x, y), (x, y - 2 * unit), 0.05 * unit, (0.85, 0.84, 0.8))
        for part_x, tone in ((-0.75, 0.8), (-0.25, 1.15), (0.25, 0.95), (0.75, 0.7)):
            canvas.polygon([(x, y - 2.2 * unit), (x + (part_x + 0.25) * unit, y - 1.75 * unit),
                            (x + (part_x - 0.25) * unit, y - 1.75 * unit)], shade * tone)  # fmt: skip


def _court(canvas: Canvas, ground: Ground) -> None:
    rng = canvas.rng
    wall = np.clip(rng.uniform(0.4, 0.75) + rng.normal(0, 0.05, 3), 0.1, 0.9)
    base = min(ground.foot_y(canvas.height * rng.uniform(0.2, 0.36)), ground.back_px - 2)
    canvas.rectangle(-2, -2, canvas.width + 2, canvas.height + 2, wall, top=0.8, bottom=1.05)
    rows = int(rng.integers(4, 8))
    seat = np.clip(rng.uniform(0.2, 0.8, 3), 0, 1)
    for row in range(rows):
        y = base * (0.25 + 0.55 * row / rows)
        tall = base * 0.4 / rows
        canvas.rectangle(0, y + tall, canvas.width, y + 1.35 * tall, (0.35, 0.35, 0.36))
        for x in np.arange(rng.uniform(0, 1.5 * tall), canvas.width, 1.5 * tall):
            canvas.rectangle(x, y, x + 1.15 * tall, y + tall, seat * rng.uniform(0.75, 1.1), radius=tall / 5)
    canvas.rectangle(
        -2, base * 0.84, canvas.width + 2, base, 0.5 * rng.uniform(0.1, 0.9, 3) + 0.5 * rng.uniform(0.2, 0.7), top=1.1
    )
    for x in np.arange(0, canvas.width, canvas.width / rng.uniform(2.2, 4.5)):
        canvas.rectangle(x + 8, base * 0.87, x + canvas.width * 0.18, base * 0.97, rng.uniform(0.3, 0.95, 3))
    colour = np.array([0.72, 0.52, 0.33]) if rng.random() < 0.6 else np.array([0.25, 0.42, 0.55])
    _ground_plane(canvas, ground.below(base), colour * rng.uniform(0.8, 1.15), "planks")
    for y in base + (canvas.height - base) * rng.uniform(0.1, 0.9, 2):
        canvas.rectangle(-2, y, canvas.width + 2, y + 4, (0.9, 0.9, 0.88), texture=0.02)
    x = canvas.width * rng.uniform(0.1, 0.9)
    canvas.polygon([(x, base), (x + 3, base), (1.6 * x - 0.3 * canvas.width + 8, canvas.height + 1.0),
                    (1.6 * x - 0.3 * canvas.width, canvas.height + 1.0)], (0.9, 0.9, 0.88))  # fmt: skip


_PLACES: dict[str, tuple[Callable[[Canvas, Ground], None], str]] = {
    "room": (_room, "indoor"), "street": (_street, "outdoor"), "park": (_park, "outdoor"),
    "beach": (_beach, "outdoor"), "court": (_court, "indoor"),
}  # fmt: skip


def _light(rng: np.random.Generator, place: str) -> Light:
    """Return strong light from one side outdoors, softer light from above indoors."""
    direction = np.array([rng.uniform(-0.9, 0.9), rng.uniform(0.7, 1.1), rng.uniform(0.25, 0.9)])
    warm = rng.uniform(-0.06, 0.1)
    tint = np.array([1 + warm, 1.0, 1 - 1.3 * warm], np.float32)
    if place == "outdoor":
        key, sky, shadow = rng.uniform(0.9, 1.45), np.array([0.42, 0.48, 0.58]), rng.uniform(0.3, 0.55)
    else:
        key, sky, shadow = rng.uniform(0.6, 1.0), np.array([0.5, 0.5, 0.49]), rng.uniform(0.18, 0.35)
    level = np.float32(rng.uniform(0.8, 1.2))
    return Light(
        direction=direction / np.linalg.norm(direction),
        key=(np.float32(key) * tint).astype(np.float32),
        sky=(sky * level).astype(np.float32),
        bounce=(np.array([0.24, 0.22, 0.19]) * level).astype(np.float32),
        ground_shadow=float(shadow),
    )


def paint_backdrop(rng: np.random.Generator, ground: Ground, width: int, height: int) -> Backdrop:
    """Return a random place without people, a little out of focus."""
    # A room is too small for somebody far away.
    shares = (
        (0.34, 0.2, 0.2, 0.11, 0.15) if ground.person_px(ground.back_px) > 0.3 * height else (0.0, 0.3, 0.32, 0.18, 0.2)
    )
    scene, place = _PLACES[list(_PLACES)[int(rng.choice(len(_PLACES), p=shares))]]
    canvas = Canvas(rng, width, height)
    scene(canvas, ground)
    rgb = blur(np.clip(canvas.rgb, 0, 1), float(rng.uniform(0.4, 1.9)))
    uneven = 1 + 0.08 * stretch_noise(rng, width, height, 3, 3)
    return Backdrop(rgb=rgb * uneven[:, :, None], light=_light(rng, place), place=place)


def develop(rng: np.random.Generator, rgb: Array) -> NDArray[np.uint8]:
    """Return the picture (h, w, 3) that a camera would make of it: softness, colour cast, vignette, noise, 8 bits."""
    height, width = rgb.shape[:2]
    image = blur(rgb, float(rng.uniform(0.0, 0.75)))
    cast = 1 + rng.normal(0, 0.035, 3)
    image = np.clip(image * (cast * rng.uniform(0.88, 1.1)).astype(np.float32), 0, 1.2)
    contrast = np.float32(rng.uniform(-0.12, 0.2))
    image = image + contrast * image * (1 - image) * (2 * image - 1) * 2
    y = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, width, dtype=np.float32)[None, :]
    image *= (1 - np.float32(rng.uniform(0, 0.22)) * (x * x + y * y) ** 1.5 / 2)[:, :, None]
    noise = rng.standard_normal((height, width, 2), np.float32) * np.float32(rng.uniform(0.004, 0.02))
    image += noise[:, :, :1]
    image[:, :, ::2] += 0.5 * noise[:, :, 1:]
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
