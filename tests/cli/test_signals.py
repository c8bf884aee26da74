"""Fault 30: Ctrl-C and SIGTERM stop within five seconds, keep what is done, and the same command finishes it."""

import json
import shlex
import signal
import subprocess
import sys
import time

import pytest

PERSONS_A_PICTURE = 60
PICTURES = 24
SLOW = ("--encoding", "unbiased", "--full-size-maps", "--sigma", "8", "--shard-rows", "16", "--memory", "2G")

pytestmark = pytest.mark.serial


@pytest.fixture
def crowded(new_coco):
    """So much work that a signal surely comes in the middle of it."""
    for _ in range(PICTURES):
        new_coco.add_picture("val", persons=PERSONS_A_PICTURE)
    return new_coco.write()


class Running:
    """The program at work, made to stand in the middle of its shards."""

    def __init__(self, *arguments):
        self._child = subprocess.Popen(
            [sys.executable, "-m", "cli.posedata", *map(str, arguments), "--json"],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        for line in self._child.stdout:
            event = json.loads(line)
            if event["event"] == "progress" and 0 < event["done"] < event["total"]:
                return
        raise AssertionError(self._child.communicate())

    def send(self, number):
        self._child.send_signal(number)

    def end(self):
        began_s = time.monotonic()
        out, err = self._child.communicate(timeout=30)
        return self._child.returncode, [json.loads(line) for line in out.splitlines()], err, time.monotonic() - began_s


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_the_work_and_the_same_command_finishes_it(posedata, crowded, tmp_path, number, code):
    out = tmp_path / "c.zarr"
    arguments = ["prepare", "coco", "--root", crowded, "--out", out, *SLOW]
    running = Running(*arguments)
    running.send(number)
    exit_code, lines, err, seconds = running.end()
    assert exit_code == code, err
    assert seconds < 5
    assert lines[-1]["code"] == "interrupted"
    assert lines[-1]["exit_code"] == code
    hint = next(line for line in err.splitlines() if line.startswith("hint: "))
    assert hint == "hint: continue with: " + shlex.join(["posedata", *map(str, arguments), "--json"])
    assert not (out / "val" / ".posedata" / "manifest.json").exists()
    assert not (out / ".posedata" / "lock").exists()
    done = posedata(*arguments, "--json")
    assert done.code == 0, done.err
    (split,) = done.report["splits"]
    assert split["kept"] == PICTURES * PERSONS_A_PICTURE
    assert split["shards_kept"] > 0
    assert posedata("verify", out).code == 0
    assert not list(out.rglob("*.partial"))


@pytest.mark.parametrize(("first", "second", "code"), [
    (signal.SIGINT, signal.SIGINT, 130), (signal.SIGINT, signal.SIGTERM, 143), (signal.SIGTERM, signal.SIGINT, 130),
])  # fmt: skip
def test_the_second_signal_ends_it_at_once(crowded, tmp_path, first, second, code):
    running = Running("prepare", "coco", "--root", crowded, "--out", tmp_path / "c.zarr", *SLOW)
    running.send(first)
    time.sleep(0.02)
    running.send(second)
    exit_code, _, err, seconds = running.end()
    # The first may have been quick, and the second have met a process that was leaving already.
    assert exit_code in (code, 128 + first, -second)
    assert seconds < 1
    assert "Traceback" not in err
