"""The quick check of a store: its records, the digest of every file, the counts, the conservation law.

Cut into pieces that can run side by side: :func:`check_root` once a store, :func:`check_split_records`
once a split, :func:`check_shard_digests` once a shard. Nothing is changed; whatever is wrong becomes a
:class:`~pose_data.findings.Finding`, never an exception. What decodes the arrays is in
:mod:`pose_data.verify_full`.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pose_data.atomic import PARTIAL_SUFFIX, Written, file_digest
from pose_data.commit import count_table
from pose_data.errors import DamageError, PoseError
from pose_data.findings import Finding, finding_of_rows
from pose_data.layout import ArrayLayout
from pose_data.manifest import (
    RootManifest,
    ShardRecord,
    SplitFolder,
    is_finished,
    read_manifest,
    read_root_manifest,
    read_shard_record,
    records_folder,
    root_manifest_path,
)
from pose_data.shard_file import read_chunk, read_index
from pose_data.store import (
    SplitFacts,
    facts_from_attributes,
    read_split_facts,
    root_metadata,
    split_folders,
    split_metadata,
)
from pose_data.versions import library_versions

__all__ = [
    "SplitCheck",
    "check_root",
    "check_shard_digests",
    "check_split_records",
    "ids_of_rows",
    "read_shard_rows",
    "shard_file_names",
    "split_facts",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCheck:
    """What the look at a split's records gave: where the checks of its shards start.

    ``facts`` is None where neither manifest nor ``zarr.json`` can be read. ``table_whole``: the sample table can be
    relied on. ``whole_records``: the shards whose record is whole; the files of others cannot be checked.
    """

    folder: SplitFolder
    facts: SplitFacts | None
    findings: tuple[Finding, ...]
    table_whole: bool = False
    whole_records: frozenset[int] = frozenset()

    @property
    def unfinished(self) -> bool:
        """Return whether the split was never finished; nothing else is known of it then."""
        return any(finding.code == "unfinished" for finding in self.findings)


# ------------------------------------------------------------------------------------ the store's root


def check_root(root: Path) -> list[Finding]:
    """Check what stands above the splits: root metadata, the list of splits, what does not belong there."""
    splits = split_folders(root)
    finished = {name for name, folder in splits.items() if folder.manifest.is_file()}
    path = root_manifest_path(root)
    findings: list[Finding] = []
    manifest = RootManifest({}, {})
    try:
        manifest = read_root_manifest(root)
    except DamageError as error:
        # A first preparation that is not at its end has no list yet.
        if finished or error.code != "missing-file":
            detail = f"the store's list of its splits: {error.message}"
            findings.append(Finding(code=error.code, path=_shown(root, path), detail=detail))
    else:
        findings += _check_listed(root, manifest.splits, splits)
    findings += _check_root_text(root, manifest.files.get("zarr.json"))
    return findings + list(_foreign_in_root(root, {*splits, *manifest.splits}))


def _check_listed(root: Path, listed: Mapping[str, str], splits: Mapping[str, SplitFolder]) -> Iterator[Finding]:
    for name in sorted({*listed, *splits}):
        folder = SplitFolder(root / name)
        if name not in splits:
            yield Finding(code="missing-file", split=name, path=name, detail="the whole split")
            continue
        try:
            read_manifest(folder)
        except DamageError:
            continue  # said by the split's own check
        if listed.get(name) != file_digest(folder.manifest).digest:
            what = "does not know the split" if name not in listed else "holds another digest of the split's manifest"
            path = _shown(root, root_manifest_path(root))
            yield Finding(code="record", split=name, path=path, detail=f"the store's list {what}")


def _check_root_text(root: Path, written: Written | None) -> Iterator[Finding]:
    path = root / "zarr.json"
    found = _compare_file(path, written)
    if found is None and written is None and not _is_root_text(root, path.read_bytes()):
        found = ("metadata", "not what the splits' metadata gives")
    if found is not None and path.is_file() and _lists_all_finished(root, path.read_bytes()):
        found = None  # a run was killed between this text and the list of splits: the next one writes the list
    if found is not None:
        yield Finding(code=found[0], path="zarr.json", detail=found[1])


def _finished_facts(root: Path) -> dict[str, SplitFacts]:
    return {name: split_facts(folder) for name, folder in split_folders(root).items() if is_finished(folder)}


def _is_root_text(root: Path, text: bytes) -> bool:
    try:
        finished = _finished_facts(root)
        return any(_same_metadata(text, root_metadata(facts), facts.values()) for facts in (finished, {}))
    except PoseError:
        return True  # nothing to compare it with; the split's own check says what is wrong there


def _lists_all_finished(root: Path, text: bytes) -> bool:
    try:
        return text == root_metadata(_finished_facts(root))
    except PoseError:
        return False


def _foreign_in_root(root: Path, splits: set[str]) -> Iterator[Finding]:
    known = {*splits, ".posedata", "zarr.json"}
    strange = [path for path in root.iterdir() if path.name not in known]
    strange += [path for path in records_folder(root).iterdir() if path.name not in ("lock", "manifest.json")]
    for path in sorted(strange):
        yield _foreign(root, path, "")


def _foreign(root: Path, path: Path, split: str) -> Finding:
    what = "not of the store" + (" (a folder)" if path.is_dir() and not path.is_symlink() else "")
    if path.name.endswith(PARTIAL_SUFFIX):
        what = "left behind by a program that was killed while it wrote"
    return Finding(code="foreign-file", split=split, path=_shown(root, path), detail=what)


# ------------------------------------------------------------------------------------ one split's records


def split_facts(folder: SplitFolder) -> SplitFacts:
    """Return what is known of a split, from its manifest or else from its ``zarr.json``. Raises PoseError."""
    try:
        return facts_from_attributes(read_manifest(folder)["attributes"], where=str(folder.manifest))
    except DamageError:
        pass  # the metadata says the same
    facts = read_split_facts(folder)
    if facts.split != folder.name:
        raise DamageError("metadata", f"the metadata is of the split {facts.split!r}", where=str(folder.path))
    return facts


def check_split_records(folder: SplitFolder) -> SplitCheck:
    """Check everything of a split but its shards' data files: manifest, metadata, table, shard records, counts."""
    if not is_finished(folder):
        finding = Finding(
            code="unfinished", split=folder.name, path=folder.name,
            detail="run the same posedata prepare command again; it continues",
        )  # fmt: skip
        return SplitCheck(folder=folder, facts=None, findings=(finding,))
    return _RecordsCheck(folder).run()


class _RecordsCheck:
    def __init__(self, folder: SplitFolder) -> None:
        self._folder = folder
        self._root = folder.path.parent
        self._findings: list[Finding] = []
        self._manifest = self._read_manifest()
        self._files = {name: Written(*file) for name, file in self._manifest.get("files", {}).items()}

    def run(self) -> SplitCheck:
        try:
            facts = split_facts(self._folder)
        except PoseError as error:
            self._add(error.code if error.code == "missing-file" else "metadata", "zarr.json", detail=error.message)
            return SplitCheck(folder=self._folder, facts=None, findings=tuple(self._findings))
        self._check_metadata(facts)
        whole_records = frozenset(self._check_shard_records(facts))
        table_whole = self._check_table(facts)
        self._check_foreign(facts)
        return SplitCheck(
            folder=self._folder, facts=facts, findings=tuple(self._findings), table_whole=table_whole,
            whole_records=whole_records,
        )  # fmt: skip

    def _add(self, code: str, name: str, *, detail: str, **place: Any) -> None:
        path = _shown(self._root, self._folder.path / name)
        self._findings.append(Finding(code=code, split=self._folder.name, path=path, detail=detail, **place))

    def _read_manifest(self) -> dict[str, Any]:
        try:
            return read_manifest(self._folder)
        except DamageError as error:
            path = _shown(self._root, self._folder.manifest)
            detail = f"the split's manifest: {error.message}"
            self._findings.append(Finding(code=error.code, split=self._folder.name, path=path, detail=detail))
            return {}

    def _is_whole(self, name: str, **place: Any) -> bool:
        found = _compare_file(self._folder.path / name, self._files.get(name))
        if found is None:
            return True
        self._add(found[0], name, detail=found[1], **place)
        return False

    def _check_metadata(self, facts: SplitFacts) -> None:
        for name, text in split_metadata(facts).items():
            array = name.rpartition("/")[0]
            if not self._is_whole(name, array=array):
                continue
            if not _same_metadata((self._folder.path / name).read_bytes(), text, [facts]):
                self._add("metadata", name, detail="not what the recipe asks for", array=array)

    def _check_shard_records(self, facts: SplitFacts) -> Iterator[int]:
        for shard in range(facts.shards):
            path = self._folder.shard_record(shard)
            name = path.relative_to(self._folder.path).as_posix()
            if not self._is_whole(name, shard=shard):
                continue
            try:
                record = read_shard_record(path)
            except DamageError as error:
                self._add(error.code, name, detail=error.message, shard=shard)
                continue
            wrong = _wrong_in_record(record, shard, facts, self._folder)
            if wrong:
                self._add("record", name, detail=wrong, shard=shard)
            else:
                yield shard

    def _check_table(self, facts: SplitFacts) -> bool:
        name = self._folder.table.relative_to(self._folder.path).as_posix()
        if not self._is_whole(name):
            return False
        try:
            counts = count_table(self._folder.table)
            rows = pq.read_table(self._folder.table, columns=["row"])["row"].drop_null().to_numpy()
        except (OSError, pa.ArrowException, DamageError) as error:
            self._add("record", name, detail=f"the sample table cannot be read: {error}")
            return False
        wrong = [
            f"{field}: the table has {value}, the manifest {self._manifest[field]}"
            for field, value in counts.items()
            if self._manifest.get(field, value) != value
        ]
        # A scene's row has as many annotations as its picture.
        if facts.recipe.rows == "scenes" and (np.diff(rows) >= 0).all():
            rows = np.unique(rows)
        if not np.array_equal(rows, np.arange(facts.rows)):
            wrong.append(f"the table does not have the rows 0 to {facts.rows - 1}, each once and in order")
        if wrong:
            self._add("counts", name, detail="; ".join(wrong))
        kept, rejected = counts["kept"], counts["rejected"]
        if kept + rejected != facts.annotation_count:
            self._add("law", name, detail=f"{facts.annotation_count} annotations in, {kept} kept, {rejected} rejected")
        return True

    def _check_foreign(self, facts: SplitFacts) -> None:
        known = {*split_metadata(facts), ".posedata/manifest.json", ".posedata/table.parquet"}
        for shard in range(facts.shards):
            known.add(self._folder.shard_record(shard).relative_to(self._folder.path).as_posix())
            known.update(name for name, _ in shard_file_names(self._folder, facts, shard))
        folders = {str(Path(name).parent) for name in known} | {".posedata", ".posedata/shards"}
        for path in sorted(_walk(self._folder.path, self._folder.path, folders)):
            name = path.relative_to(self._folder.path).as_posix()
            if name == ".posedata/work":
                detail = "left over from an interrupted run; posedata prepare or verify --repair removes it"
                self._add("foreign-file", name, detail=detail)
            elif name not in known and name != ".posedata/runs":
                self._findings.append(_foreign(self._root, path, self._folder.name))


def _walk(folder: Path, top: Path, known: set[str]) -> Iterator[Path]:
    """Yield every file below ``folder``, and the folders that are not known (relative to ``top``) as they are."""
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink() and path.relative_to(top).as_posix() in known:
            yield from _walk(path, top, known)
        else:
            yield path


def shard_file_names(folder: SplitFolder, facts: SplitFacts, shard: int) -> Iterator[tuple[str, ArrayLayout]]:
    """Yield the data files of a shard, relative to the split, with their arrays."""
    for layout in facts.layouts():
        path = folder.shard_file(layout.name, len(layout.row_shape), shard)
        yield path.relative_to(folder.path).as_posix(), layout


def _wrong_in_record(record: ShardRecord, shard: int, facts: SplitFacts, folder: SplitFolder) -> str:
    first = shard * facts.shard_rows
    rows = min(facts.shard_rows, facts.rows - first)
    if (record.shard, record.first_row, record.rows) != (shard, first, rows):
        return f"it is of shard {record.shard}, rows {record.first_row} to {record.first_row + record.rows - 1}"
    if set(record.files) != {name for name, _ in shard_file_names(folder, facts, shard)}:
        return "its list of files is not that of the recipe"
    return ""


def _same_metadata(found: bytes, expected: bytes, made_from: Iterable[SplitFacts]) -> bool:
    if found == expected:
        return True
    if all(facts.versions.get("zarr") == library_versions().get("zarr") for facts in made_from):
        return False
    # Another zarr-python may write the same things in another order, or name a default.
    names = ("shape", "data_type", "attributes", "node_type")
    try:
        theirs, ours = json.loads(found), json.loads(expected)
    except ValueError:
        return False
    return isinstance(theirs, dict) and bool(all(theirs.get(name) == ours.get(name) for name in names))


def _compare_file(path: Path, written: Written | None) -> tuple[str, str] | None:
    """Return code and detail of what is wrong with a file, None when it is what was written (as far as is known)."""
    try:
        found = file_digest(path)
    except FileNotFoundError:
        return "missing-file", "it is recorded, and not there"
    except OSError as error:
        return "digest", f"it cannot be read: {error.strerror}"
    if written is None or found == written:
        return None
    if found.size_bytes != written.size_bytes:
        return "size", f"it has {found.size_bytes:,} bytes where {written.size_bytes:,} were written"
    return "digest", "its bytes are not those that were written"


def _shown(root: Path, path: Path) -> str:
    return path.relative_to(root).as_posix()


# ------------------------------------------------------------------------------------ one shard's files


def read_shard_rows(folder: SplitFolder, shard: int, columns: list[str] | None = None) -> pa.Table:
    """Return the sample table's rows of one shard, in order. Raises DamageError."""
    try:
        with pq.ParquetFile(folder.table) as table:
            return table.read_row_group(shard, columns=columns)
    except (OSError, IndexError, pa.ArrowException) as error:
        raise DamageError("record", f"the sample table cannot be read: {error}", where=str(folder.table)) from error


def check_shard_digests(check: SplitCheck, shard: int) -> list[Finding]:
    """Compare every file of a shard with its record; return what differs, down to the rows where that can be told."""
    if check.facts is None or shard not in check.whole_records:
        return []
    record = read_shard_record(check.folder.shard_record(shard))
    findings = []
    for name, layout in shard_file_names(check.folder, check.facts, shard):
        path = check.folder.path / name
        found = _compare_file(path, record.files[name])
        if found is None:
            continue
        rows = range(record.rows)
        detail = found[1]
        if layout.sharded and found[0] != "missing-file":
            rows, detail = _damaged_rows(layout, path, check.facts, record, detail)
        numbers = [record.first_row + row for row in rows]
        findings.append(finding_of_rows(
            found[0], numbers, _annotation_ids(check, shard, numbers), detail=detail,
            split=check.folder.name, array=layout.name, shard=shard, path=_shown(check.folder.path.parent, path),
        ))  # fmt: skip
    return findings


def _damaged_rows(
    layout: ArrayLayout, path: Path, facts: SplitFacts, record: ShardRecord, detail: str
) -> tuple[range, str]:
    """Return the span of a shard's rows whose chunks fail their checksum; all rows where none does."""
    chunk_rows = facts.recipe.chunk_rows
    out = np.empty((chunk_rows, *layout.row_shape), layout.dtype)
    bad = []
    try:
        index = read_index(path, facts.shard_rows // chunk_rows)
    except (DamageError, OSError) as error:
        return range(record.rows), f"{detail}; {error.message if isinstance(error, DamageError) else error}"
    for chunk in range(-(-record.rows // chunk_rows)):
        try:
            read_chunk(layout, path, index, chunk, out)
        except (DamageError, OSError):
            bad.append(chunk)
    if not bad:
        return range(record.rows), f"{detail}; every chunk in it is whole"
    listed = ", ".join(str(chunk) for chunk in bad[:10]) + (" …" if len(bad) > 10 else "")
    rows = range(bad[0] * chunk_rows, min(record.rows, (bad[-1] + 1) * chunk_rows))
    return rows, f"{detail}; damaged chunks: {listed}"


def _annotation_ids(check: SplitCheck, shard: int, rows: Collection[int]) -> list[int | None]:
    if not check.table_whole:
        return []
    return ids_of_rows(read_shard_rows(check.folder, shard, ["row", "annotation_id"]), rows)


def ids_of_rows(table: pa.Table, rows: Collection[int]) -> list[int | None]:
    """Return the annotation ids of rows of the split, from the sample table's ``row`` and ``annotation_id``."""
    wanted = frozenset(rows)
    pairs = zip(table["row"].to_pylist(), table["annotation_id"].to_pylist(), strict=True)
    return [number for row, number in pairs if row in wanted]
