"""What one Dask task does: make one shard, watched, and return a few numbers about it.

No arrays and no annotations pass through the scheduler: a task is told a folder and a shard number.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pipelines.memory import release_memory
from pose_data.atomic import make_folder, remove_file, storage_errors, write_file
from pose_data.errors import PoseError, StorageError
from pose_data.imaging import single_threaded
from pose_data.job import finished_shard, load_culprits, load_job
from pose_data.lock import is_held_by, require_held
from pose_data.manifest import ShardRecord, SplitFolder
from pose_data.shard import ShardJob, make_shard
from pose_data.versions import code_digest, library_versions

__all__ = ["ShardOutcome", "ShardTask", "Slots", "environment", "outcome_of", "run_remote_task", "run_task"]

Status = Literal["done", "stalled", "suspect", "stopped", "failed"]
_POLL_S = 0.05
# Fresh pages cost time, kept ones memory: the allocator's holes grow by some megabytes with a hundred pictures.
_PICTURES_A_RELEASE = 48
_LOCK_CHECK_S = 1.0
_REMOTE_TRIES = 2
"""A worker may die of something else than a picture: another one tries before the shard is looked at in isolation."""
_STOP_GRACE_S = 3.0


class _StopShard(BaseException):
    """Unwind out of a shard; not an Exception, so that nothing on the way takes it for a bad record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardOutcome:
    """What became of a shard. ``rejects``: code → persons; ``error``: fields of a PoseError."""

    shard: int
    status: Status
    rows: int = 0
    pictures: int = 0
    bad_pictures: int = 0
    size_bytes: int = 0
    rejects: Mapping[str, int] = field(default_factory=dict)
    tries: int = 1
    """How often a worker began the shard: more than once where one died in it."""
    error: Mapping[str, str] = field(default_factory=dict)


def outcome_of(record: ShardRecord) -> ShardOutcome:
    """Return the outcome that a finished shard's record stands for."""
    rejects = Counter(reject.code for reject in record.rejects)
    return ShardOutcome(
        shard=record.shard, status="done", rows=record.rows, pictures=len(record.pictures),
        bad_pictures=len(record.bad_pictures), size_bytes=record.size_bytes, rejects=dict(rejects),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardTask:
    """The order to make one shard, small enough to send: where, which, and how long a picture may take."""

    split_path: str
    shard: int
    lock_folder: str
    token: str
    picture_timeout_s: float
    environment: Mapping[str, str] = field(default_factory=dict)
    """What the bytes depend on besides the plan; see :func:`environment`."""


def environment() -> dict[str, str]:
    """Return the versions of the libraries and the digest of our own code, here."""
    return {**library_versions(), "code": code_digest()}


@lru_cache(maxsize=4)
def _job(split_path: str, token: str) -> ShardJob:
    # The token makes the cache forget the job of an earlier run in the same worker.
    return load_job(SplitFolder(Path(split_path)))


class Slots:
    """At most so many threads compute at a time; one that waits for the disk lets another compute.

    With more threads than slots, the processors stay busy while a shard is written and synced.
    """

    def __init__(self, count: int) -> None:
        self._semaphore = threading.Semaphore(count)

    def take(self) -> None:
        """Wait for a slot and hold it."""
        self._semaphore.acquire()

    def give_back(self) -> None:
        """Let another have the slot; also on behalf of a thread that will never come back."""
        self._semaphore.release()


def run_remote_task(task: ShardTask) -> ShardOutcome:
    """Make a shard on a cluster's worker; it stops when the lock is no longer the one it was started under."""
    if task.environment != environment():  # a worker that came after the others had been asked
        error = StorageError(
            "cluster-versions", "a worker runs other versions; the shard was not made",
            hint="install the same versions on every worker: bytes depend on them",
        )  # fmt: skip
        return ShardOutcome(shard=task.shard, status="failed", error=error.fields())
    last_look = time.monotonic()

    def lost() -> bool:
        nonlocal last_look
        if time.monotonic() - last_look < _LOCK_CHECK_S:
            return False
        last_look = time.monotonic()
        return not is_held_by(Path(task.lock_folder), task.token)

    return _made_before(task) or run_task(task, should_stop=lost, tries=_REMOTE_TRIES)


def _made_before(task: ShardTask) -> ShardOutcome | None:
    """Return the outcome of a task that is done a second time, since the worker that held the first one died."""
    try:
        record = finished_shard(_job(task.split_path, task.token), task.shard)
    except PoseError:
        return None  # it is raised again, and told, where the shard is made
    return None if record is None else outcome_of(record)


def run_task(
    task: ShardTask,
    *,
    should_stop: Callable[[], bool],
    on_picture: Callable[[], None] = lambda: None,
    slots: Slots | None = None,
    tries: int = 1,
) -> ShardOutcome:
    """Make a shard in a thread of its own and watch it; return what became of it, whatever its data and the disk do.

    Only errors of the program itself are raised.

    A picture that takes longer than the limit makes the outcome ``stalled``: the thread cannot be ended
    and is left behind, but writes nothing any more. A shard during which an earlier process died is not begun:
    ``suspect``.
    """
    marker = SplitFolder(Path(task.split_path)).started(task.shard)
    begun = _times_begun(marker)
    if begun >= tries:
        return ShardOutcome(shard=task.shard, status="suspect")
    watched = _Watched(task, should_stop, on_picture, slots or Slots(1))
    try:
        with storage_errors("starting a shard", marker):
            make_folder(marker.parent)
            write_file(marker, b"." * (begun + 1))
        outcome = replace(watched.run(), tries=begun + 1)
        if outcome.status in ("done", "stopped", "failed"):
            with storage_errors("ending a shard", marker):
                remove_file(marker)
    except PoseError as error:
        return ShardOutcome(shard=task.shard, status="failed", error=error.fields())
    return outcome


def _times_begun(marker: Path) -> int:
    """Return how many processes began a shard and did not end it: one dot each."""
    try:
        return max(1, marker.stat().st_size)
    except FileNotFoundError:
        return 0


class _Watched:
    def __init__(
        self, task: ShardTask, should_stop: Callable[[], bool], on_picture: Callable[[], None], slots: "Slots"
    ) -> None:
        self._task, self._should_stop, self._on_picture, self._slots = task, should_stop, on_picture, slots
        self._outcome: ShardOutcome | None = None
        self._error: BaseException | None = None
        self._picture_began_s = math.inf  # no picture is in hand
        self._turn = threading.Lock()
        self._computing = self._abandoned = self._writing = False
        self._pictures = 0

    def run(self) -> ShardOutcome:
        thread = threading.Thread(target=self._make, name=f"shard-{self._task.shard}", daemon=True)
        thread.start()
        stop_seen_s: float | None = None
        while thread.is_alive():
            thread.join(_POLL_S)
            now_s = time.monotonic()
            if stop_seen_s is None and self._should_stop():
                stop_seen_s = now_s
            too_long = now_s - self._picture_began_s > self._task.picture_timeout_s
            stop_ignored = stop_seen_s is not None and now_s - stop_seen_s > _STOP_GRACE_S
            if (too_long or stop_ignored) and self._abandon():
                return ShardOutcome(shard=self._task.shard, status="stalled")
        if self._error is not None:
            raise self._error
        return self._outcome or ShardOutcome(shard=self._task.shard, status="stopped")

    def _abandon(self) -> bool:
        """Leave the thread behind, unless it is writing: then its pictures are done and it will end."""
        with self._turn:
            if self._writing:
                return False
            self._abandoned = True
            self._give_slot_back()
            return True

    def _give_slot_back(self) -> None:
        if self._computing:
            self._computing = False
            self._slots.give_back()

    def _take_slot(self) -> None:
        self._slots.take()
        with self._turn:
            self._computing = True
            if self._abandoned:  # while it waited
                self._give_slot_back()

    @contextmanager
    def _slot(self) -> Iterator[None]:
        self._take_slot()
        try:
            yield
        finally:
            with self._turn:
                self._give_slot_back()

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """Lend the slot to others; a thread that never comes back from waiting holds none that could be taken back."""
        with self._turn:
            self._give_slot_back()
        try:
            yield
        finally:
            self._take_slot()

    def _before_picture(self, name: str) -> None:
        if self._abandoned or self._should_stop():
            raise _StopShard
        if self._pictures % _PICTURES_A_RELEASE == 0:
            release_memory()
        self._pictures += 1
        self._picture_began_s = time.monotonic()
        self._on_picture()

    def _before_write(self) -> None:
        require_held(Path(self._task.lock_folder), self._task.token)
        with self._turn:
            if self._abandoned:
                raise _StopShard
            self._writing = True

    def _make(self) -> None:
        try:
            job = _job(self._task.split_path, self._task.token)
            with single_threaded(), self._slot():
                self._picture_began_s = time.monotonic()
                record = make_shard(
                    job, self._task.shard, before_picture=self._before_picture, before_write=self._before_write,
                    culprits=load_culprits(job.split), waiting=self._waiting,
                )  # fmt: skip
            self._outcome = outcome_of(record)
        except _StopShard:
            pass
        except PoseError as error:
            self._outcome = ShardOutcome(shard=self._task.shard, status="failed", error=error.fields())
        except MemoryError:
            # Perhaps one monstrous picture: the shard is looked at picture by picture.
            self._outcome = ShardOutcome(shard=self._task.shard, status="suspect")
        except BaseException as error:  # noqa: BLE001 - raised by run() in the thread that waits
            self._error = error
