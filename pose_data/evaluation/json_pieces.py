"""A long JSON list, read in pieces of about a megabyte; and what is said about a file that is not JSON.

Each piece is whole records in brackets, so that any JSON decoder takes it. A list at the top and JSON Lines (an object
a line) are read; a byte order mark is passed over.
"""

import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from pose_data.errors import InputError
from pose_data.paths import shown

__all__ = ["list_pieces", "load_list", "load_loosely", "open_bytes", "read_whole", "refuse_encodings"]

PIECE_BYTES = 1 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SEAM_BYTES = 64
"""More white space than this is not expected between two records."""
_FIRST_KEY = re.compile(rb'\{\s*"[^"\\]*"')
_MAGIC = (
    (b"\x1f\x8b", "gzip-compressed", "unpack it first"),
    (b"\xfd7zXZ", "xz-compressed", "unpack it first"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it first"),
    (b"version https://git-lfs", "a Git LFS pointer, not the file itself", "run 'git lfs pull'"),
)


def open_bytes(path: Path) -> BinaryIO:
    """Open a file unbuffered. Raises InputError ``file-unreadable``."""
    try:
        file: BinaryIO = path.open("rb", buffering=0)
    except OSError as error:
        raise InputError(
            "file-unreadable", f"the file cannot be read: {error.strerror}", where=str(path), hint="is the path right?"
        ) from None
    return file


def refuse_encodings(start: bytes, path: Path) -> None:
    """Raise InputError where the first bytes of a file say that it is no UTF-8 text, or that it is empty."""
    for magic, kind, hint in _MAGIC:
        if start.startswith(magic):
            raise InputError("json-invalid", f"{path.name} is {kind}", where=str(path), hint=hint)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in start[:2]:
        raise InputError("json-encoding", f"{path.name} is UTF-16 text", where=str(path), hint="save it as UTF-8")
    if not start.removeprefix(_BYTE_ORDER_MARK).strip():
        raise InputError(
            "json-invalid", f"{path.name} is empty", where=str(path), hint="did the program that writes it end?"
        )


def load_loosely(text: bytes, path: Path, *, offset: int = 0) -> Any:
    """Return the value of a JSON text, NaN and Infinity included: the slow, careful way, for messages.

    ``offset`` is the text's place in the file. Raises InputError ``json-encoding``, ``json-truncated`` or
    ``json-invalid``.
    """
    body = text.removeprefix(_BYTE_ORDER_MARK)
    try:
        return json.loads(body.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise _broken(body, error, path, offset=offset + len(text) - len(body)) from None


def _broken(text: bytes, error: Exception, path: Path, *, offset: int) -> InputError:
    if isinstance(error, RecursionError):
        return InputError("json-invalid", f"{path.name} is nested too deeply", where=str(path))
    if isinstance(error, UnicodeDecodeError):
        return InputError(
            "json-encoding",
            f"{path.name} is not UTF-8 (byte 0x{text[error.start]:02x} at {offset + error.start:,}; Latin-1?)",
            where=str(path), hint="save it as UTF-8",
        )  # fmt: skip
    if not isinstance(error, json.JSONDecodeError):
        return InputError(
            "json-invalid", f"{path.name} holds a whole number of more digits than are read", where=str(path),
            hint="ids are whole numbers below 2**63",
        )  # fmt: skip
    place = len(error.doc[: error.pos].encode())
    left = text[place:].strip()
    if not left or error.msg.startswith("Unterminated string") or text.rstrip()[-1:] not in b"]}":
        end = offset + len(text)
        return InputError(
            "json-truncated", f"{path.name} ends inside a record after {end:,} bytes: incomplete copy?",
            where=str(path), hint="copy it again, or wait until it is written, and compare its size",
        )  # fmt: skip
    if error.msg == "Extra data":
        return InputError(
            "json-invalid", f"{path.name} goes on after its end, at byte {offset + place:,}: {_shown(left)}",
            where=str(path), hint="one JSON value a file; were two files joined?",
        )  # fmt: skip
    return InputError(
        "json-invalid", f"{path.name} is not valid JSON at byte {offset + place:,} ({error.msg}): {_shown(left)}",
        where=str(path), hint="write it with a JSON library",
    )  # fmt: skip


def _shown(text: bytes) -> str:
    return shown(text[:40].decode("utf-8", "replace"), 40)


def read_whole(path: Path) -> bytes:
    """Return a file's bytes. Raises InputError ``file-unreadable``."""
    with open_bytes(path) as file:
        return file.read()


def list_pieces(file: BinaryIO, path: Path) -> Iterator[bytes]:
    """Yield the records of a JSON list, or of JSON Lines, as JSON texts ``[record, …]``.

    A text that is no JSON comes of a file that is none, or of records that hold lists of objects much like records:
    :func:`load_list` tells. Raises InputError where there is no list.
    """
    blocks = _blocks(file)
    text = next(blocks, b"")
    refuse_encodings(text, path)
    body = text.removeprefix(_BYTE_ORDER_MARK).lstrip()
    if body[:1] == b"[":
        yield from _list_pieces(body, blocks)
    elif body[:1] == b"{":
        yield from _line_pieces(body, blocks)
    else:
        raise _no_list("a web page or XML" if body[:1] == b"<" else "something else", path)


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(PIECE_BYTES):
        yield block


def _list_pieces(text: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    found = _FIRST_KEY.search(text, 0, 4096)
    first = found.group() if found else b"{"
    carried: list[bytes | memoryview] = [text]
    for block in blocks:
        cut, after = _last_seam(block, first)
        if not cut:
            carried.append(block)
            continue
        # One copy for each byte: a piece is put together from views.
        view = memoryview(block)
        yield b"".join((*carried, view[:cut], b"]"))
        carried = [b"[", view[after:]]
    # The file's own bracket closes the last piece; where it is missing, the decoder says so.
    yield b"".join(carried)


def _last_seam(block: bytes, first: bytes) -> tuple[int, int]:
    """Return where the last whole record ends and where the next one begins; (0, 0) where that is not seen.

    A record begins as the first one of the file does, with the same key, after a brace and a comma.
    """
    at = len(block)
    while (at := block.rfind(first, 1, at)) > 0:
        before = block[max(0, at - _SEAM_BYTES) : at].rstrip()
        if before.endswith(b",") and before[:-1].rstrip().endswith(b"}"):
            return max(0, at - _SEAM_BYTES) + len(before) - 1, at
    return 0, 0


def _line_pieces(text: bytes, blocks: Iterator[bytes]) -> Iterator[bytes]:
    carried = [text]  # a list: a line of many blocks, added to one by one, would be copied for each
    for block in blocks:
        whole, newline, rest = block.rpartition(b"\n")
        if newline:
            yield _as_list(b"".join((*carried, whole)).split(b"\n"))
            carried = [rest]
        else:
            carried.append(block)
    yield _as_list(b"".join(carried).split(b"\n"))


def _as_list(lines: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(line for line in lines if line.strip()) + b"]"


def load_list(path: Path) -> list[Any]:
    """Return the values of a JSON list or of JSON Lines, the slow, careful way. Raises InputError: what is wrong."""
    text = read_whole(path)
    refuse_encodings(text[:4096], path)
    start = text[: len(_BYTE_ORDER_MARK) + 4096].removeprefix(_BYTE_ORDER_MARK).lstrip()
    if start[:1] == b"{":
        return _load_lines(text, path)
    value = load_loosely(text, path)
    if not isinstance(value, list):
        raise _no_list("a single value", path)
    return value


def _load_lines(text: bytes, path: Path) -> list[Any]:
    lines = text.split(b"\n")
    first = _keys(lines[0].removeprefix(_BYTE_ORDER_MARK))
    if first is None or "image_id" not in first:
        value = load_loosely(text, path) if first is None else first
        keys = [f'"{shown(str(key), 30)[1:-1]}"' for key in list(value)[:3]]
        named = f"the key {keys[0]}" if len(keys) == 1 else f"the keys {', '.join(keys)}" if keys else "no keys"
        raise _no_list(f"an object with {named}", path)
    values, place = [], 0
    for line in lines:
        if line.strip():
            values.append(load_loosely(line, path, offset=place))
        place += len(line) + 1
    return values


def _keys(line: bytes) -> list[str] | None:
    """Return the keys of an object, None for what is none; its values, which may be many, are not made."""
    try:
        return list(msgspec.json.decode(line, type=dict[str, msgspec.Raw]))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # NaN, perhaps: the standard library's decoder takes it
    try:
        value = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    return list(value) if isinstance(value, dict) else None


def _no_list(found: str, path: Path) -> InputError:
    return InputError(
        "results-not-a-list", f"{path.name}: results must be a list; found {found}", where=str(path),
        hint='write a list of {"image_id", "category_id", "keypoints", "score"}, or one such object a line',
    )  # fmt: skip
