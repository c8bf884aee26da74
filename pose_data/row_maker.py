"""What a shard's rows are and how each is made: the one thing in which crops and scenes differ."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pose_data.imaging import Picture

__all__ = ["RowMaker", "Segmentations"]

Segmentations = Callable[[int], bytes | None]
"""Gives the raw JSON of an annotation's segmentation, by the annotation's place in the shard's table."""


class RowMaker(Protocol):
    """The n rows of one shard, with P persons; made from the annotations of its plan or of the finished table alone.

    ``names`` (n): the picture of each row; ``sizes_wh``: its size in the annotation file, None where that does not say.
    ``table_kept`` (n,) bool: what the table says. ``person_row`` (P,): the row of each person, in the order of the
    persons' columns; ``annotated`` (P, K, 3): its stored keypoints as annotated, image frame.
    """

    names: list[str]
    sizes_wh: list[tuple[int, int] | None]
    table_kept: npt.NDArray[np.bool_]
    person_row: npt.NDArray[np.int64]
    annotated: npt.NDArray[np.float64]

    def draw(
        self, picture: Picture, row: int, out: npt.NDArray[np.uint8], scratch: npt.NDArray[np.uint8] | None = None
    ) -> None:
        """Fill ``out`` (H, W, 3) with a row's stored image; ``scratch`` (H, W, 4) is memory to warp in.

        Raises PictureProblem when it cannot be made.
        """

    def targets(self, part: slice, kept: npt.NDArray[np.bool_], out: Mapping[str, npt.NDArray[Any]]) -> None:
        """Fill ``out`` (array name → (m, …)) with the training targets of the rows ``part``; zeros where not kept."""

    def can_make(self, array: str) -> bool:
        """Return whether everything that an array of targets is made from is at hand."""

    def columns(self, kept: npt.NDArray[np.bool_]) -> Mapping[str, npt.NDArray[Any]]:
        """Return the values of every column array, (n, …) or (P, …); zeros where a row is not kept."""
