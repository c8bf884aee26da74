"""The skeleton with a neck, limb tables and their order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pose_data.errors import UsageError
from pose_data.limbs import LIMB_TABLES, OPENPOSE_PERSON, LimbTable, add_neck, drop_neck, find_limb_table, limb_table
from pose_data.skeleton import COCO_PERSON, Skeleton


def test_the_pairs_are_left_and_right_of_one_part():
    names = OPENPOSE_PERSON.names
    named = {(names[left], names[right]) for left, right in OPENPOSE_PERSON.pairs}
    assert named == {
        (f"left_{part}", f"right_{part}") for name in names if (part := name.removeprefix("left_")) != name
    }


def test_adding_the_neck_and_dropping_it_gives_the_same_keypoints_back():
    generator = np.random.default_rng(0)
    xy, labelled = generator.normal(size=(3, 4, 17, 2)), generator.random((3, 4, 17)) < 0.5
    with_neck, named = add_neck(xy, labelled)
    np.testing.assert_array_equal(drop_neck(with_neck), xy)
    np.testing.assert_array_equal(drop_neck(named[..., None].astype(float))[..., 0] > 0, labelled)
    by_name = {name: xy[..., index, :] for index, name in enumerate(COCO_PERSON.names)}
    for index, name in enumerate(OPENPOSE_PERSON.names):
        middle = (by_name["left_shoulder"] + by_name["right_shoulder"]) / 2
        np.testing.assert_array_equal(with_neck[..., index, :], middle if name == "neck" else by_name[name])
    np.testing.assert_array_equal(named[..., 1], labelled[..., 5] & labelled[..., 6])


def test_the_tables_differ_in_where_the_shoulder_leads_to():
    names = OPENPOSE_PERSON.names
    limbs = {table.name: {(names[start], names[end]) for start, end in table.limbs} for table in LIMB_TABLES.values()}
    assert limbs["openpose"] - limbs["tensorboy"] == {(f"{side}_shoulder", f"{side}_ear") for side in ("left", "right")}
    assert limbs["tensorboy"] - limbs["openpose"] == {(f"{side}_shoulder", f"{side}_eye") for side in ("left", "right")}


@pytest.mark.parametrize("name", sorted(LIMB_TABLES))
def test_a_table_reaches_every_keypoint_and_closes_two_circles(name):
    steps = find_limb_table(name).steps()
    assert [closing for *_, closing in steps] == [False] * 17 + [True] * 2
    assert {far for _, _, far, closing in steps if not closing} | {steps[0][1]} == set(range(18))


@given(st.data())
def test_the_limbs_of_any_skeleton_can_be_ordered(data):
    count = data.draw(st.integers(2, 8))
    ends = st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)).filter(lambda pair: pair[0] != pair[1])
    limbs = tuple(data.draw(st.lists(ends, min_size=1, max_size=12)))
    names = tuple(f"k{index}" for index in range(count))
    steps = limb_table(Skeleton(name="any", names=names, limbs=limbs)).steps()
    reached: set[int] = set()
    for limb, near, far, closing in steps:
        assert sorted((near, far)) == sorted(limbs[limb])
        assert closing == ({near, far} <= reached)
        assert closing or far not in reached
        reached |= {near, far}
    assert [closing for *_, closing in steps] == sorted(closing for *_, closing in steps)


@pytest.mark.parametrize(
    ("limbs", "order"),
    [
        (((0, 1), (1, 4)), (0, 1)),
        (((0, 1), (1, 1)), (0, 1)),
        (((0, 1), (1, 2)), (0, 0)),
        (((0, 1), (1, 2)), (0,)),
        (((0, 1), (2, 3), (1, 2)), (0, 1, 2)),
        (((0, 1), (1, 2), (2, 0), (2, 3)), (0, 1, 2, 3)),
    ],
)
def test_tables_that_cannot_be_followed_are_refused(limbs, order):
    four = Skeleton(name="four", names=("a", "b", "c", "d"))
    with pytest.raises(UsageError, match="limbs-unusable"):
        LimbTable(name="bad", skeleton=four, limbs=limbs, order=order)


def test_a_skeleton_without_limbs_and_an_unknown_table_are_refused():
    with pytest.raises(UsageError, match="limbs-unusable"):
        limb_table(Skeleton(name="dots", names=("a", "b")))
    with pytest.raises(UsageError, match="option-value") as caught:
        find_limb_table("body25")
    assert "openpose, tensorboy" in caught.value.hint
