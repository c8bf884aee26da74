"""SimCC vectors on the device: first maxima, their refinement below a bin, and the confidence of each axis.

The numbers are those of :mod:`pose_data.targets.simcc`, which decides what is right; see there for the sources.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional

from pose_data.targets.decode import blur_weights
from pose_data.targets.simcc import blur_kernel_bins

__all__ = ["refined_bins", "simcc_peaks", "simcc_visibility"]


def simcc_peaks(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Return the first maxima (N, K, 2) float64 of vectors (N, K, bins), and the smaller of each two maxima (N, K)."""
    score = torch.minimum(x.amax(dim=-1), y.amax(dim=-1))
    return torch.stack([_first_maximum(x), _first_maximum(y)], dim=-1).to(torch.float64), score


def simcc_visibility(x: Tensor, y: Tensor, *, sigma: float | tuple[float, float], beta: float = 150.0) -> Tensor:
    """Return how sure each keypoint (N, K) is, 0 … 1: the smaller of both axes' maxima of softmax(beta sigma v).

    The vectors (N, K, bins) are to have the labels' scale, a peak of about 1 (RTMPose's, or softmax(output) times
    sigma * sqrt(2 pi)); ``sigma`` in bins, one or (x, y). Source: mmpose, SimCCLabel (decode_visibility). The
    fourth seed calls a keypoint visible from 0.38 on and hidden from 0.16 on, on another scale: its decoder has blurred
    the vectors and taken their logarithm before.
    """
    sigmas = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    each = [
        functional.softmax(beta * width * vectors.to(torch.float32), dim=-1).amax(dim=-1)
        for vectors, width in zip((x, y), sigmas, strict=True)
    ]
    return torch.minimum(*each)


def refined_bins(vectors: Tensor, sigma: float) -> Tensor:
    """Return where the maxima of vectors (N, K, bins) float32 lie below a bin, (N, K) float64.

    A parabola through the logarithm of the blurred vector, as mmpose's refine_simcc_dark; near an end, where the blur
    takes in what is not there, the Gaussian of the labels' width ``sigma`` (in bins) that fits best.
    """
    peak = _first_maximum(vectors)
    top = vectors.amax(dim=-1, keepdim=True)
    # The logarithm's floor is meant for peaks of about 1.
    scaled = torch.where(top > 0, vectors / torch.where(top > 0, top, 1.0), vectors)
    kernel, last = blur_kernel_bins(sigma), vectors.shape[-1] - 1
    near_end = (peak < kernel // 2 + 2) | (peak > last - kernel // 2 - 2)
    return torch.where(near_end, _fitted_bins(scaled, peak, sigma), _parabola_bins(scaled, peak, kernel))


def _first_maximum(vectors: Tensor) -> Tensor:
    # max() may name any of equal maxima; the first one is meant.
    return (vectors == vectors.amax(dim=-1, keepdim=True)).to(torch.uint8).argmax(dim=-1)


def _parabola_bins(scaled: Tensor, peak: Tensor, kernel: int) -> Tensor:
    blurred = _blurred(scaled, kernel)
    after = blurred.amax(dim=-1, keepdim=True)
    blurred = torch.where(after > 0, blurred / torch.where(after > 0, after, 1.0), blurred)

    def at(away: int) -> Tensor:
        place = (peak + away).clamp(0, scaled.shape[-1] - 1)[..., None]
        return blurred.gather(-1, place)[..., 0].to(torch.float64).clamp(1e-3, 50.0).log()

    here, right, left = at(0), at(1), at(-1)
    curvature = 0.25 * (at(2) - 2.0 * here + at(-2))
    curved = curvature < -1e-9
    return peak - torch.where(curved, 0.5 * (right - left) / torch.where(curved, curvature, 1.0), 0.0)


def _blurred(vectors: Tensor, kernel: int) -> Tensor:
    # cuDNN would round float32 to ten bits (TF32).
    exact = torch.float64 if vectors.is_cuda else vectors.dtype
    weights = torch.from_numpy(blur_weights(kernel)).to(vectors.device, exact)
    flat = vectors.reshape(-1, 1, vectors.shape[-1]).to(exact)
    return functional.conv1d(flat, weights[None, None], padding=kernel // 2).reshape(vectors.shape).to(vectors.dtype)


def _fitted_bins(scaled: Tensor, peak: Tensor, sigma: float) -> Tensor:
    """Return the centres of Gaussians of width ``sigma`` that fit the bins around each maximum best.

    ln g + u^2 / 2 = a + c u with u = (bin - peak) / sigma is a straight line; it is weighted by g^2, since the
    logarithm's error goes as 1 / g.
    """
    reach = math.ceil(1.5 * sigma)
    place = peak[..., None] + torch.arange(-reach, reach + 1, device=peak.device)
    inside = (place >= 0) & (place < scaled.shape[-1])
    values = scaled.gather(-1, place.clamp(0, scaled.shape[-1] - 1)).to(torch.float64)
    used = inside & (values > 0)
    u = (place - peak[..., None]).to(torch.float64) / sigma
    weight = torch.where(used, values, 0.0).square()
    line = torch.where(used, values, 1.0).log() + 0.5 * u * u
    mass = weight.sum(dim=-1) + 1e-300
    mean_u, mean_line = (weight * u).sum(dim=-1) / mass, (weight * line).sum(dim=-1) / mass
    spread = (weight * u * u).sum(dim=-1) / mass - mean_u.square()
    slope = (weight * u * line).sum(dim=-1) / mass - mean_u * mean_line
    solved = spread > 1e-9
    return peak + sigma * torch.where(solved, slope / torch.where(solved, spread, 1.0), 0.0)
