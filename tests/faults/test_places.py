"""Faults 15 and 33: outputs that must not be written to, and picture folders with nothing in them."""

import errno
import os
import shutil
import time

import pytest

from pose_data.atomic import set_write_hook
from pose_data.errors import InputError, ResumeMismatchError, StorageError, UsageError

# ------------------------------------------------------------------------------------ 33: outputs


def content(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_output_is_a_file(kit, tmp_path):
    out = tmp_path / "crops.zarr"
    out.write_text("mine", encoding="utf-8")
    for overwrite in (False, True):
        with pytest.raises(UsageError) as caught:
            kit.prepare(out, overwrite=overwrite)
        assert (caught.value.code, caught.value.exit_code, caught.value.where) == ("output-is-a-file", 2, str(out))
    assert out.read_text(encoding="utf-8") == "mine"


def test_the_output_is_a_pipe(kit, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is a file"):
        kit.prepare(tmp_path / "pipe")


def test_the_output_lies_in_a_file(kit, tmp_path):
    (tmp_path / "file").write_text("mine", encoding="utf-8")
    with pytest.raises(StorageError) as caught:
        kit.prepare(tmp_path / "file" / "crops.zarr")
    assert caught.value.exit_code == 6
    assert str(tmp_path / "file") in caught.value.where


def test_the_name_of_the_output_is_too_long(kit, tmp_path):
    with pytest.raises(StorageError, match="too long"):
        kit.prepare(tmp_path / ("x" * 300))


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_somebody_else_is_not_touched(kit, tmp_path, overwrite):
    out = tmp_path / "thesis"
    (out / "val2017" / "images").mkdir(parents=True)
    (out / "val2017" / "images" / "c.0.0.0.0").write_text("mine", encoding="utf-8")
    (out / "zarr.json").write_text("{}", encoding="utf-8")
    before = content(out)
    with pytest.raises(UsageError) as caught:
        kit.prepare(out, overwrite=overwrite)
    assert (caught.value.code, caught.value.exit_code, caught.value.where) == ("output-foreign", 2, str(out))
    assert content(out) == before


def test_an_empty_folder_is_taken(small_kit, small_calm, tmp_path):
    small_kit.prepare(tmp_path)
    assert small_kit.tree_digest(tmp_path) == small_calm


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_place_that_cannot_be_written_is_refused_before_work(kit, tmp_path, number):
    out = tmp_path / "crops.zarr"

    def refuse(step, path):
        raise OSError(number, os.strerror(number), str(path))

    set_write_hook(refuse)
    try:
        with pytest.raises(StorageError) as caught:
            kit.prepare(out)
    finally:
        set_write_hook(None)
    assert (caught.value.code, caught.value.exit_code) == ("not-writable", 6)
    assert caught.value.where.startswith(str(out))
    assert os.strerror(number) in caught.value.message
    assert not out.exists()


def test_a_file_system_that_takes_no_folders(kit):
    with pytest.raises(StorageError) as caught:
        kit.prepare("/proc/crops.zarr")
    assert caught.value.where.startswith("/proc")


def test_overwrite_replaces_a_store_of_ours_and_leaves_what_is_not(small_kit, small_calm, tmp_path):
    out = tmp_path / "crops.zarr"
    other = type(small_kit.recipe).from_dict({**small_kit.recipe.as_dict(), "sigma": 3.0, "encoding": "simcc"})
    small_kit.prepare(out, recipe=other)
    mine = ["notes.txt", "val2017/notes.txt", "val2017/images/c.txt", "val2017/mine/c.0.0", "other/zarr.json"]
    for name in mine:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("mine", encoding="utf-8")
    with pytest.raises(ResumeMismatchError):
        small_kit.prepare(out)
    small_kit.prepare(out, overwrite=True)
    for name in mine:
        assert (out / name).read_text(encoding="utf-8") == "mine"
        (out / name).unlink()
    for folder in ("val2017/mine", "other"):
        (out / folder).rmdir()
    assert small_kit.tree_digest(out) == small_calm


def test_overwrite_of_one_split_leaves_the_other(make_kit, tmp_path):
    kit = make_kit(pictures=6, persons=2, shard_rows=4, chunk_rows=2, splits=2)
    out = tmp_path / "crops.zarr"
    kit.prepare(out)
    before = kit.tree_digest(out)
    records = kit.shard_records(out)
    kit.prepare(out, splits=["val2017"], overwrite=True)
    assert kit.tree_digest(out) == before
    after = kit.shard_records(out)
    assert {name for name in records if records[name] == after[name]} == {
        name for name in records if name.startswith("train2017/")
    }


def test_an_overwrite_that_is_stopped_leaves_nothing_that_a_later_run_takes_for_its_own(
    small_kit, small_calm, tmp_path
):
    """Stop at every removal: what was written with other options is never mixed into the new store."""
    old = tmp_path / "old.zarr"
    other = type(small_kit.recipe).from_dict({**small_kit.recipe.as_dict(), "sigma": 3.0})
    small_kit.prepare(old, recipe=other)
    steps = []
    set_write_hook(lambda step, path: steps.append(step))
    shutil.copytree(old, tmp_path / "count.zarr")
    small_kit.prepare(tmp_path / "count.zarr", overwrite=True, scheduler="sync")
    last = max(number for number, step in enumerate(steps[: steps.index("mkdir") + 1]))
    for stop_at in range(1, last + 1, 3):
        out = tmp_path / f"{stop_at}.zarr"
        shutil.copytree(old, out)
        calls = iter(range(1, 10**6))

        def stop(step, path, stop_at=stop_at, calls=calls):
            if next(calls) == stop_at:
                raise OSError(errno.EIO, "broken", str(path))

        set_write_hook(stop)
        with pytest.raises(StorageError):
            small_kit.prepare(out, overwrite=True, scheduler="sync")
        set_write_hook(None)
        try:
            small_kit.prepare(out)
        except ResumeMismatchError:
            small_kit.prepare(out, overwrite=True)  # the old store is still whole
        assert (stop_at, small_kit.tree_digest(out)) == (stop_at, small_calm)


# ------------------------------------------------------------------------------------ 15: no pictures


def test_no_picture_at_all_is_fatal_in_seconds_with_folder_and_nearest_name(kit, tmp_path):
    coco = tmp_path / "coco"
    shutil.copytree(kit.coco, coco)
    for path in (coco / "val2017").iterdir():
        path.rename(path.with_suffix(".JPG"))
    out = tmp_path / "crops.zarr"
    began_s = time.monotonic()
    with pytest.raises(InputError) as caught:
        kit.prepare(out, root=coco)
    assert time.monotonic() - began_s < 3
    assert (caught.value.code, caught.value.exit_code) == ("images-not-found", 3)
    assert caught.value.where == str(coco / "val2017")
    assert "none of the first 40 pictures is there" in caught.value.message
    assert ".JPG" in caught.value.message
    assert "nothing was written" in caught.value.message
    assert not out.exists()


def test_pictures_are_not_looked_for_by_base_name(kit, tmp_path):
    coco = tmp_path / "coco"
    shutil.copytree(kit.coco, coco)
    (coco / "val2017" / "deeper").mkdir()
    for path in [*(coco / "val2017").glob("*.jpg")]:
        path.rename(coco / "val2017" / "deeper" / path.name)
    with pytest.raises(InputError, match="none of the first"):
        kit.prepare(tmp_path / "crops.zarr", root=coco)


def test_a_few_missing_pictures_are_rejected_and_too_many_stop_the_run(kit, tmp_path):
    coco = tmp_path / "coco"
    shutil.copytree(kit.coco, coco)
    for path in sorted((coco / "val2017").glob("*.jpg"))[:4]:
        path.unlink()
    report = kit.prepare(tmp_path / "crops.zarr", root=coco, max_bad=0.1)
    assert (report.splits[0].kept, dict(report.splits[0].codes)) == (108, {"img-missing": 12})
    with pytest.raises(InputError) as caught:
        kit.prepare(tmp_path / "strict.zarr", root=coco)
    assert (caught.value.code, caught.value.exit_code) == ("too-many-bad", 3)
    assert "img-missing" in caught.value.message
