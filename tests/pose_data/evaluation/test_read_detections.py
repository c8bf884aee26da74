"""Results files: the same arrays from every decoder, and for every damage its message."""

import copy
import hashlib
import json
import sys

import numpy as np
import pytest

from pose_data.errors import InputError, UsageError
from pose_data.evaluation import NUMBERS, evaluate, json_pieces
from pose_data.evaluation.read_detections import read_detections
from pose_data.evaluation.read_ground_truth import read_ground_truth
from pose_data.skeleton import COCO_PERSON

PERSONS, RESULTS = 16, 16


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


class Case:
    """A small ground truth, its results, and the files that both are written to."""

    def __init__(self, folder):
        random = np.random.default_rng(7)
        self.folder = folder
        self.images = [{"id": n, "width": 640, "height": 480, "file_name": f"{n}.jpg"} for n in range(1, 9)]
        self.annotations, self.results = [], []
        for number in range(PERSONS):
            xy = np.round(random.uniform(50, 200, 2) + random.uniform(0, 200, (17, 2)))
            low, size = xy.min(axis=0), np.ptp(xy, axis=0)
            self.annotations.append({
                "id": number + 1, "image_id": number // 2 + 1, "category_id": 1, "iscrowd": 0, "num_keypoints": 17,
                "keypoints": np.column_stack([xy, np.full(17, 2)]).astype(int).ravel().tolist(),
                "bbox": [*low.tolist(), *size.tolist()], "area": float(size.prod() * 0.53),
            })  # fmt: skip
            near = xy + random.normal(size=(17, 2)) * 8
            self.results.append({
                "image_id": number // 2 + 1, "category_id": 1, "score": float(random.random()),
                "keypoints": np.column_stack([near, np.ones(17)]).ravel().tolist(),
            })  # fmt: skip
        self.categories = [{"id": 1, "name": "person", "keypoints": list(COCO_PERSON.names)}]

    def truth(self, **options):
        file = self.folder / "gt.json"
        lists = {"images": self.images, "annotations": self.annotations, "categories": self.categories}
        file.write_text(json.dumps(lists))
        return read_ground_truth(file, **options)

    def written(self, text=None):
        file = self.folder / "results.json"
        content = json.dumps(self.results) if text is None else text
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        return file

    def read(self, text=None, **options):
        return read_detections(self.written(text), self.truth(), **options)

    def refused(self, text=None, **options):
        """Return the message and hint of the refusal; file, where and hint are always there."""
        with pytest.raises(InputError) as caught:
            self.read(text, **options)
        error = caught.value
        assert "results.json" in error.message
        assert str(self.folder / "results.json") in error.where
        assert error.hint
        return str(error)


def set_all(records, **fields):
    for record in records:
        record.update(copy.deepcopy(fields))


# ------------------------------------------------------------------------------------------------- decoders


@pytest.fixture(params=["simdjson", "msgspec", "careful"])
def decoder(request, monkeypatch):
    """Read with one of the three ways."""
    if request.param != "simdjson":
        monkeypatch.setitem(sys.modules, "simdjson", None)
    if request.param == "careful":
        from pose_data.evaluation import result_records

        def unusual(*_):
            raise result_records._Unusual

        monkeypatch.setattr(result_records, "_decode_with_msgspec", unusual)
    return request.param


@pytest.mark.parametrize("boxes", [False, True])
@pytest.mark.parametrize("piece_bytes", [500, 1 << 20])
def test_every_decoder_gives_the_same_bits(case, decoder, monkeypatch, boxes, piece_bytes):
    monkeypatch.setattr(json_pieces, "PIECE_BYTES", piece_bytes)
    random = np.random.default_rng(1)
    for result in case.results:
        # Every kind of number: shortest form of any float64, whole ones, negative zero, subnormal, large.
        bits = random.integers(0, 1 << 63, 45, dtype=np.int64).view(np.float64)
        plain = [0, 3, 7, -0.0, 1e22, 5e-324]
        result["keypoints"] = [*np.where(np.isfinite(bits), bits, 1.5).tolist(), *plain]
        if boxes:
            result["bbox"] = [1, 2.5, 3e2, 1 / 3]
    case.results[3]["score"] = 1
    got = case.read()
    expected = np.array([result["keypoints"] for result in case.results]).reshape(-1, 17, 3)
    assert got.detections.keypoints.tobytes() == expected.tobytes()
    assert got.detections.score.tolist() == [result["score"] for result in case.results]
    assert got.detections.image_id.tolist() == [result["image_id"] for result in case.results]
    assert (got.detections.bbox_xywh is not None) == boxes
    if boxes:
        assert got.detections.bbox_xywh.tolist() == [result["bbox"] for result in case.results]
    assert got.digest == "sha256:" + hashlib.sha256((case.folder / "results.json").read_bytes()).hexdigest()
    assert got.size_bytes == (case.folder / "results.json").stat().st_size
    assert got.record.tolist() == list(range(RESULTS))
    assert got.remarks == ()


WAYS = {
    "indented": lambda results: json.dumps(results, indent=2),
    "dense": lambda results: json.dumps(results, separators=(",", ":")),
    "space around": lambda results: " \n" + json.dumps(results) + "\n\n",
    "byte order mark": lambda results: "\ufeff" + json.dumps(results),
    "lines": lambda results: "\n".join(map(json.dumps, results)),
    "lines with gaps": lambda results: "\n\n".join(map(json.dumps, results)) + "\n",
    "lines of Windows": lambda results: "\ufeff" + "\r\n".join(map(json.dumps, results)),
    "objects inside": lambda results: json.dumps([{"parts": [{"image_id": 3}, {"image_id": 4}], **r} for r in results]),
    "alike inside": lambda results: json.dumps(
        [{"image_id": 0, "p": [{"image_id": 3}, {"image_id": 4}], **r} for r in results]
    ),
    "seam in a text": lambda results: json.dumps([{"note": 'a "},{" b', **r} for r in results]),
    "ids as floats": lambda results: json.dumps(
        [{**r, "category_id": 1.0, "image_id": float(r["image_id"])} for r in results]
    ),
    "nested": lambda results: json.dumps(
        [{**r, "keypoints": np.reshape(r["keypoints"], (17, 3)).tolist()} for r in results]
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("piece_bytes", [300, 1 << 20])
def test_other_ways_of_writing_the_same_are_read(case, decoder, monkeypatch, way, piece_bytes):
    plain = case.read().detections
    monkeypatch.setattr(json_pieces, "PIECE_BYTES", piece_bytes)
    got = case.read(WAYS[way](case.results)).detections
    assert np.array_equal(got.keypoints, plain.keypoints)
    assert np.array_equal(got.score, plain.score)
    assert np.array_equal(got.image_id, plain.image_id)


def test_pairs_are_read_where_asked_for(case):
    triples = case.read().detections
    for result in case.results:
        result["keypoints"] = np.reshape(result["keypoints"], (17, 3))[:, :2].ravel().tolist()
    pairs = case.read(keypoint_stride=2).detections
    assert pairs.keypoints.shape == (RESULTS, 17, 3)
    assert np.array_equal(pairs.keypoints[..., :2], triples.keypoints[..., :2])
    with pytest.raises(UsageError, match="keypoint_stride is 4"):
        case.read(keypoint_stride=4)


# --------------------------------------------------------------------------------------- what is refused


def test_an_unknown_image(case, decoder):
    case.results[0]["image_id"] = 12345
    text = case.refused()
    assert "1 of 16 results names an image the ground truth does not have (12345, record 0)" in text
    assert "--unknown-images=skip" in text
    got = case.read(unknown_images="skip")
    assert len(got) == RESULTS - 1
    assert got.record.tolist() == list(range(1, RESULTS))
    assert got.record_count == RESULTS
    assert [(remark.code, remark.count, remark.examples) for remark in got.remarks] == [
        ("images-skipped", 1, ((0, 12345),))
    ]
    assert got.detections.warnings == tuple(map(str, got.remarks))


def test_image_ids_as_text(case, decoder):
    for result in case.results:
        result["image_id"] = str(result["image_id"])
    assert (
        "image_id is the text '1' in every record (16) (first: record 0 (image 1)); the ground truth uses numbers"
        in (case.refused())
    )


@pytest.mark.parametrize("value", [2**63, 2**64, -(2**63) - 1])
def test_ids_beyond_int64(case, decoder, value):
    case.results[3]["image_id"] = value
    text = case.refused()
    assert f"image_id is {value} in 1 of 16 records (first: record 3 (image {value}))" in text
    assert "image-id-value" in text
    case.results[3].update(image_id=2, category_id=value)
    text = case.refused()
    assert f"category_id is {value} in 1 of 16 records (first: record 3 (image 2))" in text
    assert "category-value" in text


def test_every_result_of_another_category(case, decoder):
    set_all(case.results, category_id=2)
    assert "no result has category 1 (person); all have 2 (16 results, first: record 0, image 1)" in case.refused()


def test_some_results_of_another_category_are_left_out_and_said(case, decoder):
    case.results[4]["category_id"] = 2
    got = case.read()
    assert 4 not in got.record.tolist()
    assert "1 results of results.json have another category than 1 (person): left out" in got.remarks[0].message


def test_results_without_categories_are_persons(case, decoder):
    for result in case.results:
        del result["category_id"]
    got = case.read()
    assert len(got) == RESULTS
    assert [(remark.code, remark.count) for remark in got.remarks] == [("category-missing", RESULTS)]


@pytest.mark.parametrize("count", [1, RESULTS])
def test_scores_that_are_nan(case, decoder, count):
    set_all(case.results[:count], score=float("nan"))
    expected = f"score is NaN in record 0 (image 1); {count} such record"
    assert expected in case.refused()


@pytest.mark.parametrize("value", [None, "0.9", [0.5], True])
def test_scores_that_are_no_numbers(case, decoder, value):
    case.results[5]["score"] = value
    assert "in record 5 (image 3); 1 of 16 records such" in case.refused()


def test_keypoints_that_are_all_nan(case, decoder):
    set_all(case.results, keypoints=[float("nan")] * 51)
    text = case.refused()
    assert "keypoints are not finite in 16 records (first: record 0, image 1)" in text
    assert "The model diverged? NaN is never scored" in text


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), None, "3", True])
def test_one_coordinate_that_is_no_number(case, decoder, value):
    case.results[3]["keypoints"][4] = value
    text = case.refused()
    assert "num-not-finite" in text
    assert "record 3" in text
    assert "1 record" in text or "1 of 16 records" in text


def test_a_number_beyond_float64(case, decoder):
    case.results[3]["keypoints"][4] = 12345.678
    assert "keypoints are not finite in 1 record (first: record 3, image 2)" in case.refused(
        json.dumps(case.results).replace("12345.678", "1e400")
    )


def test_one_record_with_a_keypoint_less(case, decoder):
    case.results[3]["keypoints"] = case.results[3]["keypoints"][:48]
    text = case.refused()
    assert "record 3 (image 2) has 48 numbers; coco-person has 17 keypoints = 51 (1 of 16 records such)" in text


def test_pairs_instead_of_triples(case, decoder):
    for result in case.results:
        result["keypoints"] = result["keypoints"][:34]
    text = case.refused()
    assert (
        "34 numbers per record: x,y pairs without a third value? (every record (16), first: record 0 (image 1))" in text
    )
    assert "--keypoint-stride 2" in text


def test_another_number_of_keypoints_throughout(case, decoder):
    for result in case.results:
        result["keypoints"] = result["keypoints"][:42]
    text = case.refused()
    assert "14 keypoints against 17 of coco-person: CrowdPose or AI Challenger order? (every record (16)" in text
    assert "name the skeleton" in text


def test_keypoints_missing(case, decoder):
    for result in case.results:
        del result["keypoints"]
    assert 'record 0 (image 1) has no "keypoints" (every record (16) such)' in case.refused()


def test_score_missing(case, decoder):
    del case.results[0]["score"]
    assert 'record 0 (image 1) has no "score" (1 of 16 records such)' in case.refused()


def test_image_id_missing(case, decoder):
    del case.results[2]["image_id"]
    assert 'record 2 has no "image_id" (1 of 16 records such)' in case.refused()


@pytest.mark.parametrize("place", [0, 9])
def test_a_box_in_one_record_only(case, decoder, place):
    case.results[place]["bbox"] = [1, 2, 3, 4]
    text = case.refused()
    assert f'"bbox" in 1 of 16 records (first: record {place}, image {place // 2 + 1}; not in record' in text
    assert "detection areas would mix two rules" in text
    got = case.read(boxes="ignore")
    assert got.detections.bbox_xywh is None
    assert [remark.code for remark in got.remarks] == ["boxes-ignored"]


def test_a_box_that_is_none(case, decoder):
    set_all(case.results, bbox=[1, 2, 3, 4])
    case.results[6]["bbox"] = [1, 2, float("nan"), 4]
    assert "bbox is [1, 2, nan, 4] in 1 of 16 records (first: record 6 (image 4))" in case.refused()
    assert case.read(boxes="ignore").detections.bbox_xywh is None


def test_an_object_instead_of_a_list(case, decoder):
    text = case.refused(json.dumps({"annotations": case.results}))
    assert 'results must be a list; found an object with the key "annotations"' in text
    text = case.refused(json.dumps({"annotations": case.results}, indent=1))
    assert 'results must be a list; found an object with the key "annotations"' in text
    assert "results must be a list; found" in case.refused("3")
    assert "a web page" in case.refused("<html></html>")


def test_records_that_are_no_objects(case, decoder):
    assert "record 1 is the text 'x', not an object (1 of 2 records such)" in case.refused(
        json.dumps([case.results[0], "x"])
    )


def test_not_utf_8(case, decoder):
    text = json.dumps([{"note": "naïve", **result} for result in case.results], ensure_ascii=False)
    place = text.encode("latin-1").index(b"\xef")
    assert f"results.json is not UTF-8 (byte 0xef at {place}; Latin-1?)" in case.refused(text.encode("latin-1"))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_named(case, decoder, encoding):
    assert "results.json is UTF-16 text" in case.refused(json.dumps(case.results).encode(encoding))


def test_a_cut_file(case, decoder):
    text = json.dumps(case.results)
    for end in (
        2000,
        text.index("},") + 1,
        text.index("},") + 2,
        len(text) - 1,
        len(text) - 2,
        text.index("score") + 2,
    ):
        assert f"results.json ends inside a record after {end:,} bytes: incomplete copy?" in case.refused(text[:end])


@pytest.mark.parametrize("text", ["", " \n", "\ufeff"])
def test_an_empty_file(case, decoder, text):
    assert "results.json is empty" in case.refused(text)


def test_what_is_no_json(case, decoder):
    assert "results.json is not valid JSON at byte" in case.refused(json.dumps(case.results).replace(":", "=", 1))
    assert "goes on after its end" in case.refused(json.dumps(case.results) + json.dumps(case.results))
    assert "gzip-compressed" in case.refused(b"\x1f\x8b\x08\x00")
    with pytest.raises(InputError, match="file-unreadable"):
        read_detections(case.folder / "missing.json", case.truth())


def test_broken_lines_name_the_byte_of_the_file(case, decoder):
    lines = [json.dumps(result) for result in case.results]
    place = len(lines[0]) + 1 + lines[1].index(":")
    lines[1] = lines[1].replace(":", "=", 1)
    assert f"not valid JSON at byte {place:,}" in case.refused("\n".join(lines))
    lines[1] = lines[0][:40]
    assert "results.json ends inside a record" in case.refused("\n".join(lines[:2]))


# ------------------------------------------------------------------------------------- what is suspicious


def test_every_result_twice(case, decoder):
    case.results += copy.deepcopy(case.results)
    remark = case.read().remarks[0]
    assert remark.message == "results.json: 16 results repeat another one exactly; pose NMS missing?"
    assert remark.code == "results-repeat"
    assert remark.count == RESULTS
    assert remark.examples[0] == (RESULTS, 1)


def test_results_that_are_alike_but_not_equal_are_no_repetition(case, decoder):
    other = copy.deepcopy(case.results[0])
    other["keypoints"][30] += 1e-9
    case.results += [other, {**copy.deepcopy(case.results[1]), "score": 0.123}]
    assert case.read().remarks == ()


def test_coordinates_between_0_and_1(case, decoder):
    for result in case.results:
        result["keypoints"] = (np.array(result["keypoints"]) / 1000).tolist()
    remark = case.read().remarks[0]
    assert remark.code == "coordinates-normalised"
    assert remark.message.startswith("results.json: all coordinates lie in 0..1 while boxes reach ")
    assert remark.message.endswith(": normalised?")


def test_a_digest_is_of_what_was_read(case):
    got = case.read()
    case.results.pop()
    case.written()
    with pytest.raises(InputError, match=r"results.json was changed after it was read"):
        _ = got.digest


def test_an_empty_list(case, decoder):
    got = case.read("[]")
    assert [(remark.code, remark.message) for remark in got.remarks] == [
        ("no-results", "results.json: no results; AP is 0")
    ]
    assert evaluate(case.truth().truth, got.detections).numbers["AP"] == 0


def test_keypoints_at_the_origin(case, decoder):
    case.results[2]["keypoints"][:6] = [0, 0, 0.5, 0, 0, 0.5]
    remark = case.read().remarks[0]
    assert (remark.code, remark.count, remark.examples) == ("keypoints-at-origin", 2, ((2, 2),))
    assert "2 of 272 keypoints (1 %) are at (0, 0): scored as misses" in remark.message
    assert remark.as_dict()["examples"] == [{"record": 2, "image_id": 2}]


def test_real_results_give_the_published_numbers(shared, tmp_path):
    import gzip

    folder = shared / "data" / "coco-results"
    file = tmp_path / "gt.json"
    file.write_bytes(gzip.decompress((folder / "val_subset250_ground_truth.json.gz").read_bytes()))
    truth = read_ground_truth(file)
    got = read_detections(folder / "val_subset250_results_lightpose.json", truth)
    published = [0.215356, 0.430694, 0.190519, 0.164150, 0.288609, 0.245593, 0.462006, 0.227964, 0.173262, 0.340845]
    numbers = evaluate(truth.truth, got.detections).numbers
    np.testing.assert_allclose([numbers[name] for name in NUMBERS], published, atol=5e-7)
    assert truth.counts == {"images": 250, "persons": 519, "counted": 329, "crowds": 13, "unlabelled": 177}
    assert [remark.code for remark in got.remarks] == ["keypoints-at-origin"]
    assert "(45 %)" in got.remarks[0].message


def test_an_object_on_one_line_is_told_by_its_keys_alone(case, monkeypatch):
    truth, path = case.truth(), case.written('{"annotations": [1.5, 2], "info": {}}')
    monkeypatch.setattr(json_pieces.json, "loads", lambda *_: pytest.fail("its values were made"))
    with pytest.raises(InputError, match='found an object with the keys "annotations", "info"'):
        read_detections(path, truth)


def test_a_long_line_is_put_together_once():
    """A block of it is not copied again for every block that follows."""
    copied = []

    class Block(bytes):
        def __radd__(self, before):
            copied.append(len(before))
            return before + bytes(self)

    class Blocks:
        def __init__(self):
            self.left = [Block(b'{"a": "'), *[Block(b"x" * 100)] * 50, Block(b'"}\n{"a": 1}')]

        def read(self, _):
            return self.left.pop(0) if self.left else b""

    pieces = list(json_pieces.list_pieces(Blocks(), None))
    assert pieces == [b'[{"a": "' + b"x" * 5000 + b'"}]', b'[{"a": 1}]']
    assert copied == []
