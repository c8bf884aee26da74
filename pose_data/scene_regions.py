"""The parts of a picture that must not be trained on: crowds, and persons whose keypoints nobody marked.

A network that is right about a person without labels would be taught that it is wrong (openpifpaf#151: 44.3
against 40.9 AP with and without masks). Two rules, by name:

``crowds``
    The masks of crowds, and nothing else: Daniil-Osokin/lightweight-human-pose-estimation.pytorch,
    ``scripts/prepare_train_labels.py``.
``unlabelled``
    Crowds and persons without labels, but for the pixels of labelled persons, whose targets are whole
    there.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pose_data.errors import UsageError
from pose_data.imaging import person_mask

__all__ = ["SceneAnnotation", "untrained_region"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneAnnotation:
    """What the region needs of one annotation; ``labelled``: its keypoints are in the targets."""

    segmentation: Any
    """COCO's: polygons or RLE; None or unusable: the box stands for it."""
    bbox_xywh_image: tuple[float, float, float, float] | None
    crowd: bool
    labelled: bool


def untrained_region(
    annotations: Iterable[SceneAnnotation],
    width_px: int,
    height_px: int,
    *,
    rule: Literal["crowds", "unlabelled"] = "unlabelled",
) -> NDArray[np.bool_]:
    """Return (height_px, width_px) bool, True where a picture must not be trained on.

    Frame ``image``; warp it as the picture, then see :func:`pose_data.targets.paf.trainable_share`.
    Raises UsageError for another rule.
    """
    if rule not in ("crowds", "unlabelled"):
        raise UsageError("option-value", f"the rule is {rule!r}", hint="crowds or unlabelled")
    region = np.zeros((height_px, width_px), dtype=np.bool_)
    trained = np.zeros_like(region)
    for annotation in annotations:
        if annotation.crowd or (rule == "unlabelled" and not annotation.labelled):
            region |= _covered(annotation, width_px, height_px)
        elif annotation.labelled:
            trained |= _masked(annotation, width_px, height_px)
    return region & ~trained if rule == "unlabelled" else region


def _masked(annotation: SceneAnnotation, width_px: int, height_px: int) -> NDArray[np.bool_]:
    mask = person_mask(annotation.segmentation, width_px, height_px)
    return np.zeros((height_px, width_px), dtype=np.bool_) if mask is None else mask.astype(np.bool_)


def _covered(annotation: SceneAnnotation, width_px: int, height_px: int) -> NDArray[np.bool_]:
    covered = _masked(annotation, width_px, height_px)
    if annotation.bbox_xywh_image is not None and np.isfinite(annotation.bbox_xywh_image).all() and not covered.any():
        left, top, width, height = annotation.bbox_xywh_image
        # Pixel i is from i - 1/2 to i + 1/2: those with their centre in the box.
        columns, rows = np.arange(width_px), np.arange(height_px)
        in_columns = (columns + 0.5 > left) & (columns + 0.5 < left + width)
        covered |= ((rows + 0.5 > top) & (rows + 0.5 < top + height))[:, None] & in_columns
    return covered
