"""posetrain predict as a person uses it."""

import json

import numpy as np
import pytest

from pose_data.video import VideoWriter


@pytest.fixture
def clip(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", fps=10) as writer:
        for number in range(6):
            writer.write(np.full((48, 64, 3), 40 * number, np.uint8))
    return tmp_path / "clip.mp4"


def test_a_video_from_the_command_line(posetrain, untrained_run, clip, tmp_path):
    done = posetrain("predict", untrained_run, clip, "--out", tmp_path / "out", "--device", "cpu")
    assert done.code == 0, done.err
    assert "6 persons in 6 frames" in done.out
    assert str(tmp_path / "out/keypoints.json") in done.out.replace("\\", "/")
    assert (tmp_path / "out/drawn/clip.mp4").is_file()


def test_the_report_for_machines(posetrain, untrained_run, coco, tmp_path):
    done = posetrain(
        "predict", untrained_run, coco / "val", "--out", tmp_path / "out", "--device", "cpu", "--save", "json", "--json"
    )
    assert done.code == 0, done.err
    assert done.report["frames"] == 4
    assert done.report["problems"] == {}
    assert set(done.report["latency_ms"]) == {"p50", "p95", "p99"}
    assert len(json.loads((tmp_path / "out/keypoints.json").read_bytes())) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["none.jpg"], 3, "no such file, folder or pattern"),
        (["983"], 3, "camera 983 cannot be opened"),
        (["http://127.0.0.1:9/live"], 3, "stream cannot be opened"),
        (["0", "1"], 2, "must be the only input"),
        (["val/000009.jpg", "--save", "xml"], 2, "nothing is saved as 'xml'"),
        (["val/000009.jpg", "--boxes", "none.json"], 3, "the boxes cannot be read"),
    ],
)
def test_what_is_wrong_is_said(posetrain, untrained_run, coco, tmp_path, monkeypatch, arguments, code, told):
    monkeypatch.chdir(coco)
    done = posetrain("predict", untrained_run, *arguments, "--out", tmp_path / "out", "--device", "cpu")
    assert done.code == code
    assert told in done.err
    assert "Traceback" not in done.err


def test_a_run_that_is_not_there_is_named(posetrain, coco, tmp_path):
    done = posetrain("predict", tmp_path / "run", coco / "val", "--out", tmp_path / "out")
    assert done.code == 9
    assert "there is no such run" in done.err
    assert not (tmp_path / "out").exists()
