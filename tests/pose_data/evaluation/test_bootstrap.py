"""Bootstrap by weights equals an evaluation of pictures really drawn anew."""

from dataclasses import replace

import numpy as np
import pytest

from pose_data.errors import UsageError
from pose_data.evaluation import NUMBERS, Detections, GroundTruth, evaluate
from pose_data.evaluation.bootstrap import bootstrap_numbers, intervals, paired_differences


def drawn(truth, detections, times):
    """Return a data set in which picture i really stands ``times[i]`` times, under ids of its own."""
    images = np.unique(truth.image_ids)
    persons, rows, person_image, row_image, ids = [], [], [], [], []
    for image, count in zip(images, times, strict=True):
        for _ in range(count):
            ids.append(len(ids) + 1)
            mine, found = np.flatnonzero(truth.image_id == image), np.flatnonzero(detections.image_id == image)
            persons += mine.tolist()
            rows += found.tolist()
            person_image += [ids[-1]] * len(mine)
            row_image += [ids[-1]] * len(found)
    again = GroundTruth(
        image_ids=np.array(ids), image_id=np.array(person_image, np.int64),
        annotation_id=np.arange(1, len(persons) + 1), keypoints=truth.keypoints[persons],
        bbox_xywh=truth.bbox_xywh[persons], area=truth.area[persons], iscrowd=truth.iscrowd[persons],
        num_keypoints=truth.num_keypoints[persons],
    )  # fmt: skip
    return again, Detections(
        image_id=np.array(row_image, np.int64), keypoints=detections.keypoints[rows], score=detections.score[rows]
    )


@pytest.mark.parametrize("seed", range(12))
def test_a_replicate_is_an_evaluation_of_the_drawn_pictures(judged_case, seed):
    truth, detections = judged_case(seed, pictures=15)
    # Scores that are equal within a picture stand in another order when it is drawn twice.
    detections = replace(detections, score=np.random.default_rng(seed).permutation(len(detections)) / 97.0)
    result = evaluate(truth, detections)
    numbers = bootstrap_numbers(result, replicates=5, seed=seed)
    times = np.random.Generator(np.random.PCG64([seed, 15])).multinomial(15, np.full(15, 1 / 15), size=5)
    for replicate in range(5):
        again = evaluate(*drawn(truth, detections, times[replicate])).numbers
        assert numbers[replicate].tolist() == [again[name] for name in NUMBERS]


def test_threads_and_repetition_change_nothing(judged_case):
    result = evaluate(*judged_case(1))
    first = bootstrap_numbers(result, replicates=20, seed=4, threads=1)
    np.testing.assert_array_equal(first, bootstrap_numbers(result, replicates=20, seed=4, threads=3))
    assert not np.array_equal(first, bootstrap_numbers(result, replicates=20, seed=5))


def test_intervals_hold_the_middle_of_the_replicates(judged_case):
    result = evaluate(*judged_case(2, pictures=60))
    numbers = bootstrap_numbers(result, replicates=400)
    found = intervals(result, numbers)
    for place, name in enumerate(NUMBERS):
        inside = (numbers[:, place] >= found[name].low) & (numbers[:, place] <= found[name].high)
        assert 0.94 <= inside.mean() <= 0.96
        assert found[name].low < found[name].value < found[name].high


def test_a_paired_difference_is_sharper_than_two_intervals(judged_case):
    truth, detections = judged_case(3, pictures=80)
    first = evaluate(truth, detections)
    worse = replace(detections, keypoints=detections.keypoints + np.array([1.5, 0, 0]))
    second = evaluate(truth, worse)
    numbers = bootstrap_numbers(first, replicates=300), bootstrap_numbers(second, replicates=300)
    difference = paired_differences(first, second, numbers)["AP"]
    assert difference.value == first.numbers["AP"] - second.numbers["AP"] > 0
    assert difference.low <= difference.value <= difference.high
    alone = intervals(first, numbers[0])["AP"]
    assert difference.high - difference.low < 0.6 * (alone.high - alone.low)
    assert difference.share_better > 0.95


def test_other_pictures_and_no_replicates_are_refused(judged_case):
    first, second = evaluate(*judged_case(1)), evaluate(*judged_case(1, pictures=9))
    numbers = bootstrap_numbers(first, replicates=3)
    with pytest.raises(UsageError, match="other pictures"):
        paired_differences(first, second, (numbers, numbers))
    with pytest.raises(UsageError, match="replicates"):
        bootstrap_numbers(first, replicates=0)


def test_nothing_counted_stays_minus_one(judged_case):
    truth, detections = judged_case(1)
    result = evaluate(replace(truth, num_keypoints=np.zeros_like(truth.num_keypoints)), detections)
    numbers = bootstrap_numbers(result, replicates=4)
    assert (numbers == -1).all()
    assert intervals(result, numbers)["AP"].high == -1
