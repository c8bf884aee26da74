"""Where in a frame to look for persons: in the whole picture, in a file's boxes, or in a detector's."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from pose_data.errors import InputError, UsageError
from pose_data.imaging import ExifRule
from pose_data.media import Frame, Source, frames_of_sources, numbered_pictures
from pose_models.box_crops import Boxes, read_boxes

__all__ = ["FileBoxes", "ImageNumbers", "PersonFinder", "WholePicture", "boxes_of_pictures"]

_Float = npt.NDArray[np.float64]


class PersonFinder(Protocol):
    """Says where to look for persons."""

    def boxes_of(self, frame: Frame, image_id: int) -> tuple[_Float, _Float]:
        """Return boxes (D, 4) ``x, y, width, height`` in the frame's pixels, and scores (D,)."""
        ...


class WholePicture:
    """One person, somewhere in the picture."""

    def boxes_of(self, frame: Frame, image_id: int) -> tuple[_Float, _Float]:
        """Return the box of the whole frame, with a score of 1."""
        assert frame.pixels is not None
        height, width = frame.pixels.shape[:2]
        return np.array([[0.0, 0.0, width, height]]), np.ones(1)


class FileBoxes:
    """The boxes of a COCO detections file, by the number of the picture."""

    def __init__(self, path: Path, *, least_score: float = 0.0) -> None:
        boxes = read_boxes(path, least_score=least_score)
        order = np.argsort(boxes.image_id, kind="stable")
        self._where = str(path)
        self._boxes = Boxes(image_id=boxes.image_id[order], bbox_xywh=boxes.bbox_xywh[order], score=boxes.score[order])

    def require_any(self, image_ids: Sequence[int]) -> None:
        """Raise InputError where the file has boxes, and none of any of these pictures."""
        if len(image_ids) and len(self._boxes.image_id) and not np.isin(self._boxes.image_id, image_ids).any():
            raise InputError(
                "image-unknown", f"none of the {len(self._boxes.image_id):,} boxes is of a picture that is looked at",
                where=self._where, hint="another split's boxes?",
            )  # fmt: skip

    def boxes_of(self, frame: Frame, image_id: int) -> tuple[_Float, _Float]:
        """Return the picture's boxes, in the order of the file."""
        first, last = np.searchsorted(self._boxes.image_id, [image_id, image_id + 1]).tolist()
        return self._boxes.bbox_xywh[first:last], self._boxes.score[first:last]


def boxes_of_pictures(finder: PersonFinder, pictures: Mapping[int, Path], *, exif: ExifRule) -> Boxes:
    """Return what a finder says of picture files, by their number; those that cannot be read have no boxes."""
    sources = [
        Source(kind="picture", place=str(path), name=f"{number}{path.suffix}")
        for number, path in sorted(pictures.items())
    ]
    ids, boxes, scores = list[npt.NDArray[np.int64]](), [np.zeros((0, 4))], [np.zeros(0)]
    for number, frame in zip(sorted(pictures), frames_of_sources(sources, exif=exif), strict=True):
        found, score = finder.boxes_of(frame, number) if frame.pixels is not None else (boxes[0], scores[0])
        ids.append(np.full(len(found), number, np.int64))
        boxes.append(found)
        scores.append(score)
    return Boxes(
        image_id=np.concatenate([np.zeros(0, np.int64), *ids]), bbox_xywh=np.concatenate(boxes),
        score=np.concatenate(scores),
    )  # fmt: skip


class _ImageRecord(msgspec.Struct):
    id: int
    file_name: str


class _ImageList(msgspec.Struct):
    images: list[_ImageRecord]


class ImageNumbers:
    """The ``image_id`` of every frame.

    That of the annotation file where one is given; the picture's name where all of them are different whole numbers,
    as COCO's are; else 1, 2, 3 … in the order of the inputs. The frames of a video count on from 1.
    """

    def __init__(self, sources: Sequence[Source], annotations: Path | None, *, must_be_known: bool) -> None:
        """Raise UsageError where ``must_be_known`` and pictures could only be counted.

        Raises InputError for pictures that the annotation file lacks, and where two of them are one picture of it.
        """
        self._known = _numbers_of(sources, annotations) if annotations else numbered_pictures(sources)
        self._next = 1
        alone = len(sources) == 1 and sources[0].moving
        if must_be_known and self._known is None and not alone:
            raise UsageError(
                "option-conflict", "the boxes name their pictures by number, and these pictures have none",
                hint="--annotations FILE.json, whose images have id and file_name; or names such as 000000000139.jpg",
            )  # fmt: skip

    @property
    def of_pictures(self) -> Sequence[int]:
        """Return the numbers of all pictures, none where they are counted."""
        return list(self._known.values()) if self._known is not None else []

    def of(self, frame: Frame) -> int:
        """Return the frame's number, once for each frame."""
        if self._known is None or frame.source.moving:
            self._next += 1
            return self._next - 1
        return self._known[frame.source.place]


def _numbers_of(sources: Sequence[Source], annotations: Path) -> dict[str, int]:
    """Return the number that the annotation file gives each picture, by its place."""
    numbers, known, unknown = dict[str, int](), _numbers_in(annotations), list[str]()
    for source in sources:
        if source.moving:
            continue
        keys = (source.place, source.name, Path(source.place).name)
        number = next((known[key] for key in keys if key in known), None)
        if number is None:
            unknown.append(source.place)
        else:
            numbers[source.place] = number
    if unknown:
        more = f", and {len(unknown) - 1:,} others" if len(unknown) > 1 else ""
        raise InputError(
            "image-unknown", f"the annotation file has no picture of this name{more}", where=unknown[0],
            hint="another split's file?",
        )  # fmt: skip
    first_of: dict[int, str] = {}
    for place, number in numbers.items():
        if first_of.setdefault(number, place) != place:
            raise InputError(
                "image-id-duplicate", f"the annotation file's picture {number} has the name of this input, too",
                where=f"{first_of[number]}, {place}",
                hint="pictures are told apart by their names in the file; predict one folder at a time",
            )  # fmt: skip
    return numbers


def _numbers_in(annotations: Path) -> Mapping[str, int]:
    try:
        images = msgspec.json.decode(annotations.read_bytes(), type=_ImageList).images
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(
            "json-wrong-kind", f"no list of images with id and file_name can be read: {error}", where=str(annotations)
        ) from error
    return {image.file_name: image.id for image in images}
