"""Decoding on the device gives NumPy's numbers, on awkward maps too."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pose_data.errors import UsageError
from pose_data.geometry import apply_affines, map_to_crop
from pose_data.recipes import build_recipe
from pose_data.targets import decode_argmax, decode_dark, decode_quarter, decode_udp, encode_heatmaps
from pose_data.targets.simcc import decode_simcc, decode_simcc_dark, encode_simcc
from pose_models.decode import decode_output, final_output, merge_flipped, to_crop, to_image, without_flip_bias
from pose_models.networks.simcc import flip_shift_of
from pose_models.simcc_decode import simcc_visibility
from pose_models.targets import SimccLabels, render_targets

NUMPY = {"argmax": decode_argmax, "quarter": decode_quarter, "dark": decode_dark, "udp": decode_udp}


def awkward_maps(seed):
    random = np.random.default_rng(seed)
    centre = random.uniform(-3, [51, 67], (3, 5, 2))
    maps = encode_heatmaps(
        centre, np.ones((3, 5), bool), encoding="unbiased", map_width=48, map_height=64, sigma=2.0
    ) + random.uniform(-0.01, 0.01, (3, 5, 64, 48)).astype(np.float32)
    maps[0, 0] = 0
    maps[0, 1] = -1
    maps[0, 2] = 0.5
    maps[0, 3] = 0
    maps[0, 3, 10, 10] = maps[0, 3, 40, 30] = 1
    maps[0, 4, 0, 0] = 3
    return maps.astype(np.float32)


@pytest.mark.parametrize("decode", list(NUMPY))
@given(seed=st.integers(0, 10_000))
def test_points_and_scores_are_numpys(device, decode, seed):
    maps = awkward_maps(seed)
    expected, scores = NUMPY[decode](maps)
    points, found = (values.cpu() for values in decode_output(torch.from_numpy(maps).to(device), decode))
    assert points.isfinite().all()
    np.testing.assert_allclose(points.numpy(), expected, atol=1e-9 if decode in ("argmax", "quarter") else 2e-5)
    np.testing.assert_array_equal(found.numpy(), scores)


@pytest.mark.parametrize("decode", list(NUMPY))
def test_maxima_below_the_threshold_are_no_keypoints(decode):
    maps = awkward_maps(3)
    maps[1] *= 0.5
    every, all_scores = decode_output(torch.from_numpy(maps), decode)
    points, scores = decode_output(torch.from_numpy(maps), decode, threshold=0.85)
    there = all_scores >= 0.85
    assert there.any()
    assert not there.all()
    assert torch.equal(points[there], every[there])
    assert torch.equal(scores[there], all_scores[there])
    assert not points[~there].any()
    assert not scores[~there].any()
    if decode == "argmax":
        expected, numbers = decode_argmax(maps, threshold=0.85)
        np.testing.assert_array_equal(points.numpy(), expected)
        np.testing.assert_array_equal(scores.numpy(), numbers)


def test_half_precision_is_decoded_as_float32():
    maps = torch.from_numpy(awkward_maps(1)).to(torch.bfloat16)
    points, scores = decode_output(maps, "dark")
    again, _ = decode_output(maps.to(torch.float32), "dark")
    assert torch.equal(points, again)
    assert scores.dtype == torch.float32


def test_simcc_is_the_first_maximum_and_the_smaller_score():
    x, y = torch.zeros(1, 2, 8), torch.zeros(1, 2, 10)
    x[0, 0, 3] = x[0, 0, 5] = 2.0
    y[0, 0, 9] = 0.5
    points, scores = decode_output((x, y), "simcc")
    assert points[0, 0].tolist() == [3, 9]
    assert scores[0].tolist() == [0.5, 0.0]


def noisy_vectors(seed, sigma, bins=(384, 512)):
    """Return SimCC vectors of peaks everywhere, near both ends too, with noise and awkward cases."""
    random = np.random.default_rng(seed)
    points = random.uniform(-2, [bins[0] + 1, bins[1] + 1], (4, 9, 2))
    size = {"crop_width_px": bins[0], "crop_height_px": bins[1]}
    vectors = encode_simcc(points, np.ones((4, 9), bool), split_ratio=1.0, sigma=sigma, rounded=False, **size)
    noisy = [np.float32(v + random.uniform(0, 0.01, v.shape)) for v in vectors]
    for vector in noisy:
        vector[0, :3] = np.array([0.0, -1.0, 0.5])[:, None]
    return noisy


@pytest.mark.parametrize("sigma", [4.0, 6.0, 20.0])
@given(seed=st.integers(0, 10_000))
def test_simcc_points_and_scores_are_numpys(device, sigma, seed):
    x, y = noisy_vectors(seed, sigma)
    output = torch.from_numpy(x).to(device), torch.from_numpy(y).to(device)
    coarse, scores = (values.cpu() for values in decode_output(output, "simcc"))
    expected, score = decode_simcc(x, y, 1.0)
    np.testing.assert_array_equal(coarse.numpy(), expected)
    np.testing.assert_array_equal(scores.numpy(), score)
    fine, again = (values.cpu() for values in decode_output(output, "simcc-dark", sigma=sigma))
    assert fine.isfinite().all()
    assert torch.equal(again, scores)
    # NumPy's blur adds in another order.
    expected, _ = decode_simcc_dark(x, y, 1.0, sigma=sigma)
    peaked = score > 0.6
    assert np.abs(fine.numpy() - expected)[peaked].max() < 2e-3


def test_simcc_is_refined_through_the_softmax_of_what_the_losses_train():
    points = np.random.default_rng(3).uniform(0, [191, 255], (6, 17, 2))
    for beta, sigma, split in ((1.0, 6.0, 2.0), (1.25, 20.0, 4.0)):
        size = {"crop_width_px": 192, "crop_height_px": 256, "split_ratio": split}
        labels = encode_simcc(points, np.ones((6, 17), bool), sigma=sigma, rounded=False, **size)
        # The output at which KL(label, softmax(beta * output)) is least, but for a constant.
        output = tuple(torch.from_numpy(np.log(np.maximum(label, 1e-30)) / beta - 3.0) for label in labels)
        found, scores = decode_output(output, "simcc-dark", sigma=sigma, softmax=beta)
        plain, _ = decode_output(output, "simcc", softmax=beta)
        assert np.abs(found.numpy() / split - points).mean() < 0.1 * np.abs(plain.numpy() / split - points).mean()
        assert 0.5 < scores.min() * sigma * np.sqrt(2 * np.pi) < 2.1


def test_one_dimensional_dark_on_the_seeds_vectors(shared, keyed):
    x, y = keyed.simcc_to_decode(split=4.0, sigma=20.0)
    true = np.stack([keyed.splitmix_uniform(f"simcc{a}", 34).reshape(2, 17) * (len(v[0, 0]) - 1) / 4
                     for a, v in enumerate((x, y))], -1)  # fmt: skip
    output = torch.from_numpy(x), torch.from_numpy(y)
    plain = np.abs(decode_output(output, "simcc")[0].numpy() / 4 - true).mean()
    refined = np.abs(decode_output(output, "simcc-dark", sigma=20.0)[0].numpy() / 4 - true).mean()
    assert refined < 0.005
    assert plain > 0.18


def test_visibility_is_that_of_both_axes(shared, keyed):
    x, y = (torch.from_numpy(array) for array in keyed.simcc_to_decode())
    with np.load(shared / "peer_golden" / "peers.npz") as golden:
        _, expected = golden["codec_mmpose:simcc_score/simcc_vis"]
    # Both take the softmax of numbers near 4500 in float32.
    np.testing.assert_allclose(simcc_visibility(x, y, sigma=6.0).numpy(), expected, atol=2e-4)
    sure, flat = torch.zeros(1, 1, 384), torch.zeros(1, 1, 512)
    sure[..., 100] = 1.0
    assert simcc_visibility(sure, flat, sigma=6.0).item() == pytest.approx(1 / 512)
    assert simcc_visibility(flat, sure, sigma=(4.9, 5.66)).item() == pytest.approx(1 / 512)


@pytest.mark.parametrize("split", [1.0, 1.5, 2.0, 2.5, 3.0, 4.0])
@pytest.mark.parametrize("decode", ["simcc", "simcc-dark"])
def test_a_mirrored_simcc_output_is_put_back_without_bias(split, decode):
    recipe = build_recipe("coco-256x192", encoding="simcc", split_ratio=split, sigma=3.0 * split)
    xy = torch.from_numpy(np.random.default_rng(6).uniform(0.2, 0.8, (60, 17, 2)) * [192, 256])
    mirrored = torch.stack([191 - xy[..., 0], xy[..., 1]], dim=-1)
    shown, labels = torch.ones(60, 17, dtype=torch.bool), SimccLabels(label="exact")
    vectors, of_mirrored = (render_targets(recipe, points, shown, simcc=labels)[0] for points in (xy, mirrored))
    shift = flip_shift_of(split)
    bins, _ = decode_output(merge_flipped(vectors, of_mirrored, range(17), shift=shift), decode, sigma=recipe.sigma)
    found = to_crop(without_flip_bias(bins, recipe, shift=shift), recipe) - xy
    assert found.mean(dim=(0, 1)).abs().max().item() < (0.01 if decode == "simcc-dark" else 0.04 / split)
    assert found.abs().max().item() < (0.02 if decode == "simcc-dark" else 0.76 / split)
    if split == 2.0:
        assert shift == -1  # SimCC's own


@pytest.mark.parametrize(("output", "decode"), [("maps", "simcc"), ("vectors", "dark"), ("maps", "mean")])
def test_a_decoding_that_does_not_fit_is_refused(output, decode):
    maps = torch.zeros(1, 1, 4, 4)
    with pytest.raises(UsageError, match="option-conflict"):
        decode_output(maps if output == "maps" else (maps[0], maps[0]), decode)


def test_the_last_stack_is_decoded():
    first, last = torch.zeros(1), torch.ones(1)
    assert final_output([first, last]) is last
    assert final_output((first, last), simcc=True) == (first, last)


@pytest.mark.parametrize("shift", [0, 1, -1])
def test_the_mirrored_pictures_output_is_put_back(shift):
    maps = torch.rand(2, 4, 5, 6)
    order = (0, 2, 1, 3)
    back = merge_flipped(torch.zeros_like(maps), maps, order, shift=shift) * 2.0
    expected = maps[:, list(order)].flip(-1).clone()
    if shift == 1:
        expected[..., 1:] = maps[:, list(order)].flip(-1)[..., :-1]
    elif shift == -1:
        expected[..., :-1] = maps[:, list(order)].flip(-1)[..., 1:]
    torch.testing.assert_close(back, expected)


def test_flipped_simcc_swaps_sides_and_mirrors_x_alone():
    x, y = torch.rand(1, 3, 8), torch.rand(1, 3, 6)
    merged = merge_flipped((torch.zeros_like(x), torch.zeros_like(y)), (x, y), (1, 0, 2), shift=0)
    torch.testing.assert_close(merged[0] * 2, x[:, [1, 0, 2]].flip(-1))
    torch.testing.assert_close(merged[1] * 2, y[:, [1, 0, 2]])


@pytest.mark.parametrize("name", ["coco-256x192", "coco-256x192-udp", "simcc-seed"])
def test_cells_go_back_to_the_picture(name):
    recipe = build_recipe(name)
    random = np.random.default_rng(0)
    points = random.uniform(0, 40, (3, 17, 2))
    crop = to_crop(torch.from_numpy(points), recipe).numpy()
    if name == "simcc-seed":
        np.testing.assert_allclose(crop, points / 4.0)
    else:
        sizes = {"crop_width_px": 192, "crop_height_px": 256, "map_width": 48, "map_height": 64}
        np.testing.assert_allclose(crop, map_to_crop(points, geometry=recipe.geometry, **sizes))
    transforms = random.normal(size=(3, 2, 3))
    expected = apply_affines(transforms, crop + 8)
    found = to_image(torch.from_numpy(crop), torch.from_numpy(transforms), context_px=8)
    np.testing.assert_allclose(found.numpy(), expected)


@pytest.mark.parametrize(
    ("name", "decode", "shift", "bias_px", "corrected_px"),
    [
        ("coco-256x192", "quarter", 1, 0.25, None),
        ("coco-256x192-dark", "dark", 0, -1.5, 0.0),
        ("coco-256x192-udp", "udp", 0, 0.0, 0.0),
        ("hourglass-seed", "argmax", 0, 0.0, None),
    ],
)
def test_the_flip_rules_leave_the_bias_that_is_documented(name, decode, shift, bias_px, corrected_px):
    recipe = build_recipe(name)
    width, height = recipe.crop_width_px, recipe.crop_height_px
    xy = torch.from_numpy(np.random.default_rng(6).uniform(0.2, 0.8, (60, 17, 2)) * [width, height])
    mirrored = torch.stack([width - 1 - xy[..., 0], xy[..., 1]], dim=-1)
    shown = torch.ones(60, 17, dtype=torch.bool)
    maps, of_mirrored = (render_targets(recipe, points, shown)[0] for points in (xy, mirrored))
    cells, _ = decode_output(merge_flipped(maps, of_mirrored, range(17), shift=shift), decode)
    found = to_crop(cells, recipe) - xy
    assert found[..., 0].mean().item() == pytest.approx(bias_px, abs=0.15)
    assert found[..., 1].mean().item() == pytest.approx(0.0, abs=0.15)
    if corrected_px is not None:
        corrected = to_crop(without_flip_bias(cells, recipe, shift=shift), recipe) - xy
        assert corrected.abs().max().item() < corrected_px + 0.1
