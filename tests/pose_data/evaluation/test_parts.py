"""CrowdPose and COCO-WholeBody: bit for bit what pycocotools gives for records that are rewritten by their rules."""

import contextlib
import copy
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO as Coco
from pycocotools.cocoeval import COCOeval

from pose_data.errors import InputError, UsageError
from pose_data.evaluation import NUMBERS, evaluate
from pose_data.evaluation.parts import evaluate_parts, part_of
from pose_data.evaluation.read_detections import read_detections
from pose_data.evaluation.read_ground_truth import read_ground_truth
from pose_data.evaluation.rules import COCO_WHOLEBODY, CROWDPOSE

FIELDS = tuple(name for name, _ in COCO_WHOLEBODY.fields)


def oracle(content, results, sigmas, fields, *, box_area):
    """Return the ten numbers and precision of pycocotools, after xtcocotools' rules were applied to its input."""
    truth_json, results = copy.deepcopy(content), copy.deepcopy(results)
    for one in truth_json["annotations"]:
        one["keypoints"] = [number for name in fields for number in one[name]]
        one["num_keypoints"] = sum(flag > 0 for flag in one["keypoints"][2::3])
        if box_area:
            one["area"] = one["bbox"][3] * one["bbox"][2] * 0.53
    kept = []
    for one in results:
        body = np.array(one["keypoints"]).reshape(-1, 3)[:, :2]
        low, size = body.min(axis=0), np.ptp(body, axis=0)
        one.setdefault("bbox", [*low.tolist(), *size.tolist()])
        one["keypoints"] = [number for name in fields for number in one[name]]
        if any(third > 0 for third in one["keypoints"][2::3]):
            kept.append(one)
    with contextlib.redirect_stdout(io.StringIO()):
        truth = Coco()
        truth.dataset = truth_json
        truth.createIndex()
        evaluation = COCOeval(truth, truth.loadRes(kept), "keypoints")
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats.tolist(), evaluation.eval["precision"][:, :, 0, :, 0]


def random_points(random, centre, size, count, *, labelled):
    xy = np.round(centre + random.normal(size=(count, 2)) * size, 2)
    flags = random.choice([0, 1, 2], count, p=(0.3, 0.2, 0.5)) * (random.random() < labelled)
    return np.column_stack([xy * (flags > 0)[:, None], flags])


def random_case(seed, fields):
    """Return a ground truth and results; ``fields``: (name, keypoints) of each list of a record."""
    random = np.random.default_rng(seed)
    annotations, results = [], []
    for number in range(24):
        centre, size = random.uniform(50, 300, 2), random.choice([8, 25, 60])
        lists = {name: random_points(random, centre, size, count, labelled=0.7) for name, count in fields}
        image = number // 4 + 1
        annotations.append({
            "id": number + 1, "image_id": image, "category_id": 1, "iscrowd": int(random.random() < 0.1),
            "area": float(size**2 * random.uniform(2, 9)), "num_keypoints": int(random.integers(0, 5)),
            "bbox": [*(centre - 2 * size).tolist(), 4.0 * size, 5.0 * size],
            **{name: points.ravel().tolist() for name, points in lists.items()},
        })  # fmt: skip
        for _ in range(random.integers(0, 5)):
            moved = {}
            for name, points in lists.items():
                xy = (
                    np.where(points[:, 2:] > 0, points[:, :2], centre)
                    + random.normal(size=(len(points), 2)) * size / 30
                )
                third = np.full(len(points), float(random.random() < 0.8))
                moved[name] = np.column_stack([xy, third]).ravel().tolist()
            results.append(
                {"image_id": image, "category_id": 1, "score": float(random.choice([0.5, random.random()])), **moved}
            )
    content = {
        "images": [{"id": number} for number in range(1, 8)], "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}],
    }  # fmt: skip
    return content, results


def read(folder, content, results, rules):
    (folder / "gt.json").write_text(json.dumps(content))
    (folder / "results.json").write_text(json.dumps(results))
    truth = read_ground_truth(folder / "gt.json", rules=rules)
    return truth, read_detections(folder / "results.json", truth)


@pytest.mark.parametrize("seed", range(20))
def test_crowdpose_with_areas_from_boxes_and_counted_labels(tmp_path, seed):
    content, results = random_case(seed, (("keypoints", 14),))
    for one in content["annotations"]:
        del one["area"]  # CrowdPose has none
    stats, precision = oracle(content, results, CROWDPOSE.skeleton.sigmas, ("keypoints",), box_area=True)
    truth, found = read(tmp_path, content, results, CROWDPOSE)
    got = evaluate(truth.truth, found.detections)
    assert [got.numbers[name] for name in NUMBERS] == stats
    assert np.array_equal(got.precision, precision)
    dropped = [remark for remark in found.remarks if remark.code == "unscored-left-out"]
    assert sum(remark.count for remark in dropped) == len(results) - len(found)
    assert got.warnings == (*truth.truth.warnings, *found.detections.warnings)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("simdjson", [True, False])
def test_every_part_of_a_whole_body(tmp_path, monkeypatch, seed, simdjson):
    if not simdjson:
        monkeypatch.setitem(__import__("sys").modules, "simdjson", None)
    content, results = random_case(seed, COCO_WHOLEBODY.fields)
    truth, found = read(tmp_path, content, results, COCO_WHOLEBODY)
    got = evaluate_parts(truth.truth, found.detections, truth.rules)
    sigmas = COCO_WHOLEBODY.skeleton.sigmas
    for (part, (first, end)), name in zip(COCO_WHOLEBODY.parts.items(), FIELDS, strict=True):
        stats, precision = oracle(content, results, sigmas[first:end], (name,), box_area=False)
        assert [got[part].numbers[number] for number in NUMBERS] == stats, part
        assert np.array_equal(got[part].precision, precision), part
    stats, precision = oracle(content, results, sigmas, FIELDS, box_area=False)
    assert [got["whole"].numbers[number] for number in NUMBERS] == stats
    assert np.array_equal(got["whole"].precision, precision)


def test_one_list_of_all_keypoints_is_read_too(tmp_path):
    content, results = random_case(3, COCO_WHOLEBODY.fields)
    truth, found = read(tmp_path, content, results, COCO_WHOLEBODY)
    for one in [*content["annotations"], *results]:
        one["keypoints"] = [number for name in FIELDS for number in one.pop(name)]
    other, others = read(tmp_path, content, results, COCO_WHOLEBODY)
    assert np.array_equal(truth.truth.keypoints, other.truth.keypoints)
    assert np.array_equal(found.detections.keypoints, others.detections.keypoints)
    assert others.detections.area is None


def test_a_part_of_another_length_is_refused(tmp_path):
    content, results = random_case(3, COCO_WHOLEBODY.fields)
    results[2]["foot_kpts"] = results[2]["foot_kpts"][:15]
    with pytest.raises(InputError, match=r"foot_kpts has 15, not 18 numbers in record 2"):
        read(tmp_path, content, results, COCO_WHOLEBODY)
    del results[2]["foot_kpts"]
    with pytest.raises(InputError, match=r'record 2 .image \d+. has no "foot_kpts"'):
        read(tmp_path, content, results, COCO_WHOLEBODY)


def test_an_unknown_part_is_refused(tmp_path):
    content, results = random_case(3, COCO_WHOLEBODY.fields)
    truth, found = read(tmp_path, content, results, COCO_WHOLEBODY)
    with pytest.raises(UsageError, match="coco-wholebody has no part 'nose'"):
        part_of(truth.truth, found.detections, COCO_WHOLEBODY, "nose")


@pytest.mark.parametrize("name", ["coco/test_coco_wholebody.json", "crowdpose/test_crowdpose.json"])
def test_real_annotations_score_1_as_results(shared, tmp_path, name):
    file = shared / "data" / "other-keypoints" / name
    rules = COCO_WHOLEBODY if "wholebody" in name else None
    truth = read_ground_truth(file, rules=rules)
    assert truth.rules is (COCO_WHOLEBODY if rules else CROWDPOSE)
    content = json.loads(file.read_bytes())
    fields = FIELDS if rules else ("keypoints",)
    results = [
        {"image_id": one["image_id"], "category_id": 1, "score": 1.0, **{name: one[name] for name in fields}}
        for one in content["annotations"]
        if one["num_keypoints"] and not one["iscrowd"]
    ]
    (tmp_path / "results.json").write_text(json.dumps(results))
    found = read_detections(tmp_path / "results.json", truth)
    assert evaluate(truth.truth, found.detections).numbers["AP"] == 1.0
