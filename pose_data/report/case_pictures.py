"""The pixels behind a case: a part of the source picture, or the crop that a store keeps."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from pose_data.drawing import resized
from pose_data.evaluation.truth_file import TruthFile
from pose_data.imaging import PictureProblem, decode_picture, read_picture
from pose_data.store import Split

__all__ = ["CasePicture", "NoPictures", "PictureFolder", "Pictures", "StoreCrops", "StoreScenes", "pictures_of"]

_Float = npt.NDArray[np.float64]

_SIDE_PX = 220
_QUALITY = 62


@dataclass(frozen=True, slots=True, kw_only=True)
class CasePicture:
    """A small picture, and where the source picture's pixels are in it: x · scale + offset."""

    width_px: int
    height_px: int
    to_card: _Float
    """(2, 3) from pixels of the source picture to pixels of this one."""
    webp: bytes = b""
    """Empty where there are no pixels to show."""


class Pictures(Protocol):
    """Where pictures come from. Used by several threads at once."""

    def show(self, image_id: int, annotation_id: int | None, region_xywh: _Float) -> CasePicture:
        """Return the region (4,) of a source picture, or the crop of an annotation."""
        ...


class NoPictures:
    """Only the shape of the region."""

    def show(self, image_id: int, annotation_id: int | None, region_xywh: _Float) -> CasePicture:
        """Return the region without pixels."""
        x, y, width, height = region_xywh.tolist()
        scale = _SIDE_PX / max(width, height)
        return CasePicture(
            width_px=max(1, round(width * scale)), height_px=max(1, round(height * scale)),
            to_card=np.array([[scale, 0.0, -x * scale], [0.0, scale, -y * scale]]),
        )  # fmt: skip


class PictureFolder:
    """The source pictures, by the names that the annotations give them; what cannot be read is left blank."""

    def __init__(self, folder: Path, file_names: Mapping[int, str]) -> None:
        self._folder, self._file_names = folder, file_names

    def show(self, image_id: int, annotation_id: int | None, region_xywh: _Float) -> CasePicture:
        """Return the region's pixels; outside the picture they are grey."""
        blank = NoPictures().show(image_id, annotation_id, region_xywh)
        name = self._file_names.get(image_id)
        if name is None:
            return blank
        try:
            picture = decode_picture(
                read_picture(self._folder / name), file_name=name, expected_wh=None, exif="auto"
            ).pixels
        except PictureProblem:
            return blank
        pixels, shift = _region(picture, region_xywh)
        return _small(pixels, np.hstack([np.eye(2), -shift[:, None]]))


class StoreCrops:
    """The crops of a store's split; detections of nobody have none."""

    def __init__(self, split: Split) -> None:
        ids = np.asarray(split["annotation_id"][:])
        kept = np.asarray(split["kept"][:])
        self._rows = {int(number): row for row, number in enumerate(ids.tolist()) if kept[row]}
        self._split, self._transforms = split, np.asarray(split["transforms"][:])

    def show(self, image_id: int, annotation_id: int | None, region_xywh: _Float) -> CasePicture:
        """Return the annotation's stored crop."""
        row = None if annotation_id is None else self._rows.get(annotation_id)
        if row is None:
            return NoPictures().show(image_id, annotation_id, region_xywh)
        pixels = np.asarray(self._split["images"][row])
        whole = np.vstack([self._transforms[row], [0.0, 0.0, 1.0]])
        return _small(pixels, np.linalg.inv(whole)[:2])


class StoreScenes:
    """The stored pictures of a split of scenes."""

    def __init__(self, split: Split) -> None:
        ids, kept = np.asarray(split["image_id"][:]), np.asarray(split["kept"][:])
        self._rows = {int(number): row for row, number in enumerate(ids.tolist()) if kept[row]}
        self._split, self._transforms = split, np.asarray(split["transforms"][:])

    def show(self, image_id: int, annotation_id: int | None, region_xywh: _Float) -> CasePicture:
        """Return the region's pixels as stored; outside the stored picture they are grey."""
        row = self._rows.get(image_id)
        if row is None:
            return NoPictures().show(image_id, annotation_id, region_xywh)
        whole = np.linalg.inv(np.vstack([self._transforms[row], [0.0, 0.0, 1.0]]))[:2]
        # Letterboxing turns nothing: a region stays one.
        scale = np.diag(whole[:, :2])
        region = np.concatenate([region_xywh[:2] * scale + whole[:, 2], region_xywh[2:] * scale])
        pixels, shift = _region(np.asarray(self._split["images"][row]), region)
        return _small(pixels, np.hstack([whole[:, :2], (whole[:, 2] - shift)[:, None]]))


def pictures_of(truth: TruthFile, split: Split | None, images: str | Path | None) -> Pictures:
    """Return the pictures in the folder ``images``, else what the split's images show, else none."""
    if images is not None:
        named = zip(truth.truth.image_ids.tolist(), truth.file_names, strict=True)
        return PictureFolder(Path(images), {number: name for number, name in named if name})
    if split is None:
        return NoPictures()
    return StoreScenes(split) if split.recipe.rows == "scenes" else StoreCrops(split)


def _region(picture: npt.NDArray[np.uint8], region_xywh: _Float) -> tuple[npt.NDArray[np.uint8], _Float]:
    """Return a region's pixels, grey outside the picture, and where it begins in it."""
    x, y, width, height = (round(value) for value in region_xywh.tolist())
    pixels = np.full((max(height, 1), max(width, 1), 3), 128, np.uint8)
    top, left = max(y, 0), max(x, 0)
    part = picture[top : max(y + height, 0), left : max(x + width, 0)]
    pixels[top - y : top - y + part.shape[0], left - x : left - x + part.shape[1]] = part
    return pixels, np.array([x, y], np.float64)


def _small(pixels: npt.NDArray[np.uint8], to_pixels: _Float) -> CasePicture:
    """Return pixels (H, W, 3) no larger than a card, as WebP."""
    height, width = pixels.shape[:2]
    scale = min(1.0, _SIDE_PX / max(height, width))
    small_width, small_height = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.ascontiguousarray(resized(np.ascontiguousarray(pixels), small_width, small_height))
    # Pixel centres are whole numbers: the picture's corner lies at -0.5.
    shrink = np.array([small_width / width, small_height / height])
    to_card = to_pixels * shrink[:, None]
    to_card[:, 2] += 0.5 * shrink - 0.5
    file = io.BytesIO()
    Image.fromarray(small).save(file, "WEBP", quality=_QUALITY, method=4)
    return CasePicture(width_px=small_width, height_px=small_height, to_card=to_card, webp=file.getvalue())
