"""The plan: every sample once, a picture's persons together, an order that the seed alone decides."""

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_data.errors import DamageError
from pose_data.formats.coco import read_coco
from pose_data.plan import (
    assign_rows,
    choose_shard_rows,
    read_plan_rows,
    read_rejected_rows,
    summarise_plan,
    write_plan,
)
from pose_data.recipes import build_recipe
from pose_data.selection import select_samples
from pose_data.table import PLAN_SCHEMA

KEYS = st.lists(st.integers(-5, 30), max_size=120)
SHARD_ROWS = st.sampled_from([1, 2, 4, 8, 16, 64])


def pictures_in_order(keys, order):
    """Return (key, first row, count) of each picture in the order of rows, runs joined."""
    runs = []
    for row, sample in enumerate(order):
        if runs and runs[-1][0] == keys[sample]:
            runs[-1][2] += 1
        else:
            runs.append([keys[sample], row, 1])
    return runs


@given(keys=KEYS, shard_rows=SHARD_ROWS, seed=st.integers(0, 2**31))
def test_every_sample_has_one_row_and_a_pictures_samples_lie_together(keys, shard_rows, seed):
    order = assign_rows(np.array(keys, np.int64), shard_rows, seed)
    assert sorted(order.tolist()) == list(range(len(keys)))
    runs = pictures_in_order(keys, order)
    assert len(runs) == len(set(keys))
    for key, first, count in runs:
        # In the order of the file, so that equal pictures give equal rows.
        assert order[first : first + count].tolist() == [i for i, other in enumerate(keys) if other == key]


@settings(max_examples=300)
@given(counts=st.lists(st.integers(1, 12), max_size=12), shard_rows=st.sampled_from([4, 8]), seed=st.integers(0, 2**31))
def test_a_picture_goes_over_a_border_only_when_no_later_one_fits_the_gap(counts, shard_rows, seed):
    keys = np.repeat(np.arange(len(counts)), counts)
    order = assign_rows(keys, shard_rows, seed)
    runs = pictures_in_order(keys, order)
    for number, (_, first, count) in enumerate(runs):
        gap = -first % shard_rows
        if gap and count > gap:
            assert all(later > gap for _, _, later in runs[number:])


@given(keys=KEYS, shard_rows=SHARD_ROWS)
def test_the_order_depends_on_the_seed_alone(keys, shard_rows):
    array = np.array(keys, np.int64)
    first = assign_rows(array, shard_rows, 7)
    np.testing.assert_array_equal(first, assign_rows(array, shard_rows, 7))
    # Other names for the same pictures change nothing: what counts is the order in which they appear.
    names = {key: 1000 * len(set(keys[:place])) - key for place, key in enumerate(keys)}
    renamed = np.array([names[key] for key in keys], np.int64)
    if len(set(renamed.tolist())) == len(set(keys)):
        np.testing.assert_array_equal(first, assign_rows(renamed, shard_rows, 7))


def test_another_seed_is_another_order():
    keys = np.repeat(np.arange(200), 2)
    orders = {tuple(assign_rows(keys, 64, seed).tolist()) for seed in range(5)}
    assert len(orders) == 5


def test_pictures_are_well_mixed():
    order = assign_rows(np.repeat(np.arange(2048), 2), 64, 0)
    means = order.reshape(64, 64).mean(axis=1)
    # The mean place of a shard's samples in the file: 32 draws from 4,096 places, five standard errors.
    assert np.abs(means - 2047.5).max() < 5 * 4096 / np.sqrt(12 * 32)


def test_no_samples_make_no_rows():
    assert assign_rows(np.empty(0, np.int64), 8, 0).shape == (0,)


def test_a_crowd_larger_than_a_shard_takes_the_shards_it_needs():
    keys = np.array([1] * 20 + [2] * 3 + [3] * 5)
    order = assign_rows(keys, 8, 0)
    runs = pictures_in_order(keys, order)
    assert [(key, count) for key, _, count in runs] == [(3, 5), (2, 3), (1, 20)]


@pytest.mark.parametrize("persons", [3, 5])
def test_many_pictures_that_never_fill_a_shard_are_planned_quickly(persons):
    keys = np.repeat(np.arange(60_000), persons)
    order = assign_rows(keys, 64, 0)
    assert len(order) == len(keys)


@pytest.mark.parametrize(
    ("rows", "chunk_rows", "expected"),
    [(149_813, 16, 1024), (8192, 16, 1024), (8191, 16, 512), (500, 16, 64), (1, 16, 64), (0, 16, 64), (500, 128, 128),
     (500, 48, 48), (149_813, 100, 1000), (10, 1, 64)],
)  # fmt: skip
def test_the_size_of_a_shard(rows, chunk_rows, expected):
    assert choose_shard_rows(rows, build_recipe(chunk_rows=chunk_rows)) == expected


@given(rows=st.integers(0, 10**6), chunk_rows=st.integers(1, 1024))
def test_a_shard_is_a_whole_number_of_chunks(rows, chunk_rows):
    size = choose_shard_rows(rows, build_recipe(chunk_rows=chunk_rows))
    assert size > 0
    assert size % chunk_rows == 0


@pytest.fixture(scope="module")
def table(factory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    annotations = factory.CocoMaker(folder, pictures=9, persons=2).write("val2017")
    return select_samples(read_coco(annotations).table, factory.small_recipe())


@pytest.fixture
def plan(tmp_path, table):
    path = tmp_path / "plan.parquet"
    assert write_plan(path, table, build_recipe(order_seed=3), 8).rows == sum(table["kept"].to_pylist()) == 20
    return path


def test_a_plan_has_one_row_group_a_shard_and_then_the_rejected(plan, table):
    with pq.ParquetFile(plan) as file:
        assert file.schema_arrow.equals(PLAN_SCHEMA)
        assert [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)] == [8, 8, 4, 2]
    rows = [row for shard in range(3) for row in read_plan_rows(plan, shard).to_pylist()]
    assert [row["row"] for row in rows] == list(range(20))
    assert [row["shard"] for row in rows] == [row // 8 for row in range(20)]
    rejected = [row for part in read_rejected_rows(plan, 3) for row in part.to_pylist()]
    assert {row["code"] for row in rejected} == {"filter-crowd", "filter-keypoints"}
    assert {(row["row"], row["shard"]) for row in rejected} == {(None, None)}
    ids = Counter(row["sample_id"] for row in [*rows, *rejected])
    assert ids == Counter(table["sample_id"].to_pylist())


def test_planned_rows_hold_the_annotations_unchanged(plan, table):
    annotations = {row["sample_id"]: row for row in table.to_pylist()}
    for row in read_plan_rows(plan, 1).to_pylist():
        expected = annotations[row["sample_id"]]
        assert {name: value for name, value in row.items() if name not in ("row", "shard")} == expected


def test_the_same_table_makes_the_same_file(plan, table):
    again = plan.with_name("again.parquet")
    write_plan(again, table, build_recipe(order_seed=3), 8)
    assert again.read_bytes() == plan.read_bytes()
    write_plan(again, table, build_recipe(order_seed=4), 8)
    assert again.read_bytes() != plan.read_bytes()


def test_the_summary(plan, table):
    summary = summarise_plan(plan)
    kept = table.filter(table["kept"])
    assert summary.pictures == len(set(kept["image_id"].to_pylist())) == 11
    assert summary.largest_picture_px == 80 * 64
    assert summary.bad == 0


def test_bad_records_are_counted_and_filtered_ones_not(tmp_path, factory):
    coco = factory.CocoMaker(tmp_path, pictures=2)
    coco.write("val2017")
    random = np.random.default_rng(0)
    coco.person(random, 1, keypoints=[1, 2, 3])
    coco.person(random, 99)
    table = select_samples(read_coco(coco.dump("val2017")).table, factory.small_recipe())
    write_plan(tmp_path / "p", table, build_recipe(), 8)
    assert summarise_plan(tmp_path / "p").bad == 2


def test_pictures_of_unknown_size_count_as_nothing(tmp_path, table):
    for name in ("image_width_px", "image_height_px"):
        table = table.set_column(table.schema.get_field_index(name), name, pa.nulls(table.num_rows, pa.int32()))
    write_plan(tmp_path / "p", table, build_recipe(), 8)
    assert summarise_plan(tmp_path / "p").largest_picture_px == 0


@pytest.mark.parametrize("damage", ["missing", "cut", "empty", "foreign"])
def test_a_damaged_plan_is_named(plan, damage):
    whole = plan.read_bytes()
    plan.unlink()
    if damage != "missing":
        plan.write_bytes({"cut": whole[:-20], "empty": b"", "foreign": b"PAR1 something else PAR1"}[damage])
    for read in (
        lambda: read_plan_rows(plan, 0), lambda: list(read_rejected_rows(plan, 3)), lambda: summarise_plan(plan),
    ):  # fmt: skip
        with pytest.raises(DamageError) as caught:
            read()
        assert (caught.value.code, caught.value.where) == ("record", str(plan))


def test_a_plan_without_samples_has_only_rejected_rows(tmp_path, table):
    position = table.schema.get_field_index("kept")
    empty = table.set_column(position, table.schema.field("kept"), pa.array([False] * table.num_rows))
    assert write_plan(tmp_path / "p", empty, build_recipe(), 8).rows == 0
    assert sum(part.num_rows for part in read_rejected_rows(tmp_path / "p", 0)) == table.num_rows
    assert summarise_plan(tmp_path / "p").pictures == 0


# ------------------------------------------------------------------ scenes


def test_a_scene_s_annotations_are_together_the_kept_ones_first(tmp_path, table, factory):
    recipe = factory.scene_recipe(order_seed=3)
    planned = write_plan(tmp_path / "p", table, recipe, 4)
    assert planned.rows == 11
    assert planned.persons_a_shard == 7
    rows = [row for shard in range(3) for row in read_plan_rows(tmp_path / "p", shard).to_pylist()]
    assert [row["row"] for row in rows] == sorted(row["row"] for row in rows)
    assert {row["row"] for row in rows} == set(range(11))
    assert all(row["shard"] == row["row"] // 4 for row in rows)
    by_row = {number: [row for row in rows if row["row"] == number] for number in range(11)}
    for annotations in by_row.values():
        assert len({row["image_id"] for row in annotations}) == 1
        kept = [row["kept"] for row in annotations]
        assert kept == sorted(kept, reverse=True)
        assert kept[0]
    # The crowd and the unlabelled person are of a picture that has a row: its mask needs them.
    assert {row["code"] for row in rows} == {None, "filter-crowd", "filter-keypoints"}
    assert list(read_rejected_rows(tmp_path / "p", 3)) == []
    assert sorted(row["sample_id"] for row in rows) == sorted(table["sample_id"].to_pylist())
    assert summarise_plan(tmp_path / "p").pictures == 11


def test_annotations_of_pictures_without_a_person_follow_the_shards(tmp_path, factory):
    coco = factory.CocoMaker(tmp_path, pictures=3, persons=1)
    coco.write("val2017", broken=False)
    random = np.random.default_rng(0)
    empty = coco.picture(random, tmp_path / "val2017", "empty.jpg")
    coco.person(random, empty, iscrowd=1)
    coco.person(random, 99)
    recipe = factory.scene_recipe()
    found = select_samples(read_coco(coco.dump("val2017")).table, recipe)
    assert write_plan(tmp_path / "p", found, recipe, 4).rows == 3
    (rest,) = read_rejected_rows(tmp_path / "p", 1)
    assert [(row["code"], row["row"]) for row in rest.to_pylist()] == [("filter-crowd", None), ("image-unknown", None)]


@pytest.mark.parametrize(("rows", "expected"), [(64_115, 256), (1000, 64), (113, 16), (1, 16)])
def test_shards_of_scenes_are_smaller(rows, expected):
    assert choose_shard_rows(rows, build_recipe("openpose-368")) == expected
