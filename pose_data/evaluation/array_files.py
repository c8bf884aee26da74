"""Persons and detections as arrays in a file: ``.npz`` and ``.parquet``, twenty times as quick to read as JSON.

Detections: ``image_id`` (D,) int64, ``keypoints`` (D, K, 3) float64, ``score`` (D,) float64; where there are boxes,
``bbox_xywh`` (D, 4) float64. Ground truth: ``image_id``, ``annotation_id``, ``num_keypoints`` (G,) int64, ``keypoints``
(G, K, 3), ``bbox_xywh`` (G, 4), ``area`` (G,) float64, ``iscrowd`` (G,) bool, ``record`` (G,) int64, and ``about``, a
JSON text with the rules, the category and the list of images. In Parquet an array's further axes are one list a row,
and ``about`` is in the schema's metadata under ``posedata``. Neither depends on time or place.
"""

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pose_data.atomic import file_sha256, make_folder, storage_errors, write_file
from pose_data.errors import InputError, UsageError
from pose_data.evaluation.people import Detections, GroundTruth
from pose_data.evaluation.remarks import Remark
from pose_data.evaluation.rules import Rules
from pose_data.evaluation.truth_file import TruthFile
from pose_data.skeleton import Skeleton

__all__ = ["load_arrays", "truth_of_arrays", "write_detections", "write_ground_truth"]

_Arrays = dict[str, npt.NDArray[Any]]
_METADATA_KEY = b"posedata"
_TRUTH_ARRAYS = (
    "image_id", "annotation_id", "keypoints", "bbox_xywh", "area", "iscrowd", "num_keypoints", "record",
)  # fmt: skip


def write_detections(path: Path, detections: Detections) -> None:
    """Write detections to an .npz or .parquet file. Raises StorageError, UsageError ``file-suffix``."""
    arrays: _Arrays = {"image_id": detections.image_id, "keypoints": detections.keypoints, "score": detections.score}
    if detections.bbox_xywh is not None:
        arrays["bbox_xywh"] = detections.bbox_xywh
    _write(Path(path), arrays, None)


def write_ground_truth(path: Path, truth: TruthFile) -> None:
    """Write annotated persons to an .npz or .parquet file. Raises StorageError, UsageError ``file-suffix``."""
    people = truth.truth
    names = truth.file_names or ("",) * len(people.image_ids)
    sizes = [people.sizes_wh.get(image) for image in people.image_ids.tolist()]
    about = {
        "category_id": truth.category_id,
        "category_name": truth.category_name,
        "keypoint_names": truth.keypoint_names,
        "rules": {**asdict(truth.rules), "parts": dict(truth.rules.parts)},
        "images": [
            {"id": image, "file_name": name, "width_height": size}
            for image, name, size in zip(people.image_ids.tolist(), names, sizes, strict=True)
        ],
        "remarks": [asdict(remark) for remark in truth.remarks],
    }
    arrays: _Arrays = {
        "image_id": people.image_id, "annotation_id": people.annotation_id, "keypoints": people.keypoints,
        "bbox_xywh": people.bbox_xywh, "area": people.area, "iscrowd": people.iscrowd,
        "num_keypoints": people.num_keypoints, "record": truth.record,
    }  # fmt: skip
    _write(Path(path), arrays, about)


def _write(path: Path, arrays: dict[str, Any], about: Mapping[str, Any] | None) -> None:
    text = None if about is None else json.dumps(about, sort_keys=True)
    data = io.BytesIO()
    if path.suffix == ".npz":
        extra: dict[str, Any] = {} if text is None else {"about": np.array(text)}
        np.savez(data, allow_pickle=False, **arrays, **extra)
    elif path.suffix == ".parquet":
        _write_parquet(data, arrays, text)
    else:
        raise UsageError("file-suffix", f"{path.name} is neither .npz nor .parquet", hint="name one of the two")
    with storage_errors("writing arrays", path):
        make_folder(path.parent)
        write_file(path, data.getvalue())


def _write_parquet(data: io.BytesIO, arrays: _Arrays, about: str | None) -> None:
    import pyarrow as pa  # here, for JSON and .npz do without it
    import pyarrow.parquet as pq

    columns = {
        name: pa.array(values)
        if values.ndim == 1
        else pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), int(np.prod(values.shape[1:])))
        for name, values in arrays.items()
    }
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata({_METADATA_KEY: about} if about else None), data, compression="zstd")


def load_arrays(path: Path) -> tuple[_Arrays, dict[str, Any] | None]:
    """Return the arrays of a file and what is said about them.

    Raises InputError ``file-unreadable`` or ``array-file-invalid``.
    """
    try:
        arrays, text = _load_npz(path) if path.suffix == ".npz" else _load_parquet(path)
        return arrays, None if text is None else json.loads(text)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError("file-unreadable", f"the file cannot be read: {reason}", where=str(path)) from None
    except (ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            "array-file-invalid", f"{path.name} is no {path.suffix} file of arrays: {error}", where=str(path),
            hint="write it with posedata.evaluation's write_detections or write_ground_truth",
        ) from None  # fmt: skip


def _load_npz(path: Path) -> tuple[_Arrays, str | None]:
    file = np.load(path, allow_pickle=False)
    if not isinstance(file, np.lib.npyio.NpzFile):
        raise ValueError("it holds a single array, as .npy files do")
    with file:
        arrays = {name: file[name] for name in file.files}
    about = arrays.pop("about", None)
    return arrays, None if about is None else str(about)


def _load_parquet(path: Path) -> tuple[_Arrays, str | None]:
    import pyarrow as pa  # here, for JSON and .npz do without it
    import pyarrow.parquet as pq

    table = pq.read_table(path)
    arrays: _Arrays = {}
    for name in table.column_names:
        column = table[name].combine_chunks()
        if column.null_count:
            raise ValueError(f"{name} has missing values")
        kind = column.type
        if pa.types.is_fixed_size_list(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
            arrays[name] = _rows_of_lists(column, name)
        else:
            arrays[name] = column.to_numpy(zero_copy_only=False)
    text = (table.schema.metadata or {}).get(_METADATA_KEY)
    return arrays, None if text is None else text.decode()


def _rows_of_lists(column: Any, name: str) -> npt.NDArray[Any]:
    values = column.flatten()
    # A list of a fixed size says it without rows, too.
    width = getattr(column.type, "list_size", len(column[0].as_py()) if len(column) else 0)
    if values.null_count or len(values) != len(column) * width or (len(column) and width == 0):
        raise ValueError(f"{name} is not one list of the same length in every row")
    return np.asarray(values.to_numpy(zero_copy_only=False)).reshape(len(column), width)


def truth_of_arrays(path: Path) -> TruthFile:
    """Return the annotated persons that :func:`write_ground_truth` wrote.

    Raises InputError ``file-unreadable``, ``array-file-invalid``, ``array-shape``, ``image-unknown``.
    """
    arrays, about = load_arrays(path)
    missing = [name for name in _TRUTH_ARRAYS if name not in arrays]
    if about is None or missing:
        what = f"an array {missing[0]}" if missing else "the text about"
        raise InputError(
            "array-file-invalid", f"{path.name} is no ground truth: it has not {what}", where=str(path),
            hint="write it with write_ground_truth",
        )  # fmt: skip
    rules = _rules(about["rules"])
    images, keypoints = about["images"], _truth_keypoints(arrays, rules.skeleton.keypoint_count, path)
    remarks = tuple(Remark(**{**one, "examples": tuple(map(tuple, one["examples"]))}) for one in about["remarks"])
    return TruthFile(
        truth=GroundTruth(
            image_ids=np.array([image["id"] for image in images], np.int64),
            image_id=arrays["image_id"], annotation_id=arrays["annotation_id"],
            keypoints=keypoints, bbox_xywh=arrays["bbox_xywh"], area=arrays["area"],
            iscrowd=arrays["iscrowd"].astype(bool), num_keypoints=arrays["num_keypoints"], skeleton=rules.skeleton,
            sizes_wh={one["id"]: tuple(one["width_height"]) for one in images if one["width_height"]},
            warnings=tuple(map(str, remarks)),
        ),
        path=path, digest=f"sha256:{file_sha256(path)}", size_bytes=path.stat().st_size, rules=rules,
        category_id=about["category_id"], category_name=about["category_name"],
        keypoint_names=tuple(about["keypoint_names"]),
        file_names=tuple(one["file_name"] for one in images), record=arrays["record"], remarks=remarks,
    )  # fmt: skip


def _truth_keypoints(arrays: _Arrays, joints: int, path: Path) -> npt.NDArray[Any]:
    """Return the keypoints as (G, K, 3); as many numbers in another order are refused, not taken for these."""
    image_id, keypoints = arrays["image_id"], arrays["keypoints"]
    wanted, name = "(G,)", "image_id"
    if image_id.ndim == 1:
        count = len(image_id)
        if keypoints.shape in ((count, joints, 3), (count, joints * 3)):
            return keypoints.reshape(count, joints, 3)
        wanted, name = f"({count}, {joints}, 3) or ({count}, {joints * 3})", "keypoints"
    raise InputError(
        "array-shape", f"{path.name}: {name} has the shape {arrays[name].shape}, not {wanted}", where=str(path),
        hint="write it with write_ground_truth",
    )  # fmt: skip


def _rules(fields: Mapping[str, Any]) -> Rules:
    skeleton: dict[str, Any] = {
        name: value if isinstance(value, str) else tuple(tuple(one) if isinstance(one, list) else one for one in value)
        for name, value in fields["skeleton"].items()
    }
    rules = Rules(**{**fields, "skeleton": Skeleton(**skeleton)})
    parts = {name: (int(first), int(end)) for name, (first, end) in fields["parts"].items()}
    return replace(rules, fields=tuple((name, int(count)) for name, count in fields["fields"]), parts=parts)
