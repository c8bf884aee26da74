"""Kinds of errors against a slow reading of the paper, and repairs that land where they should."""

import math
from collections import Counter

import numpy as np
import pytest

from pose_data.evaluation import Detections, evaluate
from pose_data.evaluation.localisation import GOOD, LOOSE, Kind, localise, repaired
from pose_data.evaluation.oks import keypoint_similarities

SIGMA_TWICE = [2 * value for value in (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089,
    0.089,
)]  # fmt: skip
COUNTERPART = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]


def slow_kind(truth, person, detected, joint):
    """Return what the paper says of one keypoint, in plain numbers."""
    if truth.keypoints[person, joint, 2] == 0:
        return "unlabelled", None

    def similarity(other, label):
        x, y, flag = truth.keypoints[other, label]
        if flag == 0:
            return -1.0
        squared = (detected[joint, 0] - x) ** 2 + (detected[joint, 1] - y) ** 2
        return math.exp(-squared / (2 * truth.area[other] * SIGMA_TWICE[joint] ** 2))

    others = [g for g in range(len(truth.area)) if truth.image_id[g] == truth.image_id[person] and g != person]
    candidates = [("own", similarity(person, joint))]
    candidates += [("swap", similarity(g, joint)) for g in others]
    candidates += [("inversion", similarity(person, COUNTERPART[joint]))]
    candidates += [("swap", similarity(g, COUNTERPART[joint])) for g in others]
    best = max(value for _, value in candidates)
    who = next(name for name, value in candidates if value == best)
    if best < 0.5:
        return "miss", best
    if who != "own":
        return who, best
    return ("good" if best >= 0.85 else "jitter"), best


@pytest.mark.parametrize("seed", range(40))
def test_kinds_are_those_of_a_slow_implementation(judged_case, seed):
    truth, detections = judged_case(seed)
    found = localise(evaluate(truth, detections))
    for place, (row, person) in enumerate(zip(found.detection, found.person, strict=True)):
        for joint in range(17):
            name, best = slow_kind(truth, person, detections.keypoints[row], joint)
            assert Kind(found.kind[place, joint]).name.lower() == name
            if best is not None:
                assert found.nearest[place, joint] == pytest.approx(best, abs=1e-12)


def test_the_cases_have_every_kind_of_error(judged_case):
    counts = sum(localise(evaluate(*judged_case(seed))).counts().sum(axis=0) for seed in range(40))
    assert counts.min() > 100, Counter(dict(enumerate(counts.tolist())))


@pytest.mark.parametrize("seed", range(10))
def test_everyone_is_found_missed_or_ignored_and_every_detection_has_one_fate(judged_case, seed):
    truth, detections = judged_case(seed)
    found = localise(evaluate(truth, detections))
    counted = np.flatnonzero(~truth.ignored)
    assert sorted([*found.person, *found.missed]) == counted.tolist()
    fates = [*found.detection, *found.background, *found.duplicate]
    assert len(fates) == len(set(fates))
    ignored = found.matching.detection[found.matching.detection_ignored[0, 0]]
    assert sorted([*fates, *ignored]) == sorted(found.matching.detection)
    assert (found.oks >= 0.1).all()


@pytest.mark.parametrize(
    ("kind", "similarity"), [(Kind.JITTER, GOOD), (Kind.MISS, LOOSE), (Kind.INVERSION, None), (Kind.SWAP, None)]
)
def test_a_repaired_keypoint_has_the_similarity_that_its_fault_stands_for(judged_case, kind, similarity):
    seen = 0
    for seed in range(10):
        result = evaluate(*judged_case(seed))
        found = localise(result)
        moved = repaired(result, found, [kind])
        truth = result.truth
        after = keypoint_similarities(
            moved.keypoints[found.detection], truth.keypoints[found.person], truth.area[found.person],
            truth.skeleton.sigmas,
        )  # fmt: skip
        chosen = found.kind == kind
        wanted = found.nearest[chosen] if similarity is None else similarity
        np.testing.assert_allclose(after[chosen], wanted, rtol=1e-6)
        untouched = found.kind != kind
        np.testing.assert_array_equal(
            moved.keypoints[found.detection][untouched], result.detections.keypoints[found.detection][untouched]
        )
        seen += int(chosen.sum())
    assert seen > 20


def test_no_detections_miss_everybody(judged_case):
    truth, _ = judged_case(0)
    nothing = Detections(image_id=np.zeros(0, np.int64), keypoints=np.zeros((0, 17, 3)), score=np.zeros(0))
    found = localise(evaluate(truth, nothing))
    assert found.kind.shape == (0, 17)
    assert found.missed.tolist() == np.flatnonzero(~truth.ignored).tolist()
