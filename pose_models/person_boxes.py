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
        self._boxes = Boxes(image_id=boxes.image_id[order], bbox_xywh=boxes.bbox_xywh[order], score=boxes.score[order])

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
        """Raise UsageError where ``must_be_known`` and pictures could only be counted."""
        self._known = _numbers_in(annotations) if annotations else numbered_pictures(sources)
        self._next = 1
        alone = len(sources) == 1 and sources[0].moving
        if must_be_known and self._known is None and not alone:
            raise UsageError(
                "option-conflict", "the boxes name their pictures by number, and these pictures have none",
                hint="--annotations FILE.json, whose images have id and file_name; or names such as 000000000139.jpg",
            )  # fmt: skip

    def of(self, frame: Frame) -> int:
        """Return the frame's number, once for each frame. Raises InputError for one the annotation file lacks."""
        if self._known is None or frame.source.moving:
            self._next += 1
            return self._next - 1
        path = Path(frame.source.place)
        for key in (frame.source.place, frame.source.name, path.name):
            if key in self._known:
                return self._known[key]
        raise InputError(
            "image-unknown", "the annotation file has no picture of this name", where=frame.source.place,
            hint="another split's file?",
        )  # fmt: skip


def _numbers_in(annotations: Path) -> Mapping[str, int]:
    try:
        images = msgspec.json.decode(annotations.read_bytes(), type=_ImageList).images
    except (OSError, msgspec.MsgspecError) as error:
        raise InputError(
            "json-wrong-kind", f"no list of images with id and file_name can be read: {error}", where=str(annotations)
        ) from error
    return {image.file_name: image.id for image in images}
