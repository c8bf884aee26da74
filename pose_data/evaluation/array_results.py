"""The columns of results from a file of arrays, whose shapes are exactly those that are asked for."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pose_data.errors import InputError
from pose_data.evaluation.array_files import load_arrays
from pose_data.evaluation.result_records import ResultColumns
from pose_data.evaluation.truth_file import TruthFile

__all__ = ["read_array_columns"]

_Array = npt.NDArray[Any]
_NEEDED = ("image_id", "keypoints", "score")
_KINDS: Mapping[str, str] = {"image_id": "iu", "keypoints": "fiu", "score": "fiu", "bbox_xywh": "fiu"}
"""The kinds of NumPy's dtypes that an array may have."""


def read_array_columns(path: Path, truth: TruthFile, *, stride: int = 3, boxes: bool = True) -> ResultColumns:
    """Read results from an .npz or .parquet file: ``stride`` numbers for each of the keypoints of ``truth``.

    Keypoints are (D, K, stride), or (D, K * stride) as Parquet has them; a file of no results may have any shape.
    Without ``boxes``, boxes are not read. Raises InputError ``file-unreadable``, ``array-file-invalid``,
    ``array-shape``, ``kpt-length``, ``image-id-value``.
    """
    arrays, _ = load_arrays(path)
    _refuse_other_kinds(arrays, path)
    image_id, box = arrays["image_id"], arrays.get("bbox_xywh")
    if image_id.ndim != 1:
        raise _wrong_shape("image_id", image_id, "(D,)", path)
    count = len(image_id)
    keypoints = _keypoints(arrays["keypoints"], count, truth, stride, path)
    if arrays["score"].shape != (count,):
        raise _wrong_shape("score", arrays["score"], f"({count},)", path)
    if box is not None and box.shape != (count, 4) and not _is_empty(box, count):
        raise _wrong_shape("bbox_xywh", box, f"({count}, 4)", path)
    _refuse_great_ids(image_id, path)
    return ResultColumns(
        image_id=np.asarray(image_id, np.int64), score=np.asarray(arrays["score"], np.float64), keypoints=keypoints,
        category_id=np.full(count, truth.category_id, np.int64), body=None,
        bbox_xywh=None if box is None or not boxes else np.asarray(box, np.float64).reshape(-1, 4),
        boxes_seen=box is not None,
    )  # fmt: skip


def _refuse_other_kinds(arrays: Mapping[str, _Array], path: Path) -> None:
    missing = [name for name in _NEEDED if name not in arrays]
    other = [name for name, kinds in _KINDS.items() if name in arrays and arrays[name].dtype.kind not in kinds]
    if missing or other:
        said = f"it has no array {missing[0]}" if missing else f"its {other[0]} are of {arrays[other[0]].dtype}"
        raise InputError(
            "array-file-invalid", f"{path.name} is no file of results: {said}", where=str(path),
            hint="write image_id (D,) as whole numbers, keypoints (D, K, 3), score (D,), perhaps bbox_xywh (D, 4)",
        )  # fmt: skip


def _is_empty(values: _Array, count: int) -> bool:
    # A list column without rows does not say how long its lists would be.
    return count == 0 and values.size == 0 and values.ndim > 0 and len(values) == 0


def _keypoints(values: _Array, count: int, truth: TruthFile, stride: int, path: Path) -> npt.NDArray[np.float64]:
    """Return the keypoints as (D, K, stride); as many numbers in another order are refused, not taken for these."""
    joints = truth.rules.skeleton.keypoint_count
    whole = np.asarray(values, np.float64)
    if whole.shape in ((count, joints, stride), (count, joints * stride)) or _is_empty(whole, count):
        return whole.reshape(count, joints, stride)
    wanted = f"({count}, {joints}, {stride}) or ({count}, {joints * stride})"
    other = 5 - stride
    if whole.shape in ((count, joints, other), (count, joints * other)):
        hint = f"keypoint_stride={other} (--keypoint-stride {other}) reads {other} numbers a keypoint"
        raise _wrong_shape("keypoints", values, wanted, path, hint=hint)
    found = _keypoints_a_person(whole.shape, count, stride)
    if found and found != joints:
        raise InputError(
            "kpt-length", f"{path.name}: {found} keypoints against {joints} of {truth.rules.skeleton.name}",
            where=str(path), hint="name the skeleton that the results have",
        )  # fmt: skip
    raise _wrong_shape("keypoints", values, wanted, path)


def _keypoints_a_person(shape: tuple[int, ...], count: int, stride: int) -> int:
    """Return how many keypoints each result has, where the shape leaves no doubt, else 0."""
    if len(shape) == 3 and shape[0] == count and shape[2] == stride:
        return shape[1]
    if len(shape) == 2 and shape[0] == count and shape[1] % stride == 0:
        return shape[1] // stride
    return 0


def _wrong_shape(name: str, values: _Array, wanted: str, path: Path, *, hint: str = "") -> InputError:
    return InputError(
        "array-shape", f"{path.name}: {name} has the shape {values.shape}, not {wanted}", where=str(path),
        hint=hint or "one row a result, in every array",
    )  # fmt: skip


def _refuse_great_ids(image_id: _Array, path: Path) -> None:
    """Raise InputError for ids that int64 has not: cast, they would become others."""
    if image_id.dtype != np.uint64:
        return
    great = np.flatnonzero(image_id > np.iinfo(np.int64).max)
    if len(great):
        first = int(great[0])
        raise InputError(
            "image-id-value",
            f"{path.name}: image_id is {image_id[first]} in record {first}; {len(great):,} such",
            where=f"{path}, record {first}", hint="image ids are whole numbers below 2**63",
        )  # fmt: skip
