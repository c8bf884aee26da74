"""What is refused and what is remarked on in annotations that are to be evaluated."""

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pose_data.errors import InputError
from pose_data.evaluation.annotation_records import Annotation, ImageRecord
from pose_data.evaluation.people import GroundTruth
from pose_data.evaluation.remarks import Remark, remark_of_rows
from pose_data.evaluation.rules import Rules

__all__ = ["Source", "refuse_not_finite", "refuse_records", "remarks_of_images", "remarks_of_persons"]

_Float = npt.NDArray[np.float64]
_Ids = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Source:
    """Annotations of the category, with their places in the file."""

    path: Path
    record: _Ids
    persons: Sequence[Annotation]

    def refuse(self, code: str, wrong: Sequence[int] | npt.NDArray[np.intp], message: str, hint: str) -> None:
        """Raise InputError for the rows that are wrong, if any are; ``message`` may use {first} and {many}."""
        if not len(wrong):
            return
        first, place = self.persons[wrong[0]], int(self.record[wrong[0]])
        who = (
            f"annotation {place}" if first.id is None else f"annotation {place} (id {first.id}, image {first.image_id})"
        )
        many = f"{len(wrong):,} of {len(self.persons):,} annotations"
        raise InputError(
            code, f"{self.path.name}: {message.format(first=who, many=many)}", where=f"{self.path}, annotation {place}",
            hint=hint,
        )  # fmt: skip

    def rows(self, wrong: Callable[[Annotation], bool]) -> list[int]:
        """Return the rows that are wrong."""
        return [row for row, person in enumerate(self.persons) if wrong(person)]


def refuse_records(source: Source, rules: Rules, images: Container[int]) -> None:
    """Raise InputError for records that cannot be evaluated, the most basic fault first."""
    skeleton = rules.skeleton
    unknown = source.rows(lambda person: person.image_id not in images)
    if unknown:
        first = source.persons[unknown[0]]
        place = int(source.record[unknown[0]])
        raise InputError(
            "image-unknown",
            f"{source.path.name}: annotation {place if first.id is None else first.id} refers to image "
            f"{first.image_id}, which is not listed (record {place}; {len(unknown):,} such)",
            where=f"{source.path}, annotation {place}", hint="list the image, or take the annotation out",
        )  # fmt: skip
    _refuse_duplicates(source)
    expected = 3 * skeleton.keypoint_count
    source.refuse(
        "kpt-missing", source.rows(lambda person: person.keypoints is None), "{first} has no keypoints ({many} such)",
        "a file of boxes (instances_….json)? The keypoint file is needed",
    )  # fmt: skip
    wrong = source.rows(lambda person: len(person.keypoints or ()) != expected)
    if wrong:
        length = len(source.persons[wrong[0]].keypoints or ())
        text = f"{length} numbers; {skeleton.name} has {skeleton.keypoint_count} keypoints = {expected} ({{many}} such)"
        source.refuse("kpt-length", wrong, f"{{first}} has {text}", "name the skeleton that the file has")
    source.refuse(
        "box-missing", source.rows(lambda person: len(person.bbox or ()) != 4),
        "{first} has no bbox of four numbers ({many} such)", "OKS needs it for persons without labelled keypoints",
    )  # fmt: skip
    if rules.area == "segment":
        source.refuse(
            "area-missing",
            source.rows(lambda person: person.area is None),
            'no "area" in {first} ({many} such): OKS needs it',
            "area='box-0.53' (--area=box-0.53, CrowdPose's convention), or compute it from the segmentation",
        )


def _refuse_duplicates(source: Source) -> None:
    ids = np.array([person.id for person in source.persons if person.id is not None], np.int64)
    unique, counts = np.unique(ids, return_counts=True)
    repeated = unique[counts > 1]
    if not len(repeated):
        return
    first = int(repeated[0])
    rows = source.rows(lambda person: person.id == first)
    there = ", ".join(f"{source.record[row]} (image {source.persons[row].image_id})" for row in rows[:3])
    raise InputError(
        "annotation-id-duplicate",
        f"{source.path.name}: the annotation id {first} is there {len(rows)} times, in records {there}; "
        f"{len(repeated):,} ids repeat",
        where=f"{source.path}, annotation {source.record[rows[1]]}",
        hint="number the annotations anew: pycocotools mixes those of one id up",
    )


def refuse_not_finite(source: Source, keypoints: _Float, boxes: _Float, areas: _Float) -> None:
    """Raise InputError for numbers that are not finite: keypoints (G, K, 3), boxes (G, 4), areas (G,)."""
    for name, values in (("keypoints", keypoints), ("bbox", boxes), ("area", areas)):
        wrong = np.flatnonzero(~np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
        source.refuse("num-not-finite", wrong, f"{name} not finite in {{first}} ({{many}} such)", "NaN is never scored")


def remarks_of_images(images: Sequence[ImageRecord], path: Path) -> list[Remark]:
    """Return what is suspicious about the list of images."""
    repeated = len(images) - len({image.id for image in images})
    if not repeated:
        return []
    message = f"{path.name}: {repeated:,} image records have the id of another one: the last one is taken"
    return [Remark(code="image-listed-twice", message=message, count=repeated)]


def remarks_of_persons(source: Source, truth: GroundTruth, *, counted: bool) -> list[Remark]:
    """Return what is suspicious about the persons; ``counted``: the rules count the labels themselves."""
    unwritten = np.array([person.num_keypoints is None for person in source.persons], bool)
    flags = truth.keypoints[..., 2]
    labelled = np.count_nonzero(flags > 0, axis=1)
    number, single = truth.num_keypoints, ~truth.iscrowd
    believed = single & (not counted)
    name = source.path.name
    ids = np.array([1 if person.id is None else person.id for person in source.persons], np.int64)
    cases: tuple[tuple[str, Any, str, str], ...] = (
        (
            "annotation-id-zero", ids == 0, "{count} annotation has the id 0",
            "pycocotools would never count it as found; numbers may differ from its",
        ),
        (
            "crowd-missing", np.array([person.iscrowd is None for person in source.persons], bool),
            "{count} annotations have no iscrowd: taken as 0", "",
        ),
        (
            "num-keypoints-missing", unwritten & (not counted),
            "{count} annotations have no num_keypoints: counted from v", "",
        ),
        (
            "num-keypoints-zero", (number == 0) & (labelled > 0) & believed,
            "{count} persons have labelled keypoints but num_keypoints 0: ignored, as COCO does",
            "correct num_keypoints if these persons should count",
        ),
        (
            "num-keypoints-without-labels", (number > 0) & (labelled == 0) & believed,
            "{count} persons have num_keypoints above 0 but no labelled keypoint: counted, as COCO does",
            "they are compared with their boxes alone; correct num_keypoints",
        ),
        (
            "area-zero", (truth.area <= 0) & (number > 0) & single,
            "{count} counted persons have area 0: OKS is 0 or 1", "",
        ),
        (
            "visibility-other", ~np.isin(flags, (0, 1, 2)).all(axis=1),
            "{count} persons have visibility flags other than 0, 1 and 2: above 0 is labelled", "",
        ),
    )  # fmt: skip
    return [
        remark_of_rows(
            code, f"{name}: " + text.format(count=f"{int(there.sum()):,}"), np.flatnonzero(there), truth.image_id,
            records=source.record, hint=hint,
        )
        for code, there, text, hint in cases
        if there.any()
    ]  # fmt: skip
