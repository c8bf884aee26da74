"""Persons of many frames at a time: boxes, crops, the network in full batches, back into the frames."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pose_data.evaluation.nms import oks_nms, rescored
from pose_data.frame_queue import overlapped
from pose_data.geometry import apply_affines
from pose_data.media import Frame
from pose_data.people_found import PeopleFound
from pose_data.recipes import Recipe
from pose_models.box_crops import CropCutter
from pose_models.estimator import Estimator
from pose_models.person_boxes import PersonFinder
from pose_models.scene_frames import people_in_scenes

__all__ = ["BatchOptions", "people_in_frames"]

_Float = npt.NDArray[np.float64]
_HELD_BYTES = 64_000_000
"""Of frames whose persons wait for a full batch; as much again is in the network."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How frames become persons."""

    batch_size: int = 32
    """Crops that the network sees at a time."""
    nms_threshold: float = 0.9
    """OKS above which a person is dropped for a better one of the same frame."""
    least_keypoint_score: float = 0.2
    """Keypoints below it do not count for a person's score."""
    each_frame: bool = False
    """Whether no frame waits for others, as if all were live: somebody is watching."""
    keep_pixels: bool = True
    """Whether the frames' pixels are handed on, for drawing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Waiting:
    frame: Frame
    image_id: int
    size_wh: tuple[int, int]
    boxes: _Float
    box_score: _Float
    crops: npt.NDArray[np.uint8]
    back: _Float


def people_in_frames(
    frames: Iterable[Frame],
    finder: PersonFinder,
    estimator: Estimator,
    image_id_of: Callable[[Frame], int],
    options: BatchOptions,
) -> Iterator[PeopleFound]:
    """Yield the persons of every frame, in order; frames that could not be read have none.

    Frames wait until ``batch_size`` crops are there, but never those of a live source. Keypoints, scores and
    suppression are those of ``posetrain evaluate --boxes``. A network of whole pictures needs no ``finder``.
    """
    if estimator.conventions.grouping:
        size = 1 if options.each_frame else options.batch_size
        yield from people_in_scenes(frames, estimator, image_id_of, batch_size=size, keep_pixels=options.keep_pixels)
        return

    recipe = replace(estimator.conventions.recipe, context_px=0)
    items = (_looked_for(frame, image_id_of(frame), finder, recipe, options.keep_pixels) for frame in frames)

    def look(batch: list[_Waiting]) -> _Float:
        return _keypoints(batch, estimator, options.batch_size)

    for batch, found in overlapped(_batches(items, options), look, urgent=lambda batch: _urgent(batch[-1], options)):
        ends = np.cumsum([len(item.boxes) for item in batch])[:-1]
        for item, keypoints in zip(batch, np.split(found, ends), strict=True):
            yield _people(item, keypoints, estimator, options)


def _urgent(item: _Waiting, options: BatchOptions) -> bool:
    return item.frame.live or options.each_frame


def _batches(items: Iterable[_Waiting], options: BatchOptions) -> Iterator[list[_Waiting]]:
    waiting: list[_Waiting] = []
    crops = held_bytes = 0
    for item in items:
        waiting.append(item)
        crops += len(item.boxes)
        held_bytes += item.crops.nbytes + (item.frame.to_warp.nbytes if item.frame.to_warp is not None else 0)
        full = crops >= options.batch_size or held_bytes >= _HELD_BYTES or len(waiting) >= 4 * options.batch_size
        if full or _urgent(item, options):
            yield waiting
            waiting, crops, held_bytes = [], 0, 0
    if waiting:
        yield waiting


def _looked_for(frame: Frame, image_id: int, finder: PersonFinder, recipe: Recipe, keep_pixels: bool) -> _Waiting:
    boxes, box_score = np.zeros((0, 4)), np.zeros(0)
    size_wh = (0, 0)
    if frame.pixels is not None:
        size_wh = (frame.pixels.shape[1], frame.pixels.shape[0])
        boxes, box_score = finder.boxes_of(frame, image_id)
    cutter = CropCutter(boxes, recipe)
    crops = np.empty((0, recipe.crop_height_px, recipe.crop_width_px, 3), np.uint8)
    if (pixels := frame.to_warp) is not None:
        crops = cutter.cut(pixels, np.arange(len(boxes)))
    return _Waiting(
        frame=frame if keep_pixels else frame.without_pixels(), image_id=image_id, size_wh=size_wh,
        boxes=boxes, box_score=box_score, crops=crops, back=cutter.back,
    )  # fmt: skip


def _keypoints(items: list[_Waiting], estimator: Estimator, batch_size: int) -> _Float:
    """Return (N, K, 3) of all crops of some frames, one after another."""
    images = np.concatenate([item.crops for item in items])
    parts = [estimator.keypoints(images[first : first + batch_size]) for first in range(0, len(images), batch_size)]
    return np.concatenate(parts) if parts else np.zeros((0, estimator.conventions.skeleton.keypoint_count, 3))


def _people(item: _Waiting, in_crop: _Float, estimator: Estimator, options: BatchOptions) -> PeopleFound:
    keypoints = in_crop.astype(np.float64)
    keypoints[..., :2] = apply_affines(item.back, in_crop[..., :2])
    score = rescored(item.box_score, keypoints[..., 2], least=options.least_keypoint_score)
    padding = estimator.conventions.recipe.padding
    # The references take the area of the grown box for the suppression.
    area = (item.boxes[:, 2] * padding) * (item.boxes[:, 3] * padding)
    sigmas = estimator.conventions.skeleton.sigmas
    kept = np.arange(len(score))
    if len(score) > 1 and len(sigmas) == keypoints.shape[1]:
        kept = np.sort(oks_nms(keypoints, area, score, sigmas, threshold=options.nms_threshold))
    return PeopleFound(
        frame=item.frame, image_id=item.image_id, width_px=item.size_wh[0], height_px=item.size_wh[1],
        keypoints=keypoints[kept], score=score[kept], bbox_xywh=item.boxes[kept],
    )  # fmt: skip
