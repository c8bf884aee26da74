"""What a run leaves to look at: a line of JSON for every few steps, TensorBoard where it is installed, pictures."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pose_data.atomic import make_folder, remove_file, remove_tree, storage_errors, write_file
from pose_data.drawing import draw_skeleton
from pose_data.imaging import encode_png
from pose_data.skeleton import Skeleton

__all__ = ["RunLog", "prediction_sheet", "remove_run", "scene_sheet"]

_COLUMNS = 8
_SCENE_COLUMNS = 4
_SHOWN_SCORE = 0.2


class RunLog:
    """Writes ``log.jsonl`` and, where TensorBoard is installed, its events. Use as a context manager."""

    def __init__(self, run: Path, *, writes: bool) -> None:
        self._run, self._writes = run, writes
        self._file: Any = None
        self._board: Any = None

    def __enter__(self) -> "RunLog":
        if self._writes:
            with storage_errors("opening the log", self._run):
                make_folder(self._run)
                self._file = (self._run / "log.jsonl").open("a", encoding="utf-8")
            self._board = _summary_writer(self._run / "tensorboard")
        return self

    def __exit__(self, *_: object) -> None:
        for resource in (self._file, self._board):
            if resource is not None:
                resource.close()

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Add a line, and its numbers to TensorBoard."""
        if not self._writes:
            return
        with storage_errors("writing the log", self._run):
            self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
            self._file.flush()
        if self._board is not None:
            for name, value in values.items():
                if isinstance(value, (int, float)):
                    self._board.add_scalar(f"{kind}/{name}", value, step)

    def picture(self, epoch: int, pixels: npt.NDArray[np.uint8]) -> None:
        """Keep a picture of an epoch's predictions."""
        if not self._writes:
            return
        path = self._run / "pictures" / f"epoch-{epoch:04d}.png"
        with storage_errors("writing a picture", path):
            make_folder(path.parent)
            write_file(path, encode_png(pixels))


def remove_run(run: Path) -> None:
    """Remove what a run left in its folder, so that another one's log, curves and pictures are its own alone.

    Files of other names stay. Raises StorageError.
    """
    with storage_errors("removing the earlier run", run):
        for folder in ("checkpoints", "pictures", "report", "tensorboard"):
            remove_tree(run / folder)
        for file in ("log.jsonl", "config.toml"):
            remove_file(run / file)


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(folder))


def prediction_sheet(
    crops: npt.NDArray[np.uint8], keypoints: npt.NDArray[np.float64], skeleton: Skeleton
) -> npt.NDArray[np.uint8]:
    """Return crops (n, H, W, 3) with skeletons (n, K, 3) x, y, score drawn on, in rows of eight."""
    return _sheet(crops, [points[None] for points in keypoints], skeleton, _COLUMNS, _SHOWN_SCORE)


def scene_sheet(
    pictures: npt.NDArray[np.uint8], persons: Sequence[npt.NDArray[np.float64]], skeleton: Skeleton
) -> npt.NDArray[np.uint8]:
    """Return pictures (n, H, W, 3) with each one's persons (D, K, 3) drawn on, in rows of four."""
    return _sheet(pictures, persons, skeleton, _SCENE_COLUMNS, 0.0)


def _sheet(
    pictures: npt.NDArray[np.uint8], persons: Sequence[npt.NDArray[np.float64]], skeleton: Skeleton, columns: int,
    least_score: float,
) -> npt.NDArray[np.uint8]:  # fmt: skip
    count, height, width = pictures.shape[:3]
    sheet = np.zeros((-(-count // columns) * height, columns * width, 3), np.uint8)
    for number, (picture, found) in enumerate(zip(pictures, persons, strict=True)):
        row, column = divmod(number, columns)
        tile = picture.copy()
        for points in found:
            shown = points.copy()
            shown[:, 2] = np.where(points[:, 2] > least_score, 2.0, 0.0)
            draw_skeleton(tile, shown, skeleton)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    return sheet
