"""The one door for writes: every byte this project puts on disk passes through here.

A file appears under its final name only whole: written beside it under a temporary name ending in
``.partial``, flushed to the disk, renamed, and the folder flushed too. A kill at any moment leaves
either the old state or the new one, and at worst a ``.partial`` file that :func:`sweep` removes.
"""

import errno
import fcntl
import hashlib
import mmap
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import xxhash

from pose_data.errors import PoseError, StorageError

__all__ = [
    "PARTIAL_SUFFIX",
    "AtomicFile",
    "AtomicGroup",
    "Waiting",
    "Written",
    "bytes_digest",
    "file_digest",
    "file_sha256",
    "make_folder",
    "remove_file",
    "remove_tree",
    "replace_file",
    "set_write_hook",
    "storage_errors",
    "sweep",
    "write_file",
]

PARTIAL_SUFFIX = ".partial"
_PARTIAL_NAME = re.compile(r"\..+\.[0-9a-f]{32}" + re.escape(PARTIAL_SUFFIX))
_READ_BYTES = 1 << 20

Waiting = Callable[[], AbstractContextManager[None]]
"""Makes the context that is entered while a thread waits for the disk and computes nothing."""

WriteHook = Callable[[str, Path], None]
_hooks: list[WriteHook] = []


def set_write_hook(hook: WriteHook | None) -> None:
    """Call ``hook(step, path)`` before each open, write, fsync, rename, mkdir and remove; for fault tests."""
    _hooks[:] = [] if hook is None else [hook]


def _step(name: str, path: Path) -> None:
    for hook in _hooks:
        hook(name, path)


@dataclass(frozen=True, slots=True)
class Written:
    """What a finished file holds: its size and the digest of its bytes.

    Digests of a store's files and of pictures are XXH3-128 (hex): they find damage and change, at 30 GB/s
    a core where SHA-256 makes 2; they are no protection against somebody who wants to deceive.
    """

    size_bytes: int
    digest: str


@contextmanager
def storage_errors(what: str, path: Path) -> Iterator[None]:
    """Turn operating-system errors of the body into StorageError, naming ``what`` and ``path``."""
    try:
        yield
    except PoseError:
        raise
    except OSError as error:
        raise _storage_error(what, path, error) from error


def _storage_error(what: str, path: Path, error: OSError) -> StorageError:
    where = str(error.filename or path)
    kept = "what was finished is kept; nothing half-written was left under a final name"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        free = _free_bytes(path)
        return StorageError(
            "disk-full",
            f"{what} stopped: no space left ({free / 1e6:,.1f} MB free); {kept}",
            where=where,
            hint="free some space and run the same command again; it continues",
        )
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return StorageError(
            "not-writable", f"{what} stopped: the place is not writable ({error.strerror}); {kept}", where=where,
            hint="choose a folder you may write to, or mend its permissions",
        )  # fmt: skip
    return StorageError(
        "io-error", f"{what} stopped: {error.strerror or error}; {kept}", where=where,
        hint="look at the disk, and run the same command again",
    )  # fmt: skip


def _free_bytes(path: Path) -> int:
    folder = path
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class AtomicFile:
    """A file that is written in pieces and appears whole or not at all.

    Use as a context manager; on leaving without an error the file is synced and renamed, and
    ``written`` holds its size and digest. On an error the temporary file is removed.

    ``large``: go past the page cache (O_DIRECT) where the file system can. Copying into fresh cache pages
    costs a fifth of a preparation's time, and pushes out the pictures that are about to be read.
    ``waiting`` is entered while such a write waits for the disk.
    """

    def __init__(self, path: Path, *, large: bool = False, waiting: Waiting = nullcontext) -> None:
        self.path = path
        self._waiting = waiting
        self.written: Written | None = None
        self._temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL_SUFFIX}")
        self._digest = xxhash.xxh3_128()
        self._size_bytes = 0
        self._descriptor = -1
        self._large = large
        self._block: _AlignedBlock | None = None

    def __enter__(self) -> Self:
        _step("open", self.path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        if self._large and (descriptor := _open_direct(self._temporary, flags)) is not None:
            self._descriptor, self._block = descriptor, _AlignedBlock()
        else:
            self._descriptor = os.open(self._temporary, flags, 0o644)
        return self

    @property
    def size_bytes(self) -> int:
        """Return the number of bytes written so far."""
        return self._size_bytes

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append ``data``. Raises ValueError after the end."""
        if self._descriptor < 0:
            # Arrow's writers, where a write failed, try once more whenever they happen to be collected.
            raise ValueError(f"written to after its end: {self.path}")
        _step("write", self.path)
        view = memoryview(data).cast("B")
        self._digest.update(view)
        self._size_bytes += len(view)
        if self._block is None:
            _write_all(self._descriptor, view)
            return
        while view:
            view = self._block.take(view)
            if self._block.full:
                with self._waiting():
                    _write_all(self._descriptor, self._block.content())
                self._block.empty()

    def _finish_direct(self, block: "_AlignedBlock") -> None:
        """Write what is left: whole pages as before, the last bytes through the page cache."""
        left = block.content()
        whole = len(left) - len(left) % mmap.PAGESIZE
        _write_all(self._descriptor, left[:whole])
        fcntl.fcntl(self._descriptor, fcntl.F_SETFL, fcntl.fcntl(self._descriptor, fcntl.F_GETFL) & ~os.O_DIRECT)
        _write_all(self._descriptor, left[whole:])

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abandon()
            return
        _commit([self])

    def _abandon(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        self._temporary.unlink(missing_ok=True)

    def _sync(self) -> None:
        if self._block is not None:
            self._finish_direct(self._block)
        _step("fsync", self.path)
        os.fsync(self._descriptor)

    def _rename(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1
        if self._block is not None:
            self._block.give_back()
            self._block = None
        _step("rename", self.path)
        self._temporary.replace(self.path)
        self.written = Written(self._size_bytes, self._digest.hexdigest())


class AtomicGroup:
    """Several files that are synced together: one flush of the file system's journal instead of one for each.

    Each file appears whole or not at all; a kill may leave some of them new and others not yet there.
    """

    def __init__(self, waiting: Waiting = nullcontext) -> None:
        self._files: list[AtomicFile] = []
        self._waiting = waiting

    def __enter__(self) -> Self:
        return self

    def open(self, path: Path, *, large: bool = False) -> AtomicFile:
        """Return a new file of the group, to be written before the group ends."""
        file = AtomicFile(path, large=large, waiting=self._waiting)
        self._files.append(file)
        return file.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            with self._waiting():
                _commit(self._files)
            return
        for file in self._files:
            file._abandon()


def _commit(files: Sequence[AtomicFile]) -> None:
    try:
        for file in files:
            file._sync()
        for file in files:
            file._rename()
        for folder in sorted({file.path.parent for file in files}):
            _step("fsync-folder", folder)
            _fsync_folder(folder)
    except BaseException:
        for file in files:
            file._abandon()
        raise


def _write_all(descriptor: int, view: memoryview) -> None:
    while view:
        view = view[os.write(descriptor, view) :]


def _open_direct(path: Path, flags: int) -> int | None:
    """Return a descriptor that bypasses the page cache, None where the file system or system cannot."""
    direct = getattr(os, "O_DIRECT", 0)
    if not direct:
        return None
    try:
        return os.open(path, flags | direct, 0o644)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        if flags & os.O_CREAT:
            path.unlink(missing_ok=True)  # some file systems make the file before they refuse
        return None


_PRIVATE = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
_MOST_FREE_MAPS = 8
_free_maps: list[mmap.mmap] = []


class _AlignedBlock:
    """Memory for one large write, aligned as O_DIRECT wants it (an anonymous map begins on a page)."""

    SIZE_BYTES = 1 << 20

    def __init__(self) -> None:
        # Used again by the next file: fresh pages cost more than the copy into them.
        self._map = _free_maps.pop() if _free_maps else mmap.mmap(-1, self.SIZE_BYTES, flags=_PRIVATE)
        self._memory = memoryview(self._map)
        self._bytes = np.frombuffer(self._memory, np.uint8)
        self._filled = 0

    def give_back(self) -> None:
        """Leave the memory to the next file."""
        del self._bytes
        self._memory.release()
        if len(_free_maps) < _MOST_FREE_MAPS:
            _free_maps.append(self._map)

    @property
    def full(self) -> bool:
        return self._filled == self.SIZE_BYTES

    def take(self, view: memoryview) -> memoryview:
        """Copy in what fits of ``view``; return the rest."""
        count = min(len(view), self.SIZE_BYTES - self._filled)
        # NumPy copies without holding the interpreter lock, a memoryview does not let it go.
        np.copyto(self._bytes[self._filled : self._filled + count], np.frombuffer(view[:count], np.uint8))
        self._filled += count
        return view[count:]

    def content(self) -> memoryview:
        return self._memory[: self._filled]

    def empty(self) -> None:
        self._filled = 0


def write_file(path: Path, data: bytes) -> Written:
    """Write ``data`` to ``path`` atomically and durably; return its size and digest. Raises OSError."""
    with AtomicFile(path) as file:
        file.write(data)
    if file.written is None:  # cannot happen: the context ended without an error
        raise AssertionError(path)
    return file.written


def make_folder(path: Path) -> None:
    """Make ``path`` and its parents, durably. Raises OSError."""
    if path.is_dir():
        return
    make_folder(path.parent)
    _step("mkdir", path)
    path.mkdir(exist_ok=True)
    _fsync_folder(path.parent)


def remove_file(path: Path) -> None:
    """Remove ``path`` if it is there. Raises OSError."""
    _step("remove", path)
    path.unlink(missing_ok=True)


def remove_tree(path: Path) -> None:
    """Remove the folder ``path`` with all that is in it, if it is there. Raises OSError."""
    _step("remove", path)
    if path.is_dir():
        shutil.rmtree(path)


def replace_file(source: Path, target: Path) -> None:
    """Move a whole, synced file to ``target`` on the same file system, in place of what is there; or a folder.

    A folder may take the place of an empty one only. Raises OSError.
    """
    make_folder(target.parent)
    _step("rename", target)
    source.replace(target)
    _step("fsync-folder", target.parent)
    _fsync_folder(target.parent)


def sweep(folder: Path) -> int:
    """Remove left-over ``.partial`` files of ours below ``folder``; return how many there were. Raises OSError."""
    found = folder.rglob(f".*{PARTIAL_SUFFIX}")
    left = [path for path in found if _PARTIAL_NAME.fullmatch(path.name) and path.is_file()]
    for path in left:
        remove_file(path)
    return len(left)


def file_digest(path: Path, *, past_cache: bool = False) -> Written:
    """Return the size and digest of a file, read in pieces. Raises OSError.

    ``past_cache``: read from the disk itself where the file system can, not from the page cache.
    """
    digest = xxhash.xxh3_128()
    size_bytes = 0
    descriptor = _open_direct(path, os.O_RDONLY | os.O_CLOEXEC) if past_cache else None
    if descriptor is None:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # A map of its own: aligned to pages, as reading past the cache wants it.
        size = min(_READ_BYTES, _pages(os.fstat(descriptor).st_size))
        with mmap.mmap(-1, size, flags=_PRIVATE) as buffer, memoryview(buffer) as view:
            while count := os.readv(descriptor, [buffer]):
                digest.update(view[:count])
                size_bytes += count
    finally:
        os.close(descriptor)
    return Written(size_bytes, digest.hexdigest())


def _pages(size_bytes: int) -> int:
    """Return ``size_bytes`` rounded up to whole pages, at least one."""
    return max(1, -(-size_bytes // mmap.PAGESIZE)) * mmap.PAGESIZE


def bytes_digest(data: bytes) -> str:
    """Return the digest of bytes in memory, as :func:`file_digest` would of a file."""
    return xxhash.xxh3_128_hexdigest(data)


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file (hex), for what people compare with published values. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
