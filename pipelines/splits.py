"""The state of one split's preparation on disk: finished, begun by an earlier run, or new."""

import json
import os
import re
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pipelines.reading import Selection
from pose_data.atomic import Written, make_folder, remove_file, remove_tree, sweep, write_file
from pose_data.commit import update_root_manifest
from pose_data.errors import DamageError, ResumeMismatchError, StoreError
from pose_data.formats.coco_folder import CocoSplit
from pose_data.job import (
    begun_fields,
    differing_fields,
    fingerprint,
    is_plan_whole,
    save_fingerprint,
    save_job,
    save_options,
)
from pose_data.layout import split_arrays
from pose_data.manifest import SplitFolder, is_finished, read_record, records_folder
from pose_data.plan import PlanSummary, summarise_plan, write_plan
from pose_data.recipes import RECIPES, Recipe
from pose_data.shard import ShardJob
from pose_data.store import SplitFacts, create_split, read_split_facts
from pose_data.verify import split_facts

__all__ = [
    "BegunSplit",
    "begin_split",
    "has_shards",
    "is_finished_split",
    "log_run",
    "remove_empty_folders",
    "remove_empty_store",
    "remove_split",
    "resume_split",
]


_ARRAY_FILE = re.compile(r"c(\.\d+)+|zarr\.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class BegunSplit:
    """A split whose plan stands: what its shards are made from."""

    job: ShardJob
    facts: SplitFacts
    metadata: Mapping[str, Written]
    summary: PlanSummary


def _mismatch(folder: SplitFolder, fields: list[str], state: str) -> ResumeMismatchError:
    return ResumeMismatchError(
        "resume-mismatch",
        f"the {state} split {folder.name} was made with other options, sources or versions; nothing was changed:\n  "
        + "\n  ".join(fields),
        where=str(folder.path),
        hint="use the same options to continue, another --out, or --overwrite to begin again",
    )


def is_finished_split(folder: SplitFolder, recipe: Recipe, annotation_sha256: str) -> bool:
    """Return whether a split was finished with the same options; tidy up behind the run that finished it.

    Whether it still is what was written is another question. Raises ResumeMismatchError with the differing fields,
    DamageError when nothing says any more what the split was.
    """
    if not is_finished(folder):
        return False
    if begun_fields(folder) is not None and not _has_manifest(folder):
        return False  # the power went before the manifest was on the disk: the work is still there
    facts = split_facts(folder)
    # A finished store need not be of this version of the libraries: only what the user chose must agree.
    before, now = (
        {name: value for name, value in fields.items() if not name.startswith("version.")}
        for fields in (fingerprint(facts.recipe, facts.annotation_sha256), fingerprint(recipe, annotation_sha256))
    )
    fields = differing_fields(before, now)
    if fields:
        raise _mismatch(folder, fields, "finished")
    if folder.work.is_dir():  # killed between the manifest and the tidying
        remove_tree(folder.work)
    return True


def _has_manifest(folder: SplitFolder) -> bool:
    try:
        read_record(folder.manifest)
    except DamageError:
        return False
    return True


def resume_split(
    folder: SplitFolder, source: CocoSplit, recipe: Recipe, annotation_sha256: str, *, allow_outside: bool
) -> BegunSplit | None:
    """Return the split as an earlier run planned it, None when there is no whole plan.

    Raises ResumeMismatchError with the differing fields.
    """
    before = begun_fields(folder)
    if before is None:
        return None
    fields = differing_fields(before, fingerprint(recipe, annotation_sha256))
    if fields:
        raise _mismatch(folder, fields, "unfinished")
    facts = _planned_facts(folder)
    if facts is None or facts.recipe != recipe or facts.annotation_sha256 != annotation_sha256:
        return None  # torn: planned again, from the same options and source, so that finished shards stay
    job = _job(folder, source, facts, allow_outside)
    save_job(job)  # the pictures may have been moved since
    metadata = create_split(folder.path.parent, facts)
    return BegunSplit(job=job, facts=facts, metadata=metadata, summary=summarise_plan(folder.plan))


def _planned_facts(folder: SplitFolder) -> SplitFacts | None:
    try:
        return read_split_facts(folder) if is_plan_whole(folder) else None
    except StoreError:
        return None


def _job(folder: SplitFolder, source: CocoSplit, facts: SplitFacts, allow_outside: bool) -> ShardJob:
    return ShardJob(
        split=folder,
        images_root=source.images.absolute(),
        recipe=facts.recipe,
        keypoint_indices=facts.keypoint_indices,
        rows=facts.rows,
        shard_rows=facts.shard_rows,
        persons_a_shard=facts.persons_a_shard,
        allow_outside=allow_outside,
    )


def begin_split(folder: SplitFolder, selection: Selection, *, allow_outside: bool) -> BegunSplit:
    """Write a split's metadata and plan; the fingerprint, written last, says that they stand. Raises OSError.

    Shards of an earlier run stay only when its options are known (and thus, by :func:`resume_split`, these).
    """
    facts = selection.facts
    if begun_fields(folder) is None:
        remove_split(folder)
    make_folder(folder.work)
    fields = fingerprint(facts.recipe, facts.annotation_sha256)
    save_options(folder, fields)
    make_folder(folder.records / "shards")
    sweep(folder.path)
    metadata = create_split(folder.path.parent, facts)
    job = _job(folder, selection.source, facts, allow_outside)
    save_job(job)
    write_plan(folder.plan, selection.rows, facts.recipe, selection.shard_rows, selection.planned)
    save_fingerprint(folder, fields)
    return BegunSplit(job=job, facts=facts, metadata=metadata, summary=summarise_plan(folder.plan))


def has_shards(folder: SplitFolder) -> bool:
    """Return whether at least one shard was finished."""
    records = folder.records / "shards"
    return records.is_dir() and any(records.iterdir())


def log_run(folder: SplitFolder, source: CocoSplit, facts: Mapping[str, Any]) -> None:
    """Note who made a split, when, from where: beside the store's content, never part of what is digested."""
    now = datetime.now(UTC)
    payload = {
        "annotations": str(source.annotations.absolute()),
        "images_root": str(source.images.absolute()),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started_utc": now.isoformat(timespec="seconds"),
        "command": sys.argv[1:],
        **facts,
    }
    make_folder(folder.records / "runs")
    name = f"{now:%Y%m%dT%H%M%S}-{now.microsecond:06d}-{os.getpid()}.json"
    write_file(folder.records / "runs" / name, json.dumps(payload, indent=1).encode())


def remove_split(folder: SplitFolder) -> None:
    """Remove what we wrote of a split, and its folders as far as they are empty then. Raises OSError.

    First what says that it is finished, then what says which shards are: a kill in between leaves no store that
    looks whole, and no shard that a later run could take for its own. Files that are not ours stay where they are.
    """
    if folder.manifest.is_file():
        remove_file(folder.manifest)
        update_root_manifest(folder.path.parent)
    remove_tree(folder.records / "shards")
    names = {layout.name for recipe in _all_encodings() for layout in split_arrays(recipe, 1)}
    for array in (folder.path / name for name in sorted(names)):
        if array.is_dir():
            for file in array.iterdir():
                if _ARRAY_FILE.fullmatch(file.name):
                    remove_file(file)
            _remove_if_empty(array)
    sweep(folder.path)
    remove_file(folder.path / "zarr.json")
    remove_tree(folder.records)
    _remove_if_empty(folder.path)


def _all_encodings() -> tuple[Recipe, ...]:
    return Recipe(), Recipe(encoding="simcc"), RECIPES["openpose-368"]


def _remove_if_empty(path: Path) -> None:
    if path.is_dir() and not any(path.iterdir()):
        path.rmdir()


def remove_empty_store(root: Path) -> None:
    """Remove the root's own files again when no split came of it; the caller holds the lock. Raises OSError."""
    if any(path.name not in (".posedata", "zarr.json") for path in root.iterdir()):
        return
    remove_file(root / "zarr.json")
    remove_file(records_folder(root) / "manifest.json")


def remove_empty_folders(root: Path) -> None:
    """Remove the store's folders if nothing is in them, not even somebody's lock. Raises OSError."""
    if not root.is_dir() or any(path != records_folder(root) for path in root.iterdir()):
        return  # a split was begun: without its records' folder the store would look like somebody else's
    for folder in (records_folder(root), root):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
