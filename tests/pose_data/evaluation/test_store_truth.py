"""A store alone gives the evaluation that the annotation file gives."""

import json

import numpy as np

from pipelines.prepare import prepare
from pose_data.evaluation import Detections, GroundTruth, evaluate
from pose_data.evaluation.read_ground_truth import read_ground_truth
from pose_data.evaluation.store_truth import ground_truth_from_split, truth_from_split
from pose_data.recipes import build_recipe
from pose_data.store import open_store


def from_json(file):
    content = json.loads(file.read_bytes())
    annotations = content["annotations"]
    return GroundTruth(
        image_ids=np.array([image["id"] for image in content["images"]]),
        image_id=np.array([a["image_id"] for a in annotations]),
        annotation_id=np.array([a["id"] for a in annotations]),
        keypoints=np.array([a["keypoints"] for a in annotations], float).reshape(-1, 17, 3),
        bbox_xywh=np.array([a["bbox"] for a in annotations], float),
        area=np.array([a["area"] for a in annotations], float),
        iscrowd=np.array([a["iscrowd"] for a in annotations], bool),
        num_keypoints=np.array([a["num_keypoints"] for a in annotations]),
    )


def noisy(truth, seed):
    random = np.random.default_rng(seed)
    rows = np.repeat(np.arange(len(truth.area)), 2)
    keypoints = truth.keypoints[rows].copy()
    keypoints[..., :2] += random.normal(size=keypoints[..., :2].shape) * random.choice([1, 5, 20], (len(rows), 1, 1))
    return Detections(image_id=truth.image_id[rows], keypoints=keypoints, score=random.random(len(rows)))


def test_the_stores_ground_truth_gives_the_files_numbers(shared, tmp_path):
    root = shared / "data" / "coco-sample"
    prepare(tmp_path / "crops.zarr", root=root, splits=("val2017",))
    mine = ground_truth_from_split(open_store(tmp_path / "crops.zarr")["val2017"])
    theirs = from_json(root / "annotations" / "person_keypoints_val2017.json")
    assert len(mine.area) == len(theirs.area) == 356
    assert mine.warnings == ()
    assert mine.sizes_wh[785] == (640, 425)
    rich = truth_from_split(open_store(tmp_path / "crops.zarr")["val2017"])
    read = read_ground_truth(root / "annotations" / "person_keypoints_val2017.json")
    assert (rich.digest, rich.category_id, rich.rules) == (read.digest, read.category_id, read.rules)
    names = dict(zip(read.truth.image_ids.tolist(), read.file_names, strict=True))
    assert rich.file_names == tuple(names[image] for image in rich.truth.image_ids.tolist())
    by_record = dict(zip(read.record.tolist(), read.truth.annotation_id.tolist(), strict=True))
    assert [by_record[place] for place in rich.record.tolist()] == rich.truth.annotation_id.tolist()
    for seed in range(3):
        results = noisy(theirs, seed)
        assert evaluate(mine, results).numbers == evaluate(theirs, results).numbers


def test_joints_that_are_a_part_make_a_ground_truth_of_that_part(shared, tmp_path):
    root = shared / "data" / "coco-sample"
    recipe = build_recipe("coco-256x192", joints=("nose", "left_hip", "right_hip"))
    prepare(tmp_path / "crops.zarr", root=root, splits=("train2017",), recipe=recipe)
    truth = ground_truth_from_split(open_store(tmp_path / "crops.zarr")["train2017"])
    assert truth.keypoints.shape[1:] == (3, 3)
    np.testing.assert_array_equal(truth.num_keypoints, (truth.keypoints[..., 2] > 0).sum(axis=1))
