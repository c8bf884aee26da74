"""Records of what a store holds: shard digests, the split's manifest, the store's list of splits.

Every record is canonical JSON that carries the digest of its own content, so that one flipped bit
in a record is found like one in the data. A split is finished when its manifest is there; the
manifest is written last. Nothing here depends on time, host or path.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pose_data.atomic import Written, write_file
from pose_data.errors import DamageError

__all__ = [
    "FORMAT_VERSION",
    "Reject",
    "RootManifest",
    "ShardRecord",
    "SplitFolder",
    "canonical_json",
    "is_finished",
    "listed_splits",
    "read_manifest",
    "read_record",
    "read_root_manifest",
    "read_shard_record",
    "records_folder",
    "root_manifest_path",
    "shard_key",
    "write_record",
    "write_shard_record",
]

FORMAT_VERSION = 1
_OWN = ".posedata"


def records_folder(root: Path) -> Path:
    """Return the folder for our own records in a store or a split."""
    return root / _OWN


def shard_key(array: str, row_dimensions: int, shard: int) -> str:
    """Return the place of a shard's data file in its split, for an array with so many dimensions besides the rows."""
    return f"{array}/" + ".".join(["c", str(shard), *["0"] * row_dimensions])


@dataclass(frozen=True, slots=True)
class SplitFolder:
    """Where the files of one split are."""

    path: Path

    @property
    def name(self) -> str:
        """Return the split's name."""
        return self.path.name

    @property
    def records(self) -> Path:
        """Return the folder of our own records."""
        return self.path / _OWN

    @property
    def manifest(self) -> Path:
        """Return the file whose presence means that the split is finished."""
        return self.records / "manifest.json"

    @property
    def table(self) -> Path:
        """Return the sample table."""
        return self.records / "table.parquet"

    @property
    def work(self) -> Path:
        """Return the folder of an unfinished preparation; removed when the split is committed."""
        return self.records / "work"

    @property
    def plan(self) -> Path:
        """Return the plan of an unfinished preparation."""
        return self.work / "plan.parquet"

    def started(self, shard: int) -> Path:
        """Return the marker that stands while a shard is being made; one left behind says that a process died in it."""
        return self.work / "started" / str(shard)

    def shard_record(self, shard: int) -> Path:
        """Return the digest record of one shard."""
        return self.records / "shards" / f"{shard:06d}.json"

    def shard_file(self, array: str, row_dimensions: int, shard: int) -> Path:
        """Return the data file of one shard of an array with so many dimensions besides the rows."""
        return self.path / shard_key(array, row_dimensions, shard)


def canonical_json(value: Any) -> bytes:
    """Return the one JSON text of a value: sorted keys, no spaces, ASCII, a newline at the end."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def write_record(path: Path, payload: Mapping[str, Any]) -> Written:
    """Write a record with the digest of its own content. Raises OSError."""
    digest = hashlib.sha256(canonical_json(payload)).hexdigest()
    return write_file(path, canonical_json({**payload, "record_sha256": digest}))


def read_record(path: Path) -> dict[str, Any]:
    """Return a record's content. Raises DamageError when it is missing or not what was written."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise DamageError("missing-file", "a record of the store is missing", where=str(path)) from None
    except OSError as error:
        raise DamageError("record", f"a record cannot be read: {error.strerror}", where=str(path)) from error
    try:
        payload = json.loads(raw)
        digest = payload.pop("record_sha256")
        whole = canonical_json({**payload, "record_sha256": digest}) == raw
        right = hashlib.sha256(canonical_json(payload)).hexdigest() == digest
    except (ValueError, AttributeError, KeyError, TypeError):
        whole = right = False
    if not (whole and right):
        raise DamageError("record", "a record of the store is not what was written", where=str(path))
    return dict(payload)


@dataclass(frozen=True, slots=True)
class Reject:
    """A planned row whose picture or mask turned out to be unusable, and why."""

    row: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRecord:
    """What one finished shard consists of.

    ``files``: path relative to the split → size and digest. ``pictures``: file name → digest of
    the bytes it was made from. ``bad_pictures``: names of pictures that could not be used.
    ``notes``: (row, code) pairs found while it was made.
    """

    shard: int
    first_row: int
    rows: int
    files: Mapping[str, Written]
    pictures: Mapping[str, str]
    rejects: tuple[Reject, ...] = ()
    bad_pictures: tuple[str, ...] = ()
    notes: tuple[tuple[int, str], ...] = field(default=())

    @property
    def size_bytes(self) -> int:
        """Return the bytes of all files of the shard."""
        return sum(file.size_bytes for file in self.files.values())


def write_shard_record(folder: SplitFolder, record: ShardRecord) -> Written:
    """Write a shard's record: from then on the shard is finished. Raises OSError."""
    payload = {
        "shard": record.shard,
        "first_row": record.first_row,
        "rows": record.rows,
        "files": {name: [file.size_bytes, file.digest] for name, file in record.files.items()},
        "pictures": dict(record.pictures),
        "rejects": [[reject.row, reject.code, reject.detail] for reject in record.rejects],
        "bad_pictures": list(record.bad_pictures),
        "notes": [list(note) for note in record.notes],
    }
    return write_record(folder.shard_record(record.shard), payload)


def read_shard_record(path: Path) -> ShardRecord:
    """Return a shard's record. Raises DamageError when it is missing or not what was written."""
    payload = read_record(path)
    try:
        return ShardRecord(
            shard=payload["shard"],
            first_row=payload["first_row"],
            rows=payload["rows"],
            files={name: Written(*file) for name, file in payload["files"].items()},
            pictures=payload["pictures"],
            rejects=tuple(Reject(*reject) for reject in payload["rejects"]),
            bad_pictures=tuple(payload["bad_pictures"]),
            notes=tuple((row, code) for row, code in payload["notes"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise DamageError("record", "a shard's record has not the fields it should have", where=str(path)) from None


def root_manifest_path(root: Path) -> Path:
    """Return the store's list of finished splits."""
    return records_folder(root) / "manifest.json"


@dataclass(frozen=True, slots=True)
class RootManifest:
    """The store's list: split → digest of its manifest; file beside the splits → size and digest."""

    splits: Mapping[str, str]
    files: Mapping[str, Written]


def read_root_manifest(root: Path) -> RootManifest:
    """Return the store's list of finished splits. Raises DamageError."""
    path = root_manifest_path(root)
    manifest = read_record(path)
    if not {"splits", "files"} <= set(manifest) or "split" in manifest:
        raise DamageError("record", "it is not a store's list of its splits", where=str(path))
    return RootManifest(manifest["splits"], {name: Written(*file) for name, file in manifest["files"].items()})


def read_manifest(folder: SplitFolder) -> dict[str, Any]:
    """Return the manifest of a split. Raises DamageError, also when it is of another split."""
    manifest = read_record(folder.manifest)
    if manifest.get("split") != folder.name or not {"files", "attributes"} <= set(manifest):
        what = f"it is of the split {manifest['split']!r}" if "split" in manifest else "it is not a split's manifest"
        raise DamageError("record", what, where=str(folder.manifest))
    return manifest


def listed_splits(root: Path) -> Mapping[str, str]:
    """Return the finished splits that the store's list names, none when it cannot be read."""
    try:
        return read_root_manifest(root).splits
    except DamageError:
        return {}


def is_finished(folder: SplitFolder) -> bool:
    """Return whether a split was finished once, even if its manifest is gone since."""
    return folder.manifest.is_file() or folder.name in listed_splits(folder.path.parent)
