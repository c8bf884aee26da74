"""Estimates before work begins, and the limits they are held against: disk, memory, bad records."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pose_data.errors import InputError, StorageError, UsageError
from pose_data.layout import split_arrays
from pose_data.recipes import Recipe

__all__ = ["BadBudget", "MemoryPlan", "check_disk", "estimate_bytes", "plan_memory"]

# Coded size over raw size, measured on 2,676 real COCO crops (see docs/store-format.md).
_IMAGE_RATIO: Mapping[str, float] = {"lossless": 0.76, "fast": 0.85, "raw": 1.0, "jpeg": 0.16}
_COLUMN_ROW_BYTES = 500
_TABLE_ROW_BYTES = 400
_RESERVE = 1.10

# Resident size of this program with its libraries, without any data; measured, rounded up.
_IMPORTS_BYTES = 170_000_000
_CLUSTER_PROCESS_BYTES = 190_000_000


def estimate_bytes(recipe: Recipe, keypoint_count: int, rows: int, annotations: int) -> int:
    """Return about how many bytes a split will take on disk."""
    per_row = float(_COLUMN_ROW_BYTES)
    for layout in split_arrays(recipe, keypoint_count):
        if layout.name == "images":
            per_row += layout.row_bytes() * _IMAGE_RATIO[recipe.image_codec]
        elif layout.sharded:
            # Gaussians on a zero ground: zstd leaves about a bit for each cell, whatever the type.
            per_row += layout.row_bytes() / layout.dtype.itemsize * 0.025 * layout.dtype.itemsize**2
    return int(rows * per_row + annotations * _TABLE_ROW_BYTES)


def check_disk(out: Path, needed_bytes: int) -> None:
    """Raise StorageError when less than ``needed_bytes`` and a tenth more are free where ``out`` will be."""
    folder = out.absolute()
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < needed_bytes * _RESERVE:
        raise StorageError(
            "disk-full",
            f"about {needed_bytes * _RESERVE / 1e9:.2f} GB are needed (a tenth of it in reserve) and "
            f"{free / 1e9:.2f} GB are free; nothing was written",
            where=str(folder),
            hint="free some space, choose another --out, or a smaller --image-codec (jpeg)",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """How much memory a preparation may take, and what it is made of.

    ``holders`` are the threads or processes that hold a shard's data at the same time.
    """

    holders: int
    largest_picture_bytes: int
    shard_buffer_bytes: int
    base_bytes: int

    @property
    def worker_bytes(self) -> int:
        """Return the memory of one holder's data: the largest picture (twice when masked) and its buffers."""
        return self.largest_picture_bytes + self.shard_buffer_bytes

    @property
    def total_bytes(self) -> int:
        """Return the planned peak of the whole process tree."""
        return self.base_bytes + self.holders * self.worker_bytes


def plan_memory(
    recipe: Recipe, keypoint_count: int, *, largest_picture_px: int, workers: int, processes: bool, limit_bytes: int,
    spare_threads: int = 0,
) -> MemoryPlan:  # fmt: skip
    """Return the plan ``(workers + spare_threads) × (largest picture + shard buffer)`` on top of the program itself.

    ``spare_threads`` hold a shard, too, while others wait for the disk. The plan does not depend on the size of the
    data set. Raises UsageError when it is over ``limit_bytes``.
    """
    chunk = sum(
        layout.row_bytes() * recipe.chunk_rows for layout in split_arrays(recipe, keypoint_count) if layout.sharded
    )
    # The file's bytes, the decoded picture, and for masks a whitened copy or regions and the mask itself.
    copies = 7 if recipe.takes_masks else 4
    plan = MemoryPlan(
        holders=workers + spare_threads,
        largest_picture_bytes=largest_picture_px * copies,
        # A chunk, its coded form with the codec's scratch space, and float maps before rounding.
        shard_buffer_bytes=4 * chunk + 16_000_000,
        base_bytes=_IMPORTS_BYTES + (workers * _CLUSTER_PROCESS_BYTES if processes else 0),
    )
    if plan.total_bytes > limit_bytes:
        raise UsageError(
            "memory-limit",
            f"{workers} workers would take about {plan.total_bytes / 1e6:.0f} MB "
            f"(largest picture {largest_picture_px / 1e6:.1f} Mpx), the limit is {limit_bytes / 1e6:.0f} MB; "
            "nothing was written",
            hint="fewer --workers, smaller chunks, or a higher --memory",
        )
    return plan


class BadBudget:
    """Counts bad records and pictures, and stops the run when they are more than ``share`` of all."""

    def __init__(self, share: float, annotations: int, pictures: int, where: str) -> None:
        self._share, self._annotations, self._pictures, self._where = share, annotations, pictures, where
        self._bad_annotations = self._bad_pictures = 0

    def add(self, annotations: int, pictures: int = 0, *, examples: str = "") -> None:
        """Count more of them. Raises InputError (``too-many-bad``) when the budget is spent."""
        self._bad_annotations += annotations
        self._bad_pictures += pictures
        for bad, total, what in (
            (self._bad_annotations, self._annotations, "annotations"),
            (self._bad_pictures, self._pictures, "pictures"),
        ):
            if bad > self._share * total:
                raise InputError(
                    "too-many-bad",
                    f"{bad} of {total} {what} are bad, more than --max-bad {self._share:g} allows"
                    + (f": {examples}" if examples else "")
                    + "; stopped, finished shards are kept",
                    where=self._where,
                    hint="posedata check coco lists them; raise --max-bad when they may be left out",
                )
