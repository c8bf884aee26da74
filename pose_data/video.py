"""Moving pictures: video files, cameras and network streams in, video files out; with ``imaging`` a user of cv2.

Frames are (H, W, 3) uint8 RGB. Files are turned as their container says (OpenCV does that itself).
"""

import math
import os
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

# FFmpeg writes to stderr by itself; what is wrong is told by our errors. It is read when FFmpeg is first used.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_data.atomic import make_folder, remove_file, replace_file, storage_errors
from pose_data.errors import InputError, StorageError

__all__ = ["VIDEO_EXTENSIONS", "VideoFrame", "VideoKind", "VideoReader", "VideoWriter"]

Pixels = NDArray[np.uint8]
VideoKind = Literal["video", "camera", "stream"]

VIDEO_EXTENSIONS = frozenset(
    [".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts", ".webm", ".wmv", ".3gp"]
)
DEFAULT_FPS = 25.0
"""Of a source that does not say how many frames a second it has."""
_HIGHEST_FPS = 1000.0
_OPEN_TIMEOUT_MS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFrame:
    """One frame: its number from 0, its time from the first one, its pixels (H, W, 3) uint8 RGB."""

    number: int
    time_s: float
    pixels: Pixels


class VideoReader:
    """A video file, camera or stream that is open; iterate over it, once. Use as a context manager.

    ``fps`` is what the source says, :data:`DEFAULT_FPS` where it says nothing sensible; ``frame_count`` is 0 where it
    is not known, and a guess of the container's elsewhere.
    """

    def __init__(self, place: str, kind: VideoKind, *, open_timeout_ms: int = _OPEN_TIMEOUT_MS) -> None:
        """Open the source. Raises InputError: ``video-unreadable``, ``camera-absent``, ``stream-unreachable``."""
        self.place, self.kind = place, kind
        self._capture = _opened(place, kind, open_timeout_ms)
        fps = float(self._capture.get(cv2.CAP_PROP_FPS))
        self.fps = fps if math.isfinite(fps) and 0.0 < fps <= _HIGHEST_FPS else DEFAULT_FPS
        count = float(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        # Cameras and streams answer with -1 or with minus the largest whole number.
        self.frame_count = int(count) if kind != "camera" and math.isfinite(count) and 0 < count < 1e9 else 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._capture.release()

    @property
    def endless(self) -> bool:
        """Return whether the source has no end that is known: when it stops, it was lost."""
        return self.kind == "camera" or (self.kind == "stream" and not self.frame_count)

    def __iter__(self) -> Iterator[VideoFrame]:
        number, last_s = 0, -math.inf
        while True:
            there, pixels = self._capture.read()
            if not there or pixels is None or not pixels.size:
                return
            time_s = float(self._capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000.0
            if self.kind == "camera" or not math.isfinite(time_s) or time_s <= last_s:
                # Some containers and all broken ones give no time, or one that stands still.
                time_s = max(number / self.fps, last_s + 0.5 / self.fps)
            last_s = time_s
            yield VideoFrame(number=number, time_s=time_s, pixels=_as_rgb(pixels))
            number += 1


def _silence() -> None:
    """Have OpenCV write nothing to stderr by itself: what is wrong is told by our errors."""
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


def _opened(place: str, kind: VideoKind, open_timeout_ms: int) -> Any:
    _silence()
    if kind == "camera":
        capture = _capture(int(place), cv2.CAP_ANY, [])
        if capture is None:
            raise InputError(
                "camera-absent", f"camera {place} cannot be opened", where=place,
                hint="ls /dev/video*; another program may hold it; cameras count from 0",
            )  # fmt: skip
        return capture
    if kind == "stream":
        timeouts = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, open_timeout_ms),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, open_timeout_ms),
        ]
        capture = _capture(place, cv2.CAP_FFMPEG, timeouts)
        if capture is None:
            raise InputError(
                "stream-unreachable", "the stream cannot be opened", where=place,
                hint=f"is the address right, and is something being sent? {open_timeout_ms / 1000:g} s are waited",
            )  # fmt: skip
        return capture
    path = Path(place)
    if not path.is_file():
        raise InputError("input-missing", "there is no such file", where=place)
    if not path.stat().st_size:
        raise InputError("video-unreadable", "the file is empty (0 bytes)", where=place)
    capture = _capture(place, cv2.CAP_FFMPEG, [])
    if capture is None:
        raise InputError(
            "video-unreadable", "no video that OpenCV's FFmpeg can read is in the file", where=place,
            hint="ffprobe FILE says what it is; an index at its end (moov) is missing where copying was cut off",
        )  # fmt: skip
    return capture


def _capture(place: str | int, api: int, options: list[int]) -> Any | None:
    try:
        capture = cv2.VideoCapture(place, api, options)
    except cv2.error:
        return None
    if not capture.isOpened():
        capture.release()
        return None
    return capture


def _as_rgb(pixels: NDArray[Any]) -> Pixels:
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2).astype(np.uint8, copy=False)
    rgb: Pixels = cv2.cvtColor(pixels[:, :, :3], cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)
    return rgb


class VideoWriter:
    """An MP4 file (MPEG-4 part 2) that appears under its name when it is finished. Use as a context manager.

    Its size is that of the first frame; later ones of another size are fitted into it. OpenCV's own FFmpeg has no
    H.264, for its licence; every player knows this codec, most browsers do not.
    """

    def __init__(self, path: Path, *, fps: float) -> None:
        self.path, self._fps = path, fps
        self._partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex}.partial{path.suffix}")
        self._writer: Any = None
        self._size_wh = (0, 0)
        self.frames = 0

    def __enter__(self) -> Self:
        return self

    def write(self, pixels: Pixels) -> None:
        """Append a frame (H, W, 3) uint8 RGB. Raises StorageError where the file cannot be made."""
        if self._writer is None:
            self._open((pixels.shape[1], pixels.shape[0]))
        if (pixels.shape[1], pixels.shape[0]) != self._size_wh:
            pixels = cv2.resize(pixels, self._size_wh, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        self._writer.write(cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        self.frames += 1

    def _open(self, size_wh: tuple[int, int]) -> None:
        # The codec wants even sides, and no fewer than two pixels.
        self._size_wh = max(2, size_wh[0] // 2 * 2), max(2, size_wh[1] // 2 * 2)
        with storage_errors("writing a video", self.path):
            make_folder(self.path.parent)
        _silence()
        self._writer = cv2.VideoWriter(
            str(self._partial), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"mp4v"), self._fps, self._size_wh
        )
        if not self._writer.isOpened():
            raise StorageError(
                "video-not-writable", f"a video of {self._size_wh[0]} x {self._size_wh[1]} cannot be written",
                where=str(self.path), hint="--no-draw; or is the folder writable?",
            )  # fmt: skip

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        with storage_errors("writing a video", self.path):
            if kind is None and (whole := self._is_whole()):
                replace_file(self._partial, self.path)
            else:
                remove_file(self._partial)
        if kind is None and not whole:
            raise StorageError(
                "video-not-writable", f"not all of a video's {self.frames} frames could be written",
                where=str(self.path), hint="is the disk full?",
            )  # fmt: skip

    def _is_whole(self) -> bool:
        """Return whether the file says that it has all frames: OpenCV does not tell whether it could write them."""
        capture = _capture(str(self._partial), cv2.CAP_FFMPEG, [])
        if capture is None:
            return False
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        return count >= self.frames
