"""Reading a picture file's bytes, and saying what nearly matches when there is no such file."""

import os
import stat
import unicodedata
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from pose_data.picture_probe import PictureProblem

__all__ = ["DEFAULT_MAX_BYTES", "read_picture"]

DEFAULT_MAX_BYTES = 1 << 30
"""The largest picture file that is read."""


def read_picture(path: Path, *, max_bytes: int = DEFAULT_MAX_BYTES) -> bytes:
    """Return the bytes of a picture file.

    A similar name is reported, never read in its place. Pipes and devices are refused without waiting.

    Raises:
        PictureProblem: ``img-missing``, naming an existing file or folder that differs in case,
            Unicode form or extension only; ``img-unreadable`` for everything else.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        try:
            return _read_whole(descriptor, path.name, max_bytes)
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        raise PictureProblem("img-missing", _explain_missing(path), path.name) from None
    except (OSError, ValueError) as error:
        # ValueError: a NUL or a lone surrogate in the name.
        detail = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise PictureProblem("img-unreadable", detail, path.name) from None


def _read_whole(descriptor: int, name: str, max_bytes: int) -> bytes:
    status = os.fstat(descriptor)
    size = status.st_size
    if not stat.S_ISREG(status.st_mode):
        raise PictureProblem("img-unreadable", "not a regular file", name)
    if size > max_bytes:
        raise PictureProblem("img-unreadable", f"the file has {size} bytes; the limit is {max_bytes}", name)
    data = os.read(descriptor, size)
    while len(data) < size and (more := os.read(descriptor, size - len(data))):
        data += more
    return data


def _explain_missing(path: Path) -> str:
    """Say which part of a path does not exist and what nearly matches it; no absolute paths."""
    try:
        if path.is_symlink():
            return "a link whose target does not exist"
        missing = path
        while not missing.parent.is_dir() and missing.parent != missing:
            missing = missing.parent
        names = _names_by_key(missing.parent, missing.parent.stat().st_mtime_ns)
    except OSError:
        return "no such file"
    what = "no such file" if missing is path else f"there is no folder {missing.name!a}"
    near = names.get(("name", _fold(missing.name)))
    if near is None and missing is path:
        near = names.get(("stem", _fold(missing.stem)))
    if near is None:
        return what
    # ascii(): two Unicode forms of one name look alike, and names may hold control characters.
    return f"{what}; {near!a} exists and differs in {_difference(near, missing.name)}; it was not used"


def _difference(name: str, other: str) -> str:
    if _fold(name) != _fold(other):
        return "extension"
    if unicodedata.normalize("NFC", name) == unicodedata.normalize("NFC", other):
        return "Unicode form"
    return "case" if name.casefold() == other.casefold() else "case and Unicode form"


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())


@lru_cache(maxsize=2)
def _names_by_key(folder: Path, mtime_ns: int) -> Mapping[tuple[str, str], str]:
    """Return a folder's first name for every folded name and folded stem; ``mtime_ns`` only keys the cache.

    Cached, because when one picture is missing thousands may be.
    """
    names: dict[tuple[str, str], str] = {}
    for name in sorted(entry.name for entry in folder.iterdir()):
        names.setdefault(("name", _fold(name)), name)
        names.setdefault(("stem", _fold(Path(name).stem)), name)
    return names
