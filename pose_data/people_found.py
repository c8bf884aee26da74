"""The persons that were found in one frame, and the files that they are written to.

Files grow row by row, so that any number of frames fits into memory, and appear under their names when they are
finished; without any person they are valid and empty.
"""

import csv
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pose_data.atomic import AtomicFile, make_folder, storage_errors
from pose_data.media import Frame
from pose_data.skeleton import Skeleton

__all__ = ["FILE_KINDS", "PeopleFiles", "PeopleFound"]

FILE_KINDS = ("json", "csv", "parquet")
_DECIMALS = 3
_ROWS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleFound:
    """A frame's persons. Coordinates are in the frame's pixels, as it was shown (turned by EXIF where that was asked).

    ``track_id`` is None for pictures and where nobody is tracked.
    """

    frame: Frame
    image_id: int
    width_px: int
    height_px: int
    keypoints: npt.NDArray[np.float64]
    """(D, K, 3) x, y and score."""
    score: npt.NDArray[np.float64]
    """(D,)"""
    bbox_xywh: npt.NDArray[np.float64]
    """(D, 4) The box that the person was looked for in."""
    track_id: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        """Return D."""
        return len(self.score)


class _File(Protocol):
    def add(self, found: PeopleFound) -> None: ...
    def finish(self) -> None: ...
    def abandon(self) -> None: ...


class PeopleFiles:
    """The files ``keypoints.json`` (COCO results), ``.csv`` and ``.parquet``, of those asked for, and ``frames.csv``.

    Use as a context manager; leaving without an error finishes the files. Raises StorageError.
    """

    def __init__(self, folder: Path, skeleton: Skeleton, kinds: Sequence[str], *, category_id: int = 1) -> None:
        self._folder, self._skeleton, self._kinds, self._category = folder, skeleton, tuple(kinds), category_id
        self._stack = ExitStack()
        self._files: list[_File] = []
        self.paths: tuple[Path, ...] = ()

    def __enter__(self) -> Self:
        with storage_errors("writing predictions", self._folder):
            make_folder(self._folder)
            names = ["frames.csv", *(f"keypoints.{kind}" for kind in FILE_KINDS if kind in self._kinds)]
            self.paths = tuple(self._folder / name for name in names)
            for path in self.paths:
                self._files.append(self._opened(path))
        return self

    def _opened(self, path: Path) -> _File:
        file = self._stack.enter_context(AtomicFile(path))
        if path.name == "frames.csv":
            return _FramesCsv(file)
        if path.suffix == ".json":
            return _Json(file, self._category)
        return _Csv(file, self._skeleton) if path.suffix == ".csv" else _Parquet(file, self._skeleton)

    def add(self, found: PeopleFound) -> None:
        """Append a frame's persons."""
        with storage_errors("writing predictions", self._folder):
            for file in self._files:
                file.add(found)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with storage_errors("writing predictions", self._folder):
            try:
                if kind is None:
                    for file in self._files:
                        file.finish()
            except BaseException as failure:
                kind, error, trace = type(failure), failure, failure.__traceback__
                raise
            finally:
                if kind is not None:
                    for file in self._files:
                        file.abandon()
                self._stack.__exit__(kind, error, trace)


class _Json:
    def __init__(self, file: AtomicFile, category_id: int) -> None:
        self._file, self._category, self._begun = file, category_id, False

    def add(self, found: PeopleFound) -> None:
        for person in range(len(found)):
            record: dict[str, Any] = {
                "image_id": found.image_id, "category_id": self._category,
                "keypoints": found.keypoints[person].round(_DECIMALS).ravel().tolist(),
                "score": float(found.score[person]), "bbox": found.bbox_xywh[person].round(_DECIMALS).tolist(),
            }  # fmt: skip
            if found.track_id is not None:
                record["track_id"] = int(found.track_id[person])
            self._file.write(((",\n" if self._begun else "[\n") + json.dumps(record)).encode())
            self._begun = True

    def finish(self) -> None:
        self._file.write(b"\n]\n" if self._begun else b"[]\n")

    def abandon(self) -> None:
        """Nothing is held."""


class _CsvWriter:
    """Rows of CSV into a file of bytes; what could be taken for a formula by a spreadsheet begins with a quote."""

    def __init__(self, file: AtomicFile, header: Sequence[str]) -> None:
        self._file = file
        self.write(header)

    def write(self, row: Sequence[object]) -> None:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerow([_cell(value) for value in row])
        self._file.write(text.getvalue().encode("utf-8", "backslashreplace"))


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.3f}"
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


class _FramesCsv:
    def __init__(self, file: AtomicFile) -> None:
        names = ("image_id", "source", "frame", "time_s", "width_px", "height_px", "persons", "code", "detail")
        self._rows = _CsvWriter(file, names)

    def add(self, found: PeopleFound) -> None:
        frame = found.frame
        self._rows.write([
            found.image_id, frame.source.name, frame.number, float(frame.time_s), found.width_px, found.height_px,
            len(found), frame.code, frame.detail,
        ])  # fmt: skip

    def finish(self) -> None:
        """Nothing follows the last row."""

    def abandon(self) -> None:
        """Nothing is held."""


class _Csv:
    def __init__(self, file: AtomicFile, skeleton: Skeleton) -> None:
        parts = [f"{name}_{part}" for name in skeleton.names for part in ("x", "y", "score")]
        self._rows = _CsvWriter(file, [*_PERSON_COLUMNS, *parts])

    def add(self, found: PeopleFound) -> None:
        for person in range(len(found)):
            track = "" if found.track_id is None else int(found.track_id[person])
            self._rows.write([
                found.image_id, found.frame.source.name, found.frame.number, float(found.frame.time_s), track,
                float(found.score[person]), *found.bbox_xywh[person].tolist(),
                *found.keypoints[person].ravel().tolist(),
            ])  # fmt: skip

    def finish(self) -> None:
        """Nothing follows the last row."""

    def abandon(self) -> None:
        """Nothing is held."""


_PERSON_COLUMNS = (
    "image_id", "source", "frame", "time_s", "track_id", "score", "box_x", "box_y", "box_width", "box_height",
)  # fmt: skip


class _Parquet:
    def __init__(self, file: AtomicFile, skeleton: Skeleton) -> None:
        self._schema = pa.schema(
            [
                pa.field("image_id", pa.int64(), nullable=False),
                pa.field("source", pa.string(), nullable=False),
                pa.field("frame", pa.int64(), nullable=False),
                pa.field("time_s", pa.float64(), nullable=False),
                pa.field("track_id", pa.int64()),
                pa.field("score", pa.float64(), nullable=False),
                pa.field("bbox_xywh", pa.list_(pa.float64(), 4), nullable=False),
                pa.field("keypoints", pa.list_(pa.float64(), 3 * skeleton.keypoint_count), nullable=False),
            ],
            metadata={"keypoint_names": json.dumps(skeleton.names), "keypoints": "x, y, score of each, in pixels"},
        )
        self._out = _Writable(file)
        self._sink = pa.PythonFile(self._out, mode="w")
        self._writer = pq.ParquetWriter(self._sink, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, found: PeopleFound) -> None:
        self._rows += _parquet_rows(found)
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows = []

    def finish(self) -> None:
        if self._rows:
            self._flush()
        self._writer.close()
        self._sink.close()

    def abandon(self) -> None:
        """Close Arrow's writer, which would otherwise write once more when it is collected."""
        self._out.deaf = True
        self._writer.close()
        self._sink.close()


def _parquet_rows(found: PeopleFound) -> Iterator[dict[str, Any]]:
    for person in range(len(found)):
        yield {
            "image_id": found.image_id, "source": found.frame.source.name, "frame": found.frame.number,
            "time_s": found.frame.time_s, "score": float(found.score[person]),
            "track_id": None if found.track_id is None else int(found.track_id[person]),
            "bbox_xywh": found.bbox_xywh[person].tolist(), "keypoints": found.keypoints[person].ravel().tolist(),
        }  # fmt: skip


class _Writable(io.RawIOBase):
    """What Arrow writes to: an AtomicFile, which is finished by its owner."""

    def __init__(self, file: AtomicFile) -> None:
        super().__init__()
        self._file = file
        self.deaf = False

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._file.size_bytes

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        if not self.deaf:
            self._file.write(view)
        return len(view)
