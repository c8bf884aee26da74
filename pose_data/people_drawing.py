"""Persons drawn on pictures and videos: skeletons coloured by side, boxes, scores and ids."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from pose_data.atomic import make_folder, storage_errors, write_file
from pose_data.drawing import Colour, draw_corners, draw_label, draw_skeleton
from pose_data.imaging import encode_jpeg
from pose_data.people_found import PeopleFound
from pose_data.skeleton import Skeleton
from pose_data.video import VideoWriter

__all__ = ["DrawnFiles", "draw_people"]

_JPEG_QUALITY = 92
_FEWEST_UNIT, _MOST_UNIT = 0.45, 6.0
# Far apart in hue, told apart by most people with a colour deficiency (Okabe and Ito's, lightened).
_TRACK_COLOURS: tuple[Colour, ...] = (
    (240, 228, 66), (86, 220, 170), (230, 120, 180), (120, 200, 255), (255, 160, 90), (190, 170, 255), (170, 230, 90),
    (255, 205, 205),
)  # fmt: skip
_PLAIN: Colour = (240, 240, 240)

Pixels = npt.NDArray[np.uint8]


def draw_people(pixels: Pixels, found: PeopleFound, skeleton: Skeleton, *, least_score: float) -> Pixels:
    """Return a copy of the frame's pixels with its persons drawn, the best last.

    A keypoint is filled from ``least_score`` on, a ring from half of it on, and below that not drawn.
    """
    drawn = np.array(pixels[:, :, :3], np.uint8, order="C")
    screen = max(drawn.shape[:2]) / 640.0
    for person in np.argsort(found.score, kind="stable").tolist():
        keypoints = found.keypoints[person].copy()
        score = keypoints[:, 2]
        keypoints[:, 2] = np.where(score >= least_score, 2, np.where(score >= least_score / 2, 1, 0))
        box = found.bbox_xywh[person]
        # Small persons get thinner lines, or they would be nothing but lines.
        unit = screen * float(np.clip(np.sqrt(box[2] * box[3]) / (120.0 * screen), 0.5, 1.0))
        unit = float(np.clip(unit, _FEWEST_UNIT, _MOST_UNIT))
        colour = _PLAIN if found.track_id is None else _colour_of(int(found.track_id[person]))
        whole = bool((box[2:] >= 0.98 * np.array([found.width_px, found.height_px])).all())
        if not whole:
            draw_corners(drawn, box.tolist(), colour, max(1, round(unit)))
        draw_skeleton(drawn, keypoints, skeleton, unit=unit)
        text = f"{found.score[person]:.2f}"
        text = text if found.track_id is None else f"{int(found.track_id[person])}  {text}"
        corner = (0.0, 0.0) if whole else (float(box[0]), float(box[1]))
        draw_label(drawn, corner, text, colour=colour, size_px=float(np.clip(13.0 * unit, 9.0, 60.0)))
    return drawn


def _colour_of(track_id: int) -> Colour:
    return _TRACK_COLOURS[(track_id - 1) % len(_TRACK_COLOURS)]


class DrawnFiles:
    """Drawn pictures (JPEG) and videos (MP4) in a folder, named after their sources. Use as a context manager."""

    def __init__(self, folder: Path, skeleton: Skeleton, *, least_score: float) -> None:
        self._folder, self._skeleton, self._least = folder, skeleton, least_score
        self._stack = ExitStack()
        self._video: VideoWriter | None = None
        self._of = ""
        self.paths: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def add(self, found: PeopleFound) -> Pixels | None:
        """Draw a frame and write it; return what was drawn, None for a frame that could not be read."""
        frame = found.frame
        if frame.pixels is None:
            return None
        drawn = draw_people(frame.pixels, found, self._skeleton, least_score=self._least)
        if frame.source.moving:
            self._video_of(found).write(drawn)
        else:
            path = (self._folder / frame.source.name).with_suffix(".jpg")
            with storage_errors("writing a drawn picture", path):
                make_folder(path.parent)
                write_file(path, encode_jpeg(drawn, _JPEG_QUALITY))
            self.paths.append(path)
        return drawn

    def _video_of(self, found: PeopleFound) -> VideoWriter:
        if self._video is None or self._of != found.frame.source.name:
            self._stack.close()
            path = (self._folder / found.frame.source.name).with_suffix(".mp4")
            self._video = self._stack.enter_context(VideoWriter(path, fps=found.frame.fps or 25.0))
            self._of = found.frame.source.name
            self.paths.append(path)
        return self._video

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
