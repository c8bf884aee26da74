"""Remarks: what is suspicious in evaluated data without being wrong. They stand in the report, with stable codes."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["REMARKS", "SHOWN_EXAMPLES", "Remark", "remark_of_rows"]

SHOWN_EXAMPLES = 5
"""So many records are named in a remark; ``count`` says how many there are."""

REMARKS: Mapping[str, str] = MappingProxyType(
    {
        "annotations-left-out": "annotations of other categories, or that cannot be evaluated, are left out",
        "annotation-id-zero": "an annotation has the id 0, which pycocotools never counts as found; here it may be",
        "area-zero": "a counted person has an area of 0: OKS is 0 or 1",
        "crowd-missing": "annotations have no iscrowd: taken as 0",
        "image-listed-twice": "an image id is listed more than once",
        "num-keypoints-missing": "annotations have no num_keypoints: counted from the visibility flags",
        "num-keypoints-zero": "persons have labelled keypoints but num_keypoints 0: ignored, as COCO does",
        "num-keypoints-without-labels": "persons have num_keypoints above 0 but no label: counted, as COCO does",
        "visibility-other": "visibility flags other than 0, 1 and 2",
        "boxes-ignored": "the results' boxes are not used, as asked for",
        "category-missing": "results have no category_id: taken as the evaluated category",
        "category-other": "results of other categories are left out",
        "coordinates-normalised": "all coordinates lie in 0 … 1",
        "images-skipped": "results of images that the ground truth does not have are left out, as asked for",
        "keypoints-at-origin": "keypoints are at exactly (0, 0): scored as misses",
        "unscored-left-out": "results without a third number above 0 are left out, as the data set's rules say",
        "no-results": "there are no results: AP is 0",
        "results-repeat": "results repeat another one exactly",
    }
)  # fmt: skip
"""Code → what it stands for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """Something suspicious: ``message`` is a whole sentence with the count and the first record.

    ``examples`` are up to :data:`SHOWN_EXAMPLES` pairs of record number (from 0, in the file's list) and image id, None
    where there is none. ``hint`` is the next step, "" where nothing needs doing.
    """

    code: str
    message: str
    count: int
    examples: tuple[tuple[int, int | None], ...] = ()
    hint: str = ""

    def __post_init__(self) -> None:
        if self.code not in REMARKS:
            raise ValueError(f"no remark has the code {self.code}")

    def as_dict(self) -> dict[str, Any]:
        """Return the remark as JSON-ready values."""
        return {
            "code": self.code,
            "message": self.message,
            "count": self.count,
            "examples": [{"record": record, "image_id": image} for record, image in self.examples],
            "hint": self.hint,
        }

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


def remark_of_rows(
    code: str,
    message: str,
    rows: npt.NDArray[np.intp],
    image_ids: npt.NDArray[np.int64],
    *,
    records: npt.NDArray[np.int64] | npt.NDArray[np.intp] | None = None,
    count: int | None = None,
    hint: str = "",
) -> Remark:
    """Return a remark about ``rows`` of arrays whose image ids (D,) are given.

    ``records`` (D,) are their record numbers, the rows themselves where there is none.
    """
    named = rows[:SHOWN_EXAMPLES].tolist()
    return Remark(
        code=code, message=message, count=len(rows) if count is None else count, hint=hint,
        examples=tuple((row if records is None else int(records[row]), int(image_ids[row])) for row in named),
    )  # fmt: skip
