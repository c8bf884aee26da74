"""Judging files: from annotations and from a store, alone and against others."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pipelines.evaluate import TruthSource, compare, evaluate
from pose_data.errors import InputError, UsageError
from pose_data.evaluation import evaluate as evaluate_arrays
from pose_data.evaluation.rules import COCO
from pose_data.evaluation.store_truth import ground_truth_from_split
from pose_data.report import judgement
from pose_data.store import open_store


@pytest.fixture
def case(judged, judged_case, tmp_path):
    truth, detections = judged_case(11, pictures=40)
    return truth, detections, *judged.write_case(tmp_path / "case", truth, detections)


def test_files_are_judged_like_the_arrays_in_them(case, tmp_path):
    truth, detections, truth_path, results = case
    found = evaluate(results, TruthSource(annotations=truth_path), report=tmp_path / "out", replicates=30)
    assert found.numbers == evaluate_arrays(truth, detections).numbers
    assert found.files.page.exists()
    facts = json.loads(found.files.facts.read_text(encoding="utf-8"))
    assert facts["sources"]["results_digest"].startswith("sha256:")
    assert found.persons == (~truth.ignored).sum()


def test_quick_gives_the_numbers_alone(case, tmp_path):
    _, _, truth_path, results = case
    found = evaluate(results, TruthSource(annotations=truth_path), quick=True)
    assert found.gains == ()
    with pytest.raises(UsageError, match="quick"):
        evaluate(results, TruthSource(annotations=truth_path), quick=True, report=tmp_path)


def test_a_baseline_is_compared_picture_by_picture(case, judged, tmp_path):
    truth, detections, truth_path, results = case
    worse = replace(detections, keypoints=detections.keypoints + np.array([4.0, 0, 0]))
    _, other = judged.write_case(tmp_path / "case", truth, worse, name="worse.json")
    found = evaluate(results, TruthSource(annotations=truth_path), baseline=other, replicates=60)
    assert found.baseline == "worse.json"
    assert found.differences["AP"].value == found.numbers["AP"] - evaluate_arrays(truth, worse).numbers["AP"] > 0
    both = compare([results, other], TruthSource(annotations=truth_path), replicates=60, report=tmp_path / "out")
    assert both.runs[1].against_first["AP"].value == -found.differences["AP"].value
    facts = json.loads((tmp_path / "out" / "compare.json").read_text(encoding="utf-8"))
    assert [run["name"] for run in facts["runs"]] == ["results.json", "worse.json"]
    page = both.page.read_text(encoding="utf-8")
    assert "worse.json minus results.json" in page
    assert "http" not in page
    text = (tmp_path / "out" / "compare.md").read_text(encoding="utf-8")
    assert f"| worse.json | {both.runs[1].against_first['AP'].value:+.4f} |" in text


def test_a_store_is_ground_truth_and_shows_its_crops(finished_store, judged, tmp_path):
    truth = ground_truth_from_split(open_store(finished_store)["val2017"])
    rows = np.flatnonzero(~truth.ignored)
    points = truth.keypoints[rows] + np.array([2.0, 0, 0])
    results = [
        {"image_id": int(truth.image_id[row]), "category_id": 1, "score": 0.5, "keypoints": own.ravel().tolist()}
        for row, own in zip(rows, points, strict=True)
    ] + [{"image_id": 999_999, "category_id": 1, "score": 0.9, "keypoints": [1.0] * 51}]
    path = tmp_path / "results.json"
    path.write_text(json.dumps(results), encoding="utf-8")
    found = evaluate(path, TruthSource(data=finished_store), report=tmp_path / "out", replicates=5)
    assert found.detections == len(rows)
    assert any("left out" in warning for warning in found.warnings)
    assert "data:image/webp" in found.files.page.read_text(encoding="utf-8")


def test_ground_truth_comes_from_one_place(case, finished_store):
    _, _, truth_path, results = case
    for source in (TruthSource(), TruthSource(annotations=truth_path, data=finished_store)):
        with pytest.raises(UsageError, match="one place"):
            evaluate(results, source)
    with pytest.raises(UsageError, match="nothing to be compared"):
        compare([results], TruthSource(annotations=truth_path))


def test_bad_results_are_refused_and_nothing_is_written(case, tmp_path):
    _, _, truth_path, results = case
    records = json.loads(results.read_text(encoding="utf-8"))
    records[3]["score"] = float("nan")
    results.write_text(json.dumps(records), encoding="utf-8")
    with pytest.raises(InputError, match="record 3"):
        evaluate(results, TruthSource(annotations=truth_path), report=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_boxes_in_some_records_only_do_no_harm_where_areas_are_of_extents(case):
    _, _, truth_path, results = case
    truth = TruthSource(annotations=truth_path)
    records = json.loads(results.read_text(encoding="utf-8"))
    for record in records:
        record.pop("bbox", None)
    results.write_text(json.dumps(records), encoding="utf-8")
    expected = evaluate(results, truth, quick=True).numbers
    records[0]["bbox"] = [1, 2, 3, 4]
    results.write_text(json.dumps(records), encoding="utf-8")
    with pytest.raises(InputError, match="mix two rules") as caught:
        evaluate(results, truth, quick=True)
    assert "--detection-area=extent" in caught.value.hint
    assert evaluate(results, truth, quick=True, detection_area="extent").numbers == expected


def test_another_skeleton_needs_sigmas_and_is_named_in_the_report(case, tmp_path):
    truth, _, truth_path, results = case
    content = json.loads(truth_path.read_text(encoding="utf-8"))
    names = [f"joint_{number}" for number in range(17)]
    content["categories"][0]["keypoints"] = names
    truth_path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(UsageError, match="no OKS sigmas"):
        evaluate(results, TruthSource(annotations=truth_path), quick=True)
    rules = tmp_path / "joints.toml"
    rules.write_text('name = "joints"\nsigmas = [' + ", ".join(["0.05"] * 17) + "]\n", encoding="utf-8")
    source = TruthSource(annotations=truth_path, rules=str(rules), area="box-0.53")
    found = evaluate(results, source, replicates=5, report=tmp_path / "out")
    assert "area of a person: 0.53 of the annotated box" in found.rules
    facts = json.loads(found.files.facts.read_text(encoding="utf-8"))
    assert facts["data"]["skeleton"]["sigmas"] == [0.05] * 17
    assert facts["rules"]["in_words"] == list(found.rules)
    own = replace(truth, skeleton=replace(truth.skeleton, sigmas=(0.05,) * 17, pairs=()))
    own = replace(own, area=0.53 * own.bbox_xywh[:, 2] * own.bbox_xywh[:, 3])
    assert found.numbers == pytest.approx(dict(evaluate_arrays(own, case[1]).numbers))


def test_a_store_has_rules_of_its_own(case, finished_store):
    with pytest.raises(UsageError, match="rules of its skeleton"):
        evaluate(case[3], TruthSource(data=finished_store, rules="crowdpose"))


def test_a_report_compares_with_published_numbers_only_by_cocos_rules(case, tmp_path, monkeypatch):
    truth, _, truth_path, results = case
    monkeypatch.setattr(judgement, "_COCO_VAL2017", (len(truth.image_ids), int((~truth.ignored).sum())))
    sigmas = ", ".join(map(str, COCO.skeleton.sigmas[:-1]))
    rules = tmp_path / "own.toml"
    rules.write_text(f"sigmas = [{sigmas}, 0.9]\n", encoding="utf-8")
    records = json.loads(results.read_text(encoding="utf-8"))
    more = tmp_path / "more.json"
    more.write_text(json.dumps([*records, {**records[0], "image_id": 999_999}]), encoding="utf-8")
    plain = TruthSource(annotations=truth_path)
    cases = {
        "": (results, plain, {}),
        "own.toml": (results, replace(plain, rules=str(rules)), {}),
        "box-0.53": (results, replace(plain, area="box-0.53"), {}),
        "keypoints": (results, plain, {"detection_area": "extent"}),
        "skipped": (more, plain, {"unknown_images": "skip"}),
    }
    for because, (path, source, options) in cases.items():
        found = evaluate(path, source, replicates=0, report=tmp_path / "out", cases=0, **options)
        said = json.loads(found.files.facts.read_text(encoding="utf-8"))["comparable"]
        assert said["to_published_val2017"] is (because == ""), because
        assert because in said["because"]


def test_runs_of_one_name_are_told_apart_by_their_folders(case, judged, tmp_path):
    truth, detections, truth_path, results = case
    for name in ("a", "b"):
        judged.write_case(tmp_path / name / "x", truth, detections)
    paths = [tmp_path / "a/x/results.json", tmp_path / "b/x/results.json", truth_path.parent / "other.json"]
    paths[2].write_bytes(results.read_bytes())
    source = TruthSource(annotations=truth_path)
    found = compare([*paths, paths[0]], source, replicates=2)
    names = ["a/x/results.json", "b/x/results.json", "other.json", "a/x/results.json (2)"]
    assert [run.name for run in found.runs] == names
    found = evaluate(paths[0], source, baseline=paths[1], replicates=2)
    assert (found.results, found.baseline) == ("a/x/results.json", "b/x/results.json")


def test_pictures_that_cannot_be_read_are_a_warning(case, tmp_path):
    _, _, truth_path, results = case
    (tmp_path / "pictures").mkdir()
    source = TruthSource(annotations=truth_path)
    found = evaluate(results, source, replicates=0, images=tmp_path / "pictures", report=tmp_path / "out")
    assert any("pictures could not be read" in warning for warning in found.warnings)
    facts = json.loads(found.files.facts.read_text(encoding="utf-8"))
    assert facts["warnings"] == list(found.warnings)
    assert "pictures could not be read" in found.files.page.read_text(encoding="utf-8")


def test_a_missing_folder_of_pictures_is_refused_before_anything_is_read(tmp_path):
    source = TruthSource(annotations=tmp_path / "none.json")
    with pytest.raises(InputError, match="no such folder of pictures") as raised:
        evaluate(tmp_path / "none.json", source, images=tmp_path / "none", report=tmp_path / "out")
    assert raised.value.hint


def test_options_without_effect_are_refused(case, finished_store, tmp_path):
    _, _, truth_path, results = case
    annotated = TruthSource(annotations=truth_path)
    for source, images, option in (
        (annotated, tmp_path, "--images"),
        (replace(annotated, split="val"), None, "--split"),
        (TruthSource(data=finished_store, category="dog"), None, "--category"),
    ):
        with pytest.raises(UsageError) as raised:
            evaluate(results, source, images=images, replicates=0)
        assert raised.value.code == "option-conflict"
        assert option in raised.value.hint
    with pytest.raises(UsageError, match="--split"):
        compare([results, results], replace(annotated, split="val"))
