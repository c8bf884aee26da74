import json
import os
import socket
import subprocess
import sys

import pytest

from pose_data.lock import hold


def lock_of(store):
    return store / ".posedata" / "lock"


def write_lock(store, **changes):
    holder = {
        "host": socket.gethostname(), "pid": 1, "process_start": "never", "started_utc": "2026-01-01T00:00:00+00:00",
        "command": "posedata prepare coco", "token": "abc",
    }  # fmt: skip
    lock_of(store).write_text(json.dumps(holder | changes), encoding="utf-8")


def dead_pid():
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


def test_the_lock_of_a_dead_process_is_shown_and_removed(posedata, store):
    write_lock(store, pid=dead_pid())
    done = posedata("unlock", store)
    assert done.code == 0
    assert "command: posedata prepare coco; that process: dead" in done.err
    assert done.out == f"{store}: the lock was removed\n"
    assert not lock_of(store).exists()
    assert done.err.splitlines()[-1] == f"next: posedata info {store}"


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_the_lock_of_a_living_process_stays_and_ends_with_5(posedata, store, force):
    with hold(store / ".posedata"):
        done = posedata("unlock", store, *force)
        assert done.code == 5
        assert f"process {os.getpid()}" in done.err
        assert "[store-busy]" in done.err
        assert lock_of(store).exists()


def test_the_lock_of_another_host_needs_force(posedata, store):
    write_lock(store, host="far-away")
    done = posedata("unlock", store)
    assert done.code == 5
    assert "posedata unlock --force" in done.err
    assert lock_of(store).exists()
    assert posedata("unlock", store, "--force").code == 0
    assert not lock_of(store).exists()


def test_a_torn_lock_file_needs_force(posedata, store):
    lock_of(store).write_bytes(b'{"host": "ab')
    assert posedata("unlock", store).code == 5
    assert posedata("unlock", store, "--force").code == 0
    assert not lock_of(store).exists()


def test_dry_run_only_shows(posedata, store):
    write_lock(store, pid=dead_pid())
    done = posedata("unlock", store, "--dry-run")
    assert done.code == 0
    assert "dead" in done.err
    assert lock_of(store).exists()


def test_no_lock_is_fine(posedata, store):
    done = posedata("unlock", store, "--json")
    assert (done.code, done.report) == (0, {"event": "report", "holder": None, "removed": False})


def test_no_store_ends_with_4(posedata, tmp_path):
    assert posedata("unlock", tmp_path).code == 4
