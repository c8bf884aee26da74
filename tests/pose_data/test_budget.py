"""Estimates and limits: disk, memory, bad records."""

import dataclasses
import shutil
from collections import namedtuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_data.budget import BadBudget, check_disk, estimate_bytes, plan_memory
from pose_data.errors import InputError, StorageError, UsageError
from pose_data.recipes import RECIPES, build_recipe

Usage = namedtuple("Usage", "total used free")
GIGABYTE = 10**9


def test_coco_takes_what_was_measured():
    for codec, expected_gb in (("lossless", 16.5), ("fast", 18.5), ("raw", 22.1), ("jpeg", 3.3)):
        estimate = estimate_bytes(build_recipe(image_codec=codec), 17, 149_813, 262_465)
        # Images, 0.17 GB of maps, columns and the table.
        assert expected_gb * 0.95 < estimate / GIGABYTE < expected_gb * 1.1 + 0.5


def test_an_estimate_is_not_far_from_what_a_store_takes(factory, tmp_path):
    for codec in ("raw", "jpeg"):
        recipe = factory.small_recipe(image_codec=codec)
        folder = tmp_path / codec
        factory.CocoMaker(folder / "coco", pictures=20, persons=4, width_px=320, height_px=256).write("val2017")
        factory.prepare_split(folder / "s.zarr", folder / "coco", "val2017", recipe)
        files = [path for path in (folder / "s.zarr").rglob("c.*") if path.is_file()]
        taken = sum(path.stat().st_size for path in files)
        assert 0.2 < estimate_bytes(recipe, 17, 82, 84) / taken < 3


@given(rows=st.integers(0, 10**6), more=st.integers(1, 10**6))
def test_more_persons_take_more(rows, more):
    recipe = RECIPES["white-frame-320"]
    assert estimate_bytes(recipe, 13, rows + more, rows + more) > estimate_bytes(recipe, 13, rows, rows)


def test_a_disk_with_a_tenth_to_spare_will_do(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(10**12, 0, 1_100_001))
    check_disk(tmp_path / "not" / "yet" / "there", 1_000_000)
    with pytest.raises(StorageError) as caught:
        check_disk(tmp_path / "not" / "yet" / "there", 1_000_100)
    assert (caught.value.code, caught.value.where) == ("disk-full", str(tmp_path))
    assert "nothing was written" in caught.value.message
    assert list(tmp_path.iterdir()) == []


def planned(recipe=None, **changes):
    options = {
        "largest_picture_px": 640 * 640, "workers": 2, "processes": False, "limit_bytes": GIGABYTE, **changes,
    }  # fmt: skip
    return plan_memory(recipe or build_recipe(), 17, **options)


def test_the_plan_is_workers_times_their_data_on_top_of_the_program():
    one, two = planned(workers=1), planned(workers=2)
    assert two.total_bytes - one.total_bytes == one.worker_bytes
    assert one.worker_bytes == one.largest_picture_bytes + one.shard_buffer_bytes
    assert one.total_bytes == one.base_bytes + one.worker_bytes
    chunk = 16 * (256 * 192 * 3 + 17 * 64 * 48)
    assert one.shard_buffer_bytes >= 2 * chunk
    assert one.largest_picture_bytes >= 4 * 640 * 640


def test_threads_that_wait_hold_as_much_as_those_that_work():
    plan = planned(workers=2, spare_threads=2)
    assert plan.holders == 4
    assert plan.total_bytes == plan.base_bytes + 4 * plan.worker_bytes == planned(workers=4).total_bytes


def test_usual_work_fits_the_usual_limit():
    for recipe in RECIPES.values():
        assert planned(recipe, workers=2, largest_picture_px=640 * 640).total_bytes < GIGABYTE


def test_masks_and_processes_cost_more():
    assert planned(build_recipe(background="white")).total_bytes > planned().total_bytes
    assert planned(processes=True).base_bytes > planned(processes=False).base_bytes


def test_the_plan_knows_nothing_of_the_size_of_the_data_set():
    assert {field.name for field in dataclasses.fields(planned())} == {
        "holders", "largest_picture_bytes", "shard_buffer_bytes", "base_bytes",
    }  # fmt: skip
    assert planned(build_recipe(shard_rows=64)) == planned(build_recipe(shard_rows=65536))


def test_too_much_is_refused_with_what_is_too_much():
    with pytest.raises(UsageError) as caught:
        planned(workers=64, largest_picture_px=100_000_000)
    assert caught.value.code == "memory-limit"
    assert "64 workers" in caught.value.message
    assert "100.0 Mpx" in caught.value.message
    assert "--workers" in caught.value.hint
    limit = planned().total_bytes
    assert planned(limit_bytes=limit).total_bytes == limit
    with pytest.raises(UsageError):
        planned(limit_bytes=limit - 1)


@given(share=st.floats(0, 1), total=st.integers(1, 1000), parts=st.lists(st.integers(0, 50), max_size=20))
def test_the_budget_is_spent_exactly_when_the_bad_are_more_than_their_share(share, total, parts):
    budget = BadBudget(share, total, 10**9, "here")
    bad = 0
    for part in parts:
        bad += part
        if bad > share * total:
            with pytest.raises(InputError, match="too-many-bad"):
                budget.add(part)
            return
        budget.add(part)


def test_annotations_and_pictures_have_a_budget_each():
    BadBudget(0.5, 10, 4, "here").add(5, 2)
    with pytest.raises(InputError, match="3 of 4 pictures"):
        BadBudget(0.5, 10, 4, "here").add(0, 3)
    with pytest.raises(InputError, match="6 of 10 annotations") as caught:
        BadBudget(0.5, 10, 4, "here").add(6, 0, examples="img-missing")
    assert "img-missing" in caught.value.message
    assert "--max-bad 0.5" in caught.value.message
    assert "shards are kept" in caught.value.message
    assert caught.value.where == "here"


def test_nothing_bad_never_stops_even_with_nothing_allowed():
    budget = BadBudget(0.0, 10, 10, "here")
    budget.add(0)
    with pytest.raises(InputError):
        budget.add(1)
