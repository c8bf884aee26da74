"""Annotated persons from a COCO keypoint file, for evaluation: strictly, and with what a report says about them.

Format: https://cocodataset.org/#format-data. Other than :func:`pose_data.formats.read_coco`, which keeps what can be
trained on, this reads exactly what pycocotools would evaluate, and refuses what would give wrong numbers.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pose_data.errors import InputError, UsageError
from pose_data.evaluation.annotation_checks import (
    Source,
    refuse_not_finite,
    refuse_records,
    remarks_of_images,
    remarks_of_persons,
)
from pose_data.evaluation.annotation_records import Annotation, AnnotationFile, ImageRecord, decode_annotations
from pose_data.evaluation.json_pieces import read_whole, refuse_encodings
from pose_data.evaluation.people import GroundTruth
from pose_data.evaluation.record_faults import whole_number
from pose_data.evaluation.remarks import Remark
from pose_data.evaluation.rules import COCO, RULES, AreaRule, Rules, rules_of
from pose_data.evaluation.truth_file import ARRAY_SUFFIXES, TruthFile
from pose_data.paths import shown
from pose_data.skeleton import Skeleton

__all__ = ["AreaRule", "TruthFile", "read_ground_truth"]

_BOX_SHARE = 0.53


def read_ground_truth(
    path: Path,
    *,
    category: str | int = "person",
    rules: Rules | None = None,
    skeleton: Skeleton | None = None,
    area: AreaRule | None = None,
) -> TruthFile:
    """Read the annotated persons of one category, by its name or id.

    A path that ends in .npz or .parquet holds arrays, see :mod:`pose_data.evaluation.array_files`; others are JSON.

    ``rules`` are one of :data:`pose_data.evaluation.rules.RULES` or own ones. Without, they are those of the data set
    whose keypoint names the category has, else COCO's with the category's names and no sigmas: such a skeleton cannot
    be evaluated before it gets some. ``skeleton`` and ``area`` stand in for those of the rules.

    Raises UsageError for an unknown category; InputError ``file-unreadable``, ``json-invalid``, ``json-encoding``,
    ``json-truncated``, ``json-wrong-kind``, ``annotation-invalid``, ``annotation-id-duplicate``, ``image-unknown``,
    ``area-missing``, ``box-missing``, ``kpt-missing``, ``kpt-length``, ``skeleton-unknown``, ``num-not-finite``.
    """
    path = Path(path)
    if path.suffix in ARRAY_SUFFIXES:
        return _of_arrays(path, rules, skeleton, area)
    data = read_whole(path)
    refuse_encodings(data[:4096], path)
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    file = decode_annotations(data, path)
    size = len(data)
    del data
    number, name, names = _category(file, category, path)
    chosen = [place for place, one in enumerate(file.annotations) if one.category_id in (number, None)]
    persons = [file.annotations[place] for place in chosen]
    rules = _rules(rules, skeleton, area, names, persons, name, path)
    _join_fields(persons, rules)
    source = Source(path, np.array(chosen, np.int64), persons)
    remarks = remarks_of_images(file.images, path)
    if len(chosen) < len(file.annotations):
        left_out = len(file.annotations) - len(chosen)
        message = f"{path.name}: {left_out:,} annotations of other categories than {number} ({name}) are left out"
        remarks.append(Remark(code="annotations-left-out", message=message, count=left_out))
    images = {image.id: image for image in file.images}
    truth = _truth(source, rules, images)
    remarks += remarks_of_persons(source, truth, counted=rules.count_labels)
    truth = replace(truth, warnings=tuple(map(str, remarks)))
    ordered = [images[image] for image in truth.image_ids.tolist()]
    return TruthFile(
        truth=truth, path=path, digest=digest, size_bytes=size, category_id=number, category_name=name,
        keypoint_names=names, file_names=tuple(image.file_name or "" for image in ordered),
        record=source.record, rules=rules, remarks=tuple(remarks),
    )  # fmt: skip


def _of_arrays(path: Path, rules: Rules | None, skeleton: Skeleton | None, area: AreaRule | None) -> TruthFile:
    if rules is not None or skeleton is not None or area is not None:
        raise UsageError(
            "option-conflict", f"{path.name} holds the rules that its areas were made by", where=str(path),
            hint="give rules, skeleton and area when the annotations are read from JSON",
        )  # fmt: skip
    from pose_data.evaluation.array_files import truth_of_arrays  # here, for JSON does without it

    return truth_of_arrays(path)


# --------------------------------------------------------------------------------- category and skeleton


def _category(file: AnnotationFile, wanted: str | int, path: Path) -> tuple[int, str, tuple[str, ...]]:
    """Return the category's id, name and keypoint names."""
    listed = [one for one in file.categories if isinstance(one, dict) and whole_number(one.get("id")) is not None]
    if not listed:
        number = wanted if isinstance(wanted, int) else 1
        return number, wanted if isinstance(wanted, str) else str(wanted), ()
    fits = [one for one in listed if wanted in (one.get("name"), one["id"])]
    if not fits and len(listed) == 1 and wanted == "person":
        fits = listed
    if not fits:
        there = ", ".join(f"{one['id']} {shown(str(one.get('name', '')), 30)}" for one in listed[:10])
        raise UsageError(
            "category-unknown", f"{path.name} has no category {wanted!r}; it has {there}", where=str(path),
            hint="name one of these",
        )  # fmt: skip
    names = fits[0].get("keypoints")
    valid = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return int(fits[0]["id"]), str(fits[0].get("name", "")), tuple(names) if valid and names else ()


def _rules(
    rules: Rules | None,
    skeleton: Skeleton | None,
    area: AreaRule | None,
    names: tuple[str, ...],
    persons: Sequence[Annotation],
    name: str,
    path: Path,
) -> Rules:
    if rules is None and skeleton is None and not names:
        length = next((len(one.keypoints) for one in persons if one.keypoints), 3 * COCO.skeleton.keypoint_count)
        if length != 3 * COCO.skeleton.keypoint_count:
            raise InputError(
                "skeleton-unknown",
                f"{path.name}: {length} numbers per person ({length // 3} keypoints), and its category names no "
                "keypoints",
                where=str(path), hint=f"name the skeleton: {', '.join(RULES)}",
            )  # fmt: skip
        rules = COCO
    if rules is None:
        rules = Rules(name=skeleton.name, skeleton=skeleton) if skeleton is not None else rules_of(names, name)
    if skeleton is not None:
        rules = replace(rules, skeleton=skeleton)
    return rules if area is None else replace(rules, area=area)


def _join_fields(persons: Sequence[Annotation], rules: Rules) -> None:
    """Make one list of the lists that a whole body's keypoints are written in."""
    if not rules.fields:
        return
    for person in persons:
        parts = [getattr(person, name) for name, _ in rules.fields]
        if all(
            part is not None and len(part) == 3 * count for part, (_, count) in zip(parts, rules.fields, strict=True)
        ):
            person.keypoints = [number for part in parts for number in part]


# ---------------------------------------------------------------------------------------------- the arrays


def _truth(source: Source, rules: Rules, images: Mapping[int, ImageRecord]) -> GroundTruth:
    persons, count = source.persons, len(source.persons)
    lists: list[Any] = [person.keypoints for person in persons]
    corners: list[Any] = [person.bbox for person in persons]
    written_areas = [person.area for person in persons]
    image_id = [person.image_id for person in persons]
    ids = [person.id for person in persons]
    if (
        None in lists
        or None in corners
        or set(map(len, lists)) - {3 * rules.skeleton.keypoint_count}
        or set(map(len, corners)) - {4}
        or (rules.area == "segment" and None in written_areas)
        or not images.keys() >= set(image_id)
        or len(set(ids)) < count
    ):
        refuse_records(source, rules, images)
    keypoints = np.array(lists, np.float64).reshape(count, rules.skeleton.keypoint_count, 3)
    boxes = np.array(corners, np.float64).reshape(count, 4)
    from_boxes = boxes[:, 3] * boxes[:, 2] * _BOX_SHARE
    areas = np.array(written_areas, np.float64) if rules.area == "segment" else from_boxes
    refuse_not_finite(source, keypoints, boxes, areas)
    labelled = np.count_nonzero(keypoints[..., 2] > 0, axis=1)
    written = np.array([-1 if person.num_keypoints is None else person.num_keypoints for person in persons], np.int64)
    return GroundTruth(
        image_ids=np.unique(np.array(list(images), np.int64)), keypoints=keypoints, bbox_xywh=boxes, area=areas,
        image_id=np.array(image_id, np.int64), skeleton=rules.skeleton,
        annotation_id=np.array([0 if one is None else one for one in ids], np.int64),
        iscrowd=np.array([bool(person.iscrowd) for person in persons], bool),
        num_keypoints=labelled if rules.count_labels else np.where(written == -1, labelled, written),
        sizes_wh={one.id: (one.width, one.height) for one in images.values() if one.width and one.height},
    )  # fmt: skip
