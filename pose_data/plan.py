"""The plan: which person or picture goes into which row and shard, fixed before any picture is decoded.

Pictures are taken in a seeded order; the persons of one picture stay adjacent, and a picture is
not split over two shards unless nothing else fills the gap, so that each is decoded once and
reading in sequence is already mixed. Of scenes a row is a picture with at least one person that was kept; the
annotations of it that were left out stand in the plan beside those, since its mask is made from them. The plan
is a Parquet file with one row group a shard.
"""

from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pose_data.atomic import AtomicFile
from pose_data.errors import PROBLEMS, DamageError
from pose_data.packed_table import PackedTable
from pose_data.recipes import Recipe
from pose_data.table import PLAN_SCHEMA

__all__ = [
    "ParquetSink",
    "PlanSummary",
    "PlannedRows",
    "assign_rows",
    "choose_shard_rows",
    "plan_table",
    "read_plan_rows",
    "read_rejected_rows",
    "summarise_plan",
    "write_plan",
]

# Largest and smallest.
_SHARD_ROWS: Mapping[str, tuple[int, int]] = MappingProxyType({"persons": (1024, 64), "scenes": (256, 16)})
_SHARDS_WANTED = 8
_ROW_GROUP_ROWS = 4096
_TAKEN_ROWS = 8192


def choose_shard_rows(rows: int, recipe: Recipe) -> int:
    """Return the rows a shard when the recipe leaves it open: 1,024, or less so that small sets make 8 shards.

    Scenes are larger: 256 and less. A shard is the unit of work and of resuming; the choice depends on the number of
    rows alone.
    """
    size, smallest = _SHARD_ROWS[recipe.rows]
    while size > smallest and rows < _SHARDS_WANTED * size:
        size //= 2
    return max(recipe.chunk_rows, size - size % recipe.chunk_rows)


def assign_rows(image_keys: npt.NDArray[np.int64], shard_rows: int, seed: int) -> npt.NDArray[np.int64]:
    """Return the order of samples: position r holds the index of the sample that becomes row r.

    ``image_keys`` (n,) int64 says which picture each sample is of. The pictures are permuted by
    ``numpy.random.Generator(PCG64(seed))``; a picture that does not fit into the current shard waits
    for the next one while later, smaller ones fill the gap.
    """
    # Samples of one picture together, in file order; pictures by first appearance.
    _, first, inverse, counts = np.unique(image_keys, return_index=True, return_inverse=True, return_counts=True)
    by_picture = np.argsort(inverse, kind="stable")
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    appearance = np.argsort(first, kind="stable")
    order = appearance[np.random.Generator(np.random.PCG64(seed)).permutation(len(appearance))]
    pieces = [by_picture[starts[p] : starts[p] + counts[p]] for p in _pack(order.tolist(), counts, shard_rows)]
    return np.concatenate(pieces).astype(np.int64) if pieces else np.empty(0, np.int64)


def _pack(order: list[int], counts: npt.NDArray[np.int64], shard_rows: int) -> Iterator[int]:
    """Yield pictures so that shards fill exactly; one goes over a border only when none fits the gap before it."""
    waiting: deque[int] = deque(order)
    sizes = Counter(counts.tolist())  # of the pictures not yet placed
    free = shard_rows
    while waiting:
        put_back: list[int] = []
        # Sizes are few: looking at all of them is cheaper than looking at every picture in vain.
        while waiting and free and min(sizes) <= free:
            picture = waiting.popleft()
            if counts[picture] > free:
                put_back.append(picture)
                continue
            free -= _take(picture, counts, sizes)
            yield picture
        waiting.extendleft(reversed(put_back))
        if free and waiting:
            over = waiting.popleft()
            free = (free - _take(over, counts, sizes)) % shard_rows
            yield over
        free = free or shard_rows


def _take(picture: int, counts: npt.NDArray[np.int64], sizes: Counter[int]) -> int:
    size = int(counts[picture])
    sizes[size] -= 1
    if not sizes[size]:
        del sizes[size]
    return size


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRows:
    """Which annotation of a table goes where.

    ``annotations`` (m,) int64 are indices of the table, ``row`` (m,) int64 the row that each belongs to, not
    descending; ``rows`` is their number. ``persons_a_shard``: annotations kept in the fullest shard.
    """

    annotations: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    rows: int
    persons_a_shard: int


def plan_table(table: pa.Table | PackedTable, recipe: Recipe, shard_rows: int) -> PlannedRows:
    """Return the places of an annotation table (ANNOTATION_SCHEMA) in rows of a recipe's kind."""
    kept = pc.indices_nonzero(table["kept"]).to_numpy().astype(np.int64)
    image_keys = table["image_id"].take(kept).to_numpy().astype(np.int64)
    if recipe.rows == "persons":
        annotations = kept[assign_rows(image_keys, shard_rows, recipe.order_seed)]
        row, rows = np.arange(len(kept), dtype=np.int64), len(kept)
    else:
        # Every picture is one row, in the order in which they come first.
        pictures, first = np.unique(image_keys, return_index=True)
        pictures = pictures[np.argsort(first, kind="stable")]
        pictures, rows = pictures[assign_rows(pictures, shard_rows, recipe.order_seed)], len(pictures)
        annotations, row = _annotations_of(table, pictures)
    persons = np.bincount(row[table["kept"].to_numpy()[annotations]] // shard_rows)
    return PlannedRows(
        annotations=annotations, row=row, rows=rows, persons_a_shard=int(persons.max(initial=0))
    )  # fmt: skip


def _annotations_of(
    table: pa.Table | PackedTable, pictures: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the annotations of each picture, the kept ones first, and the picture's place."""
    there = pc.is_valid(table["image_id"]).to_numpy()
    indices = np.flatnonzero(there).astype(np.int64)
    keys = table["image_id"].take(pa.array(indices)).to_numpy().astype(np.int64)
    by_key = np.argsort(pictures, kind="stable")
    place = np.searchsorted(pictures[by_key], keys)
    known = place < len(pictures)
    known[known] = pictures[by_key][place[known]] == keys[known]
    indices, row = indices[known], by_key[place[known]]
    order = np.lexsort((indices, ~table["kept"].to_numpy()[indices], row))
    return indices[order], row[order].astype(np.int64)


def write_plan(
    path: Path, table: pa.Table | PackedTable, recipe: Recipe, shard_rows: int, planned: PlannedRows | None = None
) -> PlannedRows:
    """Write the plan of an annotation table (ANNOTATION_SCHEMA); return what goes where.

    The annotations of the rows come first, one row group a shard; the other rejected ones follow. ``planned`` is what
    :func:`plan_table` makes of the same arguments, where it is known already. Raises OSError.
    """
    packed = table if isinstance(table, PackedTable) else PackedTable.pack(table)
    planned = planned or plan_table(packed, recipe, shard_rows)
    rejected = np.setdiff1d(np.arange(packed.num_rows, dtype=np.int64), planned.annotations)
    borders = np.searchsorted(planned.row, np.arange(0, planned.rows + shard_rows, shard_rows)).tolist()
    with AtomicFile(path) as file, pq.ParquetWriter(ParquetSink(file), PLAN_SCHEMA, compression="zstd") as writer:
        groups = _groups(packed, planned.annotations, borders)
        for shard, ((first, end), part) in enumerate(zip(pairwise(borders), groups, strict=True)):
            _write_group(writer, part, planned.row[first:end], shard)
        for part in _groups(packed, rejected, [*range(0, len(rejected), _ROW_GROUP_ROWS), len(rejected)]):
            _write_group(writer, part, None, None)
    return planned


def _groups(packed: PackedTable, indices: npt.NDArray[np.int64], borders: Sequence[int]) -> Iterator[pa.Table]:
    """Yield the rows between each two borders of ``indices``.

    Those of several groups are taken at once: they lie anywhere, and every block is unpacked for each taking.
    """
    taken, first_taken, end_taken = packed.schema.empty_table(), 0, 0
    for number, (first, end) in enumerate(pairwise(borders)):
        if end > end_taken:
            first_taken, end_taken = first, end
            for border in borders[number + 1 :]:
                if border - first > _TAKEN_ROWS:
                    break
                end_taken = max(end_taken, border)
            del taken
            taken = packed.take(indices[first_taken:end_taken])
        yield taken.slice(first - first_taken, end - first)


def _write_group(
    writer: pq.ParquetWriter, part: pa.Table, rows: npt.NDArray[np.int64] | None, shard: int | None
) -> None:
    count = part.num_rows
    places = {
        "row": pa.nulls(count, pa.int64()) if rows is None else pa.array(rows),
        "shard": pa.nulls(count, pa.int32()) if shard is None else pa.array(np.full(count, shard, np.int32)),
    }
    columns = [places[name] if name in places else part[name] for name in PLAN_SCHEMA.names]
    writer.write_table(pa.table(columns, schema=PLAN_SCHEMA), row_group_size=count)


class ParquetSink:
    """An AtomicFile as the file object that Parquet writes to."""

    closed = False

    def __init__(self, file: AtomicFile) -> None:
        self._file = file

    def write(self, data: bytes) -> int:
        """Append ``data``; return its length."""
        self._file.write(data)
        return len(data)

    def tell(self) -> int:
        """Return the number of bytes written so far."""
        return self._file.size_bytes

    def flush(self) -> None:
        """Do nothing: bytes are passed on at once."""

    def writable(self) -> bool:
        """Return True."""
        return True

    def readable(self) -> bool:
        """Return False."""
        return False

    def seekable(self) -> bool:
        """Return False."""
        return False

    def close(self) -> None:
        """Do nothing: the AtomicFile is closed by its own ``with``."""


@contextmanager
def _plan_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DamageError(
            "record", f"the plan cannot be read: {error}", where=str(path), hint="prepare again with --overwrite"
        ) from error


def read_plan_rows(path: Path, shard: int) -> pa.Table:
    """Return the rows of one shard, in order. Raises DamageError when the plan is missing or damaged."""
    with _plan_errors(path), pq.ParquetFile(path) as plan:
        # Threads of Arrow's own would be no faster for so few rows, and each keeps memory.
        return plan.read_row_group(shard, use_threads=False)


def read_rejected_rows(path: Path, shards: int) -> Iterator[pa.Table]:
    """Yield the records rejected before planning, in pieces. Raises DamageError."""
    with _plan_errors(path), pq.ParquetFile(path) as plan:
        for group in range(shards, plan.num_row_groups):
            yield plan.read_row_group(group, use_threads=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSummary:
    """What a plan holds: pictures to decode, pixels of the largest known, records already rejected as bad."""

    pictures: int
    largest_picture_px: int
    bad: int


def summarise_plan(path: Path) -> PlanSummary:
    """Return a plan's summary, read in pieces. Raises DamageError."""
    largest = bad = 0
    seen: list[npt.NDArray[np.int64]] = []
    columns = ["image_id", "image_width_px", "image_height_px", "row", "code"]
    with _plan_errors(path), pq.ParquetFile(path) as plan:
        for batch in plan.iter_batches(columns=columns, batch_size=_ROW_GROUP_ROWS, use_threads=False):
            codes = pc.value_counts(batch["code"]).to_pylist()
            bad += sum(code["counts"] for code in codes if code["values"] and _is_bad(code["values"]))
            planned = batch.filter(pc.is_valid(batch["row"]))
            if planned.num_rows:
                seen.append(np.unique(planned["image_id"].to_numpy()))
                width_px, height_px = (planned[name].cast(pa.int64()) for name in columns[1:3])
                # Null where the annotation file does not say how large a picture is.
                largest = max(largest, pc.max(pc.multiply(width_px, height_px)).as_py() or 0)
    pictures = len(np.unique(np.concatenate(seen))) if seen else 0
    return PlanSummary(pictures=pictures, largest_picture_px=largest, bad=bad)


def _is_bad(code: str) -> bool:
    return PROBLEMS[code].fate == "reject"
