"""Make stored images again from their source pictures, and say how far they are from the stored ones."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from pose_data.atomic import bytes_digest
from pose_data.errors import InputError
from pose_data.imaging import Picture, PictureProblem, decode_jpeg, decode_picture, encode_jpeg, read_picture
from pose_data.manifest import ShardRecord
from pose_data.paths import resolve_inside
from pose_data.recipes import Recipe
from pose_data.row_maker import RowMaker
from pose_data.source import Source

__all__ = ["SourceImages", "choose_pictures"]


def choose_pictures(names: Sequence[str], share: float, seed: int, shard: int) -> frozenset[str]:
    """Return a seeded choice of ``share`` (0 to 1) of a shard's pictures, at least one."""
    distinct = sorted(set(names))
    count = min(len(distinct), max(1, math.ceil(share * len(distinct)))) if share > 0 else 0
    random = np.random.Generator(np.random.PCG64([seed, shard]))
    return frozenset(distinct[index] for index in random.permutation(len(distinct))[:count])


class SourceImages:
    """The stored images of one shard, made again row by row; each picture is read once.

    ``problem(code, row, detail)`` is called for a row whose picture is missing, changed or does not decode.
    """

    def __init__(
        self,
        recipe: Recipe,
        maker: RowMaker,
        record: ShardRecord,
        source: Source,
        problem: Callable[[str, int, str], None],
    ) -> None:
        self._recipe, self._maker, self._record, self._source = recipe, maker, record, source
        self._problem = problem
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
        if self._recipe.background == "white" and not self._source.segmentations:
            self._problem("source-missing", row, "the person's mask is not at hand")
            return None
        try:
            self._maker.draw(picture, row, work)
        except PictureProblem:
            self._problem("crop-differs", row, "the person's mask is not usable any more")
            return None
        if self._recipe.image_codec == "jpeg":
            decode_jpeg(encode_jpeg(work, self._recipe.jpeg_quality), work)
        if np.array_equal(work, stored):
            return 0
        return int(np.abs(work.astype(np.int16) - stored).max())

    def _picture(self, row: int) -> Picture | tuple[str, str]:
        name = self._maker.names[row]
        if name != self._open_name:
            self._open = ("", "")  # let go of the buffer before it is used again
            self._open, self._open_name = self._read(name, row), name
        return self._open

    def _read(self, name: str, row: int) -> Picture | tuple[str, str]:
        source = self._source
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
        try:
            return decode_picture(
                data, file_name=name, expected_wh=self._maker.sizes_wh[row], exif=self._recipe.exif,
                buffer=self._buffer,
            )  # fmt: skip
        except PictureProblem as problem:
            return "crop-differs", f"the picture does not decode here: {problem.detail}"
