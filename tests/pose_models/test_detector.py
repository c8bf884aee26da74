"""Detectors in ONNX files: pictures prepared as each family wants them, boxes back in the picture, what is refused."""

import json

import numpy as np
import pytest

from pipelines.prepare import prepare
from pose_data.errors import ModelError, UsageError
from pose_data.imaging import encode_png
from pose_data.media import Frame, Source
from pose_data.recipes import build_recipe
from pose_models.detector import Detector
from pose_models.evaluate import evaluate
from pose_models.predict import predict

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
WIDTH, HEIGHT = 96, 64
CELLS = sum((WIDTH // stride) * (HEIGHT // stride) for stride in (8, 16, 32))
SOURCE = Source(kind="picture", place="a.png", name="a.png")


def model(path, outputs, *, watched, shape=(1, 3, HEIGHT, WIDTH), dtype="FLOAT", factor=1.0):
    """Write a detector whose outputs are constants, but for one number: the mean of the input's first channel.

    ``watched`` is (output, index): there the mean times ``factor`` is added.
    """
    helper, kinds = onnx.helper, onnx.TensorProto
    channel = helper.make_node("Gather", ["floats", "zero"], ["channel"], axis=3 if shape[3] == 3 else 1)
    nodes = [
        helper.make_node("Cast", ["images"], ["floats"], to=kinds.FLOAT), channel,
        helper.make_node("ReduceMean", ["channel"], ["mean"], keepdims=0),
    ]  # fmt: skip
    constants = [onnx.numpy_helper.from_array(np.array(0), "zero")]
    given = []
    for name, value in outputs.items():
        constants.append(onnx.numpy_helper.from_array(value, f"{name}_constant"))
        if name == watched[0]:
            mask = np.zeros_like(value)
            mask[watched[1]] = factor
            constants.append(onnx.numpy_helper.from_array(mask, f"{name}_mask"))
            nodes.append(helper.make_node("Mul", [f"{name}_mask", "mean"], [f"{name}_added"]))
            nodes.append(helper.make_node("Add", [f"{name}_constant", f"{name}_added"], [name]))
        else:
            nodes.append(helper.make_node("Identity", [f"{name}_constant"], [name]))
        given.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape))
    taken = helper.make_tensor_value_info("images", getattr(kinds, dtype), shape)
    graph = helper.make_graph(nodes, "detector", [taken], given, constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(path))
    return path


def yolov8(path, box=(32, 8, 64, 56), classes=80, **options):
    values = np.zeros((1, 4 + classes, CELLS), np.float32)
    x0, y0, x1, y1 = box
    values[0, :5, 3] = [(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0, 0.0]
    return model(path, {"output0": values}, watched=("output0", (0, 4, 3)), **options)


def frame(width, height, colour):
    return Frame(source=SOURCE, pixels=np.full((height, width, 3), colour, np.uint8))


def test_a_picture_keeps_its_proportions_in_the_middle(tmp_path):
    detector = Detector(yolov8(tmp_path / "a.onnx"))
    assert detector.layout.name == "yolov8"
    # Half as wide as the detector's input: 32 x 64 in the middle, at twice the picture's size.
    boxes, score = detector.boxes_of(frame(16, 32, (255, 0, 0)), 1)
    assert boxes.tolist() == [[0.0, 4.0, 16.0, 24.0]]
    # A third is red (1), the rest grey (114 / 255): red is the first channel, in 0 … 1.
    assert score[0] == pytest.approx(1 / 3 + 2 / 3 * 114 / 255, abs=0.01)


def test_yolox_takes_blue_first_in_0_to_255_and_the_upper_left_corner(tmp_path):
    values = np.zeros((1, CELLS, 85), np.float32)
    values[0, 0, :4] = [2.0, 2.0, np.log(2.0), np.log(4.0)]
    values[0, 0, 4:6] = [0.9, 0.0]
    path = model(tmp_path / "a.onnx", {"output": values}, watched=("output", (0, 0, 5)), factor=1 / 255)
    boxes, score = Detector(path).boxes_of(frame(48, 64, (0, 0, 255)), 1)
    assert boxes[0] == pytest.approx([8, 0, 16, 32])  # centre (16, 16), 16 x 32
    assert score[0] == pytest.approx(0.9 * (0.5 + 0.5 * 114 / 255), abs=0.01)


def test_ssd_of_tensorflow_takes_bytes_and_is_stretched(tmp_path):
    outputs = {
        "detection_boxes": np.array([[[0.25, 0.5, 0.75, 1.0], [0, 0, 1, 1]]], np.float32),
        "detection_scores": np.array([[0.0, 0.9]], np.float32),
        "detection_classes": np.array([[1.0, 18.0]], np.float32),
    }  # fmt: skip
    path = model(
        tmp_path / "a.onnx", outputs, watched=("detection_scores", (0, 0)), shape=(1, HEIGHT, WIDTH, 3), dtype="UINT8",
        factor=1 / 255,
    )  # fmt: skip
    detector = Detector(path)
    assert detector.layout.name == "ssd (tensorflow)"
    boxes, score = detector.boxes_of(frame(200, 100, (204, 0, 0)), 1)
    assert boxes == pytest.approx(np.array([[100, 25, 100, 50]]), abs=1e-4)
    assert score == pytest.approx([0.8], abs=1e-3)


def test_weak_and_tiny_boxes_are_left_out(tmp_path):
    path = yolov8(tmp_path / "a.onnx")
    assert Detector(path, least_score=0.3).boxes_of(frame(96, 64, (40, 0, 0)), 1)[0].shape == (0, 4)
    assert Detector(path, least_score=0.1).boxes_of(frame(96, 64, (40, 0, 0)), 1)[0].shape == (1, 4)
    # Of a picture of one pixel a box is never a pixel wide unless it is the whole of it.
    assert len(Detector(path).boxes_of(frame(1, 1, (255, 0, 0)), 1)[0]) <= 1


def test_an_open_size_becomes_640(tmp_path):
    values = np.zeros((1, 84, 8400), np.float32)
    path = model(tmp_path / "a.onnx", {"output0": values}, watched=("output0", (0, 4, 0)), shape=("n", 3, "h", "w"))
    assert Detector(path).layout.name == "yolov8"


def test_other_classes_need_to_be_told(tmp_path):
    path = yolov8(tmp_path / "a.onnx", classes=5)
    with pytest.raises(UsageError, match="5 classes") as caught:
        Detector(path)
    assert caught.value.hint == "--person-class N, counted from 0"
    assert len(Detector(path, person_class=0).boxes_of(frame(96, 64, (255, 0, 0)), 1)[0]) == 1


def test_other_layouts_and_other_files_are_refused_with_what_they_are(tmp_path, untrained_run):
    path = model(tmp_path / "a.onnx", {"out": np.zeros((1, 1000), np.float32)}, watched=("out", (0, 0)))
    with pytest.raises(UsageError, match=r"no layout that is known: out \(1, 1000\)"):
        Detector(path)
    path = model(
        tmp_path / "b.onnx", {"out": np.zeros((1, 84, CELLS), np.float32)}, watched=("out", (0, 4, 0)), dtype="INT64"
    )
    with pytest.raises(UsageError, match=r"takes images tensor\(int64\)"):
        Detector(path)
    with pytest.raises(ModelError, match="no such file"):
        Detector(tmp_path / "none.onnx")


def test_predict_with_a_detector(untrained_run, tmp_path):
    (tmp_path / "in").mkdir()
    for name, colour in (("a.png", (255, 0, 0)), ("b.png", (0, 0, 0))):
        (tmp_path / "in" / name).write_bytes(encode_png(np.full((64, 96, 3), colour, np.uint8)))
    detector = yolov8(tmp_path / "d.onnx")
    report = predict(untrained_run, [tmp_path / "in"], out=tmp_path / "out", detector=detector, device="cpu")
    assert (report.frames, report.persons, report.boxes) == (2, 1, "d.onnx")
    (record,) = json.loads((tmp_path / "out/keypoints.json").read_bytes())
    assert (record["image_id"], record["bbox"]) == (1, [32.0, 8.0, 32.0, 48.0])
    with pytest.raises(UsageError, match="from a file or from a detector"):
        predict(untrained_run, [tmp_path / "in"], out=tmp_path / "new", detector=detector, boxes="b.json")


def test_evaluation_and_prediction_look_in_the_same_boxes(untrained_run, shared, tmp_path):
    root = shared / "data/coco-sample"
    recipe = build_recipe("coco-256x192-udp", crop_width_px=96, crop_height_px=128, map_width=24, map_height=32)
    prepare(tmp_path / "crops.zarr", root=root, splits=("train2017",), recipe=recipe)
    store, images = tmp_path / "crops.zarr", root / "train2017"
    options = {"data": store, "split": "train2017", "images": images, "flip_test": False, "device": "cpu"}
    chosen = {"detector": yolov8(tmp_path / "d.onnx", box=(8, 4, 88, 60))}
    for number, boxes in enumerate((chosen, {"boxes": "whole"})):
        report = evaluate(untrained_run, results=tmp_path / f"{number}.json", **boxes, **options)
        assert report.boxes == ("d.onnx" if number == 0 else "whole")
        predict(
            untrained_run, [images], out=tmp_path / str(number), device="cpu", exif="ignore", save=("json",), **boxes
        )
        theirs = {r["image_id"]: r["keypoints"] for r in json.loads((tmp_path / f"{number}.json").read_bytes())}
        mine = {
            r["image_id"]: r["keypoints"] for r in json.loads((tmp_path / str(number) / "keypoints.json").read_bytes())
        }
        assert len(theirs) > 5
        for image_id, keypoints in theirs.items():
            assert mine[image_id] == pytest.approx(keypoints, rel=1e-3, abs=0.05)
    with pytest.raises(UsageError, match="from a file or from a detector"):
        evaluate(untrained_run, boxes="b.json", **chosen, **options)
