"""``posedata check``: read a data set as a preparation would, decode every picture it needs, write nothing."""

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.parallel import in_threads
from pipelines.picture_check import Need, PictureLooker, Seen
from pipelines.reading import InputLimits, count_values, problem_examples
from pose_data.errors import PROBLEMS, InputError, PoseError, UsageError
from pose_data.events import Event, Listener, silent
from pose_data.formats import READERS
from pose_data.formats.coco import AnnotationSet
from pose_data.formats.coco_folder import CocoSplit, find_coco
from pose_data.recipes import Recipe, build_recipe
from pose_data.selection import select_packed, table_boxes

__all__ = ["CheckReport", "InputStatistics", "SplitChecked", "check"]

_EXAMPLES = 3
_BATCH_PICTURES = 16
_PROGRESS_S = 0.1
_NEEDED_COLUMNS = (
    "annotation_id", "file_name", "image_width_px", "image_height_px", "box_xywh", "keypoints", "notes", "segmentation",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class InputStatistics:
    """What the kept persons of a split look like.

    ``box_width_px`` and ``box_height_px``: the 5th, 50th and 95th percentile. ``labelled`` and ``visible``: keypoint
    name → share of the persons in which its flag is above 0, or 2.
    """

    persons_a_picture: float
    most_persons_a_picture: int
    box_width_px: tuple[float, ...]
    box_height_px: tuple[float, ...]
    keypoints_a_person: float
    labelled: Mapping[str, float]
    visible: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitChecked:
    """What was found in one split; ``annotations = kept + rejected`` unless ``fatal``.

    ``codes``: code → rejected persons; ``notes``: code → persons, or records of the file. ``fatal``: the error that a
    preparation of this split would end with.
    """

    split: str
    annotations: int = 0
    kept: int = 0
    rejected: int = 0
    pictures: int = 0
    pictures_bad: int = 0
    codes: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    statistics: InputStatistics | None = None
    fatal: PoseError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckReport:
    """What a check found in all splits."""

    splits: tuple[SplitChecked, ...]
    seconds: float

    @property
    def usable(self) -> bool:
        """Return whether a preparation with the same options would get through; else the exit code is 3."""
        return all(part.fatal is None for part in self.splits)


def check(
    *,
    root: Path | None = None,
    splits: Sequence[str] = (),
    annotations: Path | None = None,
    images: Path | None = None,
    recipe: Recipe | None = None,
    workers: int = 2,
    max_bad: float = 0.01,
    allow_outside: bool = False,
    forbid_leak: bool = False,
    max_annotation_bytes: int = InputLimits().max_annotation_bytes,
    picture_timeout_s: float = 60.0,
    on_event: Listener = silent,
) -> CheckReport:
    """Read every annotation, decode every picture that ``recipe`` would use, and report all problems.

    The data set is found as by :func:`pipelines.prepare.prepare`. What would end a preparation is told for each split
    in ``fatal``, and the other splits are checked all the same. Raises UsageError, and InputError where there is
    nothing to check. Pictures are decoded in child processes, one a worker: one that crashes the decoder is
    reported by name.
    """
    began_s = time.monotonic()
    if workers < 1:
        raise UsageError("option-value", f"workers is {workers}", hint="at least 1")
    sources = find_coco(root=root, splits=splits, annotations=annotations, images=images)
    limits = InputLimits(
        max_bad=max_bad, allow_outside=allow_outside, forbid_leak=forbid_leak,
        max_annotation_bytes=max_annotation_bytes,
    )  # fmt: skip
    chosen = recipe or build_recipe()
    checks = [_SplitCheck(source, chosen, limits, workers, picture_timeout_s, on_event) for source in sources]
    for one in checks:
        one.run()
    for one in checks:
        one.look_for_leaks([other for other in checks if other is not one])
    return CheckReport(splits=tuple(one.result() for one in checks), seconds=time.monotonic() - began_s)


class _SplitCheck:
    def __init__(
        self, source: CocoSplit, recipe: Recipe, limits: InputLimits, workers: int, timeout_s: float, on_event: Listener
    ) -> None:
        self._source, self._recipe, self._limits = source, recipe, limits
        self._workers, self._timeout_s, self._on_event = workers, timeout_s, on_event
        self._codes: Counter[str] = Counter()
        self._notes: Counter[str] = Counter()
        self._examples: dict[str, tuple[str, ...]] = {}
        self._annotations = self._kept = self._pictures = self._pictures_bad = 0
        self._statistics: InputStatistics | None = None
        self._fatal: PoseError | None = None
        self.digests: dict[int, Need] = {}

    def run(self) -> None:
        """Check the split; an error that would end a preparation is remembered."""
        try:
            kept = self._read()
            needs = _needs(kept)
            self._pictures = len(needs)
            if not needs:
                self._raise_empty()
            self._decode(needs, kept)
            self._hold_to_budget()
        except InputError as error:
            self._fatal = error

    def _read(self) -> pa.Table:
        source, recipe = self._source, self._recipe
        self._tell("stage", "read", text=f"reading {source.annotations.name}")
        found: AnnotationSet = READERS["coco"](
            source.annotations, boxes=recipe.boxes, keep_segmentation=recipe.takes_masks,
            allow_outside=self._limits.allow_outside, max_file_bytes=self._limits.max_annotation_bytes,
        )  # fmt: skip
        recipe.skeleton_of(found.skeleton)
        for code, detail in found.notes:
            self._on_event(Event(kind="note", split=source.name, text=detail, data={"code": code}))
            self._add_example(code, detail)
        rows = select_packed(found.rows, recipe)
        kept = pa.concat_tables(block.filter(block["kept"]) for block in rows.blocks([*_NEEDED_COLUMNS, "kept"]))
        self._annotations, self._kept = rows.num_rows, kept.num_rows
        self._codes.update(count_values(rows.column("code").drop_null()))
        self._notes.update(count_values(pc.list_flatten(kept["notes"])))
        # Notes about the file that no row carries.
        self._notes.update(code for code, _ in found.notes if code not in self._notes)
        self._examples |= problem_examples(rows)
        self._add_note_examples(kept)
        if kept.num_rows:
            self._statistics = _statistics(kept, found.skeleton.names)
        return kept

    def _add_note_examples(self, kept: pa.Table) -> None:
        wanted = {code for code in self._notes if len(self._examples.get(code, ())) < _EXAMPLES}
        for batch in kept.select(["annotation_id", "file_name", "notes"]).to_batches(max_chunksize=4096):
            for row in batch.to_pylist():
                for code in wanted.intersection(row["notes"]):
                    self._add_example(code, f"annotation {row['annotation_id']} of {row['file_name']}")
            wanted = {code for code in wanted if len(self._examples.get(code, ())) < _EXAMPLES}
            if not wanted:
                return

    def _raise_empty(self) -> None:
        raise InputError(
            "no-samples", f"none of the {self._annotations} annotations can be prepared",
            where=str(self._source.annotations), hint="choose another --recipe or relax its filters",
        )  # fmt: skip

    def _decode(self, needs: Sequence[Need], kept: pa.Table) -> None:
        batches = [needs[first : first + _BATCH_PICTURES] for first in range(0, len(needs), _BATCH_PICTURES)]
        stop = threading.Event()
        self._tell("stage", "pictures", total=len(needs))
        done, last_s = 0, 0.0
        looker = PictureLooker(
            images_root=self._source.images, recipe=self._recipe, kept=kept,
            allow_outside=self._limits.allow_outside, stop=stop,
        )  # fmt: skip

        def one(number: int) -> list[Seen]:
            return looker.look_at(batches[number], timeout_s=self._timeout_s)

        with looker:
            for _, results in in_threads(one, range(len(batches)), workers=self._workers, stop=stop):
                for seen in results:
                    self._count(seen, kept)
                done += len(results)
                if time.monotonic() - last_s > _PROGRESS_S or done == len(needs):
                    last_s = time.monotonic()
                    self._tell("progress", "pictures", done=done, total=len(needs), data={
                        "rejects": {code: n for code, n in self._codes.items() if code.startswith("img-")},
                    })  # fmt: skip

    def _count(self, seen: Seen, kept: pa.Table) -> None:
        rejected = seen.need.rows if seen.code else seen.bad_rows
        code, detail = (seen.code, seen.detail) if seen.code else ("mask-missing", "the segmentation cannot be used")
        self._kept -= len(rejected)
        self._pictures_bad += bool(seen.code)
        if rejected:
            self._codes[code] += len(rejected)
            ids = kept["annotation_id"].take(pa.array(rejected[:1], pa.int64())).to_pylist()
            self._add_example(code, f"annotation {ids[0]} of {seen.need.name}: {detail}")
        for note in seen.notes:
            self._notes[note] += len(seen.need.rows)
            self._add_example(note, seen.need.name)
        if seen.digest:
            self.digests[seen.digest] = seen.need

    def _hold_to_budget(self) -> None:
        bad = sum(count for code, count in self._codes.items() if PROBLEMS[code].fate == "reject")
        for count, total, what in (
            (bad, self._annotations, "annotations"),
            (self._pictures_bad, self._pictures, "pictures"),
        ):
            if count > self._limits.max_bad * total:
                raise InputError(
                    "too-many-bad",
                    f"{count} of {total} {what} are bad, more than --max-bad {self._limits.max_bad:g} allows",
                    where=str(self._source.annotations),
                    hint="correct them, or raise --max-bad when they may be left out",
                )

    def look_for_leaks(self, others: Sequence["_SplitCheck"]) -> None:
        """Note the pictures whose bytes are in another split, too."""
        leaked = [need for digest, need in self.digests.items() if any(digest in other.digests for other in others)]
        for need in leaked:
            self._notes["split-leak"] += len(need.rows)
            self._add_example("split-leak", need.name)
        if leaked and self._limits.forbid_leak and self._fatal is None:
            self._fatal = InputError(
                "split-leak", f"{len(leaked)} pictures of {self._source.name} are in another split, too",
                where=str(self._source.images), hint="remove them from one split, or leave --forbid-leak out",
            )  # fmt: skip

    def result(self) -> SplitChecked:
        """Return what was found."""
        return SplitChecked(
            split=self._source.name, annotations=self._annotations, kept=self._kept,
            rejected=self._annotations - self._kept, pictures=self._pictures, pictures_bad=self._pictures_bad,
            codes=dict(sorted(self._codes.items())), notes=dict(sorted(self._notes.items())),
            examples=dict(sorted(self._examples.items())), statistics=self._statistics, fatal=self._fatal,
        )  # fmt: skip

    def _add_example(self, code: str, text: str) -> None:
        before = self._examples.get(code, ())
        if len(before) < _EXAMPLES:
            self._examples[code] = (*before, text)

    def _tell(self, kind: str, stage: str, **values: object) -> None:
        self._on_event(Event(kind=kind, split=self._source.name, stage=stage, **values))  # type: ignore[arg-type]


def _needs(kept: pa.Table) -> list[Need]:
    """Return the pictures of the kept persons, in the order of their first appearance."""
    table = kept.select(["file_name", "image_width_px", "image_height_px"])
    table = table.append_column("position", pa.array(np.arange(kept.num_rows)))
    grouped = table.group_by("file_name", use_threads=False).aggregate(
        [("position", "list"), ("image_width_px", "first"), ("image_height_px", "first")]
    )
    return [
        Need(
            name=row["file_name"], rows=tuple(row["position_list"]),
            size_wh=None if row["image_width_px_first"] is None or row["image_height_px_first"] is None
            else (row["image_width_px_first"], row["image_height_px_first"]),
        )
        for row in grouped.to_pylist()
    ]  # fmt: skip


def _statistics(kept: pa.Table, names: Sequence[str]) -> InputStatistics:
    flags = pc.list_flatten(kept["keypoints"]).to_numpy().reshape(kept.num_rows, -1, 3)[..., 2]
    sizes = table_boxes(kept)[:, 2:]
    persons = pc.value_counts(kept["file_name"]).field("counts").to_numpy()
    return InputStatistics(
        persons_a_picture=float(persons.mean()),
        most_persons_a_picture=int(persons.max()),
        box_width_px=_percentiles(sizes[:, 0]),
        box_height_px=_percentiles(sizes[:, 1]),
        keypoints_a_person=float((flags > 0).sum(axis=1).mean()),
        labelled=dict(zip(names, (flags > 0).mean(axis=0).round(4).tolist(), strict=True)),
        visible=dict(zip(names, (flags == 2).mean(axis=0).round(4).tolist(), strict=True)),
    )


def _percentiles(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(np.percentile(values, (5, 50, 95)).round(2).tolist())
