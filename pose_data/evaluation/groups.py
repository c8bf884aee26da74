"""Where it goes wrong: persons by size, labels, occlusion, crowding, truncation and shape.

A group of persons has a recall and a mean OKS, and no AP: detections of nobody belong to no person, so all of the data
set's false positives would stay in every group. Pictures can be told apart, so groups of pictures have an AP as well.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pose_data.evaluation.average_precision import Result, evaluate
from pose_data.evaluation.localisation import Localisation
from pose_data.evaluation.matching import AREA_RANGES
from pose_data.evaluation.people import GroundTruth

__all__ = ["Group", "group_table", "person_oks"]

_Float = npt.NDArray[np.float64]
_Mask = npt.NDArray[np.bool_]

_SMALL, _LARGE = AREA_RANGES[1][1], AREA_RANGES[2][1]
_BORDER_PX = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Some of the counted persons."""

    by: str
    """What the groups of this kind tell apart."""
    name: str
    persons: int
    recall: float
    """Share found, mean over COCO's thresholds (AR within the group)."""
    recall50: float
    mean_oks: float
    """0 for persons whom nobody found at an OKS of 0.1."""
    ap: float | None = None
    """Only of groups of pictures."""


def person_oks(truth: GroundTruth, found: Localisation) -> _Float:
    """Return (G,) the OKS with which each counted person was found, 0 where nobody did."""
    oks = np.zeros(len(truth.area))
    oks[found.person] = found.oks
    return oks


def group_table(result: Result, found: Localisation) -> tuple[Group, ...]:
    """Return all groups that have persons."""
    truth = result.truth
    counted = ~truth.ignored
    taken = _found_at(result)
    oks = person_oks(truth, found)
    groups = []
    for by, name, members in _members(truth):
        rows = np.flatnonzero(members & counted)
        if len(rows):
            ap = _ap_of_pictures(result, members) if by == "persons in the picture" else None
            groups.append(
                Group(
                    by=by,
                    name=name,
                    persons=len(rows),
                    recall=float(taken[:, rows].mean()),
                    recall50=float(taken[0, rows].mean()),
                    mean_oks=float(oks[rows].mean()),
                    ap=ap,
                )
            )
    return tuple(groups)


def _found_at(result: Result) -> _Mask:
    """Return (T, G) whether each person was found at each threshold."""
    found = result.matching.found[0]
    taken = np.zeros((len(found), len(result.truth.area)), bool)
    step, place = np.nonzero(found >= 0)
    taken[step, found[step, place]] = True
    return taken


def _ap_of_pictures(result: Result, members: _Mask) -> float:
    images = np.unique(result.truth.image_id[members])
    detections = result.detections
    kept = np.isin(detections.image_id, images)
    persons = np.isin(result.truth.image_id, images)
    truth = replace(
        result.truth, image_ids=images, image_id=result.truth.image_id[persons],
        annotation_id=result.truth.annotation_id[persons], keypoints=result.truth.keypoints[persons],
        bbox_xywh=result.truth.bbox_xywh[persons], area=result.truth.area[persons],
        iscrowd=result.truth.iscrowd[persons], num_keypoints=result.truth.num_keypoints[persons],
    )  # fmt: skip
    return evaluate(truth, detections.chosen(kept), options=result.options).numbers["AP"]


def _members(truth: GroundTruth) -> Iterator[tuple[str, str, _Mask]]:
    """Yield what is told apart, the group's name, and (G,) who belongs to it."""
    yield "size", "small, below 32²", truth.area < _SMALL
    yield "size", "medium, 32² to 96²", (truth.area >= _SMALL) & (truth.area <= _LARGE)
    yield "size", "large, above 96²", truth.area > _LARGE
    labelled = (truth.keypoints[..., 2] > 0).sum(axis=1)
    joints = truth.skeleton.keypoint_count
    for low, high in _quarters(joints):
        yield "labelled keypoints", f"{low} to {high}", (labelled >= low) & (labelled <= high)
    occluded = (truth.keypoints[..., 2] == 1).sum(axis=1) / np.maximum(labelled, 1)
    yield "occluded labels", "none", (occluded == 0) & (labelled > 0)
    yield "occluded labels", "up to a quarter", (occluded > 0) & (occluded <= 0.25)
    yield "occluded labels", "more than a quarter", occluded > 0.25
    persons = _persons_a_picture(truth)
    for low, high, name in ((1, 1, "1"), (2, 3, "2 or 3"), (4, 8, "4 to 8"), (9, 1 << 30, "9 and more")):
        yield "persons in the picture", name, (persons >= low) & (persons <= high)
    overlap = _overlap(truth)
    yield "overlap with a neighbour", "none", overlap == 0
    yield "overlap with a neighbour", "IoU up to 0.1", (overlap > 0) & (overlap <= 0.1)
    yield "overlap with a neighbour", "IoU 0.1 to 0.3", (overlap > 0.1) & (overlap <= 0.3)
    yield "overlap with a neighbour", "IoU above 0.3", overlap > 0.3
    if truth.sizes_wh:
        cut, known = _cut(truth)
        yield "cut by the picture's border", "no", known & ~cut
        yield "cut by the picture's border", "yes", known & cut
    shape = truth.bbox_xywh[:, 2] / np.maximum(truth.bbox_xywh[:, 3], 1e-9)
    yield "width over height of the box", "below 0.4", shape < 0.4
    yield "width over height of the box", "0.4 to 0.8", (shape >= 0.4) & (shape <= 0.8)
    yield "width over height of the box", "above 0.8", shape > 0.8


def _quarters(joints: int) -> list[tuple[int, int]]:
    """Return 1 to K in at most four parts, the last of nearly complete persons."""
    ends = sorted({max(1, round(joints * share)) for share in (0.3, 0.6, 0.9, 1.0)})
    return [(low + 1, high) for low, high in zip([0, *ends[:-1]], ends, strict=True)]


def _persons_a_picture(truth: GroundTruth) -> npt.NDArray[np.int64]:
    _, place, counts = np.unique(truth.image_id[~truth.iscrowd], return_inverse=True, return_counts=True)
    persons = np.zeros(len(truth.area), np.int64)
    persons[~truth.iscrowd] = counts[place]
    return persons


def _overlap(truth: GroundTruth) -> _Float:
    """Return (G,) the highest box IoU with another person of the picture; crowds do not count."""
    rows = np.flatnonzero(~truth.iscrowd)
    rows = rows[np.argsort(truth.image_id[rows], kind="stable")]
    highest = np.zeros(len(truth.area))
    borders = np.flatnonzero(np.diff(truth.image_id[rows])) + 1
    for part in np.split(rows, borders):
        if len(part) > 1:
            iou = _iou(truth.bbox_xywh[part])
            np.fill_diagonal(iou, 0.0)
            highest[part] = iou.max(axis=1)
    return highest


def _iou(boxes_xywh: _Float) -> _Float:
    low, size = boxes_xywh[:, :2], boxes_xywh[:, 2:]
    high = low + size
    shared = np.clip(np.minimum(high[:, None], high) - np.maximum(low[:, None], low), 0.0, None).prod(axis=2)
    area = size.prod(axis=1)
    iou: _Float = shared / np.maximum(area[:, None] + area - shared, 1e-12)
    return iou


def _cut(truth: GroundTruth) -> tuple[_Mask, _Mask]:
    """Return (G,) whether a box touches the border of its picture, and whether the picture's size is known."""
    sizes = np.array([truth.sizes_wh.get(int(image), (0, 0)) for image in truth.image_id], np.float64).reshape(-1, 2)
    low, high = truth.bbox_xywh[:, :2], truth.bbox_xywh[:, :2] + truth.bbox_xywh[:, 2:]
    touches = np.concatenate([low <= _BORDER_PX, high >= sizes - _BORDER_PX], axis=1)
    return np.logical_or.reduce(touches, axis=1), sizes[:, 0] > 0
