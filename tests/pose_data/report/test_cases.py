"""Cases: the worst first, nobody twice, every sort in its order."""

from dataclasses import replace

import numpy as np
import pytest

from pose_data.evaluation import evaluate
from pose_data.report import judge
from pose_data.report.cases import SORTS, choose_cases


@pytest.fixture(scope="module")
def judgement(judged_case):
    truth, detections = judged_case(11, pictures=60)
    worse = replace(detections, keypoints=detections.keypoints + np.random.default_rng(0).normal(0, 6, (17, 3)))
    return judge(evaluate(truth, detections), replicates=20, baseline=("other.json", evaluate(truth, worse)))


def test_nobody_is_shown_twice_and_no_more_than_asked_for(judgement):
    cases = choose_cases(judgement, most=40)
    assert len(cases) == 40
    assert len({(case.person, case.detection) for case in cases}) == 40
    order = [name for name, _ in SORTS]
    places = [order.index(case.sort) for case in cases]
    assert places == sorted(places)
    assert {case.sort for case in cases} >= {"missed", "worst", "inversion", "swap", "background", "change"}


def test_each_sort_shows_its_worst_first(judgement):
    cases = choose_cases(judgement, most=500)
    truth, detections, found = judgement.result.truth, judgement.result.detections, judgement.found
    missed = [truth.area[case.person] for case in cases if case.sort == "missed"]
    assert missed == sorted(missed, reverse=True)
    assert missed[0] == truth.area[found.missed].max()
    worst = [case.oks for case in cases if case.sort == "worst"]
    assert worst[0] == found.oks.min()
    background = [detections.score[case.detection] for case in cases if case.sort == "background"]
    assert background == sorted(background, reverse=True)
    for case in cases:
        if case.sort == "inversion":
            assert (found.kind[case.place] == 2).sum() >= 2
        if case.sort == "change":
            assert abs(case.oks - case.other_oks) > 0.05


def test_two_results_that_agree_against_a_label_are_suspicious(judged_case):
    truth, detections = judged_case(3, pictures=40)
    result = evaluate(truth, detections)
    moved = truth.keypoints.copy()
    victim = int(judge(result, replicates=0).found.person[0])
    moved[victim, :, 0] += 0.25 * np.sqrt(truth.area[victim])
    wrong = replace(truth, keypoints=moved)
    both = evaluate(wrong, detections)
    cases = choose_cases(judge(both, replicates=0, baseline=("same.json", both)), most=500)
    assert victim in {case.person for case in cases if case.sort == "label"}
