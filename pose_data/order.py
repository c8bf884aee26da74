"""The order of an epoch: which rows a rank reads, and in which order.

It depends on the seed, the epoch, the rank, the number of ranks and what was read before, and on nothing else. The
rows of a split are cut into *runs* (64 rows in sequence, so that a chunk is decoded once for all its rows); the runs
are permuted, the sequence of their rows is dealt to the ranks in equal parts, and each rank shuffles its part within
windows of a stated size. A window of 1,024 rows holds about 400 pictures from 16 random places of the split.

Padding: all ranks make the same number of batches, all of full size. The last batch of a rank whose part is not a
multiple of the batch size is filled up with the first rows of its part, marked invalid; a valid row comes exactly once
an epoch, on exactly one rank.

Resuming: a :class:`Position` says what has been read, for every number of ranks that took part. With the same number
of ranks the order goes on as if nothing had happened; with another one, the rows that are left are dealt again. Which
rows those are follows from the order and the samples, so a position names both, and fits no others.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import google_crc32c
import numpy as np
import numpy.typing as npt

from pose_data.errors import ResumeMismatchError, UsageError

__all__ = [
    "EpochOrder",
    "Position",
    "RankRows",
    "Samples",
    "Segment",
    "Shuffle",
    "epoch_rows",
    "padded",
    "samples_of",
]

Shuffle = Literal["window", "full", "none"]
Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochOrder:
    """How the rows of a split are shuffled and dealt."""

    seed: int = 0
    shuffle: Shuffle = "window"
    """``window``: runs permuted, rows shuffled within windows; ``full``: an exact permutation of all rows (each row
    costs a chunk); ``none``: as stored."""
    window: int = 1024
    run_rows: int = 64

    def __post_init__(self) -> None:
        if self.shuffle not in get_args(Shuffle):
            raise UsageError(
                "option-value", f"shuffle is {self.shuffle!r}", hint=f"one of: {', '.join(get_args(Shuffle))}"
            )
        for name in ("window", "run_rows"):
            if getattr(self, name) < 1:
                raise UsageError("option-value", f"{name} is {getattr(self, name)}", hint="at least 1")
        if self.seed < 0:
            raise UsageError("option-value", f"seed is {self.seed}", hint="at least 0")

    def deciding(self) -> dict[str, Any]:
        """Return the fields that the order of the rows depends on: windows and runs do not count in every shuffle."""
        names = {"window": ("seed", "window", "run_rows"), "full": ("seed",), "none": ()}[self.shuffle]
        return {"shuffle": self.shuffle, **{name: getattr(self, name) for name in names}}


@dataclass(frozen=True, slots=True)
class Samples:
    """Which samples are shuffled: how many, and a checksum of their rows and ids."""

    count: int
    checksum: int


@dataclass(frozen=True, slots=True)
class Segment:
    """So many rows were read by each of so many ranks."""

    world_size: int
    rows_a_rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Where an epoch of an order of some samples was left: JSON-ready through :meth:`as_dict`."""

    order: EpochOrder
    samples: Samples
    epoch: int = 0
    segments: tuple[Segment, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Return the position as JSON-ready values."""
        return {
            "epoch": self.epoch,
            "segments": [[part.world_size, part.rows_a_rank] for part in self.segments],
            "order": asdict(self.order),
            "samples": asdict(self.samples),
        }

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Position":
        """Return the position that :meth:`as_dict` described. Raises UsageError."""
        try:
            segments = tuple(Segment(int(size), int(rows)) for size, rows in values["segments"])
            order, samples = EpochOrder(**values["order"]), Samples(**values["samples"])
            epoch = int(values["epoch"])
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError("position-invalid", f"this is no position in an epoch: {error}") from error
        if epoch < 0 or any(part.world_size < 1 or part.rows_a_rank < 0 for part in segments):
            raise UsageError("position-invalid", "a position in an epoch has a negative number")
        return Position(order=order, samples=samples, epoch=epoch, segments=segments)

    def after(self, world_size: int, rows_a_rank: int) -> "Position":
        """Return the position when each of ``world_size`` ranks has read so many rows more."""
        before = self.segments
        if before and before[-1].world_size == world_size:
            rows_a_rank += before[-1].rows_a_rank
            before = before[:-1]
        segments = (*before, Segment(world_size, rows_a_rank))
        return Position(order=self.order, samples=self.samples, epoch=self.epoch, segments=segments)

    @property
    def samples_read(self) -> int:
        """Return how many samples all ranks have read together."""
        return sum(part.world_size * part.rows_a_rank for part in self.segments)

    def require(self, order: EpochOrder, samples: Samples) -> None:
        """Raise ResumeMismatchError, naming what differs, unless the position is one of this order of these samples.

        With another order, or other samples, some would come twice in the epoch and others not at all.
        """
        was, now = self.order.deciding(), order.deciding()
        differing = [
            f"{name} was {was.get(name, 'not used')} and is {now.get(name, 'not used')}"
            for name in {**was, **now}
            if was.get(name) != now.get(name)
        ]
        if self.samples.count != samples.count:
            differing.append(f"there were {self.samples.count:,} samples and are {samples.count:,}")
        elif self.samples.checksum != samples.checksum:
            differing.append("the samples are others, though as many")
        if differing:
            raise ResumeMismatchError(
                "position-mismatch", f"an epoch cannot go on where it was left: {'; '.join(differing)}",
                where=f"epoch {self.epoch}",
                hint="resume with the order and the store it was begun with, or begin the epoch again",
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class RankRows:
    """What one rank reads: ``rows`` in order, ``most`` rows that any rank reads, ``part`` with what it read before."""

    rows: Rows
    most: int
    part: Rows


def epoch_rows(
    order: EpochOrder, rows: Rows, *, epoch: int, rank: int = 0, world_size: int = 1, position: Position | None = None
) -> RankRows:
    """Return the rows that a rank reads from here on.

    ``rows`` (n,) int64 are the rows of the split that are samples, ascending. ``position`` leaves out what was read;
    whether it belongs to the order and the samples, :meth:`Position.require` says. Parts of different ranks differ by
    one row at most. Raises UsageError for a rank that is not one of ``world_size``.
    """
    if not 0 <= rank < world_size:
        raise UsageError("option-value", f"rank {rank} of {world_size}", hint="ranks are 0 to world_size - 1")
    segments = position.segments if position is not None else ()
    sequence = _permuted_runs(order, rows, epoch)
    for number, segment in enumerate(segments):
        parts = _parts(sequence, segment.world_size)
        if number == len(segments) - 1 and segment.world_size == world_size:
            part = _shuffled(order, parts[rank], epoch, number, rank)
            return RankRows(part[segment.rows_a_rank :], max(0, max(map(len, parts)) - segment.rows_a_rank), part)
        sequence = _left(order, sequence, parts, segment, epoch, number)
    parts = _parts(sequence, world_size)
    part = _shuffled(order, parts[rank], epoch, len(segments), rank)
    return RankRows(part, max(map(len, parts)), part)


def padded(mine: RankRows, count: int, spare: Rows) -> tuple[Rows, npt.NDArray[np.bool_]]:
    """Return ``count`` rows and which of them are valid: a rank's own, filled up from the beginning of its part.

    A rank without any row is filled up from ``spare``.
    """
    missing = count - len(mine.rows)
    filler = np.resize(mine.part if len(mine.part) else spare, missing)
    return np.concatenate([mine.rows, filler]).astype(np.int64), np.arange(count) < len(mine.rows)


def samples_of(rows: Rows, ids: npt.NDArray[np.int64]) -> Samples:
    """Return what identifies the samples: ``rows`` (n,) of the split, and their ``ids`` (n,)."""
    crc = 0
    for values in (rows, ids):
        crc = google_crc32c.extend(crc, np.ascontiguousarray(values, "<i8").tobytes())
    return Samples(len(rows), crc)


def _generator(order: EpochOrder, *key: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64([order.seed, *key]))


def _permuted_runs(order: EpochOrder, rows: Rows, epoch: int) -> Rows:
    if order.shuffle == "none" or not len(rows):
        return rows
    generator = _generator(order, epoch)
    if order.shuffle == "full":
        return generator.permutation(rows)
    borders = np.flatnonzero(np.diff(rows // order.run_rows)) + 1
    runs = np.split(rows, borders)
    return np.concatenate([runs[number] for number in generator.permutation(len(runs))])


def _parts(sequence: Rows, world_size: int) -> list[Rows]:
    return np.array_split(sequence, world_size)


def _shuffled(order: EpochOrder, part: Rows, epoch: int, deal: int, rank: int) -> Rows:
    """Return a rank's part with each window of it permuted."""
    if order.shuffle != "window" or order.window == 1:
        return part
    generator = _generator(order, epoch, deal, rank)
    windows = [part[first : first + order.window] for first in range(0, len(part), order.window)]
    return np.concatenate([generator.permutation(window) for window in windows]) if windows else part


def _left(order: EpochOrder, sequence: Rows, parts: list[Rows], segment: Segment, epoch: int, deal: int) -> Rows:
    """Return what a segment's ranks left unread, in the order of the permuted runs."""
    read = [_shuffled(order, part, epoch, deal, rank)[: segment.rows_a_rank] for rank, part in enumerate(parts)]
    return sequence[~np.isin(sequence, np.concatenate(read))]
