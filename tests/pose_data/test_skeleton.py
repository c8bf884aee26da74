"""Skeletons: what COCO says of its person, and parts of a skeleton."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools.cocoeval import Params

from pose_data.errors import UsageError
from pose_data.skeleton import COCO_PERSON, Skeleton, subset


def test_sigmas_are_those_of_pycocotools():
    assert list(COCO_PERSON.sigmas) == Params("keypoints").kpt_oks_sigmas.tolist()  # to the last bit


def test_names_and_limbs_are_those_of_the_annotation_file(shared: Path):
    path = shared / "data" / "coco-sample" / "annotations" / "person_keypoints_val2017.json"
    category = json.loads(path.read_text(encoding="utf-8"))["categories"][0]
    assert list(COCO_PERSON.names) == category["keypoints"]
    assert [[a + 1, b + 1] for a, b in COCO_PERSON.limbs] == category["skeleton"]


def test_pairs_are_left_and_right_of_one_part():
    named = {(COCO_PERSON.names[left], COCO_PERSON.names[right]) for left, right in COCO_PERSON.pairs}
    parts = {name.removeprefix("left_") for name in COCO_PERSON.names if name.startswith("left_")}
    assert named == {(f"left_{part}", f"right_{part}") for part in parts}


def test_flipping_twice_changes_nothing():
    order = COCO_PERSON.flip_order()
    assert sorted(order) == list(range(17))
    assert [order[order[index]] for index in range(17)] == list(range(17))
    assert order[0] == 0


def test_no_pairs_means_no_change():
    assert Skeleton(name="dot", names=("a", "b")).flip_order() == (0, 1)


def test_a_part_keeps_what_lies_within_it():
    part, indices = subset(COCO_PERSON, ("left_hip", "right_hip", "nose", "left_knee"))
    assert indices == (11, 12, 0, 13)
    assert part.names == ("left_hip", "right_hip", "nose", "left_knee")
    assert part.pairs == ((0, 1),)
    assert part.limbs == ((3, 0), (0, 1))
    assert part.sigmas == (1.07 / 10, 1.07 / 10, 0.26 / 10, 0.87 / 10)
    assert part.keypoint_count == 4


@given(st.lists(st.sampled_from(COCO_PERSON.names), min_size=1, unique=True))
def test_any_part_is_a_skeleton(names):
    part, indices = subset(COCO_PERSON, tuple(names))
    assert [COCO_PERSON.names[index] for index in indices] == names == list(part.names)
    assert {(part.names[a], part.names[b]) for a, b in part.limbs} == {
        (COCO_PERSON.names[a], COCO_PERSON.names[b])
        for a, b in COCO_PERSON.limbs
        if {COCO_PERSON.names[a], COCO_PERSON.names[b]} <= set(names)
    }
    assert [part.sigmas[part.names.index(name)] for name in names] == [COCO_PERSON.sigmas[index] for index in indices]


@pytest.mark.parametrize("names", [(), ("nose", "nose"), ("nose", "tail")])
def test_what_is_no_part_is_refused_with_the_names(names):
    with pytest.raises(UsageError, match="joints-unknown") as caught:
        subset(COCO_PERSON, names)
    assert "left_shoulder" in caught.value.hint
