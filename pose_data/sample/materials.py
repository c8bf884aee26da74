"""Colour of every surface point of a clothed figure: cloth patterns, folds, faces, hair, shoes. NumPy only.

Every painter takes points in the frame of their part (body heights) and returns linear colours. The cues that tell
left from right (badge, sleeve band, watch) are always at the person's own left, x > 0.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pose_data.sample.wardrobe import Outfit

__all__ = ["PAINTERS", "Points", "linear"]

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]
Real = NDArray[np.floating]

_BLACK = np.array([0.012, 0.011, 0.011], np.float32)
_WHITE = np.array([0.78, 0.77, 0.75], np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Points:
    """Surface points of one material.

    ``x``, ``y``, ``z`` (n,) in the part's frame; ``t`` (n,) along the part;
    ``side`` (n,) 1 left, -1 right, 0 neither; ``head``: size of the head; ``pixel``: a pixel in body heights.
    """

    x: Array
    y: Array
    z: Array
    t: Array
    side: Array
    head: float
    pixel: float


def linear(colour: tuple[float, ...]) -> Array:
    """Return an sRGB colour as linear light, by the power 2.2."""
    return (np.asarray(colour, np.float64) ** 2.2).astype(np.float32)


def _flat(points: Points, colour: Array) -> Array:
    return np.broadcast_to(colour, (points.x.size, 3)).astype(np.float32)


def _mix(base: Array, colour: Array, weight: Array | Mask) -> None:
    base += (colour - base) * np.asarray(weight, np.float32)[:, None]


def _edge(distance: Real, points: Points) -> Array:
    """Return 1 inside (negative distance), 0 outside, with an edge one pixel wide."""
    return np.asarray(np.clip(0.5 - distance / max(points.pixel, 0.002), 0, 1), np.float32)


def _folds(points: Points, outfit: Outfit, knots: tuple[float, ...], amount: float) -> Array:
    """Return a brightness factor: long soft folds everywhere, short tight ones around the joints (values of t)."""
    p = outfit.phases
    around = np.arctan2(points.x, points.z)
    long = np.sin(38 * points.y + 2.2 * np.sin(around + p[0]) + p[1]) * np.sin(around * 2 + 25 * points.y + p[2])
    tight = np.zeros_like(points.t)
    for index, knot in enumerate(knots):
        near = np.exp(-(((points.t - knot) / 0.13) ** 2))
        tight += near * np.sin(230 * points.y + 3.0 * np.sin(around + p[3 + index]) + p[4])
    factor: Array = 1 + amount * (0.75 * long + tight)
    return factor


def _pattern(points: Points, outfit: Outfit, across: Array) -> Array:
    """Return the top's cloth at (across, y): colours (n, 3)."""
    colour = _flat(points, linear(outfit.top))
    accent = linear(outfit.accent)
    period = 0.034 + 0.012 * np.sin(outfit.phases[5])
    rows, columns = np.sin(2 * np.pi * points.y / period), np.sin(2 * np.pi * across / period)
    # A pattern finer than the pixels would shimmer: it fades to its mean.
    fade = float(np.clip(period / (3.0 * points.pixel) - 0.6, 0, 1))
    sharp = 3.0
    if outfit.pattern == "stripes":
        _mix(colour, accent, 0.5 + fade * (np.clip(0.5 + sharp * rows, 0, 1) - 0.5))
    elif outfit.pattern == "checks":
        weight = 0.5 * np.clip(0.5 + sharp * rows, 0, 1) + 0.5 * np.clip(0.5 + sharp * columns, 0, 1)
        _mix(colour, accent, 0.85 * (0.5 + fade * (weight - 0.5)))
    elif outfit.pattern == "pinstripes":
        _mix(colour, accent, 0.7 * fade * np.clip(8 * (columns - 0.82), 0, 1))
    elif outfit.pattern == "dots":
        _mix(colour, accent, fade * np.clip(6 * (rows * columns - 0.45), 0, 1))
    return colour


def _top(points: Points, outfit: Outfit) -> Array:
    colour = _pattern(points, outfit, points.x)
    accent, front = linear(outfit.accent), points.z > 0
    if outfit.pattern == "block":
        _mix(colour, accent, _edge(np.abs(points.y - 0.085) - 0.03, points))
    elif outfit.pattern == "print":
        shape = np.hypot(points.x + 0.005, (points.y - 0.07) * 0.9) - 0.035
        swirl = 0.5 + 0.5 * np.sin(190 * (points.x + points.y) + 4 * np.sin(90 * points.x))
        _mix(colour, accent, _edge(shape, points) * front * (0.45 + 0.55 * swirl))
    neckline = np.hypot(points.x * 1.1, points.y - 0.207) - 0.026 - 0.018 * np.clip(points.z / 0.04 + 0.5, 0, 1)
    skin = linear(outfit.skin)
    _mix(colour, 0.45 * linear(outfit.top), _edge(np.abs(neckline) - 0.003, points))
    _mix(colour, skin, _edge(neckline, points))
    badge = np.maximum(np.abs(points.x - 0.047) - 0.0165, np.abs(points.y - 0.112) - 0.0185)
    _mix(colour, linear(outfit.badge), _edge(badge, points) * front)
    _mix(colour, 0.4 * linear(outfit.badge), _edge(np.abs(badge) - 0.0012, points) * front * 0.8)
    hem = _edge(np.abs(points.y + 0.034) - 0.003, points)
    colour *= (_folds(points, outfit, (0.0,), 0.075) * (1 - 0.35 * hem))[:, None]
    return colour


def _sleeve(points: Points, outfit: Outfit) -> Array:
    colour = _pattern(points, outfit, np.arctan2(points.x, points.z).astype(np.float32) * np.float32(0.04))
    if outfit.pattern in ("block", "print") and outfit.phases[6] > 3:
        _mix(colour, linear(outfit.accent), np.ones_like(points.t))
    if outfit.sleeve:
        band = _edge((np.abs(points.t - 0.62) - 0.11) * 0.12, points) * (points.side > 0)
        _mix(colour, linear(outfit.badge), band)
    edge = _edge((0.96 - points.t) * 0.1, points) if 0 < outfit.sleeve < 1.5 else 0 * points.t
    colour *= (_folds(points, outfit, (0.1, 1.0), 0.1) * (1 - 0.4 * edge))[:, None]
    return colour


def _cuff(points: Points, outfit: Outfit) -> Array:
    colour = _pattern(points, outfit, np.arctan2(points.x, points.z).astype(np.float32) * np.float32(0.035))
    if outfit.pattern in ("block", "print") and outfit.phases[6] > 3:
        _mix(colour, linear(outfit.accent), np.ones_like(points.t))
    edge = _edge((0.9 - points.t) * 0.14, points)
    colour *= (_folds(points, outfit, (0.0,), 0.13) * (1 - 0.3 * edge))[:, None]
    return colour


def _skin(points: Points, outfit: Outfit) -> Array:
    colour = _flat(points, linear(outfit.skin))
    blush = np.exp(-(((np.abs(points.t - 0.5) - 0.5) / 0.09) ** 2))
    _mix(colour, linear(outfit.skin) * np.array([0.86, 0.66, 0.6], np.float32), 0.45 * blush)
    return colour


def _forearm(points: Points, outfit: Outfit) -> Array:
    colour = _skin(points, outfit)
    near_wrist = (points.y < -0.1) & (points.side > 0)
    strap = _edge(np.abs(points.y + 0.128) - 0.0065, points) * near_wrist
    _mix(colour, _BLACK * 3, strap)
    return colour


def _hand(points: Points, outfit: Outfit) -> Array:
    colour = _flat(points, linear(outfit.skin) * np.array([0.98, 0.9, 0.87], np.float32))
    _mix(colour, linear(outfit.skin) * np.array([1.05, 0.98, 0.96], np.float32), _edge(points.y + 0.07, points))
    return colour


def _knee(points: Points, outfit: Outfit) -> Array:
    colour = _flat(points, linear(outfit.skin))
    cap = np.hypot(points.x, points.y) - 0.024
    _mix(
        colour, linear(outfit.skin) * np.array([0.8, 0.6, 0.54], np.float32), 0.6 * _edge(cap, points) * (points.z > 0)
    )
    return colour


def _shin(points: Points, outfit: Outfit) -> Array:
    colour = _flat(points, linear(outfit.skin))
    sock = _edge((0.88 - points.t) * 0.16, points)
    _mix(colour, _WHITE, sock)
    _mix(colour, linear(outfit.accent), sock * _edge((np.abs(points.t - 0.93) - 0.012) * 0.16, points))
    return colour


def _sock(points: Points, outfit: Outfit) -> Array:
    return _flat(points, 0.6 * linear(outfit.accent))


def _hips(points: Points, outfit: Outfit) -> Array:
    colour = _flat(points, linear(outfit.bottom))
    shirt = _pattern(points, outfit, points.x)
    belt_line = points.y - 0.052
    _mix(colour, _BLACK * 2, _edge(np.abs(belt_line + 0.009) - 0.0085, points))
    buckle = np.maximum(np.abs(points.x) - 0.011, np.abs(belt_line + 0.009) - 0.0085)
    _mix(colour, np.array([0.55, 0.5, 0.35], np.float32), _edge(buckle, points) * (points.z > 0))
    _mix(colour, shirt, _edge(-belt_line, points))
    pocket = np.abs((np.abs(points.x) - 0.058) + 0.7 * (points.y - 0.016)) - 0.002
    _mix(colour, 0.35 * linear(outfit.bottom), 0.8 * _edge(pocket, points) * (np.abs(points.y - 0.016) < 0.022))
    back = np.maximum(np.abs(np.abs(points.x) - 0.042) - 0.022, np.abs(points.y + 0.018) - 0.024)
    _mix(colour, 0.4 * linear(outfit.bottom), 0.7 * _edge(np.abs(back) - 0.0013, points) * (points.z < 0))
    colour *= _folds(points, outfit, (0.0,), 0.06)[:, None]
    return colour


def _trouser(points: Points, outfit: Outfit) -> Array:
    colour = _flat(points, linear(outfit.bottom))
    seam = _edge(np.abs(points.z) - 0.0018, points) * (points.x * points.side > 0)
    _mix(colour, 0.5 * linear(outfit.bottom), 0.7 * seam)
    if outfit.bottom_kind != "skirt":
        _mix(colour, 1.35 * linear(outfit.bottom), 0.5 * _edge(np.abs(points.x) - 0.02, points) * (points.z > 0))
    edge = _edge((0.965 - points.t) * 0.2, points) if outfit.bottom_kind != "trousers" else 0 * points.t
    colour *= (_folds(points, outfit, (0.05, 1.0), 0.11) * (1 - 0.35 * edge))[:, None]
    return colour


def _trouser_leg(points: Points, outfit: Outfit) -> Array:
    colour = _flat(points, linear(outfit.bottom))
    knee = np.hypot(points.x, 0.8 * points.y) - 0.03
    _mix(colour, 1.4 * linear(outfit.bottom), 0.5 * _edge(knee, points) * (points.z > 0))
    edge = _edge((0.955 - points.t) * 0.22, points)
    colour *= (_folds(points, outfit, (0.0, 0.95), 0.12) * (1 - 0.3 * edge))[:, None]
    return colour


def _skirt(points: Points, outfit: Outfit) -> Array:
    colour = _flat(points, linear(outfit.bottom))
    pleats = 1 + 0.16 * np.sin(11 * np.arctan2(points.x, points.z) + outfit.phases[1])
    edge = _edge((0.965 - points.t) * 0.2, points)
    colour *= (pleats * (1 - 0.35 * edge))[:, None]
    return colour


def _shoe(points: Points, outfit: Outfit) -> Array:
    colour = _flat(points, linear(outfit.shoe))
    laces = (np.sin(2 * np.pi * points.z / 0.014) > 0.2) & (np.abs(points.x) < 0.012) & (points.z > 0.012)
    _mix(
        colour, _WHITE if sum(outfit.shoe) < 1.6 else _BLACK * 6, 0.7 * laces * (points.z < 0.055) * (points.y > -0.03)
    )
    _mix(colour, _WHITE, _edge(points.y + 0.038, points))
    _mix(colour, _BLACK * 4, _edge(points.y + 0.0465, points))
    return colour


def _hair(points: Points, outfit: Outfit) -> Array:
    colour = _flat(points, linear(outfit.hair))
    around = np.arctan2(points.x, points.z + 0.02)
    strands = np.sin(46 * around + 60 * points.y) * np.sin(23 * around - 40 * points.y + outfit.phases[0])
    colour *= (1 + 0.28 * strands)[:, None]
    return colour


def _cap(points: Points, outfit: Outfit) -> Array:
    colour = _flat(points, linear(outfit.accent))
    panel = np.abs(np.sin(3 * np.arctan2(points.x, points.z + 0.004))) * 0.05 - 0.0015
    _mix(colour, 0.5 * linear(outfit.accent), 0.7 * _edge(panel, points))
    return colour


def _seat(points: Points, outfit: Outfit) -> Array:
    grain = 1 + 0.2 * np.sin(300 * points.z + 8 * np.sin(14 * points.x + outfit.phases[3]))
    wood = np.array([0.3, 0.17, 0.08], np.float32) * np.float32(0.5 + 0.5 * abs(np.sin(outfit.phases[2])))
    colour: Array = _flat(points, wood) * grain[:, None].astype(np.float32)
    return colour


def _seat_leg(points: Points, outfit: Outfit) -> Array:
    return _flat(points, _BLACK * 5)


def _eyes(colour: Array, points: Points, outfit: Outfit, x: Array, y: Array) -> None:
    front = points.z > 0
    away = np.abs(x) - 0.0195
    white = np.hypot(away / 0.0105, (y - 0.009) / 0.0058) - 1
    _mix(
        colour,
        linear(outfit.skin) * 0.5,
        0.55 * _edge((np.hypot(away / 0.014, (y - 0.01) / 0.0095) - 1) * 0.01, points) * front,
    )
    _mix(colour, _WHITE, _edge(white * 0.006, points) * front)
    iris = np.hypot(away, y - 0.0095)
    shade = (0.05, 0.028, 0.015) if outfit.phases[7] < 4.4 else (0.06, 0.12, 0.16)
    _mix(colour, np.asarray(shade, np.float32), _edge(iris - 0.0047, points) * (white < 0) * front)
    _mix(colour, _BLACK, _edge(iris - 0.0024, points) * (white < 0) * front)
    _mix(colour, _BLACK, _edge(np.maximum(np.abs(white + 0.05) * 0.006 - 0.0011, 0.009 - y), points) * front)
    brow = np.maximum(np.abs(y - 0.0225 + 9.0 * away * away) - 0.0024, np.abs(away) - 0.0125)
    _mix(colour, 0.6 * linear(outfit.hair), 0.85 * _edge(brow, points) * front)
    if outfit.glasses:
        ring = np.abs(np.hypot(away, (y - 0.008) * 1.15) - 0.0155) - 0.0013
        bridge = np.maximum(np.abs(y - 0.011) - 0.0013, np.abs(x) - 0.006)
        temple = np.maximum(np.abs(y - 0.011) - 0.0014, 0.033 - np.abs(x))
        rim = np.minimum(np.minimum(ring, bridge), temple)
        _mix(colour, _BLACK, _edge(rim, points) * (points.z > -0.002))


def _face(points: Points, outfit: Outfit) -> Array:
    skin = linear(outfit.skin)
    colour = _flat(points, skin)
    x, y, z = points.x / points.head, points.y / points.head, points.z / points.head
    rosy = skin * np.array([0.95, 0.62, 0.56], np.float32)
    cheeks = np.exp(-(((np.abs(x) - 0.027) / 0.012) ** 2) - (((y + 0.014) / 0.011) ** 2))
    _mix(colour, rosy, 0.45 * cheeks * (z > 0))
    _mix(colour, rosy, 0.4 * (points.side != 0))
    _mix(colour, rosy, 0.3 * (np.hypot(x, y + 0.012) < 0.009) * (z > 0.03))
    if outfit.beard:
        jaw = np.clip((-0.016 - y + 0.25 * np.abs(x)) / 0.008, 0, 1) * (z > -0.01) * (points.side == 0)
        _mix(colour, linear(outfit.hair), 0.72 * jaw)
    _eyes(colour, points, outfit, x, y)
    nostrils = np.hypot(np.abs(x) - 0.0048, (y + 0.0185) * 1.4) - 0.0024
    _mix(colour, 0.3 * skin, 0.7 * _edge(nostrils, points) * (z > 0.03))
    lips = np.hypot(x / 0.0175, (y + 0.0335 - 4.0 * x * x) / 0.0052) - 1
    _mix(colour, skin * np.array([0.72, 0.32, 0.3], np.float32), 0.85 * _edge(lips * 0.006, points) * (z > 0))
    _mix(
        colour,
        0.25 * skin,
        0.7 * _edge(np.maximum(np.abs(y + 0.0335 - 4.0 * x * x) - 0.0009, np.abs(x) - 0.016), points) * (z > 0),
    )
    return colour


PAINTERS: Mapping[str, tuple[Callable[[Points, Outfit], Array], float]] = {
    "top": (_top, 0.02), "sleeve": (_sleeve, 0.02), "cuff": (_cuff, 0.02), "hips": (_hips, 0.02),
    "trouser": (_trouser, 0.02), "trouser-leg": (_trouser_leg, 0.02), "skirt": (_skirt, 0.03),
    "skin": (_skin, 0.1), "forearm": (_forearm, 0.1), "hand": (_hand, 0.1), "knee": (_knee, 0.1), "shin": (_shin, 0.08),
    "neck": (_skin, 0.08), "face": (_face, 0.12), "hair": (_hair, 0.3), "cap": (_cap, 0.03), "sock": (_sock, 0.0),
    "shoe": (_shoe, 0.15), "seat": (_seat, 0.1), "seat-leg": (_seat_leg, 0.2),
}  # fmt: skip
"""Material name -> (painter, gloss)."""
