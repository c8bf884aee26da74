"""Scenes of one shard: pictures, persons, targets and masks, made again here from the annotation file itself."""

import json

import numpy as np
import pytest

from pose_data.errors import PROBLEMS
from pose_data.formats.coco import read_coco
from pose_data.geometry import apply_affines
from pose_data.imaging import Picture
from pose_data.limbs import LIMB_TABLES, add_neck
from pose_data.plan import read_plan_rows, write_plan
from pose_data.scene_regions import SceneAnnotation, untrained_region
from pose_data.scene_rows import SceneRows, scene_rules
from pose_data.selection import select_samples
from pose_data.targets.paf import encode_fields, encode_scene_maps, trainable_share

ALL = tuple(range(17))


@pytest.fixture(scope="module")
def annotations(factory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    return factory.CocoMaker(folder, pictures=3, persons=3).write("val2017")


def shard_of(path, folder, recipe, shard=0):
    table = select_samples(read_coco(path, keep_segmentation=True).table, recipe)
    planned = write_plan(folder / "plan", table, recipe, recipe.shard_rows)
    return read_plan_rows(folder / "plan", shard), planned.persons_a_shard


def rows_of(path, folder, recipe, shard=0, masks=True):
    table, persons = shard_of(path, folder, recipe, shard)
    raw = table["segmentation"].to_pylist()
    return SceneRows(table, recipe, ALL, (lambda index: raw[index]) if masks else None, persons), persons


def people_of(path, image_id):
    """Return a picture's size, labelled persons' keypoints and annotations, straight from the file."""
    content = json.loads(path.read_text(encoding="utf-8"))
    image = next(image for image in content["images"] if image["id"] == image_id)
    own = [one for one in content["annotations"] if one["image_id"] == image_id]
    labelled = [one for one in own if one["num_keypoints"] and not one["iscrowd"]]
    keypoints = np.array([one["keypoints"] for one in labelled], np.float64).reshape(-1, 17, 3)
    return (image["width"], image["height"]), keypoints, own


def test_persons_stand_flat_with_the_first_and_the_end_of_each_row(annotations, tmp_path, factory):
    maker, persons_a_shard = rows_of(annotations, tmp_path, factory.scene_recipe(), shard=1)
    columns = maker.columns(np.ones(len(maker.names), np.bool_))
    assert len(columns["kept"]) == len(maker.names)
    for row, image_id in enumerate(columns["image_id"].tolist()):
        _, keypoints, _ = people_of(annotations, image_id)
        first, end = columns["offsets"][row] - persons_a_shard  # of the second shard
        found = columns["keypoints"][first:end].astype(np.float64)
        assert len(found) == len(keypoints)
        back = apply_affines(columns["transforms"][row : row + 1], found[..., :2].reshape(1, -1, 2)).reshape(-1, 17, 2)
        seen = keypoints[..., 2] > 0
        np.testing.assert_array_equal(found[..., 2], keypoints[..., 2])
        np.testing.assert_allclose(back[seen], keypoints[seen][:, :2], atol=1e-4)
        assert not found[~seen].any()


@pytest.mark.parametrize(
    "changes", [{}, {"limbs": "tensorboy", "map_overlap": "maximum"}, {"field_overlap": "overwrite"}]
)
def test_targets_are_the_encoders_of_all_persons_of_the_picture(annotations, tmp_path, factory, changes):
    recipe = factory.scene_recipe(map_dtype="float32", field_dtype="float16", **changes)
    maker, _ = rows_of(annotations, tmp_path, recipe)
    count = len(maker.names)
    out = {"heatmaps": np.ones((count, 19, 16, 16), np.float32), "pafs": np.ones((count, 38, 16, 16), np.float16)}
    maker.targets(slice(0, count), np.ones(count, np.bool_), out)
    columns = maker.columns(np.ones(count, np.bool_))
    for row, image_id in enumerate(columns["image_id"].tolist()):
        (width, height), keypoints, _ = people_of(annotations, image_id)
        scale = 64 / max(width, height)
        move = np.floor((64 - scale * np.array([width, height])) / 2)
        xy = np.round((keypoints[..., :2] + 0.5) * scale - 0.5 + move, 9)
        joints = add_neck(xy, keypoints[..., 2] > 0)
        size = {"rules": scene_rules(recipe), "map_width": 16, "map_height": 16}
        np.testing.assert_array_equal(out["heatmaps"][row], encode_scene_maps(*joints, **size))
        limbs = LIMB_TABLES[recipe.limbs].limbs
        np.testing.assert_array_equal(out["pafs"][row], encode_fields(*joints, limbs, **size).astype(np.float16))
    assert out["pafs"].any()


def test_small_types_lose_half_a_step(annotations, tmp_path, factory):
    exact, small = (
        rows_of(annotations, tmp_path, factory.scene_recipe(**changes))[0]
        for changes in ({"map_dtype": "float32", "field_dtype": "float16"}, {})
    )
    count = len(exact.names)
    kept = np.ones(count, np.bool_)
    fine = {"heatmaps": np.empty((count, 19, 16, 16), np.float32), "pafs": np.empty((count, 38, 16, 16), np.float16)}
    coarse = {"heatmaps": np.empty((count, 19, 16, 16), np.uint8), "pafs": np.empty((count, 38, 16, 16), np.int8)}
    exact.targets(slice(0, count), kept, fine)
    small.targets(slice(0, count), kept, coarse)
    assert np.abs(coarse["heatmaps"] / 255.0 - fine["heatmaps"]).max() <= 0.5 / 255 + 1e-6
    assert np.abs(coarse["pafs"] / 127.0 - fine["pafs"]).max() <= 0.5 / 127 + 5e-4  # float16 itself is 2.4e-4 from 1


def scene_annotation(record):
    return SceneAnnotation(
        segmentation=record["segmentation"], bbox_xywh_image=tuple(record["bbox"]), crowd=bool(record["iscrowd"]),
        labelled=bool(record["num_keypoints"]) and not record["iscrowd"],
    )  # fmt: skip


@pytest.mark.parametrize("rule", ["unlabelled", "crowds"])
def test_the_mask_is_the_region_at_each_cell_s_pixels(annotations, tmp_path, factory, rule):
    recipe = factory.scene_recipe(untrained=rule)
    total = 0
    for shard in range(2):
        maker, _ = rows_of(annotations, tmp_path, recipe, shard)
        count = len(maker.names)
        out = {"mask": np.empty((count, 16, 16), np.uint8)}
        maker.targets(slice(0, count), np.ones(count, np.bool_), out)
        for row, image_id in enumerate(maker.columns(np.ones(count, np.bool_))["image_id"].tolist()):
            (width, height), _, own = people_of(annotations, image_id)
            region = untrained_region([scene_annotation(one) for one in own], width, height, rule=rule)
            scale, untrained = 64 / max(width, height), np.zeros((64, 64), np.bool_)
            top = (64 - scale * height) // 2
            for y in range(64):
                for x in range(64):
                    u, v = round((x + 0.5) / scale - 0.5), round((y - top + 0.5) / scale - 0.5)
                    untrained[y, x] = 0 <= u < width and 0 <= v < height and region[v, u]
            total += untrained.sum()
            np.testing.assert_array_equal(out["mask"][row], np.rint(255 * trainable_share(untrained, stride_px=4)))
    assert total


def test_rows_that_are_not_kept_are_empty(annotations, tmp_path, factory):
    maker, _ = rows_of(annotations, tmp_path, factory.scene_recipe())
    kept = np.arange(len(maker.names)) != 1
    out = {"heatmaps": np.ones((4, 19, 16, 16), np.uint8), "mask": np.ones((4, 16, 16), np.uint8)}
    maker.targets(slice(0, 4), kept, out)
    assert not out["heatmaps"][1].any()
    assert not out["mask"][1].any()
    assert out["mask"][0].any()
    columns = maker.columns(kept)
    first, end = columns["offsets"][1]
    assert not columns["keypoints"][first:end].any()
    assert not columns["transforms"][1].any()
    assert columns["annotation_id"][first:end].all()


def test_pixels_around_the_picture_are_grey(annotations, tmp_path, factory):
    maker, _ = rows_of(annotations, tmp_path, factory.scene_recipe())
    out = np.zeros((64, 64, 3), np.uint8)
    maker.draw(Picture(pixels=np.full((64, 80, 3), 200, np.uint8), notes=()), 0, out)
    # 80 x 64 pixels become 64 x 51.2, from row 6 on.
    assert (out[:6] == 128).all()
    assert (out[7:56] == 200).all()
    assert (out[58:] == 128).all()


def test_masks_need_the_annotation_file_and_nothing_else_does(annotations, tmp_path, factory):
    maker, _ = rows_of(annotations, tmp_path, factory.scene_recipe(), masks=False)
    assert maker.can_make("heatmaps")
    assert maker.can_make("pafs")
    assert not maker.can_make("mask")


def test_pictures_without_a_size_in_the_file_have_no_scene(factory, tmp_path):
    coco = factory.CocoMaker(tmp_path, pictures=2)
    coco.write("val2017", broken=False)
    del coco.image_records[0]["width"]
    table = select_samples(read_coco(coco.dump("val2017")).table, factory.scene_recipe())
    codes = {row["image_id"]: row["code"] for row in table.to_pylist()}
    assert codes == {1: "image-size-missing", 2: None}
    assert PROBLEMS["image-size-missing"].fate == "reject"
    crops = select_samples(read_coco(coco.dump("val2017")).table, factory.small_recipe())
    assert all(crops["kept"].to_pylist())
