"""Suppression and rescoring as the references do them."""

import numpy as np
import pytest

from pose_data.evaluation.nms import oks_nms, rescored, suppressed
from pose_data.skeleton import COCO_PERSON

SIGMAS = COCO_PERSON.sigmas


def people(random, count):
    base = random.uniform(0, 300, (4, 17, 2))
    keypoints = base[random.integers(0, 4, count)] + random.normal(size=(count, 17, 2)) * 3
    return keypoints, random.uniform(2000, 9000, count), random.random(count)


def slowly(keypoints, area, score, threshold):
    left, kept = list(np.argsort(score)[::-1]), []
    while left:
        best = left.pop(0)
        kept.append(best)
        rest = []
        for other in left:
            total = 0.0
            for joint in range(17):
                square = ((keypoints[best, joint] - keypoints[other, joint]) ** 2).sum()
                total += np.exp(-square / (2 * SIGMAS[joint]) ** 2 / ((area[best] + area[other]) / 2) / 2)
            if total / 17 <= threshold:
                rest.append(other)
        left = rest
    return kept


def test_it_keeps_what_the_slow_loop_keeps():
    for seed in range(20):
        random = np.random.default_rng(seed)
        keypoints, area, score = people(random, 15)
        for threshold in (0.3, 0.6, 0.9):
            found = oks_nms(keypoints, area, score, SIGMAS, threshold=threshold).tolist()
            assert found == slowly(keypoints, area, score, threshold)


def test_pictures_do_not_suppress_each_other():
    random = np.random.default_rng(0)
    keypoints, area, score = people(random, 1)
    keypoints, area = np.repeat(keypoints, 4, axis=0), np.repeat(area, 4)
    score = np.array([0.1, 0.9, 0.5, 0.6])
    image_id = np.array([7, 3, 7, 3])
    assert suppressed(image_id, keypoints, area, score, SIGMAS).tolist() == [1, 2]
    empty = np.zeros(0)
    assert len(suppressed(empty.astype(np.int64), np.zeros((0, 17, 2)), empty, empty, SIGMAS)) == 0


def test_scores_below_the_limit_do_not_count():
    keypoint_score = np.array([[0.1, 0.6, 0.8], [0.1, 0.1, 0.2]])
    np.testing.assert_allclose(rescored(np.array([0.5, 1.0]), keypoint_score), [0.35, 0.0])


@pytest.mark.parametrize("family", ["msra", "dark", "udp", "mmpose"])
def test_it_keeps_what_the_references_keep(shared, family):
    with np.load(shared / "peer_golden" / "peers.npz") as golden:
        keypoints, area, score, half, most = (
            golden[f"codec_{family}:nms/{name}"] for name in ("keypoints", "area", "score", "keep_0.5", "keep_0.9")
        )
    assert oks_nms(keypoints, area, score, SIGMAS, threshold=0.5).tolist() == half.tolist()
    assert oks_nms(keypoints, area, score, SIGMAS, threshold=0.9).tolist() == most.tolist()
