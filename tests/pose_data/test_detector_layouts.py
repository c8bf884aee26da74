"""Detectors' outputs told apart, and their boxes read: each layout written here from its definition."""

import numpy as np
import pytest

from pose_data.detector_layouts import LAYOUTS, box_nms, recognised
from pose_data.errors import UsageError

WIDTH, HEIGHT = 160, 128
CELLS = sum((WIDTH // stride) * (HEIGHT // stride) for stride in (8, 16, 32))
BOX = np.array([30.0, 20.0, 90.0, 116.0])
CENTRE, SIZE = (BOX[:2] + BOX[2:]) / 2, BOX[2:] - BOX[:2]
UNIT = np.array([WIDTH, HEIGHT] * 2)


def yolox(raw=True):
    values = np.zeros((1, CELLS, 85), np.float32)
    first = (WIDTH // 8) * (HEIGHT // 8)  # the cells of stride 16 follow
    row, column = 4, 3
    at = first + row * (WIDTH // 16) + column
    if raw:
        values[0, at, :2] = CENTRE / 16 - (column, row)
        values[0, at, 2:4] = np.log(SIZE / 16)
    else:
        number = 0
        for stride in (8, 16, 32):
            rows, columns = np.mgrid[: HEIGHT // stride, : WIDTH // stride]
            count = rows.size
            values[0, number : number + count, :2] = np.stack([columns.ravel(), rows.ravel()], 1) * stride + stride / 2
            number += count
        values[0, at, :2], values[0, at, 2:4] = CENTRE, SIZE
    values[0, at, 4], values[0, at, 5] = 0.9, 0.8
    return {"output": values}, at, 0.72


def yolov8():
    values = np.zeros((1, 84, CELLS), np.float32)
    values[0, :, 7] = [*CENTRE, *SIZE, 0.6, *[0.0] * 79]
    return {"output0": values}, 7, 0.6


def rtdetr_joined():
    values = np.zeros((1, 300, 84), np.float32)
    values[0, 11] = [*(CENTRE / UNIT[:2]), *(SIZE / UNIT[:2]), 0.7, *[0.0] * 79]
    return {"output0": values}, 11, 0.7


def rtdetr_logits():
    logits, boxes = np.full((1, 300, 80), -9.0, np.float32), np.zeros((1, 300, 4), np.float32)
    boxes[0, 5], logits[0, 5, 0] = [*(CENTRE / UNIT[:2]), *(SIZE / UNIT[:2])], 1.0
    return {"logits": logits, "pred_boxes": boxes}, 5, 1 / (1 + np.exp(-1))


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (yolox(), "yolox"), (yolox(raw=False), "yolox"), (yolov8(), "yolov8"),
        (rtdetr_joined(), "rt-detr (boxes and scores in one)"), (rtdetr_logits(), "rt-detr (logits and boxes)"),
    ],
)  # fmt: skip
def test_layouts_with_a_score_for_each_class(made, name):
    outputs, row, score = made
    layout = recognised(outputs, WIDTH, HEIGHT)
    assert layout.name == name
    found = layout.read(outputs, WIDTH, HEIGHT)
    assert found.boxes[row] == pytest.approx(BOX, abs=1e-3)
    assert found.score[row, 0] == pytest.approx(score, abs=1e-6)
    assert found.score.argmax() == row * found.score.shape[1]
    assert found.label is None


def labelled(order, *, unit, boxes="boxes"):
    parts = {
        boxes: (np.stack([BOX, BOX * 0.5]) / (UNIT if unit else 1.0)).astype(np.float32)[None],
        "labels": np.array([[1, 17]], np.int64), "scores": np.array([[0.8, 0.5]], np.float32),
    }  # fmt: skip
    return {name: parts[name] for name in order}


@pytest.mark.parametrize(
    ("outputs", "name"),
    [
        (labelled(("labels", "boxes", "scores"), unit=False), "rt-detr (labels, boxes, scores)"),
        (labelled(("bboxes", "labels", "scores"), unit=True, boxes="bboxes"), "ssd (boxes, labels, scores)"),
        (labelled(("boxes", "scores", "labels"), unit=False), "ssd (boxes, labels, scores)"),
    ],
)
def test_layouts_with_labels(outputs, name):
    layout = recognised(outputs, WIDTH, HEIGHT)
    assert layout.name == name
    found = layout.read(outputs, WIDTH, HEIGHT)
    assert found.boxes[0] == pytest.approx(BOX, abs=1e-3)
    assert found.label.tolist() == [1, 17]
    assert found.score == pytest.approx([0.8, 0.5])


def test_tensorflows_boxes_begin_with_y():
    outputs = {
        "num_detections:0": np.array([1.0], np.float32),
        "detection_boxes:0": (BOX / UNIT)[[1, 0, 3, 2]][None, None].astype(np.float32),
        "detection_scores:0": np.array([[0.9]], np.float32), "detection_classes:0": np.array([[1.0]], np.float32),
    }  # fmt: skip
    layout = recognised(outputs, WIDTH, HEIGHT)
    assert layout.name == "ssd (tensorflow)"
    found = layout.read(outputs, WIDTH, HEIGHT)
    assert found.boxes[0] == pytest.approx(BOX, abs=1e-3)
    assert found.label.tolist() == [layout.first_class]


@pytest.mark.parametrize(
    "outputs",
    [
        {"output0": np.zeros((1, 300, 6))},  # boxes, score and class of end-to-end YOLOs
        {"output": np.zeros((1, 3 * CELLS, 85))},  # YOLOv5: three boxes a cell
        {"logits": np.zeros((1, 100, 92)), "pred_boxes": np.zeros((1, 100, 4))},  # DETR: with a class for nothing
        {"dets": np.zeros((1, 10, 5)), "labels": np.zeros((1, 10), np.int64)},
        {"output": np.zeros((1, 1000))},  # a classifier
    ],
)
def test_other_layouts_are_refused_with_what_was_found(outputs):
    with pytest.raises(UsageError, match="no layout that is known") as caught:
        recognised(outputs, WIDTH, HEIGHT)
    name, value = next(iter(outputs.items()))
    assert f"{name} {value.shape}" in str(caught.value)
    assert all(known in str(caught.value) for known in LAYOUTS)


def test_boxes_that_overlap_a_better_one_are_dropped():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60], [0, 0, 10, 10], [5, 0, 15, 10]], float)
    assert box_nms(boxes, np.array([0.5, 0.9, 0.1, 0.4, 0.3])).tolist() == [1, 4, 2]
    assert box_nms(np.zeros((0, 4)), np.zeros(0)).tolist() == []
    # Boxes without area overlap nothing.
    assert len(box_nms(np.zeros((3, 4)), np.ones(3))) == 3
