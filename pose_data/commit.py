"""Finish a split: write the sample table from plan and shard records, then the manifest, last of all."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from pose_data.atomic import AtomicFile, Written, file_digest, remove_tree, write_file
from pose_data.errors import DamageError, InputError
from pose_data.manifest import (
    FORMAT_VERSION,
    ShardRecord,
    SplitFolder,
    read_record,
    read_shard_record,
    records_folder,
    write_record,
)
from pose_data.plan import ParquetSink, read_plan_rows, read_rejected_rows
from pose_data.shard import ShardJob
from pose_data.store import SplitFacts, read_split_facts, root_metadata, split_folders
from pose_data.table import TABLE_SCHEMA

__all__ = [
    "SplitCounts",
    "commit_split",
    "count_table",
    "leaked_digests",
    "read_counts",
    "update_root_manifest",
    "write_manifest",
    "write_table",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCounts:
    """What became of a split's annotations; ``annotations = kept + rejected`` always."""

    annotations: int
    rows: int
    kept: int
    rejected: int
    codes: Mapping[str, int]
    notes: Mapping[str, int]
    pictures: int
    size_bytes: int


def commit_split(
    job: ShardJob, root: Path, metadata: Mapping[str, Written], *, facts: SplitFacts, forbid_leak: bool = False
) -> SplitCounts:
    """Write the table and the manifest of a split whose shards are all recorded; remove the work folder.

    Raises InputError (``split-leak``) when asked to forbid pictures that are in another split, OSError.
    """
    split = job.split
    leaked = leaked_digests(split, split_folders(root).values())
    if leaked and forbid_leak:
        raise InputError(
            "split-leak", f"{len(leaked)} pictures of {split.name} are in another split, too", where=str(root),
            hint="remove them from one split, or leave --forbid-leak out",
        )  # fmt: skip
    table = write_table(job, split.table, leaked)
    write_manifest(split, facts, {**metadata, ".posedata/table.parquet": table})
    update_root_manifest(root)
    remove_tree(split.work)
    return read_counts(split)


def write_table(job: ShardJob, path: Path, leaked: set[str]) -> Written:
    """Write the sample table that plan and shard records make. Raises DamageError, OSError.

    ``leaked``: digests of pictures that get the note ``split-leak``.
    """
    with AtomicFile(path) as file, pq.ParquetWriter(ParquetSink(file), TABLE_SCHEMA, compression="zstd") as writer:
        for part in _table_parts(job, leaked):
            writer.write_table(part, row_group_size=max(1, part.num_rows))
    return file_digest(path)


def write_manifest(
    split: SplitFolder, facts: SplitFacts, files: Mapping[str, Written], *, path: Path | None = None
) -> Written:
    """Write the manifest (to ``path``) of a split whose table and shard records stand; return its size and digest.

    ``files``: the digests of the table and of every ``zarr.json``, by path relative to the split; those of the
    shard records are taken here. Nothing but the split's own files decides its bytes. Raises DamageError, OSError.
    """
    records = [split.shard_record(shard) for shard in range(facts.shards)]
    digests = {record.relative_to(split.path).as_posix(): file_digest(record) for record in records}
    payload: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "split": split.name,
        "rows": facts.rows,
        "shards": facts.shards,
        "shard_rows": facts.shard_rows,
        **count_table(split.table),
        # One that goes over the border of two shards counts once.
        "pictures": len({name for record in records for name in read_shard_record(record).pictures}),
        "size_bytes": sum(read_shard_record(record).size_bytes for record in records),
        "files": {name: [file.size_bytes, file.digest] for name, file in {**files, **digests}.items()},
        # What the split's zarr.json says, once more: should that file be damaged, it can be made again.
        "attributes": facts.attributes(),
    }
    return write_record(path or split.manifest, payload)


def count_table(path: Path) -> dict[str, Any]:
    """Return the counts of a sample table: ``annotations``, ``kept``, ``rejected``, ``codes``, ``notes``.

    Raises DamageError when the table cannot be read.
    """
    annotations = kept = 0
    codes: Counter[str] = Counter()
    notes: Counter[str] = Counter()
    try:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(columns=["kept", "code", "notes"], batch_size=4096, use_threads=False):
                columns = batch.to_pydict()
                annotations += batch.num_rows
                kept += sum(columns["kept"])
                codes.update(code for code in columns["code"] if code)
                notes.update(note for row in columns["notes"] for note in row)
    except (OSError, pa.ArrowException) as error:
        raise DamageError("record", f"the sample table cannot be read: {error}", where=str(path)) from error
    return {
        "annotations": annotations,
        "kept": kept,
        "rejected": annotations - kept,
        "codes": dict(sorted(codes.items())),
        "notes": dict(sorted(notes.items())),
    }


def read_counts(split: SplitFolder) -> SplitCounts:
    """Return the counts that a finished split's manifest holds. Raises DamageError."""
    manifest = read_record(split.manifest)
    return SplitCounts(**{field.name: manifest[field.name] for field in fields(SplitCounts)})


def update_root_manifest(root: Path) -> None:
    """Write the root's ``zarr.json`` and its list of finished splits with their manifests' digests.

    Both are written only when they change. Raises DamageError, OSError.
    """
    finished = {name: folder for name, folder in split_folders(root).items() if folder.manifest.is_file()}
    text = root_metadata({name: read_split_facts(folder) for name, folder in finished.items()})
    if not (root / "zarr.json").is_file() or (root / "zarr.json").read_bytes() != text:
        write_file(root / "zarr.json", text)
    zarr_json = file_digest(root / "zarr.json")
    payload = {
        "format_version": FORMAT_VERSION,
        "splits": {name: file_digest(folder.manifest).digest for name, folder in finished.items()},
        "files": {"zarr.json": [zarr_json.size_bytes, zarr_json.digest]},
    }
    path = records_folder(root) / "manifest.json"
    if not _holds(path, payload):
        write_record(path, payload)


def _holds(path: Path, payload: Mapping[str, Any]) -> bool:
    try:
        return read_record(path) == payload
    except DamageError:  # missing or torn: written again
        return False


def leaked_digests(split: SplitFolder, among: Iterable[SplitFolder]) -> set[str]:
    """Return the digests of pictures of this split that another, finished one of ``among`` holds, too.

    Raises DamageError when a shard record cannot be read.
    """
    others = [
        _short_digests(record.pictures.values())
        for other in among
        if other.name != split.name and other.manifest.is_file()
        for record in _records(other)
    ]
    if not others:
        return set()
    known = np.unique(np.concatenate(others))
    leaked: set[str] = set()
    for record in _records(split):
        digests = list(record.pictures.values())
        leaked.update(np.array(digests, object)[np.isin(_short_digests(digests), known)])
    return leaked


def _short_digests(digests: Iterable[str | None]) -> npt.NDArray[np.uint64]:
    # 64 of the 128 bits: a chance meeting among a million pictures is below 1e-7.
    return np.array([int(digest[:16], 16) for digest in digests if digest], np.uint64)


def _records(split: SplitFolder) -> Iterator[ShardRecord]:
    for path in sorted((split.records / "shards").glob("*.json")):
        yield read_shard_record(path)


def _table_parts(job: ShardJob, leaked: set[str]) -> Iterator[pa.Table]:
    for shard in range(job.shards):
        rows = read_plan_rows(job.plan_path, shard)
        yield _finished_rows(rows, read_shard_record(job.split.shard_record(shard)), leaked)
    for rows in read_rejected_rows(job.plan_path, job.shards):
        yield _as_table(rows, {"image_digest": [None] * rows.num_rows})


def _finished_rows(rows: pa.Table, record: ShardRecord, leaked: set[str]) -> pa.Table:
    kept, code, detail, notes = (rows[name].to_pylist() for name in ("kept", "code", "detail", "notes"))
    digests = [record.pictures.get(name) for name in rows["file_name"].to_pylist()]
    persons: dict[int, list[int]] = {}
    for position, row in enumerate(rows["row"].to_pylist()):
        if kept[position]:
            persons.setdefault(row, []).append(position)
    for reject in record.rejects:
        for position in persons[reject.row]:
            kept[position], code[position], detail[position] = False, reject.code, reject.detail
    for row, note in record.notes:
        for position in persons[row]:
            notes[position].append(note)
    for position, digest in enumerate(digests):
        if digest in leaked:
            notes[position].append("split-leak")
    return _as_table(rows, {"kept": kept, "code": code, "detail": detail, "notes": notes, "image_digest": digests})


def _as_table(rows: pa.Table, changed: Mapping[str, list[Any]]) -> pa.Table:
    columns = [
        pa.array(changed[field.name], field.type) if field.name in changed else rows[field.name]
        for field in TABLE_SCHEMA
    ]
    return pa.table(columns, schema=TABLE_SCHEMA)
