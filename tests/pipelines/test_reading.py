"""Reading and choosing a split: what is counted, what is fatal, what is found before hours of work."""

import itertools
import json

import numpy as np
import pytest

from pipelines.reading import InputLimits, estimate_seconds, problem_examples, read_split
from pose_data.errors import InputError
from pose_data.events import Event
from pose_data.formats.coco_folder import find_coco


@pytest.fixture
def coco(factory, tmp_path):
    made = factory.CocoMaker(tmp_path)
    made.write("val2017")
    return made


def read(coco, recipe, events=None, **limits):
    coco.dump("val2017")
    (source,) = find_coco(root=coco.folder)
    return read_split(source, recipe, InputLimits(**limits), (events if events is not None else []).append)


def test_what_a_selection_says(coco, factory):
    selection = read(coco, factory.small_recipe())
    assert selection.rows.num_rows == selection.facts.annotation_count == 22
    assert selection.facts.rows == sum(selection.rows["kept"].to_pylist()) == 20
    assert selection.rejects == {"filter-crowd": 1, "filter-keypoints": 1}
    assert selection.bad == 0
    assert selection.bad_examples() == []
    assert selection.examples["filter-crowd"] == ("annotation 1018 of 000000000000.jpg",)
    assert (selection.pictures, selection.largest_picture_px, selection.shard_rows) == (8, 5120, 8)
    assert selection.facts.annotation_file == "person_keypoints_val2017.json"
    assert selection.facts.split == "val2017"


def test_shards_are_chosen_when_the_recipe_leaves_it_open(coco, factory):
    assert read(coco, factory.small_recipe(shard_rows=0)).shard_rows == 64


def test_bad_records_are_counted_with_examples(coco, factory):
    random = np.random.default_rng(0)
    for _ in range(5):
        coco.person(random, 999)
    coco.person(random, 1, bbox=[0, 0, -1, 5])
    selection = read(coco, factory.small_recipe())
    assert selection.rejects["image-unknown"] == 5
    assert selection.bad == 6
    assert len(selection.examples["image-unknown"]) == 3
    assert len(selection.bad_examples()) == 2


def test_notes_about_the_file_are_told(coco, factory):
    coco.annotations[1]["id"] = coco.annotations[0]["id"]
    events = []
    selection = read(coco, factory.small_recipe(), events)
    assert all(isinstance(event, Event) for event in events)
    assert [event.data["code"] for event in events if event.kind == "note"] == ["id-duplicate"]
    assert selection.notes["id-duplicate"] == 2


def test_nothing_left_says_what_was_rejected(coco, factory):
    with pytest.raises(InputError) as caught:
        read(coco, factory.small_recipe(min_box_area_px2=1e9))
    assert caught.value.code == "no-samples"
    assert "filter-area 20, filter-crowd 1, filter-keypoints 1" in caught.value.message
    coco.annotations.clear()
    with pytest.raises(InputError, match="no annotations"):
        read(coco, factory.small_recipe())


def test_a_wrong_picture_folder_is_found_at_once(coco, factory):
    for path in (coco.folder / "val2017").iterdir():
        path.rename(path.with_suffix(".jpeg"))
    with pytest.raises(InputError) as caught:
        read(coco, factory.small_recipe())
    assert caught.value.code == "images-not-found"
    assert ".jpeg" in caught.value.message  # the nearest existing name
    assert "nothing was written" in caught.value.message


def test_one_missing_picture_is_no_wrong_folder(coco, factory):
    (coco.folder / "val2017" / "000000000000.jpg").unlink()
    assert read(coco, factory.small_recipe()).facts.rows == 20


def test_pictures_of_unknown_size_are_read(coco, factory):
    for record in coco.image_records:
        del record["width"], record["height"]
    selection = read(coco, factory.small_recipe())
    assert selection.facts.rows == 20
    assert selection.largest_picture_px == 0


def test_limits_reach_the_reader(coco, factory):
    with pytest.raises(InputError, match="json-too-large"):
        read(coco, factory.small_recipe(), max_annotation_bytes=100)
    coco.image_records[0]["file_name"] = "../val2017/000000000000.jpg"
    with pytest.raises(InputError, match="path-outside-root"):
        read(coco, factory.small_recipe())
    assert read(coco, factory.small_recipe(), allow_outside=True).facts.rows == 20


def test_segmentations_are_kept_only_where_they_are_needed(coco, factory):
    assert read(coco, factory.small_recipe()).rows["segmentation"].null_count == 22
    table = read(coco, factory.small_recipe(background="white")).rows
    assert json.loads(table["segmentation"][0].as_py()) == coco.annotations[0]["segmentation"]


def test_examples_name_the_record_and_the_detail(coco, factory):
    coco.annotations[0]["bbox"] = [1, 2, 0, 5]
    examples = problem_examples(read(coco, factory.small_recipe()).rows)
    (text,) = examples["box-invalid"]
    assert text.startswith("annotation 1000 of 000000000000.jpg: bbox [1, 2, 0, 5]")


def test_the_estimated_time_falls_with_workers(coco, factory, monkeypatch):
    selection = read(coco, factory.small_recipe())
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    # A clock of one second a look: real times of a few milliseconds differ more than by four on a busy machine.
    monkeypatch.setattr("time.perf_counter", itertools.count().__next__)
    one, four = estimate_seconds(selection, 1), estimate_seconds(selection, 4)
    assert 0 < one == 4 * four
    for path in (coco.folder / "val2017").iterdir():
        path.unlink()
    assert estimate_seconds(selection, 1) == 0.0
