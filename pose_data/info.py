"""What a store holds, from its records alone: nothing is decoded and no digest is computed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pose_data.lock import read_holder
from pose_data.manifest import FORMAT_VERSION, SplitFolder, read_record, records_folder
from pose_data.problems import chosen_splits
from pose_data.store import SplitFacts, read_split_facts

__all__ = ["ArrayInfo", "SplitInfo", "StoreInfo", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArrayInfo:
    """One array: ``size_bytes`` is what its files take on disk."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    codec: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitInfo:
    """One split. The counts of an unfinished one are None: they are known when it is finished."""

    split: str
    finished: bool
    rows: int
    annotations: int
    shards: int
    shards_made: int
    shard_rows: int
    recipe: Mapping[str, Any]
    skeleton: str
    keypoints: tuple[str, ...]
    arrays: tuple[ArrayInfo, ...]
    annotation_file: str
    annotation_sha256: str
    versions: Mapping[str, str]
    kept: int | None = None
    rejected: int | None = None
    pictures: int | None = None
    codes: Mapping[str, int] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Return what the arrays take on disk."""
        return sum(array.size_bytes for array in self.arrays)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreInfo:
    """A store. ``writer``: who is writing it now, one line, or None."""

    store: Path
    format_version: int
    splits: tuple[SplitInfo, ...]
    writer: str | None = None

    @property
    def finished(self) -> bool:
        """Return whether there are splits and all are finished."""
        return bool(self.splits) and all(split.finished for split in self.splits)

    @property
    def size_bytes(self) -> int:
        """Return what all arrays take on disk."""
        return sum(split.size_bytes for split in self.splits)


def info(store: str | Path) -> StoreInfo:
    """Return what a store holds, finished or not. Raises StoreError when there is none, DamageError for bad records."""
    root = Path(store)
    folders = chosen_splits(root, None)
    holder = read_holder(records_folder(root))
    return StoreInfo(
        store=root,
        format_version=FORMAT_VERSION,
        splits=tuple(_split_info(folder) for folder in folders.values() if (folder.path / "zarr.json").is_file()),
        writer=holder.describe() if holder is not None else None,
    )


def _split_info(folder: SplitFolder) -> SplitInfo:
    facts = read_split_facts(folder)
    finished = folder.manifest.is_file()
    counts: dict[str, Any] = {}
    if finished:
        manifest = read_record(folder.manifest)
        counts = {name: manifest[name] for name in ("kept", "rejected", "pictures", "codes", "notes")}
    return SplitInfo(
        split=folder.name,
        finished=finished,
        rows=facts.rows,
        annotations=facts.annotation_count,
        shards=facts.shards,
        shards_made=sum(1 for _ in (folder.records / "shards").glob("*.json")),
        shard_rows=facts.shard_rows,
        recipe=facts.recipe.as_dict(),
        skeleton=facts.skeleton.name,
        keypoints=facts.skeleton.names,
        arrays=_arrays(folder, facts),
        annotation_file=facts.annotation_file,
        annotation_sha256=facts.annotation_sha256,
        versions=facts.versions,
        **counts,
    )


def _arrays(folder: SplitFolder, facts: SplitFacts) -> tuple[ArrayInfo, ...]:
    return tuple(
        ArrayInfo(
            name=layout.name, shape=(layout.places(facts.rows, facts.shard_rows), *layout.row_shape),
            dtype=layout.dtype.name, codec=layout.codec,
            size_bytes=sum(file.stat().st_size for file in (folder.path / layout.name).glob("c.*")),
        )
        for layout in facts.layouts()
    )  # fmt: skip
