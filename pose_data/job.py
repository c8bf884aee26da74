"""The description of an unfinished split's work on disk: what workers read, what a resume compares.

``work/job.json`` holds what every shard needs; ``work/options.json`` what must not change between the
interrupted run and the one that continues it; ``work/fingerprint.json`` the same again and the plan's digest:
written last, it says that the plan stands.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pose_data.atomic import Written, file_digest
from pose_data.errors import DamageError
from pose_data.imaging import PictureProblem, read_picture
from pose_data.manifest import ShardRecord, SplitFolder, read_record, read_shard_record, write_record
from pose_data.recipes import Recipe
from pose_data.shard import ShardJob
from pose_data.versions import code_digest, library_versions

__all__ = [
    "begun_fields",
    "changed_pictures",
    "differing_fields",
    "fingerprint",
    "finished_shard",
    "is_plan_whole",
    "is_shard_whole",
    "is_split_whole",
    "load_culprits",
    "load_job",
    "save_culprit",
    "save_fingerprint",
    "save_job",
    "save_options",
    "whole_shards",
]


def save_job(job: ShardJob) -> None:
    """Write the job's description into its split's work folder. Raises OSError."""
    payload = {
        "images_root": str(job.images_root),
        "recipe": job.recipe.as_dict(),
        "keypoint_indices": list(job.keypoint_indices),
        "rows": job.rows,
        "shard_rows": job.shard_rows,
        "persons_a_shard": job.persons_a_shard,
        "allow_outside": job.allow_outside,
    }
    write_record(job.split.work / "job.json", payload)


def load_job(split: SplitFolder) -> ShardJob:
    """Return the job of a split's work folder. Raises DamageError."""
    payload = read_record(split.work / "job.json")
    return ShardJob(
        split=split,
        images_root=Path(payload["images_root"]),
        recipe=Recipe.from_dict(payload["recipe"]),
        keypoint_indices=tuple(payload["keypoint_indices"]),
        rows=payload["rows"],
        shard_rows=payload["shard_rows"],
        persons_a_shard=payload["persons_a_shard"],
        allow_outside=payload["allow_outside"],
    )


def fingerprint(recipe: Recipe, annotation_sha256: str) -> dict[str, str]:
    """Return everything that decides the bytes of a split besides the pictures, as flat text fields.

    Workers, scheduler and memory are not part of it.
    """
    fields = {f"recipe.{key}": repr(value) for key, value in recipe.as_dict().items()}
    fields["source.annotations sha256"] = annotation_sha256
    fields |= {f"version.{name}": version for name, version in library_versions().items()}
    fields["version.code"] = code_digest()
    return fields


def save_options(split: SplitFolder, fields: Mapping[str, str]) -> None:
    """Note what the work is made with, before anything of it is there. Raises OSError."""
    write_record(split.work / "options.json", {"fields": dict(fields)})


def save_fingerprint(split: SplitFolder, fields: Mapping[str, str]) -> None:
    """Note that the plan stands. Raises OSError."""
    payload = {"fields": dict(fields), "plan_digest": file_digest(split.plan).digest}
    write_record(split.work / "fingerprint.json", payload)


def begun_fields(split: SplitFolder) -> dict[str, str] | None:
    """Return what an unfinished split is made with, None when nothing whole says so."""
    for name in ("options.json", "fingerprint.json"):
        try:
            return dict(read_record(split.work / name)["fields"])
        except (DamageError, KeyError, TypeError, ValueError):
            continue
    return None


def is_plan_whole(split: SplitFolder) -> bool:
    """Return whether the plan stands and is what was written."""
    try:
        recorded = read_record(split.work / "fingerprint.json").get("plan_digest")
        return bool(file_digest(split.plan).digest == recorded)
    except (DamageError, OSError):
        return False


def differing_fields(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return a line for each field that differs: name, what it was, what it is."""
    return [
        f"{name}: was {before.get(name, '(not there)')}, is {now.get(name, '(not there)')}"
        for name in sorted(set(before) | set(now))
        if before.get(name) != now.get(name)
    ]


def _culprits_path(split: SplitFolder) -> Path:
    return split.work / "culprits.json"


def load_culprits(split: SplitFolder) -> dict[str, str]:
    """Return the pictures known to crash the decoder: file name → detail. A torn list is empty."""
    try:
        return {str(name): str(detail) for name, detail in read_record(_culprits_path(split)).items()}
    except DamageError:
        return {}


def save_culprit(split: SplitFolder, name: str, detail: str) -> None:
    """Remember a picture that crashed the decoder. Raises OSError."""
    write_record(_culprits_path(split), {**load_culprits(split), name: detail})


def _unchanged(path: Path, written: Written, since_ns: int) -> bool:
    """Return whether a file still has the recorded bytes.

    A file whose inode last changed before its record was written is not read again: that time
    (unlike the modification time) cannot be set by programs.
    """
    stat = path.stat()
    if stat.st_size != written.size_bytes:
        return False
    return stat.st_ctime_ns < since_ns or file_digest(path) == written


def is_shard_whole(split: SplitFolder, record: ShardRecord) -> bool:
    """Return whether every file of a recorded shard has the recorded bytes."""
    try:
        since_ns = split.shard_record(record.shard).stat().st_mtime_ns
        return all(_unchanged(split.path / name, written, since_ns) for name, written in record.files.items())
    except OSError:
        return False


def is_split_whole(split: SplitFolder) -> bool:
    """Return whether everything of a finished split is as recorded; data files as in :func:`is_shard_whole`."""
    try:
        manifest = read_record(split.manifest)
        files = {name: Written(*written) for name, written in manifest["files"].items()}
        if any(file_digest(split.path / name) != written for name, written in files.items()):
            return False
        records = [read_shard_record(split.shard_record(shard)) for shard in range(manifest["shards"])]
    except (DamageError, OSError, KeyError, TypeError):
        return False
    return all(is_shard_whole(split, record) for record in records)


def changed_pictures(job: ShardJob, record: ShardRecord) -> list[str]:
    """Return the names of source pictures that are not the ones a finished shard was made from."""
    since_ns = job.split.shard_record(record.shard).stat().st_mtime_ns
    changed = []
    for name, digest in record.pictures.items():
        path = job.images_root / name
        try:
            if path.stat().st_ctime_ns >= since_ns and file_digest(path).digest != digest:
                changed.append(name)
        except OSError:
            changed.append(name)
    # Those that could not be read then must not be readable now; known culprits are left alone.
    unread = set(record.bad_pictures) - set(record.pictures) - set(load_culprits(job.split))
    return changed + sorted(name for name in unread if _is_readable(job.images_root / name))


def _is_readable(path: Path) -> bool:
    try:
        read_picture(path)
    except PictureProblem:
        return False
    return True


def whole_shards(job: ShardJob) -> dict[int, ShardRecord]:
    """Return the records of the shards that are finished and whole."""
    records = {shard: finished_shard(job, shard) for shard in range(job.shards)}
    return {shard: record for shard, record in records.items() if record is not None}


def finished_shard(job: ShardJob, shard: int) -> ShardRecord | None:
    """Return the record of a shard that is finished and whole, else None.

    A record that is torn, or whose files are not what it says, counts as not finished: its shard is made again.
    """
    try:
        record = read_shard_record(job.split.shard_record(shard))
    except DamageError:
        return None
    return record if _is_of(job, shard, record) and is_shard_whole(job.split, record) else None


def _is_of(job: ShardJob, shard: int, record: ShardRecord) -> bool:
    """Return whether a record is of this shard and names all its files."""
    first_row = shard * job.shard_rows
    names = {
        job.split.shard_file(layout.name, len(layout.row_shape), shard).relative_to(job.split.path).as_posix()
        for layout in job.layouts()
    }
    place = (shard, first_row, min(job.shard_rows, job.rows - first_row))
    return (record.shard, record.first_row, record.rows) == place and set(record.files) == names
