"""A run judged on a store: with annotated and with detected boxes, end to end on real pictures."""

import json

import numpy as np
import pytest
import torch

from pipelines.prepare import prepare
from pose_data.errors import InputError, UsageError
from pose_data.evaluation import Detections, evaluate
from pose_data.evaluation.store_truth import ground_truth_from_split
from pose_data.recipes import build_recipe
from pose_data.store import open_store
from pose_models.box_crops import read_boxes
from pose_models.decode import decode_output, to_crop, to_image
from pose_models.evaluate import evaluate as evaluate_run
from pose_models.inference import Predictions
from pose_models.train import run

PERSONS = 32


def coco_folder_of(shared, folder, wanted):
    """Make a COCO folder whose train and val splits are the first 32 well labelled real persons that are ``wanted``."""
    content = json.loads((shared / "data/coco-sample/annotations/person_keypoints_val2017.json").read_bytes())
    good = [a for a in content["annotations"] if a["num_keypoints"] >= 10 and not a["iscrowd"] and a["area"] > 48**2]
    chosen = [annotation for annotation in good if wanted(annotation)][:PERSONS]
    assert len(chosen) == PERSONS
    pictures = {a["image_id"] for a in chosen}
    part = {
        "images": [image for image in content["images"] if image["id"] in pictures], "annotations": chosen,
        "categories": content["categories"],
    }  # fmt: skip
    (folder / "annotations").mkdir()
    for split in ("train2017", "val2017"):
        (folder / "annotations" / f"person_keypoints_{split}.json").write_text(json.dumps(part), encoding="utf-8")
        (folder / split).symlink_to(shared / "data" / "coco-sample" / "val2017")
    return folder


@pytest.fixture(scope="module")
def persons(shared, tmp_path_factory):
    return coco_folder_of(shared, tmp_path_factory.mktemp("persons"), lambda annotation: True)


def within_crop(annotation):
    """Return whether all labelled keypoints lie within the box grown to 1.2 of its size, and so within the crop."""
    x, y, width, height = annotation["bbox"]
    points = np.array(annotation["keypoints"], float).reshape(-1, 3)
    away = np.abs(points[points[:, 2] > 0, :2] - [x + width / 2, y + height / 2])
    return bool((away <= [0.6 * width, 0.6 * height]).all())


def ap_of_perfect_maps(split, decode):
    maps = torch.from_numpy(split["heatmaps"][:].astype(np.float32) / 255.0)
    points, scores = decode_output(maps, decode)
    transforms = torch.from_numpy(split["transforms"][:])
    in_picture = to_image(to_crop(points, split.recipe), transforms).numpy()
    keypoints = np.concatenate([in_picture, scores.numpy()[..., None].astype(np.float64)], axis=2)
    detections = Detections(image_id=split["image_id"][:], keypoints=keypoints, score=np.ones(len(keypoints)))
    return evaluate(ground_truth_from_split(split), detections).numbers["AP"]


RECIPES = [("coco-256x192", "quarter"), ("coco-256x192-dark", "dark"), ("coco-256x192-udp", "udp")]


@pytest.mark.parametrize(("name", "decode"), RECIPES)
def test_perfect_maps_of_32_persons_within_their_crops_give_an_ap_of_nearly_1(shared, tmp_path, name, decode):
    folder = coco_folder_of(shared, tmp_path, within_crop)
    prepare(tmp_path / "crops.zarr", root=folder, splits=("val2017",), recipe=build_recipe(name), allow_outside=True)
    # MSRA's maps keep whole cells only, up to two pixels of the crop away.
    assert ap_of_perfect_maps(open_store(tmp_path / "crops.zarr")["val2017"], decode) >= (
        0.99 if decode == "quarter" else 0.999
    )


@pytest.mark.parametrize(("name", "decode"), RECIPES)
def test_of_the_first_32_persons_two_have_keypoints_outside_their_crops(persons, tmp_path, name, decode):
    prepare(tmp_path / "crops.zarr", root=persons, splits=("val2017",), recipe=build_recipe(name), allow_outside=True)
    split = open_store(tmp_path / "crops.zarr")["val2017"]
    keypoints, recipe = split["keypoints"][:], split.recipe
    xy = keypoints[..., :2]
    outside = ((xy < 0) | (xy > [recipe.crop_width_px - 1, recipe.crop_height_px - 1])).any(2) & (keypoints[..., 2] > 0)
    assert (outside.any(1).sum(), outside.sum()) == (2, 4)
    least = 0.97 if decode == "quarter" else 0.99  # they cost 0.0195 and 0.0097, see docs/evaluation.md
    assert ap_of_perfect_maps(split, decode) >= least


@pytest.mark.parametrize(("name", "decode"), RECIPES)
def test_perfect_maps_of_all_persons_lose_what_lies_outside_the_crops(shared, tmp_path, name, decode):
    # 5 to 10 of 2,330 keypoints have an empty map, most of them of persons with one or two labels.
    prepare(
        tmp_path / "crops.zarr", root=shared / "data" / "coco-sample", splits=("val2017",), recipe=build_recipe(name)
    )
    assert ap_of_perfect_maps(open_store(tmp_path / "crops.zarr")["val2017"], decode) >= 0.975


def test_the_score_is_the_mean_of_the_keypoints_that_count():
    keypoints = np.zeros((1, 3, 3))
    keypoints[0, :, 2] = [0.1, 0.4, 0.8]
    predictions = Predictions(rows=np.array([1]), keypoints=keypoints, xy_crop=np.zeros((1, 3, 2)))
    detections = predictions.as_detections(np.array([7, 9]))
    assert detections.image_id.tolist() == [9]
    assert detections.score.tolist() == pytest.approx([0.6])


@pytest.fixture(scope="module")
def trained(persons, tmp_path_factory):
    """Return a store of the 32 persons and a run that learned them by heart, in one folder, and its report."""
    folder = tmp_path_factory.mktemp("overfit")
    recipe = build_recipe(
        "coco-256x192-udp", crop_width_px=96, crop_height_px=128, map_width=24, map_height=32, sigma=1.5
    )
    prepare(folder / "crops.zarr", root=persons, recipe=recipe, allow_outside=True)
    report = run(
        "small-128x96", data=folder / "crops.zarr", out=folder / "run", device="cpu", epochs=260, batch_size=16,
        augmentation="none", evaluate_every=260, learning_rate=4e-3, flip_test=False, weight_decay=0.0,
    )  # fmt: skip
    return folder, report


@pytest.mark.slow
def test_a_small_network_learns_32_real_persons_by_heart(trained):
    _, report = trained
    assert report.numbers["AP"] >= 0.95, report.numbers


@pytest.mark.slow
def test_annotated_boxes_as_a_detections_file_give_the_same(trained, persons, tmp_path):
    folder, report = trained
    mine = evaluate_run(folder / "run", data=folder / "crops.zarr", flip_test=False, device="cpu")
    assert mine.numbers == pytest.approx(dict(report.numbers))
    assert mine.boxes == "annotated"
    content = json.loads((persons / "annotations/person_keypoints_val2017.json").read_bytes())
    boxes = [
        {"image_id": a["image_id"], "category_id": 1, "bbox": a["bbox"], "score": 1.0} for a in content["annotations"]
    ]
    boxes += [{"image_id": boxes[0]["image_id"], "category_id": 3, "bbox": [0, 0, 9, 9], "score": 1.0}]
    boxes += [{"image_id": 123456789, "category_id": 1, "bbox": [0, 0, 9, 9], "score": 1.0}]
    (tmp_path / "boxes.json").write_text(json.dumps(boxes), encoding="utf-8")
    theirs = evaluate_run(
        folder / "run", data=folder / "crops.zarr", boxes=tmp_path / "boxes.json",
        images=persons / "val2017", results=tmp_path / "results.json", report=tmp_path / "report",
        flip_test=False,
        device="cpu",
    )  # fmt: skip
    assert theirs.numbers["AP"] == pytest.approx(mine.numbers["AP"], abs=0.02)
    records = json.loads((tmp_path / "results.json").read_bytes())
    assert len(records) == theirs.detections
    assert set(records[0]) == {"image_id", "category_id", "keypoints", "score"}
    assert theirs.page == tmp_path / "report" / "report.html"
    assert "boxes.json boxes" in theirs.page.read_text(encoding="utf-8")


def test_boxes_without_pictures_and_files_that_hold_none_are_refused(tmp_path):
    for text, told in (("{}", "list of records"), ("[1]", "not image_id"), ('[{"image_id": 1}]', "not image_id")):
        (tmp_path / "boxes.json").write_text(text, encoding="utf-8")
        with pytest.raises(InputError, match=told):
            read_boxes(tmp_path / "boxes.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_boxes(tmp_path / "absent.json")


@pytest.mark.slow
def test_a_store_of_another_recipe_is_refused(trained, shared, tmp_path):
    folder, _ = trained
    root = shared / "data" / "coco-sample"
    recipe = build_recipe("coco-256x192", crop_width_px=96, crop_height_px=128, map_width=24, map_height=32)
    prepare(tmp_path / "crops.zarr", root=root, splits=("val2017",), recipe=recipe)
    with pytest.raises(UsageError, match="trained with geometry udp, the store has msra"):
        evaluate_run(folder / "run", data=tmp_path / "crops.zarr", device="cpu")
    with pytest.raises(UsageError, match="--images FOLDER"):
        evaluate_run(folder / "run", data=folder / "crops.zarr", boxes=tmp_path / "b.json", device="cpu")
