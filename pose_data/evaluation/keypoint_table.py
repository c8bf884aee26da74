"""Each keypoint by itself: how near, what goes wrong, and how much of the lost OKS it accounts for.

All figures are of persons that were found at an OKS of 0.1 (see :mod:`pose_data.evaluation.localisation`): persons whom
nobody found have no keypoints to judge, and are counted on their own.

PCK: the share of keypoints within a share of the annotated box's longer side. PCKh: within half of the head's size.
COCO annotates no head box, so the head's size is the longest distance between two labelled keypoints of nose, eyes and
ears, or from head top to neck where a skeleton has these; persons with fewer than two of them do not count.
Sources: Yang and Ramanan, TPAMI 2013 (PCK); Andriluka et al., CVPR 2014 (PCKh, with MPII's head boxes: not comparable).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pose_data.evaluation.localisation import Kind, Localisation
from pose_data.evaluation.oks import variances
from pose_data.evaluation.people import GroundTruth

__all__ = ["PCK_SHARES", "KeypointRow", "keypoint_table", "lost_oks"]

_Float = npt.NDArray[np.float64]

PCK_SHARES = (0.05, 0.1, 0.2)
_HEAD_SHARE = 0.5
_HEADS = (("nose", "left_eye", "right_eye", "left_ear", "right_ear"), ("top_head", "neck"), ("head", "neck"))


@dataclass(frozen=True, slots=True, kw_only=True)
class KeypointRow:
    """One keypoint over all persons that were found, or all keypoints together. NaN where nothing is labelled."""

    name: str
    labelled: int
    """Labelled keypoints of persons that were found."""
    similarity: float
    """Mean keypoint similarity."""
    lost_share: float
    """Its share of all OKS that found persons lose."""
    good: int
    jitter: int
    inversion: int
    swap: int
    miss: int
    median_px: float
    p90_px: float
    """Distance that 90 % stay within."""
    median_deviations: float
    """In standard deviations of OKS: 2σ · sqrt(area)."""
    p90_deviations: float
    pck: Mapping[str, float]
    """By share of the box's longer side."""
    pckh: float
    visible_similarity: float
    """Of keypoints labelled visible (2)."""
    occluded_similarity: float
    """Of keypoints labelled occluded (1)."""


def keypoint_table(truth: GroundTruth, found: Localisation) -> tuple[KeypointRow, ...]:
    """Return a row for each keypoint and one, named ``all``, for all of them."""
    joints = truth.skeleton.keypoint_count
    columns = _Columns.of(truth, found)
    rows = [_row(name, columns, np.array([place])) for place, name in enumerate(truth.skeleton.names)]
    return (*rows, _row("all", columns, np.arange(joints)))


def lost_oks(truth: GroundTruth, found: Localisation) -> _Float:
    """Return (M, K) what each keypoint takes away from its person's OKS; 0 where it is not labelled."""
    labelled = truth.keypoints[found.person][..., 2] > 0
    count = np.maximum(labelled.sum(axis=1, keepdims=True), 1)
    lost: _Float = np.where(labelled, 1.0 - np.nan_to_num(found.similarity, nan=1.0), 0.0) / count
    return lost


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """(M, K) everything; NaN where a keypoint is not labelled."""

    kind: npt.NDArray[np.int8]
    similarity: _Float
    lost: _Float
    distance_px: _Float
    deviations: _Float
    of_box: _Float
    of_head: _Float
    visibility: _Float

    @staticmethod
    def of(truth: GroundTruth, found: Localisation) -> "_Columns":
        area = truth.area[found.person][:, None]
        box_px = truth.bbox_xywh[found.person, 2:].max(axis=1, initial=0.0)[:, None]
        head_px = _head_px(truth)[found.person][:, None]
        with np.errstate(divide="ignore", invalid="ignore"):
            return _Columns(
                kind=found.kind, similarity=found.similarity, lost=lost_oks(truth, found),
                distance_px=found.distance_px,
                deviations=found.distance_px / np.sqrt(area * variances(truth.skeleton.sigmas)),
                of_box=found.distance_px / box_px, of_head=found.distance_px / head_px,
                visibility=truth.keypoints[found.person][..., 2],
            )  # fmt: skip


def _head_px(truth: GroundTruth) -> _Float:
    """Return (G,) the size of each person's head, NaN where it cannot be told."""
    names = truth.skeleton.names
    size = np.full(len(truth.area), np.nan)
    for parts in _HEADS:
        places = [names.index(part) for part in parts if part in names]
        if len(places) < 2:
            continue
        points = np.where(truth.keypoints[:, places, 2:] > 0, truth.keypoints[:, places, :2], np.nan)
        apart = np.linalg.norm(points[:, :, None] - points[:, None], axis=-1)
        longest = np.where(np.isnan(apart), -1.0, apart).max(axis=(1, 2), initial=-1.0)
        return np.where(longest > 0, longest, np.nan)
    return size


def _row(name: str, columns: _Columns, places: npt.NDArray[np.intp]) -> KeypointRow:
    kind = columns.kind[:, places]
    labelled = kind != Kind.UNLABELLED
    distance, deviations = columns.distance_px[:, places][labelled], columns.deviations[:, places][labelled]
    similarity, visibility = columns.similarity[:, places][labelled], columns.visibility[:, places][labelled]
    of_box, of_head = columns.of_box[:, places][labelled], columns.of_head[:, places][labelled]
    total = float(columns.lost.sum())
    jitter, inversion, swap, miss = (int((kind == number).sum()) for number in range(1, 5))
    return KeypointRow(
        name=name, labelled=int(labelled.sum()), similarity=_mean(similarity),
        lost_share=float(columns.lost[:, places].sum()) / total if total else 0.0, good=int((kind == Kind.GOOD).sum()),
        jitter=jitter, inversion=inversion, swap=swap, miss=miss, median_px=_quantile(distance, 0.5),
        p90_px=_quantile(distance, 0.9), median_deviations=_quantile(deviations, 0.5),
        p90_deviations=_quantile(deviations, 0.9),
        pck={f"{share:g}": _mean(of_box[np.isfinite(of_box)] <= share) for share in PCK_SHARES},
        pckh=_mean(of_head[np.isfinite(of_head)] <= _HEAD_SHARE), visible_similarity=_mean(similarity[visibility == 2]),
        occluded_similarity=_mean(similarity[visibility == 1]),
    )  # fmt: skip


def _mean(values: npt.NDArray[np.floating[Any]] | npt.NDArray[np.bool_]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def _quantile(values: _Float, share: float) -> float:
    values = values[np.isfinite(values)]
    return float(np.quantile(values, share)) if len(values) else float("nan")
