"""What object detectors in ONNX files take and give: the layouts of four families, told apart by their outputs.

Boxes become (D, 4) ``x0, y0, x1, y1`` in pixels of the detector's input, edges counted from the input's corner.

Sources: Megvii-BaseDetection/YOLOX, yolox/models/yolo_head.py and demo/ONNXRuntime; ultralytics, YOLOv8 and RT-DETR
ONNX exports; lyuwenyu/RT-DETR, tools/export_onnx.py; Hugging Face transformers, RTDetrForObjectDetection; onnx/models,
SSD and SSD-MobileNetV1; TensorFlow's object detection API.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt

from pose_data.errors import UsageError

__all__ = ["LAYOUTS", "Found", "Layout", "box_nms", "recognised"]

_Float = npt.NDArray[np.float64]
Outputs = Mapping[str, npt.NDArray[np.generic]]
_STRIDES = (8, 16, 32)
_DETR_CLASSES = 92
"""COCO's classes and one for nothing: such logits go through a softmax, which is not one of the four families'."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A detector's answer for one picture."""

    boxes: _Float
    """(D, 4) x0, y0, x1, y1 in pixels of the input."""
    score: _Float
    """(D, C) a score for each class, or (D,) that of the class in ``label``."""
    label: npt.NDArray[np.int64] | None = None
    """(D,) where each box has one class only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a family's pictures are prepared and its outputs read."""

    name: str
    fit: Literal["corner", "centre", "stretch"]
    """Scaled with its proportions and put into the upper left corner, or into the middle; or stretched."""
    bgr: bool = False
    scale: float = 1.0
    """Pixels of 0 to 255 are divided by it."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    overlapping: bool = False
    """Whether a person may have several boxes: they are suppressed here."""
    first_class: int = 0
    """The number of the person in a list of classes without background."""
    read: Callable[[Outputs, int, int], Found]


def recognised(outputs: Outputs, width_px: int, height_px: int) -> Layout:
    """Return the layout of a detector's outputs for an input of this size.

    Raises UsageError ``detector-layout``, with what was found, where it is of none of the families.
    """
    for name, fits in _RULES:
        if fits(outputs, _cells(width_px, height_px)):
            return LAYOUTS[name]
    found = ", ".join(f"{name} {value.shape}" for name, value in outputs.items())
    raise UsageError(
        "detector-layout", f"the detector's outputs are of no layout that is known: {found}",
        hint=f"known: {', '.join(LAYOUTS)}; or write its boxes to a COCO detections file and name that with --boxes",
    )  # fmt: skip


def box_nms(boxes: _Float, score: _Float, *, threshold: float = 0.65) -> npt.NDArray[np.intp]:
    """Return the boxes (D, 4) that are kept, best first: those that overlap a better one by more are dropped."""
    order = np.argsort(-score, kind="stable")
    area = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0), axis=1)
    kept: list[int] = []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(int(best))
        low, high = np.maximum(boxes[best, :2], boxes[rest, :2]), np.minimum(boxes[best, 2:], boxes[rest, 2:])
        common = np.prod(np.maximum(high - low, 0.0), axis=1)
        union = area[best] + area[rest] - common
        order = rest[common <= threshold * np.maximum(union, 1e-9)]
    return np.array(kept, np.intp)


def _cells(width_px: int, height_px: int) -> int:
    return sum((height_px // stride) * (width_px // stride) for stride in _STRIDES)


# ---------------------------------------------------------------------------------- telling them apart


def _only(outputs: Outputs) -> tuple[int, ...]:
    """Return the shape behind the batch of the only output; () where there are several."""
    shapes = [value.shape for value in outputs.values()]
    return shapes[0][1:] if len(shapes) == 1 and len(shapes[0]) == 3 else ()


def _is_yolox(outputs: Outputs, cells: int) -> bool:
    shape = _only(outputs)
    return len(shape) == 2 and shape[0] == cells and shape[1] >= 6


def _is_yolov8(outputs: Outputs, cells: int) -> bool:
    shape = _only(outputs)
    return len(shape) == 2 and shape[1] == cells and shape[0] >= 5


def _is_rtdetr_joined(outputs: Outputs, cells: int) -> bool:
    # Six columns are x0, y0, x1, y1, score, class of end-to-end YOLOs.
    shape = _only(outputs)
    return len(shape) == 2 and 20 <= shape[0] <= 1000 and shape[0] != cells and shape[1] > 6


def _is_rtdetr_logits(outputs: Outputs, cells: int) -> bool:
    if len(outputs) != 2:
        return False
    boxes, logits = _by_last_axis(outputs)
    return boxes is not None and logits is not None and logits.shape[-1] != _DETR_CLASSES


def _is_rtdetr_labelled(outputs: Outputs, cells: int) -> bool:
    return _three(outputs) is not None and list(outputs) == ["labels", "boxes", "scores"]


def _is_ssd(outputs: Outputs, cells: int) -> bool:
    return _three(outputs) is not None


def _is_tensorflow_ssd(outputs: Outputs, cells: int) -> bool:
    names = {name.partition(":")[0] for name in outputs}
    return {"detection_boxes", "detection_scores", "detection_classes"} <= names


def _by_last_axis(outputs: Outputs) -> tuple[npt.NDArray[np.generic] | None, npt.NDArray[np.generic] | None]:
    """Return boxes (1, Q, 4) and logits (1, Q, C) of two outputs, None where they are not such."""
    first, second = outputs.values()
    if first.ndim != 3 or second.ndim != 3 or first.shape[1] != second.shape[1]:
        return None, None
    if "box" in next(iter(outputs)) and first.shape[2] == 4:
        return first, second
    if second.shape[2] == 4:
        return second, first
    return (first, second) if first.shape[2] == 4 else (None, None)


def _three(outputs: Outputs) -> tuple[_Float, npt.NDArray[np.int64], _Float] | None:
    """Return boxes (M, 4), labels (M,) and scores (M,) of three outputs, None where they are not such."""
    if len(outputs) != 3:
        return None
    parts: dict[str, npt.NDArray[np.generic]] = {}
    for name, value in outputs.items():
        flat = value[0] if value.ndim > 1 and value.shape[0] == 1 else value
        if flat.ndim == 2 and flat.shape[1] == 4:
            parts["boxes"] = flat
        elif flat.ndim == 1 and (np.issubdtype(flat.dtype, np.integer) or "label" in name):
            parts["labels"] = flat
        elif flat.ndim == 1:
            parts["scores"] = flat
    if len(parts) != 3 or len({len(value) for value in parts.values()}) != 1:
        return None
    return (
        parts["boxes"].astype(np.float64), parts["labels"].astype(np.int64), parts["scores"].astype(np.float64)
    )  # fmt: skip


# ---------------------------------------------------------------------------------- reading


def _read_yolox(outputs: Outputs, width_px: int, height_px: int) -> Found:
    """Centres as offsets in a cell, sizes as logarithms, both in strides; objectness times class.

    A file that was written with its boxes decoded has centres in pixels: far beyond any cell.
    """
    (values,) = (value[0].astype(np.float64) for value in outputs.values())
    centre, size = values[:, :2], values[:, 2:4]
    grids, strides = [], []
    for stride in _STRIDES:
        rows, columns = np.mgrid[: height_px // stride, : width_px // stride]
        grids.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        strides.append(np.full((rows.size, 1), float(stride)))
    stride_px = np.concatenate(strides)
    raw = float(np.abs(centre - np.concatenate(grids) * stride_px).mean()) > float(np.abs(centre).mean())
    if raw:
        centre = (centre + np.concatenate(grids)) * stride_px
        size = np.exp(np.minimum(size, 20.0)) * stride_px
    return Found(boxes=_corners(centre, size), score=values[:, 4:5] * values[:, 5:])


def _read_yolov8(outputs: Outputs, width_px: int, height_px: int) -> Found:
    (values,) = (value[0].astype(np.float64).T for value in outputs.values())
    return Found(boxes=_corners(values[:, :2], values[:, 2:4]), score=values[:, 4:])


def _read_rtdetr_joined(outputs: Outputs, width_px: int, height_px: int) -> Found:
    (values,) = (value[0].astype(np.float64) for value in outputs.values())
    boxes = _corners(values[:, :2], values[:, 2:4]) * np.array([width_px, height_px] * 2, float)
    return Found(boxes=boxes, score=values[:, 4:])


def _read_rtdetr_logits(outputs: Outputs, width_px: int, height_px: int) -> Found:
    boxes, logits = _by_last_axis(outputs)
    assert boxes is not None
    assert logits is not None
    values = boxes[0].astype(np.float64)
    corners = _corners(values[:, :2], values[:, 2:4]) * np.array([width_px, height_px] * 2, float)
    return Found(boxes=corners, score=1.0 / (1.0 + np.exp(-logits[0].astype(np.float64))))


def _read_labelled(outputs: Outputs, width_px: int, height_px: int) -> Found:
    three = _three(outputs)
    assert three is not None
    boxes, labels, scores = three
    # Exports differ: shares of the input's sides, or its pixels.
    if len(boxes) and np.abs(boxes).max() <= 2.0:
        boxes = boxes * np.array([width_px, height_px] * 2, float)
    return Found(boxes=boxes, score=scores, label=labels)


def _read_tensorflow_ssd(outputs: Outputs, width_px: int, height_px: int) -> Found:
    named = {name.partition(":")[0]: value[0] for name, value in outputs.items()}
    boxes = named["detection_boxes"].astype(np.float64)[:, [1, 0, 3, 2]]
    return Found(
        boxes=boxes * np.array([width_px, height_px] * 2, float), score=named["detection_scores"].astype(np.float64),
        label=np.rint(named["detection_classes"].astype(np.float64)).astype(np.int64),
    )  # fmt: skip


def _corners(centre: _Float, size: _Float) -> _Float:
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1)


_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LAYOUTS: Mapping[str, Layout] = MappingProxyType(
    {
        layout.name: layout
        for layout in (
            Layout(name="yolox", fit="corner", bgr=True, overlapping=True, read=_read_yolox),
            Layout(name="yolov8", fit="centre", scale=255.0, overlapping=True, read=_read_yolov8),
            Layout(name="rt-detr (boxes and scores in one)", fit="stretch", scale=255.0, read=_read_rtdetr_joined),
            Layout(name="rt-detr (logits and boxes)", fit="stretch", scale=255.0, read=_read_rtdetr_logits),
            Layout(name="rt-detr (labels, boxes, scores)", fit="stretch", scale=255.0, read=_read_labelled),
            Layout(
                name="ssd (boxes, labels, scores)", fit="stretch", scale=255.0, mean=_IMAGENET_MEAN,
                std=_IMAGENET_STD, first_class=1, read=_read_labelled,
            ),
            Layout(name="ssd (tensorflow)", fit="stretch", first_class=1, read=_read_tensorflow_ssd),
        )
    }
)  # fmt: skip
_RULES: Sequence[tuple[str, Callable[[Outputs, int], bool]]] = (
    ("yolox", _is_yolox),
    ("yolov8", _is_yolov8),
    ("rt-detr (boxes and scores in one)", _is_rtdetr_joined),
    ("rt-detr (logits and boxes)", _is_rtdetr_logits),
    ("rt-detr (labels, boxes, scores)", _is_rtdetr_labelled),
    ("ssd (tensorflow)", _is_tensorflow_ssd),
    ("ssd (boxes, labels, scores)", _is_ssd),
)
