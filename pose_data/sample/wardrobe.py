"""What a person wears: outfits, and the round cones of a clothed body. NumPy only."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from pose_data.sample.figure import Body, Vector
from pose_data.sample.surfaces import Part

__all__ = ["Outfit", "build_parts", "random_outfit"]

_TORSO, _HIPS, _HEAD, _PROP = 1, 2, 64, 128
_LEG = {1: 4, -1: 8}
_ARM = {1: 16, -1: 32}

_SKINS = ((0.93, 0.76, 0.66), (0.88, 0.68, 0.55), (0.8, 0.59, 0.45), (0.7, 0.49, 0.35), (0.54, 0.36, 0.25),
          (0.4, 0.26, 0.18), (0.9, 0.7, 0.62))  # fmt: skip
_HAIRS = ((0.09, 0.07, 0.06), (0.17, 0.11, 0.08), (0.3, 0.19, 0.11), (0.45, 0.3, 0.16), (0.72, 0.56, 0.33),
          (0.5, 0.22, 0.1), (0.62, 0.6, 0.58))  # fmt: skip
_HAIR_STYLES = ("short", "short", "short", "long", "long", "ponytail", "bun", "afro", "bald", "cap", "bob")
_PATTERNS = ("plain", "plain", "stripes", "checks", "block", "print", "pinstripes", "dots")
_DENIM = (0.19, 0.27, 0.42)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outfit:
    """Colours (sRGB, 0 to 1) and cuts of one person's looks.

    ``sleeve``: 0 none, up to 1 part of the upper arm, 2 to the wrist; ``bottom_kind``: trousers, shorts or skirt;
    ``leg``: how far shorts or a skirt reach down the thigh. The badge, the band on the sleeve and the watch are
    always at the person's own left.
    """

    skin: tuple[float, ...]
    hair: tuple[float, ...]
    hair_style: str
    top: tuple[float, ...]
    accent: tuple[float, ...]
    pattern: str
    sleeve: float
    bottom: tuple[float, ...]
    bottom_kind: str
    leg: float
    shoe: tuple[float, ...]
    badge: tuple[float, ...]
    beard: bool
    glasses: bool
    phases: tuple[float, ...]


def _colour(rng: np.random.Generator, *, saturation: tuple[float, float], value: tuple[float, float]) -> Vector:
    """Return an sRGB colour of random hue."""
    hue, low, high = rng.random() * 6, rng.uniform(*saturation), rng.uniform(*value)
    ramp = np.clip(np.abs((hue + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    colour: Vector = high * (1 - low * (1 - ramp))
    return colour


def _garment(rng: np.random.Generator) -> Vector:
    kind = rng.random()
    if kind < 0.16:
        return np.full(3, rng.uniform(0.82, 0.95))
    if kind < 0.3:
        return np.full(3, rng.uniform(0.08, 0.3)) * rng.uniform(0.9, 1.1, 3)
    return _colour(rng, saturation=(0.35, 0.85), value=(0.35, 0.9))


def random_outfit(rng: np.random.Generator, *, curvy: bool) -> Outfit:
    """Return random clothes, hair and skin."""
    skin = np.asarray(_SKINS[int(rng.integers(len(_SKINS)))]) * rng.uniform(0.94, 1.05)
    hair = np.asarray(_HAIRS[int(rng.integers(len(_HAIRS)))]) * rng.uniform(0.85, 1.15)
    top = _garment(rng)
    accent = 1 - 0.85 * top if rng.random() < 0.5 else _colour(rng, saturation=(0.3, 0.9), value=(0.3, 0.95))
    bottom = np.asarray(_DENIM) * rng.uniform(0.6, 1.7) if rng.random() < 0.42 else 0.75 * _garment(rng)
    kind = rng.choice(["trousers", "shorts", "skirt"], p=(0.58, 0.24, 0.18) if curvy else (0.7, 0.3, 0.0))
    styles = [name for name in _HAIR_STYLES if curvy or name not in ("long", "ponytail", "bun", "bob")]
    styles = [name for name in styles if not (curvy and name == "bald")]
    shoe = np.full(3, rng.uniform(0.75, 0.92)) if rng.random() < 0.35 else 0.6 * _garment(rng)
    badge = np.full(3, 0.95) if top.mean() < 0.55 else np.array([0.7, 0.1, 0.12])
    return Outfit(
        skin=tuple(np.clip(skin, 0, 1)),
        hair=tuple(hair),
        hair_style=styles[int(rng.integers(len(styles)))],
        top=tuple(top),
        accent=tuple(np.clip(accent, 0.05, 0.95)),
        pattern=_PATTERNS[int(rng.integers(len(_PATTERNS)))],
        sleeve=float(rng.choice([0.0, rng.uniform(0.45, 0.75), 2.0], p=(0.12, 0.5, 0.38))),
        bottom=tuple(np.clip(bottom, 0.03, 0.95)),
        bottom_kind=str(kind),
        leg=float(rng.uniform(0.62, 0.92)),
        shoe=tuple(shoe),
        badge=tuple(badge),
        beard=bool(not curvy and rng.random() < 0.3),
        glasses=bool(rng.random() < 0.2),
        phases=tuple(rng.uniform(0, 2 * np.pi, 8)),
    )


class _Builder:
    """Collects parts that are given in the frame of one of the body's segments."""

    def __init__(self, body: Body) -> None:
        self.body = body
        self.parts: list[Part] = []

    def add(self, material: str, frame: str, origin: str, start: tuple[float, float, float],
            end: tuple[float, float, float], radii: tuple[float, float], **rest: Any) -> None:  # fmt: skip
        """Add a part whose ends are given in a segment's frame, relative to a joint."""
        axes, zero = self.body.frames[frame], self.body.joints[origin]
        self.parts.append(
            Part(material=material, start=zero + axes @ np.asarray(start), end=zero + axes @ np.asarray(end),
                 start_radius=radii[0], end_radius=radii[1], frame=axes, origin=zero, **rest)
        )  # fmt: skip


def _trunk(build: _Builder) -> None:
    shape = build.body.shape
    g, torso, half = shape.girth, shape.torso, shape.shoulder_half
    flat: tuple[float, float, float] = (1.14, 1.0, 0.78)
    hip_bits = _HIPS | _TORSO | _LEG[1] | _LEG[-1]
    wide = shape.hip_half / 0.057
    build.add("hips", "pelvis", "pelvis", (0, -0.018, 0), (0, 0.085, 0), (0.074 * g * wide, 0.071 * g),
              squash=flat, blend=hip_bits)  # fmt: skip
    for side in (1, -1):
        build.add("hips", "pelvis", "pelvis", (side * 0.04, -0.024, -0.024), (side * 0.04, -0.024, -0.024),
                  (0.049 * g, 0.049 * g), blend=hip_bits, side=side)  # fmt: skip
    build.add("top", "chest", "waist", (0, -0.03, 0), (0, 0.125 * torso, 0.002), (0.076 * g, 0.088 * g * half / 0.104),
              squash=flat, blend=_TORSO | _HIPS)  # fmt: skip
    build.add("top", "chest", "waist", (half * 0.72, 0.15 * torso, -0.004), (-half * 0.72, 0.15 * torso, -0.004),
              (0.043 * g, 0.043 * g), blend=_TORSO, squash=(1.0, 1.0, 0.92))  # fmt: skip
    for side in (1, -1):
        build.add("top", "chest", "waist", (side * 0.012, 0.186 * torso, -0.008),
                  (side * half * 0.92, 0.163 * torso, -0.006), (0.034, 0.03 * g), blend=_TORSO, side=side)  # fmt: skip
        if shape.bust:
            radius = 0.03 + 0.014 * shape.bust
            build.add("top", "chest", "waist", (side * 0.04, 0.1 * torso, 0.05), (side * 0.038, 0.088 * torso, 0.056),
                      (radius, radius), blend=_TORSO, side=side)  # fmt: skip


def _arms(build: _Builder, outfit: Outfit) -> None:
    shape = build.body.shape
    g, upper, fore = shape.girth, 0.172 * shape.arm, 0.145 * shape.arm
    for side, name in ((1, "left"), (-1, "right")):
        bits = _ARM[side] | _TORSO
        at = f"{name}_upper_arm", f"{name}_shoulder"
        down = f"{name}_forearm", f"{name}_elbow"
        if outfit.sleeve < 1.5:
            build.add("skin", *at, (0, -0.01, 0), (0, -upper, 0), (0.0345 * g, 0.0275 * g), blend=_ARM[side], side=side)
            build.add("forearm", *down, (0, 0, 0), (0, -0.3 * fore, 0.002), (0.0275 * g, 0.03 * g),
                      blend=_ARM[side], side=side)  # fmt: skip
            build.add("forearm", *down, (0, -0.3 * fore, 0.002), (0, -fore, 0), (0.03 * g, 0.018),
                      blend=_ARM[side], side=side)  # fmt: skip
        reach = min(outfit.sleeve, 1.0) if outfit.sleeve else 0.04
        end = 0.0385 * g + (0.036 - 0.0385) * reach + (0.004 if 0 < outfit.sleeve < 1.5 else 0)
        build.add("sleeve", *at, (0, -0.002, 0), (0, -upper * reach, 0), (0.0385 * g, end), blend=bits, side=side,
                  open_end=outfit.sleeve < 1.5)  # fmt: skip
        if outfit.sleeve >= 1.5:
            build.add("cuff", *down, (0, 0, 0), (0, -0.93 * fore, 0), (0.0345 * g, 0.026), blend=_ARM[side],
                      side=side, open_end=True)  # fmt: skip
            build.add("forearm", *down, (0, -0.8 * fore, 0), (0, -fore, 0), (0.02, 0.019), side=side)
        _hand(build, name, side, shape.head)


def _hand(build: _Builder, name: str, side: int, size: float) -> None:
    at = f"{name}_hand", f"{name}_wrist"
    k = 0.55 + 0.45 * size
    build.add(
        "hand", *at, (0, -0.008, 0), (0, -0.038 * k, 0), (0.019 * k, 0.024 * k), squash=(1.0, 1.0, 0.5), side=side
    )
    for index, (x, reach) in enumerate(((-0.016, 0.074), (-0.0055, 0.08), (0.0055, 0.078), (0.016, 0.069))):
        curl = 0.006 + 0.002 * index
        build.add("hand", *at, (x * k, -0.04 * k, 0.001), (x * 1.1 * k, -reach * k, -curl), (0.0068 * k, 0.0052 * k),
                  side=side)  # fmt: skip
    build.add("hand", *at, (-side * 0.015 * k, -0.016 * k, 0.004), (-side * 0.031 * k, -0.044 * k, 0.014),
              (0.0085 * k, 0.0065 * k), side=side)  # fmt: skip


def _legs(build: _Builder, outfit: Outfit) -> None:
    shape = build.body.shape
    g, thigh, shank = shape.girth, 0.238 * shape.leg, 0.228 * shape.leg
    for side, name in ((1, "left"), (-1, "right")):
        bits = _LEG[side]
        at, down = (f"{name}_thigh", f"{name}_hip"), (f"{name}_shank", f"{name}_knee")
        out = side * 0.004
        if outfit.bottom_kind == "trousers":
            build.add(
                "trouser", *at, (out, 0, 0), (0, -thigh, 0), (0.061 * g, 0.044 * g), blend=bits | _HIPS, side=side
            )
            build.add("trouser-leg", *down, (0, 0, 0), (0, -0.97 * shank, -0.003), (0.0435 * g, 0.037), blend=bits,
                      side=side, open_end=True)  # fmt: skip
            build.add("sock", *down, (0, -0.8 * shank, -0.002), (0, -shank, 0), (0.028, 0.026), side=side)
        else:
            build.add("skin", *at, (out, -0.01, 0), (0, -thigh, 0), (0.058 * g, 0.039 * g), blend=bits, side=side)
            build.add("knee", *down, (0, 0, 0), (0, -0.3 * shank, -0.012), (0.038 * g, 0.04 * g), blend=bits, side=side)
            build.add(
                "shin", *down, (0, -0.3 * shank, -0.012), (0, -shank, 0), (0.04 * g, 0.024), blend=bits, side=side
            )
            wide = 0.098 if outfit.bottom_kind == "skirt" else 0.06
            build.add("trouser", *at, (out, 0, 0), (0, -thigh * outfit.leg, 0), (0.062 * g, wide * g), side=side,
                      blend=bits | _HIPS | _LEG[-side], open_end=True)  # fmt: skip
        _shoe(build, name, side)
    if outfit.bottom_kind == "skirt":
        _skirt(build, outfit)


def _skirt(build: _Builder, outfit: Outfit) -> None:
    """Close the gap between the legs of a skirt where they hang side by side."""
    body = build.body
    apart = body.frames["left_thigh"][:, 1] @ body.frames["right_thigh"][:, 1]
    if apart < 0.75:
        return
    middle = 0.5 * (body.joints["left_knee"] + body.joints["right_knee"])
    hips = 0.5 * (body.joints["left_hip"] + body.joints["right_hip"])
    end = hips + (middle - hips) * outfit.leg
    g = body.shape.girth
    build.parts.append(
        Part(material="skirt", start=hips, end=end, start_radius=0.082 * g, end_radius=0.118 * g, origin=hips,
             frame=body.frames["pelvis"], squash=(1.1, 1.0, 0.82), blend=_HIPS | _LEG[1] | _LEG[-1], open_end=True)
    )  # fmt: skip


def _shoe(build: _Builder, name: str, side: int) -> None:
    at = f"{name}_foot", f"{name}_ankle"
    build.add("shoe", *at, (0, -0.029, -0.026), (side * 0.006, -0.033, 0.082), (0.0245, 0.026), squash=(1.0, 0.72, 1.0),
              side=side, blend=256 * (2 + side))  # fmt: skip
    build.add("shoe", *at, (0, 0.002, -0.004), (side * 0.004, -0.024, 0.05), (0.029, 0.023), side=side,
              blend=256 * (2 + side))  # fmt: skip


def _head(build: _Builder, outfit: Outfit) -> None:
    k = build.body.shape.head
    chest_neck = ("chest", "neck")
    build.add("neck", *chest_neck, (0, -0.022, -0.004), (0, 0.045, 0.008), (0.034, 0.029), blend=_HEAD)

    def add(material: str, start: tuple[float, float, float], end: tuple[float, float, float],
            radii: tuple[float, float], **rest: Any) -> None:  # fmt: skip
        first, last = (k * start[0], k * start[1], k * start[2]), (k * end[0], k * end[1], k * end[2])
        build.add(material, "head", "head", first, last, (radii[0] * k, radii[1] * k), **rest)

    add("face", (0, 0.014, -0.006), (0, 0.014, -0.006), (0.052, 0.052), squash=(0.92, 1.0, 1.1), blend=_HEAD)
    add("face", (0, 0.0, 0.012), (0, -0.043, 0.024), (0.0435, 0.022), squash=(0.98, 1.0, 1.0), blend=_HEAD)
    add("face", (0, 0.008, 0.05), (0, -0.0125, 0.0615), (0.005, 0.0085), blend=_HEAD)
    for side in (1, -1):
        add("face", (side * 0.05, -0.001, -0.004), (side * 0.049, -0.013, -0.001), (0.0145, 0.01),
            squash=(0.42, 1.0, 0.72), side=side)  # fmt: skip
    _hair(outfit, add)


def _hair(outfit: Outfit, put: Callable[..., None]) -> None:
    """Put hair or a cap on the head; ``put`` scales to the head's size."""
    style = outfit.hair_style
    if style == "bald":
        return
    line: tuple[tuple[float, float], ...] = (
        (-0.075, -0.042),
        (-0.03, -0.03),
        (-0.012, 0.006),
        (0.012, 0.008),
        (0.03, 0.034),
        (0.07, 0.04),
    )
    if style in ("long", "bob", "ponytail", "bun"):
        line = ((-0.075, -0.05), (-0.02, -0.034), (0.008, 0.0), (0.032, 0.03), (0.07, 0.043))
    if style == "cap":
        line = ((-0.075, 0.0), (0.07, 0.028))
        put("hair", (0, 0.012, -0.009), (0, 0.012, -0.009), (0.0545, 0.0545), squash=(0.93, 1.0, 1.08),
            keep_above=((-0.075, -0.04), (-0.02, -0.03), (0.0, 0.0), (0.012, 0.1)))  # fmt: skip
        put("cap", (0, 0.022, -0.004), (0, 0.022, -0.004), (0.0565, 0.0565), squash=(0.94, 1.0, 1.08), keep_above=line)
        put("cap", (0, 0.034, 0.045), (0, 0.026, 0.086), (0.04, 0.034), squash=(1.0, 0.1, 0.7))
        return
    bulk = {"afro": 0.075, "short": 0.0565}.get(style, 0.058)
    middle = (0.0, 0.026, -0.016) if style == "afro" else (0.0, 0.017, -0.009)
    scaled = tuple((z * (1.3 if style == "afro" else 1.0), y) for z, y in line)
    put("hair", middle, middle, (bulk, bulk), squash=(0.94, 1.0, 1.08), keep_above=scaled)
    if style in ("long", "bob"):
        low = -0.145 if style == "long" else -0.06
        put("hair", (0, 0.01, -0.026), (0, low, -0.05), (0.05, 0.042), squash=(1.0, 1.0, 0.72), blend=_PROP)
        for side in (1, -1):
            put("hair", (side * 0.042, 0.014, -0.014), (side * 0.047, 0.55 * low - 0.01, -0.012), (0.019, 0.017),
                squash=(0.75, 1.0, 1.3), blend=_PROP)  # fmt: skip
    elif style == "ponytail":
        put("hair", (0, 0.04, -0.06), (0, 0.0, -0.085), (0.018, 0.022))
        put("hair", (0, 0.0, -0.085), (0, -0.09, -0.078), (0.022, 0.01))
    elif style == "bun":
        put("hair", (0, 0.058, -0.05), (0, 0.058, -0.05), (0.027, 0.027))


def _seat(build: _Builder) -> None:
    """Put a bench under a sitter; it is in the picture but not part of the person."""
    body = build.body
    hips = 0.5 * (body.joints["left_hip"] + body.joints["right_hip"])
    level = np.stack([body.frames["pelvis"][:, 0], body.up, np.zeros(3)], axis=1)
    level[:, 2] = np.cross(level[:, 0], level[:, 1])
    level[:, 2] /= np.linalg.norm(level[:, 2])
    level[:, 0] = np.cross(level[:, 1], level[:, 2])
    top = hips - body.up * 0.083 + level[:, 2] * 0.05
    depth = float((hips - body.ground) @ body.up) - 0.1
    for x in (-0.17, 0.17):
        for z in (-0.06, 0.1):
            foot = top + level @ np.array([x * 0.95, -depth, z])
            build.parts.append(Part(material="seat-leg", start=top + level @ np.array([x * 0.9, 0, z * 0.9]), end=foot,
                                    start_radius=0.014, end_radius=0.011, frame=level, origin=top, is_person=False,
                                    open_end=True))  # fmt: skip
    build.parts.append(
        Part(material="seat", start=top - level[:, 0] * 0.13, end=top + level[:, 0] * 0.13, start_radius=0.12,
             end_radius=0.12, frame=level, origin=top, squash=(0.7, 0.19, 1.0), is_person=False)
    )  # fmt: skip


def build_parts(body: Body, outfit: Outfit) -> list[Part]:
    """Return the round cones of a clothed body, and of the seat of a person who sits."""
    build = _Builder(body)
    _trunk(build)
    _arms(build, outfit)
    _legs(build, outfit)
    _head(build, outfit)
    if body.seated:
        _seat(build)
    return build.parts
