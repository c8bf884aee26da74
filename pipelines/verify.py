"""``posedata verify``: is a store whole and right; what to do when it is not.

Quick: every digest, count and shape. Full: everything decoded and made again. Repair: damaged files are made
again from their sources and must come out as recorded.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.parallel import in_threads
from pose_data.errors import DamageError, InterruptedRun, StoreError, UsageError
from pose_data.events import Event, Listener, silent
from pose_data.findings import Finding
from pose_data.formats.coco_folder import find_coco
from pose_data.imaging import single_threaded
from pose_data.lock import hold
from pose_data.manifest import SplitFolder, is_finished, read_manifest, records_folder
from pose_data.repair import damaged_shards, repair_root, repair_split
from pose_data.source import Source, find_source, with_segmentations
from pose_data.store import require_store, split_folders
from pose_data.store_statistics import Statistics
from pose_data.verify import SplitCheck, check_root, check_shard_digests, check_split_records
from pose_data.verify_full import ShardFull, check_shard_full

__all__ = ["SplitVerified", "VerifyReport", "mend", "require_sound", "verify"]

_SHOWN_FINDINGS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitVerified:
    """What was looked at in one split. ``statistics`` only after a full check."""

    split: str
    rows: int = 0
    annotations: int = 0
    kept: int = 0
    rejected: int = 0
    shards: int = 0
    statistics: Statistics | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What a verification found; after a repair, what is still wrong. ``repaired``: files put in place again."""

    store: Path
    full: bool
    splits: tuple[SplitVerified, ...]
    findings: tuple[Finding, ...]
    repaired: tuple[str, ...] = ()
    found_before_repair: tuple[Finding, ...] = ()
    sheet: Path | None = None
    seconds: float = 0.0

    @property
    def damaged(self) -> bool:
        """Return whether something is damaged or unfinished: exit code 4."""
        return any(finding.damaged for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return {
            "store": str(self.store),
            "full": self.full,
            "damaged": self.damaged,
            "splits": [
                {
                    "split": split.split, "rows": split.rows, "annotations": split.annotations, "kept": split.kept,
                    "rejected": split.rejected, "shards": split.shards,
                    "statistics": split.statistics.as_dict() if split.statistics else None,
                }
                for split in self.splits
            ],
            "findings": [finding.as_dict() for finding in self.findings],
            "found_before_repair": [finding.as_dict() for finding in self.found_before_repair],
            "repaired": list(self.repaired),
            "sheet": str(self.sheet) if self.sheet else None,
            "seconds": round(self.seconds, 3),
        }  # fmt: skip


def verify(
    store: str | Path,
    *,
    full: bool = False,
    splits: Sequence[str] = (),
    repair: bool = False,
    sheet: str | Path | None = None,
    sample_share: float = 1.0,
    seed: int = 0,
    root: Path | None = None,
    annotations: Path | None = None,
    images: Path | None = None,
    workers: int = 2,
    on_event: Listener = silent,
) -> VerifyReport:
    """Check a store; with ``repair`` mend it; with ``sheet`` draw it. What is wrong is in the report, not raised.

    The sources (for crops made again, repairs, and pictures on the sheet) are those that the store's run logs name,
    unless ``root`` (a COCO folder) or ``annotations`` and ``images`` (of one split) name others.
    ``sample_share``: share of the pictures whose crops a full check makes again.

    Raises StoreError when there is no store, UsageError for an unknown split or an option that does not fit,
    InputError where a named source does not have a split that is looked at, before anything is checked;
    BusyError and ResumeMismatchError from a repair, InterruptedRun after KeyboardInterrupt.
    """
    path = Path(store)
    require_store(path)
    if not 0.0 <= sample_share <= 1.0:
        raise UsageError("option-value", f"sample_share is {sample_share!r}", hint="between 0 and 1")
    if workers < 1:
        raise UsageError("option-value", f"workers is {workers}", hint="at least 1")
    chosen = _chosen(path, splits)
    if annotations is not None and len(chosen) != 1:
        raise UsageError(
            "option-conflict", "--annotations and --images are of one split", hint=f"--split: {', '.join(chosen)}"
        )
    call = _Call(path, full, sample_share, seed, workers, on_event)
    sources = _Sources(path, root, annotations, images)
    for name in chosen:
        sources.of(name)
    run = _Verification(call, chosen, sources)
    try:
        with single_threaded():
            return run.run(repair=repair, sheet=Path(sheet) if sheet is not None else None)
    except KeyboardInterrupt:
        raise InterruptedRun("interrupted", "stopped; nothing half-written was left", where=str(path)) from None


def require_sound(folder: SplitFolder, *, digests: bool = True, workers: int = 2, on_event: Listener = silent) -> None:
    """Check one split quickly. Raises DamageError naming the first findings when something is damaged.

    ``digests`` False leaves the shards' bytes out, for a caller that has just read them back.
    """
    call = _Call(folder.path.parent, False, 1.0, 0, workers, on_event)
    run = _Verification(call, {folder.name: folder}, _Sources(folder.path.parent, None, None, None))
    findings = run.check_split(folder) if digests else check_split_records(folder).findings
    damaged = [finding for finding in findings if finding.damaged]
    if damaged:
        shown = "\n  ".join(finding.describe() for finding in damaged[:_SHOWN_FINDINGS])
        raise DamageError(
            "damaged", f"the split {folder.name} is not what was written: {len(damaged)} findings\n  {shown}",
            where=str(folder.path), hint=f"posedata verify {folder.path.parent} --repair",
        )  # fmt: skip


def mend(folder: SplitFolder, *, annotations: Path, images: Path, workers: int, on_event: Listener = silent) -> None:
    """Make what is damaged of a finished split again, as ``verify`` with ``repair``; the caller holds the lock.

    Raises DamageError when the split is damaged still, and what a repair raises.
    """
    call = _Call(folder.path.parent, False, 1.0, 0, workers, on_event)
    run = _Verification(call, {folder.name: folder}, _Sources(folder.path.parent, None, annotations, images))
    try:
        with single_threaded():
            run.mend()
    finally:
        with suppress(OSError):
            folder.work.rmdir()  # a repair that was refused leaves it, empty
    require_sound(folder, workers=workers)


def _chosen(root: Path, names: Sequence[str]) -> dict[str, SplitFolder]:
    present = split_folders(root)
    unknown = sorted(set(names) - set(present))
    if unknown:
        raise UsageError(
            "split-unknown", f"no split {', '.join(unknown)}", where=str(root), hint=f"splits: {', '.join(present)}"
        )
    return {name: folder for name, folder in present.items() if not names or name in names}


@dataclass(frozen=True, slots=True)
class _Call:
    root: Path
    full: bool
    sample_share: float
    seed: int
    workers: int
    on_event: Listener


@dataclass(frozen=True, slots=True)
class _Sources:
    store: Path
    root: Path | None
    annotations: Path | None
    images: Path | None

    def of(self, split: str) -> Source:
        """Return a split's source: the named one, and no other where that does not have the split.

        Raises InputError for a named place that is not there.
        """
        logged = find_source(self.store, split)
        if self.root is None and self.annotations is None and self.images is None:
            return logged
        (named,) = find_coco(root=self.root, splits=(split,), annotations=self.annotations, images=self.images)
        return Source(annotations=named.annotations, images_root=named.images, allow_outside=logged.allow_outside)


@dataclass(slots=True)
class _Verification:
    call: _Call
    folders: Mapping[str, SplitFolder]
    sources: _Sources
    _stop: threading.Event = field(default_factory=threading.Event)
    _checks: dict[str, SplitCheck] = field(default_factory=dict)
    _statistics: dict[str, Statistics] = field(default_factory=dict)

    def run(self, *, repair: bool, sheet: Path | None) -> VerifyReport:
        began_s = time.monotonic()
        before: tuple[Finding, ...] = ()
        repaired: list[str] = []
        with ExitStack() as stack:
            if repair:
                stack.enter_context(hold(records_folder(self.call.root)))
            findings = self._check_all()
            if repair and any(finding.damaged or finding.code == "foreign-file" for finding in findings):
                repaired = self._repair(findings)
                before, findings = findings, self._check_all()
        if sheet is not None:
            self._draw(sheet)
        return VerifyReport(
            store=self.call.root, full=self.call.full, splits=tuple(self._verified(name) for name in self.folders),
            findings=findings, repaired=tuple(repaired), found_before_repair=before, sheet=sheet,
            seconds=time.monotonic() - began_s,
        )  # fmt: skip

    def mend(self) -> None:
        """Check, and make again what is damaged."""
        self._repair(self._check_all())

    def _check_all(self) -> tuple[Finding, ...]:
        findings = check_root(self.call.root)
        if not self.folders:
            findings.append(Finding(code="unfinished", detail="the store has no split yet"))
        for folder in self.folders.values():
            findings += self.check_split(folder)
        return tuple(findings)

    # -- checks

    def check_split(self, folder: SplitFolder) -> list[Finding]:
        """Return what is wrong with a split; remember its records' check and its statistics."""
        self._tell("stage", folder.name, "records", text="manifest, metadata, table")
        check = self._checks[folder.name] = check_split_records(folder)
        findings = list(check.findings)
        if check.facts is None:
            return findings
        shards = sorted(check.whole_records)
        stage = "decode" if self.call.full else "digests"
        self._tell("stage", folder.name, stage, total=len(shards))
        done: dict[int, ShardFull] = {}
        source = Source()
        if self.call.full:
            source = with_segmentations(self.sources.of(folder.name), check.facts)
            findings += _missing_source(check, source)

        def one(shard: int) -> ShardFull:
            return self._check_shard(check, shard, source)

        for shard, result in in_threads(one, shards, workers=self.call.workers, stop=self._stop):
            done[shard] = result
            self._tell("progress", folder.name, stage, done=len(done), total=len(shards))
        statistics = Statistics()
        for shard in shards:  # in order, so that sums of floats come out the same each time
            findings += done[shard].findings
            statistics = statistics.merge(done[shard].statistics)
        self._statistics[folder.name] = statistics
        return findings

    def _check_shard(self, check: SplitCheck, shard: int, source: Source) -> ShardFull:
        if not self.call.full:
            return ShardFull(findings=tuple(check_shard_digests(check, shard)), statistics=Statistics())
        return check_shard_full(
            check, shard, source=source, sample_share=self.call.sample_share, seed=self.call.seed, tick=self._tick
        )

    def _tick(self) -> None:
        if self._stop.is_set():
            raise KeyboardInterrupt

    def _tell(self, kind: Any, split: str, stage: str, **values: Any) -> None:
        self.call.on_event(Event(kind=kind, split=split, stage=stage, **values))

    def _verified(self, name: str) -> SplitVerified:
        check = self._checks[name]
        if check.facts is None:
            return SplitVerified(split=name)
        try:
            manifest = read_manifest(check.folder)
        except DamageError:
            manifest = {}
        return SplitVerified(
            split=name, rows=check.facts.rows, shards=check.facts.shards, annotations=check.facts.annotation_count,
            kept=manifest.get("kept", 0), rejected=manifest.get("rejected", 0),
            statistics=self._statistics[name] if self.call.full else None,
        )  # fmt: skip

    # -- repair and sheet

    def _repair(self, findings: Sequence[Finding]) -> list[str]:
        restored: list[str] = []
        for name, check in self._checks.items():
            ours = [finding for finding in findings if finding.split == name]
            if check.unfinished or not any(f.damaged or f.code == "foreign-file" for f in ours):
                continue
            shards = damaged_shards(ours, name)
            self._tell("stage", name, "repair", total=len(shards), text=f"{len(shards)} shards")
            names = repair_split(check, shards, source=self.sources.of(name), run=self._run_shards)
            restored += [f"{name}/{file}" for file in names]
        if any(finding.damaged and not finding.split for finding in findings) or restored or self._list_is_wrong():
            restored += repair_root(self.call.root)
        return restored

    def _list_is_wrong(self) -> bool:
        return any(finding.code in ("record", "digest", "missing-file") for finding in check_root(self.call.root))

    def _run_shards(self, function: Any, shards: Sequence[int]) -> list[list[str]]:
        return [names for _, names in in_threads(function, shards, workers=self.call.workers, stop=self._stop)]

    def _draw(self, sheet: Path) -> None:
        from pose_data.sheet import write_sheet

        finished = [name for name, folder in self.folders.items() if is_finished(folder)]
        if not finished:
            raise StoreError("unfinished", "there is nothing to draw yet", where=str(self.call.root))
        self._tell("stage", "", "sheet", text=str(sheet))
        sources = {name: self.sources.of(name) for name in finished}
        write_sheet(self.call.root, sheet, splits=finished, sources=sources, seed=self.call.seed)


def _missing_source(check: SplitCheck, source: Source) -> list[Finding]:
    """Return a note when crops cannot be made again for want of pictures or masks."""
    what = "pictures" if source.images_root is None else ""
    if not what and check.facts is not None and check.facts.recipe.takes_masks:
        what = "masks (the annotation file)" if source.segmentations is None else ""
    if not what:
        return []
    detail = f"the {what} are not at hand: crops were not made again"
    return [Finding(code="source-missing", split=check.folder.name, detail=detail)]
