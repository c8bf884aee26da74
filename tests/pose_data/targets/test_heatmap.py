"""Encoders of confidence maps against the definition, written out cell by cell."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_data.errors import UsageError
from pose_data.targets.heatmap import encode_heatmaps, encode_heatmaps_uint8

ENCODINGS = ("gaussian", "unbiased", "udp", "one-hot")
coordinate = st.one_of(st.floats(-20, 70), st.integers(-40, 140).map(lambda half: half / 2))
sizes = st.tuples(st.integers(2, 40), st.integers(2, 40))


def defined_value(x: int, y: int, point: tuple[float, float], encoding: str, sigma: float) -> float:
    """Return one cell by the texts of the references."""
    nearest = [math.trunc(value + 0.5) for value in point]
    if encoding == "one-hot":
        return float((x, y) == (math.floor(point[0]), math.floor(point[1])))
    if encoding != "unbiased" and max(abs(x - nearest[0]), abs(y - nearest[1])) > int(3 * sigma + 1e-6):
        return 0.0
    centre = nearest if encoding == "gaussian" else point
    return math.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * sigma**2))


@settings(deadline=None, max_examples=150)
@given(
    point=st.tuples(coordinate, coordinate),
    size=sizes,
    sigma=st.sampled_from([0.3, 0.5, 1.0, 1.5, 2.0, 3.0]),
    encoding=st.sampled_from(ENCODINGS),
)
def test_maps_are_as_defined(point: tuple[float, float], size: tuple[int, int], sigma: float, encoding: str) -> None:
    width, height = size
    maps = encode_heatmaps(
        np.array([[point]]), np.ones((1, 1), bool), encoding=encoding, map_width=width, map_height=height, sigma=sigma
    )
    expected = np.array([[defined_value(x, y, point, encoding, sigma) for x in range(width)] for y in range(height)])
    if encoding == "unbiased" and not maps.any():
        assert expected.max() <= math.exp(-4.5) + 1e-9
    else:
        assert np.abs(maps[0, 0] - expected).max() < 5e-7


@settings(deadline=None, max_examples=150)
@given(
    data=st.data(),
    size=sizes,
    sigma=st.sampled_from([0.2, 0.7, 1.0, 2.0, 3.3, 12.0]),
    encoding=st.sampled_from(ENCODINGS),
)
def test_uint8_maps_are_the_rounded_float_maps(
    data: st.DataObject, size: tuple[int, int], sigma: float, encoding: str
) -> None:
    points = np.array(data.draw(st.lists(st.tuples(coordinate, coordinate), min_size=6, max_size=6))).reshape(2, 3, 2)
    visible = np.array(data.draw(st.lists(st.booleans(), min_size=6, max_size=6))).reshape(2, 3)
    options = {"encoding": encoding, "map_width": size[0], "map_height": size[1], "sigma": sigma}
    maps = encode_heatmaps(points, visible, **options)
    out = np.full(maps.shape, 77, dtype=np.uint8)
    assert encode_heatmaps_uint8(points, visible, out=out, **options) is out
    np.testing.assert_array_equal(out, np.rint(255 * maps))
    assert not out[~visible].any()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_large_batches_and_maps_are_equal_to_single_ones(encoding: str) -> None:
    generator = np.random.default_rng(0)
    points = generator.uniform(-30, 350, (3, 13, 2))
    visible = generator.random((3, 13)) < 0.8
    options = {"encoding": encoding, "map_width": 320, "map_height": 320, "sigma": 8.0}
    maps = encode_heatmaps(points, visible, **options)
    small = encode_heatmaps_uint8(points, visible, **options)
    np.testing.assert_array_equal(small, np.rint(255 * maps))
    for person, joint in ((0, 0), (2, 12), (1, 5)):
        one = np.s_[person : person + 1, joint : joint + 1]
        np.testing.assert_array_equal(encode_heatmaps(points[one], visible[one], **options), maps[one])
        np.testing.assert_array_equal(encode_heatmaps_uint8(points[one], visible[one], **options), small[one])


def test_a_gaussian_too_wide_for_ready_made_rows_is_the_same() -> None:
    options = {"encoding": "gaussian", "map_width": 400, "map_height": 40, "sigma": 60.0}
    points, visible = np.array([[[3.4, 20.0], [399.6, 38.5]]]), np.ones((1, 2), bool)
    maps = encode_heatmaps(points, visible, **options)
    np.testing.assert_array_equal(encode_heatmaps_uint8(points, visible, **options), np.rint(255 * maps))
    assert maps[0, 0, 20, 3] == 1
    assert maps[0, 1, 39, 399] == pytest.approx(math.exp(-0.5 / 3600), abs=1e-7)
    assert not maps[0, 0, :, 3 + 181 :].any()


def test_rounding_is_toward_zero_and_half_up() -> None:
    options = {"encoding": "gaussian", "map_width": 8, "map_height": 8, "sigma": 1.0}
    for x, cell in ((2.49, 2), (2.5, 3), (-0.9, 0), (-1.4, 0)):
        maps = encode_heatmaps(np.array([[[x, 4.0]]]), np.ones((1, 1), bool), **options)
        assert maps[0, 0, 4].argmax() == cell
        assert maps[0, 0, 4, cell] == 1


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_points_that_are_not_finite_or_far_give_empty_maps(encoding: str) -> None:
    far = [[(np.nan, 3.0), (np.inf, 3.0), (3.0, -np.inf), (1e30, 3.0), (-1e30, 3.0), (3.0, 200.0)]]
    for encode in (encode_heatmaps, encode_heatmaps_uint8):
        maps = encode(np.array(far), np.ones((1, 6), bool), encoding=encoding, map_width=9, map_height=7, sigma=1.0)
        assert not maps.any()


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_no_persons_and_no_joints_are_no_maps(encoding: str) -> None:
    for shape in ((0, 17), (3, 0)):
        for encode in (encode_heatmaps, encode_heatmaps_uint8):
            maps = encode(
                np.empty((*shape, 2)), np.empty(shape, bool), encoding=encoding, map_width=4, map_height=5, sigma=1.0
            )
            assert maps.shape == (*shape, 5, 4)


def test_wrong_calls_are_usage_errors() -> None:
    point, visible = np.zeros((1, 1, 2)), np.ones((1, 1), bool)
    options = {"map_width": 4, "map_height": 4, "sigma": 1.0}
    with pytest.raises(UsageError, match="encoding"):
        encode_heatmaps(point, visible, encoding="simcc", **options)
    for out in (np.zeros((1, 1, 4, 5), np.uint8), np.zeros((1, 1, 4, 4)), np.zeros((1, 1, 4, 8), np.uint8)[..., ::2]):
        with pytest.raises(UsageError, match="out is not"):
            encode_heatmaps_uint8(point, visible, encoding="udp", out=out, **options)
