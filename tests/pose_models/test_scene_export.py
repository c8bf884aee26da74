"""Exports of networks of whole pictures: the same maps, fields and persons at any size, and predictions from them."""

import json

import numpy as np
import pytest
import torch

from pipelines.prepare import prepare
from pose_data.errors import ModelError
from pose_data.recipes import build_recipe
from pose_models.bench import bench
from pose_models.estimator import TorchScriptEstimator, open_estimator
from pose_models.evaluate import evaluate
from pose_models.export import export
from pose_models.onnx_estimator import FACTS_KEY, OnnxEstimator
from pose_models.predict import predict
from pose_models.scene_parity import CLOSE_SHARE, compare_scenes

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def opened(run, *, flip_test=False):
    return open_estimator(run, checkpoint="best", device=torch.device("cpu"), flip_test=flip_test)


@pytest.fixture(scope="module")
def scene_run(run_factory, tmp_path_factory):
    return run_factory.make_scene_run(tmp_path_factory.mktemp("run") / "run")


@pytest.fixture(scope="module")
def scene_store(shared, tmp_path_factory):
    folder, sample = tmp_path_factory.mktemp("store"), shared / "data/coco-sample"
    content = json.loads((sample / "annotations/person_keypoints_val2017.json").read_text(encoding="utf-8"))
    wanted = sorted({record["image_id"] for record in content["annotations"] if record["num_keypoints"] > 8})[:6]
    content["annotations"] = [record for record in content["annotations"] if record["image_id"] in wanted]
    content["images"] = [record for record in content["images"] if record["id"] in wanted]
    (folder / "person_keypoints_val2017.json").write_text(json.dumps(content), encoding="utf-8")
    prepare(
        folder / "scenes.zarr", annotations=folder / "person_keypoints_val2017.json", images=sample / "val2017",
        recipe=build_recipe("lightweight-openpose-368"),
    )  # fmt: skip
    return folder / "scenes.zarr"


def pictures(count, height=368, width=368, seed=0):
    coarse = np.random.default_rng(seed).integers(0, 256, (count, height // 16, width // 16, 3), dtype=np.uint8)
    return coarse.repeat(16, axis=1).repeat(16, axis=2)


def test_a_graph_gives_the_maps_and_the_persons_on_real_pictures(scene_run, scene_store, tmp_path):
    report = export(scene_run, format="onnx", out=tmp_path / "a.onnx", data=scene_store, crops=6)
    assert (report.crops, report.parity.pictures) == ("val2017", 6)
    assert report.parity.largest_share <= CLOSE_SHARE
    assert report.parity.persons > 0
    assert report.parity.persons_again >= 0.8 * report.parity.persons  # random maps and fields are full of near ties
    assert report.ap_after == pytest.approx(report.ap_before, abs=1e-6)
    evaluated = evaluate(scene_run, data=scene_store, flip_test=False, device="cpu")
    assert report.ap_before == pytest.approx(evaluated.numbers["AP"], abs=1e-9)


@pytest.mark.parametrize("flip_test", [False, True])
def test_pictures_of_any_size_and_number_go_through_the_file(scene_run, tmp_path, flip_test):
    export(scene_run, format="onnx", out=tmp_path / "a.onnx", flip_test=flip_test, crops=1)
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"), providers=["CPUExecutionProvider"])
    assert [given.name for given in session.get_outputs()] == ["maps", "fields"]
    facts = json.loads(session.get_modelmeta().custom_metadata_map[FACTS_KEY])
    assert facts["conventions"]["recipe"]["limbs"] == "openpose"
    mine = opened(scene_run, flip_test=flip_test)
    for count, height, width in ((1, 368, 368), (3, 160, 240), (2, 256, 96)):
        given = pictures(count, height, width)
        maps, fields = session.run(None, {"images": given})
        assert maps.shape == (count, 19, height // 8, width // 8)
        assert fields.shape == (count, 38, height // 8, width // 8)
        for found, expected in zip((maps, fields), mine.maps_and_fields(given), strict=True):
            assert np.abs(found - expected.numpy()).max() <= CLOSE_SHARE * np.abs(expected.numpy()).max()


def test_predictions_of_the_file_are_those_of_the_run(scene_run, shared, tmp_path):
    export(scene_run, format="onnx", out=tmp_path / "a.onnx", crops=1)
    inputs = sorted((shared / "data/coco-sample/val2017").glob("*.jpg"))[:4]
    found = []
    for name, run in (("run", scene_run), ("file", tmp_path / "a.onnx")):
        report = predict(run, inputs, out=tmp_path / name, save=("json",), device="cpu")
        assert (report.frames, report.boxes) == (4, "no")
        found.append(json.loads((tmp_path / name / "keypoints.json").read_text(encoding="utf-8")))
    mine, theirs = ({(one["image_id"], *np.round(one["keypoints"])) for one in each} for each in found)
    assert len(mine & theirs) >= 0.5 * len(mine) > 0  # random maps and fields are full of near ties


def test_torchscript_half_precision_and_eight_bits(scene_run, scene_store, tmp_path):
    export(scene_run, format="torchscript", out=tmp_path / "a.pt", crops=1)
    loaded = TorchScriptEstimator((tmp_path / "a.pt").read_bytes())
    parity = compare_scenes(opened(scene_run), loaded, pictures(2))
    assert parity.largest_share <= CLOSE_SHARE / 10
    full = export(scene_run, format="onnx", out=tmp_path / "full.onnx", crops=1)
    half = export(scene_run, format="onnx", out=tmp_path / "half.onnx", precision="fp16", crops=1)
    assert half.size_bytes < 0.6 * full.size_bytes
    assert CLOSE_SHARE < half.parity.largest_share < 1.0  # random weights make much of small differences
    small = export(scene_run, format="onnx", out=tmp_path / "int8.onnx", precision="int8", data=scene_store, crops=4)
    assert small.size_bytes < 0.4 * full.size_bytes
    assert 0 < small.parity.largest_share < 1.5


def test_openvinos_files_give_the_maps_too(scene_run, tmp_path):
    report = export(scene_run, format="openvino", out=tmp_path / "a.xml")
    assert report.parity.largest_share <= CLOSE_SHARE
    assert compare_scenes(opened(scene_run), opened(tmp_path / "a.xml"), pictures(2)).largest_share <= CLOSE_SHARE


def test_a_graph_that_differs_is_not_written(scene_run, tmp_path, monkeypatch):
    real = OnnxEstimator.maps_and_fields
    monkeypatch.setattr(
        OnnxEstimator, "maps_and_fields", lambda self, images: tuple(part * 1.01 for part in real(self, images))
    )
    with pytest.raises(ModelError, match="nothing was written"):
        export(scene_run, format="onnx", out=tmp_path / "a.onnx")
    assert list(tmp_path.iterdir()) == []


def test_parity_measures_what_it_says(scene_run):
    first = opened(scene_run)

    class Moved:
        name, conventions = "moved", first.conventions

        def __init__(self, cells, factor):
            self.cells, self.factor = cells, factor

        def maps_and_fields(self, images):
            return tuple(torch.roll(part, self.cells, dims=3) * self.factor for part in first.maps_and_fields(images))

    given = pictures(3)
    same = compare_scenes(first, Moved(0, 1.0), given)
    assert (same.pictures, same.largest_share, same.largest_px) == (3, 0.0, 0.0)
    assert same.persons_again == same.persons > 0
    assert compare_scenes(first, Moved(0, 0.75), given).largest_share == pytest.approx(0.25, abs=1e-6)
    far = compare_scenes(first, Moved(3, 1.0), given)
    assert far.persons_again < far.persons


def test_networks_of_whole_pictures_are_measured_without_grouping():
    report = bench(
        "lightweight-openpose-368x368",
        backends=("eager", "onnxruntime"),
        batch_sizes=(1,),
        seconds=0.0,
        threads=1,
        device="cpu",
    )
    assert (report.looks_at, report.size_wh) == ("pictures", (368, 368))
    assert [row.backend for row in report.rows] == ["eager", "onnxruntime"]
    assert all(row.calls >= 5 for row in report.rows)
