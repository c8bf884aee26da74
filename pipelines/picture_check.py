"""Read and decode pictures as a preparation would, in child processes, keeping nothing of their pixels."""

import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import pyarrow as pa

from pose_data.errors import PoseError, StorageError
from pose_data.recipes import Recipe

__all__ = ["Need", "PictureLooker", "Seen"]

_POLL_S = 0.1
_START_S = 60.0
# Sent by people, schedulers and the kernel's memory guard to whoever is there: no proof against a picture.
_SENT_FROM_OUTSIDE = frozenset([-signal.SIGHUP, -signal.SIGINT, -signal.SIGKILL, -signal.SIGTERM])


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A picture that is needed: for which rows of the table of kept persons."""

    name: str
    size_wh: tuple[int, int] | None
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What became of a needed picture. ``bad_rows``: rows whose mask is unusable."""

    need: Need
    digest: int = 0
    code: str = ""
    detail: str = ""
    notes: tuple[str, ...] = ()
    bad_rows: tuple[int, ...] = ()


class PictureLooker:
    """Looks at pictures in child processes, one for each thread that asks; use it in a ``with``.

    A picture that crashes the decoder, or does not end, takes its child along and nothing else. ``kept``: the table
    of the persons that a Need's rows count in. ``stop`` is looked at between pictures and while waiting.
    """

    def __init__(
        self, *, images_root: Path, recipe: Recipe, kept: pa.Table, allow_outside: bool, stop: threading.Event
    ) -> None:
        self._settings = {"root": str(images_root.absolute()), "exif": recipe.exif, "allow_outside": allow_outside}
        self._masked = recipe.background == "white"
        self._kept, self._stop = kept, stop
        self._idle: list[_Child] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        while self._idle:
            self._idle.pop().end()

    def look_at(self, needs: Sequence[Need], *, timeout_s: float) -> list[Seen]:
        """Return what became of each picture; fewer when stopped. Raises InputError for a name outside the folder.

        A picture that takes longer than ``timeout_s`` or crashes the decoder gets the code ``img-crash``.
        """
        seen: list[Seen] = []
        for need in needs:
            answer = self._answer(need, timeout_s)
            if answer is not None and answer.get("from_outside"):
                answer = self._answer(need, timeout_s)
            if answer is None:
                break
            seen.append(self._seen(need, answer))
        return seen

    def _answer(self, need: Need, timeout_s: float) -> dict[str, Any] | None:
        """Return what a child says of a picture, or what killed it; None when stopped."""
        if self._stop.is_set():
            return None
        child = self._take()
        try:
            answer = child.ask(self._question(need), timeout_s, self._stop)
        except BaseException:
            child.end()
            raise
        if child.dead:
            child.end()
        else:
            self._idle.append(child)
        return answer

    def _take(self) -> "_Child":
        try:
            return self._idle.pop()
        except IndexError:
            return _Child()

    def _question(self, need: Need) -> dict[str, Any]:
        segmentations = self._kept["segmentation"].take(pa.array(need.rows)).to_pylist() if self._masked else []
        return {
            **self._settings, "name": need.name, "size_wh": need.size_wh,
            "segmentations": [None if raw is None else raw.decode("utf-8") for raw in segmentations],
        }  # fmt: skip

    def _seen(self, need: Need, answer: dict[str, Any]) -> Seen:
        if "error" in answer:
            raise PoseError.from_fields(answer["error"])
        return Seen(
            need=need, digest=answer.get("digest", 0), code=answer.get("code", ""), detail=answer.get("detail", ""),
            notes=tuple(answer.get("notes", ())),
            bad_rows=tuple(need.rows[position] for position in answer.get("bad_masks", ())),
        )  # fmt: skip


class _Child:
    """A child process and the thread that reads its answers."""

    def __init__(self) -> None:
        self.dead = False
        self._ready = self._ended = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "pipelines.picture_child"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, encoding="utf-8",
        )  # fmt: skip
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._errors: list[str] = []
        self._pumps = [
            threading.Thread(target=_pump, args=(self._process.stdout, self._lines.put), daemon=True),
            threading.Thread(target=_pump, args=(self._process.stderr, self._note), daemon=True),
        ]
        for pump in self._pumps:
            pump.start()

    def ask(self, question: dict[str, Any], timeout_s: float, stop: threading.Event) -> dict[str, Any] | None:
        """Return the answer, or what killed the child as one; None when stopped. ``dead`` says that it is no more."""
        if not self._ready:  # it says so when its libraries are loaded
            started = self._line(_START_S, stop)
            self._ready = started is not None
            if started is None:
                return None if stop.is_set() else self._death()
        with suppress(BrokenPipeError):  # it died; the end of its answers says so
            print(json.dumps(question), file=self._process.stdin, flush=True)
        line = self._line(timeout_s, stop)
        if line is not None:
            answer: dict[str, Any] = json.loads(line)
            return answer
        if stop.is_set():
            return None
        if self._ended:
            return self._death()
        return {"code": "img-crash", "detail": f"decoding took longer than {timeout_s:g} s"}

    def _line(self, timeout_s: float, stop: threading.Event) -> str | None:
        """Return the next line; None, and ``dead``, at the end of the answers, when it takes too long, when stopped."""
        deadline_s = time.monotonic() + timeout_s
        while not stop.is_set() and time.monotonic() < deadline_s:
            try:
                line = self._lines.get(timeout=_POLL_S)
            except queue.Empty:
                continue
            if line is not None:
                return line
            self._ended = True
            break
        self.dead = True
        return None

    def end(self) -> None:
        """End the process and close what leads to it."""
        self._process.kill()
        self._process.wait()
        for pump in self._pumps:
            pump.join()
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def _death(self) -> dict[str, Any]:
        if not self._ended:  # it did not even start
            self._process.kill()
        code = self._process.wait()
        self._pumps[1].join()
        # A fault of ours, or a library that cannot be loaded.
        if not self._ready or any(line.startswith("Traceback") for line in self._errors):
            said = self._errors[-1].strip() if self._errors else "it did not start"
            raise StorageError(
                "worker-died", f"the process that decodes ended with an error: {said}", hint="run posedata doctor"
            )
        reason = f"signal {-code}" if code < 0 else f"exit status {code}"
        return {
            "code": "img-crash", "detail": f"decoding killed its process ({reason})",
            "from_outside": code in _SENT_FROM_OUTSIDE,
        }  # fmt: skip

    def _note(self, line: str | None) -> None:
        if line is not None:
            self._errors = [*self._errors[-40:], line]


def _pump(stream: IO[str] | None, take: Callable[[str | None], None]) -> None:
    if stream is not None:
        for line in stream:
            take(line)
    take(None)
