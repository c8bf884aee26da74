"""Depth and normals of round cones seen along parallel rays: the surface part of the figure renderer. NumPy only.

Every body part is a *round cone*: the sphere of radius ``r(t)`` swept along the straight line ``c(t)``,
``0 <= t <= 1``, both linear in ``t``, in a space that a linear map ``shape`` may squash (a flat torso, a foot).
The camera frame has x to the right, y up and z towards the viewer; units are body heights.

The front surface above an image point is the largest ``z(t) = c_z(t) + sqrt(q(t))`` with
``q(t) = r(t)**2 - |p - c_xy(t)|**2 = A t**2 + B t + C``. Setting its derivative to zero with ``u = 2 A t + B`` and
``D = B**2 - 4 A C`` gives ``u = -d_z sqrt(D / (d_z**2 - A))``, so that one evaluation per pixel is enough.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Part", "Surface", "cast_parts"]

Array = NDArray[np.float32]
Matrix = NDArray[np.float64]

_BLEND_WIDTH = 0.022
_FAR = np.float32(-9.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Part:
    """One round cone of a figure and what it is made of.

    ``start``, ``end``: (3,) in the camera frame; ``frame``: (3, 3), its columns are the axes of the part's own
    frame (x: the person's left, y: see ``material``, z: front), in which ``squash`` (3,) scales the cross-section;
    ``origin``: (3,), where that frame's zero lies. ``blend``: bits; parts that share one flow into each other.
    ``open_start``, ``open_end``: the cone ends there without its sphere, like a sleeve.
    ``keep_above``: (z, y) pairs of a line in the own frame; the surface exists only above it (hair).
    """

    material: str
    start: Matrix
    end: Matrix
    start_radius: float
    end_radius: float
    frame: Matrix
    origin: Matrix
    squash: tuple[float, float, float] = (1.0, 1.0, 1.0)
    side: int = 0
    blend: int = 0
    open_start: bool = False
    open_end: bool = False
    keep_above: tuple[tuple[float, float], ...] = ()
    is_person: bool = True

    @property
    def length(self) -> float:
        """Return the distance from start to end."""
        return float(np.linalg.norm(self.end - self.start))


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """What the camera sees of some parts: ``depth`` (h, w), ``normal`` (3, h, w), ``part`` (h, w) index or -1."""

    depth: Array
    normal: Array
    part: NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ray:
    """A part in the space where it is round and the view direction is the third axis."""

    to_round: Matrix
    start: Matrix
    end: Matrix
    half_width: float
    half_height: float


def _aligned(part: Part) -> _Ray:
    shape = np.diag(1.0 / np.asarray(part.squash)) @ part.frame.T
    view = shape[:, 2] / np.linalg.norm(shape[:, 2])
    helper = np.eye(3)[int(np.argmin(np.abs(view)))]
    first = np.cross(helper, view)
    first /= np.linalg.norm(first)
    to_round = np.stack([first, np.cross(view, first), view]) @ shape
    back = part.frame @ np.diag(np.asarray(part.squash))
    reach = np.linalg.norm(back, axis=1)
    return _Ray(
        to_round=to_round,
        start=to_round @ part.start,
        end=to_round @ part.end,
        half_width=float(reach[0]),
        half_height=float(reach[1]),
    )


def _window(part: Part, ray: _Ray, scale: float, origin_xy: tuple[float, float], shape: tuple[int, int]) -> list[int]:
    radii = np.array([part.start_radius, part.end_radius])
    xs = np.array([part.start[0], part.end[0]])
    ys = np.array([part.start[1], part.end[1]])
    left = origin_xy[0] + scale * float(np.min(xs - radii * ray.half_width))
    right = origin_xy[0] + scale * float(np.max(xs + radii * ray.half_width))
    top = origin_xy[1] - scale * float(np.max(ys + radii * ray.half_height))
    bottom = origin_xy[1] - scale * float(np.min(ys - radii * ray.half_height))
    return [
        max(0, int(np.floor(left))),
        min(shape[1], int(np.ceil(right)) + 1),
        max(0, int(np.floor(top))),
        min(shape[0], int(np.ceil(bottom)) + 1),
    ]


def _end_on(part: Part, step: Matrix, a: float, b: Array, c: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return what :func:`_parameter` does for a cone whose one end lies inside the other in the picture.

    The front is then at an end or at the stationary point, here in the form of its root that does not cancel.
    """
    best_z = np.full_like(b, -np.inf)
    best_t, best_q = np.zeros_like(b), np.full_like(b, -1)
    rise = float(step[2])
    candidates = [np.full_like(b, end) for end, is_open in ((0, part.open_start), (1, part.open_end)) if not is_open]
    spare = rise * rise - a
    if spare > 1e-12:
        discriminant = b * b - np.float32(4 * a) * c
        u = np.sqrt(np.maximum(discriminant, 0)) * np.float32(-rise / np.sqrt(spare))
        total = u + b
        same = (u * b > 0) & (discriminant >= 0)
        stable = (b * b - c * np.float32(4 * rise * rise)) / np.where(same, total * np.float32(2 * spare), 1)
        plain = (u - b) / np.float32(2 * max(a, 1e-9))
        free = np.where(same, stable, plain)
        candidates.append(np.where((discriminant >= 0) & (free > 0) & (free < 1), free, np.nan).astype(np.float32))
    for t in candidates:
        q = (np.float32(a) * t + b) * t + c
        z = np.float32(rise) * t + np.sqrt(np.maximum(q, 0))
        better = (q >= 0) & (z > best_z)
        best_z, best_t, best_q = np.where(better, z, best_z), np.where(better, t, best_t), np.where(better, q, best_q)
    return best_t, best_q, best_q >= 0


def _parameter(part: Part, ray: _Ray, dx: Array, dy: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return t, q(t) and where the ray meets the cone, for offsets from the start in the round space."""
    step = ray.end - ray.start
    growth = part.end_radius - part.start_radius
    a = growth * growth - float(step[0] ** 2 + step[1] ** 2)
    b = np.float32(2 * part.start_radius * growth) + dx * np.float32(2 * step[0]) + dy * np.float32(2 * step[1])
    c = np.float32(part.start_radius**2) - dx * dx - dy * dy
    if a > -1e-9:
        return _end_on(part, step, a, b, c)
    discriminant = b * b - np.float32(4 * a) * c
    u = np.sqrt(np.maximum(discriminant, 0)) * np.float32(-step[2] / np.sqrt(step[2] ** 2 - a))
    free = (u - b) * np.float32(0.5 / a)
    t = np.clip(free, 0, 1)
    q = (np.float32(a) * t + b) * t + c
    hit = (discriminant >= 0) & (q >= 0)
    if part.open_end:
        hit &= free <= 1
    if part.open_start:
        hit &= free >= 0
    return t, q, hit


def _kept(part: Part, x: Array, y: Array, z: Array) -> NDArray[np.bool_]:
    """Return where a surface with a border line lies above it, in the part's own frame."""
    px, py, pz = x - part.origin[0], y - part.origin[1], z - part.origin[2]
    f = part.frame
    side = px * f[0, 0] + py * f[1, 0] + pz * f[2, 0]
    up = px * f[0, 1] + py * f[1, 1] + pz * f[2, 1]
    front = px * f[0, 2] + py * f[1, 2] + pz * f[2, 2]
    line = np.asarray(part.keep_above)
    ragged = 0.0035 * np.sin(side * 420.0 + 5.0 * front) + 0.0025 * np.sin(side * 951.0 + 1.7)
    kept: NDArray[np.bool_] = up > np.interp(front, line[:, 0], line[:, 1]) + ragged
    return kept


def _merge(surface: Surface, bits: NDArray[np.uint16], where: tuple[slice, slice], index: int, part: Part,
           z: Array, normal: Array) -> None:  # fmt: skip
    """Put one part's depth (``_FAR`` where it is not) into the buffers; parts that share a bit are smoothed."""
    old_z = surface.depth[where]
    old_normal = surface.normal[:, where[0], where[1]]
    in_front = z > old_z
    share = (bits[where] & part.blend) != 0
    if part.blend and bool(share.any()):
        weight = np.where(share, np.clip(0.5 + 0.5 * (z - old_z) / _BLEND_WIDTH, 0, 1), in_front).astype(np.float32)
        mixed = old_z + (z - old_z) * weight + np.float32(_BLEND_WIDTH) * weight * (1 - weight)
        old_z[...] = np.where(share, mixed, np.maximum(z, old_z))
        old_normal += (normal - old_normal) * weight
    else:
        np.copyto(old_z, z, where=in_front)
        np.copyto(old_normal, normal, where=in_front)
    surface.part[where][in_front] = index
    bits[where][in_front] = part.blend


def _cast(part: Part, index: int, surface: Surface, bits: NDArray[np.uint16], scale: float,
          origin_xy: tuple[float, float]) -> None:  # fmt: skip
    ray = _aligned(part)
    x0, x1, y0, y1 = _window(part, ray, scale, origin_xy, surface.depth.shape)
    if x1 <= x0 or y1 <= y0:
        return
    x = ((np.arange(x0, x1) - origin_xy[0]) / scale).astype(np.float32)[None, :]
    y = ((origin_xy[1] - np.arange(y0, y1)) / scale).astype(np.float32)[:, None]
    m = ray.to_round.astype(np.float32)
    dx = x * m[0, 0] + y * m[0, 1] - np.float32(ray.start[0])
    dy = x * m[1, 0] + y * m[1, 1] - np.float32(ray.start[1])
    t, q, hit = _parameter(part, ray, dx, dy)
    root = np.sqrt(np.maximum(q, 0))
    step = (ray.end - ray.start).astype(np.float32)
    z_round = np.float32(ray.start[2]) + step[2] * t + root
    z = (z_round - x * m[2, 0] - y * m[2, 1]) / m[2, 2]
    if part.keep_above:
        hit &= _kept(part, np.broadcast_to(x, z.shape), np.broadcast_to(y, z.shape), z)
    if not hit.any():
        return
    nx, ny = dx - step[0] * t, dy - step[1] * t
    normal = np.stack([nx * m[0, axis] + ny * m[1, axis] + root * m[2, axis] for axis in range(3)])
    normal /= np.sqrt((normal * normal).sum(axis=0)) + np.float32(1e-12)
    _merge(surface, bits, (slice(y0, y1), slice(x0, x1)), index, part, np.where(hit, z, _FAR), normal)


def cast_parts(
    parts: Sequence[Part], *, scale: float, origin_xy: tuple[float, float], width: int, height: int
) -> Surface:
    """Return what a camera looking along -z sees of the parts.

    ``scale``: pixels per unit; ``origin_xy``: the pixel of the camera frame's (0, 0); pixel centres are integers.
    """
    surface = Surface(
        depth=np.full((height, width), _FAR, np.float32),
        normal=np.zeros((3, height, width), np.float32),
        part=np.full((height, width), -1, np.int16),
    )
    bits = np.zeros((height, width), np.uint16)
    for index, part in enumerate(parts):
        _cast(part, index, surface, bits, scale, origin_xy)
    return surface
