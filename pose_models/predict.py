"""A run's network on pictures, folders, videos, a camera or a stream: keypoints in files, and drawn."""

import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import islice, takewhile
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from pose_data.earlier_predictions import earlier_files, remove_all_but
from pose_data.errors import InputError, UsageError
from pose_data.events import Event, Listener, silent
from pose_data.frame_queue import Ahead, Behind
from pose_data.geometry import boxes_from_keypoints
from pose_data.imaging import DEFAULT_MAX_PIXELS, single_threaded
from pose_data.live_view import open_live_view
from pose_data.media import Frame, Source, find_sources, frames_of_sources
from pose_data.people_drawing import DrawnFiles, draw_people
from pose_data.people_found import FILE_KINDS, PeopleFiles, PeopleFound
from pose_data.smoothing import Smoothing
from pose_data.tracking import Tracker, Tracking
from pose_models.detector import Detector
from pose_models.devices import taking_part
from pose_models.estimator import Estimator, open_estimator
from pose_models.frame_batches import BatchOptions, people_in_frames
from pose_models.person_boxes import FileBoxes, ImageNumbers, PersonFinder, WholePicture

__all__ = ["SAVED", "PredictReport", "predict"]

SAVED = (*FILE_KINDS, "drawn")
_AHEAD_BYTES = 128_000_000
_BEHIND_BYTES = 128_000_000
_TELL_EVERY_S = 0.2
_KEPT_LATENCIES = 4096
_DETECTOR_LEAST_SCORE = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictReport:
    """What was predicted, and how fast."""

    out: Path
    network: str
    boxes: str
    """``whole``, the detections file's name, or ``no`` for a network of whole pictures."""
    frames: int
    """Read and looked at."""
    persons: int
    tracks: int
    """Different persons followed through moving pictures."""
    seconds: float
    frames_per_s: float
    latency_ms: Mapping[str, float]
    """Percentiles p50, p95 and p99 from a frame's being read to its persons, of the last few thousand frames."""
    dropped: int
    """Frames of a camera or stream that were passed over for newer ones."""
    problems: Mapping[str, int]
    """How many inputs could not be read, by code; ``frames.csv`` names them."""
    files: tuple[Path, ...]
    drawn: int
    """Drawn pictures and videos, in ``drawn/``."""


def predict(
    run: str | Path,
    inputs: Sequence[str | Path],
    *,
    out: str | Path,
    boxes: str = "whole",
    detector: str | Path | None = None,
    person_class: int | None = None,
    annotations: str | Path | None = None,
    save: Sequence[str] = ("json", "csv", "drawn"),
    track: bool = True,
    smooth: bool = True,
    flip_test: bool = False,
    checkpoint: Literal["best", "last"] = "best",
    least_box_score: float | None = None,
    least_keypoint_score: float | None = None,
    nms_threshold: float = 0.9,
    exif: Literal["auto", "apply", "ignore"] = "auto",
    max_pixels: int = DEFAULT_MAX_PIXELS,
    max_frames: int | None = None,
    batch_size: int = 32,
    device: str = "auto",
    amp: Literal["off", "bf16", "fp16"] = "off",
    overwrite: bool = False,
    show: bool = False,
    on_event: Listener = silent,
) -> PredictReport:
    """Find the keypoints of the persons in ``inputs`` and write them to the folder ``out``.

    ``boxes``: ``whole`` (one person in each picture), or a COCO detections file; or ``detector``, an ONNX file of one
    of the layouts of :mod:`pose_data.detector_layouts`, with ``person_class`` where its classes are not COCO's. Boxes
    below ``least_box_score`` are not looked at (a detector's: 0.3 unless given). ``save``: what is written of
    :data:`SAVED`. ``exif``: ``auto`` turns pictures by their EXIF orientation, unless boxes come from a file: those are
    of the stored pixels, as COCO's are. ``run`` is a run's folder or a file of ``posetrain export --format onnx``.
    ``show`` opens a window or a page with the live picture; ending it there ends the prediction.
    ``least_keypoint_score``: None takes that of the network's conventions. Persons of moving pictures are followed
    (``track``) and their keypoints smoothed (``smooth``). Memory does not depend on how many frames there are. An
    interrupt finishes the files of what is done, and is raised again. Raises ModelError, InputError, UsageError,
    StorageError.
    """
    folder = Path(out)
    _check(folder, save, overwrite)
    sources = find_sources(inputs, leave_out=folder)
    finder = _finder(boxes, detector, person_class, least_box_score, device)
    numbers = ImageNumbers(
        sources, Path(annotations) if annotations else None, must_be_known=isinstance(finder, FileBoxes)
    )
    if isinstance(finder, FileBoxes):
        finder.require_any(numbers.of_pictures)
    tracking = Tracking(smoothing=Smoothing() if smooth else None) if track else None
    frames = frames_of_sources(
        sources,
        exif=exif if exif != "auto" else ("ignore" if isinstance(finder, FileBoxes) else "apply"),
        max_pixels=max_pixels,
    )
    with taking_part(device) as place:
        estimator = open_estimator(
            Path(run), checkpoint=checkpoint, device=place.device, flip_test=flip_test, amp=amp,
            say=lambda text: on_event(Event(kind="note", stage="predict", text=text)),
        )  # fmt: skip
        least = estimator.conventions.least_score if least_keypoint_score is None else least_keypoint_score
        options = BatchOptions(
            batch_size=batch_size, nms_threshold=nms_threshold, least_keypoint_score=least,
            each_frame=show, keep_pixels=show or "drawn" in save,
        )  # fmt: skip
        job = _Job(estimator, finder, numbers, options, tracking, sources, on_event)
        written = job.run(frames, folder, save, max_frames, show=show)
    return job.report(folder, boxes if detector is None else Path(detector).name, written)


def _finder(
    boxes: str, detector: str | Path | None, person_class: int | None, least_score: float | None, device: str
) -> PersonFinder:
    if detector is not None and boxes != "whole":
        raise UsageError("option-conflict", "boxes come from a file or from a detector", hint="leave one of them out")
    if detector is not None:
        least = _DETECTOR_LEAST_SCORE if least_score is None else least_score
        return Detector(Path(detector), least_score=least, person_class=person_class, device=device)
    return WholePicture() if boxes == "whole" else FileBoxes(Path(boxes), least_score=least_score or 0.0)


def _check(folder: Path, save: Sequence[str], overwrite: bool) -> None:
    unknown = [kind for kind in save if kind not in SAVED]
    if unknown:
        raise UsageError("option-value", f"nothing is saved as {unknown[0]!r}", hint=f"of: {', '.join(SAVED)}")
    if folder.exists() and not folder.is_dir():
        raise UsageError("output-exists", "the output is a file, not a folder", where=str(folder))
    if (folder / "frames.csv").exists() and not overwrite:
        raise UsageError(
            "output-exists", "there are predictions already", where=str(folder), hint="--overwrite, or another --out"
        )


@dataclass(slots=True)
class _Written:
    files: tuple[Path, ...] = ()
    drawn: int = 0


@dataclass(slots=True)
class _Counts:
    frames: int = 0
    persons: int = 0
    dropped: int = 0
    began_s: float = 0.0
    ended_s: float = 0.0
    problems: Counter[str] = field(default_factory=Counter)
    first_problem: Frame | None = None
    latencies_s: deque[float] = field(default_factory=lambda: deque(maxlen=_KEPT_LATENCIES))


class _Job:
    """One prediction: a thread reads ahead, this one computes, a third writes and draws."""

    def __init__(
        self, estimator: Estimator, finder: PersonFinder, numbers: ImageNumbers, options: BatchOptions,
        tracking: Tracking | None, sources: Sequence[Source], on_event: Listener,
    ) -> None:  # fmt: skip
        if estimator.conventions.grouping and not isinstance(finder, WholePicture):
            raise UsageError("option-conflict", f"{estimator.name} sees whole pictures and takes no boxes")
        self._estimator, self._finder, self._numbers, self._options = estimator, finder, numbers, options
        self._followed = _Followed(tracking, estimator.conventions.people_skeleton.sigmas, options.least_keypoint_score)
        self._sources, self._on_event = sources, on_event
        self._counts, self._told_s = _Counts(), 0.0

    def run(
        self, frames: Iterator[Frame], folder: Path, save: Sequence[str], max_frames: int | None, *, show: bool
    ) -> _Written:
        """Do it; whatever ends it early, an interrupt too, leaves whole files of what was done."""
        skeleton = self._estimator.conventions.people_skeleton
        written, counts, earlier = _Written(), self._counts, earlier_files(folder)
        interrupt: KeyboardInterrupt | None = None
        with ExitStack() as stack:
            # Reading, computing and drawing have threads of their own; OpenCV's would only be in their way.
            stack.enter_context(single_threaded())
            files = stack.enter_context(PeopleFiles(folder, skeleton, [kind for kind in save if kind != "drawn"]))
            drawn, least = None, self._options.least_keypoint_score
            if "drawn" in save:
                drawn = stack.enter_context(DrawnFiles(folder / "drawn", skeleton, least_score=least))
            view = stack.enter_context(open_live_view()) if show else None
            if view is not None:
                self._on_event(Event(kind="note", stage="predict", text=f"the live picture: {view.where}"))

            def write(found: PeopleFound) -> None:
                files.add(found)
                picture = drawn.add(found) if drawn is not None else None
                if view is not None and found.frame.pixels is not None:
                    if picture is None:
                        picture = draw_people(found.frame.pixels, found, skeleton, least_score=least)
                    view.show(picture)

            behind = stack.enter_context(Behind(write, weight=_found_bytes, limit=_BEHIND_BYTES))
            ahead = stack.enter_context(
                Ahead(frames, weight=_frame_bytes, limit=_AHEAD_BYTES, droppable=lambda frame: frame.live)
            )
            counts.began_s = time.perf_counter()
            self._begin()
            try:
                wanted = takewhile(lambda frame: view is None or not view.stopped, islice(ahead, max_frames))
                for found in people_in_frames(wanted, self._finder, self._estimator, self._numbers.of, self._options):
                    behind.put(self._noted(self._followed(found)))
            except KeyboardInterrupt as stop:
                interrupt = stop
            counts.ended_s, counts.dropped = time.perf_counter(), ahead.dropped
            ended = interrupt is not None or (view is not None and view.stopped)
            if not counts.frames and not ended:
                raise _nothing(counts)
            written.files = files.paths
        drawings = drawn.paths if drawn is not None else []
        written.drawn = len(drawings)
        remove_all_but(earlier, [*written.files, *drawings])
        if interrupt is not None:
            raise interrupt
        return written

    def _begin(self) -> None:
        total = len(self._sources) if not any(source.moving for source in self._sources) else 0
        self._on_event(Event(kind="stage", stage="predict", total=total, text=f"{len(self._sources)} inputs"))

    def _noted(self, found: PeopleFound) -> PeopleFound:
        counts, frame = self._counts, found.frame
        if frame.code:
            counts.problems[frame.code] += 1
            counts.first_problem = counts.first_problem or frame
            text = f"{frame.source.place}: {frame.detail}"
            self._on_event(Event(kind="note", stage="predict", text=text, data={"code": frame.code}))
            return found
        now_s = time.perf_counter()
        counts.frames += 1
        counts.persons += len(found)
        counts.latencies_s.append(now_s - frame.read_at_s)
        if now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            total = frame.expected if len(self._sources) == 1 else len(self._sources)
            done = frame.number + 1 if len(self._sources) == 1 else counts.frames + sum(counts.problems.values())
            data = {"persons": counts.persons, "latency_ms": round(1000 * counts.latencies_s[-1], 1)}
            known = total if len(self._sources) == 1 or not frame.source.moving else 0
            self._on_event(Event(kind="progress", stage="predict", done=done, total=known, data=data))
        return found

    def report(self, folder: Path, boxes: str, written: _Written) -> PredictReport:
        """Return the report of a finished job."""
        counts = self._counts
        seconds = max(counts.ended_s - counts.began_s, 1e-9)
        latencies = np.array(counts.latencies_s) * 1000.0
        percentiles = np.percentile(latencies, [50, 95, 99]) if len(latencies) else np.zeros(3)
        looked_in = boxes if boxes == "whole" else Path(boxes).name
        return PredictReport(
            out=folder, network=self._estimator.name,
            boxes="no" if self._estimator.conventions.grouping else looked_in, frames=counts.frames,
            persons=counts.persons, tracks=self._followed.count, seconds=seconds,
            frames_per_s=counts.frames / seconds, dropped=counts.dropped, problems=dict(counts.problems),
            latency_ms=dict(zip(("p50", "p95", "p99"), percentiles.tolist(), strict=True)),
            files=written.files, drawn=written.drawn,
        )  # fmt: skip


def _nothing(counts: _Counts) -> InputError:
    first = counts.first_problem
    if first is None:
        return InputError("video-empty", "there was not one frame")
    if sum(counts.problems.values()) == 1:
        return InputError(first.code, first.detail, where=first.source.place)
    return InputError(
        "nothing-readable", f"none of {sum(counts.problems.values())} inputs can be read; the first: {first.detail}",
        where=first.source.place,
    )  # fmt: skip


class _Followed:
    """Gives persons of moving pictures their ids; ids are never used twice, not in another video either."""

    def __init__(self, options: Tracking | None, sigmas: tuple[float, ...], least_score: float) -> None:
        self._options = replace(options, least_score=least_score) if options else None
        self._sigmas = sigmas
        self._tracker: Tracker | None = None
        self._source = ""

    @property
    def count(self) -> int:
        return self._tracker.next_id - 1 if self._tracker else 0

    def __call__(self, found: PeopleFound) -> PeopleFound:
        frame = found.frame
        if self._options is None or not frame.source.moving or frame.code:
            return found
        if self._tracker is None or self._source != frame.source.name:
            self._tracker = Tracker(self._options, self._sigmas, first_id=self.count + 1)
            self._source = frame.source.name
        area = _areas(found, self._options.least_score)
        ids, keypoints = self._tracker.follow(found.keypoints, area, frame.time_s)
        return replace(found, keypoints=keypoints, track_id=ids)


def _areas(found: PeopleFound, least_score: float) -> npt.NDArray[np.float64]:
    """Return each person's area: of the box around its keypoints, but no less than a tenth of the box it was found in.

    With ``whole`` the latter is the picture's, in which everybody would be like everybody.
    """
    flags = np.concatenate([found.keypoints[..., :2], found.keypoints[..., 2:] >= least_score], axis=2)
    tight = boxes_from_keypoints(flags)
    own = tight[:, 2] * tight[:, 3]
    box = found.bbox_xywh[:, 2] * found.bbox_xywh[:, 3]
    area: npt.NDArray[np.float64] = np.clip(own, 0.1 * box, box)
    return area


def _frame_bytes(frame: Frame) -> int:
    return frame.to_warp.nbytes if frame.to_warp is not None else 0


def _found_bytes(found: PeopleFound) -> int:
    return _frame_bytes(found.frame) + found.keypoints.nbytes
