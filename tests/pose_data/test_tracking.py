"""Ids that stay: standing, walking past each other, out of sight for a moment, gone for good."""

import numpy as np
import pytest

from pose_data.errors import UsageError
from pose_data.evaluation.oks import oks_of_pairs
from pose_data.skeleton import COCO_PERSON
from pose_data.tracking import Tracker, Tracking, similarity_matrix

BODY = np.random.default_rng(5).uniform(0, 1, (17, 2)) * (60, 160)
AREA = 60.0 * 160.0
FPS = 25.0


def person(x, y=100.0, score=0.9, jitter=0.0, seed=0):
    xy = BODY + np.array([x, y]) + np.random.default_rng(seed).normal(0, jitter, (17, 2))
    return np.concatenate([xy, np.full((17, 1), score)], axis=1)


def follow(tracker, frames):
    ids = []
    for number, people in enumerate(frames):
        keypoints = np.stack(people) if people else np.zeros((0, 17, 3))
        ids.append(tracker.follow(keypoints, np.full(len(people), AREA), number / FPS)[0].tolist())
    return ids


def new(**changes):
    return Tracker(Tracking(smoothing=None, **changes), COCO_PERSON.sigmas)


def test_similarity_is_oks():
    first, second = person(10), person(14, jitter=3, seed=2)
    labelled = first.copy()
    labelled[:, 2] = 2
    oks = oks_of_pairs(second[None], labelled[None], np.array([AREA]), np.zeros((1, 4)), COCO_PERSON.sigmas)
    mine = similarity_matrix(
        first[None], np.array([AREA]), second[None], np.array([AREA]), COCO_PERSON.sigmas, least=0.2
    )
    assert mine[0, 0] == pytest.approx(oks[0])


def test_persons_keep_their_ids_whatever_their_order():
    frames = [[person(10 + n, jitter=2, seed=n), person(300 - n, jitter=2, seed=n + 99)] for n in range(20)]
    frames = [people[::-1] if number % 2 else people for number, people in enumerate(frames)]
    assert follow(new(), frames) == [[2, 1] if number % 2 else [1, 2] for number in range(20)]


def test_two_who_walk_past_each_other_keep_their_ids():
    # 12 px a frame each, in opposite directions, a head's height apart.
    frames = [[person(12 * n, 100), person(480 - 12 * n, 112)] for n in range(40)]
    assert follow(new(), frames) == [[1, 2]] * 40


def test_who_was_out_of_sight_for_a_moment_is_known_again():
    frames = [[person(4 * n)] if not 10 <= n < 20 else [] for n in range(30)]
    ids = follow(new(kept_s=0.6), frames)
    assert [one for one in ids if one] == [[1]] * 20
    # Kept for a shorter time, the same person comes back as another.
    assert follow(new(kept_s=0.2), frames)[-1] == [2]


def test_ids_are_never_used_again():
    frames = [[person(10)], *[[]] * 40, [person(400)], [person(400), person(10)]]
    ids = follow(new(kept_s=0.5), frames)
    assert ids[0] == [1]
    assert ids[-2:] == [[2], [2, 3]]


def test_a_jump_across_the_picture_is_another_person():
    assert follow(new(), [[person(0)], [person(900)]]) == [[1], [2]]


def test_without_scores_all_keypoints_are_compared():
    assert follow(new(), [[person(0, score=0.0)], [person(2, score=0.0)]]) == [[1], [1]]


def test_smoothed_keypoints_are_shown_and_scores_stay():
    tracker = Tracker(Tracking(), COCO_PERSON.sigmas)
    shown = [tracker.follow(person(100, jitter=3, seed=n)[None], np.array([AREA]), n / FPS)[1][0] for n in range(30)]
    raw = np.stack([person(100, jitter=3, seed=n) for n in range(30)])
    assert np.stack(shown)[10:, :, :2].std(axis=0).mean() < 0.7 * raw[10:, :, :2].std(axis=0).mean()
    assert np.all(np.stack(shown)[..., 2] == 0.9)


def test_a_skeleton_without_sigmas_is_followed_too():
    tracker = Tracker(Tracking(smoothing=None), ())
    assert follow(tracker, [[person(0)], [person(5)]]) == [[1], [1]]


def test_a_similarity_of_nothing_is_refused():
    with pytest.raises(UsageError, match="similarity"):
        Tracking(least_similarity=0.0)
