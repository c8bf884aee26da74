"""Make damaged files of a finished store again, and put them in place only when they are what was recorded.

What proves a file: a shard's files are in its record, records, table and metadata in the manifest, the manifest
in the store's list of splits. Everything is made beside the store's own files and compared first; when a digest
differs, nothing of that piece is changed and ResumeMismatchError says so.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

from pose_data.atomic import (
    Written,
    bytes_digest,
    file_digest,
    make_folder,
    remove_tree,
    replace_file,
    storage_errors,
    sweep,
    write_file,
)
from pose_data.commit import leaked_digests, update_root_manifest, write_manifest, write_table
from pose_data.errors import DamageError, ResumeMismatchError
from pose_data.findings import Finding
from pose_data.manifest import (
    SplitFolder,
    is_finished,
    listed_splits,
    read_manifest,
    read_shard_record,
    root_manifest_path,
)
from pose_data.plan import read_plan_rows, write_plan
from pose_data.selection import select_packed
from pose_data.shard import ShardJob, make_shard
from pose_data.source import Source, read_annotations
from pose_data.store import SplitFacts, split_folders, split_metadata
from pose_data.verify import SplitCheck, read_shard_rows, shard_file_names
from pose_data.versions import library_versions

__all__ = ["damaged_shards", "repair_root", "repair_shards", "repair_split"]

ShardRunner = Callable[[Callable[[int], list[str]], Sequence[int]], Iterable[list[str]]]
"""Calls a function for each shard, in whatever order and threads, and gives the results."""


def damaged_shards(findings: Iterable[Finding], split: str) -> tuple[int, ...]:
    """Return the shards of a split that findings say are damaged, in order."""
    return tuple(sorted({f.shard for f in findings if f.damaged and f.split == split and f.shard is not None}))


def repair_shards(check: SplitCheck, shards: Collection[int], *, source: Source, run: ShardRunner = map) -> list[str]:
    """Make shards again from their sources; return the files put in place, relative to the split.

    The caller holds the store's lock. Raises ResumeMismatchError (``source-missing``, ``source-changed``,
    ``repair-differs``), DamageError when neither a record nor the manifest says what a shard should be.
    """
    with _repairing(check, source) as repair:
        return repair.shards(shards, run)


def repair_split(check: SplitCheck, shards: Collection[int], *, source: Source, run: ShardRunner = map) -> list[str]:
    """Make everything of a split that is damaged again: metadata, ``shards``, table, manifest.

    Left-overs of interrupted runs are removed. Returns and raises as :func:`repair_shards`.
    """
    with _repairing(check, source) as repair:
        restored = [*repair.metadata(), *repair.shards(shards, run), *repair.table(), *repair.manifest()]
    with storage_errors("tidying up", check.folder.path):
        remove_tree(check.folder.work)
        sweep(check.folder.path)
    return restored


def repair_root(root: Path) -> list[str]:
    """Write the root's metadata and its list of splits again when they are damaged; return what was written.

    Raises DamageError when a split's manifest is not whole: the list could not name it.
    """
    paths = (root / "zarr.json", root_manifest_path(root))
    before = [_digest(path) for path in paths]
    for folder in split_folders(root).values():
        if is_finished(folder):
            read_manifest(folder)
    gone = sorted(set(listed_splits(root)) - set(split_folders(root)))
    if gone:
        raise DamageError(
            "missing-file", f"whole splits are gone: {', '.join(gone)}; the store's list was left as it is",
            where=str(root), hint="prepare them again",
        )  # fmt: skip
    with storage_errors("repairing", root):
        update_root_manifest(root)
    return [
        path.relative_to(root).as_posix() for path, digest in zip(paths, before, strict=True) if _digest(path) != digest
    ]


def _digest(path: Path) -> Written | None:
    try:
        return file_digest(path)
    except OSError:
        return None


@contextmanager
def _repairing(check: SplitCheck, source: Source) -> Iterator["_SplitRepair"]:
    """Hold an empty staging folder for the body; it is removed at the end, whatever happens."""
    if check.facts is None:
        raise DamageError(
            "not-repairable", "neither the manifest nor the zarr.json of the split says what it was",
            where=str(check.folder.path), hint="prepare it again with --overwrite",
        )  # fmt: skip
    staging = check.folder.work / "repair"
    with storage_errors("repairing", check.folder.path):
        remove_tree(staging)
        make_folder(staging)
        try:
            yield _SplitRepair(check, check.facts, source, staging)
        finally:
            remove_tree(staging)


@dataclass(slots=True)
class _SplitRepair:
    check: SplitCheck
    facts: SplitFacts
    source: Source
    staging: Path
    _manifest: Mapping[str, Any] = field(init=False)
    _recorded: Mapping[str, Written] = field(init=False)
    _manifest_digest: str = field(init=False)
    _planned: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self._manifest = {}
        with suppress(DamageError):  # it is made again, last of all
            self._manifest = read_manifest(self._folder)
        self._recorded = {name: Written(*file) for name, file in self._manifest.get("files", {}).items()}
        self._manifest_digest = listed_splits(self._folder.path.parent).get(self._folder.name, "")

    @property
    def _folder(self) -> SplitFolder:
        return self.check.folder

    def _name(self, path: Path) -> str:
        return path.relative_to(self._folder.path).as_posix()

    def _job(self, split: SplitFolder) -> ShardJob:
        """Return the job of making (parts of) the split into the folder ``split``; the plan is made when missing."""
        plan = self.staging / "plan.parquet"
        if not self._planned:
            chosen = select_packed(read_annotations(self.source, self.facts).rows, self.facts.recipe)
            rows = write_plan(plan, chosen, self.facts.recipe, self.facts.shard_rows).rows
            if rows != self.facts.rows:
                raise _differs(self._folder, f"the annotations give {rows} rows instead of {self.facts.rows}")
            self._planned = True
        return ShardJob(
            split=split, images_root=self.source.images_root or Path(), recipe=self.facts.recipe,
            keypoint_indices=self.facts.keypoint_indices, rows=self.facts.rows, shard_rows=self.facts.shard_rows,
            allow_outside=self.source.allow_outside, plan=plan, persons_a_shard=self.facts.persons_a_shard,
        )  # fmt: skip

    # -- metadata

    def metadata(self) -> list[str]:
        """Write the ``zarr.json`` files again that are not what was recorded."""
        restored = []
        for name, text in split_metadata(self.facts).items():
            made = Written(len(text), bytes_digest(text))
            recorded = self._recorded.get(name, made)
            if _digest(self._folder.path / name) == recorded:
                continue
            if recorded != made or (not self._recorded and not self._same_zarr()):
                raise _differs(self._folder, name)
            make_folder((self._folder.path / name).parent)
            write_file(self._folder.path / name, text)
            restored.append(name)
        return restored

    def _same_zarr(self) -> bool:
        return self.facts.versions.get("zarr") == library_versions().get("zarr")

    # -- shards

    def shards(self, shards: Collection[int], run: ShardRunner) -> list[str]:
        """Make shards again and put their files in place, each shard when all of it is as recorded."""
        if not shards:
            return []
        if self.source.images_root is None:
            raise ResumeMismatchError(
                "source-missing", f"the pictures of {self.facts.split} are not at hand; nothing was changed",
                hint="name them: --annotations FILE --images FOLDER, or --root FOLDER",
            )  # fmt: skip
        staged = SplitFolder(self.staging / "split")
        for layout in self.facts.layouts():
            make_folder(staged.path / layout.name)
        make_folder(staged.shard_record(0).parent)
        job = self._job(staged)
        return [name for names in run(lambda shard: self._shard(job, shard), sorted(shards)) for name in names]

    def _shard(self, job: ShardJob, shard: int) -> list[str]:
        path = self._folder.shard_record(shard)
        whole = shard in self.check.whole_records
        recorded = file_digest(path) if whole else self._recorded.get(self._name(path))
        if recorded is None and not self._manifest_digest:
            raise DamageError(
                "not-repairable", f"record, manifest and the store's list are damaged: nothing says what shard {shard} "
                "was", where=str(path), hint="prepare the split again with --overwrite",
            )  # fmt: skip
        make_shard(job, shard, culprits=self._culprits(job, shard))
        if recorded not in (None, file_digest(job.split.shard_record(shard))):
            raise _differs(self._folder, f"shard {shard}")
        restored = []
        names = [name for name, _ in shard_file_names(job.split, self.facts, shard)]
        for name in [*names, self._name(path)]:
            if _digest(self._folder.path / name) != file_digest(job.split.path / name):
                replace_file(job.split.path / name, self._folder.path / name)
                restored.append(name)
        return restored

    def _culprits(self, job: ShardJob, shard: int) -> dict[str, str]:
        """Return the shard's pictures that crashed the decoder then, so that they are not read now."""
        rows = read_plan_rows(job.plan_path, shard)
        names = dict(zip(rows["row"].to_pylist(), rows["file_name"].to_pylist(), strict=True))
        if shard in self.check.whole_records:
            record = read_shard_record(self._folder.shard_record(shard))
            return {names[r.row]: r.detail for r in record.rejects if r.code == "img-crash"}
        if not self.check.table_whole:
            return {}
        table = read_shard_rows(self._folder, shard, ["file_name", "code", "detail"]).to_pylist()
        return {row["file_name"]: row["detail"] for row in table if row["code"] == "img-crash"}

    # -- table and manifest

    def table(self) -> list[str]:
        """Write the sample table again when it is not what was recorded."""
        name = self._name(self._folder.table)
        recorded, found = self._recorded.get(name), _digest(self._folder.table)
        if found is not None and (found == recorded or self._proved_by_list()):
            return []
        job, staged = self._job(self._folder), self.staging / "table.parquet"
        for leaked in self._possible_leaks():
            made = write_table(job, staged, leaked)
            if recorded in (None, made):
                if made == found:
                    return []
                replace_file(staged, self._folder.table)
                return [name]
        raise _differs(self._folder, name)

    def _possible_leaks(self) -> Iterator[set[str]]:
        """Yield what may have been known of pictures in other splits when the table was written, likeliest first."""
        root = self._folder.path.parent
        others = [folder for name, folder in split_folders(root).items() if name != self._folder.name]
        others = [folder for folder in others if folder.table.is_file() and folder.manifest.is_file()][:6]
        tried: list[set[str]] = []
        for count in range(len(others), -1, -1):
            for among in combinations(others, count):
                try:
                    leaked = leaked_digests(self._folder, among)
                except DamageError:
                    continue  # another split is damaged, too; the others may do
                if leaked not in tried:
                    tried.append(leaked)
                    yield leaked

    def manifest(self) -> list[str]:
        """Write the manifest again when it is damaged."""
        if self._manifest:
            return []
        staged, digest = self._staged_manifest()
        if self._manifest_digest not in ("", digest):
            raise _differs(self._folder, self._name(self._folder.manifest))
        replace_file(staged, self._folder.manifest)
        return [self._name(self._folder.manifest)]

    def _staged_manifest(self) -> tuple[Path, str]:
        files = {name: file_digest(self._folder.path / name) for name in split_metadata(self.facts)}
        files[self._name(self._folder.table)] = file_digest(self._folder.table)
        staged = self.staging / "manifest.json"
        return staged, write_manifest(self._folder, self.facts, files, path=staged).digest

    def _proved_by_list(self) -> bool:
        """Return whether the table there is gives, with the rest, the manifest that the store's list names.

        Without a list, only the source can prove a table.
        """
        if self._manifest or not self._manifest_digest:
            return False
        try:
            return self._staged_manifest()[1] == self._manifest_digest
        except DamageError:
            return False


def _differs(folder: SplitFolder, what: str) -> ResumeMismatchError:
    return ResumeMismatchError(
        "repair-differs", f"{what} of {folder.name}, made again, is not what was recorded; it was left as it is",
        where=str(folder.path),
        hint="the source pictures or the library versions differ from those the store was made with; use those, "
        "or prepare the split again with --overwrite",
    )  # fmt: skip
