"""Bytes of shard files, from a folder or from any Zarr store.

A folder takes the fast path: open descriptors are kept, and ``preadv`` puts bytes where they belong. Any other place
(object storage, a ZIP file, memory) is read through zarr-python's stores, by ranges.
"""

import os
import threading
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from zarr.abc.store import RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync

from pose_data.errors import DamageError, PoseError, StorageError

__all__ = ["FolderBytes", "Memory", "ShardBytes", "StoreBytes"]

Memory: TypeAlias = Any
"""Something with a writable, C-contiguous buffer: NumPy's arrays are no ``Buffer`` to a type checker on Python 3.11."""


class ShardBytes(Protocol):
    """Where shard files are read from; keys are relative to the split, such as ``images/c.0.0.0.0``."""

    def whole(self, key: str) -> bytes:
        """Return a file's bytes. Raises DamageError (``missing-file``) or StorageError."""

    def tail(self, key: str, count: int) -> bytes:
        """Return the last ``count`` bytes of a file, fewer where it is shorter. Raises as :meth:`whole`."""

    def read_into(self, key: str, offset: int, parts: Sequence[Memory], count: int) -> int:
        """Fill ``parts``, of ``count`` bytes together, one after another from ``offset`` on.

        Returns how many bytes there were. Raises likewise.
        """

    def describe(self, key: str) -> str:
        """Return the place of a file, for messages."""

    def close(self) -> None:
        """Let go of what is held open."""


class FolderBytes:
    """Files of a split's folder. Safe to use from many threads; pickles as the folder, with nothing open."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._descriptors: dict[str, int] = {}
        self._lock = threading.Lock()
        # A reader that is dropped without being closed must not keep its files open for ever. Not at exit: threads
        # may still read then, and the system closes everything.
        weakref.finalize(self, _close_all, self._descriptors).atexit = False

    def __reduce__(self) -> tuple[type["FolderBytes"], tuple[Path]]:
        return FolderBytes, (self._folder,)

    def whole(self, key: str) -> bytes:
        """Return a file's bytes."""
        try:
            return (self._folder / key).read_bytes()
        except OSError as error:
            raise _unreadable(self.describe(key), error) from error

    def tail(self, key: str, count: int) -> bytes:
        """Return the last ``count`` bytes of a file, fewer where it is shorter."""
        try:
            descriptor = self._descriptor(key)
            size_bytes = os.fstat(descriptor).st_size
            return os.pread(descriptor, count, max(0, size_bytes - count))
        except OSError as error:
            raise _unreadable(self.describe(key), error) from error

    def read_into(self, key: str, offset: int, parts: Sequence[Memory], count: int) -> int:
        """Fill ``parts``, of ``count`` bytes together, from ``offset`` on; return how many bytes there were."""
        try:
            descriptor = self._descriptor(key)
            done = os.preadv(descriptor, parts, offset)
            while 0 < done < count:  # a short read is allowed, if rare
                more = os.preadv(descriptor, _after(parts, done), offset + done)
                if not more:
                    break
                done += more
        except OSError as error:
            raise _unreadable(self.describe(key), error) from error
        return done

    def describe(self, key: str) -> str:
        """Return the path of a file."""
        return str(self._folder / key)

    def close(self) -> None:
        """Close the open files."""
        with self._lock:
            _close_all(self._descriptors)

    def _descriptor(self, key: str) -> int:
        found = self._descriptors.get(key)
        if found is not None:
            return found
        with self._lock:
            if key not in self._descriptors:
                self._descriptors[key] = os.open(self._folder / key, os.O_RDONLY | os.O_CLOEXEC)
            return self._descriptors[key]


class StoreBytes:
    """Files of a split in a Zarr store; ``prefix`` is the split's name. Pickles if the store does.

    Whatever error the store has of its own is told as StorageError, with the file's place.
    """

    def __init__(self, store: Store, prefix: str) -> None:
        self._store, self._prefix = store, prefix

    def whole(self, key: str) -> bytes:
        """Return a file's bytes."""
        return self._get(key, None)

    def tail(self, key: str, count: int) -> bytes:
        """Return the last ``count`` bytes of a file, fewer where it is shorter."""
        return self._get(key, SuffixByteRequest(count))

    def read_into(self, key: str, offset: int, parts: Sequence[Memory], count: int) -> int:
        """Fill ``parts``, of ``count`` bytes together, from ``offset`` on; return how many bytes there were."""
        flat = [memoryview(part).cast("B") for part in parts]
        data = memoryview(self._get(key, RangeByteRequest(offset, offset + count)))
        first = 0
        for part in flat:
            piece = data[first : first + len(part)]
            part[: len(piece)] = piece
            first += len(part)
        return len(data)

    def describe(self, key: str) -> str:
        """Return the store and the key of a file."""
        return f"{self._store}/{self._prefix}/{key}"

    def close(self) -> None:
        """Do nothing: the store is its owner's."""

    def _get(self, key: str, byte_range: Any) -> bytes:
        try:
            found = sync(self._store.get(f"{self._prefix}/{key}", default_buffer_prototype(), byte_range))
        except PoseError:
            raise
        except Exception as error:  # each kind of store has errors of its own, of no common kind
            raise _store_failed(self.describe(key), error) from error
        if found is None:
            raise DamageError("missing-file", "a shard file is missing", where=self.describe(key))
        return found.to_bytes()


def _close_all(descriptors: dict[str, int]) -> None:
    while descriptors:
        os.close(descriptors.popitem()[1])


def _after(parts: Sequence[Memory], count: int) -> list[memoryview]:
    rest = []
    for part in (memoryview(part).cast("B") for part in parts):
        if count < len(part):
            rest.append(part[count:])
        count = max(0, count - len(part))
    return rest


def _unreadable(where: str, error: Exception) -> DamageError | StorageError:
    if isinstance(error, FileNotFoundError):
        return DamageError("missing-file", "a shard file is missing", where=where)
    detail = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
    return StorageError("io-error", f"a shard file cannot be read: {detail}", where=where, hint="look at the disk")


def _store_failed(where: str, error: Exception) -> DamageError | StorageError:
    if isinstance(error, FileNotFoundError):
        return _unreadable(where, error)
    detail = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return StorageError(
        "io-error", f"the store did not give a shard file: {detail}", where=where,
        hint="look at the connection, the address and the rights; a training goes on with --resume",
    )  # fmt: skip
