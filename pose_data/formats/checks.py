"""Checks of single annotation records: what was read, what is wrong with it, what is worth a note.

Order of the checks of a record; the first that fails names its code:

1. it is an object; ``id``, ``image_id``, ``category_id`` are whole numbers,
2. its picture and its category are in the file, the category is the skeleton's,
3. ``area``, ``iscrowd``, ``score``, ``num_keypoints`` are numbers where they are given,
4. keypoints: there, numbers, 3 for each keypoint, flags 0, 1 or 2,
5. box: there, 4 finite numbers, positive width and height, not outside the picture.

A crowd (``iscrowd`` 1) that fails one of 3 to 5 is no bad record: crowds are not persons to be
learnt, and their fields are often empty. It gets ``filter-crowd``, with the reason as detail. A record
without any labelled keypoint is checked like every other: its bad box is ``box-invalid`` (COCO
train2017 has two boxes without height, annotation 2206849 among them).
"""

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec

from pose_data.formats.image_records import ImageIndex
from pose_data.formats.json_records import MAX_RECORD_BYTES, UnreadableRecord, decode_loosely, described
from pose_data.formats.kinds import Categories
from pose_data.paths import shown

__all__ = [
    "LARGEST_COORDINATE_PX",
    "LEAST_SIDE_PX",
    "AnnotationRecord",
    "Faults",
    "Problem",
    "RecordReader",
    "box_problem",
    "identity_problem",
    "polygon_count",
    "value_problem",
]

LARGEST_COORDINATE_PX = 1e9
"""A coordinate beyond this is no pixel of any picture; it is treated as a number that is not finite."""
LEAST_SIDE_PX = 1e-6
"""A box with a shorter side has no usable scale."""

_INT64_RANGE = (-(2**63), 2**63 - 1)
_Whole = Annotated[int, msgspec.Meta(ge=_INT64_RANGE[0], le=_INT64_RANGE[1])]

Problem = tuple[str, str]
"""A code of ``errors.PROBLEMS`` and a detail of at most some 200 printable characters."""
Faults = Mapping[str, Problem]
"""Field name ("" is the record itself) -> what is wrong with it. A faulty field is None in the record."""

_NO_FAULTS: Faults = {}
_IDENTITY_FIELDS = ("", "id", "image_id", "category_id")
_VALUE_FIELDS = ("area", "iscrowd", "score", "num_keypoints", "keypoints")


class AnnotationRecord(msgspec.Struct, kw_only=True, gc=False):
    """One annotation as read; a field that is missing, null or faulty is None."""

    id: _Whole | None = None
    image_id: _Whole | None = None
    category_id: _Whole | None = None
    keypoints: list[float] | None = None
    bbox: list[float] | None = None
    area: float | None = None
    iscrowd: bool | _Whole | None = None
    num_keypoints: _Whole | None = None
    score: float | None = None
    segmentation: msgspec.Raw = msgspec.Raw()


class _Segmentation(msgspec.Struct):
    segmentation: msgspec.Raw = msgspec.Raw()


class RecordReader:
    """Decodes annotation records: typed and strict first, in any shape where that fails."""

    __slots__ = ("_decoder", "_length")

    def __init__(self, keypoint_count: int) -> None:
        self._decoder = msgspec.json.Decoder(AnnotationRecord)
        self._length = 3 * keypoint_count

    def read(self, raw: msgspec.Raw) -> tuple[AnnotationRecord, Faults]:
        """Return the record and what is wrong with its fields. RecursionError passes through.

        ``keypoints`` is None, empty or of the right length, ``bbox`` has at most four numbers.
        """
        faults: Faults = _NO_FAULTS
        if len(memoryview(raw)) > MAX_RECORD_BYTES:
            return _read_loosely(raw)
        try:
            record = self._decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            record, faults = _read_loosely(raw)
        # Lists of a wrong length are dropped at once: a batch of records with millions of numbers must not pile up.
        if record.keypoints and len(record.keypoints) != self._length:
            detail = f"{len(record.keypoints)} numbers instead of {self._length}"
            faults = {**faults, "keypoints": ("kpt-length", detail)}
            record.keypoints = None
        if record.bbox and len(record.bbox) > 4:
            faults = {**faults, "bbox": ("box-invalid", f"bbox has {len(record.bbox)} numbers instead of 4")}
            record.bbox = None
        return record, faults


def _read_loosely(raw: msgspec.Raw) -> tuple[AnnotationRecord, Faults]:
    try:
        value = decode_loosely(raw)
    except UnreadableRecord as error:
        return AnnotationRecord(), {"": ("not-an-object", error.detail)}
    if not isinstance(value, dict):
        return AnnotationRecord(), {"": ("not-an-object", f"the record is {described(value)}")}
    faults: dict[str, Problem] = {}
    crowd = value.get("iscrowd")
    record = AnnotationRecord(
        id=_whole(value, "id", faults),
        image_id=_whole(value, "image_id", faults),
        category_id=_whole(value, "category_id", faults),
        keypoints=_numbers(value, "keypoints", "kpt-missing", faults),
        bbox=_numbers(value, "bbox", "box-missing", faults),
        area=_number(value, "area", faults),
        iscrowd=crowd if isinstance(crowd, bool) else _whole(value, "iscrowd", faults),
        num_keypoints=_whole(value, "num_keypoints", faults),
        score=_number(value, "score", faults),
        segmentation=msgspec.json.decode(raw, type=_Segmentation).segmentation,
    )
    return record, faults


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _number(record: dict[str, Any], field: str, faults: dict[str, Problem]) -> float | None:
    value = record.get(field)
    if value is None:
        return None
    number = _finite(value)
    if number is None:
        faults[field] = ("num-not-finite", f"{field} is {described(value)}")
    return number


def _whole(record: dict[str, Any], field: str, faults: dict[str, Problem]) -> int | None:
    number = _number(record, field, faults)
    if number is None:
        return None
    value: int | float = record[field]
    # 7.0 is the whole number 7: many programs write ids as floats.
    if not number.is_integer() or not _INT64_RANGE[0] <= value <= _INT64_RANGE[1]:
        faults[field] = ("num-not-finite", f"{field} is {described(value)}, not a whole number of 64 bits")
        return None
    return int(value)


def _numbers(record: dict[str, Any], field: str, missing_code: str, faults: dict[str, Problem]) -> list[float] | None:
    value = record.get(field)
    if value is None:
        return None
    if not isinstance(value, list):
        faults[field] = (missing_code, f"{field} is {described(value)}, not a list")
        return None
    numbers: list[float] = []
    for position, item in enumerate(value):
        number = _finite(item)
        if number is None:
            faults[field] = ("num-not-finite", f"{field}[{position}] is {described(item)}")
            return None
        numbers.append(number)
    return numbers


def identity_problem(
    record: AnnotationRecord, faults: Faults, images: ImageIndex, categories: Categories
) -> Problem | None:
    """Return what is wrong with the record's identity, picture or category (checks 1 and 2)."""
    if faults:
        for field in _IDENTITY_FIELDS:
            if field in faults:
                return faults[field]
    position = images.positions.get(record.image_id) if record.image_id is not None else None
    if position is None:
        if record.image_id is None:
            return "image-unknown", "image_id is missing"
        return "image-unknown", images.broken.get(record.image_id, f"there is no picture {record.image_id}")
    if record.category_id != categories.chosen:
        if record.category_id is None:
            return "category-unknown", "category_id is missing"
        if record.category_id not in categories.names:
            return "category-unknown", f"there is no category {record.category_id}"
        return "filter-category", f"category {record.category_id}, {shown(categories.names[record.category_id], 40)}"
    if images.bad_sizes and position in images.bad_sizes:
        return "num-not-finite", images.bad_sizes[position]
    return None


def value_problem(record: AnnotationRecord, faults: Faults) -> Problem | None:
    """Return what is wrong with the record's numbers and its list of keypoints (check 3, start of 4)."""
    if faults:
        for field in _VALUE_FIELDS:
            if field in faults:
                return faults[field]
    if not record.keypoints:
        return "kpt-missing", "keypoints is missing or empty"
    return None


def box_problem(record: AnnotationRecord, faults: Faults, size_wh: Sequence[float]) -> Problem:
    """Return why the record's box, already known to be unusable, is so (check 5)."""
    if "bbox" in faults:
        return faults["bbox"]
    if not record.bbox:
        return "box-missing", "bbox is missing or empty"
    if len(record.bbox) != 4:
        return "box-invalid", f"bbox has {len(record.bbox)} numbers instead of 4"
    numbers = "[" + ", ".join(f"{number:.10g}" for number in record.bbox) + "]"
    if max(map(abs, record.bbox)) > LARGEST_COORDINATE_PX:
        return "num-not-finite", f"bbox {numbers} has a number beyond {LARGEST_COORDINATE_PX:g}"
    if min(record.bbox[2:]) < LEAST_SIDE_PX:
        return "box-invalid", f"bbox {numbers} has no positive width and height"
    return "box-outside", f"bbox {numbers} is outside the picture of {size_wh[0]:g} x {size_wh[1]:g}"


_POLYGONS = msgspec.json.Decoder(list[msgspec.Raw])


def polygon_count(segmentation: msgspec.Raw) -> int:
    """Return the number of polygons of a raw ``segmentation``: -1 for RLE (an object), 0 for none."""
    start = bytes(memoryview(segmentation)[:1])
    if start == b"{":
        return -1
    if start != b"[":
        return 0
    return sum(1 for part in _POLYGONS.decode(segmentation) if bytes(memoryview(part)[:1]) == b"[")
