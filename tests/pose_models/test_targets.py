"""Targets drawn in torch: equal to the NumPy encoders', the store's bytes and the references' outputs."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_data.errors import UsageError
from pose_data.geometry import crop_to_map
from pose_data.layout import map_arrays
from pose_data.maps import render_maps
from pose_data.recipes import RECIPES, build_recipe
from pose_data.targets import encode_heatmaps, encode_simcc
from pose_models.targets import SimccLabels, map_cells, render_heatmaps, render_simcc, render_targets

ENCODINGS = ("gaussian", "unbiased", "udp", "one-hot")
SIZES = ((48, 64), (12, 9), (64, 64), (3, 2))
AWKWARD = (0.0, -0.0, 0.5, -0.5, -0.49999999999999994, 1.5, np.nan, np.inf, -np.inf, 1e100, -1e100)


def ulps(ours: np.ndarray, theirs: np.ndarray) -> int:
    """Return the greatest distance of two non-negative float32 arrays, in units in the last place."""
    return int(np.abs(ours.view(np.int32).astype(np.int64) - theirs.view(np.int32)).max(initial=0))


@settings(deadline=None, max_examples=200)
@given(
    data=st.data(),
    size=st.sampled_from(SIZES),
    sigma=st.sampled_from([0.3, 1.0, 4 / 3, 2.0, 3.0, 8.0]),
    encoding=st.sampled_from(ENCODINGS),
)
def test_maps_are_the_numpy_encoders(data: st.DataObject, size: tuple[int, int], sigma: float, encoding: str) -> None:
    margin = 3 * sigma + 3
    axis = [st.one_of(st.sampled_from(AWKWARD), st.floats(-margin, length + margin)) for length in size]
    points = np.array([data.draw(st.lists(st.tuples(*axis), min_size=1, max_size=5))])
    shown = np.array([data.draw(st.lists(st.booleans(), min_size=points.shape[1], max_size=points.shape[1]))])
    options = {"encoding": encoding, "map_width": size[0], "map_height": size[1], "sigma": sigma}
    theirs = encode_heatmaps(points, shown, **options)
    ours, drawn = render_heatmaps(torch.from_numpy(points), torch.from_numpy(shown), **options)
    assert ours.dtype == torch.float32
    assert ulps(ours.numpy(), theirs) <= (0 if encoding in ("gaussian", "one-hot") else 1)
    np.testing.assert_array_equal(np.rint(255 * ours.numpy()), np.rint(255 * theirs))
    assert not ours[~drawn].any()
    assert not drawn[~torch.from_numpy(shown)].any()
    if sigma >= 1 and encoding != "unbiased":
        np.testing.assert_array_equal(drawn.numpy(), theirs.any(axis=(2, 3)))


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_two_million_values_are_equal(encoding: str, device: str) -> None:
    points = np.random.default_rng(11).uniform(-12, 76, (40, 17, 2))
    shown = np.random.default_rng(12).random((40, 17)) < 0.9
    options = {"encoding": encoding, "map_width": 48, "map_height": 64, "sigma": 2.0}
    tensors = torch.from_numpy(points).to(device), torch.from_numpy(shown).to(device)
    ours, theirs = render_heatmaps(*tensors, **options)[0].cpu().numpy(), encode_heatmaps(points, shown, **options)
    np.testing.assert_array_equal(np.rint(255 * ours), np.rint(255 * theirs))
    exact = device == "cpu" or encoding in ("gaussian", "one-hot")  # CUDA's exp has its own last bit
    assert ulps(ours, theirs) <= (0 if exact else 1)


def test_maps_too_large_for_ready_rows() -> None:
    points = np.random.default_rng(2).uniform(-40, 1240, (1, 3, 2))
    options = {"encoding": "gaussian", "map_width": 1200, "map_height": 5, "sigma": 12.0}
    points[..., 1] = [[-3.0, 2.0, 30.0]]
    ours, _ = render_heatmaps(torch.from_numpy(points), torch.ones(1, 3, dtype=torch.bool), **options)
    theirs = encode_heatmaps(points, np.ones((1, 3), bool), **options)
    assert theirs.any()
    assert ulps(ours.numpy(), theirs) <= 1


@settings(deadline=None, max_examples=100)
@given(
    data=st.data(),
    split_and_sigma=st.sampled_from([(1.0, 2.0), (2.0, 4.0), (2.0, 6.0), (4.0, 20.0), (1.5, 3.3)]),
    rounded=st.booleans(),
)
def test_simcc_labels_are_the_numpy_encoders(
    data: st.DataObject, split_and_sigma: tuple[float, float], rounded: bool
) -> None:
    axis = [st.one_of(st.sampled_from(AWKWARD), st.floats(-30, length + 30)) for length in (41, 32)]
    points = np.array([data.draw(st.lists(st.tuples(*axis), min_size=1, max_size=5))])
    shown = np.array([data.draw(st.lists(st.booleans(), min_size=points.shape[1], max_size=points.shape[1]))])
    options = {"crop_width_px": 41, "crop_height_px": 32, "split_ratio": split_and_sigma[0]}
    theirs = encode_simcc(points, shown, sigma=split_and_sigma[1], rounded=rounded, **options)
    x, y, drawn = render_simcc(
        torch.from_numpy(points), torch.from_numpy(shown), sigma=split_and_sigma[1],
        label="gaussian" if rounded else "exact", **options,
    )  # fmt: skip
    for ours, their in zip((x, y), theirs, strict=True):
        assert ulps(ours.numpy(), their) <= 1
        np.testing.assert_array_equal(np.rint(255 * ours.numpy()), np.rint(255 * their))
        assert not ours[~drawn].any()


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.rows == "persons"])
def test_a_recipes_targets_are_the_stores_bytes(name: str) -> None:
    recipe = build_recipe(name)
    generator = np.random.default_rng(5)
    size = np.array([recipe.crop_width_px, recipe.crop_height_px])
    xy_crop = generator.uniform(-0.15, 1.15, (3, 17, 2)) * size
    shown = generator.random((3, 17)) < 0.8
    sizes = {
        "crop_width_px": recipe.crop_width_px, "crop_height_px": recipe.crop_height_px,
        "map_width": recipe.map_width, "map_height": recipe.map_height,
    }  # fmt: skip
    xy_map = np.round(crop_to_map(xy_crop, geometry=recipe.geometry, **sizes), 9)
    np.testing.assert_array_equal(map_cells(recipe, torch.from_numpy(xy_crop)).numpy(), xy_map)
    stored = {layout.name: np.empty((3, *layout.row_shape), layout.dtype) for layout in map_arrays(recipe, 17)}
    render_maps(recipe, xy_crop, xy_map, shown, stored)
    targets, weights = render_targets(recipe, torch.from_numpy(xy_crop), torch.from_numpy(shown))
    rendered = targets if isinstance(targets, tuple) else (targets,)
    for ours, theirs in zip(rendered, stored.values(), strict=True):
        np.testing.assert_array_equal((255 * ours).round().to(torch.uint8).numpy(), theirs)
    first = next(iter(stored.values())).reshape(3, 17, -1)
    assert weights.dtype == torch.float32
    assert not first[weights.numpy() == 0].any()
    assert (weights.numpy()[~shown] == 0).all()
    assert 0 < weights.sum() < 51


def test_hard_labels_and_smoothing() -> None:
    points = torch.tensor([[[10.2, 5.8], [10.25, 5.75], [-0.3, 3.0], [20.0, 3.0], [torch.nan, 3.0]]])
    shown = torch.ones(1, 5, dtype=torch.bool)
    options = {"crop_width_px": 20, "crop_height_px": 12, "split_ratio": 2.0, "sigma": 4.0, "label": "hard"}
    x, y, drawn = render_simcc(points, shown, **options)
    assert drawn.tolist() == [[True, True, False, False, False]]
    # 20.4 -> 20 and 20.5 -> 20 (half to even); -0.6 -> -1 is outside.
    assert x[0, :2].argmax(-1).tolist() == [20, 20]
    assert y[0, :2].argmax(-1).tolist() == [12, 12]
    assert x.sum() == y.sum() == 2
    smooth, _, _ = render_simcc(points, shown, smoothing=0.1, **options)
    torch.testing.assert_close(smooth[0, :2].sum(-1), torch.ones(2))
    assert smooth[0, 0, 20] == pytest.approx(0.9)
    assert smooth[0, 0, 0] == pytest.approx(0.1 / 39)
    assert not smooth[0, 2:].any()


def test_both_axes_may_have_their_own_sigma() -> None:
    points, shown = torch.tensor([[[10.0, 6.0]]]), torch.ones(1, 1, dtype=torch.bool)
    options = {"crop_width_px": 20, "crop_height_px": 12, "split_ratio": 2.0}
    x, y, _ = render_simcc(points, shown, sigma=(2.0, 3.0), normalised=True, **options)
    assert x.max() == pytest.approx(1 / (2 * np.sqrt(2 * np.pi)))
    assert y.max() == pytest.approx(1 / (3 * np.sqrt(2 * np.pi)))


def test_unknown_names_are_usage_errors() -> None:
    points, shown = torch.zeros(1, 1, 2), torch.ones(1, 1, dtype=torch.bool)
    with pytest.raises(UsageError, match="encoding"):
        render_heatmaps(points, shown, encoding="paf", map_width=4, map_height=4, sigma=1.0)
    with pytest.raises(UsageError, match="label"):
        render_simcc(points, shown, crop_width_px=4, crop_height_px=4, split_ratio=1.0, sigma=1.0, label="soft")


Golden = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def golden(shared: Path) -> Golden:
    with np.load(shared / "peer_golden" / "peers.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if name.startswith("codec_")}


def kept(golden: Golden, name: str, ours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return our values and the golden ones where the golden file kept them."""
    if name in golden:
        return ours.reshape(-1), golden[name].reshape(-1)
    return ours.reshape(-1)[:: int(golden[f"{name}|stat"][3])], golden[f"{name}|every"]


@pytest.mark.parametrize(
    ("array", "recipe"),
    [
        ("codec_msra:target/sigma2", "coco-256x192"),
        ("codec_msra:target/sigma3_384x288", "coco-384x288"),
        ("codec_mmpose:target/msra", "coco-256x192"),
        ("codec_dark:target/sigma2", "coco-256x192-dark"),
        ("codec_udp:target/sigma2", "coco-256x192-udp"),
        ("codec_mmpose:target/udp", "coco-256x192-udp"),
    ],
)
def test_targets_of_the_references(golden: Golden, keyed: ModuleType, array: str, recipe: str) -> None:
    xy_crop, visible = keyed.joints_in_input()
    maps, weights = render_targets(build_recipe(recipe), torch.from_numpy(xy_crop), torch.from_numpy(visible > 0))
    for index in range(3):
        ours, theirs = kept(golden, f"{array}/{index}", maps[index].numpy())
        assert np.abs(ours - theirs).max() <= 2e-6
        weight = golden.get(f"{array.replace('target', 'target_weight')}/{index}")
        if weight is not None and "gaussian" in build_recipe(recipe).encoding:
            np.testing.assert_array_equal(weights[index].numpy(), weight.reshape(-1))


@pytest.mark.parametrize("split", [1.0, 2.0])
def test_hard_labels_of_simcc(golden: Golden, keyed: ModuleType, split: float) -> None:
    xy_crop, visible = keyed.joints_in_input()
    x, y, drawn = render_simcc(
        torch.from_numpy(xy_crop), torch.from_numpy(visible > 0), crop_width_px=192, crop_height_px=256,
        split_ratio=split, sigma=4.0, label="hard",
    )  # fmt: skip
    bins = torch.stack([x.argmax(-1), y.argmax(-1)], dim=-1).numpy()
    for index in range(3):
        weight = golden[f"codec_simcc:hard/split{split}/{index}/weight"].reshape(-1) > 0
        np.testing.assert_array_equal(drawn[index].numpy(), weight)
        theirs = golden[f"codec_simcc:hard/split{split}/{index}/joints"]
        np.testing.assert_array_equal(bins[index][weight], theirs[weight])


@pytest.mark.parametrize(
    ("array", "names", "label", "options"),
    [
        ("codec_simcc:sa/split2.0_sigma6", ("x", "y"), "exact", {"sigma": 6.0, "normalised": True}),
        ("codec_mmpose:simcc_target/simcc", ("keypoint_x_labels", "keypoint_y_labels"), "gaussian",
         {"sigma": 6.0, "normalised": True}),
        ("codec_mmpose:simcc_target/rtm", ("keypoint_x_labels", "keypoint_y_labels"), "gaussian",
         {"sigma": (4.9, 5.66)}),
        ("codec_mmpose:simcc_target/standard", ("keypoint_x_labels", "keypoint_y_labels"), "hard",
         {"sigma": 6.0, "smoothing": 0.1}),
    ],
)  # fmt: skip
def test_labels_of_simcc_and_mmpose(
    golden: Golden, keyed: ModuleType, array: str, names: tuple[str, str], label: str, options: dict
) -> None:
    xy_crop, visible = keyed.joints_in_input()
    x, y, drawn = render_simcc(
        torch.from_numpy(xy_crop), torch.from_numpy(visible > 0), crop_width_px=192, crop_height_px=256,
        split_ratio=2.0, label=label, **options,
    )  # fmt: skip
    for index in range(3):
        weight_name = f"{array}/{index}/" + ("weight" if names[0] == "x" else "keypoint_weights")
        # What is left out near the border is decided in crop pixels by some; compared is what both draw.
        both = (golden[weight_name].reshape(-1) > 0) & drawn[index].numpy()
        assert both.sum() >= 10
        for name, label_values in zip(names, (x, y), strict=True):
            chosen = np.repeat(both, label_values.shape[-1]).reshape(label_values[index].shape)
            ours, theirs = kept(golden, f"{array}/{index}/{name}", label_values[index].numpy())
            compared, _ = kept(golden, f"{array}/{index}/{name}", chosen)
            assert np.abs(ours - theirs)[compared].max() <= 2e-6


def test_rtmposes_labels_are_wider_along_y() -> None:
    labels = SimccLabels(wider_along_y=True)
    assert labels.sigmas(build_recipe("coco-256x192", sigma=4.9)) == (4.9, 5.66)
    assert labels.sigmas(build_recipe("coco-384x288", sigma=6.0)) == (6.0, 6.93)
    assert SimccLabels().sigmas(build_recipe("coco-256x192", sigma=4.9)) == (4.9, 4.9)
    recipe = build_recipe("coco-256x192", encoding="simcc", sigma=4.9)
    point, shown = torch.tensor([[[96.0, 128.0]]]), torch.ones(1, 1, dtype=torch.bool)
    (x, y), _ = render_targets(recipe, point, shown, simcc=labels)
    assert x[0, 0, 192 + 5].item() == pytest.approx(np.exp(-25 / (2 * 4.9**2)))
    assert y[0, 0, 256 + 5].item() == pytest.approx(np.exp(-25 / (2 * 5.66**2)))
