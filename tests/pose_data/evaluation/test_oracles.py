"""Oracle gains: nothing costs where nothing is wrong, and each gain is an evaluation done by hand."""

from dataclasses import replace

import numpy as np
import pytest

from pose_data.evaluation import Detections, evaluate
from pose_data.evaluation.localisation import Kind, localise, repaired
from pose_data.evaluation.oks import oks_of_pairs
from pose_data.evaluation.oracles import REPAIRS, ideal_scores, oracle_gains


def gains_of(case):
    result = evaluate(*case)
    return result, {gain.name: gain for gain in oracle_gains(result, localise(result))}


@pytest.mark.parametrize("seed", range(4))
def test_gains_are_evaluations_of_repaired_results(judged_case, seed):
    result, gains = gains_of(judged_case(seed, pictures=30))
    assert list(gains) == [name for name, _ in REPAIRS]
    found = localise(result)
    by_hand = evaluate(result.truth, repaired(result, found, [Kind.SWAP])).numbers["AP"]
    assert gains["swap"].alone == by_hand
    assert gains["swap"].gain == pytest.approx(by_hand - result.numbers["AP"])
    both = evaluate(result.truth, repaired(result, found, [Kind.MISS, Kind.SWAP])).numbers["AP"]
    assert gains["swap"].cumulative == both
    total = result.numbers["AP"] + sum(gain.step for gain in gains.values())
    assert total == pytest.approx(gains["scoring"].cumulative)


def test_duplicates_background_and_missed_persons_each_cost_what_they_cost(judged_case):
    result, gains = gains_of(judged_case(7, pictures=60))
    found = localise(result)
    assert min(len(found.duplicate), len(found.background), len(found.missed)) > 3
    for name in ("duplicate", "background", "missed", "scoring"):
        assert gains[name].gain > 0, name


def test_labels_as_results_have_nothing_to_gain(judged_case):
    truth, _ = judged_case(3)
    rows = np.flatnonzero(~truth.ignored)
    own = Detections(
        image_id=truth.image_id[rows], keypoints=truth.keypoints[rows],
        score=np.linspace(0.9, 0.1, len(rows)),
    )  # fmt: skip
    result, gains = gains_of((truth, own))
    assert result.numbers["AP"] == 1.0
    assert [gain.gain for gain in gains.values()] == [0.0] * len(gains)


@pytest.mark.parametrize("seed", range(6))
def test_ideal_scores_are_a_greedy_assignment_by_falling_oks(judged_case, seed):
    truth, detections = judged_case(seed)
    result = evaluate(truth, detections)
    pairs = []
    for row in range(len(detections)):
        for person in np.flatnonzero((truth.image_id == detections.image_id[row]) & ~truth.ignored):
            oks = oks_of_pairs(
                detections.keypoints[[row]], truth.keypoints[[person]], truth.area[[person]],
                truth.bbox_xywh[[person]], truth.skeleton.sigmas,
            )[0]  # fmt: skip
            if oks >= 0.1:
                pairs.append((oks, row, person))
    expected, rows, persons = np.zeros(len(detections)), set(), set()
    for oks, row, person in sorted(pairs, key=lambda pair: -pair[0]):
        if row not in rows and person not in persons:
            expected[row] = oks
            rows.add(row)
            persons.add(person)
    np.testing.assert_array_equal(ideal_scores(truth, detections, result.options), expected)
    ranked = evaluate(truth, replace(detections, score=expected)).numbers["AP"]
    assert ranked >= result.numbers["AP"]
