"""posetrain export and bench as a person uses them, and predict with what was exported."""

import json
import shutil

import pytest

pytest.importorskip("onnxruntime")


def test_export_then_predict_with_the_file(posetrain, untrained_run, coco, tmp_path):
    done = posetrain("export", untrained_run, "--format", "onnx", "--out", tmp_path / "small.onnx")
    assert done.code == 0, done.err
    assert "within 0.001 px" in done.out
    results = []
    for name, run in (("a", untrained_run), ("b", tmp_path / "small.onnx")):
        done = posetrain("predict", run, coco / "val", "--out", tmp_path / name, "--save", "json", "--device", "cpu")
        assert done.code == 0, done.err
        results.append(json.loads((tmp_path / name / "keypoints.json").read_bytes()))
    for mine, theirs in zip(*results, strict=True):
        assert theirs["keypoints"] == pytest.approx(mine["keypoints"], rel=1e-4, abs=5e-3)
        assert theirs["bbox"] == mine["bbox"]


@pytest.mark.parametrize("form", ["torchscript", "msra"])
def test_a_damaged_checkpoint_is_told(posetrain, run_factory, tmp_path, form):
    run = run_factory.make_run(tmp_path / "run", name="simplebaseline-r18-128x96", recipe="coco-256x192")
    best = shutil.copytree(run / "checkpoints/step-00000001", run / "checkpoints/step-00000002")
    (best / "model.safetensors").write_bytes(b"damaged")
    done = posetrain("export", run, "--format", form, "--checkpoint", "last")
    assert done.code == 0, done.err
    assert "model.safetensors is not what was written; the checkpoint before it is used" in done.err


def test_choices_that_are_missing_are_told_in_one_line(posetrain, untrained_run):
    done = posetrain("export", untrained_run)
    assert done.code == 2
    assert done.err.splitlines()[0] == (
        "error: Missing option '--format'. Choose from: onnx, torchscript, openvino, mmpose, msra [usage]"
    )


def test_the_reports_for_machines(posetrain, untrained_run, tmp_path):
    done = posetrain("export", untrained_run, "--format", "torchscript", "--out", tmp_path / "a.pt", "--json")
    assert done.report["parity"]["largest_px"] <= 1e-3
    done = posetrain(
        "bench", untrained_run, "--backends", "onnxruntime", "--batch-sizes", "1, 2", "--seconds", 0, "--json"
    )
    assert [row["batch_size"] for row in done.report["rows"]] == [1, 2]


def test_bench_for_people(posetrain, tmp_path):
    done = posetrain("bench", "small-128x96", "--backends", "eager", "--batch-sizes", "1", "--seconds", 0)
    assert done.code == 0, done.err
    assert "crops/s" in done.out
    assert "crops of 96 x 128" in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["export", "RUN", "--format", "onnx", "--precision", "int8"], 2, "calibrated on real crops"),
        (["export", "RUN", "--format", "mmpose", "--flip-test"], 2, "takes weights alone"),
        (["bench", "RUN", "--batch-sizes", "one"], 2, "are not whole numbers"),
        (["bench", "no-such-network"], 9, "there is no such run"),
    ],
)
def test_what_is_wrong_is_said(posetrain, untrained_run, arguments, code, told):
    done = posetrain(*[untrained_run if argument == "RUN" else argument for argument in arguments])
    assert done.code == code
    assert told in done.err
