"""Training targets in the stored type: uint8 within half a step of the exact maps."""

import numpy as np
import pytest

from pose_data.layout import map_arrays
from pose_data.maps import render_maps
from pose_data.recipes import build_recipe
from pose_data.targets.heatmap import encode_heatmaps
from pose_data.targets.simcc import encode_simcc

POINTS = np.random.default_rng(0).uniform(-10, 60, (6, 4, 2))
SHOWN = np.random.default_rng(1).random((6, 4)) < 0.8


def rendered(recipe, xy_crop=POINTS * 2, xy_map=POINTS):
    out = {
        layout.name: np.full((6, *layout.row_shape), 9, layout.dtype)
        for layout in map_arrays(recipe, 4)
    }  # fmt: skip
    render_maps(recipe, xy_crop, xy_map, SHOWN, out)
    return out


@pytest.mark.parametrize("encoding", ["gaussian", "unbiased", "udp", "one-hot"])
@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_heatmaps(encoding, dtype):
    recipe = build_recipe(encoding=encoding, map_dtype=dtype, map_width=40, map_height=50)
    exact = encode_heatmaps(POINTS, SHOWN, encoding=encoding, map_width=40, map_height=50, sigma=2.0)
    maps = rendered(recipe)["heatmaps"]
    assert maps.dtype == np.dtype(dtype)
    scale, bound = (255.0, 0.5 / 255) if dtype == "uint8" else (1.0, 2**-11 if dtype == "float16" else 0.0)
    assert np.abs(maps / scale - exact).max() <= bound + 1e-7
    assert not maps[~SHOWN].any()
    assert maps[SHOWN].any()


@pytest.mark.parametrize("dtype", ["uint8", "float16", "float32"])
def test_simcc_vectors(dtype):
    recipe = build_recipe(
        encoding="simcc", map_dtype=dtype, crop_width_px=40, crop_height_px=48, split_ratio=2.0, sigma=6.0
    )
    exact = encode_simcc(POINTS, SHOWN, crop_width_px=40, crop_height_px=48, split_ratio=2.0, sigma=6.0)
    vectors = rendered(recipe, xy_crop=POINTS)
    scale, bound = (255.0, 0.5 / 255) if dtype == "uint8" else (1.0, 2**-11 if dtype == "float16" else 0.0)
    for name, expected in zip(("simcc_x", "simcc_y"), exact, strict=True):
        assert vectors[name].shape == expected.shape
        assert np.abs(vectors[name] / scale - expected).max() <= bound + 1e-7


def test_a_batch_gives_what_its_rows_give_one_by_one():
    for encoding in ("gaussian", "unbiased", "udp", "one-hot"):
        recipe = build_recipe(encoding=encoding)
        (layout,) = map_arrays(recipe, 4)
        whole = rendered(recipe)["heatmaps"]
        for row in range(6):
            one = np.empty((1, *layout.row_shape), np.uint8)
            part = slice(row, row + 1)
            render_maps(recipe, POINTS[part] * 4, POINTS[part], SHOWN[part], {"heatmaps": one})
            np.testing.assert_array_equal(one[0], whole[row])
