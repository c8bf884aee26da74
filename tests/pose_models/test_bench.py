"""Benchmarks measure what they say and name what they leave out; no time is judged."""

import pytest

from pose_data.errors import UsageError
from pose_models.bench import bench
from pose_models.export import export


def test_every_backend_and_batch_size_has_a_row(untrained_run):
    report = bench(
        untrained_run, backends=("eager", "onnxruntime"), batch_sizes=(1, 3), seconds=0.0, threads=1, device="cpu"
    )
    assert [(row.backend, row.batch_size) for row in report.rows] == [
        ("eager", 1), ("onnxruntime", 1), ("eager", 3), ("onnxruntime", 3)
    ]  # fmt: skip
    assert (report.network, report.device, report.threads, report.left_out) == ("small-128x96", "cpu", 1, {})
    assert (report.looks_at, report.size_wh) == ("crops", (96, 128))
    for row in report.rows:
        assert row.calls >= 5
        assert row.latency_ms <= row.latency_ms_95
        assert row.per_s == pytest.approx(1000 * row.batch_size / row.latency_ms)


def test_networks_of_the_catalogue_and_exported_files_are_measured_too(untrained_run, tmp_path):
    report = bench("hourglass-small-128x96", backends=("eager",), batch_sizes=(1,), seconds=0.0, device="cpu")
    assert report.network == "hourglass-small-128x96"
    export(untrained_run, format="onnx", out=tmp_path / "a.onnx")
    report = bench(tmp_path / "a.onnx", backends=("eager", "onnxruntime"), batch_sizes=(1,), seconds=0.0, device="cpu")
    assert [row.backend for row in report.rows] == ["onnxruntime"]
    assert report.left_out == {"eager": "an ONNX file runs in onnxruntime only"}


def test_a_backend_that_fails_is_left_out(untrained_run, monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("no compiler\nat all")

    monkeypatch.setattr("pose_models.estimator.TorchEstimator.keypoints", broken)
    report = bench(untrained_run, backends=("eager", "onnxruntime"), batch_sizes=(1,), seconds=0.0, device="cpu")
    assert [row.backend for row in report.rows] == ["onnxruntime"]
    assert report.left_out == {"eager": "no compiler"}


def test_unknown_backends_and_sizes_are_named(untrained_run):
    with pytest.raises(UsageError, match="no backend 'tvm'"):
        bench(untrained_run, backends=("tvm",))
    with pytest.raises(UsageError, match="at least 1"):
        bench(untrained_run, batch_sizes=(0,))
