"""SimCC: a keypoint as two vectors, one along x and one along y, of ``split_ratio`` bins a crop pixel.

Source: Li et al., "SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation",
ECCV 2022; leeyegy/SimCC and mmpose's SimCCLabel. Points are in crop pixels (frame ``crop``); bin b is
the place ``b / split_ratio``. The vectors have a peak of 1: divide by ``sigma * sqrt(2 pi)`` for the
normalised labels of some trainings.
"""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pose_data.targets.decode import blur_last_axis

__all__ = ["blur_kernel_bins", "decode_simcc", "decode_simcc_dark", "encode_simcc", "recover_simcc"]

_Float = NDArray[np.float64]
_Vectors = NDArray[np.floating[Any]]
_Decoded = tuple[_Float, NDArray[Any]]


def encode_simcc(
    xy_crop: NDArray[np.floating[Any]],
    visible: NDArray[np.bool_],
    *,
    crop_width_px: int,
    crop_height_px: int,
    split_ratio: float,
    sigma: float,
    rounded: bool = True,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return Gaussian labels x (N, K, W * split) and y (N, K, H * split), float32 with a peak of 1.

    ``xy_crop`` is (N, K, 2), ``visible`` (N, K), ``sigma`` in bins. ``rounded`` puts the centre on the
    nearest bin, half to even, as mmpose and SebastianKyle/Pose-Estimation do; leeyegy/SimCC keeps it exact.
    Both vectors are zero where the keypoint is not visible or not finite, or its 3 sigma lie outside the
    crop along x or y (mmpose's rule, counted in bins).
    """
    lengths = np.rint(np.array([crop_width_px, crop_height_px]) * split_ratio).astype(np.intp)
    centre = np.asarray(xy_crop, dtype=np.float64) * split_ratio
    finite = np.isfinite(centre)
    centre = np.where(finite, np.rint(centre) if rounded else centre, 0.0)
    inside = finite & (centre - 3.0 * sigma < lengths) & (centre + 3.0 * sigma + 1.0 >= 0.0)
    drawn = visible & inside[..., 0] & inside[..., 1]
    labels = []
    for axis, length in enumerate(lengths):
        away = np.arange(length) - centre[..., axis, None]
        label = np.exp(-(away * away) / (2.0 * sigma**2)).astype(np.float32)
        label[~drawn] = 0.0
        labels.append(label)
    return labels[0], labels[1]


def decode_simcc(x: _Vectors, y: _Vectors, split_ratio: float) -> _Decoded:
    """Return the bins of the maxima as points (N, K, 2) in crop pixels, and the smaller maximum (N, K).

    ``x`` is (N, K, W * split), ``y`` (N, K, H * split). A score <= 0 gives (0, 0).
    """
    score = np.minimum(x.max(axis=-1), y.max(axis=-1))
    bins = np.stack([x.argmax(axis=-1), y.argmax(axis=-1)], axis=-1)
    return np.where((score > 0)[..., None], bins / split_ratio, 0.0), score


def decode_simcc_dark(
    x: _Vectors, y: _Vectors, split_ratio: float, *, sigma: float = 6.0, ends: Literal["fit", "zero"] = "fit"
) -> _Decoded:
    """Return the maxima refined below a bin by a parabola on the blurred vectors' logarithm; as :func:`decode_simcc`.

    ``sigma`` is that of the labels, in bins; the blur has the same width. Source: mmpose,
    refine_simcc_dark (curvature from differences of step 2). The blur takes zeros outside, which pulls
    peaks inwards that are nearer to an end than its reach: with ``ends="zero"`` they stay so, as in
    mmpose; with ``ends="fit"`` those are fitted on the unblurred vector with the labels' known width.
    """
    coarse, score = decode_simcc(x, y, split_ratio)
    refined = np.stack([_dark_bins(x, sigma, ends), _dark_bins(y, sigma, ends)], axis=-1) / split_ratio
    return np.where((score > 0)[..., None], refined, coarse), score


def recover_simcc(
    x: NDArray[Any], y: NDArray[Any], *, split_ratio: float, sigma: float, rounded: bool = True
) -> _Float:
    """Return the points (N, K, 2) in crop pixels that clean labels were drawn about; NaN where they are empty.

    ``x`` and ``y`` as :func:`encode_simcc` makes them with these options, or times 255 as uint8. With
    ``rounded`` the bin comes back, so a keypoint inside the crop is within half a bin (and rounding).
    """
    bins = np.stack([_fitted_bins(_unit(x), sigma), _fitted_bins(_unit(y), sigma)], axis=-1)
    empty = (x.max(axis=-1) <= 0) | (y.max(axis=-1) <= 0)
    return np.where(empty[..., None], np.nan, (np.rint(bins) if rounded else bins) / split_ratio)


def _unit(vectors: NDArray[Any]) -> _Float:
    values: _Float = vectors.astype(np.float64)
    return values / 255.0 if vectors.dtype == np.uint8 else values


def _dark_bins(vectors: _Vectors, sigma: float, ends: str) -> _Float:
    kernel = blur_kernel_bins(sigma)
    blurred = blur_last_axis(vectors, kernel=kernel, border="zero")
    after = blurred.max(axis=-1, keepdims=True)
    before = vectors.max(axis=-1, keepdims=True).astype(np.float32)
    blurred *= np.divide(before, after, out=np.ones_like(after), where=after > 0)
    peak = vectors.argmax(axis=-1)
    last = vectors.shape[-1] - 1

    def at(away: int) -> _Float:
        place = np.clip(peak + away, 0, last)[..., None]
        values = np.take_along_axis(blurred, place, axis=-1)[..., 0].astype(np.float64)
        return np.log(np.clip(values, 1e-3, 50.0))

    slope = 0.5 * (at(1) - at(-1))
    curvature = 0.25 * (at(2) - 2.0 * at(0) + at(-2))
    curved = curvature < -1e-9
    refined: _Float = peak - np.where(curved, slope / np.where(curved, curvature, 1.0), 0.0)
    if ends == "zero":
        return refined
    near_end = (peak < kernel // 2 + 2) | (peak > last - kernel // 2 - 2)
    return np.where(near_end, _fitted_bins(vectors.astype(np.float64), sigma), refined)


def blur_kernel_bins(sigma: float) -> int:
    """Return the width of the blur, in bins, that goes with labels of this sigma."""
    # OpenCV's width rule, sigma = 0.3 * ((kernel - 1) / 2 - 1) + 0.8, solved for the kernel; odd, from 11 on.
    kernel = int((sigma * 20.0 - 7.0) // 3)
    return max(11, kernel - (kernel + 1) % 2)


def _fitted_bins(vectors: _Float, sigma: float) -> _Float:
    """Return the centres of Gaussians of width ``sigma`` that fit the cells around each maximum best."""
    peak = vectors.argmax(axis=-1)[..., None]
    reach = int(np.ceil(1.5 * sigma))
    place = peak + np.arange(-reach, reach + 1)
    inside = (place >= 0) & (place < vectors.shape[-1])
    values = np.take_along_axis(vectors, np.clip(place, 0, vectors.shape[-1] - 1), axis=-1)
    used = inside & (values > 0)
    # ln g + u^2 / 2 = a + c u with u = (bin - peak) / sigma, weighted by g^2: the logarithm's error goes as 1 / g.
    u = np.broadcast_to((place - peak) / sigma, values.shape)
    weight = np.where(used, values, 0.0) ** 2
    line = np.log(np.where(used, values, 1.0)) + 0.5 * u * u
    mass = weight.sum(axis=-1) + 1e-300
    mean_u, mean_line = (weight * u).sum(axis=-1) / mass, (weight * line).sum(axis=-1) / mass
    spread = (weight * u * u).sum(axis=-1) / mass - mean_u**2
    slope = (weight * u * line).sum(axis=-1) / mass - mean_u * mean_line
    solved = spread > 1e-9
    centre: _Float = peak[..., 0] + sigma * np.where(solved, slope / np.where(solved, spread, 1.0), 0.0)
    return centre
