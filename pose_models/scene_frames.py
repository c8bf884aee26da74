"""Persons of many frames by a network of whole pictures: letterboxed, in full batches, grouped, back in the frames."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from pose_data.frame_queue import overlapped
from pose_data.geometry import boxes_from_keypoints, invert_affines, letterbox_transforms
from pose_data.imaging import warp_crop
from pose_data.media import Frame
from pose_data.people_found import PeopleFound
from pose_data.scene_rows import BORDER_GREY
from pose_models.conventions import Conventions
from pose_models.scene_inference import FoundPersons, in_picture, persons_of_pictures

__all__ = ["MOST_PICTURES", "SceneEstimator", "people_in_scenes", "persons_in_pixels"]

MOST_PICTURES = 8
"""At a time: a picture takes twenty times the memory of a crop, inside the network too."""


class SceneEstimator(Protocol):
    """A network of whole pictures with its conventions."""

    @property
    def conventions(self) -> Conventions:
        """Return the size of pictures, the limbs and the grouping."""
        ...

    def maps_and_fields(self, images: npt.NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Return maps and fields of pictures (N, H, W, 3) uint8 RGB."""
        ...


def people_in_scenes(
    frames: Iterable[Frame],
    estimator: SceneEstimator,
    image_id_of: Callable[[Frame], int],
    *,
    batch_size: int,
    keep_pixels: bool = True,
) -> Iterator[PeopleFound]:
    """Yield the persons of every frame, in order; frames that could not be read have none.

    Frames wait until ``batch_size`` of them are there, but never those of a live source. The box of a person is that
    of its keypoints.
    """
    batch_size = min(batch_size, MOST_PICTURES)

    def look(batch: list[tuple[Frame, int]]) -> list[FoundPersons]:
        readable = [frame.to_warp for frame, _ in batch if frame.to_warp is not None]
        return persons_in_pixels(readable, estimator.conventions, find)

    def find(images: npt.NDArray[np.uint8]) -> list[FoundPersons]:
        return persons_of_pictures(*estimator.maps_and_fields(images), estimator.conventions)

    def urgent(batch: list[tuple[Frame, int]]) -> bool:
        return batch[-1][0].live or batch_size == 1

    for batch, found in overlapped(_batches(frames, image_id_of, batch_size), look, urgent=urgent):
        persons = iter(found)
        for frame, image_id in batch:
            yield _people(frame, image_id, _NOBODY if frame.pixels is None else next(persons), keep_pixels)


def _batches(
    frames: Iterable[Frame], image_id_of: Callable[[Frame], int], batch_size: int
) -> Iterator[list[tuple[Frame, int]]]:
    waiting: list[tuple[Frame, int]] = []
    for frame in frames:
        waiting.append((frame, image_id_of(frame)))
        if len(waiting) >= batch_size or frame.live:
            yield waiting
            waiting = []
    if waiting:
        yield waiting


def persons_in_pixels(
    pictures: Sequence[npt.NDArray[np.uint8]],
    conventions: Conventions,
    find: Callable[[npt.NDArray[np.uint8]], list[FoundPersons]],
) -> list[FoundPersons]:
    """Return the persons of pictures (H, W, 3) of any sizes, in their own pixels; or (H, W, 4), the last unused.

    They are letterboxed to the size that the network was trained and evaluated on, and given to ``find`` together.
    """
    if not pictures:
        return []
    width, height = conventions.recipe.stored_width_px, conventions.recipe.stored_height_px
    sizes = np.array([pixels.shape[1::-1] for pixels in pictures], np.float64)
    to_stored = letterbox_transforms(sizes, width_px=width, height_px=height)
    images = np.empty((len(pictures), height, width, 3), np.uint8)
    for pixels, transform, image in zip(pictures, to_stored, images, strict=True):
        warp_crop(pixels, transform, image, border=BORDER_GREY)
    back = invert_affines(to_stored)
    return [in_picture(found, one) for found, one in zip(find(images), back, strict=True)]


_NOBODY = FoundPersons(keypoints=np.zeros((0, 17, 3)), score=np.zeros(0))


def _people(frame: Frame, image_id: int, persons: FoundPersons, keep_pixels: bool) -> PeopleFound:
    height, width = frame.pixels.shape[:2] if frame.pixels is not None else (0, 0)
    return PeopleFound(
        frame=frame if keep_pixels else frame.without_pixels(), image_id=image_id, width_px=width,
        height_px=height, keypoints=persons.keypoints, score=persons.score,
        bbox_xywh=boxes_from_keypoints(persons.keypoints),
    )  # fmt: skip
