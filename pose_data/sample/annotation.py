"""COCO records of visible persons: outlines, run lengths, boxes, areas, and the whole annotation file.

Outlines live in COCO's frame for polygons, in which pixel (column, row) is the square from (column, row) to
(column + 1, row + 1). They pass through the middles of the pixels' edges, so that no pixel's centre changes side:
pycocotools' rasteriser gives exactly the mask back.
"""

from collections.abc import Iterable, Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_data.sample.plan import PicturePlan
from pose_data.sample.scene import VisiblePerson
from pose_data.skeleton import COCO_PERSON

__all__ = ["annotation_document", "clean_mask", "outlines", "person_record", "run_lengths"]

Mask = NDArray[np.bool_]
Loop = NDArray[np.float64]

_MIN_AREA_PX = 20
_SPECK_SHARE = 0.01
_CROWD_ID = 900_100_000_000
_STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def _box(mask: Mask) -> tuple[int, int, int, int]:
    """Return left, top and the first column and row after the right and bottom of a mask that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def clean_mask(mask: Mask) -> Mask:
    """Return a mask that is not empty without specks: parts and holes below 1 % of its area go."""
    least = max(4.0, _SPECK_SHARE * float(mask.sum()))
    whole = np.zeros_like(mask)
    left, top, right, bottom = _box(mask)
    cleaned = np.pad(mask[top:bottom, left:right], 1).astype(np.uint8)
    for inside in (1, 0):
        count, labels, stats, _ = cv2.connectedComponentsWithStats((cleaned == inside).astype(np.uint8), connectivity=4)
        for label in range(1, count):
            if stats[label, cv2.CC_STAT_AREA] < least:
                cleaned[labels == label] = 1 - inside
    whole[top:bottom, left:right] = cleaned[1:-1, 1:-1] > 0
    return whole


def _edges(mask: Mask) -> dict[tuple[int, int], list[int]]:
    """Return, for each corner (x, y), the directions of the border's edges that leave it, the mask on their right."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    open_sides = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])
    starts = ((0, 0), (1, 0), (1, 1), (0, 1))
    leaving: dict[tuple[int, int], list[int]] = {}
    for direction, (other, (dx, dy)) in enumerate(zip(open_sides, starts, strict=True)):
        rows, columns = np.nonzero(inside & ~other)
        for x, y in zip((columns + dx).tolist(), (rows + dy).tolist(), strict=True):
            leaving.setdefault((x, y), []).append(direction)
    return leaving


def _loops(mask: Mask) -> list[Loop]:
    """Return the closed borders of a mask as the middles (n, 2) of their edges; clockwise outside, reversed holes."""
    leaving = _edges(mask)
    loops = []
    while leaving:
        corner = next(iter(leaving))
        first = edge = (corner, leaving[corner][0])
        walked: list[tuple[tuple[int, int], int]] = []
        while not walked or edge != first:
            walked.append(edge)
            (x, y), heading = edge
            corner = x + _STEPS[heading][0], y + _STEPS[heading][1]
            choices = leaving[corner]
            # Where two parts touch at a corner, turning right keeps them apart.
            edge = corner, choices[0] if len(choices) == 1 else (heading + 1) % 4
        for corner, heading in walked:
            leaving[corner].remove(heading)
            if not leaving[corner]:
                del leaving[corner]
        loops.append(np.array([(x + _STEPS[way][0] / 2, y + _STEPS[way][1] / 2) for (x, y), way in walked]))
    return loops


def _signed_area(loop: Loop) -> float:
    x, y = loop[:, 0], loop[:, 1]
    return 0.5 * float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y))


def _joined(outer: Loop, holes: list[Loop]) -> Loop:
    """Return one polygon of an outline and its holes, joined by cuts of no width, the nearest hole first."""
    rest = list(holes)
    while rest:
        gaps = [np.hypot(outer[:, None, 0] - hole[None, :, 0], outer[:, None, 1] - hole[None, :, 1]) for hole in rest]
        nearest = int(np.argmin([gap.min() for gap in gaps]))
        hole = rest.pop(nearest)
        at, start = np.unravel_index(int(np.argmin(gaps[nearest])), gaps[nearest].shape)
        turned = np.roll(hole, -int(start), axis=0)
        outer = np.concatenate([outer[: at + 1], turned, turned[:1], outer[at:]])
    return outer


def _without_straight(loop: Loop) -> Loop:
    """Return a loop without the points that lie on a straight line between their neighbours."""
    before, after = loop - np.roll(loop, 1, axis=0), np.roll(loop, -1, axis=0) - loop
    cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    ahead = before[:, 0] * after[:, 0] + before[:, 1] * after[:, 1] > 0
    return loop[~((np.abs(cross) < 1e-9) & ahead)]


def outlines(mask: Mask) -> list[list[float]]:
    """Return a mask's polygons, one per connected part, each [x1, y1, x2, y2, …]; the mask must not be empty."""
    left, top, right, bottom = _box(mask)
    count, labels = cv2.connectedComponents(mask[top:bottom, left:right].astype(np.uint8), connectivity=4)
    polygons = []
    for label in range(1, count):
        loops = sorted(_loops(labels == label), key=_signed_area)
        whole = _without_straight(_joined(loops[-1], loops[:-1])) + np.array([left, top])
        polygons.append([float(value) for value in whole.ravel()])
    return polygons


def run_lengths(mask: Mask) -> list[int]:
    """Return COCO's uncompressed run lengths: column by column, zeros first."""
    flat = mask.ravel(order="F")
    changes = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate([[0], changes, [flat.size]])).tolist()
    return [0, *runs] if bool(flat[0]) else runs


def person_record(person: VisiblePerson, image_id: int) -> dict[str, object] | None:
    """Return a person's COCO annotation without its id, or None where too little of the person is seen."""
    if int(person.mask.sum()) < _MIN_AREA_PX:
        return None
    mask = person.mask if person.crowd else clean_mask(person.mask)
    area = int(mask.sum())
    left, top, right, bottom = _box(mask)
    segmentation: object = outlines(mask)
    if person.crowd:
        segmentation = {"counts": run_lengths(mask), "size": [int(mask.shape[0]), int(mask.shape[1])]}
    return {
        "segmentation": segmentation,
        "num_keypoints": int((person.keypoints[:, 2] > 0).sum()),
        "area": float(area),
        "iscrowd": int(person.crowd),
        "keypoints": [int(value) for value in person.keypoints.ravel()],
        "image_id": image_id,
        "bbox": [float(left), float(top), float(right - left), float(bottom - top)],
        "category_id": 1,
    }


def annotation_document(
    plans: Iterable[PicturePlan], records: Mapping[int, Sequence[Mapping[str, object]]], *, first_id: int, seed: int
) -> dict[str, object]:
    """Return a split's annotation file; ``records``: picture number -> records; ids count up from ``first_id``.

    A crowd's id is made from the picture's number, as in COCO.
    """
    images, annotations, next_id = [], [], first_id
    for plan in plans:
        images.append(
            {"license": 1, "file_name": plan.file_name, "coco_url": "", "height": plan.height_px,
             "width": plan.width_px, "date_captured": "2025-01-01 00:00:00", "flickr_url": "", "id": plan.image_id}
        )  # fmt: skip
        for record in records[plan.image_id]:
            number = _CROWD_ID + plan.image_id if record["iscrowd"] else next_id
            next_id += 0 if record["iscrowd"] else 1
            annotations.append({**record, "id": number})
    return {
        "info": {"description": f"posedata sample, generated pictures, seed {seed}", "url": "", "version": "1.0",
                 "year": 2025, "contributor": "posedata", "date_created": "2025/01/01"},
        "licenses": [{"url": "https://creativecommons.org/publicdomain/zero/1.0/", "id": 1, "name": "CC0 1.0"}],
        "images": images,
        "annotations": annotations,
        "categories": [
            {"supercategory": "person", "id": 1, "name": "person", "keypoints": list(COCO_PERSON.names),
             "skeleton": [[a + 1, b + 1] for a, b in COCO_PERSON.limbs]}
        ],
    }  # fmt: skip
