"""Scores: shares of right detections by bin, and the best place to cut."""

from dataclasses import replace

import numpy as np
import pytest

from pose_data.evaluation import Detections, evaluate
from pose_data.evaluation.calibration import best_cut, reliability


def test_bins_hold_every_counted_detection_once(judged_case):
    result = evaluate(*judged_case(1, pictures=50))
    found = reliability(result, 0.75)
    shown = ~result.matching.detection_ignored[0, 5]
    assert sum(part.detections for part in found.bins) == shown.sum()
    right = (result.matching.found[0, 5] >= 0) & shown
    assert sum(part.detections * part.right_share for part in found.bins) == pytest.approx(right.sum())
    error = sum(part.detections * abs(part.mean_score - part.right_share) for part in found.bins) / shown.sum()
    assert found.error == pytest.approx(error)
    assert all(part.low <= part.mean_score <= part.high for part in found.bins)


def test_scores_that_are_no_probabilities_have_no_calibration_error(judged_case):
    truth, detections = judged_case(1)
    found = reliability(evaluate(truth, replace(detections, score=detections.score * 40 - 3)), 0.5)
    assert found.error is None
    assert found.bins[0].low < 0 < 30 < found.bins[-1].high


def test_the_best_cut_is_the_best_of_all_cuts(judged_case):
    for seed in range(8):
        truth, detections = judged_case(seed, pictures=30)
        result = evaluate(truth, detections)
        matching = result.matching
        shown = ~matching.detection_ignored[0, 0]
        score, right = matching.score[shown], matching.found[0, 0][shown] >= 0
        persons = (~truth.ignored).sum()
        every = {cut: 2 * right[score >= cut].sum() / ((score >= cut).sum() + persons) for cut in set(score.tolist())}
        best = best_cut(result)
        assert best.f1 == pytest.approx(max(every.values()))
        assert every[best.score] == pytest.approx(best.f1)
        assert best.f1 == pytest.approx(2 * best.precision * best.recall / (best.precision + best.recall))


def test_nothing_right_has_no_cut(judged_case):
    truth, _ = judged_case(0)
    nothing = Detections(image_id=np.zeros(0, np.int64), keypoints=np.zeros((0, 17, 3)), score=np.zeros(0))
    result = evaluate(truth, nothing)
    assert best_cut(result) is None
    assert reliability(result, 0.5).bins == ()
