"""One shard file: written by streaming chunks through the codec, read chunk by chunk with checks.

The format is Zarr v3 ``sharding_indexed`` with the index at the end: chunks one after another,
each followed by its CRC-32C, then for every chunk its offset and length (uint64, little endian),
then the CRC-32C of that index (https://zarr-specs.readthedocs.io, codec "sharding-indexed"). Chunks that are not
compressed begin at multiples of 64 bytes, with zeros before them: they are copied as they are, which is faster so
(:mod:`pose_data.aligned`). Chunks are streamed because handing a whole shard to zarr-python takes eight times the
memory.
"""

import os
from pathlib import Path
from typing import Any

import google_crc32c
import numpy as np
import numpy.typing as npt
from numcodecs import blosc, zstd

from pose_data.aligned import padding_bytes
from pose_data.atomic import AtomicFile
from pose_data.errors import DamageError
from pose_data.imaging import PictureProblem
from pose_data.jpeg_codec import decode_jpeg_chunk, encode_jpeg_chunk
from pose_data.layout import ArrayLayout

__all__ = [
    "ShardIndex",
    "ShardWriter",
    "chunk_place",
    "chunk_places",
    "decode_chunk",
    "encode_chunk",
    "index_bytes",
    "parse_index",
    "read_chunk",
    "read_column",
    "read_index",
]

_MISSING = np.uint64(2**64 - 1)
_BLOSC_LEVEL = 5
_ZSTD_LEVEL = 1
_CRC_BYTES = 4

ShardIndex = npt.NDArray[np.uint64]
"""(chunks, 2) offset and length in bytes; both 2**64 - 1 where the shard holds no such chunk."""


def _crc(data: bytes | npt.NDArray[np.uint8]) -> bytes:
    return int(google_crc32c.value(data)).to_bytes(_CRC_BYTES, "little")


def _compress(layout: ArrayLayout, rows: npt.NDArray[Any]) -> bytes | npt.NDArray[np.uint8]:
    match layout.codec:
        case "blosc-lz4-bitshuffle":
            return bytes(blosc.compress(rows, b"lz4", _BLOSC_LEVEL, blosc.BITSHUFFLE, 0, 1))
        case "blosc-lz4":
            return bytes(blosc.compress(rows, b"lz4", _BLOSC_LEVEL, blosc.NOSHUFFLE, 0, 1))
        case "zstd":
            return bytes(zstd.compress(rows, _ZSTD_LEVEL))
        case "jpeg":
            return encode_jpeg_chunk(rows, layout.jpeg_quality)
        case "none":
            # Read-only, since the checksum's library takes nothing else; an array, since it takes no memoryview.
            view = rows.reshape(-1).view(np.uint8)
            view.setflags(write=False)
            return view


def encode_chunk(layout: ArrayLayout, rows: npt.NDArray[Any]) -> tuple[bytes | memoryview, bytes]:
    """Return the coded bytes of one whole chunk and its CRC-32C. ``rows`` is C-contiguous.

    The codec "none" gives a view of ``rows``, to be used before they change.
    """
    # A chunk that is too short would be read as garbage by others, so say so here.
    if not rows.flags.c_contiguous or rows.dtype != layout.dtype or rows.shape[1:] != layout.row_shape:
        raise AssertionError(f"{layout.name}: chunk of {rows.dtype} {rows.shape}")
    coded = _compress(layout, rows)
    return coded if isinstance(coded, bytes) else coded.data, _crc(coded)


def decode_chunk(
    layout: ArrayLayout, data: bytes | npt.NDArray[np.uint8], out: npt.NDArray[Any], *, check: bool = True
) -> None:
    """Check the CRC-32C and decode one chunk into ``out``, C-contiguous. Raises ValueError when damaged.

    ``data`` is the coded chunk and its checksum: bytes, or a read-only array (the checksum's library takes no other).
    ``check=False`` trusts the checksum.
    """
    view = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
    coded = view[:-_CRC_BYTES]
    if len(view) <= _CRC_BYTES or (check and _crc(coded) != view[-_CRC_BYTES:].tobytes()):
        raise ValueError("the chunk's checksum is wrong")
    try:
        match layout.codec:
            case "blosc-lz4-bitshuffle" | "blosc-lz4":
                # Bytes 4 to 7 of Blosc's header are the decoded size; a smaller one would leave old values in ``out``.
                _check_size(int.from_bytes(coded[4:8].tobytes(), "little"), out)
                blosc.decompress(coded, out)
            case "zstd":
                _check_size(_zstd_content_bytes(coded), out)
                zstd.decompress(coded, out)
            case "jpeg":
                decode_jpeg_chunk(coded.tobytes(), out)
            case "none":
                _check_size(len(coded), out)
                np.copyto(out.reshape(-1).view(np.uint8), coded)
    except (RuntimeError, PictureProblem) as error:  # the codecs' own types for bad input
        raise ValueError(f"the chunk does not decode: {error}") from error


def _zstd_content_bytes(coded: npt.NDArray[np.uint8]) -> int:
    """Return the size that a Zstandard frame says its content has (RFC 8878, 3.1.1.1). Raises ValueError."""
    head = coded[:18].tobytes()
    if len(head) < 6 or head[:4] != b"\x28\xb5\x2f\xfd":
        raise ValueError("the chunk is no Zstandard frame")
    single_segment = head[4] >> 5 & 1
    size_bytes = (single_segment, 2, 4, 8)[head[4] >> 6]
    first = 5 + (1 - single_segment) + (0, 1, 2, 4)[head[4] & 3]
    if not size_bytes:
        raise ValueError("the chunk does not say how large it is")
    size = int.from_bytes(head[first : first + size_bytes], "little")
    return size + 256 if size_bytes == 2 else size


def _check_size(size_bytes: int, out: npt.NDArray[Any]) -> None:
    if size_bytes != out.nbytes:
        raise ValueError(f"the chunk has {size_bytes} bytes where {out.nbytes} belong")


class ShardWriter:
    """Stream the chunks of one shard into its file. Use inside the ``with`` of an AtomicFile."""

    def __init__(self, layout: ArrayLayout, chunk_rows: int, shard_rows: int, file: AtomicFile) -> None:
        self._layout = layout
        self._chunk_rows = chunk_rows
        self._file = file
        self._index: ShardIndex = np.full((shard_rows // chunk_rows, 2), _MISSING, "<u8")
        self._chunks = 0

    def add(self, rows: npt.NDArray[Any]) -> None:
        """Append one whole chunk (chunk_rows, …); the last one of the array is padded with zeros by the caller."""
        if len(rows) != self._chunk_rows:
            raise AssertionError(f"{self._layout.name}: {len(rows)} rows in a chunk of {self._chunk_rows}")
        coded, crc = encode_chunk(self._layout, rows)
        padding = padding_bytes(self._file.size_bytes) if self._layout.codec == "none" else 0
        if padding:
            self._file.write(bytes(padding))
        self._index[self._chunks] = self._file.size_bytes, len(coded) + _CRC_BYTES
        self._file.write(coded)
        self._file.write(crc)
        self._chunks += 1

    def finish(self) -> None:
        """Append the index and its checksum."""
        index = self._index.tobytes()
        self._file.write(index + _crc(index))


def parse_index(tail: bytes, chunks: int, *, where: str) -> ShardIndex:
    """Return the index that a shard's last ``index_bytes(chunks)`` bytes hold. Raises DamageError."""
    if len(tail) < index_bytes(chunks):
        raise DamageError("chunk", "a shard file is too short for its index", where=where)
    if _crc(tail[:-_CRC_BYTES]) != tail[-_CRC_BYTES:]:
        raise DamageError("chunk", "a shard's index fails its checksum", where=where)
    return np.frombuffer(tail[:-_CRC_BYTES], "<u8").reshape(chunks, 2)


def index_bytes(chunks: int) -> int:
    """Return the size of the index of a shard of so many chunks, its checksum included."""
    return 16 * chunks + _CRC_BYTES


def read_index(path: Path, chunks: int) -> ShardIndex:
    """Return the index of a shard file. Raises DamageError when it is missing, short or fails its checksum."""
    try:
        with path.open("rb") as file:
            size_bytes = file.seek(0, os.SEEK_END)
            file.seek(max(0, size_bytes - index_bytes(chunks)))
            tail = file.read()
    except FileNotFoundError:
        raise DamageError("missing-file", "a shard file is missing", where=str(path)) from None
    return parse_index(tail, chunks, where=str(path))


def chunk_place(index: ShardIndex, chunk: int, *, where: str) -> tuple[int, int]:
    """Return offset and length of a chunk in its shard. Raises DamageError where the shard does not hold it."""
    offset, length = index[chunk]
    if offset == _MISSING or length == _MISSING:
        raise DamageError("chunk", "a chunk is missing from its shard", where=where)
    return int(offset), int(length)


def chunk_places(index: ShardIndex) -> list[tuple[int, int] | None]:
    """Return offset and length of each chunk of a shard, None for one that the shard does not hold."""
    missing = int(_MISSING)
    return [None if missing in (offset, length) else (offset, length) for offset, length in index.tolist()]


def read_chunk(layout: ArrayLayout, path: Path, index: ShardIndex, chunk: int, out: npt.NDArray[Any]) -> None:
    """Read, check and decode one chunk of a shard into ``out`` (chunk_rows, …).

    Raises DamageError, never returns zeros for a chunk that is not there.
    """
    where = f"{path} chunk {chunk}"
    offset, length = chunk_place(index, chunk, where=where)
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(length)
        decode_chunk(layout, data, out)
    except FileNotFoundError:
        raise DamageError("missing-file", "a shard file is missing", where=where) from None
    except ValueError as error:
        raise DamageError("chunk", str(error), where=where) from error


def read_column(layout: ArrayLayout, path: Path, shard_rows: int) -> npt.NDArray[Any]:
    """Return the (shard_rows, …) values of a column's chunk. Raises DamageError when missing or damaged."""
    out = np.empty((shard_rows, *layout.row_shape), layout.dtype)
    try:
        decode_chunk(layout, path.read_bytes(), out)
    except FileNotFoundError:
        raise DamageError("missing-file", "a column's file is missing", where=str(path)) from None
    except ValueError as error:
        raise DamageError("chunk", str(error), where=str(path)) from error
    return out
