"""The columns of a results file: quickly where every record is as it should be, else carefully, to say what is wrong.

Three decoders give the same arrays bit for bit: simdjson, where the extra ``fast-json`` is installed; msgspec; and the
standard library's, which reads NaN literals and records of any shape and says what is wrong with them.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from operator import itemgetter, methodcaller
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from pose_data.errors import InputError
from pose_data.evaluation.json_pieces import list_pieces, load_list, open_bytes
from pose_data.evaluation.record_faults import RecordFaults
from pose_data.evaluation.rules import Rules

__all__ = ["ResultColumns", "read_result_columns"]

_Float = npt.NDArray[np.float64]
_Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultColumns:
    """All records (R) of a results file.

    ``category_id`` is None where no record has one, -1 in a record without one among others. ``bbox_xywh`` is None
    where no record has a box.
    """

    image_id: _Ids
    keypoints: _Float
    """(R, K, 2 or 3)"""
    score: _Float
    category_id: _Ids | None
    bbox_xywh: _Float | None
    boxes_seen: bool
    """Whether records have boxes, read or not."""
    body: int | None
    """So many keypoints at the beginning are the body's, where a record has several lists of keypoints."""

    def taken(self, rows: npt.NDArray[np.intp]) -> "ResultColumns":
        """Return the columns of some records."""
        return replace(
            self, image_id=self.image_id[rows], keypoints=self.keypoints[rows], score=self.score[rows],
            category_id=None if self.category_id is None else self.category_id[rows],
            bbox_xywh=None if self.bbox_xywh is None else self.bbox_xywh[rows],
        )  # fmt: skip


_PART_FIELDS = ("foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")

_ROOM = 1.05
"""Room is taken for so many times the records that the first piece lets expect; unused, it costs nothing."""


class _Unusual(Exception):
    """Some record is not as it should be; the careful way tells which. Never leaves this module."""


Fields = tuple[tuple[str, int], ...]
"""Names of the lists of a record that make up its keypoints, and how many numbers each has."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """What every record has, if the first one of the file is the measure."""

    fields: Fields
    category: bool
    box: bool
    box_ignored: bool = False
    """Whether boxes are there or not, they are not read."""

    @property
    def numbers(self) -> int:
        """Return how many numbers the keypoints of a record have."""
        return sum(count for _, count in self.fields)


@dataclass(frozen=True, slots=True)
class _Part:
    image_id: list[int]
    category_id: list[int]
    score: list[float]
    keypoints: _Float
    bbox_xywh: _Float | None


def read_result_columns(path: Path, rules: Rules, *, stride: int = 3, boxes: bool = True) -> ResultColumns:
    """Read a results file whose records have the keypoints of ``rules``, ``stride`` numbers for each.

    Without ``boxes``, boxes are not read. Raises InputError: what is wrong, in which record, in how many, and what to
    do.
    """
    expected = _Expected(path, rules, stride, boxes)
    columns: _Columns | None = None
    try:
        with open_bytes(path) as file:
            decode = _decoder()
            size_bytes = os.fstat(file.fileno()).st_size
            for piece in list_pieces(file, path):
                if columns is None:
                    columns = _Columns(_shape(piece, expected))
                columns.add(decode(piece, columns.shape), size_bytes / len(piece))
        if columns is not None:
            return columns.whole(stride)
    except (_Unusual, OverflowError):
        pass  # an id that int64 has not is an OverflowError of the whole column
    return _carefully(load_list(path), expected)


class _Columns:
    """The columns of all pieces so far. Memory is taken for all at once, by the length of the first piece."""

    def __init__(self, shape: _Shape) -> None:
        self.shape = shape
        self._image_id: list[int] = []
        self._category_id: list[int] = []
        self._score: list[float] = []
        self._keypoints = np.empty((0, shape.numbers))
        self._boxes: list[_Float] = []

    def add(self, part: _Part, pieces: float) -> None:
        """Append the records of a piece, of which the file has about so many."""
        first = len(self._image_id)
        behind = first + len(part.image_id)
        if behind > len(self._keypoints):
            room = np.empty((max(behind, int(len(part.image_id) * pieces * _ROOM)), self.shape.numbers))
            room[:first] = self._keypoints[:first]
            self._keypoints = room
        self._keypoints[first:behind] = part.keypoints
        self._image_id += part.image_id
        self._category_id += part.category_id
        self._score += part.score
        if part.bbox_xywh is not None:
            self._boxes.append(part.bbox_xywh)

    def whole(self, stride: int) -> ResultColumns:
        """Return the columns of the whole file."""
        count, shape = len(self._image_id), self.shape
        return ResultColumns(
            image_id=np.array(self._image_id, np.int64), score=np.array(self._score, np.float64),
            keypoints=self._keypoints[:count].reshape(count, shape.numbers // stride, stride),
            category_id=np.array(self._category_id, np.int64) if shape.category and count else None,
            bbox_xywh=np.concatenate(self._boxes) if self._boxes and count else None,
            boxes_seen=shape.box or shape.box_ignored, body=_body(shape.fields, stride),
        )  # fmt: skip


# --------------------------------------------------------------------------------------------------- quickly


def _decoder() -> Callable[[bytes, _Shape], _Part]:
    try:
        import simdjson  # an extra: three times as fast as what follows
    except ImportError:
        return _decode_with_msgspec
    return _with_simdjson(simdjson)


def _shape(piece: bytes, expected: "_Expected") -> _Shape:
    try:
        # The values stay as they are: a file that is one great object is told by its keys.
        record = msgspec.json.decode(memoryview(piece)[1 : _end_of_first(piece)], type=dict[str, msgspec.Raw])
        box = "bbox" in record and msgspec.json.decode(record["bbox"]) != []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _Unusual from None
    return _Shape(expected.fields(record), "category_id" in record, box and expected.boxes, box and not expected.boxes)


_MOST_BRACES = 64
"""A first record with more objects inside is read the careful way."""


def _end_of_first(piece: bytes) -> int:
    """Return where the first record ends: at the first brace up to which it is JSON."""
    end = 0
    for _ in range(_MOST_BRACES):
        end = piece.find(b"}", end) + 1
        if not end:
            break
        try:
            msgspec.json.decode(memoryview(piece)[1:end], type=msgspec.Raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            continue
        return end
    raise _Unusual


def _with_simdjson(simdjson: ModuleType) -> Callable[[bytes, _Shape], _Part]:
    parser = simdjson.Parser()

    def decode(piece: bytes, shape: _Shape) -> _Part:
        try:
            records = list(parser.parse(piece))
            part = _part_of_simdjson(records, shape, not (shape.box or shape.box_ignored) and b"bbox" in piece)
        except (KeyError, TypeError, ValueError, RuntimeError):
            # Among them is UnicodeDecodeError; a number beyond 64 bits is a RuntimeError.
            raise _Unusual from None
        return part

    return decode


def _part_of_simdjson(records: Sequence[Any], shape: _Shape, other_boxes: bool) -> _Part:
    # Functions in C over the records: there are a hundred thousand.
    image_id = list(map(itemgetter("image_id"), records))
    score = list(map(itemgetter("score"), records))
    category_id = list(map(itemgetter("category_id"), records)) if shape.category else []
    lists = {name: list(map(itemgetter(name), records)) for name, _ in shape.fields}
    named_boxes = list(map(itemgetter("bbox"), records)) if shape.box else []
    kinds = (set(map(type, image_id)) | set(map(type, category_id))) - {int}
    lengths = any(set(map(len, lists[name])) - {count} for name, count in shape.fields)
    if kinds or lengths or set(map(type, score)) - {int, float} or set(map(len, named_boxes)) - {4}:
        raise _Unusual
    if other_boxes:
        raise _Unusual
    keypoints = [_numbers(lists[name], count) for name, count in shape.fields]
    return _Part(
        image_id, category_id, score, keypoints[0] if len(keypoints) == 1 else np.hstack(keypoints),
        _numbers(named_boxes, 4) if shape.box else None,
    )  # fmt: skip


_AS_FLOATS = methodcaller("as_buffer", of_type="d")


def _numbers(lists: Sequence[Any], count: int) -> _Float:
    return np.frombuffer(b"".join(map(_AS_FLOATS, lists))).reshape(-1, count)


@cache
def _record_decoder() -> "msgspec.json.Decoder[list[Any]]":
    # Made when it is needed: that takes as long as reading a thousand records.
    fields: list[Any] = [("image_id", int), ("keypoints", list[float]), ("score", float)]
    fields += [("category_id", int | None, None)]
    fields += [(name, list[float] | None, None) for name in ("bbox", *_PART_FIELDS)]
    record = msgspec.defstruct("Record", fields, gc=False)
    return msgspec.json.Decoder(list[record])  # type: ignore[valid-type]


def _decode_with_msgspec(piece: bytes, shape: _Shape) -> _Part:
    try:
        if not piece.isascii():
            piece.decode("utf-8")  # msgspec does not look into texts that it skips
        records = _record_decoder().decode(piece)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _Unusual from None
    lists = {name: [getattr(record, name) or () for record in records] for name, _ in shape.fields}
    if any({len(numbers) for numbers in lists[name]} - {count} for name, count in shape.fields):
        raise _Unusual
    category_id = [record.category_id for record in records if record.category_id is not None]
    boxes = [record.bbox for record in records if record.bbox and not shape.box_ignored]
    if len(category_id) != len(records) * shape.category or len(boxes) != len(records) * shape.box:
        raise _Unusual
    if any(len(box) != 4 for box in boxes):
        raise _Unusual
    return _Part(
        [record.image_id for record in records], category_id, [record.score for record in records],
        np.hstack([np.array(lists[name], np.float64).reshape(-1, count) for name, count in shape.fields]),
        np.array(boxes, np.float64).reshape(-1, 4) if shape.box else None,
    )  # fmt: skip


# ------------------------------------------------------------------------------------------------- carefully


@dataclass(frozen=True, slots=True)
class _Expected:
    path: Path
    rules: Rules
    stride: int
    boxes: bool

    def fields(self, record: Mapping[str, Any]) -> Fields:
        """Return the lists that make up a record's keypoints: several where the record has the second one."""
        several = self.rules.fields
        if several and several[1][0] in record:
            return tuple((name, count * self.stride) for name, count in several)
        return (("keypoints", self.rules.skeleton.keypoint_count * self.stride),)


def _body(fields: Fields, stride: int) -> int | None:
    return fields[0][1] // stride if len(fields) > 1 else None


def _carefully(values: Sequence[Any], expected: _Expected) -> ResultColumns:
    """Return the columns of decoded records, or raise InputError for the most basic kind of fault among them."""
    faults = RecordFaults(expected.path, len(values))
    fields = expected.fields(next((record for record in values if isinstance(record, dict)), {}))
    numbers = sum(count for _, count in fields)
    rows, boxes = np.zeros((len(values), numbers)), np.zeros((len(values), 4))
    boxed = np.zeros(len(values), bool)
    image_id, category_id, score = [0] * len(values), [-1] * len(values), [0.0] * len(values)
    for number, record in enumerate(values):
        image_id[number] = faults.image_id(number, record)
        if not isinstance(record, dict):
            continue
        category_id[number] = faults.category_id(number, record)
        score[number] = faults.score(number, record)
        points = [faults.keypoints(number, record, count, name) for name, count in fields]
        rows[number] = [value for part in points for value in part]
        box = faults.box(number, record) if expected.boxes else record.get("bbox")
        boxed[number] = box is not None
        if box is not None and expected.boxes:
            boxes[number] = box
    faults.raise_first(numbers=numbers, joints_named=expected.rules.skeleton.name, stride=expected.stride)
    if expected.boxes:
        _refuse_some_boxes(boxed, image_id, expected.path)
    return ResultColumns(
        image_id=np.array(image_id, np.int64), score=np.array(score, np.float64),
        keypoints=rows.reshape(len(values), numbers // expected.stride, expected.stride),
        category_id=np.array(category_id, np.int64) if max(category_id, default=-1) >= 0 else None,
        bbox_xywh=boxes if boxed.any() and expected.boxes else None, boxes_seen=bool(boxed.any()),
        body=_body(fields, expected.stride),
    )  # fmt: skip


def _refuse_some_boxes(boxed: npt.NDArray[np.bool_], image_id: Sequence[int], path: Path) -> None:
    if not boxed.any() or boxed.all():
        return
    first, without = int(np.argmax(boxed)), int(np.argmin(boxed))
    raise InputError(
        "bbox-some",
        f'{path.name}: "bbox" in {int(boxed.sum()):,} of {len(boxed):,} records (first: record {first}, image '
        f"{image_id[first]}; not in record {without}): detection areas would mix two rules",
        where=f"{path}, record {without}",
        hint="boxes='ignore' (--detection-area=extent) leaves them out",
    )
