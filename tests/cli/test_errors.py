"""What went wrong is told in one form, on stderr, with the exit code of its kind; never with a bare traceback."""

import json
import logging
import os
import signal
import subprocess
import sys

import pytest

import pose_data.info
from pose_data.errors import BusyError, InputError, ResumeMismatchError, StorageError, StoreError, UsageError
from pose_data.lock import hold


def failing(monkeypatch, error):
    def info(store):
        raise error

    monkeypatch.setattr(pose_data.info, "info", info)


def test_the_form_of_a_message(posedata, monkeypatch):
    failing(monkeypatch, StorageError("io-error", "reading stopped; work is kept", where="/a/b", hint="look at it"))
    done = posedata("info", "x.zarr")
    assert done.err == "error: reading stopped; work is kept — /a/b [io-error]\n\nhint: look at it\n"
    assert (done.code, done.out) == (6, "")


def test_json_has_the_same_as_its_last_line(posedata, monkeypatch):
    failing(monkeypatch, StoreError("unfinished", "not done", where="/a", hint="go on"))
    done = posedata("info", "x.zarr", "--json")
    assert done.lines == [{
        "event": "error", "kind": "StoreError", "code": "unfinished", "message": "not done", "where": "/a",
        "hint": "go on", "exit_code": 4,
    }]  # fmt: skip
    assert done.err.startswith("error: not done")


def test_every_kind_has_its_exit_code(posedata, monkeypatch):
    kinds = {UsageError: 2, InputError: 3, StoreError: 4, BusyError: 5, StorageError: 6, ResumeMismatchError: 7}
    for kind, code in kinds.items():
        failing(monkeypatch, kind("some-code", "it happened"))
        assert posedata("info", "x.zarr").code == code


def test_real_ones(posedata, coco, store, tmp_path):
    busy, other, blocked = store, tmp_path / "other.zarr", tmp_path / "file"
    with hold(busy / ".posedata"):
        done = posedata("prepare", "coco", "--root", coco, "--out", busy)
    assert (done.code, "[store-busy]" in done.err) == (5, True)
    done = posedata("prepare", "coco", "--root", coco, "--out", store, "--sigma", 3)
    assert (done.code, "[resume-mismatch]" in done.err, "sigma" in done.err) == (7, True, True)
    blocked.write_bytes(b"")
    done = posedata("prepare", "coco", "--root", coco, "--out", blocked)
    assert (done.code, "[output-is-a-file]" in done.err) == (2, True)
    done = posedata("prepare", "coco", "--root", coco, "--out", blocked / "x.zarr")
    assert (done.code, "[io-error]" in done.err) == (6, True)
    done = posedata("prepare", "coco", "--root", tmp_path / "none", "--out", other)
    assert (done.code, "[coco-not-found]" in done.err) == (3, True)
    assert not other.exists()


def test_a_fault_of_ours_asks_for_a_report_and_shows_its_last_line(posedata, monkeypatch):
    failing(monkeypatch, ValueError("boom"))
    done = posedata("info", "x.zarr")
    assert done.code == 1
    assert "ValueError: boom [bug]" in done.err
    assert "report it" in done.err
    assert "Traceback" not in done.err


@pytest.mark.parametrize("option", ["-v", "--verbose", "-vv"])
def test_with_verbose_it_shows_where(posedata, monkeypatch, option):
    failing(monkeypatch, ValueError("boom"))
    done = posedata("info", "x.zarr", option)
    assert done.code == 1
    assert "Traceback" in done.err
    assert "test_errors.py" in done.err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_to_a_command_that_keeps_nothing(posedata, monkeypatch, number, code):
    monkeypatch.setattr(pose_data.info, "info", lambda store: signal.raise_signal(number))
    done = posedata("info", "x.zarr", "--json")
    assert done.code == code
    assert done.err == "stopped [interrupted]\n"
    assert done.lines[-1]["exit_code"] == code


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nonsense"], "nonsense"),
        (["info"], "Missing argument"),
        (["info", "a", "b"], "unexpected extra argument"),
        (["info", "a", "--nonsense"], "--nonsense"),
        (["problems", "a", "--limit", "many"], "--limit"),
    ],
)
def test_what_typer_refuses_has_the_same_form(posedata, arguments, text):
    done = posedata(*arguments, "--json")
    assert done.code == 2
    assert done.err.startswith("error: ")
    assert text in done.err
    assert done.err.endswith("--help\n")
    assert json.loads(done.out)["code"] == "usage"


def test_a_reader_that_goes_away_is_no_error(finished_store):
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "cli.posedata", "info", str(finished_store)],
        stdout=write, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
    )  # fmt: skip
    os.close(write)
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr.lower()
    assert done.returncode == 141


def test_a_terminal_that_knows_ascii_only_gets_all_text(finished_store):
    done = subprocess.run(
        [sys.executable, "-m", "cli.posedata", "info", str(finished_store.parent / "ü.zarr")],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert b"\\u2014" in done.stderr
    assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(("options", "heard"), [([], {"loud"}), (["-v"], {"loud", "chatter"}), (["-q"], set())])
def test_libraries_are_heard_as_much_as_asked_for(posedata, monkeypatch, options, heard):
    def info(store):
        logger = logging.getLogger("tests.some-library")
        logger.setLevel(logging.INFO)  # as distributed does
        logger.info("chatter")
        logger.warning("loud")
        raise StoreError("unfinished", "not done")

    monkeypatch.setattr(pose_data.info, "info", info)
    err = posedata("info", "x.zarr", *options).err
    assert {word for word in ("loud", "chatter") if word in err} == heard
