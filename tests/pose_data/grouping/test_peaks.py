"""Enlarging and peaks, against OpenCV and against loops."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_data.grouping import GROUPINGS
from pose_data.grouping.peaks import find_peaks, upsample_maps

PUBLISHED = GROUPINGS["published"]


@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("size", [(1, 1), (2, 5), (46, 82)])
def test_enlarging_is_opencv_s(factor, size):
    maps = np.random.default_rng(0).normal(size=(3, *size)).astype(np.float32)
    ours = upsample_maps(maps, factor)
    for one, small in zip(ours, maps, strict=True):
        theirs = cv2.resize(small, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
        np.testing.assert_allclose(one, theirs, rtol=0, atol=2e-6)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_peaks_are_those_of_the_plain_version(plain, data):
    shape = data.draw(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)))
    options = replace(
        PUBLISHED,
        upsample=data.draw(st.sampled_from([1, 2])),
        refine=data.draw(st.booleans()),
        peak_distance_cells=data.draw(st.sampled_from([0.0, 1.0, 1.5, 3.0])),
        peak_priority=data.draw(st.sampled_from(["leftmost", "strongest"])),
        maximum_peaks=data.draw(st.sampled_from([2, 127])),
    )
    # A random order of different numbers, and ties only where they are meant: with few levels and no rank to decide.
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    maps = generator.permuted(np.linspace(-0.5, 1.0, int(np.prod(shape)))).reshape(shape)
    if options.maximum_peaks == 127 and options.peak_priority == "leftmost" and data.draw(st.booleans()):
        maps = np.round(3 * maps) / 3
    maps = maps.astype(np.float32)
    peaks = find_peaks(maps, options)
    expected = [(index, *peak) for index, values in enumerate(maps) for peak in plain.peaks_of_map(values, options)]
    found = np.column_stack([peaks.map_index, peaks.xy_grid, peaks.score])
    np.testing.assert_allclose(found, np.array(expected).reshape(-1, 4), rtol=0, atol=1e-9)


def test_a_keypoint_between_two_cells_is_found_once():
    row = np.exp(-((np.arange(9) - 3.5) ** 2) / 2).astype(np.float32)
    maps = (row[:, None] * row)[None]
    peaks = find_peaks(maps, PUBLISHED)
    assert peaks.xy_grid.tolist() == [[3.0, 3.0]]
    better = find_peaks(maps, replace(PUBLISHED, refine=True))
    np.testing.assert_allclose(better.xy_grid, [[3.5, 3.5]], atol=1e-6)
    np.testing.assert_allclose(better.score, [1.0], atol=1e-6)


def test_a_keypoint_among_four_cells_is_found_once_even_with_noise():
    row = np.exp(-((np.arange(9) - 3.5) ** 2) / (2 * 0.875**2)).astype(np.float32)
    maps = (row[:, None] * row)[None]
    maps[0, 3, 3] += 0.02
    maps[0, 4, 4] += 0.01
    subcell = GROUPINGS["subcell"]
    assert len(find_peaks(maps, replace(subcell, peak_distance_cells=0.0)).score) == 2
    found = find_peaks(maps, subcell)
    np.testing.assert_allclose(found.xy_grid, [[3.5, 3.5]], atol=0.05)


@given(st.floats(1.0, 7.0), st.floats(1.0, 7.0), st.floats(0.2, 1.0))
def test_refinement_finds_the_top_of_a_gaussian(x, y, height):
    row, column = np.mgrid[:9, :9]
    maps = height * np.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * 0.875**2))
    peaks = find_peaks(maps[None].astype(np.float32), replace(PUBLISHED, upsample=1, refine=True))
    np.testing.assert_allclose(peaks.xy_grid, [[x, y]], atol=1e-4)
    np.testing.assert_allclose(peaks.score, [height], rtol=1e-4)


def test_empty_maps_have_no_peaks():
    peaks = find_peaks(np.zeros((18, 20, 30), np.float32), replace(PUBLISHED, refine=True))
    assert peaks.xy_grid.shape == (0, 2)
    assert peaks.map_index.shape == peaks.score.shape == (0,)
