"""The keypoint table against plain sums."""

import math
from dataclasses import replace

import numpy as np
import pytest

from pose_data.evaluation import Detections, evaluate
from pose_data.evaluation.keypoint_table import keypoint_table, lost_oks
from pose_data.evaluation.localisation import localise


@pytest.fixture
def found_case(judged_case):
    result = evaluate(*judged_case(5, pictures=40))
    return result, localise(result)


def test_rows_are_plain_sums(found_case):
    result, found = found_case
    truth = result.truth
    table = keypoint_table(truth, found)
    assert [row.name for row in table] == [*truth.skeleton.names, "all"]
    joint = 9
    distances, deviations, of_box = [], [], []
    for row, person in zip(found.detection, found.person, strict=True):
        x, y, flag = truth.keypoints[person, joint]
        if flag:
            far = math.dist((x, y), result.detections.keypoints[row, joint, :2])
            distances.append(far)
            deviations.append(far / (2 * 0.062 * math.sqrt(truth.area[person])))
            of_box.append(far / max(truth.bbox_xywh[person, 2:]))
    row = table[joint]
    assert row.labelled == len(distances) == row.good + row.jitter + row.inversion + row.swap + row.miss
    assert row.median_px == pytest.approx(np.median(distances))
    assert row.p90_deviations == pytest.approx(np.quantile(deviations, 0.9))
    assert row.pck["0.1"] == pytest.approx(np.mean(np.array(of_box) <= 0.1))
    assert row.similarity == pytest.approx(np.mean([math.exp(-value * value / 2) for value in deviations]))


def test_what_keypoints_lose_adds_up_to_what_persons_lack(found_case):
    result, found = found_case
    lost = lost_oks(result.truth, found)
    np.testing.assert_allclose(lost.sum(axis=1), 1 - found.oks, atol=1e-12)
    table = keypoint_table(result.truth, found)
    assert sum(row.lost_share for row in table[:-1]) == pytest.approx(1.0)
    assert table[-1].lost_share == pytest.approx(1.0)


def test_the_head_is_the_longest_way_between_its_keypoints(judged_case):
    truth, _ = judged_case(2)
    points = truth.keypoints.copy()
    points[:, :5] = 0
    points[:, 0] = (100, 100, 2)
    points[:, 3] = (100, 120, 2)
    own = points.copy()
    own[:, 9, :2] += (0, 9)  # within half of 20 px
    own[:, 10, :2] += (0, 11)
    points[:, 9:11, 2], truth = 2, replace(truth, keypoints=points, num_keypoints=(points[..., 2] > 0).sum(axis=1))
    rows = np.flatnonzero(~truth.ignored)
    detections = Detections(image_id=truth.image_id[rows], keypoints=own[rows], score=np.ones(len(rows)))
    table = keypoint_table(truth, localise(evaluate(truth, detections)))
    assert (table[9].pckh, table[10].pckh) == (1.0, 0.0)


def test_visible_and_occluded_are_told_apart(found_case):
    result, found = found_case
    flags = result.truth.keypoints[found.person][..., 2]
    row = keypoint_table(result.truth, found)[-1]
    assert row.occluded_similarity == pytest.approx(found.similarity[flags == 1].mean())
    assert row.visible_similarity == pytest.approx(found.similarity[flags == 2].mean())


def test_nobody_found_gives_rows_of_nan(judged_case):
    truth, _ = judged_case(0)
    nothing = Detections(image_id=np.zeros(0, np.int64), keypoints=np.zeros((0, 17, 3)), score=np.zeros(0))
    row = keypoint_table(truth, localise(evaluate(truth, nothing)))[-1]
    assert row.labelled == 0
    assert math.isnan(row.median_px)
    assert math.isnan(row.pckh)
