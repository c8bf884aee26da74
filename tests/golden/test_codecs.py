"""Affines, targets and decoders against what the reference implementations computed (shared/peer_golden)."""

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pose_data.geometry import apply_affines, crop_to_map, crop_transforms, invert_affines, map_to_crop
from pose_data.targets.decode import blur_maps, decode_argmax, decode_dark, decode_quarter, decode_udp
from pose_data.targets.heatmap import encode_heatmaps, encode_heatmaps_uint8
from pose_data.targets.simcc import decode_simcc, decode_simcc_dark, encode_simcc

CROP = {"crop_width_px": 192, "crop_height_px": 256}
Golden = Mapping[str, np.ndarray]


@pytest.fixture(scope="module")
def golden(shared: Path) -> Golden:
    with np.load(shared / "peer_golden" / "peers.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if name.startswith("codec_")}


def greatest_difference(golden: Golden, name: str, ours: np.ndarray) -> float:
    """Return max |ours - golden| over the kept values of a golden array, whether whole or thinned."""
    if name in golden:
        return float(np.abs(ours - golden[name]).max())
    kept, step = golden[f"{name}|every"], int(golden[f"{name}|stat"][3])
    thinned = ours.reshape(-1)[::step]
    assert thinned.shape == kept.shape
    assert ours.size == golden[f"{name}|stat"][2]
    return float(np.abs(thinned - kept).max())


def assert_affine(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert np.abs(ours - theirs)[:, :2].max() <= 1e-6
    assert np.abs(ours - theirs)[:, 2].max() <= 1e-4


@pytest.mark.parametrize("family", ["msra", "dark"])
def test_affines_of_msra_and_dark(golden: Golden, keyed: ModuleType, family: str) -> None:
    turned = {"geometry": family, "rotation_deg": keyed.ROTS}
    crop = crop_transforms(keyed.BOXES, **turned, **CROP)
    small = crop_transforms(keyed.BOXES, **turned, crop_width_px=48, crop_height_px=64)
    back = invert_affines(crop)
    for index in range(len(keyed.BOXES)):
        assert_affine(crop[index], golden[f"codec_{family}:affine/{index}/input"])
        assert_affine(small[index], golden[f"codec_{family}:affine/{index}/heatmap"])
        assert_affine(back[index], golden[f"codec_{family}:affine/{index}/inverse"])


def test_affines_of_udp_and_mmpose(golden: Golden, keyed: ModuleType) -> None:
    udp = crop_transforms(keyed.BOXES, geometry="udp", rotation_deg=keyed.ROTS, **CROP)
    msra = crop_transforms(keyed.BOXES, geometry="msra", rotation_deg=keyed.ROTS, **CROP)
    back = invert_affines(udp)
    for index in range(len(keyed.BOXES)):
        # UDP's repository keeps crop -> image.
        assert_affine(back[index], golden[f"codec_udp:affine/{index}/input"])
        assert_affine(udp[index], golden[f"codec_mmpose:affine/{index}/udp"])
        assert_affine(msra[index], golden[f"codec_mmpose:affine/{index}/msra"])


@pytest.mark.parametrize(
    ("array", "geometry"),
    [
        ("codec_msra:joints_in_crop/{}", "msra"),
        ("codec_dark:joints_in_crop/{}", "dark"),
        ("codec_udp:joints_in_crop/{}", "udp"),
        ("codec_mmpose:joints_in_crop/{}/msra", "msra"),
        ("codec_mmpose:joints_in_crop/{}/udp", "udp"),
    ],
)
def test_joints_in_the_crop(golden: Golden, keyed: ModuleType, array: str, geometry: str) -> None:
    affines = crop_transforms(keyed.BOXES, geometry=geometry, rotation_deg=keyed.ROTS, **CROP)
    ours = apply_affines(affines, keyed.joints_in_image()[0])
    for index in range(len(keyed.BOXES)):
        assert np.abs(ours[index] - golden[array.format(index)]).max() <= 1e-4


TARGETS = [
    ("codec_msra:target/sigma2", "msra", "gaussian", 2.0),
    ("codec_msra:target/sigma3_384x288", "msra", "gaussian", 3.0),
    ("codec_mmpose:target/msra", "msra", "gaussian", 2.0),
    ("codec_dark:target/sigma2", "dark", "unbiased", 2.0),
    ("codec_dark:target/sigma3_384x288", "dark", "unbiased", 3.0),
    ("codec_mmpose:target/msra_unbiased", "msra", "unbiased", 2.0),
    ("codec_udp:target/sigma2", "udp", "udp", 2.0),
    ("codec_udp:target/sigma3_384x288", "udp", "udp", 3.0),
    ("codec_mmpose:target/udp", "udp", "udp", 2.0),
]


@pytest.mark.parametrize(("array", "geometry", "encoding", "sigma"), TARGETS)
def test_targets(golden: Golden, keyed: ModuleType, array: str, geometry: str, encoding: str, sigma: float) -> None:
    crop_width, crop_height = (192, 256) if sigma == 2.0 else (288, 384)
    size = {"map_width": crop_width // 4, "map_height": crop_height // 4}
    xy_crop, visible = keyed.joints_in_input()
    xy_map = crop_to_map(xy_crop, geometry=geometry, crop_width_px=crop_width, crop_height_px=crop_height, **size)
    maps = encode_heatmaps(xy_map, visible > 0, encoding=encoding, sigma=sigma, **size)
    for index in range(3):
        assert greatest_difference(golden, f"{array}/{index}", maps[index]) <= 2e-6
    small = encode_heatmaps_uint8(xy_map, visible > 0, encoding=encoding, sigma=sigma, **size)
    np.testing.assert_array_equal(small, np.rint(255 * maps))


SIMCC_TARGETS = [
    ("codec_simcc:sa/split1.0_sigma2/{}/x", "codec_simcc:sa/split1.0_sigma2/{}/weight", 0, 1.0, 2.0, "normalised"),
    ("codec_simcc:sa/split1.0_sigma2/{}/y", "codec_simcc:sa/split1.0_sigma2/{}/weight", 1, 1.0, 2.0, "normalised"),
    ("codec_simcc:sa/split2.0_sigma4/{}/x", "codec_simcc:sa/split2.0_sigma4/{}/weight", 0, 2.0, 4.0, "normalised"),
    ("codec_simcc:sa/split2.0_sigma6/{}/y", "codec_simcc:sa/split2.0_sigma6/{}/weight", 1, 2.0, 6.0, "normalised"),
    ("codec_mmpose:simcc_target/simcc/{}/keypoint_x_labels", "", 0, 2.0, 6.0, "rounded normalised"),
    ("codec_mmpose:simcc_target/simcc/{}/keypoint_y_labels", "", 1, 2.0, 6.0, "rounded normalised"),
    ("codec_mmpose:simcc_target/rtm/{}/keypoint_x_labels", "codec_mmpose:simcc_target/rtm/{}/keypoint_weights",
     0, 2.0, 4.9, "rounded"),
    ("codec_mmpose:simcc_target/rtm/{}/keypoint_y_labels", "codec_mmpose:simcc_target/rtm/{}/keypoint_weights",
     1, 2.0, 5.66, "rounded"),
    ("codec_seed_simcc:target/{}/keypoints_x_labels", "", 0, 4.0, 20.0, "rounded"),
    ("codec_seed_simcc:target/{}/keypoints_y_labels", "", 1, 4.0, 20.0, "rounded"),
]  # fmt: skip


@pytest.mark.parametrize(("array", "weights", "axis", "split", "sigma", "kind"), SIMCC_TARGETS)
def test_simcc_targets(
    golden: Golden, keyed: ModuleType, array: str, weights: str, axis: int, split: float, sigma: float, kind: str
) -> None:
    xy_crop, visible = keyed.joints_in_input()
    options = {"split_ratio": split, "sigma": sigma, "rounded": "rounded" in kind, **CROP}
    labels = encode_simcc(xy_crop, visible > 0, **options)[axis]
    if "normalised" in kind:
        labels = labels / (sigma * np.sqrt(2 * np.pi))
    for index in range(3):
        ours = labels[index]
        if weights:
            # Which labels are left out near the border is decided in crop pixels by SimCC's repository, and
            # by both sigmas in RTMPose's; compared are those that both draw.
            both = (golden[weights.format(index)].reshape(-1) > 0) & ours.any(axis=-1)
            assert both.sum() >= 10
            ours = _where_both(golden, array.format(index), ours, both)
        assert greatest_difference(golden, array.format(index), ours) <= 2e-6


def _where_both(golden: Golden, name: str, ours: np.ndarray, both: np.ndarray) -> np.ndarray:
    """Return ``ours`` with the golden values put in where one side leaves the label out."""
    filled = ours.copy()
    flat, left_out = filled.reshape(-1), np.repeat(~both, ours.shape[-1])
    step = int(golden[f"{name}|stat"][3]) if f"{name}|stat" in golden else 1
    kept = golden[f"{name}|every"] if step > 1 else golden[name].reshape(-1)
    places = np.arange(0, flat.size, step)
    chosen = left_out[places]
    flat[places[chosen]] = kept[chosen]
    return filled


def in_image(xy_map: np.ndarray, keyed: ModuleType, geometry: str) -> np.ndarray:
    small = crop_transforms(keyed.BOXES[:1], geometry=geometry, crop_width_px=48, crop_height_px=64)
    return apply_affines(np.repeat(invert_affines(small), len(xy_map), axis=0), xy_map)


def test_argmax_and_scores(golden: Golden, keyed: ModuleType) -> None:
    maps, _ = keyed.heatmaps_to_decode()
    points, score = decode_argmax(maps)
    for family in ("msra", "dark", "udp"):
        np.testing.assert_array_equal(points, golden[f"codec_{family}:decode/argmax"])
        np.testing.assert_array_equal(score, golden[f"codec_{family}:decode/maxval"][..., 0])


def test_decoders_of_the_repositories(golden: Golden, keyed: ModuleType) -> None:
    maps, _ = keyed.heatmaps_to_decode()
    for family, decode in (("msra", decode_quarter), ("dark", decode_dark), ("udp", decode_udp)):
        ours = in_image(decode(maps)[0], keyed, family)
        theirs = golden[f"codec_{family}:decode/final_image"]
        told = np.isfinite(theirs)
        # UDP's own gives NaN on the three maps without a peak.
        assert told.sum() >= told.size - 6
        assert np.abs(ours - theirs)[told].max() <= 1e-4
        assert np.isfinite(ours).all()


def test_decoders_of_mmpose(golden: Golden, keyed: ModuleType) -> None:
    maps, _ = keyed.heatmaps_to_decode()
    size = {"geometry": "msra", "map_width": 48, "map_height": 64, **CROP}
    cell = decode_argmax(maps)[0]
    peaked = decode_argmax(maps)[1] > 0
    # mmpose steps on one axis alone at the border, where the MSRA code takes no step.
    inner = peaked & ((cell > 1) & (cell < [46, 62])).all(axis=-1)
    quarter = map_to_crop(decode_quarter(maps)[0], **size)
    dark = map_to_crop(decode_dark(maps)[0], **size)
    udp = decode_udp(maps, modulation="mmpose")[0] / [47, 63] * [192, 256]
    for person in range(len(maps)):
        theirs = {name: golden[f"codec_mmpose:decode/{name}/{person}"][0] for name in ("msra", "msra_unbiased", "udp")}
        assert np.abs(quarter[person] - theirs["msra"])[inner[person]].max() <= 1e-4
        assert np.abs(dark[person] - theirs["msra_unbiased"])[peaked[person]].max() <= 1e-4
        assert np.abs(udp[person] - theirs["udp"])[peaked[person]].max() <= 1e-4


def test_the_blur(golden: Golden, keyed: ModuleType) -> None:
    maps, _ = keyed.heatmaps_to_decode()
    blurred = blur_maps(maps, kernel=11, border="zero")
    blurred *= (maps.max(axis=(2, 3)) / np.where(maps.max(axis=(2, 3)) > 0, blurred.max(axis=(2, 3)), 1))[
        ..., None, None
    ]
    for name in ("codec_dark:decode/blurred11", "codec_mmpose:blur11"):
        kept, step = golden[f"{name}|every"], int(golden[f"{name}|stat"][3])
        # The empty and the negative map have no maximum to be scaled to.
        usable = np.repeat(maps.max(axis=(2, 3)).reshape(-1) > 0, 48 * 64)[::step]
        assert np.abs(blurred.reshape(-1)[::step] - kept)[usable].max() <= 1e-6


def test_mean_decode_errors(keyed: ModuleType) -> None:
    maps, centres = keyed.heatmaps_to_decode()
    for decode, published in ((decode_argmax, 0.334), (decode_quarter, 0.215), (decode_dark, 0.092)):
        # The fourth person has the maps without a peak; the published figures leave it out.
        error = np.linalg.norm(decode(maps)[0] - centres, axis=-1)[:3].mean()
        assert round(float(error), 3) <= published


def test_simcc_decoders(golden: Golden, keyed: ModuleType) -> None:
    x, y = keyed.simcc_to_decode()
    points, score = decode_simcc(x, y, 2.0)
    np.testing.assert_array_equal(points, golden["codec_mmpose:simcc_decode/simcc"])
    np.testing.assert_array_equal(points, golden["codec_simcc:decode/input"])
    np.testing.assert_array_equal(score, golden["codec_mmpose:simcc_score/simcc"])
    refined, _ = decode_simcc_dark(x, y, 2.0, sigma=6.0, ends="zero")
    assert np.abs(refined - golden["codec_mmpose:simcc_decode/simcc_dark"]).max() <= 1e-4


def test_one_dimensional_dark_is_far_better_than_the_seed(golden: Golden, keyed: ModuleType) -> None:
    x, y = keyed.simcc_to_decode(split=4.0, sigma=20.0)
    lengths = (x.shape[-1], y.shape[-1])
    true = np.stack([keyed.splitmix_uniform(f"simcc{a}", 34).reshape(2, 17) * (lengths[a] - 1) for a in (0, 1)], -1) / 4
    seed = np.abs(golden["codec_seed_simcc:decode/keypoints"] - true).mean()
    plain = np.abs(decode_simcc(x, y, 4.0)[0] - true).mean()
    ours = np.abs(decode_simcc_dark(x, y, 4.0, sigma=20.0)[0] - true).mean()
    assert seed > 0.56
    assert ours < 0.1 * plain < 0.1 * seed
