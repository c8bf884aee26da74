"""What is wrong with single records of a results file, gathered over the whole file and said in one message."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pose_data.errors import InputError
from pose_data.paths import shown

__all__ = ["RecordFaults", "flattened", "whole_number"]

_KNOWN_COUNTS = {14: "CrowdPose or AI Challenger", 16: "MPII", 17: "COCO", 21: "a hand", 26: "Halpe", 133: "WholeBody"}


def _described(value: object) -> str:
    """Return a short description of a JSON value that stands where a number was expected."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, str):
        return f"the text {shown(value, 40)}"
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return shown(str(value), 40).strip("'")


def whole_number(value: object) -> int | None:
    """Return a JSON number without a fraction as int; None for anything else, booleans and 2**63 or more too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float) and not value.is_integer():
        return None
    return int(value) if abs(value) < 2**63 else None


def flattened(value: object) -> list[float] | None:
    """Return a list of numbers, or of lists of numbers, as one list of float64; None for anything else."""
    if not isinstance(value, list):
        return None
    flat = [number for part in value for number in (part if isinstance(part, list) else (part,))]
    if any(isinstance(number, bool) or not isinstance(number, int | float) for number in flat):
        return None
    return [_as_float(number) for number in flat]


def _as_float(number: int | float) -> float:
    try:
        return float(number)
    except OverflowError:
        return math.inf


@dataclass(slots=True)
class _Fault:
    """One kind of fault: the records that have it."""

    first: int
    image: object
    detail: Any
    count: int = 1
    details: set[Any] = field(default_factory=set)


class RecordFaults:
    """Faults of the records of one file. Every method returns a harmless value where it found a fault."""

    # The order in which they are reported: what makes all else meaningless comes first.
    _ORDER = (
        "record", "image-missing", "image-text", "image-value", "keypoints-missing", "keypoints-value",
        "keypoints-length", "part-length", "score-missing", "score-value", "category-value", "box-value",
    )  # fmt: skip

    def __init__(self, path: Path, records: int) -> None:
        self._path, self._records = path, records
        self._faults: dict[str, _Fault] = {}

    def _note(self, kind: str, number: int, record: object, detail: Any = None) -> None:
        fault = self._faults.get(kind)
        if fault is None:
            image = record.get("image_id") if isinstance(record, dict) else None
            fault = self._faults[kind] = _Fault(number, image, detail, 0)
        fault.count += 1
        if len(fault.details) < 3 and isinstance(detail, str | int):
            fault.details.add(detail)

    def image_id(self, number: int, record: object) -> int:
        """Return the record's image id, or 0."""
        if not isinstance(record, dict):
            self._note("record", number, record, _described(record))
            return 0
        value = record.get("image_id")
        found = whole_number(value)
        if found is None:
            kind = (
                "image-missing"
                if "image_id" not in record
                else "image-text"
                if isinstance(value, str)
                else "image-value"
            )
            self._note(kind, number, record, _described(value))
        return found or 0

    def category_id(self, number: int, record: Mapping[str, Any]) -> int:
        """Return the record's category id, or -1."""
        if "category_id" not in record:
            return -1
        found = whole_number(record["category_id"])
        if found is None:
            self._note("category-value", number, record, _described(record["category_id"]))
            return -1
        return found

    def score(self, number: int, record: Mapping[str, Any]) -> float:
        """Return the record's score, which may be NaN, or 0."""
        value = record.get("score")
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._note("score-missing" if "score" not in record else "score-value", number, record, _described(value))
            return 0.0
        return _as_float(value)

    def keypoints(
        self, number: int, record: Mapping[str, Any], numbers: int, name: str = "keypoints"
    ) -> Sequence[float]:
        """Return the record's keypoint numbers, not all finite perhaps, from the list of that name."""
        value = record.get(name)
        flat = flattened(value)
        if value is None:
            self._note("keypoints-missing", number, record, name)
        elif flat is None:
            wrong = next((v for v in value if flattened([v]) is None), value) if isinstance(value, list) else value
            self._note("keypoints-value", number, record, _described(wrong))
        elif len(flat) != numbers:
            kind = "keypoints-length" if name == "keypoints" else "part-length"
            self._note(
                kind, number, record, len(flat) if name == "keypoints" else f"{name} has {len(flat)}, not {numbers}"
            )
        else:
            return flat
        return [0.0] * numbers

    def box(self, number: int, record: Mapping[str, Any]) -> Sequence[float] | None:
        """Return the record's box; None for none, or for an empty one."""
        value = record.get("bbox")
        if value is None or value == []:
            return None
        flat = flattened(value)
        if flat is None or len(flat) != 4 or not all(map(math.isfinite, flat)):
            self._note("box-value", number, record, shown(repr(value), 60).strip("'\""))
            return [0.0] * 4
        return flat

    def raise_first(self, *, numbers: int, joints_named: str, stride: int) -> None:
        """Raise InputError for the most basic kind of fault, if there is one."""
        for kind in self._ORDER:
            if kind in self._faults:
                raise self._error(kind, self._faults[kind], numbers, joints_named, stride)

    def _error(self, kind: str, fault: _Fault, numbers: int, joints_named: str, stride: int) -> InputError:
        if kind == "keypoints-length":
            code = "kpt-length"
            message, hint = self._wrong_length(fault, numbers, joints_named, stride)
        else:
            template = _TEMPLATES[kind]
            code, hint = template.code, template.hint
            message = template.message.format(
                detail=fault.detail, many=self._many(fault.count), first=self._first(fault)
            )
        return InputError(code, f"{self._path.name}: {message}", where=f"{self._path}, record {fault.first}", hint=hint)

    def _many(self, count: int) -> str:
        if count == self._records:
            return f"every record ({count:,})" if count > 1 else "the only record"
        return f"{count:,} of {self._records:,} records"

    def _first(self, fault: _Fault) -> str:
        image = "" if fault.image is None else f" (image {shown(str(fault.image), 30)[1:-1]})"
        return f"record {fault.first}{image}"

    def _wrong_length(self, fault: _Fault, numbers: int, joints_named: str, stride: int) -> tuple[str, str]:
        length, joints = int(fault.detail), numbers // stride
        everywhere = fault.count == self._records and len(fault.details) == 1
        first = self._first(fault)
        if everywhere and stride == 3 and length == 2 * joints:
            return (
                f"{length} numbers per record: x,y pairs without a third value? ({self._many(fault.count)}, "
                f"first: {first})",
                "keypoint_stride=2 (--keypoint-stride 2) reads pairs",
            )
        if everywhere and length % stride == 0:
            known = _KNOWN_COUNTS.get(length // stride)
            guess = f": {known} order?" if known else ""
            return (
                f"{length // stride} keypoints against {joints} of {joints_named}{guess} "
                f"({self._many(fault.count)}, first: {first})",
                "name the skeleton that the results have, and give the ground truth that goes with it",
            )
        return (
            f"{first} has {length} numbers; {joints_named} has {joints} keypoints = {numbers} "
            f"({self._many(fault.count)} such)",
            "write every keypoint, those that were not found too",
        )


_TEMPLATES: Mapping[str, InputError] = {
    "record": InputError(
        "results-not-a-list", "{first} is {detail}, not an object ({many} such)",
        hint='a record is {"image_id", "category_id", "keypoints", "score"}',
    ),
    "image-missing": InputError(
        "image-missing", '{first} has no "image_id" ({many} such)',
        hint="write the ground truth's image id",
    ),
    "image-text": InputError(
        "image-id-text", "image_id is {detail} in {many} (first: {first}); the ground truth uses numbers",
        hint="write image ids as numbers: int(id)",
    ),
    "image-value": InputError(
        "image-id-value", "image_id is {detail} in {many} (first: {first})",
        hint="image ids are whole numbers below 2**63",
    ),
    "keypoints-missing": InputError(
        "kpt-missing", '{first} has no "{detail}" ({many} such)',
        hint="is this a file of boxes? Keypoint results are needed",
    ),
    "keypoints-value": InputError(
        "num-not-finite", "keypoints hold {detail} in {many} (first: {first})",
        hint="keypoints are a list of numbers; the model diverged? What is not a number is never scored",
    ),
    "part-length": InputError(
        "kpt-length", "{detail} numbers in {first} ({many} such)",
        hint="write every keypoint, those that were not found too",
    ),
    "score-missing": InputError(
        "score-missing", '{first} has no "score" ({many} such)',
        hint="write the detection's confidence",
    ),
    "score-value": InputError(
        "num-not-finite", "score is {detail} in {first}; {many} such",
        hint="a score is a finite number; what is not a number is never scored",
    ),
    "category-value": InputError(
        "category-value", "category_id is {detail} in {many} (first: {first})",
        hint="write a whole number below 2**63",
    ),
    "box-value": InputError(
        "bbox-value", "bbox is {detail} in {many} (first: {first})",
        hint="a box is four numbers: x, y, width, height; boxes='ignore' (--detection-area=extent) leaves boxes out",
    ),
}  # fmt: skip
"""Kind of fault → the error, with places for what is filled in."""
