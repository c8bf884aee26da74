"""Unfinished work on disk: what a resume trusts, what it compares, what it makes again."""

import os
from pathlib import Path

import pytest

from pose_data import job as job_module
from pose_data.errors import DamageError
from pose_data.job import (
    changed_pictures,
    differing_fields,
    fingerprint,
    is_shard_whole,
    load_culprits,
    load_job,
    save_culprit,
    save_job,
    whole_shards,
)
from pose_data.manifest import SplitFolder, read_shard_record
from pose_data.plan import write_plan
from pose_data.recipes import build_recipe
from pose_data.shard import ShardJob, make_shard


@pytest.fixture
def job(factory, tmp_path):
    from pose_data.formats.coco import read_coco
    from pose_data.selection import select_samples

    recipe = factory.small_recipe()
    annotations = factory.CocoMaker(tmp_path / "coco").write("val2017")
    table = select_samples(read_coco(annotations).table, recipe)
    split = SplitFolder(tmp_path / "val2017")
    made = ShardJob(
        split=split, images_root=tmp_path / "coco" / "val2017", recipe=recipe, keypoint_indices=tuple(range(17)),
        rows=20, shard_rows=8, allow_outside=True,
    )  # fmt: skip
    (split.records / "shards").mkdir(parents=True)
    split.work.mkdir()
    for layout in made.layouts():
        (split.path / layout.name).mkdir()
    write_plan(split.plan, table, recipe, 8)
    for shard in range(3):
        make_shard(made, shard)
    return made


def records(job):
    return [read_shard_record(job.split.shard_record(shard)) for shard in range(3)]


def test_a_job_is_read_as_it_was_saved(job):
    save_job(job)
    assert load_job(job.split) == job
    (job.split.work / "job.json").write_bytes(b"{}")
    with pytest.raises(DamageError):
        load_job(job.split)


def test_whole_shards_are_found(job):
    assert sorted(whole_shards(job)) == [0, 1, 2]
    assert list(whole_shards(job).values()) == records(job)


def touched(path: Path, data: bytes) -> None:
    """Write a file after its shard's record, as damage or another program would."""
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["images/c.1.0.0.0", "kept/c.1"])
@pytest.mark.parametrize("how", ["gone", "cut", "flipped", "flipped and set back"])
def test_a_shard_with_a_changed_file_is_made_again(job, name, how):
    path = job.split.path / name
    before = path.stat()
    data = bytearray(path.read_bytes())
    if how == "gone":
        path.unlink()
    else:
        data[5] ^= 1
        touched(path, bytes(data[:-1] if how == "cut" else data))
    if how == "flipped and set back":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert not is_shard_whole(job.split, records(job)[1])
    assert sorted(whole_shards(job)) == [0, 2]


def test_a_rewritten_file_of_the_same_bytes_is_whole(job):
    path = job.split.path / "images" / "c.1.0.0.0"
    touched(path, path.read_bytes())
    assert sorted(whole_shards(job)) == [0, 1, 2]


@pytest.mark.parametrize("content", [None, b"", b"{}", b"torn"])
def test_a_torn_or_missing_record_means_that_the_shard_is_not_finished(job, content):
    path = job.split.shard_record(1)
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert sorted(whole_shards(job)) == [0, 2]


def test_files_older_than_their_record_are_not_read_again(job, monkeypatch):
    def refuse(path):
        raise AssertionError(path)

    for shard in range(3):
        later = job.split.shard_record(shard).stat().st_mtime_ns + 10**9
        os.utime(job.split.shard_record(shard), ns=(later, later))
    monkeypatch.setattr(job_module, "file_digest", refuse)
    assert sorted(whole_shards(job)) == [0, 1, 2]


def test_changed_pictures_are_named(job):
    name = next(name for name in records(job)[0].pictures if name.startswith("0"))
    path = job.images_root / name
    path.write_bytes(path.read_bytes())
    assert changed_pictures(job, records(job)[0]) == []
    path.write_bytes(path.read_bytes() + b"\0")
    assert changed_pictures(job, records(job)[0]) == [name]
    path.unlink()
    assert changed_pictures(job, records(job)[0]) == [name]


def test_a_fingerprint_is_what_decides_the_bytes(job):
    first = fingerprint(build_recipe(), "aa")
    assert fingerprint(build_recipe(), "aa") == first
    assert all(isinstance(value, str) for value in first.values())
    assert {key for key in first if key.startswith("recipe.")} == {
        f"recipe.{name}" for name in build_recipe().as_dict()
    }
    assert not [key for key in first if "worker" in key or "memory" in key or "scheduler" in key]
    assert {"version.numpy", "version.opencv", "version.zarr", "version.code", "version.posedata"} <= set(first)
    assert fingerprint(build_recipe(), "bb") != first


def test_differences_are_named_with_both_values():
    before = fingerprint(build_recipe(), "aa")
    now = fingerprint(build_recipe(sigma=3.0), "bb")
    assert differing_fields(before, now) == [
        "recipe.sigma: was 2.0, is 3.0",
        "source.annotations sha256: was aa, is bb",
    ]
    assert differing_fields({"a": "1"}, {"b": "2"}) == ["a: was 1, is (not there)", "b: was (not there), is 2"]
    assert differing_fields(before, before) == []


def test_culprits_add_up(job):
    assert load_culprits(job.split) == {}
    save_culprit(job.split, "é.jpg", "signal 11")
    save_culprit(job.split, "b.jpg", "did not end")
    assert load_culprits(job.split) == {"é.jpg": "signal 11", "b.jpg": "did not end"}
