"""The COCO reader: real files, the columns it returns, choice of the category, repairs and notes."""

import copy
import hashlib
import json
import lzma
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_data.errors import PROBLEMS, InputError, PoseError
from pose_data.formats import READERS, AnnotationSet, read_coco
from pose_data.skeleton import COCO_PERSON, Skeleton
from pose_data.table import ANNOTATION_SCHEMA

CATEGORY = {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(COCO_PERSON.names), "skeleton": []}


def picture(identity: int = 1, **changes: Any) -> dict[str, Any]:
    return {"id": identity, "file_name": f"{identity:012d}.jpg", "width": 640, "height": 480} | changes


def person(identity: int = 1, **changes: Any) -> dict[str, Any]:
    keypoints = [number for index in range(17) for number in (100 + index, 120 + 2 * index, 2)]
    record = {
        "id": identity,
        "image_id": 1,
        "category_id": 1,
        "keypoints": keypoints,
        "num_keypoints": 17,
        "bbox": [90.5, 110.0, 60.0, 70.0],
        "area": 2000.5,
        "iscrowd": 0,
        "segmentation": [[90, 110, 150, 110, 150, 180]],
    }
    return record | changes


def with_keypoint(index: int, x: float, y: float, flag: float) -> list[float]:
    keypoints: list[float] = list(person()["keypoints"])
    keypoints[3 * index : 3 * index + 3] = [x, y, flag]
    return keypoints


def coco(
    annotations: list[Any], images: list[Any] | None = None, categories: list[Any] | None = None
) -> dict[str, Any]:
    return {
        "info": {"year": 2017},
        "images": [picture()] if images is None else images,
        "annotations": annotations,
        "categories": [CATEGORY] if categories is None else categories,
    }


def read(tmp_path: Path, content: dict[str, Any], **options: Any) -> AnnotationSet:
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return read_coco(path, **options)


def rows(read_set: AnnotationSet) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_set.table.to_pylist()
    return found


# --- real files -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "images", "persons", "labelled", "crowds"),
    [
        ("coco-sample/annotations/person_keypoints_val2017.json", 103, 356, 214, 9),
        ("coco-sample/annotations/person_keypoints_train2017.json", 37, 158, 81, 4),
        ("coco-annotations/person_keypoints_val2017_partial.json.xz", 1567, 3316, 2247, 56),
        ("coco-annotations/person_keypoints_train2017_partial.json.xz", 2077, 2148, 1853, 4),
    ],
)
def test_real_coco_is_read_whole(
    shared: Path, tmp_path: Path, name: str, images: int, persons: int, labelled: int, crowds: int
) -> None:
    data = (shared / "data" / name).read_bytes()
    data = lzma.decompress(data) if name.endswith(".xz") else data
    path = tmp_path / "annotations.json"
    path.write_bytes(data)
    found = read_coco(path, keep_segmentation=True)
    assert (found.image_count, found.annotation_count, found.category_id) == (images, persons, 1)
    assert (found.sha256, found.size_bytes, found.notes) == (hashlib.sha256(data).hexdigest(), len(data), ())
    table = found.table
    assert table.schema.equals(ANNOTATION_SCHEMA)
    table.validate(full=True)
    assert table["kept"].to_pylist() == [True] * persons
    assert sum(count > 0 for count in table["labelled"].to_pylist()) == labelled
    assert sum(table["iscrowd"].to_pylist()) == crowds
    source = json.loads(data)
    pictures = {record["id"]: record for record in source["images"]}
    for index, (record, row) in enumerate(zip(source["annotations"], rows(found), strict=True)):
        assert row["sample_id"] == index + 1
        assert (row["annotation_id"], row["image_id"]) == (record["id"], record["image_id"])
        image = pictures[record["image_id"]]
        assert row["file_name"] == image["file_name"]
        assert (row["image_width_px"], row["image_height_px"]) == (image["width"], image["height"])
        assert row["keypoints"] == record["keypoints"]
        assert row["bbox_xywh"] == row["box_xywh"] == record["bbox"]
        assert (row["area"], row["num_keypoints"]) == (record["area"], record["num_keypoints"])
        assert row["labelled"] == record["num_keypoints"]
        assert json.loads(row["segmentation"]) == record["segmentation"]
        expected = -1 if isinstance(record["segmentation"], dict) else len(record["segmentation"])
        assert row["polygons"] == expected
        assert row["score"] is None


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [
        ("aic/test_aic.json", "keypoints-other-skeleton", "AI Challenger"),
        ("crowdpose/test_crowdpose.json", "keypoints-other-skeleton", "CrowdPose"),
        ("halpe/test_halpe.json", "keypoints-other-skeleton", "Halpe"),
        ("coco/test_keypoint_partition_metric.json", "keypoints-other-skeleton", "WholeBody"),
        ("posetrack18/annotations/test_posetrack18_val.json", "skeleton-mismatch", "head_bottom"),
        ("mpii/test_mpii.json", "json-wrong-kind", "MPII"),
        ("humanart/test_humanart_det_AP_H_56.json", "json-wrong-kind", "detection results"),
    ],
)
def test_real_files_of_other_formats_are_named(shared: Path, name: str, code: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        read_coco(shared / "data" / "other-keypoints" / name)
    assert caught.value.code == code
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("name", "persons"),
    [("ochuman/test_ochuman.json", 5), ("humanart/test_humanart.json", 4), ("coco/test_coco_wholebody.json", 14)],
)
def test_real_files_with_coco_persons_inside_are_read(shared: Path, name: str, persons: int) -> None:
    found = read_coco(shared / "data" / "other-keypoints" / name)
    assert found.table["kept"].to_pylist() == [True] * persons


# --- what a row holds -----------------------------------------------------------------------------


def test_the_table_names_the_reader() -> None:
    assert READERS["coco"] is read_coco


def test_optional_fields_may_be_missing_or_null(tmp_path: Path) -> None:
    bare = {key: person()[key] for key in ("id", "image_id", "category_id", "keypoints", "bbox")}
    nulls = person(2, area=None, iscrowd=None, num_keypoints=None, segmentation=None, score=None)
    for row in rows(read(tmp_path, coco([bare, nulls]), keep_segmentation=True)):
        assert row["kept"]
        assert row["notes"] == ["area-missing"]
        assert (row["area"], row["score"], row["num_keypoints"], row["segmentation"]) == (None, None, None, None)
        assert (row["iscrowd"], row["polygons"], row["labelled"]) == (False, 0, 17)


def test_whole_floats_and_booleans_are_taken_for_what_they_mean(tmp_path: Path) -> None:
    record = person(7.0, image_id=1.0, category_id=1.0, num_keypoints=17.0, iscrowd=True, score=0.25)
    (row,) = rows(read(tmp_path, coco([record], images=[picture(1, id=1.0, width=640.0)])))
    assert (row["annotation_id"], row["image_id"], row["num_keypoints"]) == (7, 1, 17)
    assert row["kept"]
    assert row["iscrowd"]
    assert (row["score"], row["image_width_px"]) == (0.25, 640)


@pytest.mark.parametrize(
    ("segmentation", "polygons"),
    [
        ([], 0),
        ([[1, 2, 3, 4, 5, 6]], 1),
        ([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]], 2),
        ({"size": [4, 4], "counts": [1, 15]}, -1),
        ({"size": [4, 4], "counts": "ab"}, -1),
        ([1, 2, 3, 4, 5, 6], 0),
        ("text", 0),
    ],
)
def test_polygons_are_counted(tmp_path: Path, segmentation: Any, polygons: int) -> None:
    kept = read(tmp_path, coco([person(segmentation=segmentation)]), keep_segmentation=True)
    (row,) = rows(kept)
    assert (row["kept"], row["polygons"]) == (True, polygons)
    assert (row["segmentation"] is None) == (polygons == 0)
    (row,) = rows(read(tmp_path, coco([person(segmentation=segmentation)])))
    assert (row["polygons"], row["segmentation"]) == (polygons, None)


def test_pictures_may_have_no_size_but_not_a_wrong_one(tmp_path: Path) -> None:
    images = [picture(1, width=None), picture(2, width="640"), picture(3, height=0), picture(4, height=float("nan"))]
    del images[0]["height"]
    found = read(tmp_path, coco([person(index, image_id=index) for index in (1, 2, 3, 4)], images))
    first, *others = rows(found)
    assert (first["kept"], first["image_width_px"], first["image_height_px"]) == (True, None, None)
    assert [row["code"] for row in others] == ["num-not-finite"] * 3
    assert "height is NaN" in others[2]["detail"]
    assert [code for code, _ in found.notes] == ["num-not-finite"] * 3


def test_an_empty_list_of_annotations_is_an_empty_table(tmp_path: Path) -> None:
    found = read(tmp_path, coco([]))
    assert (found.table.num_rows, found.annotation_count, found.image_count) == (0, 0, 1)
    assert found.table.schema.equals(ANNOTATION_SCHEMA)


def test_many_batches_keep_their_order(tmp_path: Path) -> None:
    records = [person(index + 1, score=index / 4) for index in range(8192 + 5)]
    records[8193]["bbox"] = None
    table = read(tmp_path, coco(records)).table
    assert table["sample_id"].to_pylist() == list(range(1, 8198))
    assert table["annotation_id"].to_pylist() == list(range(1, 8198))
    assert table["score"].to_pylist() == [index / 4 for index in range(8197)]
    assert np.flatnonzero(~table["kept"].to_numpy()).tolist() == [8193]


# --- category and skeleton ------------------------------------------------------------------------


def test_other_categories_are_filtered_and_unknown_ones_rejected(tmp_path: Path) -> None:
    categories = [{"id": 18, "name": "dog"}, CATEGORY, {"id": 3, "name": "cat", "keypoints": ["nose", "tail"]}]
    records = [person(1), person(2, category_id=18, keypoints=None), person(3, category_id=3), person(4, category_id=9)]
    found = read(tmp_path, coco(records, categories=categories))
    assert found.category_id == 1
    assert [row["code"] for row in rows(found)] == [None, "filter-category", "filter-category", "category-unknown"]
    assert rows(found)[1]["detail"] == "category 18, 'dog'"


def test_names_are_compared_without_case_and_separators(tmp_path: Path) -> None:
    names = [name.replace("_", " ").title() for name in COCO_PERSON.names]
    assert read(tmp_path, coco([person()], categories=[CATEGORY | {"keypoints": names}])).table["kept"][0].as_py()


@pytest.mark.parametrize("category", [{"id": 1, "name": "person"}, {"id": 1, "name": "human", "keypoints": []}])
def test_a_category_without_names_is_taken_when_its_records_fit(tmp_path: Path, category: dict[str, Any]) -> None:
    assert read(tmp_path, coco([person()], categories=[category])).table["kept"][0].as_py()


def test_names_in_another_order_are_fatal_with_both_lists(tmp_path: Path) -> None:
    names = list(COCO_PERSON.names)
    names[1], names[2] = names[2], names[1]
    with pytest.raises(InputError) as caught:
        read(tmp_path, coco([person()], categories=[CATEGORY | {"keypoints": names}]))
    assert caught.value.code == "skeleton-mismatch"
    lines = str(caught.value).splitlines()
    assert any("≠" in line and line.split()[1:] == ["1", "'right_eye'", "left_eye"] for line in lines)
    assert sum("≠" in line for line in lines) == 2


def test_a_file_without_a_fitting_category_lists_what_it_has(tmp_path: Path) -> None:
    categories = [{"id": 2, "name": "\x1b[31mdog"}, {"id": 3, "name": "cat"}]
    with pytest.raises(InputError) as caught:
        read(tmp_path, coco([person(category_id=2)], categories=categories))
    assert caught.value.code == "skeleton-mismatch"
    assert "2 '\\x1b[31mdog', 3 'cat'" in str(caught.value)


def test_another_skeleton_can_be_asked_for(tmp_path: Path) -> None:
    tail = Skeleton(name="tiny-dog", names=("nose", "tail"))
    record = person(keypoints=[100, 120, 2, 0, 0, 0], num_keypoints=1, category_id=5)
    categories = [{"id": 4, "name": "dog"}, {"id": 5, "name": "puppy", "keypoints": ["nose", "tail"]}]
    found = read(tmp_path, coco([record], categories=categories), skeleton=tail)
    assert (found.category_id, found.skeleton) == (5, tail)
    assert rows(found)[0]["labelled"] == 1


@pytest.mark.parametrize(
    ("count", "words"),
    [(14, "CrowdPose"), (16, "MPII"), (26, "Halpe"), (133, "WholeBody"), (136, "Halpe"), (7, "none")],
)
def test_most_records_of_another_length_name_the_skeleton_that_fits(tmp_path: Path, count: int, words: str) -> None:
    others = [person(index, keypoints=[1, 1, 2] * count) for index in (1, 2, 3)]
    with pytest.raises(InputError) as caught:
        read(tmp_path, coco([*others, person(4)]))
    assert caught.value.code == "keypoints-other-skeleton"
    assert f"{count} keypoints" in str(caught.value)
    assert words in caught.value.hint


def test_pairs_without_flags_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        read(tmp_path, coco([person(keypoints=[1, 1] * 17)]))
    assert caught.value.code == "keypoints-other-skeleton"
    assert "34 numbers" in str(caught.value)


# --- boxes and notes ------------------------------------------------------------------------------


@pytest.mark.parametrize("bbox", [None, [], "text", [1, 2, 3], [90, 110, 60, 0], [90, 110, -5, 9], [90, 110, None, 9]])
def test_an_unusable_box_is_repaired_only_when_asked_for(tmp_path: Path, bbox: Any) -> None:
    content = coco([person(bbox=bbox), person(2)])
    (bad, good) = rows(read(tmp_path, content))
    assert bad["code"] in {"box-missing", "box-invalid", "num-not-finite"}
    assert (bad["kept"], bad["box_xywh"], bad["notes"]) == (False, None, [])
    assert good["kept"]
    (made, good) = rows(read(tmp_path, content, boxes="from-keypoints"))
    assert (made["kept"], made["box_xywh"]) == (True, [100.0, 120.0, 16.0, 32.0])
    assert made["notes"] == ["box-from-keypoints"]
    assert made["bbox_xywh"] == (bbox if bbox in ([], [1, 2, 3], [90, 110, 60, 0], [90, 110, -5, 9]) else None)
    assert (good["box_xywh"], good["notes"]) == (good["bbox_xywh"], [])


def test_a_box_is_not_made_of_one_point_or_none(tmp_path: Path) -> None:
    one = person(keypoints=[0, 0, 0] * 16 + [100, 120, 1], num_keypoints=1, bbox=[1, 1, 0, 0])
    none = person(2, keypoints=[0, 0, 0] * 17, num_keypoints=0, bbox=None)
    found = rows(read(tmp_path, coco([one, none]), boxes="from-keypoints"))
    assert [row["code"] for row in found] == ["box-invalid", "box-missing"]


def test_a_box_without_height_and_labels_is_still_a_bad_box(tmp_path: Path) -> None:
    # As annotation 2206849 of train2017.
    record = person(2206849, keypoints=[0, 0, 0] * 17, num_keypoints=0, bbox=[280.5, 226.1, 9.9, 0.0])
    (row, _) = rows(read(tmp_path, coco([record, person()])))
    assert (row["code"], row["labelled"]) == ("box-invalid", 0)
    assert "[280.5, 226.1, 9.9, 0]" in row["detail"]


@pytest.mark.parametrize(
    ("bbox", "code", "notes"),
    [
        ([0, 0, 640, 480], None, []),
        ([-0.4, -0.4, 640.8, 480.8], None, []),
        ([-10, 5, 50, 50], None, ["box-partly-outside"]),
        ([600, 5, 50, 50], None, ["box-partly-outside"]),
        ([5, 470, 50, 50], None, ["box-partly-outside"]),
        ([640, 5, 50, 50], "box-outside", []),
        ([-50, 5, 50, 50], "box-outside", []),
        ([5, 480, 50, 50], "box-outside", []),
        ([1e12, 5, 50, 50], "num-not-finite", []),
        ([1e308, 1e308, 1e308, 1e308], "num-not-finite", []),
    ],
)
def test_boxes_over_the_border(tmp_path: Path, bbox: list[float], code: str | None, notes: list[str]) -> None:
    (row,) = rows(read(tmp_path, coco([person(bbox=bbox)])))
    assert (row["code"], row["notes"]) == (code, notes)
    assert row["bbox_xywh"] == bbox
    assert row["box_xywh"] == (None if code else bbox)


@pytest.mark.parametrize(
    ("changes", "notes"),
    [
        ({"num_keypoints": 3}, ["num-keypoints-wrong"]),
        ({"keypoints": with_keypoint(3, 0, 0, 2)}, ["kpt-labelled-at-origin"]),
        ({"keypoints": with_keypoint(3, 5, 0, 0), "num_keypoints": 16}, ["kpt-unlabelled-with-position"]),
        ({"keypoints": with_keypoint(3, 640, 5, 1)}, ["kpt-outside-image"]),
        ({"keypoints": with_keypoint(3, 5, -1, 2)}, ["kpt-outside-image"]),
        ({"keypoints": with_keypoint(3, 639, 479, 2)}, []),
        ({"area": 0}, ["area-missing"]),
        ({"id": 0}, ["id-zero"]),
        ({"id": None}, ["id-zero"]),
        (
            {"keypoints": with_keypoint(3, 0, 0, 0), "num_keypoints": 17, "area": -1},
            ["num-keypoints-wrong", "area-missing"],
        ),
    ],
)
def test_contradictions_are_noted_and_the_original_is_kept(
    tmp_path: Path, changes: dict[str, Any], notes: list[str]
) -> None:
    record = person(**changes)
    (row,) = rows(read(tmp_path, coco([record])))
    assert row["kept"]
    assert row["notes"] == notes
    assert row["keypoints"] == record["keypoints"]
    assert row["num_keypoints"] == record["num_keypoints"]
    assert row["labelled"] == sum(flag > 0 for flag in record["keypoints"][2::3])


def test_repeated_annotation_ids_are_all_noted(tmp_path: Path) -> None:
    found = read(tmp_path, coco([person(5), person(6), person(5), person(7, bbox=None), person(7)]))
    expected = [["id-duplicate"], [], ["id-duplicate"], ["id-duplicate"], ["id-duplicate"]]
    assert [row["notes"] for row in rows(found)] == expected
    assert found.notes == (("id-duplicate", "2 annotation ids repeat: 5, 7"),)
    assert [row["sample_id"] for row in rows(found)] == [1, 2, 3, 4, 5]


def test_a_file_named_twice_is_noted(tmp_path: Path) -> None:
    images = [picture(1), picture(2, file_name=picture(1)["file_name"]), picture(3)]
    found = read(tmp_path, coco([person(index, image_id=index) for index in (1, 2, 3)], images))
    assert [row["notes"] for row in rows(found)] == [["file-twice"], ["file-twice"], []]
    assert [code for code, _ in found.notes] == ["file-twice"]


def test_notes_about_the_file_are_capped(tmp_path: Path) -> None:
    images = [picture(index) for index in range(1, 301)] + [picture(1000 + index, width="x") for index in range(300)]
    notes = read(tmp_path, coco([person()], images)).notes
    assert Counter(code for code, _ in notes) == {"num-not-finite": 101}
    assert notes[-1] == ("num-not-finite", "and 200 more")


# --- crowds ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"keypoints": [0] * 51, "num_keypoints": 0}, None),
        ({"keypoints": None}, "filter-crowd"),
        ({"keypoints": []}, "filter-crowd"),
        ({"bbox": [0, 0, 0, 0]}, "filter-crowd"),
        ({"area": "large"}, "filter-crowd"),
        ({"image_id": 99}, "image-unknown"),
    ],
)
def test_a_crowd_is_never_a_bad_record(tmp_path: Path, changes: dict[str, Any], code: str | None) -> None:
    crowd = person(1, iscrowd=1, segmentation={"size": [480, 640], "counts": [307200]}, **changes)
    row, _ = rows(read(tmp_path, coco([crowd, person(2)])))
    assert (row["code"], row["kept"], row["iscrowd"]) == (code, code is None, True)
    assert row["polygons"] == -1


# --- laws -----------------------------------------------------------------------------------------

NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(), st.just(10**400))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, st.text(max_size=4)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=2), inner, max_size=2)),
    max_leaves=4,
)
FIELDS = sorted({*person(), "score"})


@st.composite
def mutated_records(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from(["value", "missing", "number", "other", "none"]))
    record = copy.deepcopy(person(draw(st.integers(0, 3))))
    field = draw(st.sampled_from(FIELDS))
    if kind == "value":
        record[field] = draw(VALUES)
    elif kind == "missing":
        record.pop(field, None)
    elif kind == "number":
        name = draw(st.sampled_from(["keypoints", "bbox"]))
        record[name][draw(st.integers(0, len(record[name]) - 1))] = draw(VALUES)
    elif kind == "other":
        return draw(VALUES)
    return record


def encoded(value: Any) -> str:
    # ensure_ascii off: a lone surrogate cannot be in a UTF-8 file.
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8")


@settings(deadline=None, max_examples=250)
@given(st.lists(mutated_records(), max_size=6), st.booleans(), st.sampled_from(["annotated", "from-keypoints"]))
def test_every_record_becomes_one_row_and_good_ones_are_untouched(
    tmp_path_factory: pytest.TempPathFactory, mutated: list[Any], segmentation: bool, boxes: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "mutated.json"
    good = [person(1000 + index) for index in range(7)]
    path.write_text(encoded(coco([*good[:3], *mutated, *good[3:]])), encoding="utf-8")
    found = read_coco(path, keep_segmentation=segmentation, boxes=boxes)
    table = found.table
    table.validate(full=True)
    assert table.num_rows == found.annotation_count == len(mutated) + 7
    assert table["sample_id"].to_pylist() == list(range(1, table.num_rows + 1))
    everything = rows(found)
    for row in everything:
        assert row["kept"] == (row["code"] is None)
        assert all(PROBLEMS[code].fate == "note" for code in row["notes"])
        if row["kept"]:
            assert row["file_name"]
            assert np.isfinite(row["keypoints"]).all()
            assert len(row["keypoints"]) == 51
            assert set(row["keypoints"][2::3]) <= {0.0, 1.0, 2.0}
            assert row["labelled"] == sum(flag > 0 for flag in row["keypoints"][2::3])
            assert np.isfinite(row["box_xywh"]).all()
            assert min(row["box_xywh"][2:]) > 0
        else:
            assert PROBLEMS[row["code"]].fate in {"reject", "filter"}
            assert row["detail"].isprintable()
            assert len(row["detail"]) <= 200
    untouched = [*everything[:3], *everything[3 + len(mutated) :]]
    path.write_text(encoded(coco(good)), encoding="utf-8")
    expected = rows(read_coco(path, keep_segmentation=segmentation, boxes=boxes))
    for row, alone in zip(untouched, expected, strict=True):
        assert row | {"sample_id": 0} == alone | {"sample_id": 0}


@settings(deadline=None, max_examples=200)
@given(st.sampled_from(["images", "annotations", "categories"]), VALUES, st.booleans())
def test_whatever_stands_in_the_lists_only_our_errors_are_raised(
    tmp_path_factory: pytest.TempPathFactory, field: str, value: Any, inside: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "lists.json"
    content = coco([person()])
    content[field] = [*content[field], value] if inside else value
    path.write_text(encoded(content), encoding="utf-8")
    found: AnnotationSet | PoseError
    try:
        found = read_coco(path)
    except PoseError as error:
        found = error
    if isinstance(found, PoseError):
        assert found.code in {"json-wrong-kind", "path-outside-root", "image-id-duplicate"}
    else:
        assert found.table.num_rows == len(content["annotations"])


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(["id", "file_name", "width", "height"]), VALUES, st.booleans())
def test_a_broken_picture_record_harms_only_its_own_persons(
    tmp_path_factory: pytest.TempPathFactory, field: str, value: Any, missing: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "pictures.json"
    images = [picture(1), picture(2), picture(3)]
    images[1][field] = value
    if missing:
        del images[1][field]
    content = coco([person(index, image_id=index) for index in (1, 2, 3)], images)
    path.write_text(encoded(content), encoding="utf-8")
    found: AnnotationSet | PoseError
    try:
        found = read_coco(path)
    except PoseError as error:
        found = error
    if isinstance(found, PoseError):
        assert found.code == {"id": "image-id-duplicate", "file_name": "path-outside-root"}[field]
    else:
        first, second, third = rows(found)
        assert first["kept"]
        assert third["kept"]
        assert second["code"] in {None, "image-unknown", "num-not-finite", "box-outside"}


@settings(deadline=None, max_examples=400)
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3), st.booleans())
def test_changed_bytes_raise_only_our_errors(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes.json"
    data = bytearray(json.dumps(coco([person(1), person(2, area=float("nan"))])).encode())
    for position, value in changes:
        if cut:
            del data[position % len(data)]
        else:
            data[position % len(data)] = value
    path.write_bytes(data)
    found: AnnotationSet | PoseError
    try:
        found = read_coco(path)
    except PoseError as error:
        found = error
    if isinstance(found, PoseError):
        assert found.exit_code == 3
    else:
        assert found.table.num_rows == found.annotation_count
