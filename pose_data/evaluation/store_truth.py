"""The ground truth of a split, from its sample table alone: every annotation of the file, kept as a sample or not."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pose_data.errors import StoreError
from pose_data.evaluation.people import GroundTruth
from pose_data.evaluation.remarks import Remark
from pose_data.evaluation.truth_file import TruthFile
from pose_data.store import Split

__all__ = ["ground_truth_from_split", "truth_from_split"]


def ground_truth_from_split(split: Split) -> GroundTruth:
    """Return the arrays of :func:`truth_from_split`."""
    return truth_from_split(split).truth


def truth_from_split(split: Split) -> TruthFile:
    """Return the annotated persons of a split, crowds and unlabelled ones included, with the stored keypoints.

    The table knows no pictures without annotations: detections on such pictures are not counted. Records that COCO's
    own evaluation could not read (no keypoints, no area, an unknown picture) are left out, and a warning says so.
    ``num_keypoints`` is as written where the store has all keypoints of the file, else counted.

    ``digest`` is that of the annotation file; ``record`` the place of each annotation in it.

    Raises DamageError, StoreError.
    """
    table = split.table
    usable = pc.and_(pc.is_valid(table["keypoints"]), pc.is_valid(table["image_id"]))
    usable = pc.and_(usable, pc.equal(pc.fill_null(pc.list_value_length(table["bbox_xywh"]), 0), 4))
    usable = pc.and_(usable, pc.is_valid(table["area"]))
    other = pc.equal(pc.fill_null(table["code"], ""), "filter-category")
    people = table.filter(pc.and_(usable, pc.invert(other)))
    if people.num_rows == 0:
        raise StoreError("no-rows", "the split has no annotation that can be evaluated", where=str(split.folder.path))
    left_out = table.num_rows - people.num_rows - pc.sum(other).as_py()
    indices = list(split.facts.keypoint_indices)
    full = split.facts.full_skeleton.keypoint_count
    keypoints = _flat(people, "keypoints").reshape(people.num_rows, full, 3)[:, indices]
    counted = (keypoints[..., 2] > 0).sum(axis=1)
    written = pc.fill_null(people["num_keypoints"], -1).to_numpy().astype(np.int64)
    image_ids, first = np.unique(people["image_id"].to_numpy(), return_index=True)
    remarks = _remarks(left_out)
    truth = GroundTruth(
        image_ids=image_ids.astype(np.int64),
        image_id=people["image_id"].to_numpy().astype(np.int64),
        annotation_id=pc.fill_null(people["annotation_id"], 0).to_numpy().astype(np.int64),
        keypoints=keypoints,
        bbox_xywh=_flat(people, "bbox_xywh").reshape(people.num_rows, 4),
        area=people["area"].to_numpy().astype(np.float64),
        iscrowd=pc.fill_null(people["iscrowd"], False).to_numpy(zero_copy_only=False).astype(bool),
        num_keypoints=np.where(written >= 0, written, counted) if len(indices) == full else counted,
        skeleton=split.skeleton,
        warnings=tuple(map(str, remarks)),
        sizes_wh=_sizes(people),
    )
    category = people["category_id"][0].as_py()
    return TruthFile(
        truth=truth, path=split.folder.path, digest=f"sha256:{split.facts.annotation_sha256}",
        category_id=1 if category is None else category, keypoint_names=split.skeleton.names,
        file_names=tuple(name or "" for name in people["file_name"].take(first).to_pylist()),
        record=people["sample_id"].to_numpy().astype(np.int64) - 1, remarks=remarks,
    )  # fmt: skip


def _remarks(left_out: int) -> tuple[Remark, ...]:
    if not left_out:
        return ()
    message = f"{left_out} annotations without keypoints, box, area or picture are left out"
    return (Remark(code="annotations-left-out", message=message, count=left_out),)


def _flat(people: pa.Table, name: str) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    values: np.ndarray[tuple[int], np.dtype[np.float64]] = pc.list_flatten(people[name]).to_numpy().astype(np.float64)
    return values


def _sizes(people: pa.Table) -> dict[int, tuple[int, int]]:
    columns = [people[name].to_pylist() for name in ("image_id", "image_width_px", "image_height_px")]
    return {image: (width, height) for image, width, height in zip(*columns, strict=True) if width and height}
