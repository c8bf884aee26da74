"""Stages 1 and 2: read and check a split's annotations, choose its samples, plan its shards."""

import os
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.events import Event, Listener
from pose_data.errors import PROBLEMS, InputError
from pose_data.formats import READERS
from pose_data.formats.coco import DEFAULT_MAX_FILE_BYTES, AnnotationSet
from pose_data.formats.coco_folder import CocoSplit
from pose_data.imaging import PictureProblem, decode_picture, read_picture
from pose_data.paths import resolve_inside
from pose_data.plan import choose_shard_rows
from pose_data.recipes import Recipe
from pose_data.selection import select_samples
from pose_data.store import SplitFacts

__all__ = ["InputLimits", "Selection", "estimate_seconds", "problem_examples", "read_split"]

_PROBE_PICTURES = 200
_EXAMPLES = 3
_TIMED_PICTURES = 24
_OVER_DECODING = 1.7
"""Time of a preparation over that of decoding alone; see benchmarks/prepare.py."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputLimits:
    """How much is put up with in the input. ``max_bad`` is a share of the annotations and of the pictures."""

    max_bad: float = 0.01
    allow_outside: bool = False
    forbid_leak: bool = False
    max_annotation_bytes: int = DEFAULT_MAX_FILE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """A split's annotations, chosen by a recipe: the table, and what a store will say of it."""

    source: CocoSplit
    facts: SplitFacts
    table: pa.Table
    shard_rows: int
    pictures: int
    largest_picture_px: int
    rejects: Mapping[str, int]
    notes: Mapping[str, int]
    examples: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def bad(self) -> int:
        """Return the number of bad records, filtered ones not counted."""
        return sum(count for code, count in self.rejects.items() if PROBLEMS[code].fate == "reject")

    def bad_examples(self) -> list[tuple[str, ...]]:
        """Return the examples of bad records, filtered ones not among them."""
        return [texts for code, texts in self.examples.items() if PROBLEMS[code].fate == "reject"]


def read_split(source: CocoSplit, recipe: Recipe, limits: InputLimits, on_event: Listener) -> Selection:
    """Return the chosen samples of one split.

    Raises InputError for a fatal annotation file, when nothing is left to prepare, or when none of the first
    pictures can be found.
    """
    on_event(Event(kind="stage", split=source.name, stage="read", text=f"reading {source.annotations.name}"))
    annotations = READERS["coco"](
        source.annotations, boxes=recipe.boxes, keep_segmentation=recipe.background == "white",
        allow_outside=limits.allow_outside, max_file_bytes=limits.max_annotation_bytes,
    )  # fmt: skip
    for code, detail in annotations.notes:
        on_event(Event(kind="note", split=source.name, text=detail, data={"code": code}))
    table = select_samples(annotations.table, recipe)
    kept = table.filter(table["kept"])
    rejects = Counter(code for code in table["code"].to_pylist() if code)
    notes = Counter(note for values in kept["notes"].to_pylist() for note in values)
    if kept.num_rows == 0:
        raise InputError(
            "no-samples", f"none of the {table.num_rows} annotations can be prepared: {_listed(rejects)}",
            where=str(source.annotations), hint="choose another --recipe or relax its filters; posedata check coco",
        )  # fmt: skip
    _probe_pictures(source, kept, limits.allow_outside)
    shard_rows = recipe.shard_rows or choose_shard_rows(kept.num_rows, recipe.chunk_rows)
    return Selection(
        source=source,
        facts=_facts(source, recipe, annotations, kept.num_rows, shard_rows),
        table=table,
        shard_rows=shard_rows,
        pictures=pc.count_distinct(kept["file_name"]).as_py(),
        largest_picture_px=pc.max(
            pc.multiply(kept["image_width_px"].cast(pa.int64()), kept["image_height_px"].cast(pa.int64()))
        ).as_py()
        or 0,
        rejects=dict(sorted(rejects.items())),
        notes=dict(sorted(notes.items())),
        examples=problem_examples(table),
    )


def _facts(source: CocoSplit, recipe: Recipe, annotations: AnnotationSet, rows: int, shard_rows: int) -> SplitFacts:
    skeleton, indices = recipe.skeleton_of(annotations.skeleton)
    return SplitFacts(
        split=source.name,
        recipe=recipe,
        skeleton=skeleton,
        full_skeleton=annotations.skeleton,
        keypoint_indices=indices,
        rows=rows,
        shard_rows=shard_rows,
        annotation_file=source.annotations.name,
        annotation_sha256=annotations.sha256,
        annotation_count=annotations.table.num_rows,
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{code} {count}" for code, count in sorted(counts.items())) or "the file has no annotations"


def problem_examples(table: pa.Table) -> dict[str, tuple[str, ...]]:
    """Return up to three examples for each reject code: annotation id, file name, detail."""
    examples: dict[str, tuple[str, ...]] = {}
    for code in pc.unique(table["code"]).to_pylist():
        if code is None:
            continue
        rows = table.filter(pc.equal(table["code"], code)).slice(0, _EXAMPLES).to_pylist()
        examples[code] = tuple(
            f"annotation {row['annotation_id']} of {row['file_name']}" + (f": {row['detail']}" if row["detail"] else "")
            for row in rows
        )
    return dict(sorted(examples.items()))


def _probe_pictures(source: CocoSplit, kept: pa.Table, allow_outside: bool) -> None:
    """Look for the first pictures, so that a wrong folder is found in a moment and not after hours."""
    names = pc.unique(kept["file_name"].slice(0, 20 * _PROBE_PICTURES)).to_pylist()[:_PROBE_PICTURES]
    first_problem = ""
    for name in names:
        path = resolve_inside(source.images, name, allow_outside=allow_outside)
        if path.is_file():
            return
        first_problem = first_problem or _missing_detail(path)
    raise InputError(
        "images-not-found",
        f"none of the first {len(names)} pictures is there ({first_problem}); nothing was written",
        where=str(source.images), hint="name the folder of this split's pictures with --annotations and --images",
    )  # fmt: skip


def _missing_detail(path: Path) -> str:
    try:
        read_picture(path)
    except PictureProblem as problem:
        return problem.detail
    return ""


def estimate_seconds(selection: Selection, workers: int) -> float:
    """Return about how long the shards will take, from the time of decoding the first pictures."""
    names = pc.unique(selection.table.filter(selection.table["kept"])["file_name"]).to_pylist()[:_TIMED_PICTURES]
    decoded = 0
    began_s = time.perf_counter()
    for name in names:
        try:
            data = read_picture(selection.source.images / name)
            decode_picture(data, file_name=name, expected_wh=None, exif="ignore")
        except PictureProblem:
            continue
        decoded += 1
    if not decoded:
        return 0.0
    per_picture_s = (time.perf_counter() - began_s) / decoded
    return selection.pictures * per_picture_s * _OVER_DECODING / min(workers, os.cpu_count() or 1)
