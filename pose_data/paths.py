"""Joining file names from an annotation file to a folder, without leaving that folder.

An annotation file is somebody else's text: its ``file_name`` values may climb out of the picture
folder, name a device or a remote address, or reach outside through a symbolic link.
"""

import os
import re
import stat
from functools import lru_cache
from pathlib import Path

from pose_data.errors import InputError

__all__ = ["resolve_inside", "shown", "unsafe_name"]

_DRIVE = re.compile(r"[A-Za-z]:")
# Any scheme with an authority, and those that some library opens without one.
_ADDRESS = re.compile(
    r"[A-Za-z][A-Za-z0-9+.-]*://|(?:pipe|file|data|blob|http|https|ftp|sftp|ssh|s3|gs|gcs|az|hdfs|memory|zip|tar):",
    re.IGNORECASE,
)
_SHOWN_CHARACTERS = 80


def shown(text: str, limit: int = _SHOWN_CHARACTERS) -> str:
    """Return ``text`` quoted, with every unprintable character escaped, and cut to about ``limit`` characters.

    Markup is left as it is: whoever prints it escapes for the place where it is printed.
    """
    cut = text if len(text) <= limit else text[:limit] + "…"
    quoted = repr(cut)
    # Escapes can be ten times as long as what they stand for.
    return quoted if len(quoted) <= 2 * limit else quoted[: 2 * limit] + "…'"


def unsafe_name(file_name: str) -> str | None:
    """Return why ``file_name`` must not be joined to a folder, or None where its text is harmless.

    Only the text is looked at. Refused are empty names, NUL, absolute paths and drives, ``..`` as a
    part (with either slash), chained addresses (``::``) and addresses (``http://``, ``pipe:``).
    """
    if not file_name.strip() or not file_name.strip("./\\"):
        return "it is empty or names a folder"
    if "\0" in file_name:
        return "it holds a NUL character"
    if file_name[0] in "/\\":
        return "it is an absolute path"
    if ".." in re.split(r"[/\\]", file_name):
        return "it climbs with '..'"
    if "::" in file_name:
        return "it is a chained address ('::')"
    if _DRIVE.match(file_name):
        return "it starts with a drive"
    if _ADDRESS.match(file_name):
        return "it is an address, not a file"
    return None


def resolve_inside(root: Path, file_name: str, *, allow_outside: bool) -> Path:
    """Return the real path of ``file_name`` below ``root``; the file need not exist.

    Symbolic links are followed first, so that a link inside ``root`` cannot lead out of it.
    ``allow_outside`` leaves out every check but the one for NUL. Raises InputError
    ``path-outside-root``.
    """
    reason = unsafe_name(file_name)
    if reason is not None and (not allow_outside or "\0" in file_name):
        raise _outside(root, file_name, reason)
    try:
        real = _real_path(root, file_name)
        outside = not allow_outside and not real.is_relative_to(_real_folder(os.fspath(root), ""))
    except (OSError, ValueError) as error:
        raise _outside(root, file_name, f"it cannot be resolved ({type(error).__name__})") from error
    if outside:
        raise _outside(root, file_name, "a symbolic link leads outside the folder")
    return real


def _real_path(root: Path, file_name: str) -> Path:
    """Return the path with all links followed; folders are resolved once, for thousands of pictures lie in each."""
    folder, _, name = file_name.rpartition("/")
    if name in ("", ".", "..") or ".." in folder or file_name.startswith("/"):
        return Path(os.path.realpath(root / file_name))
    path = os.path.join(_real_folder(os.fspath(root), folder), name)  # noqa: PTH118 - once a picture, and four times faster
    try:
        is_link = stat.S_ISLNK(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        is_link = False
    return Path(os.path.realpath(path)) if is_link else Path(path)


@lru_cache(maxsize=256)
def _real_folder(root: str, folder: str) -> str:
    return os.path.realpath(os.path.join(root, folder))  # noqa: PTH118 - realpath has no equal in pathlib for text


def _outside(root: Path, file_name: str, reason: str) -> InputError:
    return InputError(
        "path-outside-root",
        f"the file name {shown(file_name)} is not used: {reason}",
        where=str(root),
        hint="correct the annotation file; if you trust it, give --allow-outside",
    )
