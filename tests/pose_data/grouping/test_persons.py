"""Whole pictures: against the plain version, and what becomes of missing necks, bad shapes and bad numbers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pose_data.errors import ModelError, UsageError
from pose_data.grouping import GROUPINGS, group_persons
from pose_data.grouping.peaks import upsample_maps
from pose_data.limbs import OPENPOSE_PERSON, find_limb_table, limb_table
from pose_data.skeleton import COCO_PERSON, Skeleton
from pose_data.targets.paf import SCENE_RULES, encode_fields, encode_scene_maps

SQUARE = limb_table(
    Skeleton(name="square", names=("a", "b", "c", "d", "e"), limbs=((0, 1), (2, 1), (2, 3), (0, 3), (3, 4), (1, 4)))
)
OPENPOSE = find_limb_table("openpose")
CELLS = 46


def scene(xy, labelled, table=OPENPOSE):
    shape = {"rules": SCENE_RULES["paper"], "map_width": CELLS, "map_height": CELLS}
    maps = encode_scene_maps(xy, labelled, **shape)
    return maps[None], encode_fields(xy, labelled, table.limbs, **shape)[None]


def figure(x, y, height):
    """Return the 18 points of a standing figure, its head's top at (x, y), in input pixels."""
    shape = np.array(
        [(0, 10), (0, 25), (-12, 26), (-17, 42), (-20, 57), (12, 26), (17, 42), (20, 57), (-7, 56), (-8, 77), (-9, 97),
         (7, 56), (8, 77), (9, 97), (-3, 7), (3, 7), (-7, 9), (7, 9)]
    ) / 100.0  # fmt: skip
    return np.array([x, y]) + height * shape


@settings(deadline=None, max_examples=80)
@given(data=st.data())
def test_persons_are_those_of_the_plain_version(plain, data):
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    options = replace(
        data.draw(st.sampled_from([GROUPINGS["published"], GROUPINGS["subcell"]])),
        upsample=data.draw(st.sampled_from([1, 2])),
        closing=data.draw(st.sampled_from(["copy", "merge"])),
        minimum_share=data.draw(st.sampled_from([0.2, 0.8])),
        minimum_joints=data.draw(st.integers(1, 3)),
    )
    # Few of the peaks of noise lie on a limb: a drift makes enough of them connections.
    maps = generator.uniform(-0.5, 1.0, (5, 7, 8)).astype(np.float32)
    fields = (generator.normal(size=(12, 7, 8)) * 0.4 + data.draw(st.sampled_from([0.0, 0.5]))).astype(np.float32)
    large = upsample_maps(maps, options.upsample), upsample_maps(fields, options.upsample)
    assume(not plain.has_ties(*large, SQUARE, options))
    expected = plain.persons(*large, SQUARE, options)
    found = group_persons(maps[None], fields[None], SQUARE, options)[0]
    assert found.joint_count.tolist() == [count for *_, count in expected]
    np.testing.assert_allclose(found.score, [score for _, score, _ in expected], rtol=1e-5)
    for keypoints, (peaks, *_) in zip(found.keypoints, expected, strict=True):
        grid = np.zeros((5, 3))
        for keypoint, (x, y, score) in peaks.items():
            grid[keypoint] = (x + 0.5) / options.upsample - 0.5, (y + 0.5) / options.upsample - 0.5, score
        np.testing.assert_allclose(keypoints, grid, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", sorted(GROUPINGS))
@pytest.mark.parametrize("assignment", ["greedy", "optimal"])
def test_figures_that_stand_apart_are_found_whole(name, assignment):
    truth = np.stack([figure(60, 20, 150), figure(180, 60, 250), figure(300, 200, 120)])
    maps, fields = scene(truth, np.ones(truth.shape[:2], bool))
    found = group_persons(maps, fields, OPENPOSE, replace(GROUPINGS[name], assignment=assignment))[0]
    assert found.joint_count.tolist() == [18, 18, 18]
    order = np.argsort(found.keypoints[:, 1, 0])
    away = np.abs(found.keypoints_input()[order, :, :2] - truth)
    # Enlarged four times, a cell is two pixels.
    assert away.max() < (1.6 if name == "published" else 1.0)
    np.testing.assert_allclose(found.coco_score(), found.score * 17)


def test_pictures_of_a_batch_are_grouped_one_by_one():
    one, two = (scene(figure(x, 20, 200)[None], np.ones((1, 18), bool)) for x in (80, 250))
    nobody = np.zeros_like(one[0]), np.zeros_like(one[1])
    maps, fields = (np.concatenate([part[index] for part in (one, nobody, two)]) for index in (0, 1))
    found = group_persons(maps, fields, OPENPOSE)
    assert [len(persons.score) for persons in found] == [1, 0, 1]
    assert found[1].keypoints.shape == (0, 18, 3)
    assert found[1].keypoints_input().shape == (0, 18, 3)
    alone = group_persons(*two, OPENPOSE)[0]
    np.testing.assert_array_equal(found[2].keypoints, alone.keypoints)


def test_a_head_without_a_neck_is_kept_by_merging_and_by_joining():
    truth = figure(180, 20, 300)[None]
    labelled = np.ones((1, 18), bool)
    labelled[0, [OPENPOSE_PERSON.names.index(name) for name in ("neck", "left_shoulder", "left_elbow")]] = False
    maps, fields = scene(truth, labelled)
    counts = {
        name: sorted(group_persons(maps, fields, OPENPOSE, GROUPINGS[name])[0].joint_count.tolist())
        for name in GROUPINGS
    }
    # The arm and head hang together by the ear; the legs and the other hand do not.
    assert counts == {"published": [3, 3, 3, 5], "subcell": [3, 3, 8], "joined": [15]}


def test_copying_gives_an_ear_to_two_persons():
    truth = figure(180, 20, 300)[None]
    labelled = np.ones((1, 18), bool)
    labelled[0, [OPENPOSE_PERSON.names.index(name) for name in ("neck", "nose")]] = False
    maps, fields = scene(truth, labelled)
    # Pairs of eye and ear are too small to stay; arms stay, with an ear each that is not counted.
    found = group_persons(maps, fields, OPENPOSE)[0]
    ears = found.keypoints[:, [OPENPOSE_PERSON.names.index(f"{side}_ear") for side in ("left", "right")], 2] > 0
    assert sorted(ears.sum(axis=1).tolist()) == [0, 0, 1, 1]
    assert found.joint_count.tolist() == [3, 3, 3, 3]


def test_any_skeleton_is_grouped():
    table = limb_table(COCO_PERSON)
    xy = np.random.default_rng(5).uniform(20, 340, (1, 17, 2))
    maps, fields = scene(xy, np.ones((1, 17), bool), table)
    found = group_persons(maps, fields, table, GROUPINGS["subcell"])[0]
    assert found.joint_count.tolist() == [17]
    assert np.abs(found.keypoints_input()[0, :, :2] - xy[0]).max() < 1.0


def test_maps_of_noise_cost_no_more_than_their_strongest_peaks():
    generator = np.random.default_rng(0)
    maps = generator.uniform(0.0, 1.0, (1, 19, CELLS, CELLS)).astype(np.float32)
    fields = generator.normal(size=(1, 38, CELLS, CELLS)).astype(np.float32)
    options = replace(GROUPINGS["published"], maximum_peaks=10)
    found = group_persons(maps, fields, OPENPOSE, options)[0]
    assert len(found.score) <= 180


@pytest.mark.parametrize(
    ("maps", "fields"),
    [((1, 17, 4, 4), (1, 38, 4, 4)), ((1, 18, 4, 4), (1, 36, 4, 4)), ((1, 18, 4, 4), (1, 38, 4, 5)),
     ((2, 18, 4, 4), (1, 38, 4, 4)), ((18, 4, 4), (38, 4, 4))],
)  # fmt: skip
def test_channels_of_another_table_are_refused(maps, fields):
    with pytest.raises(UsageError, match="maps-shape"):
        group_persons(np.zeros(maps), np.zeros(fields), OPENPOSE)


@pytest.mark.parametrize("which", [0, 1])
def test_numbers_that_are_not_finite_are_refused(which):
    arrays = [np.zeros((1, 18, 4, 4)), np.zeros((1, 38, 4, 4))]
    arrays[which][0, 3, 2, 1] = np.nan
    with pytest.raises(ModelError, match="output-not-finite"):
        group_persons(*arrays, OPENPOSE)
