"""Bounded, tolerant reading of large JSON files: the file is mapped, its records are decoded one by one.

A broken file is refused with its position; a broken record is only that record's problem.
"""

import errno
import hashlib
import json
import math
import mmap
import os
import re
import resource
import stat
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from pose_data.errors import InputError
from pose_data.paths import shown

__all__ = [
    "DEFAULT_MAX_FILE_BYTES",
    "MAX_RECORD_BYTES",
    "JsonFile",
    "UnreadableRecord",
    "decode_loosely",
    "described",
    "map_json",
    "too_deep",
    "too_large_for_memory",
]

DEFAULT_MAX_FILE_BYTES = 1 << 30
"""Largest annotation file that is read; COCO's largest (train2017) has 0.24 GB."""
MAX_RECORD_BYTES = 8 << 20
"""Largest single record that is decoded; COCO's largest has about 0.1 MB."""

_BLOCK_BYTES = 1 << 20
_BYTE_IN_MESSAGE = re.compile(r"(?:JSON is malformed: )?(.*?) \(byte (\d+)\)$")
_LITERAL = re.compile(rb"NaN|Infinity")
# A string, or one of the three literals that are not JSON but that many programs write. The string
# may be open at the end: then nothing behind it is a literal, and the search stays linear.
_STRING_OR_LITERAL = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)|(-?(?:NaN|Infinity))', re.DOTALL)
# Texts of the literals' own lengths, so that every byte keeps its place. DEL marks them as ours.
_STAND_INS = {b"NaN": b'"\x7f"', b"Infinity": b'"\x7finfty"', b"-Infinity": b'"\x7f-infty"'}
_LITERAL_NAMES = {"\x7f": "NaN", "\x7finfty": "Infinity", "\x7f-infty": "-Infinity"}
_FIRST_BYTES = (
    (b"\x1f\x8b", "it is gzip-compressed; unpack it first"),
    (b"\xfd7zXZ", "it is xz-compressed; unpack it first"),
    (b"PK\x03\x04", "it is a ZIP archive; unpack it first"),
    (b"\xff\xfe", "it is UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "it is UTF-16 text; save it as UTF-8"),
    (b"version https://git-lfs", "it is a Git LFS pointer, not the file itself; run 'git lfs pull'"),
    (b"<", "it is a web page or XML; the download went wrong or it is of another format"),
)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"

# The decoder keeps about 64 bytes for each record. The shortest records of any use have about 30 bytes, COCO's
# hundreds (25 MB in all for train2017), a flood of zeros 2.
_DECODED_SHARE = 3
_DECODED_SLACK_BYTES = 512 << 20
_limit_lock = threading.Lock()

Decoded = TypeVar("Decoded")


class UnreadableRecord(Exception):
    """One record cannot be decoded; ``detail`` says why. Caught for each record, never leaves the readers."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class JsonFile:
    """A mapped JSON file. Nothing of it is copied: its pages belong to the page cache.

    The mapping lives as long as this object and what was decoded from it as ``msgspec.Raw``.
    """

    __slots__ = ("_mapped", "_patched", "path", "size_bytes")

    def __init__(self, path: Path, mapped: mmap.mmap) -> None:
        self.path = path
        self.size_bytes = len(mapped)
        self._mapped = mapped
        self._patched = False

    def sha256(self) -> str:
        """Return the hex digest of the file's bytes. To be called before ``decode``."""
        digest = hashlib.sha256()
        for start in range(0, self.size_bytes, _BLOCK_BYTES):
            digest.update(self._mapped[start : start + _BLOCK_BYTES])
        self.release()
        return digest.hexdigest()

    def decode(self, decoder: "msgspec.json.Decoder[Decoded]") -> Decoded:
        """Return the whole file, decoded; the literals NaN and Infinity become marked texts.

        Raises msgspec.ValidationError where valid JSON is of another type, InputError ``json-invalid``,
        ``json-too-deep`` or ``json-too-large`` otherwise.
        """
        try:
            return self._decode_once(decoder)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError as error:
            if not self._replace_literals():
                raise self._invalid(str(error)) from error
        try:
            return self._decode_once(decoder)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError as error:
            raise self._invalid(str(error)) from error

    def release(self) -> None:
        """Let the system take the pages read so far; they come back from the file when needed."""
        # Patched pages have no copy in the file.
        if not self._patched and hasattr(mmap, "MADV_DONTNEED"):
            self._mapped.madvise(mmap.MADV_DONTNEED)

    def _decode_once(self, decoder: "msgspec.json.Decoder[Decoded]") -> Decoded:
        start = len(_BYTE_ORDER_MARK) if self._mapped[:3] == _BYTE_ORDER_MARK else 0
        try:
            with _limited_memory(_DECODED_SHARE * self.size_bytes + _DECODED_SLACK_BYTES):
                return decoder.decode(memoryview(self._mapped)[start:])
        except RecursionError as error:
            raise too_deep(self.path) from error
        except UnicodeDecodeError as error:
            raise self._invalid("a key is not UTF-8") from error
        except MemoryError as error:
            raise too_large_for_memory(self.path, self.size_bytes) from error

    def _replace_literals(self) -> bool:
        if self._patched or _LITERAL.search(self._mapped) is None:
            return False
        self._patched = True
        for match in _STRING_OR_LITERAL.finditer(self._mapped):
            literal = match.group(1)
            if literal is not None:
                self._mapped[match.start() : match.end()] = _STAND_INS[literal]
        return True

    def _invalid(self, message: str) -> InputError:
        found = _BYTE_IN_MESSAGE.search(message)
        byte = int(found.group(2)) if found else self.size_bytes
        reason = found.group(1) if found else "it ends in the middle, or an escape in a text is wrong"
        if found and self._mapped[:3] == _BYTE_ORDER_MARK:
            byte += len(_BYTE_ORDER_MARK)
        line, column = self._line_and_column(byte)
        start = self._mapped[:64].lstrip()
        hints = [text for magic, text in _FIRST_BYTES if start.startswith(magic)]
        if reason == "trailing characters":
            hints.append("one JSON value a file is read; JSON Lines are not")
        return InputError(
            "json-invalid",
            f"the file is not valid JSON: {reason}",
            where=f"{self.path}, line {line}, column {column}, byte {byte}",
            hint=hints[0] if hints else "copy or download the file again and compare its size",
        )

    def _line_and_column(self, byte: int) -> tuple[int, int]:
        lines, last_newline = 1, -1
        for start in range(0, byte, _BLOCK_BYTES):
            block = self._mapped[start : min(byte, start + _BLOCK_BYTES)]
            count = block.count(b"\n")
            if count:
                lines, last_newline = lines + count, start + block.rindex(b"\n")
        return lines, byte - last_newline


def map_json(path: Path, max_file_bytes: int = DEFAULT_MAX_FILE_BYTES) -> JsonFile:
    """Map the JSON file at ``path``, after a look at its kind and size.

    Raises InputError ``json-unreadable`` (missing, not a regular file, no permission),
    ``json-too-large`` or, for an empty file, ``json-invalid``.
    """
    try:
        kind = path.stat()
        if not stat.S_ISREG(kind.st_mode):
            raise _unreadable(path, "it is not a regular file")
        if kind.st_size > max_file_bytes:
            raise InputError(
                "json-too-large",
                f"the file has {kind.st_size:,} bytes; the limit is {max_file_bytes:,}",
                where=str(path),
                hint=f"if it is what you mean, give --max-annotation-bytes {kind.st_size}",
            )
        if kind.st_size == 0:
            raise InputError(
                "json-invalid",
                "the file is empty",
                where=f"{path}, line 1, column 1, byte 0",
                hint="copy or download the file again",
            )
        with path.open("rb") as file:
            # A private mapping: replacing literals changes our pages only, never the file.
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    except FileNotFoundError as error:
        raise _unreadable(path, "it does not exist") from error
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            raise too_large_for_memory(path, kind.st_size) from error
        reason = error.strerror if isinstance(error, OSError) else None
        raise _unreadable(path, reason or str(error)) from error
    return JsonFile(path, mapped)


@contextmanager
def _limited_memory(more_bytes: int) -> Iterator[None]:
    """Let the process take at most ``more_bytes`` more in the body; beyond, allocations raise MemoryError.

    A file of a flood of tiny records would else take thirty times its size, and the machine with it. The limit
    is on addresses, of the whole process; it can only be told on Linux, and elsewhere nothing is limited.
    """
    if sys.platform != "linux":
        yield
        return
    # One at a time: two that overlap would restore each other's limit.
    with _limit_lock:
        soft, hard = resource.getrlimit(resource.RLIMIT_AS)
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        wanted = pages * os.sysconf("SC_PAGE_SIZE") + more_bytes
        limits = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
        resource.setrlimit(resource.RLIMIT_AS, (min([wanted, *limits]), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def too_large_for_memory(path: Path, size_bytes: int) -> InputError:
    """Return the error for a file within the limit whose records do not fit into memory."""
    return InputError(
        "json-too-large",
        f"the file has {size_bytes:,} bytes and its records do not fit into the memory that a file of its size gets",
        where=str(path),
        hint="look at the file: so many records in so few bytes are no annotations; else split it",
    )


def _unreadable(path: Path, reason: str) -> InputError:
    return InputError(
        "json-unreadable",
        f"the annotation file cannot be read: {reason}",
        where=str(path),
        hint="give the path of a COCO JSON file, such as annotations/person_keypoints_val2017.json",
    )


def too_deep(path: Path) -> InputError:
    """Return the error for JSON that is nested deeper than the decoders go (about 1,000 levels)."""
    return InputError(
        "json-too-deep",
        "the file is nested too deeply to be an annotation file (about 1,000 levels are read)",
        where=str(path),
        hint="COCO files have 5 levels; look at where the file came from",
    )


def decode_loosely(raw: msgspec.Raw) -> object:
    """Return one record as plain Python values, whatever its types. Slow; for records that are not as they should be.

    Numbers beyond float64 become infinite. Raises UnreadableRecord where the record has no plain value.
    """
    text = bytes(raw)
    if len(text) > MAX_RECORD_BYTES:
        raise UnreadableRecord(f"the record has {len(text):,} bytes; the limit is {MAX_RECORD_BYTES:,}")
    try:
        return json.loads(text.decode("utf-8"), parse_int=_whole_number)
    except UnicodeDecodeError as error:
        raise UnreadableRecord(f"the record is not UTF-8 at its byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise UnreadableRecord(f"the record is not valid JSON: {error.msg} at its character {error.pos}") from error


def _whole_number(digits: str) -> int | float:
    # Longer ones are slow to convert, and Python refuses those of more than 4,300 digits.
    return int(digits) if len(digits) < 400 else math.copysign(math.inf, -1 if digits[0] == "-" else 1)


def described(value: object) -> str:
    """Return a short, harmless description of a JSON value that stands where a number was expected."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return _LITERAL_NAMES.get(value) or f"the text {shown(value, 40)}"
    if isinstance(value, list):
        return "a list"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, float) and math.isinf(value):
        return "a number beyond float64"
    return shown(str(value), 40).strip("'")
