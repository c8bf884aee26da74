"""Points from confidence maps: argmax, quarter offset, DARK, UDP; and the sharp inverse of the encoders.

Maps are (N, K, h, w), points (N, K, 2) float64 in map cells (frame ``map``), scores (N, K) the maps'
maxima. The ``decode_*`` functions are what the published systems apply to a network's output; an empty
map (maximum <= 0) gives (0, 0), a map without curvature its argmax, and never NaN.

:func:`recover_keypoints` is another thing: it undoes :mod:`pose_data.targets.heatmap` on a clean
stored map, as sharply as the stored numbers allow, for checking a store.
"""

from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import DTypeLike, NDArray

from pose_data.errors import UsageError

__all__ = [
    "blur_last_axis",
    "blur_maps",
    "blur_weights",
    "decode_argmax",
    "decode_bound",
    "decode_bounds",
    "decode_dark",
    "decode_quarter",
    "decode_udp",
    "recover_keypoints",
]

_Float = NDArray[np.float64]
_Maps = NDArray[np.floating[Any]]
_AnyMaps = NDArray[Any]
_Index = NDArray[np.intp]
_Decoded = tuple[_Float, NDArray[Any]]

_FIT_STEPS = 8
_KEYPOINT_SLACK = 1e-3
_STORED_BOUNDS: Mapping[str, float] = MappingProxyType({"uint8": 0.02, "float16": 0.003, "float32": _KEYPOINT_SLACK})
_SAYS_ENOUGH = 0.14
"""Least brightness of a map's brightest cell from which a centre outside the map is told (not quite two sigma)."""
_SMALL_WEIGHTS: Mapping[int, tuple[float, ...]] = MappingProxyType(
    {
        3: (0.25, 0.5, 0.25),
        5: (0.0625, 0.25, 0.375, 0.25, 0.0625),
        7: (0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125),
    }
)
"""OpenCV's fixed Gaussian kernels (getGaussianKernel, modules/imgproc), which no formula gives."""


def decode_argmax(maps: _AnyMaps, *, threshold: float = 0.0) -> _Decoded:
    """Return the cell of each map's maximum (the first one, in row order) and the maximum.

    A maximum below ``threshold`` counts as no keypoint: (0, 0) with score 0, as from an empty map; 0 keeps all.
    borarak/human-pose-estimation takes 0.85.
    """
    cell, score = _peaks(maps)
    if not threshold:
        return cell, score
    there = score >= threshold
    return np.where(there[..., None], cell, 0.0), np.where(there, score, score.dtype.type(0))


def decode_quarter(maps: _AnyMaps) -> _Decoded:
    """Return the argmax moved a quarter cell toward the larger neighbour, along each axis.

    Not within the two outer cells of the map. Source: microsoft/human-pose-estimation.pytorch,
    lib/core/inference.py.
    """
    cell, score = _peaks(maps)
    at = _Neighbours(maps, cell)
    step = np.stack([np.sign(at(1, 0) - at(-1, 0)), np.sign(at(0, 1) - at(0, -1))], axis=-1)
    inner = _inner(cell, maps, margin=1) & (score > 0)
    return cell + np.where(inner[..., None], 0.25 * step, 0.0), score


def decode_dark(maps: _Maps, *, blur_kernel: int = 11) -> _Decoded:
    """Return the argmax moved to the top of a parabola fitted to the blurred map's logarithm.

    Central differences of step 2 for the curvature; not within the three outer cells of the map.
    Source: Zhang et al., "Distribution-Aware Coordinate Representation", CVPR 2020; ilovepose/DarkPose,
    lib/core/inference.py (blur with zeros outside, scaled back to the old maximum).
    """
    cell, score = _peaks(maps)
    at = _Neighbours(_scaled_to_maximum(blur_maps(maps, kernel=blur_kernel, border="zero"), maps), cell, floor=1e-10)
    dx, dy = 0.5 * (at(1, 0) - at(-1, 0)), 0.5 * (at(0, 1) - at(0, -1))
    dxx = 0.25 * (at(2, 0) - 2.0 * at(0, 0) + at(-2, 0))
    dyy = 0.25 * (at(0, 2) - 2.0 * at(0, 0) + at(0, -2))
    dxy = 0.25 * (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1))
    inner = _inner(cell, maps, margin=2) & (score > 0)
    return cell + np.where(inner[..., None], _newton_step(dx, dy, dxx, dyy, dxy), 0.0), score


def decode_udp(
    maps: _Maps, *, blur_kernel: int | None = None, modulation: Literal["udp", "mmpose"] = "udp"
) -> _Decoded:
    """Return the argmax moved as in :func:`decode_dark`, with differences of step 1, also at the border.

    ``modulation`` is what happens before the logarithm: ``udp`` blurs (kernel 7) with the border mirrored
    and stretches to [0, old maximum] (HuangJunJie2017/UDP-Pose, lib/core/inference.py); ``mmpose`` blurs
    (kernel 11) with zeros outside and scales to the old maximum (mmpose, refine_keypoints_dark_udp).
    """
    cell, score = _peaks(maps)
    if modulation == "udp":
        blurred = blur_maps(maps, kernel=blur_kernel or 7, border="reflect")
        blurred = _scaled_to_maximum(blurred - blurred.min(axis=(2, 3), keepdims=True), maps)
    else:
        blurred = _scaled_to_maximum(blur_maps(maps, kernel=blur_kernel or 11, border="zero"), maps)
    at = _Neighbours(blurred, cell, floor=1e-3)
    here, right, left, below, above = at(0, 0), at(1, 0), at(-1, 0), at(0, 1), at(0, -1)
    dxy = 0.5 * (at(1, 1) - right - below + 2.0 * here - left - above + at(-1, -1))
    step = _newton_step(
        0.5 * (right - left), 0.5 * (below - above), right - 2.0 * here + left, below - 2.0 * here + above, dxy
    )
    return cell + np.where((score > 0)[..., None], step, 0.0), score


def blur_maps(maps: _Maps, *, kernel: int = 11, border: Literal["reflect", "zero"] = "reflect") -> NDArray[np.float32]:
    """Return maps (..., h, w) after a separable Gaussian blur with an odd ``kernel``, float32.

    The weights are those of OpenCV's ``GaussianBlur(map, (kernel, kernel), 0)``: its fixed ones up to 7,
    then sigma is ``0.3 * ((kernel - 1) / 2 - 1) + 0.8``. ``reflect`` mirrors about the outer cells'
    centres (OpenCV's default), ``zero`` takes zeros outside. Raises UsageError for any other kernel than
    3, 5, 7 or an odd one from 11 on (OpenCV's versions differ about 9).
    """
    across = blur_last_axis(maps, kernel=kernel, border=border)
    return np.swapaxes(blur_last_axis(np.swapaxes(across, -1, -2), kernel=kernel, border=border), -1, -2)


def blur_last_axis(
    values: _Maps, *, kernel: int, border: Literal["reflect", "zero"] = "reflect"
) -> NDArray[np.float32]:
    """Return ``values`` (..., n) blurred along the last axis alone; arguments as for :func:`blur_maps`."""
    weights = blur_weights(kernel)
    half = kernel // 2
    widths = [(0, 0)] * (values.ndim - 1) + [(half, half)]
    padded = np.pad(np.asarray(values, dtype=np.float32), widths, mode="reflect" if border == "reflect" else "constant")
    length = values.shape[-1]
    blurred: NDArray[np.float32] = weights[half] * padded[..., half : half + length]
    for away in range(1, half + 1):
        before, after = half - away, half + away
        blurred += weights[after] * (padded[..., before : before + length] + padded[..., after : after + length])
    return blurred


def recover_keypoints(maps: _AnyMaps, *, encoding: str, sigma: float) -> _Float:
    """Return the points (N, K, 2) in map cells that clean encoded maps were drawn about; NaN where a map is empty.

    ``maps`` is (N, K, h, w), uint8 (peak 255) or floating (peak 1), as the encoders of
    :mod:`pose_data.targets.heatmap` make them with this ``sigma``. For ``one-hot`` it is the middle of
    the cell's half-open interval, for ``gaussian`` the rounded centre, and for the others a least-squares
    fit of the known Gaussian to the cells near the peak (linear on the logarithms, then Gauss-Newton on
    the values), also where the centre lies outside the map. :func:`decode_bounds` says how near it comes.

    Raises UsageError for an unknown encoding.
    """
    if encoding not in ("gaussian", "unbiased", "udp", "one-hot"):
        raise UsageError("option-value", f"encoding is {encoding!r}")
    count, joints, height, width = maps.shape
    cell, score = _peaks(maps)
    if encoding == "one-hot":
        found = cell + 0.5
    else:
        side = 2 * int(np.ceil(1.5 * sigma)) + 3
        window_wh = (min(side, width), min(side, height))
        flat = maps.reshape(-1, height, width)
        found = _fit_windows(flat, cell.reshape(-1, 2).astype(np.intp), window_wh, sigma).reshape(count, joints, 2)
        if encoding == "gaussian":
            found = np.rint(found)
    return np.where((score > 0)[..., None], found, np.nan)


def decode_bound(encoding: str, sigma: float, dtype: DTypeLike) -> float:
    """Return how far :func:`recover_keypoints` may be from the keypoint on each axis, in map cells.

    For a visible keypoint inside the map (-0.5 <= x < width - 0.5), stored as ``dtype`` (uint8, float16
    or float32), on a map at least two sigma wide and high; :func:`decode_bounds` covers the others.
    ``gaussian`` and ``one-hot`` keep whole cells only, hence half a cell. The numbers of the others are
    three times the worst of a million measured ones, or more. All leave 0.001 cells for keypoints that
    were kept as float32. ``simcc`` is in bins, for :func:`pose_data.targets.simcc.recover_simcc`.

    Infinite where a map may be empty (sub-cell Gaussians of less than 0.25 cells).
    Raises UsageError for an unknown encoding or type.
    """
    if encoding in ("gaussian", "one-hot", "simcc"):
        return 0.5 + _KEYPOINT_SLACK
    if encoding not in ("unbiased", "udp") or np.dtype(dtype).name not in _STORED_BOUNDS:
        raise UsageError("option-value", f"no bound for encoding {encoding!r} stored as {dtype!r}")
    if sigma < 0.7:  # Too little of the neighbours is stored to tell more than the cell.
        return 0.5 + _KEYPOINT_SLACK if sigma >= 0.25 else np.inf
    return _STORED_BOUNDS[np.dtype(dtype).name]


def decode_bounds(
    xy_map: _Float, *, encoding: str, sigma: float, dtype: DTypeLike, map_width: int, map_height: int
) -> _Float:
    """Return :func:`decode_bound` for each axis of each of the points (N, K, 2), inside the map or not.

    Wider where the rounding toward zero of ``gaussian`` moves a centre below -0.5 by up to 1.5 cells, for
    centres outside the map, of which little is stored, and for maps smaller than two sigma. Infinite
    where the stored map need not say anything, or may even be empty; then :func:`recover_keypoints` may
    give NaN, so compare as ``~(difference > bound)``.
    """
    point = np.asarray(xy_map, dtype=np.float64)
    size = np.array([map_width, map_height], dtype=np.float64)
    bound = np.full(point.shape, decode_bound(encoding, sigma, dtype))
    if encoding == "one-hot":
        bound[~((point >= 0.0) & (point < size)).all(axis=-1)] = np.inf
        return bound
    nearest = np.trunc(point + 0.5)
    over = _cells_outside(nearest if encoding == "gaussian" else point, size)
    brightest = np.exp(-(over * over).sum(axis=-1, keepdims=True) / (2.0 * sigma**2))
    flatness = max(1.0, 2.0 * sigma / size.min()) ** 2
    if encoding == "gaussian":
        bound += np.rint(_STORED_BOUNDS[np.dtype(dtype).name] * flatness)
        bound[point < -0.5] += 1.0
    else:
        outside = (over > 0.5).any(axis=-1, keepdims=True)
        bound *= flatness * np.where(outside, np.inf if sigma < 0.7 else 4.0 / brightest, 1.0)
    unsaid = ~(brightest > _SAYS_ENOUGH) | ~np.isfinite(point).all(axis=-1, keepdims=True)
    if encoding != "unbiased":
        # One column of cells fits a centre on either side of it.
        unsaid |= (_cells_outside(nearest, size) >= max(1.0, np.floor(3.0 * sigma + 1e-6))).any(axis=-1, keepdims=True)
    return np.where(unsaid, np.inf, bound)


def _cells_outside(point: _Float, size: _Float) -> _Float:
    over: _Float = np.maximum(np.maximum(-point, point - size + 1.0), 0.0)
    return over


def _peaks(maps: _AnyMaps) -> _Decoded:
    count, joints, height, width = maps.shape
    flat = maps.reshape(count, joints, height * width)
    first = flat.argmax(axis=2)
    score = np.take_along_axis(flat, first[..., None], axis=2)[..., 0]
    cell = np.stack([first % width, first // width], axis=-1)
    return np.where((score > 0)[..., None], cell, 0).astype(np.float64), score


class _Neighbours:
    """Values of maps (or their logarithms, of at least ``floor``) some cells away from given cells."""

    __slots__ = ("_cell", "_floor", "_maps")

    def __init__(self, maps: _AnyMaps, cell: _Float, *, floor: float | None = None) -> None:
        self._maps, self._cell, self._floor = maps, cell.astype(np.intp), floor

    def __call__(self, dx: int, dy: int) -> _Float:
        count, joints, height, width = self._maps.shape
        x = np.clip(self._cell[..., 0] + dx, 0, width - 1)
        y = np.clip(self._cell[..., 1] + dy, 0, height - 1)
        values: _Float = self._maps[np.arange(count)[:, None], np.arange(joints), y, x].astype(np.float64)
        return values if self._floor is None else np.log(np.clip(values, self._floor, 50.0))


def _inner(cell: _Float, maps: _AnyMaps, *, margin: int) -> NDArray[np.bool_]:
    x, y = cell[..., 0], cell[..., 1]
    inner: NDArray[np.bool_] = (x > 1) & (x < maps.shape[3] - margin) & (y > 1) & (y < maps.shape[2] - margin)
    return inner


def _newton_step(dx: _Float, dy: _Float, dxx: _Float, dyy: _Float, dxy: _Float) -> _Float:
    determinant = dxx * dyy - dxy * dxy
    usable = np.isfinite(determinant) & (np.abs(determinant) > 1e-12)
    divisor = np.where(usable, determinant, 1.0)
    step = np.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], axis=-1) / divisor[..., None]
    return np.where(usable[..., None], step, 0.0)


def _scaled_to_maximum(blurred: NDArray[np.float32], maps: _Maps) -> NDArray[np.float32]:
    after = blurred.max(axis=(2, 3), keepdims=True)
    before = maps.max(axis=(2, 3), keepdims=True)
    scale = np.divide(before, after, out=np.ones_like(after), where=after > 0)
    scaled: NDArray[np.float32] = blurred * scale
    return scaled


@lru_cache(maxsize=16)
def blur_weights(kernel: int) -> NDArray[np.float32]:
    """Return the (kernel,) float32 weights of :func:`blur_maps`; raises as it does."""
    if kernel not in _SMALL_WEIGHTS and (kernel % 2 == 0 or kernel < 11):
        raise UsageError("option-value", f"blur kernel is {kernel}", hint="3, 5, 7 or an odd number from 11 on")
    if kernel in _SMALL_WEIGHTS:
        return np.array(_SMALL_WEIGHTS[kernel], dtype=np.float32)
    sigma = 0.3 * ((kernel - 1) * 0.5 - 1.0) + 0.8
    away = np.arange(kernel) - (kernel - 1) * 0.5
    weights = np.exp(-(away**2) / (2.0 * sigma**2))
    normalised: NDArray[np.float32] = (weights / weights.sum()).astype(np.float32)
    return normalised


def _fit_windows(flat: _AnyMaps, cell: _Index, window_wh: tuple[int, int], sigma: float) -> _Float:
    """Return the centres (M, 2) of Gaussians of height 1 that fit the windows around ``cell`` best."""
    height, width = flat.shape[1:]
    across, down = window_wh
    origin = np.clip(cell - [across // 2, down // 2], 0, [width - across, height - down])
    stride = flat.strides
    windows = as_strided(
        flat,
        (len(flat), height - down + 1, width - across + 1, down, across),
        (stride[0], stride[1], stride[2], stride[1], stride[2]),
        writeable=False,
    )
    values = windows[np.arange(len(flat)), origin[:, 1], origin[:, 0]].astype(np.float64)
    if flat.dtype == np.uint8:
        values /= 255.0
    # In units of sigma about the peak's cell, everything is of order one.
    u = (origin[:, :1] + np.arange(across) - cell[:, :1]) / sigma
    v = (origin[:, 1:] + np.arange(down) - cell[:, 1:]) / sigma
    centre = _fit_logarithms(values, u, v)
    for _ in range(_FIT_STEPS):
        centre += _gauss_newton_step(values, u, v, centre)
    return cell + sigma * centre


def _fit_logarithms(values: _Float, u: _Float, v: _Float) -> _Float:
    # ln g + (u^2 + v^2) / 2 = a + cu u + cv v, weighted by g^2: the logarithm's error goes as 1 / g.
    weight = values * values
    line = np.log(np.where(values > 0, values, 1.0)) + 0.5 * (u[:, None, :] ** 2 + v[:, :, None] ** 2)
    one_u, one_v = np.ones_like(u), np.ones_like(v)

    def total(array: _Float, along_v: _Float, along_u: _Float) -> _Float:
        summed: _Float = np.einsum("mvu,mv,mu->m", array, along_v, along_u)
        return summed

    weighted = weight * line
    mass = total(weight, one_v, one_u) + 1e-300
    mean_u, mean_v = total(weight, one_v, u) / mass, total(weight, v, one_u) / mass
    mean = total(weighted, one_v, one_u) / mass
    # The slope's ridge only matters where a single column or row of cells is left.
    uu = total(weight, one_v, u * u) / mass - mean_u**2 + 1e-4
    vv = total(weight, v * v, one_u) / mass - mean_v**2 + 1e-4
    uv = total(weight, v, u) / mass - mean_u * mean_v
    ul = total(weighted, one_v, u) / mass - mean_u * mean
    vl = total(weighted, v, one_u) / mass - mean_v * mean
    divisor = uu * vv - uv * uv
    return np.stack([vv * ul - uv * vl, uu * vl - uv * ul], axis=-1) / divisor[:, None]


def _gauss_newton_step(values: _Float, u: _Float, v: _Float, centre: _Float) -> _Float:
    du, dv = u - centre[:, :1], v - centre[:, 1:]
    gu, gv = np.exp(-0.5 * du * du), np.exp(-0.5 * dv * dv)
    residual = np.where(values > 0, values - gv[:, :, None] * gu[:, None, :], 0.0)
    used = (values > 0).astype(np.float64)
    right_u = np.einsum("mvu,mv,mu->m", residual, gv, gu * du)
    right_v = np.einsum("mvu,mv,mu->m", residual, gv * dv, gu)
    uu = np.einsum("mvu,mv,mu->m", used, gv * gv, (gu * du) ** 2) + 1e-9
    vv = np.einsum("mvu,mv,mu->m", used, (gv * dv) ** 2, gu * gu) + 1e-9
    uv = np.einsum("mvu,mv,mu->m", used, gv * gv * dv, gu * gu * du)
    divisor = np.maximum(uu * vv - uv * uv, 1e-18)
    step = np.stack([vv * right_u - uv * right_v, uu * right_v - uv * right_u], axis=-1) / divisor[:, None]
    bounded: _Float = np.clip(step, -1.0, 1.0)
    return bounded
