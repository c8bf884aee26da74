"""The end of a split: the table accounts for every annotation, the manifest names every file, the root lists it."""

import json
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from pose_data.atomic import Written, bytes_digest, file_digest
from pose_data.commit import count_table, leaked_digests, read_counts, update_root_manifest
from pose_data.errors import PROBLEMS, DamageError
from pose_data.formats.coco import read_coco
from pose_data.manifest import SplitFolder, read_record, read_shard_record
from pose_data.store import open_store, root_metadata
from pose_data.table import TABLE_SCHEMA


@pytest.fixture
def copy(finished_store, tmp_path):
    return Path(shutil.copytree(finished_store, tmp_path / "copy.zarr"))


def split_of(root, name="val2017"):
    return SplitFolder(root / name)


def test_every_annotation_is_in_the_table_once_and_unchanged(finished_store):
    table = open_store(finished_store)["val2017"].table
    assert table.schema.equals(TABLE_SCHEMA)
    source = finished_store.parent / "coco" / "annotations" / "person_keypoints_val2017.json"
    read = read_coco(source).table
    assert Counter(table["sample_id"].to_pylist()) == Counter(range(1, read.num_rows + 1))
    originals = {row["sample_id"]: row for row in read.to_pylist()}
    verdict = {"kept", "code", "detail", "notes", "row", "shard", "image_digest"}
    for row in table.to_pylist():
        for name in set(row) - verdict:
            assert row[name] == originals[row["sample_id"]][name], name


def test_kept_plus_rejected_is_all_and_codes_account_for_the_rejected(finished_store):
    for name in ("train2017", "val2017"):
        split = split_of(finished_store, name)
        counts = read_counts(split)
        manifest = read_record(split.manifest)
        content = json.loads(
            (finished_store.parent / "coco" / "annotations" / f"person_keypoints_{name}.json").read_bytes()
        )
        assert counts.annotations == len(content["annotations"]) == counts.kept + counts.rejected == 22
        assert (counts.rows, counts.kept) == (20, 18)
        assert counts.codes == {
            "filter-crowd": 1, "filter-keypoints": 1, "img-missing": 1, "img-truncated": 1,
        }  # fmt: skip
        assert sum(counts.codes.values()) == counts.rejected
        assert set(counts.codes) | set(counts.notes) <= set(PROBLEMS)
        assert counts.pictures == 7  # the missing one was never read
        assert {
            field: manifest[field] for field in ("annotations", "kept", "rejected", "codes", "notes")
        } == count_table(split.table)


def test_table_and_arrays_agree(finished_store):
    split = open_store(finished_store)["val2017"]
    rows = {row["row"]: row for row in split.table.to_pylist() if row["row"] is not None}
    assert sorted(rows) == list(range(20))
    kept, ids = split["kept"][:], split["annotation_id"][:]
    for number, row in rows.items():
        assert row["kept"] == kept[number]
        assert row["annotation_id"] == ids[number]
        assert row["shard"] == number // 8
        assert (row["code"] is None) == row["kept"]
    assert {row["row"] for row in split.table.to_pylist() if row["code"] in ("filter-crowd", "filter-keypoints")} == {
        None
    }


def test_a_pictures_digest_is_in_the_table_where_it_was_read(finished_store):
    images = finished_store.parent / "coco" / "val2017"
    for row in open_store(finished_store)["val2017"].table.to_pylist():
        if row["row"] is None or row["code"] == "img-missing":
            assert row["image_digest"] is None
        else:
            assert row["image_digest"] == bytes_digest((images / row["file_name"]).read_bytes())


def test_the_manifest_names_every_file_of_the_split_itself_or_through_its_records(finished_store):
    split = split_of(finished_store)
    manifest = read_record(split.manifest)
    named = {name: Written(*written) for name, written in manifest["files"].items()}
    for shard in range(manifest["shards"]):
        named |= read_shard_record(split.shard_record(shard)).files
    there = {
        path.relative_to(split.path).as_posix()
        for path in split.path.rglob("*")
        if path.is_file() and "runs" not in path.parts and path != split.manifest
    }
    assert set(named) == there
    for name, written in named.items():
        assert file_digest(split.path / name) == written
    assert manifest["size_bytes"] == sum(file.size_bytes for name, file in named.items() if "/c." in name)


def test_no_work_is_left(finished_store):
    assert not list(finished_store.rglob("work"))
    assert not list(finished_store.rglob("*.partial"))


def test_the_root_lists_finished_splits_only(copy):
    manifest = read_record(copy / ".posedata" / "manifest.json")
    assert manifest["splits"] == {
        name: file_digest(split_of(copy, name).manifest).digest for name in ("train2017", "val2017")
    }
    split_of(copy).manifest.unlink()
    update_root_manifest(copy)
    assert list(read_record(copy / ".posedata" / "manifest.json")["splits"]) == ["train2017"]
    facts = {"train2017": open_store(copy, allow_unfinished=True)["train2017"].facts}
    assert (copy / "zarr.json").read_bytes() == root_metadata(facts)


def test_the_root_is_written_only_when_it_changes(copy):
    paths = [copy / "zarr.json", copy / ".posedata" / "manifest.json"]
    before = [path.stat().st_ino for path in paths]
    update_root_manifest(copy)
    assert [path.stat().st_ino for path in paths] == before
    paths[1].write_bytes(b"torn")
    update_root_manifest(copy)
    assert read_record(paths[1])["files"]["zarr.json"][0] == paths[0].stat().st_size


def test_pictures_that_another_split_holds_too_are_noted(factory, tmp_path):
    first, second = factory.CocoMaker(tmp_path / "coco"), factory.CocoMaker(tmp_path / "coco")
    first.write("train2017", broken=False)
    second.write("val2017", broken=False)
    shutil.copy(
        tmp_path / "coco" / "train2017" / "000000000001.jpg", tmp_path / "coco" / "val2017" / "000000000004.jpg"
    )
    for name in ("train2017", "val2017"):
        factory.prepare_split(tmp_path / "s.zarr", tmp_path / "coco", name, factory.small_recipe())
    store = open_store(tmp_path / "s.zarr")
    noted = [row["file_name"] for row in store["val2017"].table.to_pylist() if "split-leak" in row["notes"]]
    assert noted == ["000000000004.jpg"] * 3
    assert read_counts(split_of(tmp_path / "s.zarr")).notes["split-leak"] == 3
    folders = [split_of(tmp_path / "s.zarr", name) for name in ("train2017", "val2017")]
    assert leaked_digests(folders[0], folders) == leaked_digests(folders[1], folders)
    assert len(leaked_digests(folders[0], folders)) == 1
    assert leaked_digests(folders[0], folders[:1]) == set()


@pytest.mark.parametrize("content", [b"", b"PAR1PAR1", None])
def test_a_damaged_table_cannot_be_counted(copy, content):
    table = split_of(copy).table
    table.unlink()
    if content is not None:
        table.write_bytes(content)
    with pytest.raises(DamageError) as caught:
        count_table(table)
    assert (caught.value.code, caught.value.where) == ("record", str(table))


def test_the_table_is_plain_parquet(finished_store):
    names = pq.read_schema(split_of(finished_store).table).names
    assert names[0] == "sample_id"
    assert {"row", "shard", "code", "detail", "notes", "image_digest"} <= set(names)
    assert "segmentation" not in names
