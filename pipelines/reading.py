"""Stages 1 and 2: read and check a split's annotations, choose its samples, plan its shards."""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pose_data.errors import PROBLEMS, InputError
from pose_data.events import Event, Listener
from pose_data.formats import READERS
from pose_data.formats.coco import DEFAULT_MAX_FILE_BYTES, AnnotationSet
from pose_data.formats.coco_folder import CocoSplit
from pose_data.imaging import PictureProblem, decode_picture, read_picture
from pose_data.packed_table import PackedTable
from pose_data.paths import resolve_inside
from pose_data.plan import PlannedRows, choose_shard_rows, plan_table
from pose_data.recipes import Recipe
from pose_data.selection import select_packed
from pose_data.store import SplitFacts

__all__ = ["InputLimits", "Selection", "count_values", "estimate_seconds", "problem_examples", "read_split"]

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
    """A split's annotations, chosen by a recipe: the rows, and what a store will say of them."""

    source: CocoSplit
    facts: SplitFacts
    rows: PackedTable
    planned: PlannedRows
    shard_rows: int
    persons: int
    """Annotations that are kept."""
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
        source.annotations, boxes=recipe.boxes, keep_segmentation=recipe.takes_masks,
        allow_outside=limits.allow_outside, max_file_bytes=limits.max_annotation_bytes,
    )  # fmt: skip
    for code, detail in annotations.notes:
        on_event(Event(kind="note", split=source.name, text=detail, data={"code": code}))
    rows = select_packed(annotations.rows, recipe)
    kept = rows.column("kept")
    kept_count = pc.sum(kept).as_py() or 0
    rejects = count_values(rows.column("code").drop_null())
    if kept_count == 0:
        raise InputError(
            "no-samples", f"none of the {rows.num_rows} annotations can be prepared: {_listed(rejects)}",
            where=str(source.annotations), hint="choose another --recipe or relax its filters; posedata check coco",
        )  # fmt: skip
    _probe_pictures(source, _first_names(rows), limits.allow_outside)
    pictures, largest_picture_px = _pictures(rows)
    image_count = pc.count_distinct(rows.column("image_id").filter(kept)).as_py()
    shard_rows = recipe.shard_rows or choose_shard_rows(image_count if recipe.rows == "scenes" else kept_count, recipe)
    planned = plan_table(rows, recipe, shard_rows)
    return Selection(
        source=source,
        facts=_facts(source, recipe, annotations, planned, shard_rows),
        rows=rows,
        planned=planned,
        shard_rows=shard_rows,
        persons=kept_count,
        pictures=pictures,
        largest_picture_px=largest_picture_px,
        rejects=rejects,
        notes=count_values(pc.list_flatten(rows.column("notes").filter(kept))),
        examples=problem_examples(rows),
    )


def count_values(texts: pa.ChunkedArray) -> dict[str, int]:
    """Return text → how often it occurs, by name."""
    found = pc.value_counts(texts)
    return dict(sorted(zip(found.field("values").to_pylist(), found.field("counts").to_pylist(), strict=True)))


def _kept_blocks(rows: PackedTable, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the columns of the rows that are kept, in pieces."""
    for block in rows.blocks([*columns, "kept"]):
        yield block.filter(block["kept"])


def _first_names(rows: PackedTable) -> list[str]:
    """Return the file names of the first pictures of kept persons, each once."""
    names: dict[str, None] = {}
    for block in _kept_blocks(rows, ["file_name"]):
        names |= dict.fromkeys(pc.unique(block["file_name"]).to_pylist())
        if len(names) >= _PROBE_PICTURES:
            break
    return list(names)[:_PROBE_PICTURES]


def _pictures(rows: PackedTable) -> tuple[int, int]:
    """Return how many pictures the kept persons are of, and the pixels of the largest, 0 when no size is known."""
    names: list[pa.Array] = []
    largest_px = 0
    for block in _kept_blocks(rows, ["file_name", "image_width_px", "image_height_px"]):
        names.append(pc.unique(block["file_name"]))
        sides = [block[name].cast(pa.int64()) for name in ("image_width_px", "image_height_px")]
        largest_px = max(largest_px, pc.max(pc.multiply(*sides)).as_py() or 0)
    return pc.count_distinct(pa.chunked_array(names, pa.string())).as_py(), largest_px


def _facts(
    source: CocoSplit, recipe: Recipe, annotations: AnnotationSet, planned: PlannedRows, shard_rows: int
) -> SplitFacts:
    skeleton, indices = recipe.skeleton_of(annotations.skeleton)
    return SplitFacts(
        split=source.name,
        recipe=recipe,
        skeleton=skeleton,
        full_skeleton=annotations.skeleton,
        keypoint_indices=indices,
        rows=planned.rows,
        shard_rows=shard_rows,
        annotation_file=source.annotations.name,
        annotation_sha256=annotations.sha256,
        annotation_count=annotations.annotation_count,
        persons_a_shard=planned.persons_a_shard if recipe.rows == "scenes" else 0,
    )


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{code} {count}" for code, count in sorted(counts.items())) or "the file has no annotations"


def problem_examples(rows: PackedTable) -> dict[str, tuple[str, ...]]:
    """Return up to three examples for each reject code: annotation id, file name, detail."""
    codes = rows.column("code")
    examples: dict[str, tuple[str, ...]] = {}
    for code in sorted(pc.unique(codes.drop_null()).to_pylist()):
        first = pc.indices_nonzero(pc.equal(codes, code))[:_EXAMPLES].to_numpy().astype(np.int64)
        examples[code] = tuple(
            f"annotation {row['annotation_id']} of {row['file_name']}" + (f": {row['detail']}" if row["detail"] else "")
            for row in rows.take(first).to_pylist()
        )
    return examples


def _probe_pictures(source: CocoSplit, names: Sequence[str], allow_outside: bool) -> None:
    """Look for the first pictures, so that a wrong folder is found in a moment and not after hours."""
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
    names = _first_names(selection.rows)[:_TIMED_PICTURES]
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
