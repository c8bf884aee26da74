"""``posedata prepare``: from a COCO folder to a finished store, in stages, resumable at any moment.

read → plan → shards → commit → quick verify. A split is finished when its manifest is there.
"""

import shlex
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.memory import release_memory
from pipelines.reading import InputLimits, estimate_seconds, read_split
from pipelines.schedulers import check_scheduler_name, spare_threads
from pipelines.shard_stage import ShardStage, StageOptions
from pipelines.splits import (
    BegunSplit,
    begin_split,
    has_shards,
    is_finished_split,
    log_run,
    remove_empty_folders,
    remove_empty_store,
    remove_split,
    resume_split,
)
from pipelines.verify import mend, require_sound
from pose_data.atomic import file_sha256, storage_errors, sweep
from pose_data.budget import BadBudget, check_disk, estimate_bytes, plan_memory
from pose_data.commit import commit_split, update_root_manifest
from pose_data.errors import InterruptedRun, UsageError
from pose_data.events import Event, Listener, Terminated, silent
from pose_data.formats.coco_folder import CocoSplit, find_coco
from pose_data.job import is_split_whole
from pose_data.lock import Holder, hold, require_held
from pose_data.manifest import SplitFolder, read_record, records_folder
from pose_data.recipes import Recipe, build_recipe
from pose_data.store import is_posedata_store, split_folders

__all__ = ["LARGE_ROWS", "PrepareReport", "SplitReport", "Terminated", "prepare"]

LARGE_ROWS = 50_000
"""From so many persons on, ``--scheduler auto`` starts a local cluster; below, its start costs more than it gains."""

DEFAULT_MEMORY_BYTES = 1_000_000_000
DEFAULT_PICTURE_TIMEOUT_S = 60.0
DEFAULT_CLUSTER_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitReport:
    """What happened to one split. Counts are of annotations; ``codes`` and ``notes``: code → count."""

    split: str
    annotations: int
    kept: int
    rejected: int
    codes: Mapping[str, int]
    notes: Mapping[str, int]
    pictures: int
    size_bytes: int
    shards: int
    shards_kept: int = 0
    """Shards that an earlier run had finished."""
    retries: int = 0
    already_finished: bool = False
    seconds: float = 0.0
    examples: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareReport:
    """What a preparation did, or with ``dry_run`` would do (sizes, seconds and memory estimated)."""

    out: Path
    splits: tuple[SplitReport, ...]
    scheduler: str
    workers: int
    seconds: float
    dry_run: bool = False
    planned_memory_bytes: int = 0


def prepare(
    out: str | Path,
    *,
    root: Path | None = None,
    splits: Sequence[str] = (),
    annotations: Path | None = None,
    images: Path | None = None,
    recipe: Recipe | None = None,
    workers: int = 2,
    scheduler: str = "auto",
    memory_bytes: int = DEFAULT_MEMORY_BYTES,
    max_bad: float = 0.01,
    allow_outside: bool = False,
    forbid_leak: bool = False,
    max_annotation_bytes: int = InputLimits().max_annotation_bytes,
    picture_timeout_s: float = DEFAULT_PICTURE_TIMEOUT_S,
    cluster_timeout_s: float = DEFAULT_CLUSTER_TIMEOUT_S,
    overwrite: bool = False,
    dry_run: bool = False,
    on_event: Listener = silent,
) -> PrepareReport:
    """Prepare every split of a COCO data set into the store at ``out``; return what was done.

    Where the data set is found: :func:`pose_data.formats.coco_folder.find_coco`. An unfinished store is
    continued when options, sources and versions are the same. Raises any PoseError; InterruptedRun after
    KeyboardInterrupt, with finished shards kept.
    """
    began_s = time.monotonic()
    check_scheduler_name(scheduler)
    if workers < 1:
        raise UsageError("option-value", f"workers is {workers}", hint="at least 1")
    call = _Call(
        out=Path(out),
        sources=find_coco(root=root, splits=splits, annotations=annotations, images=images),
        recipe=recipe or build_recipe(),
        limits=InputLimits(
            max_bad=max_bad, allow_outside=allow_outside, forbid_leak=forbid_leak,
            max_annotation_bytes=max_annotation_bytes,
        ),
        scheduler=scheduler, workers=workers, memory_bytes=memory_bytes, picture_timeout_s=picture_timeout_s,
        cluster_timeout_s=cluster_timeout_s, overwrite=overwrite, on_event=on_event,
    )  # fmt: skip
    _check_place(call.out, overwrite=overwrite)
    return _dry_run(call, began_s) if dry_run else _Preparation(call, began_s).run()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Call:
    out: Path
    sources: tuple[CocoSplit, ...]
    recipe: Recipe
    limits: InputLimits
    scheduler: str
    workers: int
    memory_bytes: int
    picture_timeout_s: float
    cluster_timeout_s: float
    overwrite: bool
    on_event: Listener


def _check_place(out: Path, *, overwrite: bool) -> None:
    """Refuse an output that is a file, or a folder with somebody else's things. Raises UsageError."""
    with storage_errors("looking at the output", out):
        is_file = out.exists() and not out.is_dir()
        is_foreign = out.is_dir() and any(out.iterdir()) and not is_posedata_store(out)
    if is_file:
        raise UsageError(
            "output-is-a-file", "the output is a file; it was not touched", where=str(out), hint="choose another --out"
        )
    if is_foreign:
        raise UsageError(
            "output-foreign",
            "the output folder holds things that posedata did not write; they were not touched",
            where=str(out),
            hint="choose another --out" + ("; --overwrite replaces stores of posedata only" if overwrite else ""),
        )


def _dry_run(call: _Call, began_s: float) -> PrepareReport:
    """Read and check everything that can be read without decoding all pictures; write nothing."""
    reports, planned = [], 0
    for source in call.sources:
        selection = read_split(source, call.recipe, call.limits, call.on_event)
        facts = selection.facts
        size_bytes = estimate_bytes(call.recipe, len(facts.keypoint_indices), facts.rows, facts.annotation_count)
        check_disk(call.out, size_bytes)
        scheduler = _scheduler_for(call, facts.rows)
        memory = plan_memory(
            call.recipe, len(facts.keypoint_indices), largest_picture_px=selection.largest_picture_px,
            workers=call.workers, processes=scheduler == "local", limit_bytes=call.memory_bytes,
            spare_threads=spare_threads(scheduler),
        )  # fmt: skip
        planned = max(planned, memory.total_bytes)
        reports.append(SplitReport(
            split=source.name, annotations=facts.annotation_count, kept=selection.persons,
            rejected=facts.annotation_count - selection.persons, codes=selection.rejects, notes=selection.notes,
            pictures=selection.pictures, size_bytes=size_bytes, shards=-(-facts.rows // selection.shard_rows),
            seconds=estimate_seconds(selection, call.workers), examples=selection.examples,
        ))  # fmt: skip
    rows = sum(report.kept for report in reports)
    return PrepareReport(
        out=call.out, splits=tuple(reports), scheduler=_scheduler_for(call, rows), workers=call.workers,
        seconds=time.monotonic() - began_s, dry_run=True, planned_memory_bytes=planned,
    )  # fmt: skip


def _scheduler_for(call: _Call, rows: int) -> str:
    if call.scheduler != "auto":
        return call.scheduler
    if rows >= LARGE_ROWS and call.workers > 1:
        return "local"
    return "threads" if call.workers > 1 else "sync"


Examples = Mapping[str, tuple[str, ...]]
"""What is left of a selection once its plan stands; its table grows with the data set and is let go."""


class _Preparation:
    """One run, under the store's lock."""

    def __init__(self, call: _Call, began_s: float) -> None:
        self._call, self._began_s = call, began_s
        self._stop = threading.Event()
        self._created = not call.out.exists()
        self._planned_memory_bytes = 0
        self._scheduler = call.scheduler

    def run(self) -> PrepareReport:
        try:
            with hold(records_folder(self._call.out)) as holder:
                try:
                    reports = self._all_splits(holder)
                finally:
                    # Under the lock: another run may be waiting to take the store.
                    if self._created:
                        with suppress(OSError):
                            remove_empty_store(self._call.out)
        except KeyboardInterrupt as interrupt:
            raise _interrupted(interrupt) from None
        finally:
            if self._created:
                with suppress(OSError):
                    remove_empty_folders(self._call.out)
        return PrepareReport(
            out=self._call.out,
            splits=tuple(reports),
            scheduler=self._scheduler,
            workers=self._call.workers,
            seconds=time.monotonic() - self._began_s,
            planned_memory_bytes=self._planned_memory_bytes,
        )

    def _all_splits(self, holder: Holder) -> list[SplitReport]:
        with storage_errors("preparing", self._call.out):
            sweep(self._call.out)
            if self._call.overwrite:
                self._remove_old()
            # All annotation files are read before any picture: a fatal one is found in the first seconds.
            begun: list[SplitReport | tuple[BegunSplit, Examples]] = []
            try:
                begun.extend(self._begin(source) for source in self._call.sources)
                rows = sum(entry[0].job.rows for entry in begun if isinstance(entry, tuple))
                self._scheduler = _scheduler_for(self._call, rows)
                self._check_budgets([entry[0] for entry in begun if isinstance(entry, tuple)])
            except BaseException:
                self._undo([entry[0] for entry in begun if isinstance(entry, tuple)])
                raise
            release_memory()
            return [
                entry if isinstance(entry, SplitReport) else self._make(source, *entry, holder)
                for source, entry in zip(self._call.sources, begun, strict=True)
            ]

    def _remove_old(self) -> None:
        present = split_folders(self._call.out)
        for source in self._call.sources:
            if source.name in present:
                remove_split(present[source.name])

    def _undo(self, begun: list[BegunSplit]) -> None:
        """Leave nothing behind of splits that have a plan but no shard: the run was refused before any work."""
        for split in begun:
            if not has_shards(split.job.split):
                remove_split(split.job.split)

    def _begin(self, source: CocoSplit) -> SplitReport | tuple[BegunSplit, Examples]:
        call, folder = self._call, SplitFolder(self._call.out / source.name)
        if folder.records.is_dir():
            sha256 = file_sha256(source.annotations)
            if is_finished_split(folder, call.recipe, sha256):
                return self._finished(source, folder)
            resumed = resume_split(folder, source, call.recipe, sha256, allow_outside=call.limits.allow_outside)
            if resumed is not None:
                return resumed, {}
        selection = read_split(source, call.recipe, call.limits, call.on_event)
        release_memory()
        call.on_event(Event(
            kind="stage", split=source.name, stage="plan",
            text=f"{selection.persons:,} persons of {selection.pictures:,} pictures",
        ))  # fmt: skip
        budget = BadBudget(
            call.limits.max_bad, selection.facts.annotation_count, selection.pictures, str(source.annotations)
        )
        budget.add(selection.bad, examples="; ".join(example[0] for example in selection.bad_examples()))
        try:
            return begin_split(folder, selection, allow_outside=call.limits.allow_outside), selection.examples
        except BaseException:
            if not has_shards(folder):
                remove_split(folder)
            raise

    def _finished(self, source: CocoSplit, folder: SplitFolder) -> SplitReport:
        call = self._call
        if not is_split_whole(folder):
            call.on_event(Event(kind="note", split=source.name, text="finished before, but damaged since: mending it"))
            mend(
                folder, annotations=source.annotations, images=source.images, workers=call.workers,
                on_event=call.on_event,
            )  # fmt: skip
        update_root_manifest(call.out)
        call.on_event(Event(kind="note", split=source.name, text="already finished with these options"))
        return _finished_report(source.name, read_record(folder.manifest))

    def _check_budgets(self, begun: list[BegunSplit]) -> None:
        needed = 0
        for split in begun:
            keypoints = len(split.facts.keypoint_indices)
            needed += estimate_bytes(split.facts.recipe, keypoints, split.job.rows, split.facts.annotation_count)
            # What is there already needs no room any more.
            needed -= sum(p.stat().st_size for p in split.job.split.path.glob("*/c.*"))
            plan = plan_memory(
                split.facts.recipe, keypoints, largest_picture_px=split.summary.largest_picture_px,
                workers=self._call.workers, processes=self._scheduler == "local", limit_bytes=self._call.memory_bytes,
                spare_threads=spare_threads(self._scheduler),
            )  # fmt: skip
            self._planned_memory_bytes = max(self._planned_memory_bytes, plan.total_bytes)
        check_disk(self._call.out, max(0, needed))

    def _make(self, source: CocoSplit, begun: BegunSplit, examples: Examples, holder: Holder) -> SplitReport:
        began_s = time.monotonic()
        call = self._call
        log_run(begun.job.split, source, {
            "scheduler": self._scheduler, "workers": call.workers, "token": holder.token,
            "allow_outside": call.limits.allow_outside,
        })  # fmt: skip
        options = StageOptions(
            scheduler=self._scheduler, workers=call.workers, max_bad=call.limits.max_bad,
            picture_timeout_s=call.picture_timeout_s, cluster_timeout_s=call.cluster_timeout_s,
            worker_memory_bytes=call.memory_bytes,
        )  # fmt: skip
        stage = ShardStage(begun, holder, options, self._stop, call.on_event)
        stage.run()
        release_memory()
        call.on_event(Event(kind="stage", split=source.name, stage="commit", text="writing table and manifest"))
        require_held(records_folder(call.out), holder.token)
        counts = commit_split(
            begun.job, call.out, begun.metadata, facts=begun.facts, forbid_leak=call.limits.forbid_leak
        )
        # Every shard was read back when it was written, or looked at when the run was resumed.
        call.on_event(Event(kind="stage", split=source.name, stage="verify", text="manifest, metadata, table, counts"))
        require_sound(begun.job.split, digests=False)
        report = SplitReport(
            split=source.name,
            annotations=counts.annotations,
            kept=counts.kept,
            rejected=counts.rejected,
            codes=counts.codes,
            notes=counts.notes,
            pictures=counts.pictures,
            size_bytes=counts.size_bytes,
            shards=begun.job.shards,
            shards_kept=stage.shards_kept,
            retries=stage.retries,
            seconds=time.monotonic() - began_s,
            examples=examples,
        )
        call.on_event(Event(kind="done", split=source.name, data={"kept": counts.kept, "rejected": counts.rejected}))
        return report


def _finished_report(name: str, manifest: Mapping[str, Any]) -> SplitReport:
    shards = manifest["shards"]
    return SplitReport(
        split=name, annotations=manifest["annotations"], kept=manifest["kept"], rejected=manifest["rejected"],
        codes=manifest["codes"], notes=manifest["notes"], pictures=manifest["pictures"],
        size_bytes=manifest["size_bytes"], shards=shards, shards_kept=shards, already_finished=True,
    )  # fmt: skip


def _interrupted(interrupt: KeyboardInterrupt) -> InterruptedRun:
    error = InterruptedRun(
        "interrupted", "stopped; finished shards are kept",
        hint="continue with: " + shlex.join(["posedata", *sys.argv[1:]]),
    )  # fmt: skip
    if isinstance(interrupt, Terminated):
        error.exit_code = 143
    return error
