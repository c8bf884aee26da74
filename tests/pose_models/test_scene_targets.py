"""Maps and fields drawn on the device against the NumPy encoder, scene by scene."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_data.limbs import LIMB_TABLES, add_neck
from pose_data.targets.paf import SCENE_RULES, encode_fields, encode_scene_maps
from pose_models.scene_targets import render_fields, render_scene_maps, with_neck

SIZE = {"map_width": 12, "map_height": 9}


def people_of(seed: int, persons: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    xy = random.uniform(-20, 110, (persons, 17, 2)).round(1)
    xy[random.random((persons, 17)) < 0.1] = 40.0  # places that coincide: limbs without a length
    return xy, random.random((persons, 17)) < 0.8


def test_the_neck_is_numpy_s() -> None:
    xy, labelled = people_of(0, 7)
    expected = add_neck(xy, labelled)
    found = with_neck(torch.from_numpy(xy), torch.from_numpy(labelled))
    np.testing.assert_array_equal(found[0].numpy(), expected[0])
    np.testing.assert_array_equal(found[1].numpy(), expected[1])


@pytest.mark.parametrize("rules", SCENE_RULES)
@pytest.mark.parametrize("table", LIMB_TABLES)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), counts=st.lists(st.integers(0, 5), min_size=1, max_size=4))
def test_a_batch_of_scenes_is_what_numpy_draws_one_by_one(rules: str, table: str, seed: int, counts: list[int]) -> None:
    xy, labelled = add_neck(*people_of(seed, sum(counts)))
    scene = np.repeat(np.arange(len(counts)), counts)
    drawn_by, limbs = SCENE_RULES[rules], LIMB_TABLES[table].limbs
    points = torch.from_numpy(xy), torch.from_numpy(labelled), torch.from_numpy(scene), len(counts)
    maps = render_scene_maps(*points, rules=drawn_by, **SIZE).numpy()
    fields = render_fields(*points, limbs, rules=drawn_by, **SIZE).numpy()
    assert (maps.dtype, fields.dtype) == (np.float32, np.float32)
    for number in range(len(counts)):
        own = xy[scene == number], labelled[scene == number]
        np.testing.assert_allclose(maps[number], encode_scene_maps(*own, rules=drawn_by, **SIZE), rtol=0, atol=6e-8)
        expected = encode_fields(*own, limbs, rules=drawn_by, **SIZE)
        np.testing.assert_allclose(fields[number], expected, rtol=0, atol=6e-8)


@pytest.mark.parametrize("rules", SCENE_RULES)
def test_a_crowd_is_drawn_in_pieces(rules: str) -> None:
    xy, labelled = add_neck(*people_of(3, 75))
    scene = np.repeat([0, 1, 2], [40, 0, 35])
    points = torch.from_numpy(xy), torch.from_numpy(labelled), torch.from_numpy(scene), 3
    limbs = LIMB_TABLES["openpose"].limbs
    fields = render_fields(*points, limbs, rules=SCENE_RULES[rules], **SIZE).numpy()
    for number in (0, 2):
        own = xy[scene == number], labelled[scene == number]
        expected = encode_fields(*own, limbs, rules=SCENE_RULES[rules], **SIZE)
        np.testing.assert_allclose(fields[number], expected, rtol=0, atol=6e-8)
    assert not fields[1].any()


def test_points_that_are_not_finite_are_not_drawn() -> None:
    xy, labelled = torch.full((1, 18, 2), float("nan"), dtype=torch.float64), torch.ones((1, 18), dtype=torch.bool)
    points = xy, labelled, torch.zeros(1, dtype=torch.int64), 1
    maps = render_scene_maps(*points, rules=SCENE_RULES["paper"], **SIZE)
    assert not maps[:, :-1].any()
    assert (maps[:, -1] == 1).all()
    assert not render_fields(*points, LIMB_TABLES["openpose"].limbs, rules=SCENE_RULES["paper"], **SIZE).any()
