"""What is evaluated: persons as annotated, and persons as detected. Arrays only.

Coordinates are in the frame of the source picture. COCO's keypoints are indices of whole pixels, its boxes and segments
are continuous; nothing here adds or takes half a pixel.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from pose_data.errors import InputError
from pose_data.skeleton import COCO_PERSON, Skeleton

__all__ = ["Detections", "GroundTruth"]

_Float = npt.NDArray[np.float64]
_Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroundTruth:
    """The annotated persons (G) of some pictures, in the order of their file.

    ``num_keypoints`` is as written: COCO leaves out persons where it says 0, whatever their flags. ``ignored`` is
    what follows from it and from ``iscrowd``.
    """

    image_ids: _Ids
    """(I,) Every picture that is evaluated, with or without persons."""
    image_id: _Ids
    """(G,)"""
    annotation_id: _Ids
    """(G,)"""
    keypoints: _Float
    """(G, K, 3) x, y, visibility."""
    bbox_xywh: _Float
    """(G, 4)"""
    area: _Float
    """(G,) of the segment, square pixels."""
    iscrowd: npt.NDArray[np.bool_]
    """(G,)"""
    num_keypoints: _Ids
    """(G,)"""
    skeleton: Skeleton = COCO_PERSON
    warnings: tuple[str, ...] = ()
    """What was noticed when it was read, for the report."""
    sizes_wh: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """Picture id → width and height, where known."""

    def __post_init__(self) -> None:
        count, joints = len(self.image_id), self.skeleton.keypoint_count
        _check_shapes("ground truth", {
            "annotation_id": (self.annotation_id, (count,)),
            "keypoints": (self.keypoints, (count, joints, 3)),
            "bbox_xywh": (self.bbox_xywh, (count, 4)),
            "area": (self.area, (count,)),
            "iscrowd": (self.iscrowd, (count,)),
            "num_keypoints": (self.num_keypoints, (count,)),
        })  # fmt: skip
        unknown = ~np.isin(self.image_id, self.image_ids)
        if unknown.any():
            first = int(np.flatnonzero(unknown)[0])
            raise InputError(
                "image-unknown",
                f"annotation {self.annotation_id[first]} refers to image {self.image_id[first]}, which is not listed "
                f"({int(unknown.sum())} such annotations)",
                where=f"annotation {first}",
            )

    @property
    def ignored(self) -> npt.NDArray[np.bool_]:
        """Return (G,) which persons may be found or not: crowds, and those without labelled keypoints."""
        ignored: npt.NDArray[np.bool_] = self.iscrowd | (self.num_keypoints == 0)
        return ignored


@dataclass(frozen=True, slots=True, kw_only=True)
class Detections:
    """The detected persons (D), in the order of their file.

    The third number of a keypoint is not looked at. ``bbox_xywh`` is None where results have no boxes; it decides how
    a detection's area is made, see :class:`pose_data.evaluation.matching.EvaluationOptions`.
    """

    image_id: _Ids
    """(D,)"""
    keypoints: _Float
    """(D, K, 3)"""
    score: _Float
    """(D,)"""
    bbox_xywh: _Float | None = None
    """(D, 4)"""
    area: _Float | None = None
    """(D,) where it is not to be made from box or keypoints: that of the whole body, when a part is evaluated."""
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count = len(self.image_id)
        joints = self.keypoints.shape[1] if self.keypoints.ndim == 3 else -1
        shapes: dict[str, tuple[_Float, tuple[int, ...]]] = {
            "keypoints": (self.keypoints, (count, joints, 3)),
            "score": (self.score, (count,)),
        }
        if self.bbox_xywh is not None:
            shapes["bbox_xywh"] = (self.bbox_xywh, (count, 4))
        if self.area is not None:
            shapes["area"] = (self.area, (count,))
        _check_shapes("detections", shapes)
        for name, values in (("keypoints", self.keypoints[..., :2]), ("score", self.score)):
            if _sum_is_finite(values):
                continue
            wrong = ~np.isfinite(values).reshape(count, -1).all(axis=1) if count else np.zeros(0, bool)
            if wrong.any():
                first = int(np.flatnonzero(wrong)[0])
                raise InputError(
                    "num-not-finite",
                    f"{name} are not finite in {int(wrong.sum())} records (first: record {first}, "
                    f"image {self.image_id[first]}); nothing that is not finite is scored",
                    where=f"record {first}",
                    hint="the model diverged, perhaps",
                )

    def __len__(self) -> int:
        """Return D."""
        return len(self.image_id)

    def chosen(self, kept: npt.NDArray[np.bool_]) -> "Detections":
        """Return those of ``kept`` (D,), in their order."""
        boxes, area = self.bbox_xywh, self.area
        return replace(
            self, image_id=self.image_id[kept], keypoints=self.keypoints[kept], score=self.score[kept],
            bbox_xywh=None if boxes is None else boxes[kept], area=None if area is None else area[kept],
        )  # fmt: skip


def _sum_is_finite(values: _Float) -> bool:
    """Return whether the sum is; then every number is, for one that is not makes the sum so."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(values.sum()))


def _check_shapes(what: str, fields: Mapping[str, tuple[npt.NDArray[np.generic], tuple[int, ...]]]) -> None:
    for name, (values, shape) in fields.items():
        if values.shape != shape:
            raise InputError(
                "array-shape", f"{name} of the {what} has the shape {values.shape}, not {shape}",
                hint="14 keypoints against 17: another skeleton?" if name == "keypoints" else "",
            )  # fmt: skip
