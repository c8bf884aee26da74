"""Mistakes in writing results are named, and right ones pass."""

from dataclasses import replace

import numpy as np
import pytest

from pose_data.evaluation import Detections, evaluate
from pose_data.evaluation.self_tests import self_tests


def results_of(truth, noise=1.0):
    rows = np.flatnonzero(~truth.ignored)
    random = np.random.default_rng(0)
    points = truth.keypoints[rows].copy()
    points[..., :2] += random.normal(0, noise, points[..., :2].shape)
    return Detections(image_id=truth.image_id[rows], keypoints=points, score=random.random(len(rows)))


def failed(truth, detections):
    return {test.name for test in self_tests(evaluate(truth, detections)) if not test.passed}


def test_right_results_pass_all(judged_case):
    truth, _ = judged_case(1, pictures=60)
    tests = self_tests(evaluate(truth, results_of(truth)))
    assert all(test.passed for test in tests)
    assert tests[0].name == "labels as results"
    assert tests[0].ap == 1.0


@pytest.mark.parametrize(
    ("change", "name"),
    [
        (lambda points, order: points + np.array([3.0, 3.0, 0.0]), "moved by -0.5 px"),
        (lambda points, order: points - np.array([3.0, 3.0, 0.0]), "moved by +0.5 px"),
        (lambda points, order: points[:, order], "left and right exchanged"),
        (lambda points, order: points[..., [1, 0, 2]], "x and y exchanged"),
        (lambda points, order: points * np.array([2.0, 2.0, 1.0]), "times 0.5"),
        (lambda points, order: points * np.array([0.5, 0.5, 1.0]), "times 2"),
        (lambda points, order: points / np.array([480.0, 400.0, 1.0]), "times the picture's size"),
    ],
)
def test_a_mistake_is_found(judged_case, change, name):
    truth, _ = judged_case(1, pictures=60)
    detections = results_of(truth)
    order = list(truth.skeleton.flip_order())
    assert name in failed(truth, replace(detections, keypoints=change(detections.keypoints, order)))


def test_without_counted_persons_there_is_nothing_to_test(judged_case):
    truth, detections = judged_case(1)
    truth = replace(truth, num_keypoints=np.zeros_like(truth.num_keypoints))
    assert self_tests(evaluate(truth, detections)) == ()
