"""A network's keypoints in source pictures: output, mirrored output, decoding, inverse geometry."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pose_data.evaluation.nms import rescored
from pose_data.evaluation.people import Detections
from pose_data.events import Event, Listener, silent
from pose_data.order import EpochOrder
from pose_data.reader import ReadableSplit
from pose_data.store import Split
from pose_models.augment import normalised, window_pixels
from pose_models.conventions import Conventions
from pose_models.decode import (
    Output,
    decode_output,
    final_output,
    merge_flipped,
    to_crop,
    to_image,
    without_flip_bias,
)
from pose_models.devices import Place, autocast, gathered
from pose_models.stream import SampleStream

__all__ = ["Predictions", "keypoints_of_crops", "predict_split", "traceable_keypoints"]

_Float = npt.NDArray[np.float64]
_MOST_MAP_VALUES = 1 << 24
"""Of the maps of crops that the network sees at a time: 64 MB in float32, 321 persons' at 64 x 48 with 17 keypoints.

Maps of the crop's full size take more memory than the batch size alone lets expect, features in front of them too.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Keypoints of a split's samples: ``rows`` (n,), ``keypoints`` (n, K, 3) x, y in the source picture and score."""

    rows: npt.NDArray[np.int64]
    keypoints: _Float
    xy_crop: _Float

    def as_detections(self, image_id: npt.NDArray[np.int64], *, least: float = 0.2) -> Detections:
        """Return them as results: score = mean keypoint score above ``least``, as the references rescore true boxes."""
        score = rescored(np.ones(len(self.rows)), self.keypoints[..., 2], least=least)
        return Detections(image_id=image_id[self.rows], keypoints=self.keypoints, score=score)


@torch.inference_mode()
def keypoints_of_crops(
    network: nn.Module, images: Tensor, conventions: Conventions, *, flip_test: bool, amp: str = "off"
) -> tuple[Tensor, Tensor]:
    """Return points (N, K, 2) float64 in the crop, and scores (N, K), of crops (N, 3, H, W), 0 … 255 RGB.

    Crops whose maps are large are looked at some at a time.
    """
    parts = [
        traceable_keypoints(network, part, conventions, flip_test=flip_test, amp=amp)
        for part in torch.split(images, _at_a_time(conventions))
    ]
    points, scores = zip(*parts, strict=True)
    return torch.cat(points), torch.cat(scores)


def _at_a_time(conventions: Conventions) -> int:
    recipe = conventions.recipe
    values = conventions.skeleton.keypoint_count * recipe.map_width * recipe.map_height
    return max(1, _MOST_MAP_VALUES // values)


def traceable_keypoints(
    network: nn.Module, images: Tensor, conventions: Conventions, *, flip_test: bool, amp: str = "off"
) -> tuple[Tensor, Tensor]:
    """Return what :func:`keypoints_of_crops` does, without its inference mode, in which nothing can be traced."""
    simcc = conventions.recipe.encoding == "simcc"
    fed = normalised(images, conventions.pixels)

    def output_of(pixels: Tensor) -> Output:
        with autocast(pixels.device, amp):
            return final_output(network(pixels), simcc=simcc)

    output = output_of(fed)
    if flip_test:
        order = conventions.skeleton.flip_order()
        offsets = conventions.decode == "udp-offset"
        flipped = output_of(fed.flip(-1))
        output = merge_flipped(output, flipped, order, shift=conventions.flip_shift, offsets=offsets)
    points, scores = decode_output(
        output, conventions.decode, blur_kernel=conventions.blur_kernel or None, sigma=conventions.recipe.sigma,
        softmax=conventions.simcc_softmax,
    )  # fmt: skip
    if flip_test and (simcc or conventions.decode == "dark"):
        points = without_flip_bias(points, conventions.recipe, shift=conventions.flip_shift)
    return to_crop(points + conventions.cell_shift, conventions.recipe), scores


def predict_split(
    network: nn.Module,
    split: Split | ReadableSplit,
    conventions: Conventions,
    place: Place,
    *,
    batch_size: int,
    flip_test: bool,
    amp: str = "off",
    threads: int | None = None,
    on_event: Listener = silent,
    after_batch: Callable[[], None] = lambda: None,
) -> Predictions:
    """Return the predictions of all processes together; tell how many samples are done on the way.

    Each process predicts its part of the split, in as many batches as every other. ``after_batch`` is called after each
    of them, in all processes alike; what it raises ends the prediction.
    """
    total = split.facts.rows
    on_event(Event(kind="stage", stage="evaluate", total=total, text=split.facts.split))
    stream = SampleStream(
        split, batch_size=batch_size, device=place.device, order=EpochOrder(shuffle="none"), rank=place.rank,
        world_size=place.world_size, arrays=("images", "transforms"), threads=threads,
    )  # fmt: skip
    recipe = conventions.recipe
    context = recipe.context_px
    parts: list[tuple[npt.NDArray[np.int64], _Float, _Float]] = []
    done = 0
    training = network.training
    network.eval()
    try:
        for batch in stream.epoch(0):
            images = window_pixels(batch.arrays["images"], recipe)
            points, scores = keypoints_of_crops(network, images, conventions, flip_test=flip_test, amp=amp)
            in_picture = to_image(points, batch.arrays["transforms"], context)
            valid = batch.valid.numpy()
            keypoints = torch.cat([in_picture, scores.to(torch.float64)[..., None]], dim=-1).cpu().numpy()[valid]
            parts.append((batch.rows.numpy()[valid], keypoints, points.cpu().numpy()[valid]))
            done += int(valid.sum()) * place.world_size
            on_event(Event(kind="progress", stage="evaluate", done=min(done, total), total=total))
            after_batch()
    finally:
        network.train(training)
        stream.close()
    everyones = [part for mine in gathered(parts, place) for part in mine]
    rows, keypoints, xy_crop = (np.concatenate(columns) for columns in zip(*everyones, strict=True))
    order = np.argsort(rows)
    return Predictions(rows=rows[order], keypoints=keypoints[order], xy_crop=xy_crop[order])
