"""Decoders of confidence maps, and the recovery of keypoints within the stated bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_data.errors import UsageError
from pose_data.targets.decode import (
    blur_maps,
    decode_argmax,
    decode_bound,
    decode_bounds,
    decode_dark,
    decode_quarter,
    decode_udp,
    recover_keypoints,
)
from pose_data.targets.heatmap import encode_heatmaps, encode_heatmaps_uint8

DECODERS = (decode_argmax, decode_quarter, decode_dark, decode_udp)
ENCODINGS = ("gaussian", "unbiased", "udp", "one-hot")


def stored_maps(points: np.ndarray, encoding: str, size: tuple[int, int], sigma: float, dtype: str) -> np.ndarray:
    options = {"encoding": encoding, "map_width": size[0], "map_height": size[1], "sigma": sigma}
    visible = np.ones(points.shape[:2], bool)
    if dtype == "uint8":
        return encode_heatmaps_uint8(points, visible, **options)
    return encode_heatmaps(points, visible, **options).astype(dtype)


@settings(deadline=None, max_examples=300)
@given(
    data=st.data(),
    size=st.sampled_from([(48, 64), (72, 96), (64, 64), (12, 9), (130, 120)]),
    sigma=st.sampled_from([0.5, 1.0, 1.3, 2.0, 3.0, 8.0]),
    encoding=st.sampled_from(ENCODINGS),
    dtype=st.sampled_from(["uint8", "float16", "float32"]),
)
def test_a_stored_map_gives_its_keypoint_back_within_the_bound(
    data: st.DataObject, size: tuple[int, int], sigma: float, encoding: str, dtype: str
) -> None:
    margin = 3 * sigma + 3
    place = st.tuples(st.floats(-margin, size[0] + margin), st.floats(-margin, size[1] + margin))
    points = np.array([data.draw(st.lists(place, min_size=1, max_size=4))])
    found = recover_keypoints(stored_maps(points, encoding, size, sigma, dtype), encoding=encoding, sigma=sigma)
    bound = decode_bounds(points, encoding=encoding, sigma=sigma, dtype=dtype, map_width=size[0], map_height=size[1])
    said = np.isfinite(bound)
    assert (np.abs(found - points)[said] <= bound[said]).all()


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_the_bound_holds_for_every_keypoint_inside_the_map(encoding: str, dtype: str) -> None:
    generator = np.random.default_rng(7)
    for size, sigma in (((48, 64), 2.0), ((72, 96), 3.0), ((64, 64), 1.0)):
        low = 0.0 if encoding == "one-hot" else -0.499
        points = generator.uniform(low, np.array(size) - 1 - low, (30, 17, 2))
        found = recover_keypoints(stored_maps(points, encoding, size, sigma, dtype), encoding=encoding, sigma=sigma)
        assert np.abs(found - points).max() <= decode_bound(encoding, sigma, dtype)


def test_full_size_maps_give_their_keypoints_back() -> None:
    points = np.random.default_rng(3).uniform(-6, 325, (2, 13, 2))
    maps = stored_maps(points, "unbiased", (320, 320), 8.0, "uint8")
    found = recover_keypoints(maps, encoding="unbiased", sigma=8.0)
    assert np.abs(found - points).max() < 0.02


def test_a_keypoint_half_a_cell_off_is_noticed() -> None:
    points = np.random.default_rng(4).uniform(2, 45, (1, 17, 2))
    maps = stored_maps(points, "udp", (48, 64), 2.0, "uint8")
    difference = np.abs(recover_keypoints(maps, encoding="udp", sigma=2.0) - (points + 0.5))
    assert difference.min() > 10 * decode_bound("udp", 2.0, "uint8")


def test_bounds_say_where_little_is_stored() -> None:
    points = np.array([[[10.0, 10.0], [-1.2, 10.0], [-5.9, 10.0], [np.nan, 1.0], [60.0, 10.0]]])
    options = {"sigma": 2.0, "dtype": "uint8", "map_width": 48, "map_height": 64}
    rounded = decode_bounds(points, encoding="gaussian", **options)
    np.testing.assert_allclose(rounded[0, :2], [[0.501, 0.501], [1.501, 0.501]])
    assert np.isinf(rounded[0, 2:]).all()
    fitted = decode_bounds(points, encoding="unbiased", **options)
    assert fitted[0, 0, 0] == decode_bound("unbiased", 2.0, "uint8") < fitted[0, 1, 0] < 0.2
    assert np.isinf(decode_bounds(points, encoding="one-hot", **options)[0, 1:]).all()


def test_empty_maps_are_not_recovered() -> None:
    for encoding in ENCODINGS:
        assert np.isnan(recover_keypoints(np.zeros((1, 2, 9, 9), np.uint8), encoding=encoding, sigma=2.0)).all()


@pytest.mark.parametrize("decode", DECODERS)
def test_awkward_maps_never_give_nan(decode: object) -> None:
    maps = np.zeros((1, 6, 16, 12), np.float32)
    maps[0, 1], maps[0, 2], maps[0, 3, 5, 5], maps[0, 4] = -1, 0.5, 1e-30, -1e-20
    maps[0, 5, 0, 0] = 1
    with np.errstate(all="raise", under="ignore"):
        points, score = decode(maps)
    assert np.isfinite(points).all()
    np.testing.assert_array_equal(points[0, [0, 1, 4]], 0)
    np.testing.assert_array_equal(score[0], maps[0].max(axis=(1, 2)))


def test_sharper_decoders_come_nearer() -> None:
    points = np.random.default_rng(5).uniform(6, 40, (8, 17, 2))
    maps = stored_maps(points, "unbiased", (48, 64), 2.0, "float32")
    errors = [np.linalg.norm(decode(maps)[0] - points, axis=-1).mean() for decode in DECODERS]
    assert errors[0] > errors[1] > 5 * max(errors[2:])
    assert errors[2] < 0.02


def test_a_blur_keeps_constants_inside_and_mirrors_or_zeroes_the_border() -> None:
    ones = np.ones((1, 1, 20, 20), np.float32)
    np.testing.assert_allclose(blur_maps(ones, border="reflect"), 1, atol=1e-6)
    zeroed = blur_maps(ones, border="zero")[0, 0]
    assert zeroed[10, 10] == pytest.approx(1, abs=1e-6)
    assert zeroed[0, 10] == pytest.approx(0.5 + 0.5 * 0.2, abs=0.01)
    spot = np.zeros((1, 1, 20, 20), np.float32)
    spot[0, 0, 10, 10] = 1
    blurred = blur_maps(spot)[0, 0]
    assert blurred[10, 12] / blurred[10, 10] == pytest.approx(np.exp(-(2**2) / (2 * 2.0**2)), abs=1e-6)
    np.testing.assert_allclose(blurred, blurred.T, atol=1e-8)


def test_wrong_calls_are_usage_errors() -> None:
    maps = np.zeros((1, 1, 20, 20), np.float32)
    for kernel in (4, 9, 1):
        with pytest.raises(UsageError, match="kernel"):
            blur_maps(maps, kernel=kernel)
    with pytest.raises(UsageError, match="encoding"):
        recover_keypoints(maps, encoding="paf", sigma=2.0)
    for encoding, dtype in (("paf", "uint8"), ("udp", "int64")):
        with pytest.raises(UsageError, match="no bound"):
            decode_bound(encoding, 2.0, dtype)
