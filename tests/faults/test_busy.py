"""Fault 34: one process at a time writes a store; the second leaves at once and names the first."""

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from pose_data.errors import BusyError
from pose_data.unlock import unlock

# Says "ready", waits for a line, prepares, and tells how that ended.
RACER = """
import json, sys, time
from pathlib import Path
from pipelines.prepare import prepare
from pose_data.errors import BusyError, PoseError
from pose_data.recipes import build_recipe
recipe = build_recipe(**json.loads(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    began_s = time.monotonic()
    try:
        prepare(line.strip(), root=Path(sys.argv[2]), recipe=recipe, scheduler="sync")
        result = ["done", "", ""]
    except PoseError as error:
        result = [error.code, error.exit_code, error.message]
    print(json.dumps([*result, time.monotonic() - began_s]), flush=True)
"""


@pytest.fixture
def racers(small_kit):
    recipe = {key: value for key, value in small_kit.recipe.as_dict().items() if key != "name"}
    command = [sys.executable, "-c", RACER, json.dumps(recipe), str(small_kit.coco)]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) for _ in "ab"
    ]
    assert [child.stdout.readline() for child in children] == ["ready\n"] * 2
    yield children
    for child in children:
        with child:
            child.stdin.close()
            child.wait(30)


def race(kit, calm, racers, folder, rounds):
    busy = 0
    for number in range(rounds):
        out = folder / f"{number}.zarr"
        for child in racers:
            child.stdin.write(f"{out}\n")
            child.stdin.flush()
        results = [json.loads(child.stdout.readline()) for child in racers]
        assert "done" in {code for code, *_ in results}
        for child, (code, exit_code, message, seconds) in zip(racers, results, strict=True):
            if code != "done":
                busy += 1
                (other,) = [racer for racer in racers if racer is not child]
                assert (code, exit_code) == ("store-busy", 5)
                assert f"host {socket.gethostname()}, process {other.pid}, started 2" in message
                assert "nothing was changed" in message
                assert seconds < 1
        assert kit.tree_digest(out) == calm
        assert kit.leftovers(out) == []
    return busy


@pytest.mark.serial
def test_twenty_races_of_two(small_kit, small_calm, racers, tmp_path):
    assert race(small_kit, small_calm, racers, tmp_path, 20) >= 15


@pytest.mark.slow
@pytest.mark.serial
def test_a_hundred_races_of_two(small_kit, small_calm, racers, tmp_path):
    assert race(small_kit, small_calm, racers, tmp_path, 100) >= 75


@pytest.mark.serial
def test_the_second_command_leaves_at_once_with_exit_5(kit, calm, tmp_path):
    out = tmp_path / "crops.zarr"
    with subprocess.Popen(kit.command(out), env=kit.faulty(FAULT_SLEEP_S="0.1")) as first:
        while not (out / ".posedata" / "lock").is_file():
            time.sleep(0.01)
        began_s = time.monotonic()
        with pytest.raises(BusyError):
            kit.prepare(out)
        assert time.monotonic() - began_s < 1
        second = kit.run(out)
        assert second.returncode == 5
        assert f"host {socket.gethostname()}, process {first.pid}, started 2" in second.stderr
        assert first.wait(60) == 0
    assert kit.tree_digest(out) == calm


def write_lock(out, **changes):
    holder = {
        "host": socket.gethostname(), "pid": os.getpid(), "process_start": "1", "started_utc": "2026-01-01T00:00:00",
        "command": "posedata prepare", "token": "a", **changes,
    }  # fmt: skip
    path = out / ".posedata" / "lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(holder), encoding="utf-8")


def dead_pid():
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        return child.pid


def test_the_lock_of_a_dead_process_is_taken_over(small_kit, small_calm, tmp_path):
    out = tmp_path / "crops.zarr"
    write_lock(out, pid=dead_pid())
    small_kit.prepare(out)
    assert small_kit.tree_digest(out) == small_calm


def test_the_lock_of_a_process_whose_id_another_has_now_is_taken_over(small_kit, small_calm, tmp_path):
    out = tmp_path / "crops.zarr"
    write_lock(out, pid=os.getppid(), process_start="1")
    small_kit.prepare(out)
    assert small_kit.tree_digest(out) == small_calm


def test_the_lock_of_another_host_stays_until_it_is_unlocked(small_kit, small_calm, tmp_path):
    out = tmp_path / "crops.zarr"
    write_lock(out, host="elsewhere", pid=dead_pid())
    with pytest.raises(BusyError) as caught:
        small_kit.prepare(out)
    assert "host elsewhere" in caught.value.message
    assert f"posedata unlock {out}" in caught.value.hint
    with pytest.raises(BusyError, match="cannot be told from here"):
        unlock(out)
    assert unlock(out, force=True).host == "elsewhere"
    small_kit.prepare(out)
    assert small_kit.tree_digest(out) == small_calm


@pytest.mark.parametrize("torn", [b"", b"\0" * 64, b"{", b"[1]", b'{"pid": 1}'])
def test_a_torn_lock_has_an_unknown_holder_and_stays_until_it_is_unlocked(small_kit, small_calm, tmp_path, torn):
    out = tmp_path / "crops.zarr"
    write_lock(out)
    (out / ".posedata" / "lock").write_bytes(torn)
    with pytest.raises(BusyError, match="unknown"):
        small_kit.prepare(out)
    unlock(out, force=True)
    small_kit.prepare(out)
    assert small_kit.tree_digest(out) == small_calm


def test_two_threads_of_one_process(kit, calm, tmp_path):
    out = tmp_path / "crops.zarr"
    turn, results = threading.Barrier(2), []

    def prepare():
        turn.wait()
        try:
            kit.prepare(out)
            results.append("done")
        except BusyError as error:
            results.append(error.code)

    threads = [threading.Thread(target=prepare) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) in (["done", "store-busy"], ["done", "done"])
    assert kit.tree_digest(out) == calm


@pytest.mark.parametrize("stage", ["shards", "commit"])
def test_a_run_whose_lock_was_taken_away_stops_before_it_writes_more(kit, calm, tmp_path, stage):
    out = tmp_path / "crops.zarr"

    def take_away(event):
        if event.kind == "stage" and event.stage == stage:
            write_lock(out, host="elsewhere", token="b")

    with pytest.raises(BusyError) as caught:
        kit.prepare(out, on_event=take_away)
    assert (caught.value.code, caught.value.exit_code) == ("lock-lost", 5)
    assert len(kit.shard_records(out)) == {"shards": 0, "commit": 4}[stage]
    assert not (out / "val2017" / ".posedata" / "manifest.json").exists()
    assert "elsewhere" in (out / ".posedata" / "lock").read_text(encoding="utf-8")
    unlock(out, force=True)
    kit.prepare(out)
    assert kit.tree_digest(out) == calm
