"""The zarr.json texts: what readers need is in them, and nothing of this machine."""

import json

import numpy as np
import pytest
import zarr

from pose_data.layout import ArrayLayout, split_arrays
from pose_data.recipes import build_recipe
from pose_data.zarr_metadata import array_metadata, group_metadata


def layout(name, **changes):
    return {layout.name: layout for layout in split_arrays(build_recipe(**changes), 17)}[name]


def codecs(text):
    return [codec["name"] for codec in json.loads(text)["codecs"]]


@pytest.mark.parametrize(
    ("image_codec", "inner"),
    [
        ("lossless", ["bytes", "blosc", "crc32c"]), ("fast", ["bytes", "blosc", "crc32c"]),
        ("raw", ["bytes", "crc32c"]), ("jpeg", ["posedata_jpeg", "crc32c"]),
    ],
)  # fmt: skip
def test_images_are_sharded_with_a_checksum_on_every_chunk_and_on_the_index(image_codec, inner):
    text = array_metadata(layout("images", image_codec=image_codec), 100, 64, 16)
    content = json.loads(text)
    assert (content["zarr_format"], content["node_type"]) == (3, "array")
    assert content["shape"] == [100, 256, 192, 3]
    assert content["data_type"] == "uint8"
    assert content["chunk_grid"]["configuration"]["chunk_shape"] == [64, 256, 192, 3]
    assert content["chunk_key_encoding"] == {"name": "default", "configuration": {"separator": "."}}
    assert content["dimension_names"] == ["row", "y", "x", "channel"]
    (sharding,) = content["codecs"]
    assert sharding["name"] == "sharding_indexed"
    assert sharding["configuration"]["chunk_shape"] == [16, 256, 192, 3]
    assert sharding["configuration"]["index_location"] == "end"
    assert [codec["name"] for codec in sharding["configuration"]["codecs"]] == inner
    assert [codec["name"] for codec in sharding["configuration"]["index_codecs"]] == ["bytes", "crc32c"]


def test_blosc_is_set_as_measured():
    for image_codec, shuffle in (("lossless", "bitshuffle"), ("fast", "noshuffle")):
        content = json.loads(array_metadata(layout("images", image_codec=image_codec), 100, 64, 16))
        blosc = content["codecs"][0]["configuration"]["codecs"][1]["configuration"]
        assert blosc == {"typesize": 1, "cname": "lz4", "clevel": 5, "shuffle": shuffle, "blocksize": 0}


def test_columns_are_one_checked_chunk_a_shard():
    text = array_metadata(layout("keypoints"), 100, 64, 16)
    assert codecs(text) == ["bytes", "crc32c"]
    assert json.loads(text)["chunk_grid"]["configuration"]["chunk_shape"] == [64, 17, 3]
    assert json.loads(text)["data_type"] == "float32"


def test_the_text_is_the_same_every_time():
    assert array_metadata(layout("images"), 100, 64, 16) == array_metadata(layout("images"), 100, 64, 16)
    members = {"a": array_metadata(layout("area"), 10, 64, 16)}
    assert group_metadata({"b": 1, "a": 2}, members) == group_metadata({"b": 1, "a": 2}, members)


def test_a_group_lists_its_members_without_a_look_at_the_folder(tmp_path):
    arrays = {name: array_metadata(layout(name), 10, 64, 16) for name in ("images", "area")}
    members = {"val": group_metadata({"x": 1}, arrays)} | {f"val/{name}": text for name, text in arrays.items()}
    (tmp_path / "zarr.json").write_bytes(group_metadata({"own": {"format": 1}}, members))
    (tmp_path / "strange").mkdir()
    root = zarr.open_group(tmp_path, mode="r")
    assert dict(root.attrs) == {"own": {"format": 1}}
    assert list(root) == ["val"]
    assert sorted(root["val"]) == ["area", "images"]
    assert root["val/images"].shape == (10, 256, 192, 3)


def test_an_empty_group_opens(tmp_path):
    (tmp_path / "zarr.json").write_bytes(group_metadata({}))
    assert list(zarr.open_group(tmp_path, mode="r")) == []


def test_zarr_sees_the_array_that_was_meant(tmp_path):
    small = ArrayLayout(
        name="x", row_shape=(3,), dtype=np.dtype(np.float16), dimensions=("row", "y"), codec="zstd", sharded=True,
        attributes={"scale": 0.5},
    )  # fmt: skip
    (tmp_path / "zarr.json").write_bytes(array_metadata(small, 10, 8, 4))
    array = zarr.open_array(tmp_path, mode="r")
    assert (array.shape, array.dtype, array.shards, array.chunks) == ((10, 3), np.float16, (8, 3), (4, 3))
    assert dict(array.attrs) == {"scale": 0.5}
