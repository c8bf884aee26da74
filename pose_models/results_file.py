"""COCO's results format: a list of image_id, category_id, keypoints and score."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pose_data.atomic import make_folder, storage_errors, write_file
from pose_data.evaluation import Detections

__all__ = ["write_results"]

_DECIMALS = 3


def write_results(path: Path, detections: Detections, *, category_id: int = 1) -> None:
    """Write detections as COCO results JSON, coordinates to a thousandth of a pixel. Raises StorageError."""
    records: list[Mapping[str, Any]] = []
    for number in range(len(detections)):
        record: dict[str, Any] = {
            "image_id": int(detections.image_id[number]), "category_id": category_id,
            "keypoints": detections.keypoints[number].round(_DECIMALS).ravel().tolist(),
            "score": float(detections.score[number]),
        }  # fmt: skip
        if detections.bbox_xywh is not None:
            record["bbox"] = detections.bbox_xywh[number].round(_DECIMALS).tolist()
        records.append(record)
    with storage_errors("writing results", path):
        make_folder(path.parent)
        write_file(path, json.dumps(records).encode())
