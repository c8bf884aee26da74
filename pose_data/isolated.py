"""Make a shard in a child process, so that a picture that crashes or hangs the decoder is found by name.

The child says each picture's name before it touches it. When it dies or stays silent too long,
that picture is the culprit: it is remembered and the child is started again without it.
"""

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from pose_data.errors import PoseError, StorageError
from pose_data.job import load_culprits, load_job, save_culprit
from pose_data.manifest import ShardRecord, SplitFolder, read_shard_record
from pose_data.shard import make_shard

__all__ = ["make_shard_isolated"]

_START_S = 60.0
_POLL_S = 0.1
# Sent by people, schedulers and the kernel's memory guard to whoever is there: no proof against a picture.
_SENT_FROM_OUTSIDE = frozenset([-signal.SIGHUP, -signal.SIGINT, -signal.SIGKILL, -signal.SIGTERM])


def make_shard_isolated(
    split: SplitFolder, shard: int, *, picture_timeout_s: float, stop: Callable[[], None] = lambda: None
) -> ShardRecord:
    """Make one shard in child processes until it is whole; return its record.

    A picture during which the child crashed, or took too long, is left out and remembered; one during which it was
    killed from outside is tried once more first. ``stop`` is called ten times a second and may raise. Raises
    StorageError when the child dies without naming a picture, or what the child raised.
    """
    suspects: set[str] = set()
    while True:
        death = _Child(split, shard, picture_timeout_s, stop).run()
        if death is None:
            return read_shard_record(split.shard_record(shard))
        name, detail, is_proof = death
        if name in load_culprits(split):  # cannot happen: a known culprit is not read
            raise AssertionError(name)
        if is_proof or name in suspects:
            save_culprit(split, name, detail)
        suspects.add(name)


class _Child:
    """One child process that makes a shard, followed picture by picture."""

    def __init__(self, split: SplitFolder, shard: int, picture_timeout_s: float, stop: Callable[[], None]) -> None:
        self._command = [sys.executable, "-m", "pose_data.isolated", str(split.path), str(shard)]
        self._shard, self._picture_timeout_s, self._stop = shard, picture_timeout_s, stop
        self._picture = ""
        self._deadline_s = time.monotonic() + _START_S

    def run(self) -> tuple[str, str, bool] | None:
        """Return None when the shard was made; else the picture in hand, what happened, whether that proves it."""
        # The child's stdin stays open as long as this process lives: at its end the child ends, too.
        with subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            try:
                return self._follow(child)
            finally:
                child.kill()

    def _follow(self, child: "subprocess.Popen[str]") -> tuple[str, str, bool] | None:
        lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        threading.Thread(target=_pump, args=(child.stdout, lines), daemon=True).start()
        while True:
            self._stop()
            try:
                line = lines.get(timeout=_POLL_S)
            except queue.Empty:
                if time.monotonic() < self._deadline_s:
                    continue
                return self._blame(f"decoding did not end within {self._picture_timeout_s:g} s", True)
            if line is None:
                code = child.wait()
                detail = f"decoding killed its process ({_describe_exit(code)})"
                return self._blame(detail, code not in _SENT_FROM_OUTSIDE)
            if self._is_done(line):
                child.wait()
                return None

    def _is_done(self, line: str) -> bool:
        try:
            message: Any = json.loads(line)
            kind, value = message["posedata"], message["value"]
        except (ValueError, TypeError, KeyError):
            return False  # something that a library printed
        if kind == "error":
            raise PoseError.from_fields(value)
        if kind == "picture":
            self._picture = str(value)
            self._deadline_s = time.monotonic() + self._picture_timeout_s
        elif kind == "writing":  # a slow disk is no fault of the last picture
            self._deadline_s = float("inf")
        return bool(kind == "done")

    def _blame(self, detail: str, is_proof: bool) -> tuple[str, str, bool]:
        if not self._picture:
            raise StorageError(
                "worker-died", f"a worker process ended before its first picture: {detail}",
                where=f"shard {self._shard}", hint="run posedata doctor",
            )  # fmt: skip
        return self._picture, detail, is_proof


def _pump(stream: IO[str] | None, lines: "queue.SimpleQueue[str | None]") -> None:
    if stream is not None:
        for line in stream:
            lines.put(line)
    lines.put(None)


def _describe_exit(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit status {code}"


def _end_with_parent() -> None:
    # Past Python's buffer: a thread that waits in it would make the interpreter's own end fail.
    os.read(sys.stdin.fileno(), 1)
    os._exit(1)


def _make(split_path: str, shard: str) -> None:
    # Ctrl-C reaches the whole terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    split = SplitFolder(Path(split_path))

    def say(kind: str, value: object = None) -> None:
        sys.stdout.write(json.dumps({"posedata": kind, "value": value}) + "\n")
        sys.stdout.flush()

    try:
        make_shard(
            load_job(split), int(shard), before_picture=lambda name: say("picture", name),
            before_write=lambda: say("writing"), culprits=load_culprits(split),
        )  # fmt: skip
    except PoseError as error:
        say("error", error.fields())
    except MemoryError:
        os._exit(1)  # the picture in hand is too large for this computer
    else:
        say("done")


if __name__ == "__main__":
    _make(*sys.argv[1:])
