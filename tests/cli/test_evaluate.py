"""``posedata evaluate`` and ``posedata compare``: tables, JSON, limits and exit codes."""

import json
from dataclasses import replace

import numpy as np
import pytest


@pytest.fixture
def case(judged, judged_case, tmp_path):
    truth, detections = judged_case(11, pictures=40)
    truth_path, results = judged.write_case(tmp_path / "case", truth, detections)
    worse = replace(detections, keypoints=detections.keypoints + np.array([5.0, 0, 0]))
    _, other = judged.write_case(tmp_path / "case", truth, worse, name="worse.json")
    return truth_path, results, other


def test_the_table_has_the_ten_numbers_and_what_costs_most(posedata, case, tmp_path):
    truth, results, _ = case
    done = posedata("evaluate", results, "--annotations", truth, "--report", tmp_path / "out", "--replicates", 20)
    assert done.code == 0
    for text in ("APM", "ARL", "95 % interval", "AP without", "persons whom nobody found", "report.html"):
        assert text in done.out


def test_json_is_one_report(posedata, case):
    truth, results, other = case
    done = posedata("evaluate", results, "--annotations", truth, "--baseline", other, "--replicates", 20, "--json")
    report = done.report
    assert set(report["numbers"]) == {"AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"}
    assert report["differences"]["AP"]["value"] > 0
    assert len(report["gains"]) == 8


def test_limits_end_with_8_after_everything_was_shown(posedata, case, tmp_path):
    truth, results, other = case
    done = posedata(
        "evaluate", results, "--annotations", truth, "--fail-under", "AP=0.99", "--report", tmp_path / "out",
        "--replicates", 20,
    )  # fmt: skip
    assert done.code == 8
    assert "is below 0.99 [gate-failed]" in done.err
    assert (tmp_path / "out" / "report.html").exists()
    assert "AP without" in done.out
    done = posedata("evaluate", other, "--annotations", truth, "--fail-if-worse-than", results, "--replicates", 50)
    assert done.code == 8
    assert "against results.json" in done.err
    assert posedata("evaluate", results, "--annotations", truth, "--quick", "--fail-under", "AP=0.01").code == 0


@pytest.mark.parametrize(
    ("more", "code"),
    [
        (["--fail-under", "mAP=0.5"], 2),
        (["--keypoint-stride", "4"], 2),
        (["--quick", "--baseline", "x.json"], 2),
        (["--replicates", "0", "--fail-if-worse-than", "x.json"], 2),
        (["--data", "x.zarr"], 2),
        (["--category", "dog"], 2),
        (["--fail-under", "AP=nan"], 2),
        (["--images", "."], 2),
        (["--split", "val"], 2),
        (["--images", "no-such-folder", "--report", "out"], 3),
    ],
)
def test_options_that_cannot_be_are_refused(posedata, case, more, code):
    truth, results, _ = case
    assert posedata("evaluate", results, "--annotations", truth, *more).code == code


def test_a_broken_file_ends_with_3_and_names_the_record(posedata, case):
    truth, results, _ = case
    results.write_text(results.read_text(encoding="utf-8")[:-20], encoding="utf-8")
    done = posedata("evaluate", results, "--annotations", truth)
    assert done.code == 3
    assert "results.json" in done.err


def test_compare_shows_differences_from_the_first(posedata, case, tmp_path):
    truth, results, other = case
    done = posedata("compare", results, other, "--annotations", truth, "--replicates", 40, "--report", tmp_path / "out")
    assert done.code == 0
    assert "AP minus that of results.json" in done.out
    assert "compare.html" in done.out
    assert posedata("compare", results, "--annotations", truth).code == 2
    report = posedata("compare", results, other, "--annotations", truth, "--replicates", 40, "--json").report
    assert report["runs"][1]["against_first"]["AP"]["high"] < 0


def test_a_keypoint_that_nobody_labelled_is_null_in_json(posedata, case):
    truth, results, other = case
    content = json.loads(truth.read_text(encoding="utf-8"))
    for person in content["annotations"]:
        person["keypoints"][:3] = [0, 0, 0]
        person["num_keypoints"] = sum(flag > 0 for flag in person["keypoints"][2::3])
    truth.write_text(json.dumps(content), encoding="utf-8")
    done = posedata("compare", results, other, "--annotations", truth, "--replicates", 5, "--json")
    assert "NaN" not in done.out
    assert done.report["runs"][0]["similarity"]["nose"] is None
