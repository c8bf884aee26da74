"""Annotated persons, and what a report says about where they come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pose_data.evaluation.people import GroundTruth
from pose_data.evaluation.remarks import Remark
from pose_data.evaluation.rules import COCO, AreaRule, Rules

__all__ = ["ARRAY_SUFFIXES", "TruthFile"]

ARRAY_SUFFIXES = (".npz", ".parquet")
"""Names of files of arrays end so; others are JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthFile:
    """Annotated persons, and what a report says about where they come from.

    ``record`` (G,) is each person's place in the file's list of annotations, from 0. ``digest`` is
    "sha256:…" of the file's bytes, "" for arrays.
    """

    truth: GroundTruth
    path: Path | None = None
    digest: str = ""
    size_bytes: int = 0
    category_id: int = 1
    category_name: str = "person"
    keypoint_names: tuple[str, ...] = ()
    """As the file's category has them; empty where it has none."""
    file_names: tuple[str, ...] = ()
    """(I,) "" where there is none; empty where nothing is known."""
    record: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    rules: Rules = COCO
    remarks: tuple[Remark, ...] = ()

    def __post_init__(self) -> None:
        if self.rules.skeleton != self.truth.skeleton:
            # Persons given as arrays, without rules of their own.
            rules = replace(
                self.rules, name=self.truth.skeleton.name, skeleton=self.truth.skeleton, fields=(), parts={}
            )
            object.__setattr__(self, "rules", rules)

    @property
    def area_rule(self) -> AreaRule:
        """Return where a person's area comes from."""
        return self.rules.area

    @property
    def counts(self) -> Mapping[str, int]:
        """Return images, persons, counted (not ignored) persons, crowds, and persons without labelled keypoints."""
        truth = self.truth
        return {
            "images": len(truth.image_ids),
            "persons": len(truth.image_id),
            "counted": int(np.count_nonzero(~truth.ignored)),
            "crowds": int(np.count_nonzero(truth.iscrowd)),
            "unlabelled": int(np.count_nonzero((truth.keypoints[..., 2] <= 0).all(axis=1) & ~truth.iscrowd)),
        }
