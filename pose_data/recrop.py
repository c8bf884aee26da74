"""Make stored crops again from their source pictures, and say how far they are from the stored ones."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pose_data.atomic import bytes_digest
from pose_data.errors import InputError
from pose_data.imaging import Picture, PictureProblem, decode_jpeg, decode_picture, encode_jpeg, read_picture
from pose_data.manifest import ShardRecord
from pose_data.paths import resolve_inside
from pose_data.recipes import Recipe
from pose_data.shard import crop_row
from pose_data.shard_plan import ShardGeometry
from pose_data.source import Source

__all__ = ["SourceCrops", "choose_pictures"]


def choose_pictures(names: Sequence[str], share: float, seed: int, shard: int) -> frozenset[str]:
    """Return a seeded choice of ``share`` (0 to 1) of a shard's pictures, at least one."""
    distinct = sorted(set(names))
    count = min(len(distinct), max(1, math.ceil(share * len(distinct)))) if share > 0 else 0
    random = np.random.Generator(np.random.PCG64([seed, shard]))
    return frozenset(distinct[index] for index in random.permutation(len(distinct))[:count])


class SourceCrops:
    """The crops of one shard, made again row by row; each picture is read once.

    ``problem(code, row, detail)`` is called for a row whose picture is missing, changed or does not decode.
    """

    def __init__(
        self,
        recipe: Recipe,
        rows: pa.Table,
        record: ShardRecord,
        geometry: ShardGeometry,
        source: Source,
        problem: Callable[[str, int, str], None],
    ) -> None:
        self._recipe, self._record, self._geometry, self._source = recipe, record, geometry, source
        self._problem = problem
        self._names: list[str] = rows["file_name"].to_pylist()
        self._widths = rows["image_width_px"].to_pylist()
        self._heights = rows["image_height_px"].to_pylist()
        self._sample_ids: list[int] = rows["sample_id"].to_pylist()
        self._open_name = ""
        self._open: Picture | tuple[str, str] = ("", "")
        self._buffer = bytearray()

    def levels(self, row: int, stored: npt.NDArray[np.uint8], work: npt.NDArray[np.uint8]) -> int | None:
        """Return the largest difference of a row's stored image from the one made again; None when it cannot be made.

        ``work`` is an array like ``stored`` to work in.
        """
        picture = self._picture(row)
        if not isinstance(picture, Picture):
            self._problem(*picture[:1], row, picture[1])
            return None
        segmentation = (self._source.segmentations or {}).get(self._sample_ids[row])
        if self._recipe.background == "white" and segmentation is None:
            self._problem("source-missing", row, "the person's mask is not at hand")
            return None
        if not crop_row(self._recipe, picture, self._geometry, row, segmentation, work):
            self._problem("crop-differs", row, "the person's mask is not usable any more")
            return None
        if self._recipe.image_codec == "jpeg":
            decode_jpeg(encode_jpeg(work, self._recipe.jpeg_quality), work)
        if np.array_equal(work, stored):
            return 0
        return int(np.abs(work.astype(np.int16) - stored).max())

    def _picture(self, row: int) -> Picture | tuple[str, str]:
        name = self._names[row]
        if name != self._open_name:
            self._open = ("", "")  # let go of the buffer before it is used again
            self._open, self._open_name = self._read(name, row), name
        return self._open

    def _read(self, name: str, row: int) -> Picture | tuple[str, str]:
        source, size_wh = self._source, (self._widths[row], self._heights[row])
        if source.images_root is None:
            return "source-missing", "no folder of pictures"
        try:
            data = read_picture(resolve_inside(source.images_root, name, allow_outside=source.allow_outside))
        except PictureProblem as problem:
            return "source-missing", problem.detail
        except InputError as error:
            return "source-missing", error.message
        if bytes_digest(data) != self._record.pictures.get(name):
            return "picture-changed", name
        expected: Any = None if None in size_wh else size_wh
        try:
            return decode_picture(
                data, file_name=name, expected_wh=expected, exif=self._recipe.exif, buffer=self._buffer
            )
        except PictureProblem as problem:
            return "crop-differs", f"the picture does not decode here: {problem.detail}"
