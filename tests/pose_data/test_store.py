"""A store: opens in three readers with the same arrays, says what it is, and never passes holes off as zeros."""

import dataclasses
import json
import os
import shutil
import socket
import warnings
from pathlib import Path

import numpy as np
import pytest
import tensorstore
import zarr
from zarrs.pipeline import UnsupportedMetadataError

from pose_data.errors import DamageError, StoreError, UsageError
from pose_data.manifest import FORMAT_VERSION, SplitFolder
from pose_data.skeleton import COCO_PERSON
from pose_data.store import (
    SplitFacts,
    choose_split,
    facts_from_attributes,
    is_posedata_store,
    open_split,
    open_store,
    read_split_facts,
    root_metadata,
    split_folders,
    split_metadata,
)

VARIANTS = {
    "lossless": {},
    "fast, with context": {"image_codec": "fast", "context_px": 5},
    "raw, float16 maps": {"image_codec": "raw", "map_dtype": "float16"},
    "lossless, float32 maps": {"map_dtype": "float32", "chunk_rows": 8},
    "raw, one row a chunk": {"image_codec": "raw", "chunk_rows": 1, "shard_rows": 5},
    "simcc": {"encoding": "simcc", "sigma": 4.0},
    "jpeg": {"image_codec": "jpeg"},
    "13 joints": {"joints": COCO_PERSON.names[4:], "visibility": "visible"},
}


@pytest.fixture(scope="module")
def stores(factory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("stores")
    factory.CocoMaker(folder / "coco").write("val2017")
    for number, changes in enumerate(VARIANTS.values()):
        factory.prepare_split(folder / f"{number}.zarr", folder / "coco", "val2017", factory.small_recipe(**changes))
    return {name: folder / f"{number}.zarr" for number, name in enumerate(VARIANTS)}


@pytest.fixture
def copy(finished_store, tmp_path):
    return Path(shutil.copytree(finished_store, tmp_path / "copy.zarr"))


@pytest.mark.parametrize("variant", VARIANTS)
def test_tensorstore_reads_every_array_or_refuses_jpeg_by_name(stores, variant):
    split = open_store(stores[variant])["val2017"]
    for name, array in split.arrays.items():
        path = stores[variant] / "val2017" / name
        opening = tensorstore.open({"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path)}}, open=True)
        if name == "images" and variant == "jpeg":
            with pytest.raises(ValueError, match="posedata_jpeg"):
                opening.result()
            continue
        np.testing.assert_array_equal(opening.result().read().result(), array[:])


@pytest.mark.parametrize("variant", VARIANTS)
def test_zarrs_reads_every_array_but_jpeg(stores, variant):
    split = open_store(stores[variant])["val2017"]
    expected = {name: array[:] for name, array in split.arrays.items()}
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "codec_pipeline.strict": True}):
        for name, values in expected.items():
            if name == "images" and variant == "jpeg":
                with pytest.raises(UnsupportedMetadataError):
                    zarr.open_array(stores[variant] / "val2017" / name, mode="r")[:]
            else:
                read = zarr.open_array(stores[variant] / "val2017" / name, mode="r")
                np.testing.assert_array_equal(read[:], values)


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_image_codec_but_jpeg_loses_anything(stores, variant):
    plain = open_store(stores["lossless"])["val2017"]
    split = open_store(stores[variant])["val2017"]
    order = np.argsort(split["annotation_id"][:])
    images = split["images"][:][order]
    x, y, width, height = split.window_xywh
    window = images[:, y : y + height, x : x + width].astype(int)
    expected = plain["images"][:][np.argsort(plain["annotation_id"][:])]
    difference = np.abs(window - expected)
    assert difference.max() <= {"jpeg": 60, "fast, with context": 1}.get(variant, 0)
    assert difference.mean() < 2
    assert len(split) == len(images) == 20


def test_the_root_opens_in_zarr_and_lists_splits_and_arrays_without_a_warning(finished_store):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        root = zarr.open_group(finished_store, mode="r")
        assert sorted(root) == ["train2017", "val2017"]
        assert dict(root.attrs) == {"posedata": {"format_version": FORMAT_VERSION}}
        for name, group in root.groups():
            assert sorted(group) == sorted(open_store(finished_store)[name].arrays)
        flat = zarr.open_group(finished_store, mode="r", use_consolidated=False)
        assert flat["val2017/images"].shape == (20, 32, 24, 3)


def test_a_split_as_python_sees_it(finished_store):
    store = open_store(str(finished_store))
    assert list(store) == ["train2017", "val2017"]
    assert len(store) == 2
    assert "val2017" in store
    assert "test2017" not in store
    split = store["val2017"]
    assert split.skeleton == COCO_PERSON
    assert split.window_xywh == (0, 0, 24, 32)
    assert split.table.num_rows == 22
    assert [record.shard for record in split.shard_records()] == [0, 1, 2]
    with pytest.raises(UsageError, match="split-unknown") as caught:
        store["test2017"]
    assert "val2017" in caught.value.hint
    with pytest.raises(UsageError, match="array-unknown"):
        split["pictures"]


def test_what_the_attributes_say(finished_store):
    facts = read_split_facts(SplitFolder(finished_store / "val2017"))
    own = zarr.open_group(finished_store / "val2017", mode="r").attrs["posedata"]
    assert own["recipe"] == json.loads(json.dumps(facts.recipe.as_dict()))
    assert own["skeleton"]["names"] == list(COCO_PERSON.names)
    assert own["skeleton"]["sigmas"] == list(COCO_PERSON.sigmas)
    assert (own["geometry"], own["target_encoding"], own["colour_order"]) == ("msra", "gaussian", "RGB")
    assert own["annotations"]["count"] == 22
    assert len(own["annotations"]["sha256"]) == 64
    assert {"numpy", "opencv", "simplejpeg", "zarr", "posedata"} <= set(own["versions"])
    assert facts_from_attributes({"posedata": own}, where="here") == facts
    assert facts.attributes() == {"posedata": own}
    assert (facts.rows, facts.shard_rows, facts.shards) == (20, 8, 3)


def test_nothing_in_the_store_depends_on_this_machine(finished_store):
    for path in finished_store.rglob("*"):
        if not path.is_file() or "runs" in path.parts:
            continue
        data = path.read_bytes()
        texts = [str(finished_store.parent), str(Path.home()), f'"{socket.gethostname()}"', f'"pid":{os.getpid()}']
        assert not [text for text in texts if text.encode() in data], path


def test_two_preparations_are_byte_identical(factory, finished_store, tmp_path):
    coco = factory.CocoMaker(tmp_path / "elsewhere")
    for split in ("val2017", "train2017"):
        coco.write(split)
    for split in ("train2017", "val2017"):
        factory.prepare_split(tmp_path / "again.zarr", tmp_path / "elsewhere", split, factory.small_recipe())
    assert factory.store_bytes(tmp_path / "again.zarr") == factory.store_bytes(finished_store)


def test_metadata_is_made_from_the_facts_alone(finished_store):
    facts = {name: split.facts for name, split in open_store(finished_store).items()}
    assert (finished_store / "zarr.json").read_bytes() == root_metadata(facts)
    for name, text in split_metadata(facts["val2017"]).items():
        assert (finished_store / "val2017" / name).read_bytes() == text


def test_a_folder_that_is_no_store(tmp_path):
    for folder in (tmp_path / "no", tmp_path):
        assert not is_posedata_store(folder)
        with pytest.raises(StoreError) as caught:
            open_store(folder)
        assert (caught.value.code, caught.value.where) == ("not-a-store", str(folder))
    zarr.create_group(tmp_path / "foreign.zarr")
    with pytest.raises(StoreError, match="not-a-store"):
        open_store(tmp_path / "foreign.zarr")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="not-a-store"):
        open_store(tmp_path / "file")


def test_a_store_without_splits_is_unfinished(tmp_path):
    (tmp_path / ".posedata").mkdir()
    with pytest.raises(StoreError, match="unfinished"):
        open_store(tmp_path)


def test_an_unfinished_split_is_refused_unless_asked_for(copy):
    (copy / "val2017" / ".posedata" / "manifest.json").unlink()
    with pytest.raises(StoreError) as caught:
        open_store(copy)
    assert caught.value.code == "unfinished"
    assert not isinstance(caught.value, DamageError)
    assert "continues" in caught.value.hint
    store = open_store(copy, allow_unfinished=True)
    assert store["val2017"].manifest is None
    assert store["train2017"].manifest is not None


@pytest.mark.parametrize("name", ["images/c.1.0.0.0", "heatmaps/c.2.0.0.0", "kept/c.0", "transforms/c.1.0.0"])
@pytest.mark.parametrize(("how", "code"), [("missing", "missing-file"), ("short", "size"), ("long", "size")])
def test_a_missing_or_cut_file_is_damage_not_zeros(copy, name, how, code):
    path = copy / "val2017" / name
    data = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes(data[:-1] if how == "short" else data + b"\0")
    with pytest.raises(DamageError) as caught:
        open_store(copy)
    assert (caught.value.code, caught.value.where) == (code, str(path))
    assert "--repair" in caught.value.hint
    open_split(SplitFolder(copy / "train2017"))


@pytest.mark.parametrize("name", ["images/c.1.0.0.0", "heatmaps/c.0.0.0.0", "keypoints/c.0.0.0"])
def test_a_flipped_bit_is_an_error_when_the_array_is_read(copy, name):
    path = copy / "val2017" / name
    data = bytearray(path.read_bytes())
    data[10] ^= 1
    path.write_bytes(data)
    array = open_store(copy)["val2017"][name.partition("/")[0]]
    with pytest.raises(ValueError, match=r"(?i)crc|checksum"):
        array[:]


@pytest.mark.parametrize(
    "name", [".posedata/manifest.json", ".posedata/shards/000001.json", "zarr.json", "images/zarr.json"]
)
@pytest.mark.parametrize("how", ["cut", "foreign", "missing"])
def test_damaged_records_and_metadata_are_damage(copy, name, how):
    path = copy / "val2017" / name
    data = path.read_bytes()
    path.unlink()
    if how != "missing":
        path.write_bytes(data[:-30] if how == "cut" else b'{"zarr_format": 3, "node_type": "group"}')
    with pytest.raises(StoreError) as caught:
        open_store(copy)
    if (name, how) == (".posedata/manifest.json", "missing"):
        assert caught.value.code == "unfinished"
    else:
        assert isinstance(caught.value, DamageError)
        assert str(path.parent if name == "images/zarr.json" else path) in caught.value.where


def test_a_damaged_table_is_damage(copy):
    split = open_store(copy)["val2017"]
    split.folder.table.write_bytes(b"PAR1")
    with pytest.raises(DamageError, match="table"):
        split.table  # noqa: B018 - reads it


def test_a_store_of_another_version_is_refused_as_such(finished_store):
    own = open_store(finished_store)["val2017"].facts.attributes()["posedata"]
    with pytest.raises(StoreError) as caught:
        facts_from_attributes({"posedata": {**own, "format_version": 2}}, where="here")
    assert caught.value.code == "store-version"
    assert not isinstance(caught.value, DamageError)


@pytest.mark.parametrize("field", ["recipe", "skeleton", "rows", "annotations", "keypoint_indices", "versions"])
@pytest.mark.parametrize("value", [None, "x", {"sigma": -1.0}])
def test_incomplete_attributes_are_damage(finished_store, field, value):
    own = open_store(finished_store)["val2017"].facts.attributes()["posedata"]
    broken = {name: other for name, other in own.items() if name != field}
    with pytest.raises(DamageError, match="attributes"):
        facts_from_attributes({"posedata": broken}, where="here")
    if field in ("recipe", "skeleton", "annotations"):
        with pytest.raises(DamageError, match="attributes"):
            facts_from_attributes({"posedata": {**own, field: value}}, where="here")


def test_splits_are_folders_with_records(finished_store, tmp_path):
    assert list(split_folders(finished_store)) == ["train2017", "val2017"]
    (tmp_path / "strange").mkdir()
    (tmp_path / ".hidden" / ".posedata").mkdir(parents=True)
    (tmp_path / "file").write_bytes(b"")
    assert split_folders(tmp_path) == {}


def test_facts_of_a_split_not_yet_written_are_of_this_environment(finished_store):
    facts = open_store(finished_store)["val2017"].facts
    fields = {name: getattr(facts, name) for name in SplitFacts.__slots__ if name != "versions"}
    assert SplitFacts(**fields) == facts


def test_metadata_that_is_remembered_is_that_of_the_same_facts_only(finished_store):
    facts = read_split_facts(SplitFolder(finished_store / "val2017"))
    texts = split_metadata(facts)
    kept = dict(texts)
    texts.clear()
    assert split_metadata(facts) == kept
    for change in ({"rows": facts.rows + 1}, {"annotation_sha256": "0" * 64}, {"versions": {"numpy": "other"}}):
        assert split_metadata(dataclasses.replace(facts, **change))["zarr.json"] != kept["zarr.json"]
    assert split_metadata(facts) == kept


def test_splits_are_chosen_by_their_beginning(finished_store):
    opened = open_store(finished_store)
    assert choose_split(opened, "", "val") is opened["val2017"]
    assert choose_split(opened, "train2017", "val") is opened["train2017"]
    with pytest.raises(UsageError, match="0 splits begin with 'test'"):
        choose_split(opened, "", "test")
