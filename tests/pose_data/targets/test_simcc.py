"""SimCC vectors, there and back."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_data.targets.decode import decode_bound
from pose_data.targets.simcc import decode_simcc, decode_simcc_dark, encode_simcc, recover_simcc

CROP = {"crop_width_px": 192, "crop_height_px": 256}


@settings(deadline=None, max_examples=150)
@given(
    x=st.floats(0, 191.4),
    y=st.floats(0, 255.4),
    split_and_sigma=st.sampled_from([(1.0, 2.0), (2.0, 4.0), (2.0, 6.0), (4.0, 20.0)]),
    as_uint8=st.booleans(),
)
def test_labels_give_their_keypoint_back_within_the_bound(
    x: float, y: float, split_and_sigma: tuple[float, float], as_uint8: bool
) -> None:
    split, sigma = split_and_sigma
    point, visible = np.array([[(x, y)]]), np.ones((1, 1), bool)
    labels = encode_simcc(point, visible, split_ratio=split, sigma=sigma, **CROP)
    assert labels[0].shape == (1, 1, 192 * split)
    assert labels[1].shape == (1, 1, 256 * split)
    kept = [np.rint(255 * label).astype(np.uint8) if as_uint8 else label for label in labels]
    found = recover_simcc(*kept, split_ratio=split, sigma=sigma)
    assert np.abs(found - point).max() * split <= decode_bound("simcc", sigma, "uint8")
    exact = encode_simcc(point, visible, split_ratio=split, sigma=sigma, rounded=False, **CROP)
    recovered = recover_simcc(*exact, split_ratio=split, sigma=sigma, rounded=False)
    assert np.abs(recovered - point).max() < 1e-4


def test_decoders_find_the_peak_and_dark_comes_nearer() -> None:
    points = np.random.default_rng(0).uniform(1, [190, 254], (20, 17, 2))
    visible = np.ones((20, 17), bool)
    x, y = encode_simcc(points, visible, split_ratio=2.0, sigma=6.0, rounded=False, **CROP)
    coarse, score = decode_simcc(x, y, 2.0)
    assert np.abs(coarse - points).max() <= 0.25 + 1e-6
    assert (score > 0.99).all()
    fine, same = decode_simcc_dark(x, y, 2.0, sigma=6.0)
    assert np.abs(fine - points).max() < 0.01
    np.testing.assert_array_equal(score, same)
    pulled, _ = decode_simcc_dark(x, y, 2.0, sigma=6.0, ends="zero")
    assert np.abs(pulled - points).max() > 0.1


def test_a_decoder_does_not_depend_on_the_height_of_the_peaks() -> None:
    x, y = encode_simcc(
        np.array([[(100.3, 5.7)]]), np.ones((1, 1), bool), split_ratio=2.0, sigma=6.0, rounded=False, **CROP
    )
    for factor in (0.1, 3.0):
        found, score = decode_simcc_dark(x * np.float32(factor), y * np.float32(factor), 2.0)
        assert np.abs(found - [100.3, 5.7]).max() < 0.02
        assert score[0, 0] == pytest.approx(factor, rel=0.01)


def test_invisible_far_and_not_finite_keypoints_are_empty_in_both_vectors() -> None:
    points = np.array([[(50, 50), (-30, 50), (50, 300), (np.nan, 3), (-8, 50)]], dtype=np.float64)
    visible = np.array([[False, True, True, True, True]])
    x, y = encode_simcc(points, visible, split_ratio=2.0, sigma=6.0, **CROP)
    np.testing.assert_array_equal(x.any(axis=-1), [[False, False, False, False, True]])
    np.testing.assert_array_equal(y.any(axis=-1), x.any(axis=-1))
    assert np.isnan(recover_simcc(x, y, split_ratio=2.0, sigma=6.0)[0, :4]).all()


def test_awkward_vectors_never_give_nan() -> None:
    x, y = np.zeros((1, 4, 40), np.float32), np.zeros((1, 4, 60), np.float32)
    x[0, 1], y[0, 1] = -1, -2
    x[0, 2], y[0, 2] = 0.5, 0.5
    x[0, 3, 0], y[0, 3, -1] = 1, 1
    for ends in ("fit", "zero"):
        found, score = decode_simcc_dark(x, y, 2.0, ends=ends)
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found[0, :2], 0)
        np.testing.assert_array_equal(score[0], [0, -2, 0.5, 1])


def test_labels_round_half_to_even() -> None:
    x, _ = encode_simcc(
        np.array([[(10.25, 9.0), (10.75, 9.0)]]), np.ones((1, 2), bool), split_ratio=2.0, sigma=4.0, **CROP
    )
    np.testing.assert_array_equal(x[0].argmax(axis=-1), [20, 22])
