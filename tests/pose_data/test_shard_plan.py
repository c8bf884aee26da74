"""What of a shard follows from the annotations: frames, visibility rules, original values in the columns."""

import numpy as np
import pyarrow as pa
import pytest

from pose_data.formats.coco import read_coco
from pose_data.geometry import apply_affines
from pose_data.plan import read_plan_rows, write_plan
from pose_data.selection import select_samples
from pose_data.shard_plan import column_values, shard_geometry

ALL = tuple(range(17))


def planned(factory, folder, recipe, change=lambda coco: None):
    coco = factory.CocoMaker(folder, pictures=5)
    coco.write("val2017", broken=False)
    change(coco)
    read = read_coco(coco.dump("val2017"), boxes=recipe.boxes)
    write_plan(folder / "plan", select_samples(read.table, recipe), recipe, 64)
    return read_plan_rows(folder / "plan", 0)


def annotated(rows):
    return np.array(rows["keypoints"].to_pylist()).reshape(rows.num_rows, -1, 3)


@pytest.mark.parametrize("geometry", ["msra", "udp", "dark", "box", "square"])
@pytest.mark.parametrize("context_px", [0, 9])
def test_stored_keypoints_lead_back_to_the_annotation(factory, tmp_path, geometry, context_px):
    if geometry == "square" and context_px:
        context_px = 0
    recipe = factory.small_recipe(geometry=geometry, context_px=context_px)
    rows = planned(factory, tmp_path, recipe)
    made = shard_geometry(rows, recipe, ALL)
    columns = column_values(rows, made, np.ones(rows.num_rows, np.bool_))
    keypoints = columns["keypoints"]
    labelled = keypoints[..., 2] > 0
    back = apply_affines(columns["transforms"], keypoints[..., :2])
    scale = np.abs(columns["transforms"][:, :, :2]).max(axis=(1, 2))
    error = np.abs(back - annotated(rows)[..., :2]).max(axis=-1)
    assert (error <= 1e-4 * np.maximum(1, scale)[:, None])[labelled].all()
    np.testing.assert_array_equal(keypoints[..., 2], annotated(rows)[..., 2])
    assert not keypoints[~labelled].any()
    np.testing.assert_allclose(made.keypoints_stored[..., :2][labelled], made.xy_crop[labelled] + context_px)
    assert (keypoints.dtype, columns["transforms"].dtype) == (np.float32, np.float64)


def test_chosen_joints_come_in_the_chosen_order(factory, tmp_path):
    recipe = factory.small_recipe()
    rows = planned(factory, tmp_path, recipe)
    whole, part = shard_geometry(rows, recipe, ALL), shard_geometry(rows, recipe, (5, 0, 16))
    np.testing.assert_array_equal(part.keypoints_stored, whole.keypoints_stored[:, [5, 0, 16]])
    np.testing.assert_array_equal(part.has_map, whole.has_map[:, [5, 0, 16]])


def test_the_visibility_rule(factory, tmp_path):
    labelled, visible = factory.small_recipe(), factory.small_recipe(visibility="visible")
    rows = planned(factory, tmp_path, labelled)
    flags = annotated(rows)[..., 2]
    assert {0, 1, 2} == set(flags.ravel().tolist())
    np.testing.assert_array_equal(shard_geometry(rows, labelled, ALL).has_map, flags > 0)
    np.testing.assert_array_equal(shard_geometry(rows, visible, ALL).has_map, flags == 2)
    # Which keypoints get a map has no influence on which are stored.
    np.testing.assert_array_equal(
        shard_geometry(rows, labelled, ALL).keypoints_stored, shard_geometry(rows, visible, ALL).keypoints_stored
    )


def test_columns_hold_the_original_values(factory, tmp_path):
    recipe = factory.small_recipe(box_rule="truncated")
    rows = planned(factory, tmp_path, recipe)
    columns = column_values(rows, shard_geometry(rows, recipe, ALL), np.ones(rows.num_rows, np.bool_))
    for name, column in (("annotation_id", "annotation_id"), ("image_id", "image_id"), ("area", "area")):
        assert columns[name].tolist() == rows[column].to_pylist()
    assert columns["bbox_xywh"].tolist() == rows["bbox_xywh"].to_pylist()
    assert np.isnan(columns["score"]).all()
    assert not columns["iscrowd"].any()
    assert columns["kept"].all()


def test_rows_that_are_not_kept_have_no_geometry_but_their_identity(factory, tmp_path):
    recipe = factory.small_recipe()
    rows = planned(factory, tmp_path, recipe)
    kept = np.arange(rows.num_rows) % 3 != 0
    columns = column_values(rows, shard_geometry(rows, recipe, ALL), kept)
    for name in ("keypoints", "transforms"):
        assert not columns[name][~kept].any()
        assert columns[name][kept].reshape(kept.sum(), -1).any(axis=1).all()
    assert columns["annotation_id"].tolist() == rows["annotation_id"].to_pylist()
    assert columns["kept"].tolist() == kept.tolist()


@pytest.mark.parametrize("box", [None, [], [1.0, 2.0], [5.0, 5.0, 0.0, 0.0], [1.0, 2.0, 3.0, 4.0, 5.0]])
def test_a_box_made_from_keypoints_leaves_the_original_as_it_was(factory, tmp_path, box):
    recipe = factory.small_recipe(boxes="from-keypoints")
    rows = planned(factory, tmp_path, recipe, lambda coco: coco.annotations[0].update(bbox=box))
    made = shard_geometry(rows, recipe, ALL)
    columns = column_values(rows, made, np.ones(rows.num_rows, np.bool_))
    row = rows["annotation_id"].to_pylist().index(1000)
    assert rows.num_rows == 15
    if box is not None and len(box) == 4:
        assert columns["bbox_xywh"][row].tolist() == box
    else:
        assert np.isnan(columns["bbox_xywh"][row]).all()
    points = annotated(rows)[row]
    points = points[points[:, 2] > 0]
    np.testing.assert_allclose(made.boxes_xywh_image[row, :2], points[:, :2].min(axis=0))
    others = [other for other in range(15) if other != row]
    assert np.isfinite(columns["bbox_xywh"][others]).all()


def test_missing_values_become_zero_ids_and_nan_measures(factory, tmp_path):
    recipe = factory.small_recipe()
    rows = planned(factory, tmp_path, recipe)
    for name in ("annotation_id", "area", "iscrowd"):
        field = rows.schema.field(name)
        rows = rows.set_column(rows.schema.get_field_index(name), field, pa.nulls(rows.num_rows, field.type))
    columns = column_values(rows, shard_geometry(rows, recipe, ALL), np.ones(rows.num_rows, np.bool_))
    assert not columns["annotation_id"].any()
    assert np.isnan(columns["area"]).all()
    assert not columns["iscrowd"].any()
