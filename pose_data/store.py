"""A store: a Zarr v3 group with one sub-group a split. Make its metadata; open it; read it checked.

``open_store(path)["val2017"]`` gives arrays, table and skeleton; any Zarr reader opens the arrays.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zarr

from pose_data.atomic import Written, make_folder, write_file
from pose_data.errors import DamageError, StoreError, UsageError
from pose_data.layout import ArrayLayout, split_arrays
from pose_data.manifest import (
    FORMAT_VERSION,
    ShardRecord,
    SplitFolder,
    read_record,
    read_shard_record,
    records_folder,
)
from pose_data.recipes import Recipe
from pose_data.skeleton import Skeleton
from pose_data.versions import library_versions
from pose_data.zarr_metadata import array_metadata, group_metadata

__all__ = [
    "Split",
    "SplitFacts",
    "Store",
    "choose_split",
    "create_split",
    "facts_from_attributes",
    "is_posedata_store",
    "open_split",
    "open_store",
    "read_split_facts",
    "require_store",
    "root_metadata",
    "split_folders",
    "split_metadata",
]

_KEY = "posedata"


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitFacts:
    """What a split's own metadata says of it; kept in the attributes of its Zarr group."""

    split: str
    recipe: Recipe
    skeleton: Skeleton
    full_skeleton: Skeleton
    keypoint_indices: tuple[int, ...]
    rows: int
    shard_rows: int
    annotation_file: str
    annotation_sha256: str
    annotation_count: int
    versions: Mapping[str, str] = field(default_factory=library_versions)
    """Of the libraries that made the split; of this environment unless read from a store."""
    persons_a_shard: int = 0
    """Of scenes: how many persons the fullest shard has, and so how many places of persons every shard has."""

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the split's group; nothing of them depends on time, host or path."""
        return {
            _KEY: {
                "format_version": FORMAT_VERSION,
                "split": self.split,
                "recipe": self.recipe.as_dict(),
                "geometry": self.recipe.geometry,
                "target_encoding": self.recipe.encoding,
                "colour_order": "RGB",
                "skeleton": _plain(asdict(self.skeleton)),
                "full_skeleton": _plain(asdict(self.full_skeleton)),
                "keypoint_indices": list(self.keypoint_indices),
                "rows": self.rows,
                "shard_rows": self.shard_rows,
                **({"persons_a_shard": self.persons_a_shard} if self.recipe.rows == "scenes" else {}),
                "annotations": {
                    "file": self.annotation_file,
                    "sha256": self.annotation_sha256,
                    "count": self.annotation_count,
                },
                "versions": dict(self.versions),
            }
        }

    @property
    def shards(self) -> int:
        """Return the number of shards."""
        return -(-self.rows // self.shard_rows)

    def layouts(self) -> tuple[ArrayLayout, ...]:
        """Return the split's arrays."""
        return split_arrays(self.recipe, len(self.keypoint_indices), self.persons_a_shard)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


# By everything that a split says of itself. A preparation asks four times, and zarr-python takes 15 ms each time.
_texts_made: dict[str, dict[str, bytes]] = {}
_MOST_TEXTS = 16


def split_metadata(facts: SplitFacts) -> dict[str, bytes]:
    """Return every ``zarr.json`` of a split: path relative to the split → text."""
    key = repr(facts)
    texts = _texts_made.get(key)
    if texts is None:
        if len(_texts_made) >= _MOST_TEXTS:
            _texts_made.clear()
        texts = _texts_made[key] = _make_metadata(facts)
    return dict(texts)


def _make_metadata(facts: SplitFacts) -> dict[str, bytes]:
    arrays = {
        layout.name: array_metadata(layout, facts.rows, facts.shard_rows, facts.recipe.chunk_rows)
        for layout in facts.layouts()
    }
    texts = {"zarr.json": group_metadata(facts.attributes(), arrays)}
    return texts | {f"{name}/zarr.json": text for name, text in arrays.items()}


def root_metadata(splits: Mapping[str, SplitFacts]) -> bytes:
    """Return the ``zarr.json`` of a store's root group with these splits."""
    members = {}
    for name, facts in splits.items():
        for path, text in split_metadata(facts).items():
            members[f"{name}/{path}".removesuffix("/zarr.json")] = text
    return group_metadata({_KEY: {"format_version": FORMAT_VERSION}}, members)


def create_split(root: Path, facts: SplitFacts) -> dict[str, Written]:
    """Write the metadata of a split (and of the root); return its files, relative to the split. Raises OSError."""
    if not (root / "zarr.json").is_file():
        write_file(root / "zarr.json", root_metadata({}))
    folder = root / facts.split
    for layout in facts.layouts():
        make_folder(folder / layout.name)
    return {name: write_file(folder / name, text) for name, text in split_metadata(facts).items()}


def is_posedata_store(root: Path) -> bool:
    """Return whether a folder is a store of ours, finished or not."""
    return records_folder(root).is_dir()


def require_store(root: Path) -> None:
    """Raise StoreError (``not-a-store``) where no store of ours is, finished or not."""
    if not root.is_dir() or not is_posedata_store(root):
        raise StoreError(
            "not-a-store", "no posedata store is here", where=str(root),
            hint=f"make one: posedata prepare coco --out {root}",
        )  # fmt: skip


def split_folders(root: Path) -> dict[str, SplitFolder]:
    """Return the splits of a store, finished or not, in order of name."""
    return {
        path.name: SplitFolder(path)
        for path in sorted(root.iterdir())
        if path.is_dir() and not path.name.startswith(".") and records_folder(path).is_dir()
    }


def read_split_facts(folder: SplitFolder) -> SplitFacts:
    """Return what a split's metadata says. Raises DamageError or StoreError."""
    path = folder.path / "zarr.json"
    try:
        attributes = json.loads(path.read_bytes())["attributes"]
    except FileNotFoundError:
        raise DamageError("missing-file", "a split has no zarr.json", where=str(path)) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamageError("metadata", f"a split's zarr.json is not readable: {error}", where=str(path)) from error
    return facts_from_attributes(attributes, where=str(path))


def facts_from_attributes(attributes: Mapping[str, Any], *, where: str) -> SplitFacts:
    """Return the facts that :meth:`SplitFacts.attributes` described. Raises DamageError or StoreError, naming where."""
    try:
        own = attributes[_KEY]
        version = own["format_version"]
    except (KeyError, TypeError) as error:
        raise DamageError("metadata", f"a split's attributes are not readable: {error}", where=where) from error
    if version != FORMAT_VERSION:
        raise StoreError(
            "store-version", f"the store is of format {version}, this program reads {FORMAT_VERSION}",
            where=where, hint="prepare it again, or install the version that made it",
        )  # fmt: skip
    try:
        return _facts(own)
    except (KeyError, TypeError, ValueError, AttributeError, UsageError) as error:
        raise DamageError("metadata", f"a split's attributes are incomplete: {error}", where=where) from error


def _facts(own: Mapping[str, Any]) -> SplitFacts:
    return SplitFacts(
        split=own["split"],
        recipe=Recipe.from_dict(own["recipe"]),
        skeleton=Skeleton(**{key: _tuples(value) for key, value in own["skeleton"].items()}),
        full_skeleton=Skeleton(**{key: _tuples(value) for key, value in own["full_skeleton"].items()}),
        keypoint_indices=tuple(own["keypoint_indices"]),
        rows=own["rows"],
        shard_rows=own["shard_rows"],
        annotation_file=own["annotations"]["file"],
        annotation_sha256=own["annotations"]["sha256"],
        annotation_count=own["annotations"]["count"],
        versions=dict(own["versions"]),
        persons_a_shard=own.get("persons_a_shard", 0),
    )


class Split:
    """One split of a store, opened for reading.

    ``arrays`` maps names to ``zarr.Array``; ``table`` is the sample table; ``skeleton`` that of the
    stored keypoints; ``window_xywh`` the training window inside a stored image.
    """

    def __init__(self, folder: SplitFolder, facts: SplitFacts, manifest: Mapping[str, Any] | None) -> None:
        self.folder = folder
        self.facts = facts
        self.manifest = manifest
        self.skeleton = facts.skeleton
        self.recipe = facts.recipe
        self.arrays = {layout.name: _open_array(folder, layout.name) for layout in facts.layouts()}

    def __getitem__(self, name: str) -> "zarr.Array[Any]":
        """Return an array by name. Raises UsageError for a name the split does not have."""
        if name not in self.arrays:
            raise UsageError("array-unknown", f"no array {name!r}", hint=f"arrays: {', '.join(self.arrays)}")
        return self.arrays[name]

    def __len__(self) -> int:
        """Return the number of rows, including rows that are not ``kept``."""
        return self.facts.rows

    @property
    def window_xywh(self) -> tuple[int, int, int, int]:
        """Return the training window in the frame of the stored image, pixels."""
        recipe = self.recipe
        return recipe.context_px, recipe.context_px, recipe.crop_width_px, recipe.crop_height_px

    @property
    def table(self) -> pa.Table:
        """Return the sample table: one row for every annotation of the input. Raises DamageError."""
        try:
            return pq.read_table(self.folder.table)
        except (OSError, pa.ArrowException) as error:
            raise DamageError(
                "record", f"the sample table cannot be read: {error}", where=str(self.folder.table)
            ) from error

    def shard_records(self) -> Iterator[ShardRecord]:
        """Yield the record of every shard. Raises DamageError when one is missing or torn."""
        for shard in range(-(-self.facts.rows // self.facts.shard_rows)):
            yield read_shard_record(self.folder.shard_record(shard))


def _open_array(folder: SplitFolder, name: str) -> "zarr.Array[Any]":
    try:
        return zarr.open_array(folder.path / name, mode="r", zarr_format=3)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamageError(
            "metadata", f"the array {name} cannot be opened: {error}", where=str(folder.path / name),
            hint=f"posedata verify {folder.path.parent} --repair",
        ) from error  # fmt: skip


class Store(Mapping[str, Split]):
    """The splits of a store by name."""

    def __init__(self, root: Path, splits: Mapping[str, Split]) -> None:
        self.root = root
        self._splits = dict(splits)

    def __getitem__(self, name: str) -> Split:
        """Return a split. Raises UsageError for a name the store does not have."""
        if name not in self._splits:
            raise UsageError(
                "split-unknown", f"no split {name!r}", where=str(self.root), hint=f"splits: {', '.join(self._splits)}"
            )
        return self._splits[name]

    def __contains__(self, name: object) -> bool:
        """Return whether the store has a split of that name."""
        return name in self._splits

    def __iter__(self) -> Iterator[str]:
        """Iterate over the splits' names."""
        return iter(self._splits)

    def __len__(self) -> int:
        """Return the number of splits."""
        return len(self._splits)


def open_split(folder: SplitFolder, *, allow_unfinished: bool = False) -> Split:
    """Return one split, checked for being finished and for every file's presence and size.

    Raises StoreError (``unfinished``) or DamageError: a missing chunk is an error, never zeros.
    """
    facts = read_split_facts(folder)
    if not folder.manifest.is_file():
        if not allow_unfinished:
            raise StoreError(
                "unfinished", f"the split {folder.name} was not prepared to its end", where=str(folder.path),
                hint="run the same posedata prepare command again; it continues",
            )  # fmt: skip
        return Split(folder, facts, None)
    split = Split(folder, facts, read_record(folder.manifest))
    for record in split.shard_records():
        for name, file in record.files.items():
            path = folder.path / name
            if not path.is_file() or path.stat().st_size != file.size_bytes:
                raise DamageError(
                    "missing-file" if not path.is_file() else "size",
                    f"a file of shard {record.shard} is missing or has another size than recorded",
                    where=str(path),
                    hint=f"posedata verify {folder.path.parent} --repair",
                )
    return split


def open_store(path: str | Path, *, allow_unfinished: bool = False) -> Store:
    """Return the store at ``path`` with all its splits.

    Raises StoreError when it is not a store or unfinished (unless allowed), DamageError when files are missing.
    """
    root = Path(path)
    require_store(root)
    folders = split_folders(root)
    if not folders:
        raise StoreError("unfinished", "the store has no split yet", where=str(root), hint="posedata prepare")
    return Store(
        root, {name: open_split(folder, allow_unfinished=allow_unfinished) for name, folder in folders.items()}
    )


def choose_split(store: Store, wanted: str, beginning: str, *, option: str = "") -> Split:
    """Return the split named ``wanted``; where that is empty, the one whose name begins so.

    ``option`` is what names a split, for the hint. Raises UsageError where there is not just one.
    """
    if wanted:
        return store[wanted]
    found = [name for name in store if name.startswith(beginning)]
    if len(found) != 1:
        raise UsageError(
            "split-unknown", f"{len(found)} splits begin with {beginning!r}", where=str(store.root),
            hint=f"name one with {option or f'{beginning}_split'}; splits: {', '.join(store)}",
        )  # fmt: skip
    return store[found[0]]
