"""Faults 1-14, 23 and 26 of an annotation file: what the user gets for each of them."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_data.errors import PROBLEMS, InputError
from pose_data.formats import AnnotationSet, read_coco
from pose_data.skeleton import COCO_PERSON

pytestmark = pytest.mark.faults

NAN, INFINITY = float("nan"), float("inf")


def person(identity: int, **changes: Any) -> dict[str, Any]:
    return {
        "id": identity,
        "image_id": 1 + identity % 2,
        "category_id": 1,
        "keypoints": [number for index in range(17) for number in (100.5 + index, 120 + 2 * index, 2)],
        "num_keypoints": 17,
        "bbox": [90.5, 110.0, 60.0, 70.0],
        "area": 2000.5,
        "iscrowd": 0,
        "segmentation": [[90, 110, 150, 110, 150, 180]],
    } | changes


def coco(annotations: list[Any]) -> dict[str, Any]:
    return {
        "info": {"description": 'a "quoted" NaN, \\ and Infinity in texts'},
        "images": [
            {"id": 1, "file_name": "one.jpg", "width": 640, "height": 480},
            {"id": 2, "file_name": "NaN Infinity.jpg", "width": 640, "height": 480},
        ],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_PERSON.names)}],
    }


def write(tmp_path: Path, content: Any, name: str = "annotations.json") -> Path:
    path = tmp_path / name
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def refusal(path: Path, **options: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        read_coco(path, **options)
    error = caught.value
    assert str(path) in error.where
    assert error.exit_code == 3
    assert error.hint
    return error


def codes(found: AnnotationSet) -> list[str | None]:
    listed: list[str | None] = found.table["code"].to_pylist()
    return listed


# --- 1: cut off or invalid ------------------------------------------------------------------------


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("literals", [False, True])
def test_01_a_file_cut_off_anywhere_is_invalid_json(tmp_path: Path, indent: int | None, literals: bool) -> None:
    annotations = [person(index, area=NAN if literals else 5.0) for index in range(5)]
    data = json.dumps(coco(annotations), indent=indent).encode()
    for percent in range(100):
        path = tmp_path / f"{percent}.json"
        path.write_bytes(data[: len(data) * percent // 100])
        error = refusal(path)
        assert error.code == "json-invalid", percent
        # A literal that is cut in two is named where it begins.
        byte = int(error.where.rpartition(" ")[2])
        assert 0 <= len(data) * percent // 100 - byte < (len("Infinity") if literals else 1)


@pytest.mark.parametrize(
    ("text", "position"),
    [
        ('{"images": [}', "line 1, column 13, byte 12"),
        ('{"images": [],\n "annotations": [],\n "categories": [x]}', "line 3, column 17, byte 51"),
        ('{"images": [],\n "annotations": [NaN],\n "categories": [x]}', "line 3, column 17, byte 54"),
        ('{"images": [01]}', "line 1, column 14, byte 13"),
        ("\ufeff{,}", "line 1, column 5, byte 4"),
        ("", "line 1, column 1, byte 0"),
    ],
)
def test_01_the_place_is_named(tmp_path: Path, text: str, position: str) -> None:
    error = refusal(write(tmp_path, text))
    assert error.code == "json-invalid"
    assert error.where.endswith(position)


@pytest.mark.parametrize(
    ("data", "hint"),
    [
        (gzip.compress(b"{}", mtime=0), "gzip"),
        (b"\xfd7zXZ\x00\x00", "xz"),
        (b"PK\x03\x04....", "ZIP"),
        ('{"images": []}'.encode("utf-16"), "UTF-8"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b'{"image_id": 1}\n{"image_id": 2}\n', "JSON Lines"),
        (b"\0" * 4096, "again"),
    ],
)
def test_01_what_the_bytes_are_is_said(tmp_path: Path, data: bytes, hint: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(data)
    error = refusal(path)
    assert error.code == "json-invalid"
    assert hint in error.hint


def test_01_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    assert codes(read_coco(write(tmp_path, "\ufeff" + json.dumps(coco([person(1)]))))) == [None]


def test_01_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    for path in (tmp_path / "missing.json", tmp_path, pipe, tmp_path / ("x" * 300)):
        assert refusal(path).code == "json-unreadable"


def test_01_the_file_is_not_changed_by_reading(tmp_path: Path) -> None:
    path = write(tmp_path, coco([person(1, area=NAN), person(2)]))
    before = path.read_bytes()
    read_coco(path)
    assert path.read_bytes() == before


# --- 2: another kind of file ----------------------------------------------------------------------

RESULT = {"image_id": 1, "category_id": 1, "score": 0.5}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([RESULT | {"keypoints": [1, 2, 3]}], ("keypoint results", "an evaluation reads it")),
        ([RESULT | {"bbox": [1, 2, 3, 4]}], ("detection results",)),
        ([{"image_id": 1, "caption": "x"}], ("caption results",)),
        ([], ("empty list",)),
        ([1], ("a list",)),
        ([NAN], ("a list",)),
        ({}, ("empty object",)),
        (5, ("single value",)),
        ("text", ("single value",)),
        (None, ("single value",)),
        ({"shapes": [], "imagePath": "a.jpg", "version": "5"}, ("labelme",)),
        ({"_via_img_metadata": {}}, ("VGG",)),
        ({"version": 1.3, "people": []}, ("OpenPose",)),
        ({"images": [], "categories": []}, ("test set",)),
        ({"annotations": [], "categories": []}, ("without its list of images",)),
        ({"images": [], "annotations": []}, ("without categories",)),
        ({"images": {}, "annotations": [], "categories": []}, ("'images' is not a list",)),
        ({"data": 1, "\x1b[31m": 2}, ("'data', '\\x1b[31m'",)),
        (coco([]) | {"categories": []}, ("empty list of categories",)),
        (coco([{"id": 1, "image_id": 1, "segments_info": [], "file_name": "a"}]), ("panoptic",)),
        (coco([{"id": 1, "image_id": 1, "caption": "a man"}]), ("captions",)),
        (coco([{key: value for key, value in person(1).items() if "keypoints" not in key}]), ("instances",)),
    ],
)
def test_02_another_kind_is_named_with_what_reads_it(tmp_path: Path, content: Any, words: tuple[str, ...]) -> None:
    text = json.dumps(content) if isinstance(content, str) else content
    error = refusal(write(tmp_path, text))
    assert error.code == "json-wrong-kind"
    for word in words:
        assert word in str(error)
    assert "person_keypoints" in error.hint or "COCO" in error.hint


def test_02_another_kind_that_is_cut_off_is_invalid(tmp_path: Path) -> None:
    assert refusal(write(tmp_path, '[{"image_id": 1, "keypo')).code == "json-invalid"


# --- 3: huge or deep (the memory limits are tested in test_coco_memory) ---------------------------


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '{"images": [], "categories": [], "annotations": [' + "[" * 100_000 + "]" * 100_000 + "]}",
        '{"images": [], "categories": [], "annotations": [{"segmentation": ' + "[" * 100_000 + "]" * 100_000 + "}]}",
        '{"images": [], "categories": [], "annotations": [{"id": NaN, "x": ' + "[" * 100_000 + "]" * 100_000 + "}]}",
        '{"images": [{"id": ' + "[" * 100_000 + "]" * 100_000 + '}], "categories": [], "annotations": []}',
    ],
)
def test_03_deep_nesting_is_refused(tmp_path: Path, text: str) -> None:
    assert refusal(write(tmp_path, text)).code == "json-too-deep"


@pytest.mark.parametrize("depth", [50, 400, 700, 900, 980, 1000, 1100])
def test_03_any_depth_is_read_or_refused(tmp_path: Path, depth: int) -> None:
    text = json.dumps(coco([person(1), person(2, area="?")]))
    path = write(tmp_path, text.replace('"?"', "[" * depth + "]" * depth))
    try:
        found = codes(read_coco(path))
    except InputError as error:
        found = [error.code]
    assert found in ([None, "num-not-finite"], ["json-too-deep"])


def test_03_the_size_limit_names_size_limit_and_knob(tmp_path: Path) -> None:
    path = write(tmp_path, coco([person(1)]))
    size = path.stat().st_size
    assert codes(read_coco(path, max_file_bytes=size)) == [None]
    error = refusal(path, max_file_bytes=size - 1)
    assert error.code == "json-too-large"
    assert f"{size:,}" in error.message
    assert f"{size - 1:,}" in error.message
    assert f"--max-annotation-bytes {size}" in error.hint


def test_03_a_huge_record_is_rejected_alone(tmp_path: Path) -> None:
    path = write(tmp_path, coco([person(1), person(2, keypoints=[0] * 3_000_000), person(3)]))
    found = read_coco(path)
    assert codes(found) == [None, "not-an-object", None]
    assert "limit" in found.table["detail"][1].as_py()


# --- 4: what is not a number ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (NAN, "NaN"),
        (INFINITY, "Infinity"),
        (-INFINITY, "-Infinity"),
        ("5", "the text '5'"),
        (None, "null"),
        (True, "true"),
        (False, "false"),
        ([], "a list"),
        ({}, "an object"),
        pytest.param(10**400, "a number beyond float64", id="huge"),
        ("1e999", "a number beyond float64"),
    ],
)
@pytest.mark.parametrize("field", ["keypoints", "bbox", "area", "id", "image_id", "num_keypoints", "score", "iscrowd"])
def test_04_what_is_not_a_number_rejects_only_its_record(tmp_path: Path, field: str, value: Any, word: str) -> None:
    bad = person(2)
    if field in {"keypoints", "bbox"}:
        bad[field][3] = value
        word = f"{field}[3] is {word}"
    else:
        bad[field] = value
        word = f"{field} is {word}"
    text = json.dumps(coco([person(1), bad, person(3)])).replace('"1e999"', "1e999")
    found = read_coco(write(tmp_path, text))
    first, second, third = found.table.to_pylist()
    assert first["kept"]
    assert third["kept"]
    assert third["notes"] == first["notes"] == []
    if field not in {"keypoints", "bbox"} and value is None:
        assert second["code"] == ("image-unknown" if field == "image_id" else None)
    elif field == "iscrowd" and isinstance(value, bool):
        assert (second["code"], second["iscrowd"]) == (None, value)
    else:
        assert second["code"] == "num-not-finite"
        assert second["detail"] == word


def test_04_literals_in_texts_are_left_alone(tmp_path: Path) -> None:
    records = [person(1), person(2, area=NAN, note='NaN "Infinity" \\')]
    found = read_coco(write(tmp_path, coco(records)))
    assert codes(found) == [None, "num-not-finite"]
    assert found.table["file_name"].to_pylist() == ["NaN Infinity.jpg", "one.jpg"]


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet='"\\NaIinfty- é', max_size=40), st.sampled_from([NAN, INFINITY, -INFINITY]))
def test_04_literals_are_told_from_texts(tmp_path_factory: pytest.TempPathFactory, text: str, value: float) -> None:
    content = coco([person(1), person(2, area=value, note=text), person(3, note=text)])
    content["images"][0]["file_name"] = "a" + text
    path = tmp_path_factory.getbasetemp() / "literals.json"
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    found = read_coco(path)
    assert codes(found) == [None, "num-not-finite", None]
    assert found.table["file_name"][1].as_py() == "a" + text


def test_04_records_that_are_not_objects(tmp_path: Path) -> None:
    found = read_coco(write(tmp_path, coco([person(1), 5, None, "text", [], NAN, {}, person(2)])))
    assert codes(found) == [None, *["not-an-object"] * 5, "image-unknown", None]
    assert found.table["detail"][5].as_py() == "the record is NaN"


def test_04_a_record_that_is_not_utf_8_is_rejected_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    data = json.dumps(coco([person(1), person(2, area="@"), person(3, other="@")])).encode()
    path.write_bytes(data.replace(b"@", b"\xff"))
    assert codes(read_coco(path)) == [None, "not-an-object", None]


# --- 5, 6: keypoints ------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 3, 42, 48, 50, 52, 54, 78, 399])
def test_05_a_list_of_another_length_is_rejected(tmp_path: Path, length: int) -> None:
    found = read_coco(write(tmp_path, coco([person(1), person(2, keypoints=[1] * length), person(3)])))
    assert codes(found) == [None, "kpt-length", None]
    assert found.table["detail"][1].as_py() == f"{length} numbers instead of 51"
    assert found.table["keypoints"][1].as_py() is None


@pytest.mark.parametrize("value", ["missing", None, [], "text", 5, {}])
def test_05_no_list_of_keypoints(tmp_path: Path, value: Any) -> None:
    bad = person(2, keypoints=value)
    if value == "missing":
        del bad["keypoints"]
    assert codes(read_coco(write(tmp_path, coco([person(1), bad, person(3)])))) == [None, "kpt-missing", None]


@pytest.mark.parametrize(("count", "words"), [(14, "CrowdPose"), (16, "MPII"), (26, "Halpe"), (133, "WholeBody")])
def test_05_most_records_of_another_skeleton_are_fatal(tmp_path: Path, count: int, words: str) -> None:
    others = [person(index, keypoints=[1, 1, 1] * count) for index in range(2)]
    error = refusal(write(tmp_path, coco([person(9), *others])))
    assert error.code == "keypoints-other-skeleton"
    assert words in error.hint


@pytest.mark.parametrize(("flag", "good"), [(0, 1), (1, 1), (2, 1), (2.0, 1), (0.5, 0), (3, 0), (-1, 0), (1e300, 0)])
def test_06_flags_other_than_0_1_2_are_rejected(tmp_path: Path, flag: float, good: bool) -> None:
    bad = person(2)
    bad["keypoints"][8] = flag
    found = read_coco(write(tmp_path, coco([person(1), bad, person(3)])))
    assert codes(found) == [None, None if good else "kpt-visibility", None]
    if not good:
        assert found.table["detail"][1].as_py() == f"keypoint 2 has the flag {flag:.10g}"
        assert found.table["labelled"][1].as_py() is None


# --- 7 to 10 --------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(st.lists(st.sampled_from([0, 1, 2]), min_size=17, max_size=17), st.one_of(st.none(), st.integers(-3, 99)))
def test_07_labels_are_counted_from_the_flags(
    tmp_path_factory: pytest.TempPathFactory, flags: list[int], claimed: int | None
) -> None:
    record = person(1, num_keypoints=claimed)
    record["keypoints"][2::3] = flags
    path = write(tmp_path_factory.getbasetemp(), coco([record]), "flags.json")
    (row,) = read_coco(path).table.to_pylist()
    count = sum(flag > 0 for flag in flags)
    assert (row["labelled"], row["num_keypoints"]) == (count, claimed)
    assert ("num-keypoints-wrong" in row["notes"]) == (claimed not in (None, count))
    assert ("kpt-unlabelled-with-position" in row["notes"]) == (count < 17)
    assert row["keypoints"] == record["keypoints"]


@pytest.mark.parametrize(
    ("bbox", "code"),
    [
        (None, "box-missing"),
        ([], "box-missing"),
        ("text", "box-missing"),
        ([1, 2, 3], "box-invalid"),
        ([1, 2, 3, 4, 5], "box-invalid"),
        ([10, 10, 0, 10], "box-invalid"),
        ([10, 10, 10, 0.0], "box-invalid"),
        ([10, 10, -5, 10], "box-invalid"),
        ([10, 10, 1e-300, 10], "box-invalid"),
        ([10, NAN, 10, 10], "num-not-finite"),
        ([10, 10, 10, 1e300], "num-not-finite"),
        ([700, 10, 10, 10], "box-outside"),
    ],
)
def test_08_09_bad_boxes(tmp_path: Path, bbox: Any, code: str) -> None:
    path = write(tmp_path, coco([person(1), person(2, bbox=bbox), person(3)]))
    assert codes(read_coco(path)) == [None, code, None]
    (_, repaired, _) = read_coco(path, boxes="from-keypoints").table.to_pylist()
    assert (repaired["code"], repaired["notes"]) == (None, ["box-from-keypoints"])
    assert repaired["box_xywh"] == [100.5, 120.0, 16.0, 32.0]


@pytest.mark.parametrize("area", [None, 0, 0.0, -5])
def test_10_a_missing_area_is_a_note(tmp_path: Path, area: float | None) -> None:
    found = read_coco(write(tmp_path, coco([person(1, area=area), person(2)])))
    assert found.table["notes"].to_pylist() == [["area-missing"], []]


# --- 11 to 14 -------------------------------------------------------------------------------------


def test_11_repeated_and_missing_annotation_ids_are_kept_and_listed(tmp_path: Path) -> None:
    records = [person(4), person(0), person(4), person(0), person(5)]
    del records[1]["id"]
    found = read_coco(write(tmp_path, coco(records)))
    assert codes(found) == [None] * 5
    assert found.table["sample_id"].to_pylist() == [1, 2, 3, 4, 5]
    assert found.table["annotation_id"].to_pylist() == [4, None, 4, 0, 5]
    assert found.table["notes"].to_pylist() == [["id-duplicate"], ["id-zero"], ["id-duplicate"], ["id-zero"], []]


def test_12_repeated_picture_ids_are_fatal_and_listed(tmp_path: Path) -> None:
    content = coco([person(1)])
    content["images"] = [{"id": index % 15, "file_name": f"{index}.jpg"} for index in range(30)]
    error = refusal(write(tmp_path, content))
    assert error.code == "image-id-duplicate"
    assert "15 picture ids" in error.message
    assert "0, 1, 2" in error.message
    assert "and 5 more" in error.message


def test_13_dangling_ids_are_rejected(tmp_path: Path) -> None:
    records = [person(1), person(2, image_id=77), person(3, category_id=77), person(4)]
    del records[3]["category_id"]
    found = read_coco(write(tmp_path, coco(records)))
    assert codes(found) == [None, "image-unknown", "category-unknown", "category-unknown"]
    assert found.table["detail"].to_pylist()[1:3] == ["there is no picture 77", "there is no category 77"]
    assert found.table["file_name"][1].as_py() is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(-3, 5), st.integers(-2, 3)), min_size=1, max_size=20))
def test_13_dangling_ids_in_any_mix(tmp_path_factory: pytest.TempPathFactory, ids: list[tuple[int, int]]) -> None:
    records = [person(index, image_id=image, category_id=category) for index, (image, category) in enumerate(ids)]
    found = codes(read_coco(write(tmp_path_factory.getbasetemp(), coco(records), "dangling.json")))
    for (image, category), code in zip(ids, found, strict=True):
        expected = None if category == 1 else "category-unknown"
        assert code == (expected if image in {1, 2} else "image-unknown")


def test_13_an_unusable_picture_record_rejects_its_persons(tmp_path: Path) -> None:
    content = coco([person(1), person(2)])
    content["images"][0]["file_name"] = 5
    content["images"].append("text")
    found = read_coco(write(tmp_path, content))
    assert codes(found) == [None, "image-unknown"]
    assert found.table["detail"][1].as_py() == "picture 1: no file_name"
    assert found.notes[0] == ("image-unknown", "images[0]: picture 1: no file_name")
    assert found.notes[1][0] == "not-an-object"


def test_14_other_keypoint_names_are_fatal_side_by_side(tmp_path: Path) -> None:
    content = coco([person(1)])
    names = content["categories"][0]["keypoints"]
    names[5], names[6] = names[6], names[5]
    error = refusal(write(tmp_path, content))
    assert error.code == "skeleton-mismatch"
    assert "right_shoulder'" in error.message
    assert error.message.count("≠") == 2


# --- 23, 26: hostile text -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "../a.jpg",
        "/etc/passwd",
        "C:\\a.jpg",
        "a\0b.jpg",
        "a/../../b.jpg",
        "x::y",
        "pipe:ls",
        "http://h/a.jpg",
        "",
        "..",
    ],
)
def test_23_a_file_name_that_leads_out_is_fatal(tmp_path: Path, name: str) -> None:
    content = coco([person(1)])
    content["images"].append({"id": 3, "file_name": name, "width": 5, "height": 5})
    path = write(tmp_path, content)
    error = refusal(path)
    assert error.code == "path-outside-root"
    assert "picture 3" in error.message
    assert "--allow-outside" in error.hint
    assert codes(read_coco(path, allow_outside=True)) == [None]


HOSTILE = "\x1b]0;title\x07\x1b[31m[bold]<script>=cmd|'/c'!A1\u202e\x9b\r\n\x7f"


def test_26_hostile_text_is_harmless_in_details_and_errors(tmp_path: Path) -> None:
    records = [
        person(1, keypoints=HOSTILE),
        person(2, bbox=[1, 2, HOSTILE * 50, 4]),
        person(3, area=HOSTILE),
        person(4, category_id=2),
        person(5, image_id=HOSTILE),
        person(6),
    ]
    content = coco(records)
    content["categories"].append({"id": 2, "name": HOSTILE * 20})
    content["images"] += [{"id": 8 + index, "file_name": HOSTILE} for index in range(2)]
    content["images"].append({"id": 20, "file_name": "a.jpg", "width": HOSTILE})
    found = read_coco(write(tmp_path, content))
    details = [detail for detail in found.table["detail"].to_pylist() if detail]
    assert len(details) == 5
    for text in [*details, *(detail for _, detail in found.notes)]:
        assert text.isprintable()
        assert len(text) <= 200
    assert "[bold]" in details[0]
    content["categories"] = [{"id": 1, "name": HOSTILE, "keypoints": [HOSTILE] * 17}]
    content["images"].append({"id": 30, "file_name": "../" + HOSTILE})
    path = write(tmp_path, content)
    for error in (refusal(path), refusal(path, allow_outside=True)):
        assert all(line.isprintable() for line in error.message.split("\n"))


def test_every_code_used_here_is_a_known_problem() -> None:
    used = {"not-an-object", "num-not-finite", "image-unknown", "category-unknown", "kpt-missing", "kpt-length"}
    used |= {"kpt-visibility", "box-missing", "box-invalid", "box-outside"}
    assert {PROBLEMS[code].fate for code in used} == {"reject"}
