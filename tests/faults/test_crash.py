"""Fault 22: a picture that crashes or hangs the decoder is rejected by name, and the run finishes."""

import json
import shutil
import signal
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

CULPRIT = "000000000007.jpg"
OTHER = "000000000023.jpg"


@pytest.fixture
def marked(kit, tmp_path):
    """A copy of the data set in which faults may be ordered; returns its kit and a marker."""
    coco = tmp_path / "coco"
    shutil.copytree(kit.coco, coco)
    shutil.copytree(kit.site, tmp_path / "site")
    copy = type(kit)(coco=coco, recipe=kit.recipe, options=kit.options, site=tmp_path / "site")
    return copy, lambda name, fault: kit.mark_picture(coco / "val2017" / name, fault)


def rejected(out):
    rows = pq.read_table(out / "val2017" / ".posedata" / "table.parquet").to_pylist()
    return {(row["file_name"], row["code"], row["detail"]) for row in rows if not row["kept"]}


def names_and_codes(out):
    return {(name, code) for name, code, _ in rejected(out)}


def run(kit, out, *more):
    return kit.run(
        out, "--json", "--max-bad", "0.2", "--picture-timeout", "2", *more, env=kit.faulty()
    )  # fmt: skip


@pytest.mark.parametrize("scheduler", ["threads", pytest.param("local", marks=pytest.mark.slow)])
def test_a_picture_that_hangs_is_rejected_by_name_in_one_run(marked, tmp_path, scheduler):
    kit, mark = marked
    mark(CULPRIT, "hang")
    out = tmp_path / "crops.zarr"
    report = kit.report(run(kit, out, "--scheduler", scheduler))
    assert rejected(out) == {(CULPRIT, "img-crash", "decoding did not end within 2 s")}
    (split,) = report["splits"]
    assert (split["kept"], split["rejected"], split["codes"]) == (117, 3, {"img-crash": 3})
    assert split["retries"] >= 1
    assert kit.leftovers(out) == []


@pytest.mark.slow
def test_more_pictures_hang_than_there_are_workers(marked, tmp_path):
    kit, mark = marked
    for name in (CULPRIT, OTHER):
        mark(name, "hang")
    out = tmp_path / "crops.zarr"
    kit.report(run(kit, out, "--scheduler", "threads", "--workers", "1", "--picture-timeout", "1"))
    assert names_and_codes(out) == {(CULPRIT, "img-crash"), (OTHER, "img-crash")}


def test_a_picture_that_crashes_ends_the_process_and_the_same_command_finishes(marked, tmp_path):
    kit, mark = marked
    mark(CULPRIT, "segv-always")
    out = tmp_path / "crops.zarr"
    assert run(kit, out, "--scheduler", "threads").returncode == -signal.SIGSEGV
    report = kit.report(run(kit, out, "--scheduler", "threads"))
    assert rejected(out) == {(CULPRIT, "img-crash", "decoding killed its process (signal 11)")}
    assert report["splits"][0]["retries"] >= 1
    assert kit.leftovers(out) == []


def test_a_picture_that_crashes_costs_a_cluster_two_workers_and_the_run_finishes(marked, tmp_path):
    kit, mark = marked
    mark(CULPRIT, "segv-always")
    mark(OTHER, "segv-always")
    out = tmp_path / "crops.zarr"
    report = kit.report(run(kit, out, "--scheduler", "local"))
    assert names_and_codes(out) == {(CULPRIT, "img-crash"), (OTHER, "img-crash")}
    assert report["splits"][0]["codes"] == {"img-crash": 6}


@pytest.mark.slow
def test_all_else_is_as_without_the_culprit(marked, tmp_path):
    kit, mark = marked
    mark(CULPRIT, "hang")
    with_culprit, without = tmp_path / "with.zarr", tmp_path / "without.zarr"
    kit.report(run(kit, with_culprit))
    (kit.coco / "val2017" / CULPRIT).unlink()
    kit.report(run(kit, without))
    assert names_and_codes(without) == {(CULPRIT, "img-missing")}

    def data(out):
        return {name: digest for name, digest in kit.tree_digest(out).items() if "/c." in name}

    assert data(with_culprit) == data(without)


def test_too_many_crashing_pictures_stop_the_run(marked, tmp_path):
    kit, mark = marked
    mark(CULPRIT, "hang")
    out = tmp_path / "crops.zarr"
    done = kit.run(out, "--strict", "--picture-timeout", "1", "--scheduler", "threads", env=kit.faulty())
    assert done.returncode == 3
    assert "too-many-bad" in done.stderr
    assert "img-crash" in done.stderr


@pytest.mark.slow
def test_ending_from_outside_is_no_proof_against_a_picture(marked, tmp_path):
    # The first child of the shard is killed while it decodes, as the kernel does when memory is short.
    kit, mark = marked
    mark(CULPRIT, "kill-once")
    calm = tmp_path / "calm.zarr"
    kit.prepare(calm)
    out = tmp_path / "crops.zarr"
    assert run(kit, out, "--scheduler", "threads").returncode == -signal.SIGKILL
    (kit.site / "once-kill").unlink()  # once more, now in the child
    kit.report(run(kit, out, "--scheduler", "threads"))
    assert (kit.site / "once-kill").is_file()
    assert rejected(out) == set()
    assert kit.tree_digest(out) == kit.tree_digest(calm)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_check_names_the_pictures_that_crash_or_hang_the_decoder(marked, workers):
    kit, mark = marked
    mark(CULPRIT, "segv-always")
    mark(OTHER, "hang")
    command = [
        sys.executable, "-m", "cli.posedata", "check", "coco", "--root", str(kit.coco), "--json", "--workers", workers,
        "--picture-timeout", "1", "--max-bad", "0.2",
    ]  # fmt: skip
    done = subprocess.run(command, env=kit.faulty(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    (split,) = json.loads(done.stdout.splitlines()[-1])["splits"]
    assert (split["codes"], split["pictures_bad"], split["kept"]) == ({"img-crash": 6}, 2, 114)
    texts = " ".join(split["examples"]["img-crash"])
    assert f"{CULPRIT}: decoding killed its process (signal 11)" in texts
    assert f"{OTHER}: decoding took longer than 1 s" in texts


def test_a_check_tries_a_picture_again_when_its_process_was_killed_from_outside(marked):
    kit, mark = marked
    mark(CULPRIT, "kill-once")
    command = [sys.executable, "-m", "cli.posedata", "check", "coco", "--root", str(kit.coco), "--json"]
    done = subprocess.run(command, env=kit.faulty(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["splits"][0]["codes"] == {}
