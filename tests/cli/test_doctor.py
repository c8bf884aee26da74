import resource
from importlib import metadata

import pytest

import pose_data.doctor
from pose_data.doctor import doctor


def seen(report):
    return {observation.name: observation for observation in report.observations}


def test_doctor_tells_what_this_computer_has(posedata):
    done = posedata("doctor")
    assert done.code == 0
    for name in ("posedata", "python", "numpy", "jpeg decoder", "decoding", "cores", "memory", "disk", "gpu", "malloc"):
        assert name in done.out
    assert done.err.splitlines()[-1] == "next: posedata sample demo/coco"


def test_json_is_one_report(posedata):
    done = posedata("doctor", "--json")
    assert len(done.lines) == 1
    assert done.report["healthy"] is True
    assert {each["level"] for each in done.report["observations"]} <= {"good", "warning", "bad"}


def test_the_decoder_is_tried(tmp_path):
    value = seen(doctor(tmp_path))["decoding"].value
    assert int(value.split()[0].replace(",", "")) > 0


def test_a_missing_library_is_bad_and_ends_with_6(posedata, monkeypatch):
    real = metadata.version

    def version(name):
        if name == "zarr":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(pose_data.doctor.metadata, "version", version)
    done = posedata("doctor")
    assert done.code == 6
    assert any(line.startswith("bad") and "pip install zarr" in line for line in done.out.splitlines())


@pytest.mark.parametrize(
    ("answer", "level", "value"),
    [
        ("#!/bin/sh\necho 'Some GPU, 143771 MiB, 570.1'\n", "good", "Some GPU, 143771 MiB, 570.1"),
        ("#!/bin/sh\nexit 9\n", "warning", "nvidia-smi fails: CalledProcessError"),
    ],
)
def test_the_gpu_is_asked(tmp_path, monkeypatch, answer, level, value):
    program = tmp_path / "nvidia-smi"
    program.write_text(answer, encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    gpu = seen(doctor(tmp_path))["gpu"]
    assert (gpu.level, gpu.value) == (level, value)


def test_no_gpu_is_no_fault(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert seen(doctor(tmp_path))["gpu"].level == "good"


def test_a_small_trim_threshold_is_warned_about(tmp_path, monkeypatch):
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "65536")
    assert seen(doctor(tmp_path))["malloc"].level == "warning"
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "odd")
    assert seen(doctor(tmp_path))["malloc"].level == "good"


def test_a_low_limit_and_a_missing_folder_are_warned_about(tmp_path, monkeypatch):
    monkeypatch.setattr(resource, "getrlimit", lambda which: (64, 64))
    report = seen(doctor(tmp_path / "nowhere"))
    assert report["open files"].level == "warning"
    assert report["address space"].level == "warning"
    assert report["disk"].level == "bad"
