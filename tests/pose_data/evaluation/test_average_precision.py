"""Every number and both whole arrays equal pycocotools', bit for bit, on hostile random cases and on real results."""

import contextlib
import copy
import gzip
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pose_data.errors import InputError, UsageError
from pose_data.evaluation import NUMBERS, Detections, EvaluationOptions, GroundTruth, evaluate
from pose_data.skeleton import COCO_PERSON, Skeleton

CASES = 1200


def oracle(truth_json, results):
    """Return pycocotools' ten numbers, precision (T, R, A) and recall (T, A)."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = copy.deepcopy(truth_json)
        truth.createIndex()
        detected = truth.loadRes(copy.deepcopy(results)) if results else COCO()
        if not results:
            detected.dataset = {"images": truth_json["images"], "annotations": [], "categories": []}
            detected.createIndex()
        evaluation = COCOeval(truth, detected, "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats, evaluation.eval["precision"][:, :, 0, :, 0], evaluation.eval["recall"][:, 0, :, 0]


def arrays_of(truth_json, results):
    annotations = truth_json["annotations"]
    truth = GroundTruth(
        image_ids=np.array([image["id"] for image in truth_json["images"]], np.int64),
        image_id=np.array([a["image_id"] for a in annotations], np.int64),
        annotation_id=np.array([a["id"] for a in annotations], np.int64),
        keypoints=np.array([a["keypoints"] for a in annotations], np.float64).reshape(-1, 17, 3),
        bbox_xywh=np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4),
        area=np.array([a["area"] for a in annotations], np.float64),
        iscrowd=np.array([a["iscrowd"] for a in annotations], bool),
        num_keypoints=np.array([a["num_keypoints"] for a in annotations], np.int64),
    )
    boxes = [r["bbox"] for r in results if "bbox" in r]
    detections = Detections(
        image_id=np.array([r["image_id"] for r in results], np.int64),
        keypoints=np.array([r["keypoints"] for r in results], np.float64).reshape(-1, 17, 3),
        score=np.array([r["score"] for r in results], np.float64),
        bbox_xywh=np.array(boxes, np.float64) if boxes else None,
    )
    return truth, detections


def random_case(seed):
    """Return ground truth and results with all that is awkward: see the module's list in docs/evaluation.md."""
    random = np.random.default_rng(seed)
    images = [{"id": int(number)} for number in random.permutation(np.arange(1, 40))[: random.integers(1, 7)]]
    annotations, results = [], []
    whole = random.random() < 0.3  # whole numbers: many ties
    for image in images:
        for _ in range(random.integers(0, 6)):
            annotations.append(_person(random, image["id"], len(annotations) + 1, whole))
        mine = [a for a in annotations if a["image_id"] == image["id"]]
        count = random.integers(0, 30 if random.random() < 0.3 else 6)
        results += [_result(random, image["id"], mine, whole) for _ in range(count)]
    if random.random() < 0.3:
        for result in results:
            x, y = result["keypoints"][:2]
            result["bbox"] = [x, y, *random.uniform(0, 200, 2).tolist()]
    order = random.permutation(len(annotations)).tolist()
    truth = {
        "images": images, "annotations": [annotations[place] for place in order],
        "categories": [{"id": 1, "name": "person"}],
    }  # fmt: skip
    return truth, [results[place] for place in random.permutation(len(results)).tolist()]


def _person(random, image_id, number, whole):
    centre, size = random.uniform(20, 300, 2), random.choice([10, 40, 120])
    xy = centre + random.normal(size=(17, 2)) * size
    flags = random.choice([0, 1, 2], 17, p=random.choice([(0, 0, 1), (0.5, 0.2, 0.3), (0.9, 0.05, 0.05), (1, 0, 0)]))
    if whole:
        xy = np.round(xy / 10) * 10
    area = float(random.choice([0.0, 1.0, 32.0**2, 96.0**2, 32.0**2 - 1e-9, 5000.0, random.uniform(0, 20000)]))
    labelled = int((flags > 0).sum())
    lies = random.random() < 0.1
    low = xy.min(axis=0)
    return {
        "id": number, "image_id": image_id, "category_id": 1, "area": area,
        "keypoints": np.concatenate([xy * (flags > 0)[:, None], flags[:, None]], axis=1).ravel().tolist(),
        "bbox": [*low.tolist(), *(xy.max(axis=0) - low).tolist()],
        "iscrowd": int(random.random() < 0.12),
        "num_keypoints": int(random.integers(0, 18)) if lies else labelled,
    }  # fmt: skip


def _result(random, image_id, persons, whole):
    if persons and random.random() < 0.85:
        person = persons[random.integers(len(persons))]
        xy = np.array(person["keypoints"]).reshape(17, 3)[:, :2]
        xy = xy + random.normal(size=(17, 2)) * random.choice([0.0, 0.5, 3.0, 15.0])
    else:
        xy = random.uniform(0, 400, (17, 2))
    if whole:
        xy = np.round(xy / 10) * 10
    score = float(random.choice([0.5, 0.9, random.random()]))  # ties among scores, too
    keypoints = np.concatenate([xy, random.uniform(0, 1, (17, 1))], axis=1).ravel().tolist()
    return {"image_id": image_id, "category_id": 1, "keypoints": keypoints, "score": score}


@pytest.mark.parametrize("block", range(8))
def test_hostile_random_cases_are_pycocotools_bit_for_bit(block):
    for seed in range(block * CASES // 8, (block + 1) * CASES // 8):
        truth_json, results = random_case(seed)
        stats, precision, recall = oracle(truth_json, results)
        got = evaluate(*arrays_of(truth_json, results))
        assert [got.numbers[name] for name in NUMBERS] == stats.tolist(), seed
        assert np.array_equal(got.precision, precision), seed
        assert np.array_equal(got.recall, recall), seed


def test_the_random_cases_hold_what_is_awkward():
    seen = dict.fromkeys(["crowd", "unlabelled", "lies", "empty", "many", "ties", "boxes", "edge", "zero"], 0)
    for seed in range(CASES):
        truth, results = random_case(seed)
        annotations = truth["annotations"]
        counts = [sum(r["image_id"] == image["id"] for r in results) for image in truth["images"]]
        flags = [sum(v > 0 for v in a["keypoints"][2::3]) for a in annotations]
        seen["crowd"] += any(a["iscrowd"] for a in annotations)
        seen["unlabelled"] += 0 in flags
        seen["lies"] += any(a["num_keypoints"] != n for a, n in zip(annotations, flags, strict=True))
        seen["empty"] += not annotations or not results or 0 in counts
        seen["many"] += max(counts, default=0) > 20
        seen["ties"] += len({r["score"] for r in results}) < len(results)
        seen["boxes"] += any("bbox" in r for r in results)
        seen["edge"] += any(a["area"] in (32.0**2, 96.0**2) for a in annotations)
        seen["zero"] += any(a["area"] == 0 for a in annotations)
    assert min(seen.values()) > CASES // 20, seen


def test_real_results_are_pycocotools_and_the_published_numbers(shared):
    folder = shared / "data" / "coco-results"
    truth_json = json.loads(gzip.decompress((folder / "val_subset250_ground_truth.json.gz").read_bytes()))
    results = json.loads((folder / "val_subset250_results_lightpose.json").read_bytes())
    stats, precision, recall = oracle(truth_json, results)
    got = evaluate(*arrays_of(truth_json, results))
    assert [got.numbers[name] for name in NUMBERS] == stats.tolist()
    assert np.array_equal(got.precision, precision)
    assert np.array_equal(got.recall, recall)
    published = [0.215356, 0.430694, 0.190519, 0.164150, 0.288609, 0.245593, 0.462006, 0.227964, 0.173262, 0.340845]
    np.testing.assert_allclose([got.numbers[name] for name in NUMBERS], published, atol=5e-7)


@pytest.mark.parametrize("split", ["val2017", "train2017"])
def test_the_annotations_themselves_score_1(shared, split):
    file = shared / "data" / "coco-sample" / "annotations" / f"person_keypoints_{split}.json"
    truth_json = json.loads(file.read_bytes())
    results = [
        {"image_id": a["image_id"], "keypoints": a["keypoints"], "score": 1.0}
        for a in truth_json["annotations"]
        if a["num_keypoints"] and not a["iscrowd"]
    ]
    got = evaluate(*arrays_of(truth_json, results))
    assert got.numbers["AP"] == 1.0
    assert got.numbers["AR"] == 1.0


def test_no_results_give_0_and_say_so():
    truth_json, _ = random_case(3)
    got = evaluate(*arrays_of(truth_json, []))
    assert got.numbers["AP"] == 0
    assert any("no results" in text for text in got.warnings)


def test_what_is_not_finite_is_never_scored():
    _, results = random_case(5)
    for field in ("score", "keypoints"):
        broken = copy.deepcopy(results)
        if field == "score":
            broken[1]["score"] = float("nan")
        else:
            broken[1]["keypoints"][4] = float("inf")
        with pytest.raises(InputError, match=f"{field} are not finite in 1 records .first: record 1"):
            arrays_of({"images": [], "annotations": []}, broken)


def test_coordinates_of_any_size_are_compared():
    truth_json, results = random_case(13)
    for result in results[::2]:
        result["keypoints"][:2] = [1e200, -1e308]
    got = evaluate(*arrays_of(truth_json, results))
    with np.errstate(all="ignore"):
        stats, precision, _ = oracle(truth_json, results)
    assert [got.numbers[name] for name in NUMBERS] == stats.tolist()
    assert np.array_equal(got.precision, precision)


def test_another_number_of_keypoints_and_missing_sigmas_are_refused():
    truth_json, results = random_case(5)
    truth, detections = arrays_of(truth_json, results)
    fewer = Detections(image_id=detections.image_id, keypoints=detections.keypoints[:, :14], score=detections.score)
    with pytest.raises(InputError, match="14 keypoints against 17"):
        evaluate(truth, fewer)
    bare = Skeleton(name="own", names=COCO_PERSON.names)
    fields = {name: getattr(truth, name) for name in GroundTruth.__dataclass_fields__}
    with pytest.raises(UsageError, match="sigmas-missing"):
        evaluate(GroundTruth(**{**fields, "skeleton": bare}), detections)


def test_a_person_of_an_unknown_picture_is_refused():
    truth_json, _ = random_case(5)
    truth_json["annotations"][0]["image_id"] = 999
    with pytest.raises(InputError, match="refers to image 999, which is not listed"):
        arrays_of(truth_json, [])


def test_the_rule_for_the_area_of_detections_can_be_chosen():
    truth_json, results = random_case(11)
    for result in results:
        result["bbox"] = [0, 0, 1000, 1000]
    truth, detections = arrays_of(truth_json, results)
    default = evaluate(truth, detections)
    extent = evaluate(truth, detections, options=EvaluationOptions(detection_area="extent"))
    without = Detections(image_id=detections.image_id, keypoints=detections.keypoints, score=detections.score)
    assert extent.numbers == evaluate(truth, without).numbers
    assert default.numbers["AP"] == extent.numbers["AP"]
    with pytest.raises(UsageError, match="have no boxes"):
        evaluate(truth, without, options=EvaluationOptions(detection_area="box"))
    with pytest.raises(UsageError, match="option-value"):
        EvaluationOptions(max_detections=0)
