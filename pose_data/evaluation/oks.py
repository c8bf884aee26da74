"""Object keypoint similarity of many pairs at once, bit for bit as pycocotools computes it for one.

    OKS = mean over labelled keypoints of exp(-d² / (2 · area · (2σ)²))

Source: https://cocodataset.org/#keypoints-eval and cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py, computeOks.
For a person without labelled keypoints, d is the distance of each detected keypoint to the box grown by its own size on
every side (three times as wide and high), over all keypoints.
"""

import numpy as np
import numpy.typing as npt

__all__ = ["keypoint_similarities", "oks_of_pairs", "oks_of_rows", "variances"]

_Float = npt.NDArray[np.float64]
_Index = npt.NDArray[np.intp]
_TINY = float(np.spacing(1))
_PAIRS_AT_ONCE = 1 << 12
"""What is computed of so many stays in the processor's cache."""


def variances(sigmas: tuple[float, ...]) -> _Float:
    """Return (2σ)² for each keypoint."""
    return (np.array(sigmas) * 2) ** 2


def oks_of_pairs(
    detected: _Float, labelled: _Float, area: _Float, bbox_xywh: _Float, sigmas: tuple[float, ...]
) -> _Float:
    """Return the OKS (P,) of pairs: detected (P, K, 2 or 3), labelled (P, K, 3), area (P,), box (P, 4)."""
    rows = np.arange(len(detected))
    return oks_of_rows(detected, rows, labelled, rows, area, bbox_xywh, sigmas)


def oks_of_rows(
    detected: _Float,
    rows: _Index,
    labelled: _Float,
    persons: _Index,
    area: _Float,
    bbox_xywh: _Float,
    sigmas: tuple[float, ...],
) -> _Float:
    """Return the OKS (P,) of pairs named by their rows: ``rows`` (P,) of detected, ``persons`` (P,) of the rest.

    detected (D, K, 2 or 3), labelled (G, K, 3), area (G,), box (G, 4).
    """
    similarities = np.empty(len(rows))
    flags = labelled[..., 2] > 0
    counts = np.count_nonzero(flags, axis=1)[persons]
    # np.sum adds up eight by eight from eight terms on, so pairs are grouped by how many labels they have.
    order = np.argsort(counts.astype(np.uint16), kind="stable")
    bounds = np.flatnonzero(np.diff(counts[order], prepend=-1, append=-1))
    for begin, end in zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True):
        count = int(counts[order[begin]])
        for first in range(begin, end, _PAIRS_AT_ONCE):
            part = order[first : min(end, first + _PAIRS_AT_ONCE)]
            row, person = rows[part], persons[part]
            if count:
                exponent = _exponents(detected[row], labelled[person], area[person], sigmas)
                exponent = exponent[flags[person]].reshape(len(part), count)
            else:
                exponent = _box_exponents(detected[row], bbox_xywh[person], area[person], sigmas)
            np.negative(exponent, out=exponent)
            similarities[part] = np.sum(np.exp(exponent, out=exponent), axis=1) / exponent.shape[1]
    return similarities


def keypoint_similarities(detected: _Float, labelled: _Float, area: _Float, sigmas: tuple[float, ...]) -> _Float:
    """Return exp(-d² / (2 · area · (2σ)²)) for every keypoint (P, K); NaN where it is not labelled."""
    values = np.exp(-_exponents(detected, labelled, area, sigmas))
    return np.where(labelled[..., 2] > 0, values, np.nan)


def _exponents(detected: _Float, labelled: _Float, area: _Float, sigmas: tuple[float, ...]) -> _Float:
    return _scaled(detected[..., 0] - labelled[..., 0], detected[..., 1] - labelled[..., 1], area, sigmas)


def _box_exponents(detected: _Float, bbox_xywh: _Float, area: _Float, sigmas: tuple[float, ...]) -> _Float:
    x, y, width, height = (bbox_xywh[:, None, number] for number in range(4))
    dx = np.maximum(0.0, (x - width) - detected[..., 0]) + np.maximum(0.0, detected[..., 0] - (x + width * 2))
    dy = np.maximum(0.0, (y - height) - detected[..., 1]) + np.maximum(0.0, detected[..., 1] - (y + height * 2))
    return _scaled(dx, dy, area, sigmas)


def _scaled(dx: _Float, dy: _Float, area: _Float, sigmas: tuple[float, ...]) -> _Float:
    """Return (dx² + dy²) / (2σ)² / area / 2, in this order; dx is used up."""
    np.square(dx, out=dx)
    dx += dy**2
    dx /= variances(sigmas)
    dx /= (area + _TINY)[:, None]
    dx /= 2
    return dx
