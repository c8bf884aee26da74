"""Crops around detected boxes, cut from the original pictures by the rules that a network was trained with."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pose_data.errors import InputError
from pose_data.geometry import crop_transforms, invert_affines
from pose_data.imaging import PictureProblem, decode_picture, read_picture, single_threaded, square_crop, warp_crop
from pose_data.recipes import Recipe

__all__ = ["BoxCrops", "Boxes", "CropCutter", "crops_of_boxes", "read_boxes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Boxes:
    """Detected persons: ``image_id`` (D,), ``bbox_xywh`` (D, 4) float64 in the source picture, ``score`` (D,)."""

    image_id: npt.NDArray[np.int64]
    bbox_xywh: npt.NDArray[np.float64]
    score: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxCrops:
    """Some boxes' crops: ``numbers`` (n,) of the boxes, ``images`` (n, H, W, 3), ``transforms`` (n, 2, 3) back."""

    numbers: npt.NDArray[np.int64]
    images: npt.NDArray[np.uint8]
    transforms: npt.NDArray[np.float64]


class CropCutter:
    """Cuts the crops of boxes (D, 4) ``x, y, width, height`` as a recipe's geometry wants them.

    ``back`` (D, 2, 3) leads from each crop to the picture.
    """

    def __init__(self, boxes_xywh_image: npt.NDArray[np.float64], recipe: Recipe) -> None:
        self._square = recipe.geometry == "square"
        self._boxes, self._recipe = _whole_pixels(boxes_xywh_image) if self._square else boxes_xywh_image, recipe
        self._transforms = crop_transforms(
            self._boxes, geometry=recipe.geometry, crop_width_px=recipe.crop_width_px,
            crop_height_px=recipe.crop_height_px, padding=recipe.padding, frame=recipe.frame,
        )  # fmt: skip
        self.back = invert_affines(self._transforms)

    def cut(self, pixels: npt.NDArray[np.uint8], rows: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
        """Return the crops (n, H, W, 3) of some of the boxes, by their numbers, from their picture.

        ``pixels`` are ``Picture.to_warp``. Raises PictureProblem (``box-invalid``).
        """
        recipe = self._recipe
        crops = np.empty((len(rows), recipe.crop_height_px, recipe.crop_width_px, 3), np.uint8)
        scratch = np.empty((recipe.crop_height_px, recipe.crop_width_px, 4), np.uint8)
        for crop, row in zip(crops, rows.tolist(), strict=True):
            if self._square:
                square_crop(pixels, self._boxes[row], crop_px=recipe.crop_width_px, frame=recipe.frame, out=crop)
            else:
                warp_crop(pixels, self._transforms[row], crop, scratch=scratch)
        return crops


def _whole_pixels(boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return boxes as the square geometry takes them: fractions dropped, at least a pixel wide and high."""
    whole = np.trunc(boxes)
    whole[:, 2:] = np.maximum(whole[:, 2:], 1.0)
    return whole


def read_boxes(path: Path, *, category_id: int = 1, least_score: float = 0.0) -> Boxes:
    """Return the person boxes of a COCO detections file: a list of image_id, category_id, bbox, score.

    Boxes without positive width and height, and those of other categories, are left out. Raises InputError.
    """
    try:
        records = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InputError("json-invalid", f"the boxes cannot be read: {error}", where=str(path)) from error
    if not isinstance(records, list):
        raise InputError("json-wrong-kind", "boxes must be a list of records", where=str(path))
    try:
        rows = [
            (record["image_id"], *record["bbox"], record.get("score", 1.0))
            for record in records
            if record.get("category_id", category_id) == category_id
        ]
        values = np.array(rows, np.float64).reshape(len(rows), 6)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            "json-wrong-kind", f"a box is not image_id, bbox (4 numbers) and score: {error}", where=str(path)
        ) from error
    if records and not rows:
        found = sorted({str(record["category_id"]) for record in records})
        raise InputError(
            "category-none",
            f"no box is of category {category_id}, a person; the file has {', '.join(found[:5])}"
            + (", …" if len(found) > 5 else ""),
            where=str(path), hint="write category_id 1 for persons, as COCO does, or leave it out",
        )  # fmt: skip
    good = np.isfinite(values).all(axis=1) & (values[:, 3] > 0) & (values[:, 4] > 0) & (values[:, 5] >= least_score)
    values = values[good]
    return Boxes(image_id=values[:, 0].astype(np.int64), bbox_xywh=values[:, 1:5], score=values[:, 5])


def crops_of_boxes(
    boxes: Boxes, recipe: Recipe, pictures: dict[int, Path], *, batch_size: int, threads: int
) -> Iterator[BoxCrops]:
    """Yield the crops of all boxes whose picture is known, in batches; each picture is decoded once.

    ``pictures`` maps picture ids to files. Raises InputError for a picture that cannot be read.
    """
    cutter = CropCutter(boxes.bbox_xywh, recipe)
    order = np.argsort(boxes.image_id, kind="stable")
    groups = [
        rows
        for rows in np.split(order, np.flatnonzero(np.diff(boxes.image_id[order])) + 1)
        if len(rows) and int(boxes.image_id[rows[0]]) in pictures
    ]

    def cut(rows: npt.NDArray[np.intp]) -> npt.NDArray[np.uint8]:
        path = pictures[int(boxes.image_id[rows[0]])]
        try:
            picture = decode_picture(read_picture(path), file_name=path.name, expected_wh=None, exif=recipe.exif)
            return cutter.cut(picture.to_warp, rows)
        except PictureProblem as problem:
            raise InputError(problem.code, problem.detail, where=str(path)) from problem

    waiting: list[tuple[npt.NDArray[np.intp], npt.NDArray[np.uint8]]] = []
    count = 0
    with single_threaded(), ThreadPoolExecutor(threads) as pool:
        for rows, crops in zip(groups, pool.map(cut, groups), strict=True):
            waiting.append((rows, crops))
            count += len(rows)
            if count >= batch_size:
                yield _batch(waiting, cutter.back)
                waiting, count = [], 0
    if waiting:
        yield _batch(waiting, cutter.back)


def _batch(
    waiting: list[tuple[npt.NDArray[np.intp], npt.NDArray[np.uint8]]], back: npt.NDArray[np.float64]
) -> BoxCrops:
    rows = np.concatenate([rows for rows, _ in waiting])
    images = np.concatenate([crops for _, crops in waiting])
    return BoxCrops(numbers=rows.astype(np.int64), images=images, transforms=back[rows])
