"""The lock: one writer at a time, named; a dead one on this host is taken over, a foreign one is not."""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from pose_data.errors import BusyError, StorageError
from pose_data.lock import Holder, break_lock, hold, is_held_by, read_holder


def write_lock(folder, **changes):
    with hold(folder.parent / "other") as me:
        fields = {**asdict(me), "token": "another", **changes}
    folder.mkdir(exist_ok=True)
    (folder / "lock").write_text(json.dumps(fields), encoding="utf-8")


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        child.wait()
        return child.pid


def test_the_lock_file_names_its_holder(tmp_path):
    with hold(tmp_path / ".posedata") as me:
        content = json.loads((tmp_path / ".posedata" / "lock").read_bytes())
        assert content == asdict(me)
        assert (content["host"], content["pid"]) == (socket.gethostname(), os.getpid())
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", content["started_utc"])
        assert re.fullmatch(r"[0-9a-f]{32}", content["token"])
        assert content["process_start"]
        assert content["command"]
        assert me.is_alive_here() is True
        assert is_held_by(tmp_path / ".posedata", me.token)
        assert not is_held_by(tmp_path / ".posedata", "another")
    assert list((tmp_path / ".posedata").iterdir()) == []
    assert read_holder(tmp_path / ".posedata") is None


def test_a_second_taker_is_told_who_has_it_and_changes_nothing(tmp_path):
    with hold(tmp_path) as me:
        before = (tmp_path / "lock").read_bytes()
        with pytest.raises(BusyError, match="store-busy") as caught, hold(tmp_path):
            pass
        assert f"process {me.pid}" in caught.value.message
        assert me.host in caught.value.message
        assert "posedata unlock" in caught.value.hint
        assert (tmp_path / "lock").read_bytes() == before


def test_the_lock_is_given_back_after_an_exception(tmp_path):
    with pytest.raises(ZeroDivisionError), hold(tmp_path):
        raise ZeroDivisionError
    with hold(tmp_path):
        pass


def test_a_dead_holder_on_this_host_is_taken_over(tmp_path):
    write_lock(tmp_path / "store", pid=dead_process())
    with hold(tmp_path / "store") as me:
        assert read_holder(tmp_path / "store") == me


def test_another_process_that_got_the_dead_ones_number_is_no_holder(tmp_path):
    write_lock(tmp_path / "store", pid=os.getpid(), process_start="1")
    with hold(tmp_path / "store"):
        pass


def test_a_zombie_is_dead(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    stat = Path(f"/proc/{child.pid}/stat")
    deadline = time.monotonic() + 5
    while stat.read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    write_lock(tmp_path / "store", pid=child.pid)
    assert read_holder(tmp_path / "store").is_alive_here() is False
    child.wait()


def test_a_holder_on_another_host_is_left_alone(tmp_path):
    write_lock(tmp_path / "store", host="elsewhere", pid=1)
    with pytest.raises(BusyError, match="elsewhere"), hold(tmp_path / "store"):
        pass
    with pytest.raises(BusyError, match="cannot be told") as caught:
        break_lock(tmp_path / "store")
    assert "--force" in caught.value.hint
    assert break_lock(tmp_path / "store", force=True).host == "elsewhere"
    assert not (tmp_path / "store" / "lock").exists()


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"[]", b"{}", b'{"host": "x"}', b"\xff\xfe"])
def test_a_torn_lock_counts_as_somebody_unknown(tmp_path, content):
    (tmp_path / "lock").write_bytes(content)
    with pytest.raises(BusyError, match="unknown"), hold(tmp_path):
        pass
    with pytest.raises(BusyError):
        break_lock(tmp_path)
    assert break_lock(tmp_path, force=True).host == "unknown"
    with hold(tmp_path):
        pass


def test_breaking_a_living_holders_lock_is_refused_even_by_force(tmp_path):
    with hold(tmp_path) as me:
        for force in (False, True):
            with pytest.raises(BusyError, match="alive"):
                break_lock(tmp_path, force=force)
        assert is_held_by(tmp_path, me.token)


def test_breaking_a_dead_holders_lock(tmp_path):
    write_lock(tmp_path / "store", pid=dead_process())
    assert break_lock(tmp_path / "store").token == "another"
    assert break_lock(tmp_path / "store") is None


def test_only_ones_own_lock_is_given_back(tmp_path):
    with hold(tmp_path / "store"):
        write_lock(tmp_path / "store")  # somebody broke ours and took it
    assert read_holder(tmp_path / "store").token == "another"


def test_a_store_removed_meanwhile_is_no_error(tmp_path):
    with hold(tmp_path / "store"):
        (tmp_path / "store" / "lock").unlink()
        (tmp_path / "store").rmdir()


def test_a_place_that_cannot_be_written_is_a_storage_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError), hold(tmp_path / "file" / "store"):
        pass


def test_of_many_takers_one_at_a_time_has_it(tmp_path):
    inside, most, wins = 0, 0, 0
    counting = threading.Lock()
    start = threading.Barrier(8)

    def take():
        nonlocal inside, most, wins
        start.wait()
        for _ in range(5):
            try:
                with hold(tmp_path):
                    with counting:
                        inside, wins = inside + 1, wins + 1
                        most = max(most, inside)
                    time.sleep(0.002)
                    with counting:
                        inside -= 1
            except BusyError:
                time.sleep(0.001)

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wins >= 1
    assert most == 1
    assert not (tmp_path / "lock").exists()


def test_the_description_is_one_line():
    holder = Holder(host="h", pid=3, process_start="1", started_utc="then", command="posedata prepare", token="t")
    assert holder.describe() == "host h, process 3, started then, command: posedata prepare"
