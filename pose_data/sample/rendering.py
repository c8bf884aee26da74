"""Shaded figures as layers, and the few pixel operations that need OpenCV: blur, resize, JPEG."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_data.sample.figure import Body
from pose_data.sample.materials import PAINTERS, Points
from pose_data.sample.surfaces import Part, Surface, cast_parts
from pose_data.sample.wardrobe import Outfit, build_parts

__all__ = ["Layer", "Light", "blur", "encode_jpeg", "render_figure", "resize", "use_one_thread"]

Array = NDArray[np.float32]

_SHADOW_CELL = 0.009


@dataclass(frozen=True, slots=True, kw_only=True)
class Light:
    """One picture's light: ``direction`` (3,) towards it in the camera frame; linear colours (3,)."""

    direction: NDArray[np.float64]
    key: Array
    sky: Array
    bounce: Array
    ground_shadow: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A drawn figure, a window whose pixel (0, 0) is the picture's pixel ``(left_px, top_px)``.

    ``rgb`` (h, w, 3): display values 0 to 1; ``alpha`` (h, w); ``person`` (h, w): the part of alpha that is the
    person and not the seat; ``depth`` (h, w): surface depth in body heights, large negative where empty;
    ``shadow`` (h, w): how much darker the figure makes what is behind it.
    """

    rgb: Array
    alpha: Array
    person: Array
    depth: Array
    shadow: Array
    left_px: int
    top_px: int


def blur(values: Array, sigma_px: float) -> Array:
    """Return values (h, w) or (h, w, 3) blurred by a Gaussian; unchanged below a tenth of a pixel."""
    if sigma_px < 0.1:
        return values
    size = 2 * max(1, round(2.5 * sigma_px)) + 1
    return np.asarray(cv2.GaussianBlur(values, (size, size), sigma_px), np.float32)


def resize(values: Array, width: int, height: int, *, area: bool = False) -> Array:
    """Return values (h, w) or (h, w, 3) at another size: cubic, or the mean over each new pixel with ``area``."""
    how = cv2.INTER_AREA if area else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(values, (width, height), interpolation=how), np.float32)


def encode_jpeg(pixels: NDArray[np.uint8], quality: int) -> bytes:
    """Return RGB pixels (h, w, 3) as a baseline JPEG with 4:2:0 colour."""
    done, data = cv2.imencode(".jpg", pixels[:, :, ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError("this OpenCV cannot write JPEG")
    return bytes(data)


def use_one_thread() -> None:
    """Keep OpenCV to one thread in this process, for workers that share a machine's cores."""
    cv2.setNumThreads(1)


def _points_of(surface: Surface, origin_xy: tuple[float, float], scale: float) -> tuple[NDArray[np.intp], Array]:
    """Return flat indices of covered pixels and their camera-frame places (3, n)."""
    flat = np.flatnonzero(surface.part.ravel() >= 0)
    rows, columns = np.divmod(flat, surface.part.shape[1])
    x = (columns - origin_xy[0]) / scale
    y = (origin_xy[1] - rows) / scale
    return flat, np.stack([x, y, surface.depth.ravel()[flat]]).astype(np.float32)


def _albedo(parts: Sequence[Part], which: NDArray[np.int16], place: Array, outfit: Outfit, head: float,
            pixel: float) -> tuple[Array, Array]:  # fmt: skip
    """Return linear colours (n, 3) and gloss (n,) of surface points."""
    frames = np.stack([part.frame for part in parts]).astype(np.float32)
    origins = np.stack([part.origin for part in parts]).astype(np.float32)
    starts = np.array([(part.start - part.origin) @ part.frame[:, 1] for part in parts], np.float32)
    spans = np.array([(part.end - part.start) @ part.frame[:, 1] or 1.0 for part in parts], np.float32)
    sides = np.array([part.side for part in parts], np.float32)
    names = [part.material for part in parts]
    colour = np.zeros((which.size, 3), np.float32)
    gloss = np.zeros(which.size, np.float32)
    for name in dict.fromkeys(names):
        member = np.array([other == name for other in names])[which]
        if not member.any():
            continue
        index = which[member]
        offset = place[:, member] - origins[index].T
        f = frames[index]
        x, y, z = (
            f[:, 0, axis] * offset[0] + f[:, 1, axis] * offset[1] + f[:, 2, axis] * offset[2] for axis in range(3)
        )
        points = Points(x=x, y=y, z=z, t=(y - starts[index]) / spans[index], side=sides[index], head=head, pixel=pixel)
        painter, shine = PAINTERS[name]
        colour[member] = painter(points, outfit)
        gloss[member] = shine
    return colour, gloss


def _occlusion(surface: Surface, scale: float) -> Array:
    """Return ambient light per pixel, less where nearer surfaces surround it; from blurred depth."""
    covered = (surface.part >= 0).astype(np.float32)
    near = np.where(covered > 0, surface.depth, 0).astype(np.float32)
    total = np.zeros_like(near)
    for radius in (0.02, 0.06):
        size = 2 * max(1, round(radius * scale)) + 1
        mean = cv2.blur(near, (size, size)) / np.maximum(cv2.blur(covered, (size, size)), 1e-3)
        total += np.clip((mean - surface.depth) / (1.6 * radius), 0, 1)
    return np.asarray(1 - 0.36 * total, np.float32)


def _cast_shadow(place: Array, light: Light) -> Array:
    """Return 1 where the light reaches a surface point and 0 where another seen point is in its way."""
    axis = light.direction
    across = np.cross(axis, np.eye(3)[int(np.argmin(np.abs(axis)))])
    across /= np.linalg.norm(across)
    over = np.cross(axis, across)
    u, v, w = (place[0] * np.float32(d[0]) + place[1] * np.float32(d[1]) + place[2] * np.float32(d[2])
               for d in (across, over, axis))  # fmt: skip
    columns = ((u - u.min()) / _SHADOW_CELL).astype(np.int32) + 1
    rows = ((v - v.min()) / _SHADOW_CELL).astype(np.int32) + 1
    grid = np.full((int(rows.max()) + 2, int(columns.max()) + 2), -9.0, np.float32)
    np.maximum.at(grid.ravel(), rows * grid.shape[1] + columns, w)
    grid = np.asarray(cv2.morphologyEx(grid, cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8)), np.float32)
    return np.asarray(np.clip(1 - (grid[rows, columns] - w - 0.036) / 0.03, 0, 1), np.float32)


def _spread(values: Array, flat: NDArray[np.intp], shape: tuple[int, ...], sigma_px: float) -> Array:
    """Return values (n,) of covered pixels, blurred among the covered pixels only."""
    both = np.zeros((shape[0] * shape[1], 2), np.float32)
    both[flat, 0], both[flat, 1] = values, 1
    soft = cv2.boxFilter(both.reshape(*shape, 2), -1, (2 * round(1.5 * sigma_px) + 1,) * 2).reshape(-1, 2)[flat]
    return np.asarray(soft[:, 0] / np.maximum(soft[:, 1], 1e-3), np.float32)


def _shade(albedo: Array, gloss: Array, normal: Array, ambient: Array, lit: Array, up: NDArray[np.float64],
           light: Light) -> Array:  # fmt: skip
    """Return display colours (n, 3): a key light, a sky above, a bounce from below, a highlight."""
    d, half = light.direction, light.direction + np.array([0.0, 0.0, 1.0])
    half = half / np.linalg.norm(half)
    facing = normal[0] * np.float32(d[0]) + normal[1] * np.float32(d[1]) + normal[2] * np.float32(d[2])
    level = 0.5 + 0.5 * (normal[0] * np.float32(up[0]) + normal[1] * np.float32(up[1]) + normal[2] * np.float32(up[2]))
    shine = normal[0] * np.float32(half[0]) + normal[1] * np.float32(half[1]) + normal[2] * np.float32(half[2])
    direct = np.clip((facing + 0.08) / 1.08, 0, 1) * lit
    glow = (gloss * np.clip(shine, 0, 1) ** 24 * lit)[:, None]
    hemisphere = light.bounce + (light.sky - light.bounce) * level[:, None]
    colour = albedo * (light.key * direct[:, None] + hemisphere * ambient[:, None]) + light.key * glow * 0.6
    # A soft shoulder keeps bright cloth from clipping.
    colour = colour * (1 + colour * 0.1) / (1 + colour * 0.35)
    return np.asarray(np.clip(colour, 0, 1) ** np.float32(1 / 2.2), np.float32)


def _ground_shadow(place: Array, body: Body, light: Light, origin_xy: tuple[float, float], scale: float,
                   shape: tuple[int, int]) -> Array:  # fmt: skip
    """Return (h, w) how much of the light the figure keeps from the ground: its points, projected along the light."""
    up, d = body.up.astype(np.float32), light.direction.astype(np.float32)
    rise = place[0] * up[0] + place[1] * up[1] + place[2] * up[2] - np.float32(body.ground @ body.up)
    travel = rise / max(0.25, float(d @ up))
    columns = np.rint(origin_xy[0] + scale * (place[0] - travel * d[0])).astype(np.int64)
    rows = np.rint(origin_xy[1] - scale * (place[1] - travel * d[1])).astype(np.int64)
    inside = (columns >= 0) & (columns < shape[1]) & (rows >= 0) & (rows < shape[0])
    shadow = np.zeros(shape, np.float32)
    shadow[rows[inside], columns[inside]] = 1
    soft = max(1.0, 0.012 * scale)
    shadow = np.clip(blur(shadow, soft) * 1.6, 0, 1)
    near = np.zeros(shape, np.float32)
    low = inside & (rise < 0.035)
    near[np.rint(origin_xy[1] - scale * (place[1][low] - rise[low])).astype(np.int64).clip(0, shape[0] - 1),
         np.rint(origin_xy[0] + scale * place[0][low]).astype(np.int64).clip(0, shape[1] - 1)] = 1  # fmt: skip
    contact = np.clip(blur(near, soft) * 2.2, 0, 1)
    return np.asarray(np.maximum(shadow * light.ground_shadow, 0.55 * contact), np.float32)


def _extent(parts: Sequence[Part], body: Body, light: Light) -> tuple[float, float, float, float]:
    """Return left, right, bottom, top of the figure and its shadow in the camera frame."""
    ends = np.array([end for part in parts for end in (part.start, part.end)])
    reach = max(max(part.start_radius, part.end_radius) * max(part.squash) for part in parts)
    rise = (ends - body.ground) @ body.up
    fallen = ends - (rise / max(0.25, float(light.direction @ body.up)))[:, None] * light.direction
    low = np.minimum(ends.min(axis=0), fallen.min(axis=0)) - reach
    high = np.maximum(ends.max(axis=0), fallen.max(axis=0)) + reach
    return float(low[0]), float(high[0]), float(low[1]), float(high[1])


def _window_px(bounds: tuple[float, float, float, float], foot_xy: tuple[float, float], body: Body, scale_px: float,
               picture_wh: tuple[int, int]) -> tuple[int, int, int, int]:  # fmt: skip
    """Return left, top, width, height (even numbers of pixels) of the part of the figure near the picture."""
    zero_x, zero_y = foot_xy[0] - scale_px * body.ground[0], foot_xy[1] + scale_px * body.ground[1]
    left = max(-4, int(np.floor(zero_x + scale_px * bounds[0])) - 2)
    right = min(picture_wh[0] + 4, int(np.ceil(zero_x + scale_px * bounds[1])) + 2)
    top = max(-4, int(np.floor(zero_y - scale_px * bounds[3])) - 2)
    bottom = min(picture_wh[1] + 4, int(np.ceil(zero_y - scale_px * bounds[2])) + 2)
    return left, top, max(2, (right - left + 1) // 2 * 2), max(2, (bottom - top + 1) // 2 * 2)


def render_figure(
    body: Body, outfit: Outfit, light: Light, *, scale_px: float, foot_xy: tuple[float, float],
    picture_wh: tuple[int, int],
) -> Layer:  # fmt: skip
    """Draw one person, ``scale_px`` pixels to the body height, standing at ``foot_xy`` in the picture.

    The figure is drawn larger by 1.5 to 3 and averaged down. Only what lies in the picture is drawn.
    """
    parts = build_parts(body, outfit)
    left, top, width, height = _window_px(_extent(parts, body, light), foot_xy, body, scale_px, picture_wh)
    factor = 1.5 if scale_px > 190 else 2.0 if scale_px > 90 else 3.0
    big_w, big_h = round(width * factor), round(height * factor)
    zero = foot_xy[0] - scale_px * body.ground[0] - left, foot_xy[1] + scale_px * body.ground[1] - top
    origin = (zero[0] + 0.5) * factor - 0.5, (zero[1] + 0.5) * factor - 0.5
    scale = scale_px * factor
    surface = cast_parts(parts, scale=scale, origin_xy=origin, width=big_w, height=big_h)
    flat, place = _points_of(surface, origin, scale)
    rgba = np.zeros((big_h * big_w, 4), np.float32)
    person = np.zeros(big_h * big_w, np.float32)
    shadow = np.zeros((big_h, big_w), np.float32)
    if flat.size:
        which = surface.part.ravel()[flat]
        albedo, gloss = _albedo(parts, which, place, outfit, body.shape.head, 1 / scale)
        normal = surface.normal.reshape(3, -1)[:, flat]
        normal = normal / (np.sqrt((normal * normal).sum(axis=0)) + np.float32(1e-6))
        ambient = _occlusion(surface, scale).ravel()[flat]
        lit = _spread(_cast_shadow(place, light), flat, surface.depth.shape, 0.006 * scale)
        rgba[flat, :3] = _shade(albedo, gloss, normal, ambient, lit, body.up, light)
        rgba[flat, 3] = 1
        person[flat] = np.array([part.is_person for part in parts], np.float32)[which]
        shadow = _ground_shadow(place, body, light, origin, scale, (big_h, big_w))
    small = resize(rgba.reshape(big_h, big_w, 4), width, height, area=True)
    alpha = small[:, :, 3]
    return Layer(
        rgb=np.asarray(small[:, :, :3] / np.maximum(alpha, 1e-3)[:, :, None], np.float32),
        alpha=alpha,
        person=resize(person.reshape(big_h, big_w), width, height, area=True),
        depth=np.asarray(cv2.resize(surface.depth, (width, height), interpolation=cv2.INTER_NEAREST), np.float32),
        shadow=resize(shadow, width, height, area=True),
        left_px=left,
        top_px=top,
    )
