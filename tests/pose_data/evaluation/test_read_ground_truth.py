"""Annotation files for evaluation: the arrays that pycocotools would evaluate, and for every damage its message."""

import hashlib
import json

import numpy as np
import pytest

from pose_data.errors import InputError, UsageError
from pose_data.evaluation import annotation_records
from pose_data.evaluation.read_ground_truth import read_ground_truth
from pose_data.skeleton import COCO_PERSON, Skeleton


@pytest.fixture(params=["msgspec", "careful"])
def decoder(request, monkeypatch):
    """Read with one of the two ways."""
    if request.param == "careful":
        monkeypatch.setattr(annotation_records, "_decoder", lambda *_, **__: (_ for _ in ()).throw(RecursionError))


@pytest.fixture
def content():
    """Return the lists of a small file: 16 persons in 8 images."""
    random = np.random.default_rng(3)
    annotations = []
    for number in range(16):
        xy = random.integers(50, 400, (17, 2))
        low, size = xy.min(axis=0), np.ptp(xy, axis=0)
        annotations.append({
            "id": number + 1, "image_id": number // 2 + 1, "category_id": 1, "iscrowd": int(number == 3),
            "num_keypoints": 17, "keypoints": np.column_stack([xy, np.full(17, 2)]).ravel().tolist(),
            "bbox": [*low.tolist(), *size.tolist()], "area": float(random.uniform(500, 9000)),
            "segmentation": [[1.5, 2, 3, 4, 5, 6]],
        })  # fmt: skip
    return {
        "images": [{"id": n, "width": 640, "height": 480 + n, "file_name": f"{n}.jpg"} for n in range(8, 0, -1)],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_PERSON.names), "skeleton": [[1, 2]]}],
    }  # fmt: skip


@pytest.fixture
def read(tmp_path):
    """Return a function that writes a content, or a text, and reads it."""

    def write_and_read(content, **options):
        file = tmp_path / "gt.json"
        text = content if isinstance(content, bytes | str) else json.dumps(content)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_ground_truth(file, **options)

    return write_and_read


@pytest.fixture
def refused(read, tmp_path):
    """Return a function that gives the text of the refusal."""

    def refusal(content, **options):
        with pytest.raises(InputError) as caught:
            read(content, **options)
        assert "gt.json" in caught.value.message
        assert str(tmp_path / "gt.json") in caught.value.where
        assert caught.value.hint
        return str(caught.value)

    return refusal


def test_the_arrays_are_those_of_the_file(read, content, decoder, tmp_path):
    got = read(content)
    truth, annotations = got.truth, content["annotations"]
    assert truth.image_ids.tolist() == list(range(1, 9))
    assert truth.keypoints.reshape(16, 51).tolist() == [one["keypoints"] for one in annotations]
    for array, name in ((truth.area, "area"), (truth.bbox_xywh, "bbox"), (truth.annotation_id, "id")):
        assert array.tolist() == [one[name] for one in annotations]
    assert truth.image_id.tolist() == [one["image_id"] for one in annotations]
    assert truth.iscrowd.tolist() == [bool(one["iscrowd"]) for one in annotations]
    assert truth.skeleton is COCO_PERSON
    assert truth.sizes_wh[8] == (640, 488)
    assert got.file_names == tuple(f"{number}.jpg" for number in range(1, 9))
    assert got.keypoint_names == COCO_PERSON.names
    assert (got.category_id, got.category_name) == (1, "person")
    assert got.record.tolist() == list(range(16))
    assert got.counts == {"images": 8, "persons": 16, "counted": 15, "crowds": 1, "unlabelled": 0}
    data = (tmp_path / "gt.json").read_bytes()
    assert got.digest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert got.size_bytes == len(data)
    assert got.remarks == ()
    assert truth.warnings == ()


def test_a_byte_order_mark_is_passed_over(read, content, decoder):
    assert len(read("\ufeff" + json.dumps(content)).truth.image_id) == 16


def test_other_categories_are_left_out_and_said(read, content, decoder):
    content["categories"].append({"id": 2, "name": "dog"})
    content["annotations"].insert(0, {"id": 99, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4]})
    got = read(content)
    assert len(got.truth.image_id) == 16
    assert got.record.tolist() == list(range(1, 17))
    assert [(remark.code, remark.count) for remark in got.remarks] == [("annotations-left-out", 1)]
    with pytest.raises(UsageError, match=r"gt.json has no category 'cat'; it has 1 'person', 2 'dog'"):
        read(content, category="cat")
    assert read(content, category=1).category_name == "person"


def test_an_own_skeleton_has_the_names_of_the_file(read, content, decoder):
    content["categories"][0].update(name="fly", keypoints=["head", "tail"])
    for one in content["annotations"]:
        one["keypoints"] = one["keypoints"][:6]
    got = read(content)
    assert got.truth.skeleton == Skeleton(name="fly", names=("head", "tail"))
    assert got.category_name == "fly"


def test_without_names_the_number_of_keypoints_decides(read, refused, content, decoder):
    del content["categories"][0]["keypoints"]
    assert read(content).truth.skeleton is COCO_PERSON
    for one in content["annotations"]:
        one["keypoints"] = one["keypoints"][:42]
    assert "42 numbers per person (14 keypoints), and its category names no keypoints" in refused(content)


def test_an_id_twice(refused, content, decoder):
    content["annotations"][5]["id"] = 2
    text = refused(content)
    assert "the annotation id 2 is there 2 times, in records 1 (image 1), 5 (image 3); 1 ids repeat" in text


def test_the_id_0_is_harmless_here_and_said(read, content, decoder):
    content["annotations"][0]["id"] = 0
    got = read(content)
    assert [(remark.code, remark.examples) for remark in got.remarks] == [("annotation-id-zero", ((0, 1),))]
    assert "pycocotools would never count it as found" in got.truth.warnings[0]


def test_an_annotation_of_an_unknown_image(refused, content, decoder):
    content["annotations"][0]["image_id"] = 999
    assert "annotation 1 refers to image 999, which is not listed (record 0; 1 such)" in refused(content)


def test_no_area(read, refused, content, decoder):
    for one in content["annotations"]:
        del one["area"]
    text = refused(content)
    assert 'no "area" in annotation 0 (id 1, image 1) (16 of 16 annotations such): OKS needs it' in text
    assert "--area=box-0.53" in text
    got = read(content, area="box-0.53")
    width, height = got.truth.bbox_xywh[:, 2], got.truth.bbox_xywh[:, 3]
    np.testing.assert_allclose(got.truth.area, 0.53 * width * height)
    assert got.area_rule == "box-0.53"


@pytest.mark.parametrize(("field", "code"), [("iscrowd", "crowd-missing"), ("num_keypoints", "num-keypoints-missing")])
def test_what_has_a_natural_value_is_taken_and_said(read, content, decoder, field, code):
    content["annotations"][1]["keypoints"][2::3] = [0] * 17
    for one in content["annotations"]:
        del one[field]
    got = read(content)
    assert [(remark.code, remark.count) for remark in got.remarks if remark.code == code] == [(code, 16)]
    if field == "iscrowd":
        assert not got.truth.iscrowd.any()
    else:
        assert got.truth.num_keypoints.tolist() == [17, 0] + [17] * 14


def test_num_keypoints_0_though_labelled(read, content, decoder):
    for one in content["annotations"]:
        one.update(num_keypoints=0, iscrowd=0)
    got = read(content)
    assert got.remarks[0].code == "num-keypoints-zero"
    assert "16 persons have labelled keypoints but num_keypoints 0: ignored, as COCO does" in got.remarks[0].message
    assert got.truth.ignored.all()


def test_num_keypoints_above_0_without_labels(read, content, decoder):
    content["annotations"][0]["keypoints"][2::3] = [0] * 17
    assert [remark.code for remark in read(content).remarks] == ["num-keypoints-without-labels"]


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("keypoints", None, "annotation 4 (id 5, image 3) has no keypoints (1 of 16 annotations such)"),
        ("keypoints", [1, 2, 2], "annotation 4 (id 5, image 3) has 3 numbers; coco-person has 17 keypoints = 51"),
        ("keypoints", [float("nan")] * 51, "keypoints not finite in annotation 4 (id 5, image 3)"),
        ("keypoints", ["a"] * 51, "keypoints of annotation 4 (image 3) is not a list of numbers"),
        ("area", float("inf"), "area not finite in annotation 4 (id 5, image 3)"),
        ("area", "large", "area of annotation 4 (image 3) is not a number: 'large'"),
        ("bbox", None, "annotation 4 (id 5, image 3) has no bbox of four numbers"),
        ("bbox", [1, 2, 3], "annotation 4 (id 5, image 3) has no bbox of four numbers"),
        ("image_id", "3", "image_id of annotation 4 (image 3) is not a whole number: '3'"),
        ("id", 1.5, "id of annotation 4 (image 3) is not a whole number: 1.5"),
        ("id", 2**63, "id of annotation 4 (image 3) is not a whole number below 2**63: 9223372036854775808"),
        ("image_id", 2**64, "image_id of annotation 4 (image 18446744073709551616) is not a whole number below 2**63"),
        ("num_keypoints", 2**63, "num_keypoints of annotation 4 (image 3) is not a whole number below 2**63"),
    ],
    ids=str,
)
def test_a_wrong_field(refused, content, decoder, field, value, said):
    content["annotations"][4][field] = value
    assert said in refused(content)


def test_not_utf_8(refused, content, decoder):
    content["info"] = "Bäume"
    data = json.dumps(content, ensure_ascii=False).encode("latin-1")
    place = data.index(b"\xe4")
    assert f"gt.json is not UTF-8 (byte 0xe4 at {place:,}; Latin-1?)" in refused(data)
    assert "gt.json is UTF-16 text" in refused(json.dumps(content).encode("utf-16"))


def test_a_cut_or_empty_file_and_lines(refused, content, decoder):
    text = json.dumps(content)
    assert "gt.json ends inside a record after 4,000 bytes: incomplete copy?" in refused(text[:4000])
    assert "gt.json is empty" in refused("")
    lines = "\n".join(json.dumps(one) for one in content["annotations"])
    assert "gt.json goes on after its end, at byte" in refused(lines)


def test_files_of_another_kind(refused, content, decoder):
    assert "found a list, as results are" in refused(content["annotations"])
    assert 'an object without a list "images"' in refused({"annotations": []})
    assert "found a single value" in refused("3")
    assert "annotation 1 is not an object" in refused(
        {"images": content["images"], "annotations": [content["annotations"][0], 3]}
    )
    assert "image 0 has no whole number as its id" in refused({"images": [{"id": "a"}], "annotations": []})


def test_image_ids_beyond_int64(refused, content, decoder):
    content["images"][2]["id"] = 2**63
    text = refused(content)
    assert "image 2 has no whole number as its id below 2**63: 9223372036854775808" in text
    assert "image-id-value" in text
    written = json.dumps(content).replace(str(2**63), "9" * 5000)
    assert "gt.json holds a whole number of more digits than are read" in refused(written)


def test_the_least_and_greatest_ids_are_read(read, content, decoder):
    content["annotations"][0]["id"], content["annotations"][1]["id"] = 2**63 - 1, 1 - 2**63
    assert read(content).truth.annotation_id[:2].tolist() == [2**63 - 1, 1 - 2**63]


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(InputError, match="file-unreadable"):
        read_ground_truth(tmp_path / "gt.json")
