"""Make one shard: decode each picture once, draw every row of it, encode targets, write, record.

A shard is made from the plan alone, so it can be made anywhere, in any order, any number of times,
with the same bytes. Rows whose picture turns out unusable keep their place, zero-filled.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pose_data.atomic import AtomicFile, AtomicGroup, Waiting, Written, bytes_digest, file_digest, storage_errors
from pose_data.errors import StorageError
from pose_data.imaging import Picture, PictureProblem, decode_picture, read_picture
from pose_data.layout import ArrayLayout, split_arrays
from pose_data.manifest import Reject, ShardRecord, SplitFolder, write_shard_record
from pose_data.paths import resolve_inside
from pose_data.plan import read_plan_rows
from pose_data.recipes import Recipe
from pose_data.row_kinds import row_maker
from pose_data.shard_file import ShardWriter, encode_chunk

__all__ = ["ShardJob", "make_shard"]

BeforePicture = Callable[[str], None]
BeforeWrite = Callable[[], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardJob:
    """What every shard of one split has in common."""

    split: SplitFolder
    images_root: Path
    recipe: Recipe
    keypoint_indices: tuple[int, ...]
    rows: int
    shard_rows: int
    allow_outside: bool = False
    plan: Path = field(default=Path())
    """Where the plan is; the split's own work folder unless given."""
    persons_a_shard: int = 0
    """Of scenes: the number of persons in the fullest shard."""

    @property
    def shards(self) -> int:
        """Return the number of shards."""
        return -(-self.rows // self.shard_rows)

    @property
    def plan_path(self) -> Path:
        """Return the plan's place."""
        return self.split.plan if self.plan == Path() else self.plan

    def layouts(self) -> tuple[ArrayLayout, ...]:
        """Return the split's arrays."""
        return split_arrays(self.recipe, len(self.keypoint_indices), self.persons_a_shard)


def make_shard(
    job: ShardJob,
    shard: int,
    *,
    before_picture: BeforePicture = lambda name: None,
    before_write: BeforeWrite = lambda: None,
    culprits: Mapping[str, str] | None = None,
    waiting: Waiting = nullcontext,
) -> ShardRecord:
    """Make all files of one shard and its record; return the record.

    ``before_picture`` is called with each picture's file name, ``before_write`` once when all pictures are done
    and nothing stands under its final name yet; both may raise to stop. ``culprits`` (file name → detail) are
    pictures known to crash the decoder: they are rejected unread. ``waiting`` is entered while the thread waits
    for the disk and computes nothing.

    What was written is read back and compared before the record is written: past the page cache, so that it
    comes from the disk. Raises StorageError when the output cannot be written.
    """
    rows = read_plan_rows(job.plan_path, shard)
    with storage_errors("writing a shard", job.split.path):
        maker = _ShardMaker(job, shard, rows, before_picture, culprits or {})
        record = maker.make(before_write, waiting)
        with waiting():
            _read_back(job.split, record)
            write_shard_record(job.split, record)
    return record


def _read_back(split: SplitFolder, record: ShardRecord) -> None:
    for name, written in record.files.items():
        if file_digest(split.path / name, past_cache=True) != written:
            raise StorageError(
                "read-back", "the disk does not give back what was written to it; the shard was not recorded",
                where=str(split.path / name), hint="look at the disk; running the same command again continues",
            )  # fmt: skip


class _ShardMaker:
    def __init__(
        self, job: ShardJob, shard: int, rows: pa.Table, before_picture: BeforePicture, culprits: Mapping[str, str]
    ) -> None:
        self._job, self._shard = job, shard
        self._before_picture, self._culprits = before_picture, culprits
        self._maker = row_maker(
            rows, job.recipe, job.keypoint_indices, persons_a_shard=job.persons_a_shard,
            segmentations=lambda index: rows["segmentation"][index].as_py(),
        )  # fmt: skip
        self._first_row = shard * job.shard_rows
        self._kept = np.ones(len(self._maker.names), np.bool_)
        self._pictures: dict[str, str] = {}
        self._rejects: list[Reject] = []
        self._bad_pictures: list[str] = []
        self._notes: list[tuple[int, str]] = []
        self._decode_buffer = bytearray()
        self._scratch = np.empty((job.recipe.stored_height_px, job.recipe.stored_width_px, 4), np.uint8)

    def make(self, before_write: BeforeWrite, waiting: Waiting) -> ShardRecord:
        layouts = self._job.layouts()
        with AtomicGroup(waiting) as group:
            files = {layout.name: group.open(self._path(layout), large=layout.sharded) for layout in layouts}
            self._write_chunks([layout for layout in layouts if layout.sharded], files)
            columns = self._maker.columns(self._kept)
            for layout in layouts:
                if not layout.sharded:
                    self._write_column(layout, columns[layout.name], files[layout.name])
            before_write()
        return ShardRecord(
            shard=self._shard,
            first_row=self._first_row,
            rows=len(self._kept),
            files={self._name(layout): _written(files[layout.name]) for layout in layouts},
            pictures=self._pictures,
            rejects=tuple(self._rejects),
            bad_pictures=tuple(self._bad_pictures),
            notes=tuple(self._notes),
        )

    def _path(self, layout: ArrayLayout) -> Path:
        return self._job.split.shard_file(layout.name, len(layout.row_shape), self._shard)

    def _name(self, layout: ArrayLayout) -> str:
        return self._path(layout).relative_to(self._job.split.path).as_posix()

    def _write_column(self, layout: ArrayLayout, values: npt.NDArray[Any], file: AtomicFile) -> None:
        padded = np.zeros((layout.places_a_shard(self._job.shard_rows), *layout.row_shape), layout.dtype)
        padded[: len(values)] = values
        for part in encode_chunk(layout, padded):
            file.write(part)

    def _write_chunks(self, sharded: list[ArrayLayout], files: Mapping[str, AtomicFile]) -> None:
        chunk_rows = self._job.recipe.chunk_rows
        writers = {
            layout.name: ShardWriter(layout, chunk_rows, self._job.shard_rows, files[layout.name]) for layout in sharded
        }
        buffers = {layout.name: np.zeros((chunk_rows, *layout.row_shape), layout.dtype) for layout in sharded}
        total = len(self._kept)
        for row in self._drawn_rows(buffers["images"]):
            if (row + 1) % chunk_rows == 0 or row + 1 == total:
                self._finish_chunk(row - row % chunk_rows, row + 1, buffers)
                for name, writer in writers.items():
                    writer.add(buffers[name])
        for writer in writers.values():
            writer.finish()

    def _finish_chunk(self, first: int, end: int, buffers: Mapping[str, npt.NDArray[Any]]) -> None:
        for buffer in buffers.values():
            buffer[end - first :] = 0
        targets = {name: buffer[: end - first] for name, buffer in buffers.items() if name != "images"}
        self._maker.targets(slice(first, end), self._kept[first:end], targets)

    def _drawn_rows(self, images: npt.NDArray[np.uint8]) -> Iterator[int]:
        """Yield each row of the shard once its image, or zeros, stands at its place in ``images``."""
        chunk_rows = len(images)
        names = self._maker.names
        first = 0
        while first < len(names):
            end = first + 1
            while end < len(names) and names[end] == names[first]:
                end += 1
            picture = self._picture(names[first], first, end)
            for row in range(first, end):
                out = images[row % chunk_rows]
                if picture is None or not self._draw(picture, row, out):
                    out[:] = 0
                    self._kept[row] = False
                yield row
            first = end

    def _picture(self, name: str, first: int, end: int) -> Picture | None:
        """Return the decoded picture of rows first … end - 1, or None after rejecting them."""
        self._before_picture(name)
        try:
            if name in self._culprits:
                raise PictureProblem("img-crash", self._culprits[name])
            path = resolve_inside(self._job.images_root, name, allow_outside=self._job.allow_outside)
            data = read_picture(path)
            self._pictures[name] = bytes_digest(data)
            picture = decode_picture(
                data,
                file_name=name,
                expected_wh=self._maker.sizes_wh[first],
                exif=self._job.recipe.exif,
                buffer=self._decode_buffer,
            )
        except PictureProblem as problem:
            self._bad_pictures.append(name)
            for row in range(first, end):
                self._reject(row, problem.code, problem.detail)
            return None
        self._notes += [(self._first_row + row, note) for row in range(first, end) for note in picture.notes]
        return picture

    def _reject(self, row: int, code: str, detail: str) -> None:
        """Leave a row empty; every person of it is rejected."""
        self._kept[row] = False
        persons = int(np.count_nonzero(self._maker.person_row == row))
        self._rejects += [Reject(self._first_row + row, code, detail)] * persons

    def _draw(self, picture: Picture, row: int, out: npt.NDArray[np.uint8]) -> bool:
        try:
            self._maker.draw(picture, row, out, self._scratch)
        except PictureProblem as problem:
            self._reject(row, problem.code, problem.detail)
            return False
        return True


def _written(file: AtomicFile) -> Written:
    if file.written is None:  # cannot happen: its ``with`` ended without an error
        raise AssertionError(file.path)
    return file.written
