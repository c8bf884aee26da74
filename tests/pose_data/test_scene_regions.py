"""Regions that must not be trained on, by both rules, and on COCO's own crowds."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from pose_data.errors import UsageError
from pose_data.scene_regions import SceneAnnotation, untrained_region

CROWD = SceneAnnotation(
    segmentation=[[2, 2, 10, 2, 10, 10, 2, 10]], bbox_xywh_image=(2, 2, 8, 8), crowd=True, labelled=False
)
UNLABELLED = SceneAnnotation(segmentation=None, bbox_xywh_image=(12.0, 1.0, 3.0, 2.0), crowd=False, labelled=False)
LABELLED = SceneAnnotation(
    segmentation=[[6, 2, 14, 2, 14, 10, 6, 10]], bbox_xywh_image=(6, 2, 8, 8), crowd=False, labelled=True
)


def test_crowds_alone_are_the_lightweight_port_s_rule():
    region = untrained_region([CROWD, UNLABELLED, LABELLED], 20, 12, rule="crowds")
    np.testing.assert_array_equal(region, untrained_region([CROWD], 20, 12, rule="crowds"))
    assert region[3:9, 3:9].all()
    assert region.sum() < 90


def test_unlabelled_persons_are_masked_and_labelled_ones_are_not():
    region = untrained_region([CROWD, UNLABELLED, LABELLED], 20, 12)
    assert region[3:9, 3:5].all()
    assert not region[3:9, 7:14].any()
    # The box stands for the mask that is missing.
    assert region[1, 12:15].all()
    assert not region[0].any()
    assert not untrained_region([LABELLED], 20, 12).any()


def test_an_annotation_without_mask_and_box_covers_nothing():
    empty = SceneAnnotation(segmentation=None, bbox_xywh_image=None, crowd=True, labelled=False)
    odd = SceneAnnotation(segmentation=[], bbox_xywh_image=(0.0, float("nan"), 3.0, 3.0), crowd=True, labelled=False)
    assert not untrained_region([empty, odd], 8, 8).any()


def test_another_rule_is_refused():
    with pytest.raises(UsageError, match="rule"):
        untrained_region([], 8, 8, rule="persons")


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in pycocotools, with NumPy 2
def test_crowds_of_coco_are_covered_to_the_pixel(shared: Path):
    path = shared / "data" / "coco-sample" / "annotations" / "person_keypoints_val2017.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    crowds = [annotation for annotation in content["annotations"] if annotation["iscrowd"]]
    assert crowds
    for crowd in crowds:
        width, height = sizes[crowd["image_id"]]
        one = SceneAnnotation(segmentation=crowd["segmentation"], bbox_xywh_image=None, crowd=True, labelled=False)
        truth = coco_mask.decode(coco_mask.frPyObjects(crowd["segmentation"], height, width))
        np.testing.assert_array_equal(untrained_region([one], width, height), truth)
