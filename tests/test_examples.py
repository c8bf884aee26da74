"""The examples do what posetrain does: run alone, compiled where a compiler is, against the same numbers."""

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pose_data.imaging import encode_png
from pose_models.export import export
from pose_models.onnx_estimator import OnnxEstimator
from pose_models.parity import generated_crops

pytest.importorskip("onnxruntime")
EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def photo(path):
    coarse = np.random.default_rng(3).integers(0, 256, (6, 8, 3))
    pixels = np.kron(coarse, np.ones((20, 20, 1))).astype(np.uint8)
    path.write_bytes(encode_png(pixels))
    return path


@pytest.mark.parametrize("recipe", ["coco-256x192", "coco-256x192-dark", "coco-256x192-udp"])
def test_the_python_example_finds_what_predict_finds(run_factory, tmp_path, recipe):
    from pose_models.predict import predict

    run = run_factory.make_run(tmp_path / "run", recipe=recipe)
    export(run, format="onnx", out=tmp_path / "a.onnx")
    photo(tmp_path / "1.png")
    box = [20.0, 15.0, 70.0, 90.0]
    boxes = [{"image_id": 1, "category_id": 1, "bbox": box, "score": 1.0}]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
    predict(
        run, [tmp_path / "1.png"], out=tmp_path / "out", boxes=str(tmp_path / "boxes.json"), save=("json",),
        device="cpu",
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "onnx_keypoints.py"), "a.onnx", "1.png", *map(str, box)],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    lines = [line.split() for line in done.stdout.splitlines()]
    (record,) = json.loads((tmp_path / "out/keypoints.json").read_bytes())
    theirs = np.array(record["keypoints"]).reshape(17, 3)
    mine = np.array([[float(value) for value in line[1:]] for line in lines])
    assert [line[0] for line in lines][:2] == ["nose", "left_eye"]
    # Pillow's bilinear weights are finer than OpenCV's 1/32 of a pixel; most keypoints hardly notice.
    assert np.median(np.abs(mine - theirs)[:, :2]) < 0.1
    assert np.abs(mine[:, 2] - theirs[:, 2]).max() < 0.05


def test_the_python_example_knows_none_of_our_packages():
    text = (EXAMPLES / "onnx_keypoints.py").read_text(encoding="utf-8")
    assert not [name for name in ("pose_data", "pose_models", "torch", "cv2") if f"import {name}" in text]


def package_folder(name):
    return Path(importlib.util.find_spec(name).submodule_search_locations[0])


def with_openvino(folder):
    home = package_folder("openvino")
    (library,) = (home / "libs").glob("libopenvino.so.*")
    return "openvino_keypoints.cpp", ["-isystem", home / "include"], library


def with_onnxruntime(folder):
    # The Python package has the library, under its full version alone, and no headers: where none are installed, the
    # compiler comes to the stand-in at last.
    (library,) = (package_folder("onnxruntime") / "capi").glob("libonnxruntime.so.*")
    (folder / "libonnxruntime.so.1").symlink_to(library)
    headers = Path(__file__).parent / "onnxruntime_stand_in"
    return "onnxruntime_keypoints.cpp", ["-idirafter", headers], folder / "libonnxruntime.so.1"


@pytest.mark.parametrize("with_library", [with_onnxruntime, with_openvino])
def test_the_cpp_examples_compile_and_give_the_same_keypoints(untrained_run, tmp_path, with_library):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip(reason="there is no g++")
    source, headers, library = with_library(tmp_path)
    subprocess.run(
        [compiler, "-std=c++17", "-O1", "-Wall", "-Werror", *headers, EXAMPLES / source, library,
         f"-Wl,-rpath,{library.parent}", "-o", tmp_path / "keypoints"],
        check=True,
    )  # fmt: skip
    export(untrained_run, format="onnx", out=tmp_path / "a.onnx")
    estimator = OnnxEstimator(tmp_path / "a.onnx")
    (crop,) = generated_crops(estimator.conventions, count=1)
    (tmp_path / "crop.ppm").write_bytes(b"P6\n96 128\n255\n" + crop.tobytes())
    command = [tmp_path / "keypoints", tmp_path / "a.onnx", tmp_path / "crop.ppm"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    theirs = np.array([[float(value) for value in line.split()[1:]] for line in done.stdout.splitlines()])
    (mine,) = estimator.keypoints(crop[None])
    assert theirs[:, 2] == pytest.approx(mine[:, 2], abs=1e-4)
    assert np.median(np.abs(theirs - mine)[:, :2]) < 1e-2
    (tmp_path / "crop.ppm").write_bytes(b"P6\n9 9\n255\n" + b"\0" * 243)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, "takes crops of" in done.stderr) == (1, True)
    (tmp_path / "a.onnx").unlink()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1
