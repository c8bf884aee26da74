"""The lock that lets one process at a time write a store, and names its holder.

The lock is a small file, made while the store's folder is held by ``flock`` so that two takers
cannot both find it free. A lock whose holder is dead on the same host is taken over; one of
another host is left to ``posedata unlock``.
"""

import fcntl
import json
import os
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from pose_data.atomic import make_folder, remove_file, storage_errors, write_file
from pose_data.errors import BusyError

__all__ = ["Holder", "break_lock", "hold", "is_held_by", "read_holder", "require_held"]

_GUARD_WAIT_S = 0.8
_HELD_HERE: set[str] = set()
"""Tokens of the locks that this process holds at the moment."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a lock. ``process_start`` tells a live holder from another process with the same id."""

    host: str
    pid: int
    process_start: str
    started_utc: str
    command: str
    token: str

    def describe(self) -> str:
        """Return one line that names the holder."""
        return f"host {self.host}, process {self.pid}, started {self.started_utc}, command: {self.command}"

    def is_alive_here(self) -> bool | None:
        """Return whether the holder lives, or None where that cannot be told (another host)."""
        if self.host != socket.gethostname():
            return None
        if self.pid == os.getpid():
            # A lock that this process could not remove, for want of space or rights, must not lock it out.
            return self.token in _HELD_HERE
        return _process_start(self.pid) == self.process_start


def _process_start(pid: int) -> str:
    """Return when a process began, in the kernel's ticks; empty for a dead one."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "alive"  # no /proc on this system: only the process id can be compared
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]


def _lock_path(folder: Path) -> Path:
    return folder / "lock"


def read_holder(folder: Path) -> Holder | None:
    """Return who holds the lock of the ``.posedata`` folder, or None. A torn lock file counts as unknown holder."""
    try:
        raw = _lock_path(folder).read_bytes()
    except FileNotFoundError:
        return None
    try:
        return Holder(**json.loads(raw))
    except (ValueError, TypeError):
        return Holder(host="unknown", pid=0, process_start="", started_utc="unknown", command="unknown", token="")


@contextmanager
def _guard(folder: Path) -> Iterator[None]:
    """Hold the folder itself for the short time in which the lock file is looked at and changed."""
    give_up = time.monotonic() + _GUARD_WAIT_S
    descriptor = _open_folder(folder)
    try:
        while not (_try_lock(descriptor) and _is_still(folder, descriptor)):
            if time.monotonic() > give_up:
                raise _busy(folder, read_holder(folder))
            if not _is_still(folder, descriptor):  # removed by the last holder and made again by somebody
                os.close(descriptor)
                descriptor = _open_folder(folder)
            else:
                time.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _open_folder(folder: Path) -> int:
    make_folder(folder)
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(folder: Path, descriptor: int) -> bool:
    """Return whether the folder of this name is still the one that was opened."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False


def _busy(folder: Path, holder: Holder | None) -> BusyError:
    who = "being taken by another process" if holder is None else f"being written by {holder.describe()}"
    return BusyError(
        "store-busy",
        f"the store is {who}; nothing was changed",
        where=str(folder.parent),
        hint=f"wait for it; if that process is surely gone: posedata unlock {folder.parent}",
    )


@contextmanager
def hold(folder: Path) -> Iterator[Holder]:
    """Hold the lock of the ``.posedata`` folder (made when missing) for the body of the ``with``.

    Raises BusyError, naming the holder, when somebody else has it; StorageError when it cannot be written.
    """
    me = Holder(
        host=socket.gethostname(),
        pid=os.getpid(),
        process_start=_process_start(os.getpid()),
        started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        command=" ".join(Path(sys.argv[0]).name.split() + sys.argv[1:])[:500],
        token=uuid.uuid4().hex,
    )
    with storage_errors("taking the lock", folder), _guard(folder):
        holder = read_holder(folder)
        if holder is not None and holder.is_alive_here() is not False:
            raise _busy(folder, holder)
        write_file(_lock_path(folder), json.dumps(asdict(me), sort_keys=True).encode())
        _HELD_HERE.add(me.token)
    try:
        yield me
    finally:
        try:
            with storage_errors("giving the lock back", folder):
                _release(folder, me.token)
        finally:
            _HELD_HERE.discard(me.token)


def _release(folder: Path, token: str) -> None:
    """Remove the lock when it is still the one with ``token``. Raises OSError."""
    if not folder.is_dir():
        return
    with _guard(folder):
        holder = read_holder(folder)
        if holder is not None and holder.token == token:
            remove_file(_lock_path(folder))


def is_held_by(folder: Path, token: str) -> bool:
    """Return whether the lock is still the one with ``token``; workers stop when it is not."""
    holder = read_holder(folder)
    return holder is not None and holder.token == token


def require_held(folder: Path, token: str) -> None:
    """Raise BusyError (``lock-lost``) when the lock is no longer the one with ``token``."""
    if not is_held_by(folder, token):
        raise BusyError(
            "lock-lost", "the lock was taken from this run; it stopped before it wrote more",
            where=str(folder.parent), hint="see who writes the store before starting again",
        )  # fmt: skip


def break_lock(folder: Path, *, force: bool = False) -> Holder | None:
    """Remove the lock of another process; return whose it was, None when there was none.

    Raises BusyError when the holder lives on this host, or may live on another one and ``force`` is not given.
    """
    holder = read_holder(folder)
    if holder is None:
        return None
    alive = holder.is_alive_here()
    if alive or (alive is None and not force):
        raise BusyError(
            "store-busy",
            f"the lock belongs to {holder.describe()}"
            + ("; that process is alive" if alive else "; whether it lives cannot be told from here"),
            where=str(folder.parent),
            hint="stop that process first" if alive else "when it is surely gone: posedata unlock --force",
        )
    with storage_errors("removing the lock", folder):
        _release(folder, holder.token)
    return holder
