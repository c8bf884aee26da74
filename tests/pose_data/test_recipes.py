"""Recipes: the named ones, changing one, refusing what cannot be prepared."""

import dataclasses
import json
from typing import get_args

import pytest

from pose_data.errors import UsageError
from pose_data.limbs import LIMB_TABLES
from pose_data.recipes import RECIPES, Limbs, Recipe, build_recipe
from pose_data.scene_rows import scene_rules
from pose_data.skeleton import COCO_PERSON
from pose_data.targets.paf import SCENE_RULES


def test_the_named_recipes():
    assert set(RECIPES) == {
        "coco-256x192", "coco-384x288", "coco-256x192-udp", "coco-256x192-dark", "hourglass-256", "hourglass-seed",
        "white-frame-320", "attention-256x192", "simcc-seed", "openpose-368", "lightweight-openpose-368",
    }  # fmt: skip
    assert all(recipe.name == name for name, recipe in RECIPES.items())


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_json(name):
    recipe = RECIPES[name]
    assert Recipe.from_dict(json.loads(json.dumps(recipe.as_dict()))) == recipe
    names = [field.name for field in dataclasses.fields(Recipe)]
    assert list(recipe.as_dict()) == (names if recipe.rows == "scenes" else names[: names.index("rows")])


def test_a_change_leaves_the_rest():
    recipe = build_recipe("coco-384x288", sigma=2.5, image_codec="raw", padding=None)
    assert recipe == dataclasses.replace(RECIPES["coco-384x288"], sigma=2.5, image_codec="raw")


def test_a_recipe_cannot_be_changed_in_place():
    with pytest.raises(dataclasses.FrozenInstanceError):
        build_recipe().sigma = 1.0  # type: ignore[misc]


def test_whole_numbers_and_their_floats_are_one_option():
    whole, exact = build_recipe(sigma=3, padding=1), build_recipe(sigma=3.0, padding=1.0)
    assert json.dumps(whole.as_dict()) == json.dumps(exact.as_dict())


def test_a_list_of_joints_is_as_good_as_a_tuple():
    assert build_recipe(joints=["nose", "left_hip"]) == build_recipe(joints=("nose", "left_hip"))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"geometry": "sideways"}, "option-value"),
        ({"image_codec": "png"}, "option-value"),
        ({"encoding": None, "map_dtype": "int8"}, "option-value"),
        ({"sigma": 0.0}, "option-value"),
        ({"sigma": float("nan")}, "option-value"),
        ({"sigma": True}, "option-value"),
        ({"sigma": "2"}, "option-value"),
        ({"crop_width_px": 192.5}, "option-value"),
        ({"crop_width_px": 192.0}, "option-value"),
        ({"crop_width_px": 4}, "option-value"),
        ({"single_polygon": "no"}, "option-value"),
        ({"single_polygon": 1}, "option-value"),
        ({"joints": "nose"}, "option-value"),
        ({"joints": [1]}, "option-value"),
        ({"jpeg_quality": 101}, "option-value"),
        ({"context_px": -1}, "option-value"),
        ({"chunk_rows": 0}, "option-value"),
        ({"shard_rows": 100, "chunk_rows": 16}, "option-value"),
        ({"no_such_option": 1}, "option-unknown"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(changes, code):
    with pytest.raises(UsageError) as caught:
        build_recipe(**changes)
    assert caught.value.code == code
    assert caught.value.hint


def test_an_unknown_recipe_is_answered_with_the_known_ones():
    with pytest.raises(UsageError, match="recipe-unknown") as caught:
        build_recipe("coco")
    assert all(name in caught.value.hint for name in RECIPES)


def test_context_does_not_go_with_the_framed_square():
    with pytest.raises(UsageError, match="option-conflict"):
        build_recipe("white-frame-320", context_px=8)


def test_context_makes_the_stored_image_larger_and_the_window_not():
    recipe = build_recipe(context_px=20)
    assert (recipe.stored_width_px, recipe.stored_height_px) == (232, 296)
    assert (recipe.crop_width_px, recipe.crop_height_px) == (192, 256)


def test_the_stored_skeleton():
    assert build_recipe().skeleton_of(COCO_PERSON) == (COCO_PERSON, tuple(range(17)))
    part, indices = RECIPES["white-frame-320"].skeleton_of(COCO_PERSON)
    assert indices == (0, *range(5, 17))
    assert part.keypoint_count == 13


@pytest.mark.parametrize(
    "changes",
    [
        {"geometry": "msra"}, {"encoding": "gaussian"}, {"background": "white"}, {"joints": ("nose",)},
        {"visibility": "visible"}, {"context_px": 20}, {"crop_width_px": 370}, {"map_height": 45},
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_go_with_scenes_is_refused(changes):
    with pytest.raises(UsageError, match="option-conflict"):
        build_recipe("openpose-368", **changes)


@pytest.mark.parametrize("changes", [{"limbs": "tensorboy"}, {"geometry": "letterbox"}, {"rows": "scenes"}], ids=str)
def test_options_of_scenes_do_not_go_with_crops(changes):
    with pytest.raises(UsageError, match="option-conflict"):
        build_recipe(**changes)


def test_the_limb_tables_of_the_option_are_those_that_exist():
    assert set(get_args(Limbs)) == set(LIMB_TABLES)
    for table in LIMB_TABLES:
        assert build_recipe("openpose-368", limbs=table).limbs == table


@pytest.mark.parametrize(
    ("recipe", "rules"), [("openpose-368", "tensorboy"), ("lightweight-openpose-368", "lightweight")]
)
def test_the_recipes_of_scenes_draw_by_the_ports_rules(recipe, rules):
    assert scene_rules(RECIPES[recipe]) == dataclasses.replace(SCENE_RULES[rules], name=recipe)
    assert (RECIPES[recipe].stored_width_px, RECIPES[recipe].stride_px) == (496, 8)
