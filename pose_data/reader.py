"""Batches of a split, shuffled, decoded ahead by native threads straight into the batches' memory.

The order is that of :mod:`pose_data.order`. Threads, not processes: codecs and reads let the interpreter's lock go.
A damaged or missing chunk raises the error that ``verify`` would report, naming array, shard, rows and annotations.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from zarr.abc.store import Store

from pose_data.aligned import aligned_array
from pose_data.batch_memory import Allocate, MemoryPool
from pose_data.chunk_rows import ChunkRows
from pose_data.cores import usable_cores
from pose_data.errors import DamageError, StoreError, UsageError
from pose_data.layout import MAP_ARRAYS, ArrayLayout
from pose_data.manifest import shard_key
from pose_data.map_floats import FloatMaps
from pose_data.order import EpochOrder, Position, Samples, Shuffle, epoch_rows, padded, samples_of
from pose_data.read_ahead import Pace, ReadAhead, most_batches
from pose_data.recipes import Recipe
from pose_data.shard_bytes import FolderBytes, ShardBytes, StoreBytes
from pose_data.shard_file import decode_chunk
from pose_data.store import Split, SplitFacts, facts_from_attributes

__all__ = ["Batch", "BatchReader", "ReadableSplit", "open_readable", "open_zarr_split", "usual_order"]

Maps = Literal["stored", "float32"]
_Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Some rows of a split.

    ``rows`` (B,) int64 are their numbers; ``arrays`` maps names to (B, …); ``valid`` (B,) is False for rows that only
    fill up the last batch of an epoch. Of scenes, arrays of persons hold those of all rows one after another, (P, …),
    and ``offsets`` (B, 2) comes with them: where the persons of each row begin and end in them.
    """

    rows: npt.NDArray[np.int64]
    arrays: Mapping[str, _Array]
    valid: npt.NDArray[np.bool_]


class ReadableSplit:
    """A split opened for reading rows: its facts, its columns in memory, its shards at hand."""

    def __init__(self, name: str, facts: SplitFacts, source: ShardBytes) -> None:
        self.name, self.facts, self.source = name, facts, source
        self.layouts: dict[str, ArrayLayout] = {layout.name: layout for layout in facts.layouts()}
        self.columns: dict[str, _Array] = {
            layout.name: self._column(layout) for layout in self.layouts.values() if not layout.sharded
        }

    @property
    def sample_rows(self) -> npt.NDArray[np.int64]:
        """Return the rows that are samples, ascending: those whose picture turned out usable."""
        return np.flatnonzero(self.columns["kept"]).astype(np.int64)

    @property
    def samples(self) -> Samples:
        """Return what identifies the samples."""
        rows = self.sample_rows
        return samples_of(rows, self.ids_of(rows))

    def ids_of(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the annotation ids of rows, of scenes the picture ids."""
        ids: npt.NDArray[np.int64] = self.columns["image_id" if self.has_persons else "annotation_id"][rows]
        return ids

    @property
    def has_persons(self) -> bool:
        """Return whether the rows are scenes, whose persons have places of their own."""
        return "offsets" in self.columns

    def row(self, name: str, row: int) -> _Array:
        """Return one row of a column; of a column of persons, (P, …) those of the row."""
        if not self.layouts[name].of_persons:
            return np.asarray(self.columns[name][row])
        return self.columns[name][slice(*self.columns["offsets"][row])]

    def take(self, names: Sequence[str], rows: npt.NDArray[np.int64]) -> dict[str, _Array]:
        """Return columns of rows (B,); of persons, (P, …) those of all rows, and their ``offsets`` (B, 2) in it."""
        taken = {name: self.columns[name][rows] for name in names if not self.layouts[name].of_persons}
        of_persons = [name for name in names if self.layouts[name].of_persons]
        if of_persons:
            offsets = self.columns["offsets"][rows]
            counts = offsets[:, 1] - offsets[:, 0]
            ends = np.cumsum(counts)
            taken["offsets"] = np.stack([ends - counts, ends], axis=1)
            persons = np.repeat(offsets[:, 0] - taken["offsets"][:, 0], counts) + np.arange(counts.sum())
            taken |= {name: self.columns[name][persons] for name in of_persons}
        return taken

    def _column(self, layout: ArrayLayout) -> _Array:
        facts = self.facts
        places = layout.places_a_shard(facts.shard_rows)
        values = np.empty((facts.shards, places, *layout.row_shape), layout.dtype)
        for shard in range(facts.shards):
            key = shard_key(layout.name, len(layout.row_shape), shard)
            try:
                decode_chunk(layout, self.source.whole(key), values[shard])
            except ValueError as error:
                raise DamageError(
                    "chunk", str(error), where=f"{self.source.describe(key)}, array {layout.name}, shard {shard}"
                ) from error
        return values.reshape(-1, *layout.row_shape)[: layout.places(facts.rows, facts.shard_rows)]


def open_readable(split: Split) -> ReadableSplit:
    """Return a split of :func:`pose_data.store.open_store` for reading rows. Raises DamageError or StoreError."""
    if split.manifest is None:
        raise StoreError(
            "unfinished", f"the split {split.folder.name} was not prepared to its end", where=str(split.folder.path),
            hint="run the same posedata prepare command again; it continues",
        )  # fmt: skip
    return ReadableSplit(split.folder.name, split.facts, FolderBytes(split.folder.path))


def open_zarr_split(store: Store, name: str) -> ReadableSplit:
    """Return a split of a store that lies in any Zarr store (object storage, a ZIP file, memory), for reading rows.

    Raises StoreError where there is no finished split of that name, DamageError where its metadata is damaged.
    """
    source = StoreBytes(store, name)
    try:
        source.whole(".posedata/manifest.json")
        attributes = json.loads(source.whole("zarr.json"))["attributes"]
    except DamageError:
        raise StoreError(
            "unfinished", f"there is no finished split {name!r}", where=str(store), hint="copy the whole store again"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise DamageError("metadata", f"a split's zarr.json is not readable: {error}", where=str(store)) from error
    return ReadableSplit(name, facts_from_attributes(attributes, where=f"{store}/{name}"), source)


class BatchReader:
    """Reads a split batch by batch, epoch by epoch. Pickles while no epoch is under way.

    Args:
        split: A split of an opened store, or what :func:`open_readable` and :func:`open_zarr_split` return.
        batch_size: B; every batch has it, see the padding rule in :mod:`pose_data.order`.
        arrays: Names of arrays to read; None means all.
        order: Seed, shuffle, window; None: :func:`usual_order`.
        rank, world_size: This process's number among those that share the epoch.
        maps: ``stored`` leaves maps in the stored type, ``float32`` multiplies them by their scale.
        threads: Decoding threads at most, of which as few read as keep up; None means one for each usable processor.
        reuse_memory: Batches' arrays are used again once the next batch but one is asked for, be it of the next epoch:
            faster, but copy what you keep. Otherwise every batch has arrays of its own.
        check: Whether to check each chunk's CRC-32C. The shards' indices are always checked.
        allocate: Makes the memory of a batch's array, for pinned memory.
        most_persons: Of scenes, only pictures with so many persons or fewer; 0: all.

    Raises UsageError for an unknown array or a size below 1, StoreError where no row is left.
    """

    def __init__(
        self,
        split: Split | ReadableSplit,
        *,
        batch_size: int,
        arrays: Sequence[str] | None = None,
        order: EpochOrder | None = None,
        rank: int = 0,
        world_size: int = 1,
        maps: Maps = "stored",
        threads: int | None = None,
        reuse_memory: bool = False,
        check: bool = True,
        allocate: Allocate = aligned_array,
        most_persons: int = 0,
    ) -> None:
        self.split = open_readable(split) if isinstance(split, Split) else split
        names = tuple(self.split.layouts) if arrays is None else tuple(arrays)
        _check_options(self.split, names, batch_size, threads, maps)
        self.batch_size, self.rank, self.world_size = batch_size, rank, world_size
        self.order = order or usual_order(self.split.facts.recipe)
        self._pace = Pace(threads or usable_cores())
        self._names = names
        facts = self.split.facts
        sharded = [self.split.layouts[name] for name in names if self.split.layouts[name].sharded]
        self._chunks = ChunkRows(
            self.split.source, sharded, shard_rows=facts.shard_rows, chunk_rows=facts.recipe.chunk_rows, check=check
        )
        self._floats = FloatMaps(
            [layout for layout in sharded if maps == "float32" and layout.name in MAP_ARRAYS],
            batch_size=batch_size, reuse_memory=reuse_memory, allocate=allocate,
        )  # fmt: skip
        self._rows = _wanted_rows(self.split, most_persons)
        if not len(self._rows):
            raise StoreError("no-rows", f"the split {self.split.name} has no usable row")
        most = most_batches(self.order.window, batch_size, len(self))
        self._memory = MemoryPool(
            {layout.name: ((batch_size, *layout.row_shape), layout.dtype) for layout in sharded},
            allocate, most if reuse_memory else 0,
        )  # fmt: skip
        self._samples = samples_of(self._rows, self.split.ids_of(self._rows))
        self._position = Position(order=self.order, samples=self._samples)

    def __len__(self) -> int:
        """Return the number of batches of a whole epoch."""
        largest_part = math.ceil(len(self._rows) / self.world_size)
        return math.ceil(largest_part / self.batch_size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the open files and let the memory go. A reader that is closed opens them again when it is used."""
        self._memory.clear()
        self._floats.close()
        self.split.source.close()

    @property
    def position(self) -> Position:
        """Return the place behind the last batch that was handed out; of several epochs at a time, the last of all."""
        return self._position

    @property
    def samples(self) -> Samples:
        """Return what identifies the samples that are read."""
        return self._samples

    def epoch(self, epoch: int = 0, *, position: Position | None = None) -> Iterator[Batch]:
        """Return the batches of an epoch, or what ``position`` leaves of it.

        Leaving the iterator early, an error and an interrupt end the threads. Raises DamageError, StorageError, and
        ResumeMismatchError for a position in another order or among other samples.
        """
        if position is not None:
            if position.epoch != epoch:
                raise UsageError("position-invalid", f"the position is of epoch {position.epoch}, not {epoch}")
            position.require(self.order, self._samples)
        begin = position or Position(order=self.order, samples=self._samples, epoch=epoch)
        self._position = begin
        mine = epoch_rows(
            self.order, self._rows, epoch=epoch, rank=self.rank, world_size=self.world_size, position=position
        )
        count = math.ceil(mine.most / self.batch_size)
        rows, valid = padded(mine, count * self.batch_size, self._rows[:1])
        return self._batches(rows, valid, mine.most, begin)

    def _into_window(self, begin: Position) -> int:
        """Return how many rows of the first window were read before."""
        last = begin.segments[-1] if begin.segments else None
        return last.rows_a_rank % self.order.window if last and last.world_size == self.world_size else 0

    def _batches(
        self, rows: npt.NDArray[np.int64], valid: npt.NDArray[np.bool_], most: int, begin: Position
    ) -> Iterator[Batch]:
        size, position = self.batch_size, begin
        ahead = ReadAhead(
            self._chunks, rows, size, shard_rows=self.split.facts.shard_rows, run_rows=self.order.run_rows,
            window=self.order.window, into_window=self._into_window(begin), pace=self._pace, memory=self._memory,
            explain=self._explained,
        )  # fmt: skip
        columns = [name for name in self._names if name in self.split.columns]
        with ahead, self._floats.epoch() as as_floats:
            for number, loaded in enumerate(ahead):
                part = slice(number * size, (number + 1) * size)
                arrays = {**loaded, **as_floats(loaded), **self.split.take(columns, rows[part])}
                position = position.after(self.world_size, min(size, most - number * size))
                self._position = position
                yield Batch(rows=rows[part], arrays=arrays, valid=valid[part])

    def _explained(self, error: DamageError, array: str, shard: int, rows: npt.NDArray[np.int64]) -> DamageError:
        ids = self.split.ids_of(rows)
        what = "pictures" if self.split.has_persons else "annotations"
        named = ", ".join(map(str, ids[:5].tolist())) + (", …" if len(ids) > 5 else "")
        where = (
            f"{error.where}: split {self.split.name}, array {array}, shard {shard}, "
            f"rows {rows.min()}-{rows.max()}, {what} {named}"
        )
        return DamageError(error.code, error.message, where=where, hint="posedata verify STORE --repair")


def usual_order(recipe: Recipe, *, shuffle: Shuffle = "window") -> EpochOrder:
    """Return an order whose windows hold about 150 MB of images: of scenes shorter runs in smaller windows."""
    return (
        EpochOrder(shuffle=shuffle, window=192, run_rows=16) if recipe.rows == "scenes" else EpochOrder(shuffle=shuffle)
    )


def _wanted_rows(split: ReadableSplit, most_persons: int) -> npt.NDArray[np.int64]:
    rows = split.sample_rows
    if not most_persons:
        return rows
    if not split.has_persons or most_persons < 0:
        raise UsageError("option-value", f"most_persons is {most_persons}", hint="1 or more, and for scenes only")
    persons = np.diff(split.columns["offsets"][rows], axis=1)[:, 0]
    return rows[persons <= most_persons]


def _check_options(split: ReadableSplit, names: Sequence[str], batch_size: int, threads: int | None, maps: str) -> None:
    unknown = [name for name in names if name not in split.layouts]
    if unknown:
        raise UsageError("array-unknown", f"no array {unknown[0]!r}", hint=f"arrays: {', '.join(split.layouts)}")
    if batch_size < 1 or (threads is not None and threads < 1):
        raise UsageError("option-value", "batch_size and threads are at least 1")
    if maps not in ("stored", "float32"):
        raise UsageError("option-value", f"maps is {maps!r}", hint="stored or float32")
