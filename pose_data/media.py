"""What is named as input: pictures, folders, patterns, video files, a camera, a stream; and the frames in them."""

import glob
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from pose_data.errors import InputError, UsageError
from pose_data.imaging import DEFAULT_MAX_PIXELS, ExifRule, PictureProblem, decode_picture, read_picture
from pose_data.picture_probe import kind_of_name
from pose_data.video import VIDEO_EXTENSIONS, VideoKind, VideoReader

__all__ = ["Frame", "Source", "find_sources", "frames_of_sources", "numbered_pictures"]

_STREAM = re.compile(r"(rtsps?|rtmps?|https?|udp|tcp|srt)://", re.IGNORECASE)
_CAMERA = re.compile(r"(?:camera:)?(\d{1,4})")
_LONGEST_SIDE_PX = 32_766
"""OpenCV's warp takes no longer sides than 16 bits."""
_RECONNECT_WAIT_S = 1.0
_LEAST_MISSING_S, _LEAST_MISSING_SHARE = 1.5, 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One input: ``place`` is a path, a camera's number or an address, ``name`` what its outputs are named after.

    ``name`` is relative, with ``/``, and different for each source of a list.
    """

    kind: Literal["picture", "video", "camera", "stream"]
    place: str
    name: str

    @property
    def moving(self) -> bool:
        """Return whether the source has frames that follow each other."""
        return self.kind != "picture"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A picture, or a frame of a moving source, or what was wrong with it (then ``pixels`` is None).

    ``pixels`` (H, W, 3) uint8 RGB; ``number`` from 0 inside its source; ``time_s`` from the source's first frame.
    """

    source: Source
    number: int = 0
    time_s: float = 0.0
    fps: float = 0.0
    pixels: npt.NDArray[np.uint8] | None = None
    padded: npt.NDArray[np.uint8] | None = None
    """The same pixels with an unused fourth channel, where the decoder made them so; see ``imaging.Picture``."""
    live: bool = False
    """Of a camera or stream: it does not wait, and the newest frame counts."""
    expected: int = 0
    """How many frames the source says it has; 0 where it does not know."""
    read_at_s: float = 0.0
    """When it had been read and decoded, on the clock of ``time.perf_counter``."""
    code: str = ""
    detail: str = ""

    @property
    def to_warp(self) -> npt.NDArray[np.uint8] | None:
        """Return what ``imaging.warp_crop`` is to be given, None where there are no pixels."""
        return self.pixels if self.padded is None else self.padded

    def without_pixels(self) -> "Frame":
        """Return the frame's facts alone."""
        return replace(self, pixels=None, padded=None)


def find_sources(inputs: Sequence[str | Path], *, leave_out: Path | None = None) -> list[Source]:
    """Return every source that the inputs name, in their order, folders and patterns sorted.

    A whole number that is no file's name is a camera. Folders are searched to the bottom for pictures and videos by
    their extensions; what lies in the folder ``leave_out`` is passed over. Raises InputError where nothing is there,
    UsageError where a camera or stream is not alone.
    """
    found: list[tuple[Literal["picture", "video", "camera", "stream"], str, str]] = []
    for text in map(str, inputs):
        found += [one for one in _sources_of(text) if leave_out is None or not _inside(one, leave_out)]
    if len(found) > 1 and any(kind in ("camera", "stream") for kind, _, _ in found):
        raise UsageError(
            "option-conflict", "a camera or stream must be the only input", hint="start one posetrain predict for each"
        )
    if not found:
        raise UsageError("no-input", "no input was named", hint="a picture, folder, video, camera or stream")
    taken: dict[str, int] = {}
    return [Source(kind=kind, place=place, name=_fresh(name, taken)) for kind, place, name in found]


def _sources_of(text: str) -> list[tuple[Literal["picture", "video", "camera", "stream"], str, str]]:
    if _STREAM.match(text):
        return [("stream", text, "stream")]
    path = Path(text)
    try:
        if path.is_dir():
            inside = sorted(entry for entry in path.rglob("*") if _by_name(entry) and entry.is_file())
            if not inside:
                raise InputError("input-missing", "no picture or video is in the folder", where=text)
            return [(_by_name(entry) or "picture", str(entry), entry.relative_to(path).as_posix()) for entry in inside]
        there = path.exists()
    except (OSError, ValueError) as error:
        raise InputError("input-missing", f"the input cannot be looked at: {error}", where=ascii(text)) from error
    if there:
        return [(_by_name(path) or "picture", text, path.name)]
    if camera := _CAMERA.fullmatch(text):
        return [("camera", camera[1], f"camera-{camera[1]}")]
    # pathlib globs below a folder only; a pattern may begin at the root.
    matches = sorted(glob.glob(text, recursive=True)) if glob.has_magic(text) else []  # noqa: PTH207
    files = [Path(match) for match in matches if Path(match).is_file()]
    if not files:
        raise InputError(
            "input-missing", "no such file, folder or pattern", where=text,
            hint="a picture, a folder, a pattern in quotes, a video, a camera's number, or an address",
        )  # fmt: skip
    return [(_by_name(entry) or "picture", str(entry), entry.name) for entry in files]


def _inside(found: tuple[str, str, str], folder: Path) -> bool:
    return found[0] in ("picture", "video") and Path(found[1]).resolve().is_relative_to(folder.resolve())


def _by_name(path: Path) -> Literal["picture", "video"] | None:
    if path.suffix.lower() in VIDEO_EXTENSIONS:
        return "video"
    return "picture" if kind_of_name(path.name) else None


def _fresh(name: str, taken: dict[str, int]) -> str:
    """Return the name, with a number where an earlier source has it already, or would once it is drawn."""
    path = Path(name)
    key = path.with_suffix("").as_posix().casefold()
    taken[key] = taken.get(key, 0) + 1
    if taken[key] == 1:
        return name
    numbered = path.with_name(f"{path.stem}-{taken[key]}{path.suffix}").as_posix()
    return _fresh(numbered, taken)


def numbered_pictures(sources: Sequence[Source]) -> dict[str, int] | None:
    """Return each picture's number where all sources are pictures with different whole numbers as names, as COCO's.

    Place → number; None where not all of them are.
    """
    numbers: dict[str, int] = {}
    for source in sources:
        stem = Path(source.place).stem
        if source.kind != "picture" or not (stem.isascii() and stem.isdigit()) or len(stem) > 18:
            return None
        numbers[source.place] = int(stem)
    return numbers if len(set(numbers.values())) == len(sources) else None


def frames_of_sources(
    sources: Sequence[Source],
    *,
    exif: ExifRule = "apply",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    reconnects: int = 3,
    reconnect_wait_s: float = _RECONNECT_WAIT_S,
) -> Iterator[Frame]:
    """Yield the frames of all sources, one after another; what cannot be read is a frame without pixels.

    A stream that was lost is opened again up to ``reconnects`` times in a row, after 1, 2, 4 … times
    ``reconnect_wait_s``; then it has ended, with a last frame of the code ``source-lost``.
    """
    for source in sources:
        if source.kind == "picture":
            yield _picture(source, exif, max_pixels)
        else:
            yield from _moving(source, source.kind, max_pixels, reconnects, reconnect_wait_s)


def _picture(source: Source, exif: ExifRule, max_pixels: int) -> Frame:
    path = Path(source.place)
    try:
        picture = decode_picture(
            read_picture(path), file_name=path.name, expected_wh=None, exif=exif, max_pixels=max_pixels
        )
    except PictureProblem as problem:
        return Frame(source=source, code=problem.code, detail=problem.detail)
    if max(picture.pixels.shape[:2]) > _LONGEST_SIDE_PX:
        detail = f"a side of {max(picture.pixels.shape[:2])} pixels; the limit is {_LONGEST_SIDE_PX}"
        return Frame(source=source, code="img-too-large", detail=detail)
    return Frame(source=source, pixels=picture.pixels, padded=picture.padded, read_at_s=time.perf_counter(), expected=1)


def _cut_off(reader: VideoReader, last_s: float) -> InputError | None:
    """Return what is to be said where a file's frames end long before the time that the file says it lasts.

    That time may be a guess, or the sound's: a tenth less, or a second, is nothing.
    """
    lasts_s = reader.frame_count / reader.fps
    if lasts_s - last_s <= max(_LEAST_MISSING_S, _LEAST_MISSING_SHARE * lasts_s):
        return None
    return InputError("video-cut", f"the file says that it lasts {lasts_s:.1f} s, and its frames end at {last_s:.1f} s")


def _moving(
    source: Source, kind: VideoKind, max_pixels: int, reconnects: int, reconnect_wait_s: float
) -> Iterator[Frame]:
    number, tries, began_s, last_s = 0, 0, 0.0, 0.0
    while True:
        live = False
        try:
            with VideoReader(source.place, kind) as reader:
                live = reader.endless
                for frame in reader:
                    if frame.pixels.shape[0] * frame.pixels.shape[1] > max_pixels:
                        yield Frame(source=source, number=number, code="img-too-large", detail="a frame too large")
                        return
                    now_s = time.perf_counter()
                    if number == 0:
                        began_s = now_s
                    yield Frame(
                        source=source, number=number, time_s=now_s - began_s if live else frame.time_s, fps=reader.fps,
                        pixels=frame.pixels, live=live, expected=reader.frame_count, read_at_s=now_s,
                    )  # fmt: skip
                    number, tries, last_s = number + 1, 0, frame.time_s
                if number and not live and (cut := _cut_off(reader, last_s)):
                    yield Frame(source=source, number=number, code=cut.code, detail=cut.message)
            if not number:
                raise InputError("video-empty", "not one frame can be read")
        except InputError as error:
            if not number:
                yield Frame(source=source, code=error.code, detail=error.message)
                return
            live = True
        if not live:
            return
        if tries >= reconnects:
            lost = InputError("source-lost", f"lost after {number} frames, and not found again")
            yield Frame(source=source, number=number, code=lost.code, detail=lost.message)
            return
        time.sleep(reconnect_wait_s * 2**tries)
        tries += 1
