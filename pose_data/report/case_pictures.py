"""The pixels behind a case: a part of the source picture, or the crop that a store keeps."""

import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from PIL import Image

from pose_data.drawing import resized
from pose_data.errors import InputError
from pose_data.evaluation.truth_file import TruthFile
from pose_data.imaging import PictureProblem, decode_picture, read_picture
from pose_data.paths import resolve_inside, shown
from pose_data.store import Split

__all__ = [
    "CasePicture",
    "NoPictures",
    "PictureFolder",
    "Pictures",
    "StoreCrops",
    "StoreScenes",
    "check_folder",
    "pictures_of",
]

_Float = npt.NDArray[np.float64]

_SIDE_PX = 220
_QUALITY = 62
_SAME = np.eye(2, 3)


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

    def warnings(self) -> tuple[str, ...]:
        """Return what was noticed while pictures were shown."""
        return ()


class NoPictures(Pictures):
    """Only the shape of the region."""

    def show(self, image_id: int, annotation_id: int | None, region_xywh: _Float) -> CasePicture:
        """Return the region without pixels."""
        x, y, width, height = region_xywh.tolist()
        scale = _SIDE_PX / max(width, height)
        return CasePicture(
            width_px=max(1, round(width * scale)), height_px=max(1, round(height * scale)),
            to_card=np.array([[scale, 0.0, -x * scale], [0.0, scale, -y * scale]]),
        )  # fmt: skip


class PictureFolder(Pictures):
    """The source pictures, by the names that the annotations give them; what cannot be read is left blank.

    Names are somebody else's text: those that lead out of the folder are not read either.
    """

    def __init__(self, folder: Path, file_names: Mapping[int, str]) -> None:
        self._folder, self._file_names = folder, file_names
        self._lock = threading.Lock()
        self._asked: set[int] = set()
        self._unreadable: dict[int, str] = {}

    def show(self, image_id: int, annotation_id: int | None, region_xywh: _Float) -> CasePicture:
        """Return the region's pixels; outside the picture they are grey."""
        with self._lock:
            self._asked.add(image_id)
        try:
            picture = self._read(image_id)
        except PictureProblem as problem:
            with self._lock:
                self._unreadable[image_id] = f"{shown(problem.file_name)}: {problem.detail}"
            return NoPictures().show(image_id, annotation_id, region_xywh)
        return _region(picture, region_xywh, _SAME)

    def warnings(self) -> tuple[str, ...]:
        """Return how many pictures could not be read, and why the first of them could not."""
        if not self._unreadable:
            return ()
        reason = self._unreadable[min(self._unreadable)]
        return (
            f"{len(self._unreadable):,} of {len(self._asked):,} pictures could not be read, their cases are shown "
            f"without pixels (the first is {reason})",
        )

    def _read(self, image_id: int) -> npt.NDArray[np.uint8]:
        """Return a picture's pixels. Raises PictureProblem."""
        name = self._file_names.get(image_id)
        if name is None:
            raise PictureProblem("img-unreadable", "the annotations name no file", f"picture {image_id}")
        try:
            path = resolve_inside(self._folder, name, allow_outside=False)
        except InputError as error:
            raise PictureProblem("img-unreadable", error.message, name) from None
        return decode_picture(read_picture(path), file_name=name, expected_wh=None, exif="auto").pixels


class StoreCrops(Pictures):
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


class StoreScenes(Pictures):
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
        return _region(np.asarray(self._split["images"][row]), region, whole)


def check_folder(images: str | Path) -> Path:
    """Return the folder of the pictures. Raises InputError ``images-not-found``."""
    folder = Path(images)
    if not folder.is_dir():
        raise InputError(
            "images-not-found", "there is no such folder of pictures", where=str(folder),
            hint="--images names the folder that the annotations' file names are in",
        )  # fmt: skip
    return folder


def pictures_of(truth: TruthFile, split: Split | None, images: str | Path | None) -> Pictures:
    """Return the pictures in the folder ``images``, else what the split's images show, else none.

    Raises InputError ``images-not-found``.
    """
    if images is not None:
        named = zip(truth.truth.image_ids.tolist(), truth.file_names, strict=True)
        return PictureFolder(check_folder(images), {number: name for number, name in named if name})
    if split is None:
        return NoPictures()
    return StoreScenes(split) if split.recipe.rows == "scenes" else StoreCrops(split)


def _region(picture: npt.NDArray[np.uint8], region_xywh: _Float, to_pixels: _Float) -> CasePicture:
    """Return a region of a picture, grey outside of it, no larger than a card.

    Only what lies in the picture is ever cut out: a region may be as large as far-off keypoints make it.
    """
    x, y, width, height = (round(value) for value in region_xywh.tolist())
    width, height = max(width, 1), max(height, 1)
    card_width, card_height = _card_size(width, height)
    top, left = max(y, 0), max(x, 0)
    part = picture[top : max(y + height, 0), left : max(x + width, 0)]
    card = np.full((card_height, card_width, 3), 128, np.uint8)
    if part.size:
        columns = _span(left - x, part.shape[1], card_width / width, card_width)
        rows = _span(top - y, part.shape[0], card_height / height, card_height)
        card[slice(*rows), slice(*columns)] = _resized(part, columns[1] - columns[0], rows[1] - rows[0])
    moved = to_pixels.copy()
    moved[:, 2] -= (x, y)
    return _card(card, moved, (width, height))


def _span(begin: int, length: int, shrink: float, most: int) -> tuple[int, int]:
    """Return where pixels from ``begin`` on lie in a row of ``most`` pixels of a card: at least one of them."""
    first = min(round(begin * shrink), most - 1)
    return first, min(max(round((begin + length) * shrink), first + 1), most)


def _small(pixels: npt.NDArray[np.uint8], to_pixels: _Float) -> CasePicture:
    """Return pixels (H, W, 3) no larger than a card."""
    height, width = pixels.shape[:2]
    return _card(_resized(pixels, *_card_size(width, height)), to_pixels, (width, height))


def _card_size(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, _SIDE_PX / max(height, width))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _resized(pixels: npt.NDArray[np.uint8], width: int, height: int) -> npt.NDArray[np.uint8]:
    return np.ascontiguousarray(resized(np.ascontiguousarray(pixels), width, height))


def _card(card: npt.NDArray[np.uint8], to_pixels: _Float, full_wh: tuple[int, int]) -> CasePicture:
    """Return a card as WebP; ``to_pixels`` leads to the pixels that it had before it was made small."""
    height, width = card.shape[:2]
    # Pixel centres are whole numbers: the picture's corner lies at -0.5.
    shrink = np.array([width / full_wh[0], height / full_wh[1]])
    to_card = to_pixels * shrink[:, None]
    to_card[:, 2] += 0.5 * shrink - 0.5
    file = io.BytesIO()
    Image.fromarray(card).save(file, "WEBP", quality=_QUALITY, method=4)
    return CasePicture(width_px=width, height_px=height, to_card=to_card, webp=file.getvalue())
