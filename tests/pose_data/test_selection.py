"""What a recipe keeps: each filter by itself, their order, and what they leave untouched."""

import json

import numpy as np
import pytest

from pose_data.formats.coco import read_coco
from pose_data.selection import clean_table_boxes, select_samples, table_boxes

BOX = [10.4, 8.6, 30.7, 40.2]


def labelled(count, flag=2):
    return [value for index in range(17) for value in ((20 + index, 20, flag) if index < count else (0, 0, 0))]


@pytest.fixture
def select(factory, tmp_path):
    """Return a function: persons (changes of a good one), recipe changes → the table."""

    def run(persons, *, size=True, **recipe):
        coco = factory.CocoMaker(tmp_path)
        (tmp_path / "val2017").mkdir(exist_ok=True)
        (tmp_path / "annotations").mkdir(exist_ok=True)
        random = np.random.default_rng(0)
        coco.picture(random, tmp_path / "val2017", "a.jpg")
        if not size:
            for name in ("width", "height"):
                del coco.image_records[0][name]
        for changes in persons:
            fields = {"bbox": BOX, "keypoints": labelled(17), "area": 1234.5, **changes}
            coco.person(random, fields.pop("image_id", 1), **fields)
        made = factory.small_recipe(**recipe)
        read = read_coco(coco.dump("val2017"), boxes=made.boxes, keep_segmentation=True)
        return select_samples(read.table, made)

    return run


def codes(table):
    return table["code"].to_pylist()


def test_a_good_person_is_kept(select):
    table = select([{}])
    assert (codes(table), table["kept"].to_pylist(), table["detail"].to_pylist()) == ([None], [True], [None])


def test_crowds(select):
    persons = [{"iscrowd": 1}, {}]
    assert codes(select(persons)) == ["filter-crowd", None]
    assert codes(select(persons, keep_crowd=True)) == [None, None]


def test_labelled_keypoints_are_counted_whether_visible_or_not(select):
    persons = [{"keypoints": labelled(10)}, {"keypoints": labelled(11, 1)}, {"keypoints": labelled(0)}]
    assert codes(select(persons)) == [None, None, "filter-keypoints"]
    table = select(persons, min_keypoints=11)
    assert codes(table) == ["filter-keypoints", None, "filter-keypoints"]
    assert table["detail"].to_pylist()[0] == "fewer than 11 labelled"
    assert codes(select(persons, min_keypoints=0)) == [None, None, None]


def test_what_the_file_says_of_their_number_does_not_count(select):
    assert codes(select([{"keypoints": labelled(3), "num_keypoints": 17}], min_keypoints=11)) == ["filter-keypoints"]


def test_the_box_must_be_larger_than_asked_for(select):
    persons = [{"bbox": [0, 0, 50, 50]}, {"bbox": [0, 0, 50, 50.1]}, {"bbox": [0, 0, 10, 10]}]
    assert codes(select(persons, min_box_area_px2=2500.0)) == ["filter-area", None, "filter-area"]
    assert codes(select(persons)) == [None, None, None]


def test_polygons(select):
    triangle = [1.0, 1.0, 20.0, 1.0, 20.0, 20.0]
    rle = {"size": [64, 80], "counts": [0, 100, 5020]}
    persons = [{"segmentation": part} for part in ([triangle], [triangle, triangle], rle, [])]
    assert codes(select(persons, single_polygon=True)) == [None, *["filter-polygons"] * 3]
    assert codes(select(persons, background="white")) == [None, None, None, "mask-missing"]
    assert codes(select(persons)) == [None] * 4


def test_a_box_of_which_the_rule_leaves_nothing(select):
    persons = [{"bbox": [10.2, 5.0, 0.7, 20.0]}, {"bbox": [79.5, 5.0, 30.0, 20.0]}, {"bbox": [78.0, 5.0, 30.0, 20.0]}]
    assert codes(select(persons)) == [None, None, None]
    assert codes(select(persons, box_rule="truncated")) == ["box-invalid", None, None]
    table = select(persons, box_rule="msra-clean")
    assert codes(table) == ["box-invalid", "box-invalid", None]
    assert "msra-clean" in table["detail"].to_pylist()[0]


@pytest.mark.parametrize("rule", ["annotated", "truncated", "msra-clean"])
def test_a_picture_of_unknown_size_clips_nothing(select, factory, rule):
    table = select([{"bbox": [70.0, 5.0, 300.0, 400.0]}], size=False, box_rule=rule)
    assert table["image_width_px"].to_pylist() == [None]
    assert codes(table) == [None]
    less = 1.0 if rule == "msra-clean" else 0.0
    boxes = clean_table_boxes(table, factory.small_recipe(box_rule=rule))
    assert boxes.tolist() == [[70.0, 5.0, 300.0 - less, 400.0 - less]]


def test_box_rules(select, factory):
    table = select([{}, {"bbox": [-3.5, -2.5, 100.0, 100.0]}])
    assert clean_table_boxes(table, factory.small_recipe()).tolist() == table_boxes(table).tolist()
    truncated = clean_table_boxes(table, factory.small_recipe(box_rule="truncated"))
    assert truncated.tolist() == [[10, 8, 30, 40], [0, 0, 80, 64]]
    # pycocotools-free words of the reference: x2 = min(width - 1, x1 + max(0, w - 1)).
    clean = clean_table_boxes(table, factory.small_recipe(box_rule="msra-clean"))
    np.testing.assert_allclose(clean, [[10.4, 8.6, 29.7, 39.2], [0, 0, 79, 63]])


def test_the_first_rule_that_fits_gives_the_code(select):
    worst = {"iscrowd": 1, "keypoints": labelled(2), "segmentation": [], "bbox": [1.0, 1.0, 5.0, 5.0]}
    options = {
        "min_keypoints": 5, "single_polygon": True, "background": "white", "min_box_area_px2": 100.0,
        "box_rule": "truncated",
    }  # fmt: skip
    persons = [
        worst,
        {**worst, "iscrowd": 0},
        {**worst, "iscrowd": 0, "keypoints": labelled(17)},
        {"bbox": [1.0, 1.0, 0.5, 500.0]},
        {"bbox": [1.0, 1.0, 5.0, 5.0]},
    ]
    assert codes(select(persons, **options)) == [
        "filter-crowd", "filter-keypoints", "filter-polygons", "box-invalid", "filter-area",
    ]  # fmt: skip


def test_a_bad_record_keeps_the_readers_word(select):
    persons = [{"keypoints": [1, 2, 3]}, {"image_id": 77}, {"iscrowd": 1, "bbox": None}, {}, {}]
    table = select(persons, min_keypoints=17)
    assert codes(table) == ["kpt-length", "image-unknown", "filter-crowd", None, None]
    assert all(table["detail"].to_pylist()[:3])


def test_nothing_but_the_verdict_changes(select, factory, tmp_path):
    table = select([{}, {"iscrowd": 1}, {"keypoints": labelled(0)}])
    before = read_coco(tmp_path / "annotations" / "person_keypoints_val2017.json", keep_segmentation=True).table
    assert table.schema == before.schema
    verdict = {"kept", "code", "detail"}
    assert table.drop_columns(list(verdict)).equals(before.drop_columns(list(verdict)))


def test_kept_and_rejected_make_up_all(select):
    persons = [{"iscrowd": index % 2, "keypoints": labelled(index)} for index in range(17)]
    table = select(persons, min_keypoints=9)
    kept = table["kept"].to_pylist()
    assert len(kept) == 17
    assert [code is None for code in codes(table)] == kept
    assert json.dumps(codes(table)).count("filter-") == 17 - sum(kept)
