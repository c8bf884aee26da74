"""The problems of a store's input: every record that was rejected, and every note about one that was kept."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pose_data.errors import PROBLEMS, DamageError, Fate, UsageError
from pose_data.manifest import Reject, SplitFolder, read_shard_record
from pose_data.store import require_store, split_folders

__all__ = ["Problem", "chosen_splits", "problem_examples", "problems"]

_BATCH_ROWS = 8192
_EXAMPLES = 3
_COLUMNS = ["sample_id", "annotation_id", "image_id", "file_name", "row", "code", "detail", "notes"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One problem of one record. ``fate`` says what it did: reject, filter or note.

    ``sample_id`` is the record's position in the annotation file, from 1; ``row`` its row in the store, None when it
    has none. The names and ids are those of the input, as they were read.
    """

    split: str
    code: str
    fate: Fate
    sample_id: int
    annotation_id: int | None
    image_id: int | None
    file_name: str | None
    row: int | None
    detail: str


def problems(
    store: str | Path, *, code: str | None = None, split: str | None = None, limit: int | None = None
) -> Iterator[Problem]:
    """Yield the problems of a store, finished or not, split by split in the order of its table.

    ``code`` and ``split`` narrow them down, ``limit`` ends them. The table is read in pieces. Raises StoreError when
    there is no store, UsageError for an unknown code or split, DamageError when a table cannot be read.
    """
    if code is not None and code not in PROBLEMS:
        raise UsageError("problem-unknown", f"there is no problem code {code!r}", hint=f"codes: {', '.join(PROBLEMS)}")
    if limit is not None and limit < 0:
        raise UsageError("option-value", f"limit is {limit}", hint="at least 0")
    return _limited(_of_splits(chosen_splits(Path(store), split), code), limit)


def _limited(found: Iterator[Problem], limit: int | None) -> Iterator[Problem]:
    for count, problem in enumerate(found):
        if limit is not None and count >= limit:
            return
        yield problem


def chosen_splits(store: Path, split: str | None) -> dict[str, SplitFolder]:
    """Return the splits of a store, or the one asked for. Raises StoreError, UsageError."""
    require_store(store)
    folders = split_folders(store)
    if split is not None and split not in folders:
        raise UsageError(
            "split-unknown", f"no split {split!r}", where=str(store), hint=f"splits: {', '.join(folders) or 'none yet'}"
        )
    return {name: folder for name, folder in folders.items() if split in (None, name)}


def problem_examples(store: str | Path, split: str) -> dict[str, tuple[str, ...]]:
    """Return up to three examples for each code that came up in a split: annotation id, file name, detail."""
    examples: dict[str, tuple[str, ...]] = {}
    for problem in problems(store, split=split):
        before = examples.get(problem.code, ())
        if len(before) < _EXAMPLES:
            text = f"annotation {problem.annotation_id} of {problem.file_name}"
            text += f": {problem.detail}" if problem.detail else ""
            examples[problem.code] = (*before, text)
    return examples


def _of_splits(folders: Mapping[str, SplitFolder], code: str | None) -> Iterator[Problem]:
    for folder in folders.values():
        finished = folder.table.is_file()
        path = folder.table if finished else folder.plan
        if not path.is_file():
            continue  # killed before the plan was written: nothing is known yet
        later = {} if finished else _rejects_of_shards(folder)
        for row in _read_rows(path, keep_all=bool(later)):
            yield from _of_row(folder.name, row, later, code)


def _read_rows(path: Path, *, keep_all: bool) -> Iterator[dict[str, Any]]:
    try:
        with pq.ParquetFile(path) as table:
            for batch in table.iter_batches(columns=_COLUMNS, batch_size=_BATCH_ROWS):
                told = pc.or_(pc.is_valid(batch["code"]), pc.greater(pc.list_value_length(batch["notes"]), 0))
                # Rows that were rejected later have nothing in an unfinished plan yet.
                yield from (batch if keep_all else batch.filter(told)).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise DamageError("record", f"the table cannot be read: {error}", where=str(path)) from error


def _rejects_of_shards(folder: SplitFolder) -> dict[int, Reject]:
    """Return what was rejected while shards of an unfinished split were made, by row."""
    rejects: dict[int, Reject] = {}
    for path in sorted((folder.records / "shards").glob("*.json")):
        rejects |= {reject.row: reject for reject in read_shard_record(path).rejects}
    return rejects


def _of_row(split: str, row: Mapping[str, Any], later: Mapping[int, Reject], wanted: str | None) -> Iterator[Problem]:
    code, detail = row["code"], row["detail"]
    if row["row"] in later:
        code, detail = later[row["row"]].code, later[row["row"]].detail
    found = ([(code, detail or "")] if code else []) + [(note, "") for note in row["notes"]]
    for found_code, found_detail in found:
        if wanted in (None, found_code):
            yield Problem(
                split=split, code=found_code, fate=_fate(found_code), sample_id=row["sample_id"],
                annotation_id=row["annotation_id"], image_id=row["image_id"], file_name=row["file_name"],
                row=row["row"], detail=found_detail,
            )  # fmt: skip


def _fate(code: str) -> Fate:
    # A store of a later version may hold codes that this one does not know.
    return PROBLEMS[code].fate if code in PROBLEMS else "note"
