"""What the references do to detections before they are scored: rescoring, and OKS non-maximum suppression.

Sources: microsoft/human-pose-estimation.pytorch, lib/dataset/coco.py (evaluate) and lib/nms/nms.py.
"""

import numpy as np
import numpy.typing as npt

from pose_data.evaluation.oks import variances

__all__ = ["oks_nms", "rescored", "suppressed"]

_Float = npt.NDArray[np.float64]
_TINY = float(np.spacing(1))


def rescored(box_score: _Float, keypoint_score: _Float, *, least: float = 0.2) -> _Float:
    """Return (D,) box score times the mean of the keypoint scores (D, K) above ``least``; 0 where none is."""
    counted = keypoint_score > least
    number = counted.sum(axis=1)
    mean = np.where(counted, keypoint_score, 0.0).sum(axis=1) / np.maximum(number, 1)
    scores: _Float = box_score * mean
    return scores


def oks_nms(
    keypoints: _Float, area: _Float, score: _Float, sigmas: tuple[float, ...], *, threshold: float = 0.9
) -> npt.NDArray[np.intp]:
    """Return the detections of one picture that are kept, best score first.

    One after another, the best that is left is kept, and those whose OKS with it is above ``threshold`` are dropped;
    the area in that OKS is the mean of the two. keypoints (D, K, 2 or 3), area (D,), score (D,).
    """
    order = np.argsort(score)[::-1]
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        square = ((keypoints[rest, :, :2] - keypoints[best, :, :2]) ** 2).sum(axis=2)
        exponent = square / variances(sigmas) / ((area[best] + area[rest]) / 2 + _TINY)[:, None] / 2
        order = rest[np.exp(-exponent).sum(axis=1) / keypoints.shape[1] <= threshold]
    return np.array(kept, np.intp)


def suppressed(
    image_id: npt.NDArray[np.int64],
    keypoints: _Float,
    area: _Float,
    score: _Float,
    sigmas: tuple[float, ...],
    *,
    threshold: float = 0.9,
) -> npt.NDArray[np.intp]:
    """Return the rows (ascending) that :func:`oks_nms` keeps, picture by picture."""
    if not len(image_id):
        return np.zeros(0, np.intp)
    order = np.argsort(image_id, kind="stable")
    pictures = np.split(order, np.flatnonzero(np.diff(image_id[order])) + 1)
    kept = [rows[oks_nms(keypoints[rows], area[rows], score[rows], sigmas, threshold=threshold)] for rows in pictures]
    return np.sort(np.concatenate(kept))
