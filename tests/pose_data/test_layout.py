"""The table of arrays, against the shapes and types that the store's format names."""

import numpy as np
import pytest

from pose_data.layout import MAP_ARRAYS, map_arrays, split_arrays
from pose_data.recipes import RECIPES, build_recipe

COLUMNS = {
    "keypoints": ((17, 3), "float32"), "transforms": ((2, 3), "float64"), "annotation_id": ((), "int64"),
    "image_id": ((), "int64"), "bbox_xywh": ((4,), "float64"), "area": ((), "float64"), "score": ((), "float64"),
    "iscrowd": ((), "bool"), "kept": ((), "bool"),
}  # fmt: skip


def by_name(recipe, keypoint_count=17):
    return {layout.name: layout for layout in split_arrays(recipe, keypoint_count)}


def test_the_arrays_of_the_usual_recipe():
    layouts = by_name(build_recipe())
    assert list(layouts) == ["images", "heatmaps", *COLUMNS]
    assert (layouts["images"].row_shape, layouts["images"].dtype) == ((256, 192, 3), np.uint8)
    assert (layouts["heatmaps"].row_shape, layouts["heatmaps"].dtype) == ((17, 64, 48), np.uint8)
    assert {name: (layouts[name].row_shape, layouts[name].dtype.name) for name in COLUMNS} == COLUMNS
    assert [name for name, layout in layouts.items() if layout.sharded] == ["images", "heatmaps"]
    assert layouts["images"].row_bytes() == 147456
    assert layouts["keypoints"].row_bytes() == 204
    assert layouts["area"].row_bytes() == 8


@pytest.mark.parametrize("name", RECIPES)
def test_every_array_of_every_recipe_names_its_axes(name):
    for layout in split_arrays(RECIPES[name], 13):
        assert len(layout.dimensions) == 1 + len(layout.row_shape)
        assert layout.dimensions[0] == ("person" if layout.of_persons else "row")
        assert len(set(layout.dimensions)) == len(layout.dimensions)


@pytest.mark.parametrize(
    ("codec", "chunk_codec"),
    [("lossless", "blosc-lz4-bitshuffle"), ("fast", "blosc-lz4"), ("raw", "none"), ("jpeg", "jpeg")],
)
def test_image_codecs(codec, chunk_codec):
    layouts = by_name(build_recipe(image_codec=codec, jpeg_quality=80))
    assert layouts["images"].codec == chunk_codec
    assert layouts["images"].jpeg_quality == 80
    assert layouts["heatmaps"].codec == "zstd"
    assert {layouts[name].codec for name in COLUMNS} == {"none"}


def test_context_is_outside_the_window():
    images = by_name(build_recipe(context_px=10))["images"]
    assert images.row_shape == (276, 212, 3)
    assert images.attributes["window_xywh"] == [10, 10, 192, 256]
    assert images.attributes["colour_order"] == "RGB"


@pytest.mark.parametrize(("dtype", "scale"), [("uint8", 1 / 255), ("float16", 1.0), ("float32", 1.0)])
def test_maps_say_how_their_values_are_to_be_read(dtype, scale):
    (heatmaps,) = map_arrays(build_recipe(map_dtype=dtype, sigma=1.5), 17)
    assert heatmaps.dtype == np.dtype(dtype)
    assert heatmaps.attributes == {"scale": scale, "encoding": "gaussian", "sigma_cells": 1.5}


def test_simcc_has_two_vectors_a_keypoint():
    x, y = map_arrays(RECIPES["simcc-seed"], 17)
    assert (x.name, x.row_shape, y.name, y.row_shape) == ("simcc_x", (17, 768), "simcc_y", (17, 1024))
    assert {"heatmaps", x.name, y.name, "pafs", "mask"} == set(MAP_ARRAYS)


def test_the_arrays_of_scenes():
    layouts = {layout.name: layout for layout in split_arrays(RECIPES["openpose-368"], 17, 700)}
    shapes = {name: (layout.row_shape, layout.dtype.name) for name, layout in layouts.items()}
    assert shapes == {
        "images": ((496, 496, 3), "uint8"), "heatmaps": ((19, 62, 62), "uint8"), "pafs": ((38, 62, 62), "int8"),
        "mask": ((62, 62), "uint8"), "keypoints": ((17, 3), "float32"), "annotation_id": ((), "int64"),
        "bbox_xywh": ((4,), "float64"), "area": ((), "float64"), "score": ((), "float64"), "offsets": ((2,), "int64"),
        "transforms": ((2, 3), "float64"), "image_id": ((), "int64"), "kept": ((), "bool"),
    }  # fmt: skip
    of_persons = {name for name, layout in layouts.items() if layout.of_persons}
    assert of_persons == {"keypoints", "annotation_id", "bbox_xywh", "area", "score"}
    # Two shards of up to 256 pictures, 700 places of persons in each.
    assert layouts["keypoints"].places(300, 256) == 1400
    assert layouts["offsets"].places(300, 256) == 300
    assert (layouts["area"].places_a_shard(256), layouts["kept"].places_a_shard(256)) == (700, 256)
    assert {name for name, layout in layouts.items() if layout.sharded} == {"images", "heatmaps", "pafs", "mask"}


def test_scenes_say_how_their_targets_were_drawn():
    recipe = build_recipe("lightweight-openpose-368", limbs="tensorboy", field_dtype="float16", map_dtype="float32")
    layouts = {layout.name: layout for layout in split_arrays(recipe, 17, 1)}
    maps, fields, mask = (layouts[name].attributes for name in ("heatmaps", "pafs", "mask"))
    assert (maps["scale"], maps["overlap"], maps["sigma_cells"], maps["stride_px"]) == (1.0, "clipped-sum", 0.875, 8)
    assert (maps["keypoints"][1], maps["keypoints"][-1]) == ("neck", "background")
    assert (fields["scale"], fields["overlap"], fields["limb_table"]) == (1.0, "overwrite", "tensorboy")
    assert len(fields["limbs"]) == 19
    assert ["right_shoulder", "right_eye"] in fields["limbs"]
    assert (mask["rule"], mask["scale"]) == ("crowds", 1 / 255)
    assert layouts["pafs"].dtype == np.float16
