"""What is drawn is distributed as published, and pixels, keypoints and targets move together."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from pose_data.errors import UsageError
from pose_data.maps import render_maps
from pose_data.recipes import build_recipe
from pose_data.skeleton import COCO_PERSON
from pose_models.augment import (
    PixelRule,
    augment_batch,
    augmentation_transforms,
    normalised,
    plain_batch,
    warped,
)
from pose_models.augmentation_rules import AUGMENTATIONS, Augmentation, find_augmentation
from pose_models.draws import sample_draws
from pose_models.stream import DeviceBatch

PLAIN = PixelRule(std=(1 / 255, 1 / 255, 1 / 255))
RECIPE = build_recipe("coco-256x192")


def keypoints_of(count, recipe=RECIPE, seed=0):
    random = np.random.default_rng(seed)
    size = [recipe.stored_width_px, recipe.stored_height_px]
    xy = random.uniform(0.2, 0.8, (count, 17, 2)) * size
    return np.concatenate([xy, np.full((count, 17, 1), 2.0)], axis=2)


def batch_of(images, keypoints, first_row=0):
    count = len(images)
    arrays = {"images": torch.from_numpy(images), "keypoints": torch.from_numpy(keypoints.astype(np.float32))}
    rows = torch.arange(first_row, first_row + count)
    return DeviceBatch(rows=rows, arrays=arrays, valid=torch.ones(count, dtype=torch.bool))


def transforms(name, count=20_000, recipe=RECIPE, **changes):
    augmentation = Augmentation(**{
        **{field: getattr(AUGMENTATIONS[name], field) for field in Augmentation.__dataclass_fields__}, **changes
    })  # fmt: skip
    draws = sample_draws(np.arange(count, dtype=np.int64), seed=1, epoch=0)
    keypoints = torch.from_numpy(keypoints_of(count, recipe))
    return augmentation_transforms(keypoints, recipe, COCO_PERSON, augmentation, draws).numpy()


def factors_and_degrees(matrices):
    factor = 1.0 / np.sqrt(np.linalg.det(matrices[:, :, :2]))
    return factor, np.degrees(np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0]))


# ------------------------------------------------------------------------- distributions


@pytest.mark.parametrize(("name", "scale", "rotation"), [("simple-baseline", 0.3, 40), ("hrnet", 0.35, 45)])
def test_msras_scale_is_cut_at_one_deviation_and_its_rotation_at_two(name, scale, rotation):
    factor, degrees = factors_and_degrees(transforms(name, half_body_share=0.0))
    assert factor.min() == pytest.approx(1 - scale)
    assert factor.max() == pytest.approx(1 + scale)
    # 15.9 % of a normal distribution lie beyond one deviation on each side.
    assert (factor > 1 + scale - 1e-9).mean() == pytest.approx(0.159, abs=0.01)
    assert factor.mean() == pytest.approx(1, abs=0.01)
    assert np.abs(degrees).max() == pytest.approx(2 * rotation)
    assert (np.abs(degrees) > 1e-9).mean() == pytest.approx(0.6, abs=0.015)
    turned = degrees[np.abs(degrees) > 1e-9]
    assert (np.abs(turned) > 2 * rotation - 1e-6).mean() == pytest.approx(0.0455, abs=0.006)


def test_mmposes_draws_are_truncated_not_heaped_and_shift():
    matrices = transforms("mmpose", half_body_share=0.0)
    factor, degrees = factors_and_degrees(matrices)
    assert 0.5 <= factor.min() < 0.52
    assert 1.48 < factor.max() <= 1.5
    assert (factor > 1.499).mean() < 0.01
    assert np.abs(degrees).max() <= 80
    middle = np.array([96.0, 128.0])
    source = np.einsum("bij,bj->bi", np.linalg.inv(matrices[:, :, :2]), middle - matrices[:, :, 2])
    moved = (source - middle) / [192, 256]
    assert np.abs(moved).max() <= 0.16 + 1e-9
    assert (np.abs(moved).max(axis=1) > 1e-9).mean() == pytest.approx(0.3, abs=0.015)


def test_uniform_draws_are_uniform():
    factor, degrees = factors_and_degrees(transforms("hourglass"))
    assert factor.std() == pytest.approx(0.5 / math.sqrt(12), abs=0.003)
    assert degrees.std() == pytest.approx(60 / math.sqrt(12), abs=0.3)


def test_half_bodies_are_drawn_as_often_as_published_and_only_of_well_labelled_persons():
    both = transforms("hrnet", scale=0.0, rotation_deg=0.0)
    factor, _ = factors_and_degrees(both)
    assert (np.abs(factor - 1) > 1e-9).mean() == pytest.approx(0.3, abs=0.01)
    keypoints = keypoints_of(4000)
    upper = np.arange(17) < 11
    keypoints[:, upper, 1], keypoints[:, ~upper, 1] = 60.0, 200.0
    draws = sample_draws(np.arange(4000, dtype=np.int64), seed=0, epoch=0)
    only = Augmentation(half_body_share=1.0)
    matrices = augmentation_transforms(torch.from_numpy(keypoints), RECIPE, COCO_PERSON, only, draws).numpy()
    y_of_middle = (128 - matrices[:, 1, 2]) / matrices[:, 1, 1]
    assert (np.abs(y_of_middle - 60) < 1).mean() == pytest.approx(0.6915, abs=0.02)
    assert (np.abs(y_of_middle - 200) < 1).mean() == pytest.approx(0.3085, abs=0.02)
    keypoints[:, 8:, 2] = 0
    matrices = augmentation_transforms(torch.from_numpy(keypoints), RECIPE, COCO_PERSON, only, draws).numpy()
    np.testing.assert_allclose(matrices[:, :, :2], np.broadcast_to(np.eye(2), (4000, 2, 2)))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="augments on a GPU")
@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("recipe_name", ["coco-256x192", "coco-256x192-udp", "simcc-seed"])
def test_a_batch_on_a_gpu_is_the_processors_and_nothing_waits_for_it(name, recipe_name):
    recipe = build_recipe(recipe_name, context_px=16)
    images = np.random.default_rng(0).integers(
        0, 256, (9, recipe.stored_height_px, recipe.stored_width_px, 3), np.uint8
    )
    here = batch_of(images, keypoints_of(9, recipe))
    there = dataclasses.replace(here, arrays={name: values.cuda() for name, values in here.arrays.items()})
    rule, options = (recipe, COCO_PERSON, AUGMENTATIONS[name], PLAIN), {"seed": 5, "epoch": 3}
    expected = augment_batch(here, *rule, **options)
    augment_batch(there, *rule, **options)  # what is made once is made
    torch.cuda.set_sync_debug_mode("error")
    try:
        got = augment_batch(there, *rule, **options)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    torch.testing.assert_close(got.keypoints.cpu(), expected.keypoints, rtol=0, atol=1e-9)
    torch.testing.assert_close(got.weights.cpu(), expected.weights, rtol=0, atol=0)
    wrong = (got.images.cpu() - expected.images).abs()
    assert wrong.mean() < 0.01
    assert (wrong > 1.0).float().mean() < 1e-3  # hue where red, green and blue are all but equal
    for mine, theirs in zip(_listed(got.targets), _listed(expected.targets), strict=True):
        torch.testing.assert_close(mine.cpu(), theirs, rtol=0, atol=1e-6)


def _listed(targets):
    return [targets] if isinstance(targets, torch.Tensor) else list(targets)


def test_a_samples_augmentation_does_not_depend_on_its_batch():
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (6, 256, 192, 3), np.uint8)
    keypoints = keypoints_of(6)
    options = {"seed": 5, "epoch": 3}
    rule = (RECIPE, COCO_PERSON, AUGMENTATIONS["mmpose"], PLAIN)
    whole = augment_batch(batch_of(images, keypoints), *rule, **options)
    part = augment_batch(batch_of(images[4:], keypoints[4:], first_row=4), *rule, **options)
    assert torch.equal(whole.images[4:], part.images)
    assert torch.equal(whole.keypoints[4:], part.keypoints)
    other = augment_batch(batch_of(images, keypoints), *rule, seed=5, epoch=4)
    assert not torch.equal(whole.images, other.images)


# -------------------------------------------------------------------------------- pixels


def test_without_augmentation_the_window_comes_out_as_stored():
    recipe = build_recipe("coco-256x192", context_px=16)
    images = np.random.default_rng(0).integers(0, 256, (2, 288, 224, 3), np.uint8)
    keypoints = keypoints_of(2, recipe)
    none = AUGMENTATIONS["none"]
    plain = plain_batch(batch_of(images, keypoints), recipe, PLAIN)
    got = augment_batch(batch_of(images, keypoints), recipe, COCO_PERSON, none, PLAIN, seed=0, epoch=0)
    expected = images[:, 16:-16, 16:-16].transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(got.images.numpy(), expected.astype(np.float32))
    assert torch.equal(plain.images, got.images)
    np.testing.assert_allclose(got.keypoints[..., :2].numpy(), keypoints[..., :2] - 16, atol=1e-4)


@pytest.mark.parametrize("name", ["coco-256x192", "coco-256x192-udp", "hourglass-seed", "simcc-seed"])
@pytest.mark.parametrize("augmentation", ["none", "flip", "mmpose"])
def test_targets_are_the_numpy_encoders_on_the_same_keypoints(name, augmentation):
    recipe = build_recipe(name)
    images = np.zeros((5, recipe.crop_height_px, recipe.crop_width_px, 3), np.uint8)
    keypoints = keypoints_of(5, recipe)
    keypoints[0, 3, 2] = 0
    keypoints[1, 4, 2] = 1
    batch = batch_of(images, keypoints)
    got = augment_batch(batch, recipe, COCO_PERSON, AUGMENTATIONS[augmentation], PLAIN, seed=1, epoch=1)
    xy, visibility = got.keypoints[..., :2].numpy(), got.keypoints[..., 2].numpy()
    has_map = visibility > 0 if recipe.visibility == "labelled" else visibility == 2
    from pose_data.geometry import crop_to_map

    sizes = {"crop_width_px": recipe.crop_width_px, "crop_height_px": recipe.crop_height_px}
    cells = np.round(
        crop_to_map(xy, geometry=recipe.geometry, map_width=recipe.map_width, map_height=recipe.map_height, **sizes), 9
    )
    if recipe.encoding == "simcc":
        targets = [np.rint(axis.numpy() * 255).astype(np.uint8) for axis in got.targets]
        out = dict(zip(("simcc_x", "simcc_y"), map(np.empty_like, targets), strict=True))
    else:
        targets = [np.rint(got.targets.numpy() * 255).astype(np.uint8)]
        out = {"heatmaps": np.empty_like(targets[0])}
    render_maps(recipe, xy, cells, has_map, out)
    for mine, theirs in zip(targets, out.values(), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    drawn = np.array([values.any(axis=tuple(range(2, values.ndim))) for values in out.values()]).all(axis=0)
    np.testing.assert_array_equal(got.weights.numpy() > 0, drawn)


def test_rows_that_only_fill_up_a_batch_have_no_weight():
    batch = batch_of(np.zeros((2, 256, 192, 3), np.uint8), keypoints_of(2))
    batch = DeviceBatch(rows=batch.rows, arrays=batch.arrays, valid=torch.tensor([True, False]))
    weights = plain_batch(batch, RECIPE, PLAIN).weights
    assert weights[0].all()
    assert not weights[1].any()


@pytest.mark.parametrize("geometry", ["msra", "udp", "dark"])
@pytest.mark.parametrize("name", ["hrnet", "mmpose", "hourglass"])
def test_a_mark_moves_with_its_keypoint(geometry, name):
    recipe = build_recipe("coco-256x192", geometry=geometry, context_px=48)
    count = 24
    keypoints = keypoints_of(count, recipe, seed=4)
    images = np.zeros((count, recipe.stored_height_px, recipe.stored_width_px, 3), np.float64)
    y, x = np.mgrid[: recipe.stored_height_px, : recipe.stored_width_px]
    for image, points in zip(images, keypoints, strict=True):
        image[...] = 255 * np.exp(-((x - points[0, 0]) ** 2 + (y - points[0, 1]) ** 2) / 18)[..., None]
    batch = batch_of(np.rint(images).astype(np.uint8), keypoints)
    got = augment_batch(batch, recipe, COCO_PERSON, AUGMENTATIONS[name], PLAIN, seed=2, epoch=0)
    seen = 0
    for image, points in zip(got.images.numpy()[:, 0], got.keypoints.numpy(), strict=True):
        at = points[0, :2]
        if not (20 < at[0] < 172 and 20 < at[1] < 236):
            continue
        seen += 1
        weight = np.where(image > 40, image, 0)
        rows, columns = np.mgrid[:256, :192]
        found = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum()
        assert np.abs(found - at).max() < 0.5
    assert seen > count // 3


def test_sides_are_swapped_with_the_mirror():
    images = np.random.default_rng(1).integers(0, 256, (8, 256, 192, 3), np.uint8)
    keypoints = keypoints_of(8)
    always = Augmentation(flip_share=1.0)
    got = augment_batch(batch_of(images, keypoints), RECIPE, COCO_PERSON, always, PLAIN, seed=0, epoch=0)
    np.testing.assert_array_equal(got.images.numpy(), images[:, :, ::-1].transpose(0, 3, 1, 2))
    left, right = COCO_PERSON.names.index("left_wrist"), COCO_PERSON.names.index("right_wrist")
    np.testing.assert_allclose(got.keypoints[:, left, 0].numpy(), 191 - keypoints[:, right, 0], atol=1e-4)
    np.testing.assert_allclose(got.keypoints[:, left, 1].numpy(), keypoints[:, right, 1], atol=1e-4)


def test_context_gives_real_pixels_where_zoom_out_reaches():
    for context, black in ((0, True), (80, False)):
        recipe = build_recipe("coco-256x192", context_px=context)
        images = np.full((16, recipe.stored_height_px, recipe.stored_width_px, 3), 200, np.uint8)
        batch = batch_of(images, keypoints_of(16, recipe))
        rule = Augmentation(scale=0.3, rotation_deg=5.0)
        got = augment_batch(batch, recipe, COCO_PERSON, rule, PLAIN, seed=0, epoch=0).images
        assert (got.min() < 1) == black


def test_the_warp_is_the_slow_bilinear_one():
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (1, 20, 16, 3), np.uint8)
    matrix = np.array([[[0.9, -0.3, 2.5], [0.3, 0.9, -1.25]]])
    got = warped(torch.from_numpy(image), torch.from_numpy(matrix), 12, 14).numpy()[0]
    linear = np.linalg.inv(matrix[0, :, :2])
    padded = np.zeros((24, 20, 3))
    padded[2:-2, 2:-2] = image[0]
    for y in range(14):
        for x in range(12):
            sx, sy = linear @ (np.array([x, y]) - matrix[0, :, 2])
            left, top = math.floor(sx), math.floor(sy)
            if not (-2 <= left < 17 and -2 <= top < 21):
                expected = np.zeros(3)
            else:
                part = padded[top + 2 : top + 4, left + 2 : left + 4]
                weights = np.outer([1 - (sy - top), sy - top], [1 - (sx - left), sx - left])
                expected = (part * weights[..., None]).sum(axis=(0, 1))
            np.testing.assert_allclose(got[:, y, x], expected, atol=0.02)


def test_colour_changes_stay_within_their_factors_and_can_be_told_apart():
    images = np.full((64, 256, 192, 3), 100, np.uint8)
    images[:, :128, :, 0] = 140
    batch = batch_of(images, keypoints_of(64))
    got = augment_batch(batch, RECIPE, COCO_PERSON, Augmentation(brightness=0.25), PLAIN, seed=0, epoch=0).images
    factor = got[:, 1, 200, 0] / 100
    assert 0.75 <= factor.min() < 0.8
    assert 1.2 < factor.max() <= 1.25
    got = augment_batch(batch, RECIPE, COCO_PERSON, Augmentation(saturation=0.3), PLAIN, seed=0, epoch=0).images
    torch.testing.assert_close(got[:, :, 200, 0], torch.full((64, 3), 100.0))  # grey stays grey
    assert got[:, 0, 0, 0].std() > 1


def test_pixels_are_fed_as_the_weights_want_them():
    images = torch.tensor([255.0, 128.0, 0.0])[None, :, None, None]
    rule = PixelRule(bgr=True, mean=(0.5, 0.25, 0.0), std=(0.5, 0.25, 0.5))
    expected = torch.tensor([(0 - 0.5) / 0.5, (128 / 255 - 0.25) / 0.25, 1 / 0.5])
    torch.testing.assert_close(normalised(images, rule)[0, :, 0, 0], expected)


@pytest.mark.parametrize("options", [{"flip_share": 2.0}, {"scale": 1.0}, {"rotation_deg": -1.0}, {"spread": "wide"}])
def test_impossible_augmentations_are_refused(options):
    with pytest.raises(UsageError, match="option-value"):
        Augmentation(**options)
    with pytest.raises(UsageError, match="augmentation-unknown"):
        find_augmentation("everything")


def test_white_backgrounds_stay_white_where_the_stored_image_ends():
    recipe = build_recipe("white-frame-320")
    images = np.full((8, 320, 320, 3), 255, np.uint8)
    rule = AUGMENTATIONS["white-frame"]
    got = augment_batch(batch_of(images, keypoints_of(8, recipe)), recipe, COCO_PERSON, rule, PLAIN, seed=0, epoch=0)
    assert got.images.min() > 254.9


def test_added_brightness_is_a_share_of_the_full_range():
    images = np.full((256, 256, 192, 3), 100, np.uint8)
    rule = Augmentation(brightness_added=0.25)
    got = augment_batch(batch_of(images, keypoints_of(256)), RECIPE, COCO_PERSON, rule, PLAIN, seed=0, epoch=0)
    added = got.images[:, 0, 0, 0] - 100
    assert -63.75 <= added.min() < -60
    assert 60 < added.max() <= 63.76


def test_a_shift_is_a_share_of_the_half_body():
    keypoints = torch.from_numpy(keypoints_of(2000))
    draws = sample_draws(np.arange(2000, dtype=np.int64), seed=3, epoch=0)
    still = Augmentation(half_body_share=1.0)
    moved = Augmentation(half_body_share=1.0, shift=0.16, shift_share=1.0)
    first, second = (
        augmentation_transforms(keypoints, RECIPE, COCO_PERSON, one, draws).numpy() for one in (still, moved)
    )
    away = np.abs(second[..., 2] - first[..., 2]) / [192, 256]
    assert away.max() <= 0.16 + 1e-9
    assert away.max() > 0.15


@pytest.mark.parametrize(("name", "upper", "more_than"), [("hrnet", 0.6915, 8), ("mmpose", 0.7, 8)])
def test_half_bodies_follow_the_sources(name, upper, more_than):
    assert AUGMENTATIONS[name].upper_share == upper
    assert AUGMENTATIONS[name].half_body_more_than == more_than
