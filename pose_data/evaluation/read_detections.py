"""Detections from a file of results, strictly: wrong numbers are errors, suspicious ones remarks for the report.

Format: https://cocodataset.org/#format-results, a list of ``{"image_id", "category_id", "keypoints", "score"}`` and
perhaps ``"bbox"``; one such object a line (JSON Lines) is read, too.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from pose_data.errors import InputError, UsageError
from pose_data.evaluation.people import Detections
from pose_data.evaluation.remarks import Remark, remark_of_rows
from pose_data.evaluation.result_records import ResultColumns, read_result_columns
from pose_data.evaluation.truth_file import ARRAY_SUFFIXES, TruthFile

__all__ = ["DetectionFile", "read_detections"]

_Float = npt.NDArray[np.float64]
_Ids = npt.NDArray[np.int64]
_Rows = npt.NDArray[np.intp]
_MIXERS = np.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0xD6E8FEB86659FD93], np.uint64)


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectionFile:
    """Detections, and what a report says about where they come from.

    ``record`` (D,) is each detection's place in the file's list, from 0: results of other categories, and those of
    unknown images where asked for, are left out.
    """

    detections: Detections
    path: Path | None = None
    size_bytes: int = 0
    modified_ns: int = 0
    """When the file was last changed, as the system has it."""
    record: _Ids
    record_count: int
    remarks: tuple[Remark, ...] = ()

    def __len__(self) -> int:
        """Return D."""
        return len(self.detections)

    @property
    def digest(self) -> str:
        """Return "sha256:…" of the file's bytes, computed now; "" for arrays without a file.

        Raises InputError ``file-unreadable`` where the file is not as it was read, OSError where it has gone.
        """
        if self.path is None:
            return ""
        from pose_data.atomic import file_sha256  # here, for numbers alone do without it

        digest, now = f"sha256:{file_sha256(self.path)}", _status(self.path)
        if (now.st_size, now.st_mtime_ns) != (self.size_bytes, self.modified_ns):
            raise InputError(
                "file-unreadable", f"{self.path.name} was changed after it was read", where=str(self.path),
                hint="evaluate again",
            )  # fmt: skip
        return digest


def read_detections(
    path: Path,
    truth: TruthFile,
    *,
    unknown_images: Literal["error", "skip"] = "error",
    boxes: Literal["read", "ignore"] = "read",
    keypoint_stride: Literal[2, 3] = 3,
) -> DetectionFile:
    """Read results that belong to ``truth``: its images, its category and its skeleton's keypoints.

    A path that ends in .npz or .parquet holds arrays, see :mod:`pose_data.evaluation.array_files`; others are JSON.

    ``unknown_images="skip"`` leaves out results of images that the ground truth does not have. ``boxes="ignore"`` reads
    no boxes: areas of detections are then those of their keypoints. ``keypoint_stride=2`` reads x, y pairs.

    Raises InputError, with the file, the first record and its image, the number of such records and the next step:
    ``file-unreadable``, ``json-invalid``, ``json-encoding``, ``json-truncated``, ``results-not-a-list``,
    ``image-missing``, ``image-id-text``, ``image-id-value``, ``image-unknown``, ``category-none``, ``category-value``,
    ``kpt-missing``, ``kpt-length``, ``score-missing``, ``num-not-finite``, ``bbox-some``, ``bbox-value``; of arrays
    ``array-file-invalid`` and ``array-shape``.
    """
    if keypoint_stride not in (2, 3):
        raise UsageError("option-value", f"keypoint_stride is {keypoint_stride!r}", hint="2 or 3")
    path = Path(path)
    before = _status(path)
    if path.suffix in ARRAY_SUFFIXES:
        from pose_data.evaluation.array_results import read_array_columns  # here, for JSON does without it

        columns = read_array_columns(path, truth, stride=keypoint_stride, boxes=boxes == "read")
    else:
        columns = read_result_columns(path, truth.rules, stride=keypoint_stride, boxes=boxes == "read")
    record_count = len(columns.image_id)
    remarks: list[Remark] = []
    rows = _of_category(columns, truth, path, remarks)
    rows = _of_known_images(columns, rows, truth, path, remarks, skip=unknown_images == "skip")
    rows = _scored(columns, rows, truth, path, remarks)
    columns = _taken(columns, rows)
    _refuse_not_finite(columns, rows, path)
    if boxes == "ignore" and columns.boxes_seen:
        message = f"the boxes of {path.name} are not used: the area of a detection is that of its keypoints"
        remarks.append(Remark(code="boxes-ignored", message=message, count=len(rows)))
    remarks += _suspicious(columns, rows, truth, path)
    return DetectionFile(
        detections=Detections(
            image_id=columns.image_id, keypoints=_with_third_number(columns.keypoints), score=columns.score,
            bbox_xywh=columns.bbox_xywh, warnings=tuple(map(str, remarks)), area=_body_area(columns),
        ),
        path=path, size_bytes=before.st_size, modified_ns=before.st_mtime_ns, record=rows.astype(np.int64),
        record_count=record_count, remarks=tuple(remarks),
    )  # fmt: skip


def _status(path: Path) -> os.stat_result:
    try:
        return path.stat()
    except OSError as error:
        raise InputError(
            "file-unreadable", f"the file cannot be read: {error.strerror}", where=str(path), hint="is the path right?"
        ) from None


def _of_category(columns: ResultColumns, truth: TruthFile, path: Path, remarks: list[Remark]) -> _Rows:
    """Return the rows of the evaluated category."""
    count = len(columns.image_id)
    category, name = truth.category_id, truth.category_name
    missing = np.arange(count) if columns.category_id is None else np.flatnonzero(columns.category_id == -1)
    if len(missing):
        message = f"{len(missing):,} results of {path.name} have no category_id: taken as {category} ({name})"
        remarks.append(remark_of_rows("category-missing", message, missing, columns.image_id))
    if columns.category_id is None:
        return missing
    other = (columns.category_id != category) & (columns.category_id != -1)
    there = np.unique(columns.category_id[other])
    if count and len(there) and other.all():
        have = f"all have {there[0]}" if len(there) == 1 else f"they have {', '.join(map(str, there[:5].tolist()))}"
        raise InputError(
            "category-none",
            f"{path.name}: no result has category {category} ({name}); {have} ({count:,} results, first: record 0, "
            f"image {columns.image_id[0]})",
            where=str(path), hint=f"write category_id {category}, as the ground truth has it",
        )  # fmt: skip
    if other.any():
        rows = np.flatnonzero(other)
        message = f"{len(rows):,} results of {path.name} have another category than {category} ({name}): left out"
        remarks.append(remark_of_rows("category-other", message, rows, columns.image_id))
    return np.flatnonzero(~other)


def _of_known_images(
    columns: ResultColumns, rows: _Rows, truth: TruthFile, path: Path, remarks: list[Remark], *, skip: bool
) -> _Rows:
    known = np.isin(columns.image_id[rows], truth.truth.image_ids)
    if known.all():
        return rows
    unknown = rows[~known]
    first = int(unknown[0])
    number, image = len(unknown), int(columns.image_id[first])
    names = "names an image" if number == 1 else "name images"
    what = f"{number:,} of {len(rows):,} results {names} the ground truth does not have ({image}, record {first})"
    if not skip:
        raise InputError(
            "image-unknown", f"{path.name}: {what}", where=f"{path}, record {first}",
            hint="another split? unknown_images='skip' (--unknown-images=skip) evaluates the rest",
        )  # fmt: skip
    message = f"{path.name}: {what}: left out"
    remarks.append(remark_of_rows("images-skipped", message, unknown, columns.image_id))
    return rows[known]


def _scored(columns: ResultColumns, rows: _Rows, truth: TruthFile, path: Path, remarks: list[Remark]) -> _Rows:
    """Return the rows of detections some of whose third numbers are above 0, where the rules ask for that."""
    if not truth.rules.drop_unscored or columns.keypoints.shape[-1] < 3:
        return rows
    scored = (columns.keypoints[rows][..., 2] > 0).any(axis=1)
    if not scored.all():
        dropped = rows[~scored]
        message = f"{path.name}: {len(dropped):,} results have no third number above 0: left out, as the rules say"
        remarks.append(remark_of_rows("unscored-left-out", message, dropped, columns.image_id))
    return rows[scored]


def _taken(columns: ResultColumns, rows: _Rows) -> ResultColumns:
    return columns if len(rows) == len(columns.image_id) else columns.taken(rows)


def _refuse_not_finite(columns: ResultColumns, rows: _Rows, path: Path) -> None:
    scores = np.flatnonzero(~np.isfinite(columns.score))
    if len(scores):
        first = int(scores[0])
        value = "NaN" if np.isnan(columns.score[first]) else "infinite"
        image = columns.image_id[first]
        raise InputError(
            "num-not-finite",
            f"{path.name}: score is {value} in record {rows[first]} (image {image}); {len(scores):,} such "
            f"record{'s' if len(scores) > 1 else ''}",
            where=f"{path}, record {rows[first]}", hint="the model diverged? What is not finite is never scored",
        )  # fmt: skip
    xy = columns.keypoints[..., :2]
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(xy.sum()):  # one infinite or NaN term makes the sum so
            return
    wrong = np.flatnonzero(~np.isfinite(xy).all(axis=(1, 2)))
    if len(wrong):
        first = int(wrong[0])
        raise InputError(
            "num-not-finite",
            f"{path.name}: keypoints are not finite in {len(wrong):,} record{'s' if len(wrong) > 1 else ''} (first: "
            f"record {rows[first]}, image {columns.image_id[first]}). The model diverged? NaN is never scored",
            where=f"{path}, record {rows[first]}", hint="look at the training's loss, and at the decoder of the maps",
        )  # fmt: skip


def _suspicious(columns: ResultColumns, rows: _Rows, truth: TruthFile, path: Path) -> list[Remark]:
    if not len(rows):
        return [Remark(code="no-results", message=f"{path.name}: no results; AP is 0", count=0)]
    remarks = []
    xy = columns.keypoints[..., :2]
    repeats = _repeats(columns)
    if len(repeats):
        message = f"{path.name}: {len(repeats):,} results repeat another one exactly; pose NMS missing?"
        remarks.append(
            remark_of_rows(
                "results-repeat", message, repeats, columns.image_id, records=rows,
                hint="every repetition is a false positive: write each detection once",
            )
        )  # fmt: skip
    reach = _reach(truth)
    # Few of a set's results lie so: the first ones tell.
    if xy[:100].max() <= 1 < reach and xy.min() >= 0 and xy.max() <= 1:
        message = f"{path.name}: all coordinates lie in 0..1 while boxes reach {reach:.0f}: normalised?"
        remarks.append(
            remark_of_rows(
                "coordinates-normalised", message, np.arange(len(rows)), columns.image_id, records=rows,
                hint="multiply by the width and height of the picture",
            )
        )  # fmt: skip
    else:
        remarks += _at_origin(xy, rows, columns, path)
    return remarks


def _reach(truth: TruthFile) -> float:
    boxes = truth.truth.bbox_xywh
    return float((boxes[:, :2] + boxes[:, 2:]).max()) if len(boxes) else 0.0


def _at_origin(xy: _Float, rows: _Rows, columns: ResultColumns, path: Path) -> list[Remark]:
    missing = xy[..., 0] == 0
    if not missing.any():
        return []
    missing &= xy[..., 1] == 0
    count = int(np.count_nonzero(missing))
    if not count:
        return []
    share = 100 * count / missing.size
    message = f"{path.name}: {count:,} of {missing.size:,} keypoints ({share:.0f} %) are at (0, 0): scored as misses"
    return [
        remark_of_rows(
            "keypoints-at-origin", message, np.flatnonzero(missing.any(axis=1)), columns.image_id, records=rows,
            count=count, hint="COCO has no way to leave a keypoint out: a guess scores better than (0, 0)",
        )
    ]  # fmt: skip


def _repeats(columns: ResultColumns) -> _Rows:
    """Return the rows that are equal to an earlier one in image, score and all numbers of the keypoints."""
    count = len(columns.image_id)
    if count < 2:
        return np.zeros(0, np.intp)
    numbers = columns.keypoints.reshape(count, -1)
    # Candidates by a few numbers, mixed by odd factors; then everything is compared.
    mixed = columns.image_id.view(np.uint64) * _MIXERS[0]
    for values, factor in zip((columns.score, numbers[:, 0], numbers[:, 1]), _MIXERS[1:], strict=True):
        mixed = mixed + np.ascontiguousarray(values).view(np.uint64) * factor
    ordered = np.sort(mixed)
    alike = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(alike):
        return np.zeros(0, np.intp)
    return _equal_to_an_earlier_one(np.flatnonzero(np.isin(mixed, alike)), columns.image_id, columns.score, numbers)


def _equal_to_an_earlier_one(rows: _Rows, image_id: _Ids, score: _Float, numbers: _Float) -> _Rows:
    whole = np.column_stack([image_id[rows].astype(np.float64), score[rows], numbers[rows]])
    # A row as one value of bytes; -0.0 and 0.0 count as different, which is harmless.
    values = np.ascontiguousarray(whole).view(np.dtype((np.void, whole.shape[1] * 8))).ravel()
    _, first = np.unique(values, return_index=True)
    repeated: _Rows = np.delete(rows, first)
    return repeated


def _body_area(columns: ResultColumns) -> _Float | None:
    """Return the areas of the bodies' extents where a record has several lists of keypoints, as xtcocotools does."""
    if columns.body is None or columns.bbox_xywh is not None:
        return None
    xy = columns.keypoints[:, : columns.body, :2]
    size: _Float = np.ptp(xy, axis=1)
    return size[:, 0] * size[:, 1]


def _with_third_number(keypoints: _Float) -> _Float:
    if keypoints.shape[-1] == 3:
        return keypoints
    return np.concatenate([keypoints, np.ones((*keypoints.shape[:2], 1))], axis=2)
