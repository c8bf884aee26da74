"""Exports: the same keypoints out of one graph, in any batch size, precision and decoding; and what is refused."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from pipelines.prepare import prepare
from pose_data.errors import ModelError, UsageError
from pose_data.recipes import build_recipe
from pose_models.checkpoint import mark_best
from pose_models.checkpoint_export import WeightsReport
from pose_models.estimator import TorchScriptEstimator, open_estimator
from pose_models.export import FORMATS, export
from pose_models.onnx_estimator import FACTS_KEY, OnnxEstimator
from pose_models.parity import CLOSE_PX, compare, crops_of_split, generated_crops

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def torch_estimator(run, *, flip_test=False):
    import torch

    return open_estimator(run, checkpoint="best", device=torch.device("cpu"), flip_test=flip_test)


@pytest.fixture(scope="module")
def store(shared, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store")
    recipe = build_recipe("coco-256x192-udp", crop_width_px=96, crop_height_px=128, map_width=24, map_height=32)
    prepare(folder / "crops.zarr", root=shared / "data/coco-sample", recipe=recipe)
    return folder / "crops.zarr"


@pytest.mark.parametrize("flip_test", [False, True])
def test_an_onnx_graph_gives_the_networks_keypoints_on_real_crops(untrained_run, store, tmp_path, flip_test):
    report = export(untrained_run, format="onnx", out=tmp_path / "a.onnx", data=store, flip_test=flip_test)
    # Random maps are so flat in places that the decoding makes much of a float's last digit there.
    assert report.parity.close_share >= 0.99
    assert report.parity.mean_px <= CLOSE_PX / 10
    assert report.parity.crops == 214
    assert report.parity.keypoints > 400
    assert report.ap_after == pytest.approx(report.ap_before, abs=1e-9)
    assert report.crops == "val2017"
    assert (tmp_path / "a.onnx").stat().st_size == report.size_bytes


def test_the_graph_takes_bytes_in_any_number_and_needs_nothing_of_ours(untrained_run, tmp_path):
    export(untrained_run, format="onnx", out=tmp_path / "a.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    assert (taken.name, taken.type, taken.shape[1:]) == ("images", "tensor(uint8)", [128, 96, 3])
    assert [given.name for given in session.get_outputs()] == ["keypoints", "scores"]
    for count in (1, 2, 7):
        points, scores = session.run(None, {"images": np.zeros((count, 128, 96, 3), np.uint8)})
        assert (points.shape, scores.shape) == ((count, 17, 2), (count, 17))
    onnx.checker.check_model(str(tmp_path / "a.onnx"))
    facts = json.loads(session.get_modelmeta().custom_metadata_map[FACTS_KEY])
    assert facts["network"] == "small-128x96"
    assert facts["conventions"]["skeleton"]["names"][0] == "nose"


@pytest.mark.parametrize(
    ("network", "recipe"),
    [
        ("hourglass-small-128x96", "coco-256x192"),  # quarter steps
        ("small-128x96", "coco-256x192-dark"),
        ("rtmpose-t-256x192", "coco-256x192"),  # vectors
    ],
)
def test_other_decodings_are_exported_too(run_factory, tmp_path, network, recipe):
    run = run_factory.make_run(tmp_path / "run", name=network, recipe=recipe)
    report = export(run, format="onnx")
    assert report.out == tmp_path / "run" / "export" / f"{network}.onnx"
    assert report.parity.close_share >= 0.99
    assert report.parity.keypoints > 50


def test_torchscript(untrained_run, tmp_path):
    report = export(untrained_run, format="torchscript", out=tmp_path / "a.pt")
    assert report.parity.largest_px <= CLOSE_PX
    loaded = TorchScriptEstimator((tmp_path / "a.pt").read_bytes())
    assert (loaded.name, loaded.conventions.decode) == ("small-128x96", "dark")
    with pytest.raises(ModelError, match="did not write this"):
        TorchScriptEstimator(b"something else")


def test_openvinos_two_files(untrained_run, tmp_path):
    report = export(untrained_run, format="openvino", out=tmp_path / "a.xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "a.xml"]
    assert report.parity.mean_px <= CLOSE_PX / 10
    crops = generated_crops(torch_estimator(untrained_run).conventions, count=3)
    import torch

    options = {"checkpoint": "best", "device": torch.device("cpu")}
    found = open_estimator(tmp_path / "a.xml", flip_test=False, **options).keypoints(crops)
    assert found[..., 2] == pytest.approx(torch_estimator(untrained_run).keypoints(crops)[..., 2], abs=1e-4)
    half = export(untrained_run, format="openvino", out=tmp_path / "b.xml", precision="fp16")
    assert half.size_bytes < 0.7 * report.size_bytes
    (tmp_path / "b.bin").unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        open_estimator(tmp_path / "b.xml", flip_test=False, **options)
    (tmp_path / "a.xml").write_text("<net/>", encoding="utf-8")
    with pytest.raises(ModelError, match="did not write this"):
        open_estimator(tmp_path / "a.xml", flip_test=False, **options)


def test_openvinos_second_file_is_not_replaced_unasked(untrained_run, tmp_path):
    (tmp_path / "net.bin").write_bytes(b"another program's")
    with pytest.raises(UsageError, match=r"there is a file already.*net\.bin.*\[output-exists\]"):
        export(untrained_run, format="openvino", out=tmp_path / "net.xml")
    assert [path.name for path in tmp_path.iterdir()] == ["net.bin"]
    assert (tmp_path / "net.bin").read_bytes() == b"another program's"
    export(untrained_run, format="openvino", out=tmp_path / "net.xml", overwrite=True)
    assert (tmp_path / "net.bin").read_bytes() != b"another program's"
    with pytest.raises(UsageError, match=r"where the graph's \.bin file would go.*\[file-suffix\]"):
        export(untrained_run, format="openvino", out=tmp_path / "graph.bin")


def test_a_damaged_checkpoint_is_told(run_factory, tmp_path):
    run = run_factory.make_run(tmp_path / "run")
    best = shutil.copytree(run / "checkpoints/step-00000001", run / "checkpoints/step-00000002")
    mark_best(run, 2, 0.5)
    (best / "model.safetensors").write_bytes(b"damaged")
    events = []
    report = export(run, format="torchscript", on_event=events.append)
    assert report.step == 1
    assert [event.kind for event in events] == ["note"]
    assert "model.safetensors is not what was written; the checkpoint before it is used" in events[0].text


def test_without_openvino_its_installation_is_told(untrained_run, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UsageError, match=r"'\.\[openvino\]'"):
        export(untrained_run, format="openvino", out=tmp_path / "a.xml")


def test_openvino_is_imported_without_its_telemetry(tmp_path):
    code = (
        "import sys; from pose_models.openvino_graph import _openvino; assert _openvino().Core;"
        "assert 'openvino.tools.ovc' in sys.modules;"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        env={**os.environ, "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []  # it would leave an id of this user there


def test_half_precision_is_half_as_large_and_near(untrained_run, tmp_path):
    full = export(untrained_run, format="onnx", out=tmp_path / "full.onnx")
    half = export(untrained_run, format="onnx", out=tmp_path / "half.onnx", precision="fp16")
    assert half.size_bytes < 0.6 * full.size_bytes
    assert 0 < half.parity.largest_score_difference < 0.05


def test_eight_bits_are_calibrated_on_real_crops_and_judged_in_ap(untrained_run, store, tmp_path):
    with pytest.raises(UsageError, match="--data STORE"):
        export(untrained_run, format="onnx", out=tmp_path / "a.onnx", precision="int8")
    report = export(untrained_run, format="onnx", out=tmp_path / "a.onnx", precision="int8", data=store, crops=32)
    assert report.size_bytes < 900_000  # 2.6 MB of weights in float32
    assert report.ap_after is not None
    kinds = [node.op_type for node in onnx.load(str(tmp_path / "a.onnx")).graph.node]
    assert kinds.count("QuantizeLinear") > 10
    assert 0 < report.parity.largest_score_difference < 0.5


def test_a_graph_that_is_not_the_network_is_not_written(untrained_run, tmp_path, monkeypatch):
    real = OnnxEstimator.keypoints
    monkeypatch.setattr(OnnxEstimator, "keypoints", lambda self, images: real(self, images) + 0.01)
    with pytest.raises(ModelError, match="nothing was written"):
        export(untrained_run, format="onnx", out=tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_weights_go_through_the_same_door(run_factory, tmp_path):
    run = run_factory.make_run(tmp_path / "run", name="simplebaseline-r18-128x96", recipe="coco-256x192")
    report = export(run, format="msra", out=tmp_path / "r18.pth")
    assert isinstance(report, WeightsReport)
    with pytest.raises(UsageError, match="takes weights alone"):
        export(run, format="mmpose", precision="fp16")


def test_what_is_refused(untrained_run, tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"mine")
    for options, told in (
        ({"format": "tflite"}, "one of: " + ", ".join(FORMATS)),
        ({"format": "torchscript", "precision": "int8"}, "not written in 'int8'"),
        ({"format": "onnx", "out": tmp_path / "a.onnx"}, "a file already"),
    ):
        with pytest.raises(UsageError, match=told):
            export(untrained_run, **options)
    assert (tmp_path / "a.onnx").read_bytes() == b"mine"


def test_a_store_of_other_crops_is_refused(untrained_run, finished_store):
    with pytest.raises(UsageError, match="was trained with crop_width_px"):
        export(untrained_run, format="onnx", data=finished_store)


def test_models_of_others_and_what_is_no_model_are_named(tmp_path):
    value = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value("x", 1, [1, 3])], [value("y", 1, [1, 3])]
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)
    with pytest.raises(ModelError, match=r"did not write this model \(in: x \[1, 3\]; out: y \[1, 3\]\)"):
        OnnxEstimator(model.SerializeToString())
    (tmp_path / "a.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="does not take the model"):
        OnnxEstimator(tmp_path / "a.onnx")
    with pytest.raises(ModelError, match="no such file"):
        OnnxEstimator(tmp_path / "none.onnx")


def test_parity_measures_what_it_says(untrained_run, store):
    from pose_data.store import open_store

    first = torch_estimator(untrained_run)

    class Moved:
        name, conventions = "moved", first.conventions

        def keypoints(self, images):
            return first.keypoints(images) + np.array([0.3, 0.4, 0.01])

    crops = crops_of_split(open_store(store)["val2017"], count=20)
    assert crops.shape == (20, 128, 96, 3)
    parity = compare(first, Moved(), crops, batch_size=6)
    assert (parity.largest_px, parity.mean_px) == (pytest.approx(0.5), pytest.approx(0.5))
    assert parity.largest_score_difference == pytest.approx(0.01)
    assert parity.close_share == 0.0


def test_generated_crops_are_smooth_and_the_same_each_time(untrained_run):
    conventions = torch_estimator(untrained_run).conventions
    crops = generated_crops(conventions, count=3)
    assert crops.shape == (3, 128, 96, 3)
    assert np.abs(np.diff(crops.astype(int), axis=1)).max() < 40
    assert crops.tobytes() == generated_crops(conventions, count=3).tobytes()


def test_the_mirrored_picture_is_in_the_file_or_not(untrained_run, tmp_path):
    import torch

    export(untrained_run, format="onnx", out=tmp_path / "a.onnx")
    options = {"checkpoint": "best", "device": torch.device("cpu")}
    with pytest.raises(UsageError, match="mirrored picture is not in this file"):
        open_estimator(tmp_path / "a.onnx", flip_test=True, **options)
    with pytest.raises(UsageError, match="a precision of its own"):
        open_estimator(tmp_path / "a.onnx", flip_test=False, amp="bf16", **options)
    export(untrained_run, format="onnx", out=tmp_path / "b.onnx", flip_test=True)
    crops = generated_crops(torch_estimator(untrained_run).conventions, count=4)
    mine = torch_estimator(untrained_run, flip_test=True).keypoints(crops)
    assert open_estimator(tmp_path / "b.onnx", flip_test=True, **options).keypoints(crops) == pytest.approx(
        mine, rel=1e-4, abs=1e-2
    )
