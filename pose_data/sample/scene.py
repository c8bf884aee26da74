"""Puts persons, things in front of them and a crowd into one picture, and knows what is visible. NumPy only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pose_data.sample.background import Ground, develop, paint_backdrop
from pose_data.sample.canvas import Canvas
from pose_data.sample.figure import POSES, Body, pose_body, random_shape, random_yaw_deg
from pose_data.sample.objects import OCCLUDERS
from pose_data.sample.plan import PicturePlan
from pose_data.sample.rendering import Layer, Light, render_figure
from pose_data.sample.wardrobe import random_outfit
from pose_data.skeleton import COCO_PERSON

__all__ = ["Scene", "VisiblePerson", "draw_scene"]

Array = NDArray[np.float32]

_ADULT_M = 1.72
_UPRIGHT = ("stand", "stand-relaxed", "walk", "hands-on-hips", "hands-in-front", "wave", "phone")
_FACE_NORMALS = {"nose": (0.0, 0.0, 1.0), "left_eye": (0.3, 0.0, 0.95), "right_eye": (-0.3, 0.0, 0.95),
                 "left_ear": (1.0, 0.0, -0.1), "right_ear": (-1.0, 0.0, -0.1)}  # fmt: skip
# How far a joint's centre may lie behind the surface in front of it and still count as seen, in body heights.
_REACH = {"shoulder": 0.075, "elbow": 0.06, "wrist": 0.048, "hip": 0.115, "knee": 0.075, "ankle": 0.06}
_FACE_REACH = 0.022
_TINY_PX, _SMALL_PX = 36, 60


@dataclass(frozen=True, slots=True, kw_only=True)
class VisiblePerson:
    """One annotated person or crowd: ``mask`` (h, w) bool, what is seen of it; ``keypoints`` (17, 3) whole numbers."""

    mask: NDArray[np.bool_]
    keypoints: NDArray[np.int64]
    crowd: bool
    facing_front: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A finished picture (h, w, 3) uint8 RGB and the persons in it."""

    pixels: NDArray[np.uint8]
    people: tuple[VisiblePerson, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figure:
    """A person with a place: ``scale_px`` pixels to the body height, ``foot_xy`` pixels."""

    body: Body
    layer: Layer
    scale_px: float
    foot_xy: tuple[float, float]
    yaw_deg: float


class _Stage:
    """The picture while it is painted from back to front, with the owner of every pixel (-1: nobody)."""

    def __init__(self, rgb: Array) -> None:
        self.rgb = rgb
        self.owner = np.full(rgb.shape[:2], -1, np.int16)

    @property
    def shape(self) -> tuple[int, int]:
        """Return the picture's height and width."""
        return int(self.rgb.shape[0]), int(self.rgb.shape[1])

    def _cut(self, layer: Layer) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return the layer's window in the picture, and the same window in the layer."""
        height, width = layer.alpha.shape
        top, left = max(0, layer.top_px), max(0, layer.left_px)
        bottom = max(top, min(self.shape[0], layer.top_px + height))
        right = max(left, min(self.shape[1], layer.left_px + width))
        inner = (slice(top - layer.top_px, bottom - layer.top_px), slice(left - layer.left_px, right - layer.left_px))
        return (slice(top, bottom), slice(left, right)), inner

    def darken(self, layer: Layer) -> None:
        """Put a figure's shadow on what is there."""
        outer, inner = self._cut(layer)
        self.rgb[outer] *= 1 - layer.shadow[inner][:, :, None]

    def paste(self, layer: Layer, owner: int) -> None:
        """Put a figure in front of what is there."""
        outer, inner = self._cut(layer)
        alpha = layer.alpha[inner]
        self.rgb[outer] += (layer.rgb[inner] - self.rgb[outer]) * alpha[:, :, None]
        self.owner[outer][alpha > 0.5] = -1
        self.owner[outer][layer.person[inner] > 0.5] = owner

    def cover(self, canvas: Canvas) -> None:
        """Put a thing in front of what is there."""
        self.rgb += (canvas.rgb - self.rgb) * canvas.alpha[:, :, None]
        self.owner[canvas.alpha > 0.5] = -1


def _choose_camera(rng: np.random.Generator, plan: PicturePlan) -> tuple[float, float, float]:
    """Return the horizon's row, the camera's height in body heights and the nearest person's height in pixels."""
    low, high = (130.0, 450.0) if plan.persons < 4 else (110.0, 330.0)
    nearest = float(np.exp(rng.uniform(np.log(low), np.log(high))))
    if plan.persons <= 1 and not plan.crowd and rng.random() < 0.6:
        nearest = float(rng.uniform(0.5, 0.9)) * min(500, plan.height_px)
    nearest = min(nearest, 450.0)
    horizon = plan.height_px * float(rng.uniform(0.2, 0.42))
    foot = plan.height_px * float(rng.uniform(0.8, 0.97))
    if rng.random() < 0.22 and nearest > 200 and not plan.crowd:
        foot = plan.height_px + nearest * float(rng.uniform(0.08, 0.4))
    foot = max(foot, nearest * float(rng.uniform(0.98, 1.06)) if rng.random() < 0.9 else 0.85 * nearest)
    return horizon, float(np.clip((foot - horizon) / nearest, 0.3, 2.2)), nearest


def _places(rng: np.random.Generator, plan: PicturePlan, nearest: float) -> list[tuple[float, float]]:
    """Return (x, height in pixels) of every person: side by side with some overlap, or alone."""
    count = plan.persons
    if count == 0:
        return []
    heights = nearest * np.concatenate([[1.0], np.exp(-np.abs(rng.normal(0, 0.3, count - 1)))])
    heights = np.clip(heights, 40, 450)
    room = plan.width_px * rng.uniform(0.55, 1.0) if count > 1 else plan.width_px
    start = (plan.width_px - room) * rng.uniform(0, 1)
    slots = start + room * (np.arange(count) + 0.5 + rng.uniform(-0.3, 0.3, count)) / count
    if count > 1 and rng.random() < 0.3:
        slots[1] = slots[0] + heights.min() * rng.uniform(0.18, 0.32) * (1 if rng.random() < 0.5 else -1)
    edge = rng.random(count) < 0.07
    slots = np.where(edge, rng.choice([0.02, 0.98], count) * plan.width_px, slots)
    slots = np.clip(slots, 0.01 * plan.width_px, 0.99 * plan.width_px)
    return [(float(x), float(h)) for x, h in zip(rng.permutation(slots), heights, strict=True)]


def _make_figure(rng: np.random.Generator, light: Light, ground: Ground, plan: PicturePlan, x: float, size: float,
                 poses: Sequence[str]) -> _Figure:  # fmt: skip
    shape = random_shape(rng)
    outfit = random_outfit(rng, curvy=shape.bust > 0)
    yaw = random_yaw_deg(rng)
    pitch = float(np.clip(11 * ground.camera_heights - 3 + rng.normal(0, 2), -2, 22))
    body = pose_body(rng, shape, POSES[poses[int(rng.integers(len(poses)))]], yaw_deg=yaw, pitch_deg=pitch)
    scale = float(np.clip(size * shape.height_m / _ADULT_M, 34, 450))
    foot = x, ground.foot_y(size) + float(rng.uniform(-0.02, 0.02)) * size
    layer = render_figure(body, outfit, light, scale_px=scale, foot_xy=foot, picture_wh=(plan.width_px, plan.height_px))
    return _Figure(body=body, layer=layer, scale_px=scale, foot_xy=foot, yaw_deg=yaw)


def _paint_crowd(rng: np.random.Generator, stage: _Stage, light: Light, ground: Ground, plan: PicturePlan,
                 size: float, owner: int) -> None:  # fmt: skip
    """Paint a far group of small figures that all belong to one owner."""
    middle, half = plan.width_px * rng.uniform(0.3, 0.7), size * rng.uniform(1.3, 2.6)
    count = int(rng.integers(9, 15))
    for depth in np.sort(rng.uniform(0.85, 1.15, count)):
        x = float(np.clip(middle + half * rng.uniform(-1, 1), 4, plan.width_px - 4))
        figure = _make_figure(rng, light, ground, plan, x, size * float(depth), _UPRIGHT)
        stage.darken(figure.layer)
        stage.paste(figure.layer, owner)


def _paint_occluder(rng: np.random.Generator, stage: _Stage, place: str, figure: _Figure, light: Light) -> None:
    """Paint a thing in front of one person, hiding a part of it."""
    height, width = stage.shape
    canvas = Canvas(rng, width, height)
    painters = OCCLUDERS[place]
    x = figure.foot_xy[0] + figure.scale_px * float(rng.uniform(-0.22, 0.22))
    y = figure.foot_xy[1] + figure.scale_px * float(rng.uniform(0.02, 0.12))
    unit = figure.scale_px / figure.body.shape.height_m
    painters[int(rng.integers(len(painters)))](canvas, x, y, unit * float(rng.uniform(0.85, 1.15)))
    bright = np.float32(0.62 + 0.3 * float(light.key.mean()))
    canvas.rgb *= bright
    stage.rgb *= 1 - 0.35 * _soft_spot(width, height, x, y, 0.45 * unit)[:, :, None]
    stage.cover(canvas)


def _soft_spot(width: int, height: int, x: float, y: float, radius: float) -> Array:
    """Return (h, w) a soft flat ellipse: the shade under a thing."""
    across = (np.arange(width, dtype=np.float32)[None, :] - np.float32(x)) / np.float32(radius)
    down = (np.arange(height, dtype=np.float32)[:, None] - np.float32(y)) / np.float32(0.25 * radius)
    return np.asarray(np.exp(-(across * across) - down * down), np.float32)


def _is_seen(name: str, figure: _Figure, depth: float, owned: bool) -> bool:
    """Return whether a keypoint is on the visible surface and not behind the person's own body."""
    if not owned:
        return False
    reach = _REACH.get(name.split("_")[-1], _FACE_REACH)
    behind = depth - float(figure.body.joints[name][2])
    return behind < reach * max(1.0, figure.body.shape.girth) + 1.5 / figure.scale_px


def _keypoints(rng: np.random.Generator, figure: _Figure, index: int, owner: NDArray[np.int16]) -> NDArray[np.int64]:
    """Return (17, 3) x, y, v as an annotator would label them."""
    height, width = owner.shape
    points = np.zeros((COCO_PERSON.keypoint_count, 3), np.int64)
    chances = rng.random((COCO_PERSON.keypoint_count, 2))
    if figure.scale_px < _TINY_PX or (figure.scale_px < 44 and rng.random() < 0.25):
        return points
    for number, name in enumerate(COCO_PERSON.names):
        place = figure.body.joints[name] - figure.body.ground
        x = round(float(figure.foot_xy[0] + figure.scale_px * place[0]))
        y = round(float(figure.foot_xy[1] - figure.scale_px * place[1]))
        if not (0 <= x < width and 0 <= y < height):
            continue
        if name in _FACE_NORMALS:
            normal = figure.body.frames["head"] @ np.asarray(_FACE_NORMALS[name])
            if normal[2] < -0.22 or (name != "nose" and figure.scale_px < _SMALL_PX and chances[number, 0] < 0.6):
                continue
        layer = figure.layer
        row, column = y - layer.top_px, x - layer.left_px
        inside = 0 <= row < layer.alpha.shape[0] and 0 <= column < layer.alpha.shape[1]
        owned = inside and bool(owner[y, x] == index)
        seen = inside and _is_seen(name, figure, float(layer.depth[row, column]), owned)
        if seen or owned or chances[number, 1] < 0.85:
            points[number] = x, y, 2 if seen else 1
    return points


def _paint_people(
    rng: np.random.Generator, stage: _Stage, place: str, figures: Sequence[_Figure], light: Light
) -> None:
    """Paint the persons, the far ones first, and things in front of some of them."""
    for figure in figures:
        stage.darken(figure.layer)
    for index, figure in enumerate(figures):
        stage.paste(figure.layer, index)
        if rng.random() < 0.16:
            _paint_occluder(rng, stage, place, figure, light)


def draw_scene(plan: PicturePlan, seed: int) -> Scene:
    """Draw one picture; everything random comes from the seed and the picture's number."""
    rng = np.random.default_rng([seed, plan.image_id])
    horizon, camera, nearest = _choose_camera(rng, plan)
    places = sorted(_places(rng, plan, nearest), key=lambda spot: spot[1])
    if plan.persons and rng.random() < 0.1:
        places.insert(0, (plan.width_px * float(rng.uniform(0.05, 0.95)), float(rng.uniform(24, 34))))
    crowd_size = float(rng.uniform(34, 56))
    farthest = min((size for _, size in places), default=0.5 * plan.height_px)
    farthest = min(farthest, 0.8 * crowd_size) if plan.crowd else farthest
    ground = Ground(horizon_px=horizon, camera_heights=camera, back_px=horizon + camera * farthest * 0.97)
    backdrop = paint_backdrop(rng, ground, plan.width_px, plan.height_px)
    stage = _Stage(np.ascontiguousarray(backdrop.rgb))
    poses = tuple(POSES) + _UPRIGHT
    figures = [_make_figure(rng, backdrop.light, ground, plan, x, size, poses) for x, size in places]
    if plan.crowd:
        _paint_crowd(rng, stage, backdrop.light, ground, plan, crowd_size, len(figures))
    _paint_people(rng, stage, backdrop.place, figures, backdrop.light)
    people = [
        VisiblePerson(mask=stage.owner == index, keypoints=_keypoints(rng, figure, index, stage.owner), crowd=False,
                      facing_front=abs(figure.yaw_deg) < 40)
        for index, figure in enumerate(figures)
    ]  # fmt: skip
    if plan.crowd:
        nothing, mask = np.zeros((COCO_PERSON.keypoint_count, 3), np.int64), stage.owner == len(figures)
        people.append(VisiblePerson(mask=mask, keypoints=nothing, crowd=True, facing_front=False))
    return Scene(pixels=develop(rng, stage.rgb), people=tuple(people))
