"""A batch of annotation records -> checked rows of the sample table, vectorised over the batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pose_data.formats.checks import (
    LARGEST_COORDINATE_PX,
    LEAST_SIDE_PX,
    AnnotationRecord,
    Faults,
    Problem,
    RecordReader,
    box_problem,
    identity_problem,
    polygon_count,
    value_problem,
)
from pose_data.formats.image_records import ImageIndex
from pose_data.formats.kinds import Categories
from pose_data.geometry import boxes_from_keypoints
from pose_data.table import ANNOTATION_SCHEMA

__all__ = ["NOTE_BITS", "BoxSource", "RowReader", "note_lists"]

BoxSource = Literal["annotated", "from-keypoints"]

_Float = npt.NDArray[np.float64]
_Bool = npt.NDArray[np.bool_]
_Bits = npt.NDArray[np.uint16]

_NOTES = (
    "id-duplicate",
    "id-zero",
    "num-keypoints-wrong",
    "kpt-labelled-at-origin",
    "kpt-unlabelled-with-position",
    "kpt-outside-image",
    "box-partly-outside",
    "box-from-keypoints",
    "area-missing",
    "file-twice",
)
NOTE_BITS: Mapping[str, int] = MappingProxyType({code: 1 << position for position, code in enumerate(_NOTES)})
"""Bit of each note code while rows are being read; lists of texts for all rows would cost far more."""

# Boxes are given from picture edge to picture edge, keypoints by pixel centre: within half a pixel
# of the border neither convention calls a thing outside.
_BORDER_PX = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class RowReader:
    """Reads batches of raw records with the same settings. ``size_wh`` (n, 2) are the pictures' sizes, NaN unknown."""

    images: ImageIndex
    categories: Categories
    keypoint_count: int
    boxes: BoxSource
    keep_segmentation: bool
    file_names: pa.Array
    records: RecordReader

    def read(self, raws: Sequence[msgspec.Raw], first_sample_id: int) -> tuple[pa.Table, _Bits]:
        """Return the rows of ``raws``, with empty notes, and the notes as bits (n,) uint16."""
        pairs = [self.records.read(raw) for raw in raws]
        batch = _Batch(self, [record for record, _ in pairs], [faults for _, faults in pairs])
        batch.check()
        return batch.to_table(first_sample_id), batch.bits


class _Batch:
    """The records of one batch, their verdicts and their numbers as arrays."""

    def __init__(self, reader: RowReader, records: list[AnnotationRecord], faults: list[Faults]) -> None:
        self.reader, self.records, self.faults = reader, records, faults
        count = len(records)
        self.problems: list[Problem | None] = [
            identity_problem(record, fault, reader.images, reader.categories)
            for record, fault in zip(records, faults, strict=True)
        ]
        self.known = self._without_problem()
        positions = reader.images.positions
        self.places = np.fromiter(
            (-1 if r.image_id is None else positions.get(r.image_id, -1) for r in records), np.int64, count
        )
        self.size_wh = self._sizes()
        self.crowd = np.fromiter((bool(record.iscrowd) for record in records), np.bool_, count)
        self.keypoints, self.has_keypoints = self._keypoint_array()
        self.labelled = (self.keypoints[:, :, 2] > 0).sum(axis=1)
        self.boxes = self._box_array()
        self.repaired = np.zeros(count, np.bool_)
        self.bits: _Bits = np.zeros(count, np.uint16)

    def check(self) -> None:
        """Find every row's problem and notes."""
        self._check_values()
        self._check_keypoints()
        self._check_boxes()
        for row in np.flatnonzero(self.known & self.crowd & ~self._without_problem()):
            problem = self.problems[row]
            if problem is not None:
                self.problems[row] = ("filter-crowd", f"{problem[0]}: {problem[1]}")
        self._note()

    def _without_problem(self) -> _Bool:
        return np.fromiter((problem is None for problem in self.problems), np.bool_, len(self.problems))

    def _sizes(self) -> _Float:
        images = self.reader.images
        size_wh = np.full((len(self.records), 2), np.nan)
        found = np.flatnonzero(self.places >= 0)
        for axis, sides in enumerate((images.widths_px, images.heights_px)):
            values = sides[self.places[found]].astype(np.float64)
            size_wh[found, axis] = np.where(values > 0, values, np.nan)
        return size_wh

    def _keypoint_array(self) -> tuple[_Float, _Bool]:
        length = 3 * self.reader.keypoint_count
        there = np.fromiter((bool(record.keypoints) for record in self.records), np.bool_, len(self.records))
        keypoints = np.zeros((len(self.records), length))
        if there.any():
            keypoints[there] = [record.keypoints for record in self.records if record.keypoints]
        return keypoints.reshape(len(self.records), -1, 3), there

    def _box_array(self) -> _Float:
        boxes = np.full((len(self.records), 4), np.nan)
        for row, record in enumerate(self.records):
            if record.bbox is not None and len(record.bbox) == 4:
                boxes[row] = record.bbox
        return boxes

    def _check_values(self) -> None:
        for row in np.flatnonzero(self.known):
            self.problems[row] = value_problem(self.records[row], self.faults[row])

    def _check_keypoints(self) -> None:
        flags = self.keypoints[:, :, 2]
        bad_flags = (flags != 0) & (flags != 1) & (flags != 2)
        huge = np.abs(self.keypoints[:, :, :2]).max(axis=2, initial=0) > LARGEST_COORDINATE_PX
        for row in np.flatnonzero(self._without_problem() & (bad_flags | huge).any(axis=1)):
            if huge[row].any():
                index = int(huge[row].argmax())
                code, what = "num-not-finite", f"lies beyond {LARGEST_COORDINATE_PX:g}"
            else:
                index = int(bad_flags[row].argmax())
                code, what = "kpt-visibility", f"has the flag {flags[row, index]:.10g}"
            self.problems[row] = (code, f"keypoint {index} {what}")

    def _check_boxes(self) -> None:
        candidates = self._without_problem()
        usable = _usable(self.boxes, self.size_wh)
        if self.reader.boxes == "from-keypoints":
            wanted = np.flatnonzero(candidates & ~usable & (self.labelled > 0))
            made = boxes_from_keypoints(self.keypoints[wanted])
            good = _usable(made, self.size_wh[wanted])
            self.boxes[wanted[good]] = made[good]
            self.repaired[wanted[good]] = usable[wanted[good]] = True
        for row in np.flatnonzero(candidates & ~usable):
            self.problems[row] = box_problem(self.records[row], self.faults[row], self.size_wh[row])
        self.boxes[~usable] = np.nan

    def _note(self) -> None:
        kept, records = self._without_problem(), self.records
        x, y, flags = self.keypoints[:, :, 0], self.keypoints[:, :, 1], self.keypoints[:, :, 2]
        width, height = self.size_wh[:, :1], self.size_wh[:, 1:]
        outside = (np.minimum(x, y) < -_BORDER_PX) | (x >= width - _BORDER_PX) | (y >= height - _BORDER_PX)
        at_origin = (x == 0) & (y == 0)
        far = self.boxes[:, :2] + self.boxes[:, 2:] > self.size_wh + _BORDER_PX
        partly = (self.boxes[:, :2] < -_BORDER_PX).any(axis=1) | far.any(axis=1)
        given = np.array([np.nan if r.num_keypoints is None else r.num_keypoints for r in records], np.float64)
        no_area = np.fromiter((r.area is None or r.area <= 0 for r in records), np.bool_, len(records))
        twice = np.zeros(len(records), np.bool_)
        found = self.places >= 0
        twice[found] = self.reader.images.twice[self.places[found]]
        for code, rows in (
            ("num-keypoints-wrong", ~np.isnan(given) & (given != self.labelled)),
            ("kpt-labelled-at-origin", (at_origin & (flags > 0)).any(axis=1)),
            ("kpt-unlabelled-with-position", (~at_origin & (flags == 0)).any(axis=1)),
            ("kpt-outside-image", (outside & (flags > 0)).any(axis=1)),
            ("box-partly-outside", partly),
            ("box-from-keypoints", self.repaired),
            ("area-missing", no_area),
            ("file-twice", twice),
        ):
            self.bits[rows & kept] |= NOTE_BITS[code]
        no_id = [not r.id and not ("" in f or "id" in f) for r, f in zip(records, self.faults, strict=True)]
        self.bits[np.array(no_id, np.bool_)] |= NOTE_BITS["id-zero"]

    def to_table(self, first_sample_id: int) -> pa.Table:
        """Return the rows as a table of ANNOTATION_SCHEMA, with empty notes."""
        records, count = self.records, len(self.records)
        kept = self._without_problem()
        has_box = np.asarray(np.isfinite(self.boxes).all(axis=1))
        places = pa.array(self.places, mask=self.places < 0)
        codes_known = np.array([p is None or p[0] != "kpt-visibility" for p in self.problems], np.bool_)
        columns = {
            "sample_id": pa.array(np.arange(first_sample_id, first_sample_id + count)),
            "annotation_id": [record.id for record in records],
            "image_id": [record.image_id for record in records],
            "category_id": [record.category_id for record in records],
            "file_name": self.reader.file_names.take(places),
            "image_width_px": self._side(0),
            "image_height_px": self._side(1),
            "bbox_xywh": [record.bbox for record in records],
            "box_xywh": _lists(self.boxes, has_box),
            "area": [record.area for record in records],
            "iscrowd": pa.array(self.crowd),
            "score": [record.score for record in records],
            "num_keypoints": [record.num_keypoints for record in records],
            "labelled": pa.array(self.labelled.astype(np.int32), mask=~(self.has_keypoints & codes_known)),
            "keypoints": _lists(self.keypoints.reshape(count, -1), self.has_keypoints),
            "polygons": [polygon_count(record.segmentation) for record in records],
            "kept": pa.array(kept),
            "code": [problem[0] if problem else None for problem in self.problems],
            "detail": [problem[1] if problem else None for problem in self.problems],
            "notes": _lists(np.zeros((count, 0)), np.ones(count, np.bool_)).cast(pa.list_(pa.string())),
            "segmentation": self._segmentations(),
        }
        arrays = [pa.array(columns[f.name], f.type) for f in ANNOTATION_SCHEMA]
        return pa.Table.from_arrays(arrays, schema=ANNOTATION_SCHEMA)

    def _side(self, axis: int) -> pa.Array:
        values = self.size_wh[:, axis]
        unknown = np.isnan(values)
        return pa.array(np.where(unknown, 0, values).astype(np.int32), mask=unknown)

    def _segmentations(self) -> list[bytes | None]:
        if not self.reader.keep_segmentation:
            return [None] * len(self.records)
        return [bytes(record.segmentation) if polygon_count(record.segmentation) else None for record in self.records]


def _usable(boxes: _Float, size_wh: _Float) -> _Bool:
    """Return which boxes (n, 4) are finite, have an area and touch their picture; NaN sizes touch everything."""
    numbers = np.abs(boxes).max(axis=1, initial=0) <= LARGEST_COORDINATE_PX
    # Sums of larger ones may overflow.
    boxes = np.where(numbers[:, None], boxes, np.nan)
    sides = boxes[:, 2:].min(axis=1) >= LEAST_SIDE_PX
    beyond = (boxes[:, :2] >= size_wh).any(axis=1) | (boxes[:, :2] + boxes[:, 2:] <= 0).any(axis=1)
    usable: _Bool = numbers & sides & ~beyond
    return usable


def _lists(values: _Float, there: _Bool) -> pa.ListArray:
    """Return rows of ``values`` (n, m) as lists, null where not ``there``."""
    offsets = np.concatenate([[0], np.cumsum(there * values.shape[1])]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(values[there].ravel()), mask=pa.array(~there))


def note_lists(bits: _Bits) -> pa.ListArray:
    """Return the note codes of every row (n,) as lists of texts."""
    table = np.stack([(bits & bit) != 0 for bit in NOTE_BITS.values()], axis=1)
    offsets = np.concatenate([[0], np.cumsum(table.sum(axis=1))]).astype(np.int32)
    codes = pa.array(list(NOTE_BITS)).take(pa.array(np.nonzero(table)[1]))
    return pa.ListArray.from_arrays(offsets, codes)
