"""What a split was made from, where it lies, and whether it is at hand."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pose_data.atomic import file_sha256
from pose_data.errors import ResumeMismatchError
from pose_data.formats import READERS
from pose_data.formats.coco import AnnotationSet
from pose_data.manifest import SplitFolder
from pose_data.store import SplitFacts

__all__ = ["Source", "find_source", "read_annotations", "with_segmentations"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a split was made from, as far as it is at hand.

    ``segmentations``: sample id → raw JSON, for recipes that take masks; None when not read.
    """

    annotations: Path | None = None
    images_root: Path | None = None
    allow_outside: bool = False
    segmentations: Mapping[int, bytes] | None = None


def find_source(root: Path, split: str) -> Source:
    """Return the source that the split's newest run logs name, each part only when it still exists."""
    annotations: Path | None = None
    images_root: Path | None = None
    allow_outside = False
    for run in _runs(SplitFolder(root / split)):
        named, folder = run.get("annotations"), run.get("images_root")
        if annotations is None and isinstance(named, str) and Path(named).is_file():
            annotations = Path(named)
        if images_root is None and isinstance(folder, str) and Path(folder).is_dir():
            images_root = Path(folder)
            allow_outside = run.get("allow_outside") is True
    return Source(annotations=annotations, images_root=images_root, allow_outside=allow_outside)


def _runs(folder: SplitFolder) -> Iterator[Mapping[str, Any]]:
    """Yield the run logs, newest first; their names begin with the time."""
    for path in sorted((folder.records / "runs").glob("*.json"), reverse=True):
        try:
            run = json.loads(path.read_bytes())
        except (OSError, ValueError):
            continue  # a log is no part of the store: a torn one is passed over
        if isinstance(run, dict):
            yield run


def read_annotations(source: Source, facts: SplitFacts) -> AnnotationSet:
    """Return a split's annotations, read again as they were for the store.

    Raises ResumeMismatchError when the file is not at hand (``source-missing``) or another (``source-changed``).
    """
    if source.annotations is None or not source.annotations.is_file():
        raise ResumeMismatchError(
            "source-missing", f"the annotation file {facts.annotation_file} of {facts.split} is not at hand; "
            "nothing was changed", where=str(source.annotations or ""),
            hint="name it: --annotations FILE --images FOLDER, or --root FOLDER",
        )  # fmt: skip
    if file_sha256(source.annotations) != facts.annotation_sha256:
        raise ResumeMismatchError(
            "source-changed", f"the annotation file is not the one that {facts.split} was made from; "
            "nothing was changed", where=str(source.annotations),
            hint="put the old file back, or prepare the split again with --overwrite",
        )  # fmt: skip
    return READERS["coco"](
        source.annotations, skeleton=facts.full_skeleton, boxes=facts.recipe.boxes,
        keep_segmentation=facts.recipe.takes_masks, allow_outside=source.allow_outside,
        # It was read once under the user's own limit, and has not changed since.
        max_file_bytes=source.annotations.stat().st_size,
    )  # fmt: skip


def with_segmentations(source: Source, facts: SplitFacts) -> Source:
    """Return the source with the masks that rows are made with, if its annotation file is right."""
    if not facts.recipe.takes_masks or source.annotations is None:
        return source
    try:
        table = read_annotations(source, facts).table
    except ResumeMismatchError:
        return source
    if facts.recipe.rows == "persons":
        table = table.filter(table["kept"])
    pairs = zip(table["sample_id"].to_pylist(), table["segmentation"].to_pylist(), strict=True)
    return replace(source, segmentations={sample: raw for sample, raw in pairs if raw is not None})
