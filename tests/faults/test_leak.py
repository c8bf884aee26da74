"""Fault 12: the same picture in two splits is a note, and fatal when asked to be."""

import shutil

import pyarrow.parquet as pq
import pytest

from pose_data.errors import InputError

TWIN, OTHER = "000000000003.jpg", "000000000005.jpg"


@pytest.fixture
def leaky(make_kit):
    kit = make_kit(pictures=6, persons=2, shard_rows=4, chunk_rows=2, splits=2)
    shutil.copyfile(kit.coco / "train2017" / TWIN, kit.coco / "val2017" / OTHER)
    return kit


def noted(out, split):
    rows = pq.read_table(out / split / ".posedata" / "table.parquet").to_pylist()
    return {row["file_name"] for row in rows if "split-leak" in row["notes"]}


def test_a_leak_is_noted_by_the_pictures_bytes_not_their_names(leaky, tmp_path):
    out = tmp_path / "crops.zarr"
    report = leaky.prepare(out)
    by_name = {split.split: split for split in report.splits}
    assert by_name["val2017"].notes["split-leak"] == 2
    assert by_name["val2017"].kept == 12
    assert noted(out, "val2017") == {OTHER}


def test_a_leak_is_fatal_when_forbidden_and_can_be_allowed_afterwards(leaky, tmp_path):
    calm, out = tmp_path / "calm.zarr", tmp_path / "crops.zarr"
    leaky.prepare(calm)
    with pytest.raises(InputError) as caught:
        leaky.prepare(out, forbid_leak=True)
    assert (caught.value.code, caught.value.exit_code) == ("split-leak", 3)
    assert "1 pictures of val2017 are in another split" in caught.value.message
    assert (out / "train2017" / ".posedata" / "manifest.json").is_file()
    assert not (out / "val2017" / ".posedata" / "manifest.json").exists()
    finished = leaky.shard_records(out)
    leaky.prepare(out)
    assert leaky.shard_records(out) == finished
    assert leaky.tree_digest(out) == leaky.tree_digest(calm)


def test_the_exit_code_of_a_forbidden_leak(leaky, tmp_path):
    done = leaky.run(tmp_path / "crops.zarr", "--forbid-leak")
    assert done.returncode == 3
    assert "split-leak" in done.stderr


def test_without_a_leak_forbidding_it_changes_nothing(make_kit, tmp_path):
    kit = make_kit(pictures=6, persons=2, shard_rows=4, chunk_rows=2, splits=2)
    kit.prepare(tmp_path / "a.zarr", forbid_leak=True)
    kit.prepare(tmp_path / "b.zarr")
    assert kit.tree_digest(tmp_path / "a.zarr") == kit.tree_digest(tmp_path / "b.zarr")
