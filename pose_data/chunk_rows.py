"""Rows of a split's sharded arrays, decoded straight to where they are wanted.

A shard's index is read once and kept. Neighbouring chunks are read in one call, at most 32 MB. The CRC-32C of a coded
chunk is checked whenever it is read, that of an uncompressed one when it is first read: from then on single rows are
read, which have no checksum. Rows of an uncompressed array go from the page cache to their places without a stop in
between.
"""

import itertools
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import google_crc32c
import numpy as np
import numpy.typing as npt

from pose_data.aligned import ALIGNMENT_BYTES, aligned_array
from pose_data.errors import DamageError
from pose_data.layout import ArrayLayout
from pose_data.manifest import shard_key
from pose_data.shard_bytes import Memory, ShardBytes
from pose_data.shard_file import chunk_places, decode_chunk, index_bytes, parse_index

__all__ = ["MOST_BLOCK_BYTES", "ChunkRows", "Scratch", "Wanted"]

MOST_BLOCK_BYTES = 32 << 20
"""Larger blocks of memory come as fresh pages from the system each time, several times slower than the reading."""

_CRC_BYTES = 4
_MOST_PIECES = 1024
"""Pieces of memory that one ``preadv`` may fill (IOV_MAX)."""
_Array = npt.NDArray[Any]
_Places = Sequence[tuple[int, int] | None]
"""Offset and length of each chunk of a shard; None where the shard does not hold it."""


@dataclass(slots=True)
class Wanted:
    """Rows of one shard (ascending, relative to it, may repeat) and for each the place in every array's batch.

    The places are either rows of larger arrays or arrays of their own.
    """

    shard: int
    rows: npt.NDArray[np.int64]
    arena: Mapping[str, _Array] = field(default_factory=dict)
    """Array name → the larger array, C-contiguous, of the rows' shape and type."""
    arena_rows: npt.NDArray[np.int64] | None = None
    """For each of ``rows`` its place among the arenas' rows."""
    places: Mapping[str, Sequence[_Array]] = field(default_factory=dict)
    """Array name → for each of ``rows`` an array of its own, likewise."""
    _pieces: "_Pieces | None" = field(init=False, default=None)

    def pieces(self, chunk_rows: int) -> "_Pieces":
        """Return how the rows fall into chunks of so many: the same for every array, so it is found out once."""
        if self._pieces is None:
            chunks = (self.rows // chunk_rows).tolist()
            changes = [place for place in range(1, len(chunks)) if chunks[place] != chunks[place - 1]]
            borders = [0, *changes, len(chunks)]
            self._pieces = _Pieces(
                chunks=[chunks[first] for first in borders[:-1]],
                places=[slice(first, end) for first, end in itertools.pairwise(borders)],
                rows=(self.rows % chunk_rows).tolist(),
                direct=len(set(self.rows.tolist())) == len(chunks),
            )
        return self._pieces


@dataclass(frozen=True, slots=True)
class _Pieces:
    """``places`` are slices of the wanted rows, one for each of ``chunks``; ``rows`` are theirs within the chunks."""

    chunks: list[int]
    places: list[slice]
    rows: list[int]
    direct: bool
    """No row is wanted twice: one call fills memory once."""


class _Part(NamedTuple):
    """A chunk of which rows are wanted: which of ``Wanted.rows``, and where it lies in its file."""

    chunk: int
    rows: slice
    offset: int
    length: int


@dataclass(slots=True)
class _Read:
    """Memory that one call fills, from ``offset`` to ``end`` of a file."""

    offset: int
    end: int
    memory: list[Memory]


@dataclass(slots=True)
class Scratch:
    """Memory that one thread uses again and again."""

    coded: npt.NDArray[np.uint8] = field(default_factory=lambda: np.empty(0, np.uint8))
    decoded: dict[str, _Array] = field(default_factory=dict)

    def coded_view(self, size_bytes: int) -> npt.NDArray[np.uint8]:
        """Return memory for so many coded bytes."""
        if len(self.coded) < size_bytes:
            self.coded = aligned_array((size_bytes,), np.uint8)
        return self.coded[:size_bytes]

    def chunk(self, layout: ArrayLayout, chunk_rows: int) -> _Array:
        """Return memory for one decoded chunk of an array."""
        if layout.name not in self.decoded:
            self.decoded[layout.name] = aligned_array((chunk_rows, *layout.row_shape), layout.dtype)
        return self.decoded[layout.name]


class _Task:
    """The rows of one shard that one array's places are filled with."""

    __slots__ = ("_arena", "_arena_rows", "_places", "direct", "key", "layout", "rows", "shard")

    def __init__(self, layout: ArrayLayout, key: str, wanted: Wanted, pieces: _Pieces) -> None:
        self.layout, self.key, self.shard = layout, key, wanted.shard
        self._places = wanted.places.get(layout.name)
        self._arena, self._arena_rows = wanted.arena.get(layout.name), wanted.arena_rows
        self.rows, self.direct = pieces.rows, pieces.direct

    @property
    def places(self) -> Sequence[_Array]:
        """Return each row's place; made when they are asked for, since most chunks do without."""
        if self._places is None:
            assert self._arena is not None
            assert self._arena_rows is not None
            self._places = [self._arena[row] for row in self._arena_rows.tolist()]
        return self._places

    def hand_out(self, part: slice, decoded: _Array) -> None:
        """Put rows of a decoded chunk into their places."""
        rows = self.rows[part]
        if self._arena is not None and self._arena_rows is not None and self._neighbours(rows):
            # One copy: Python's lock, which other threads wait for, is asked for once and not for each row.
            self._arena[self._arena_rows[part]] = decoded[rows[0] : rows[-1] + 1]
            return
        for row, place in zip(rows, self.places[part], strict=True):
            place[...] = decoded[row]

    def _neighbours(self, rows: list[int]) -> bool:
        return self.direct and rows[-1] - rows[0] + 1 == len(rows)


class ChunkRows:
    """The chunks of one split. Safe to use from many threads, each with a :class:`Scratch` of its own."""

    def __init__(
        self,
        source: ShardBytes,
        layouts: Sequence[ArrayLayout],
        *,
        shard_rows: int,
        chunk_rows: int,
        check: bool = True,
    ) -> None:
        self._source, self._shard_rows, self._chunk_rows, self._check = source, shard_rows, chunk_rows, check
        self.layouts = {layout.name: layout for layout in layouts}
        self._indices: dict[tuple[str, int], _Places] = {}
        self._checked: set[tuple[str, int, int]] = set()
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is known of the files: another process looks at them itself."""
        return {**self.__dict__, "_indices": {}, "_checked": set(), "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def key(self, array: str, shard: int) -> str:
        """Return the key of a shard file."""
        return shard_key(array, len(self.layouts[array].row_shape), shard)

    def load(self, array: str, wanted: Wanted, scratch: Scratch) -> None:
        """Fill the places of one array. Raises DamageError or StorageError; places may then hold anything."""
        layout = self.layouts[array]
        key = self.key(array, wanted.shard)
        pieces = wanted.pieces(self._chunk_rows)
        index = self._index(array, wanted.shard)
        parts = [
            _Part(chunk, places, *self._place(index, chunk, key))
            for chunk, places in zip(pieces.chunks, pieces.places, strict=True)
        ]
        task = _Task(layout, key, wanted, pieces)
        if layout.codec == "none":
            self._load_raw(task, parts, scratch)
        else:
            self._load_coded(task, parts, scratch)

    # -- coded chunks: one read for neighbours, then one after another through the codec

    def _load_coded(self, task: _Task, parts: Sequence[_Part], scratch: Scratch) -> None:
        decoded = scratch.chunk(task.layout, self._chunk_rows)
        for block in _blocks(parts):
            first, end = block[0].offset, block[-1].offset + block[-1].length
            data = scratch.coded_view(end - first)
            self._read(task.key, _Read(first, end, [data]), block)
            data.setflags(write=False)
            for part in block:
                begin = part.offset - first
                self._decode(task.layout, data[begin : begin + part.length], decoded, task.key, part.chunk)
                task.hand_out(part.rows, decoded)

    def _decode(self, layout: ArrayLayout, data: npt.NDArray[np.uint8], out: _Array, key: str, chunk: int) -> None:
        try:
            decode_chunk(layout, data, out, check=self._check)
        except ValueError as error:
            raise DamageError("chunk", str(error), where=self._where(key, chunk)) from error

    # -- uncompressed chunks: straight to their places, the neighbours of a run in one read

    def _load_raw(self, task: _Task, parts: Sequence[_Part], scratch: Scratch) -> None:
        layout, row_bytes = task.layout, task.layout.row_bytes()
        reads: list[_Read] = []
        unchecked: list[tuple[int, Sequence[_Array], bytearray]] = []
        for part in parts:
            if part.length != self._chunk_rows * row_bytes + _CRC_BYTES:
                raise DamageError("chunk", "a chunk has another size", where=self._where(task.key, part.chunk))
            rows, places = task.rows[part.rows], task.places[part.rows]
            known = not self._check or (layout.name, task.shard, part.chunk) in self._checked
            if not task.direct or (len(rows) < self._chunk_rows and not known):
                self._load_raw_chunk(task, part, scratch)
                continue
            crc = bytearray(_CRC_BYTES)
            if len(rows) == self._chunk_rows < _MOST_PIECES:
                _add(reads, part.offset, [*places, crc], part.length)
            else:
                for row, place in zip(rows, places, strict=True):
                    _add(reads, part.offset + row * row_bytes, [place], row_bytes)
                if rows[-1] == self._chunk_rows - 1:  # it lies between this chunk's last row and the next one's first
                    _add(reads, part.offset + part.length - _CRC_BYTES, [crc], _CRC_BYTES)
            if not known:
                unchecked.append((part.chunk, places, crc))
        for read in reads:
            self._read(task.key, read, parts)
        for chunk, places, crc in unchecked:
            self._check_rows(task, places, bytes(crc), chunk)

    def _load_raw_chunk(self, task: _Task, part: _Part, scratch: Scratch) -> None:
        """Load rows of a chunk that must be read whole, to be checked, or that go to more or other places."""
        decoded = scratch.chunk(task.layout, self._chunk_rows)
        crc = bytearray(_CRC_BYTES)
        self._read(task.key, _Read(part.offset, part.offset + part.length, [decoded, crc]), [part])
        if self._check:
            self._check_rows(task, [decoded], bytes(crc), part.chunk)
        task.hand_out(part.rows, decoded)

    def _check_rows(self, task: _Task, parts: Sequence[_Array], stored: bytes, chunk: int) -> None:
        crc = 0
        for part in parts:
            view = part.reshape(-1).view(np.uint8)
            view.setflags(write=False)
            crc = google_crc32c.extend(crc, view)
        if crc.to_bytes(_CRC_BYTES, "little") != stored:
            raise DamageError("chunk", "the chunk's checksum is wrong", where=self._where(task.key, chunk))
        self._checked.add((task.layout.name, task.shard, chunk))

    # -- shared

    def _read(self, key: str, read: _Read, parts: Sequence[_Part]) -> None:
        """Fill memory from a file; name that of the parts in which the file ends, where it is too short."""
        end = read.offset + self._source.read_into(key, read.offset, read.memory, read.end - read.offset)
        if end < read.end:
            part = next((part for part in parts if part.offset <= end < part.offset + part.length), parts[0])
            where = self._where(key, part.chunk)
            raise DamageError("chunk", "a chunk reaches beyond the end of its file", where=where)

    def _place(self, index: _Places, chunk: int, key: str) -> tuple[int, int]:
        place = index[chunk]
        if place is None:
            raise DamageError("chunk", "a chunk is missing from its shard", where=self._where(key, chunk))
        return place

    def _where(self, key: str, chunk: int) -> str:
        return f"{self._source.describe(key)} chunk {chunk}"

    def _index(self, array: str, shard: int) -> _Places:
        found = self._indices.get((array, shard))
        if found is None:
            chunks = self._shard_rows // self._chunk_rows
            key = self.key(array, shard)
            index = parse_index(self._source.tail(key, index_bytes(chunks)), chunks, where=self._source.describe(key))
            found = chunk_places(index)
            with self._lock:
                self._indices[array, shard] = found
        return found


def _follows(offset: int, end: int) -> bool:
    """Return whether what begins at ``offset`` lies behind what ends at ``end``: there may be zeros between them."""
    return 0 <= offset - end < ALIGNMENT_BYTES


def _add(reads: list[_Read], offset: int, memory: Sequence[Memory], size_bytes: int) -> None:
    """Let memory be filled from ``offset`` on: by the last read where that ends there, as many as one call can fill."""
    last = reads[-1] if reads else None
    if last is None or not _follows(offset, last.end) or len(last.memory) + 1 + len(memory) > _MOST_PIECES:
        last = _Read(offset, offset, [])
        reads.append(last)
    if last.end < offset:
        last.memory.append(bytearray(offset - last.end))
        last.end = offset
    last.memory += memory
    last.end += size_bytes


def _blocks(parts: Sequence[_Part]) -> list[list[_Part]]:
    """Return runs of chunks that lie one behind the other in their file, none over the largest block."""
    blocks: list[list[_Part]] = []
    for part in parts:
        last = blocks[-1] if blocks else []
        follows = last and _follows(part.offset, last[-1].offset + last[-1].length)
        if follows and part.offset + part.length - last[0].offset <= MOST_BLOCK_BYTES:
            last.append(part)
        else:
            blocks.append([part])
    return blocks
