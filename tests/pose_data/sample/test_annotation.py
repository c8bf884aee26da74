import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as mask_api

from pose_data.sample.annotation import annotation_document, clean_mask, outlines, person_record, run_lengths
from pose_data.sample.plan import PicturePlan
from pose_data.sample.scene import VisiblePerson
from pose_data.skeleton import COCO_PERSON

# pycocotools' decode has not followed NumPy 2's __array__(copy=...).
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

masks = arrays(np.bool_, st.tuples(st.integers(1, 24), st.integers(1, 24)))


def rasterised(polygons, shape) -> np.ndarray:
    runs = mask_api.merge(mask_api.frPyObjects(polygons, *shape))
    return mask_api.decode(runs) > 0


@settings(deadline=None, max_examples=150)
@given(masks.filter(lambda mask: bool(mask.any())))
def test_outlines_give_the_mask_back(mask):
    big = np.kron(mask, np.ones((3, 3), bool))
    again = rasterised(outlines(big), big.shape)
    # One-pixel corners that touch may tip a pixel's centre in the rasteriser; nothing larger may differ.
    assert (again ^ big).sum() <= 0.02 * big.sum()


def test_an_outline_with_holes_is_one_polygon():
    mask = np.zeros((60, 70), bool)
    mask[5:50, 5:60] = True
    mask[12:20, 12:30] = mask[30:40, 20:33] = mask[25:28, 50:55] = False
    polygons = outlines(mask)
    assert len(polygons) == 1
    assert np.array_equal(rasterised(polygons, mask.shape), mask)


def test_a_part_that_touches_itself_at_a_corner_ends():
    mask = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 1]], bool)
    assert len(outlines(mask)) == 1


@settings(deadline=None, max_examples=150)
@given(masks)
def test_run_lengths_are_cocos(mask):
    runs = mask_api.frPyObjects({"counts": run_lengths(mask), "size": list(mask.shape)}, *mask.shape)
    assert np.array_equal(mask_api.decode(runs) > 0, mask)
    assert runs["counts"] == mask_api.encode(np.asfortranarray(mask, np.uint8))["counts"]


def test_specks_are_dropped_and_pinholes_filled():
    mask = np.zeros((80, 80), bool)
    mask[10:70, 10:60] = True
    whole = mask.copy()
    mask[30, 30] = False
    mask[2, 2] = True
    assert np.array_equal(clean_mask(mask), whole)


def person(mask: np.ndarray, *, crowd: bool = False) -> VisiblePerson:
    keypoints = np.zeros((17, 3), np.int64)
    if not crowd:
        keypoints[5] = 30, 20, 2
        keypoints[6] = 12, 20, 1
    return VisiblePerson(mask=mask, keypoints=keypoints, crowd=crowd, facing_front=True)


def test_a_record_has_the_box_and_area_of_its_mask():
    mask = np.zeros((48, 64), bool)
    mask[5:40, 10:35] = True
    record = person_record(person(mask), 7)
    assert record is not None
    assert record["bbox"] == [10.0, 5.0, 25.0, 35.0]
    assert record["area"] == 25 * 35
    assert record["num_keypoints"] == 2
    assert person_record(person(np.zeros((48, 64), bool)), 7) is None


def test_the_document_has_cocos_fields_and_ids():
    mask = np.zeros((48, 64), bool)
    mask[5:40, 10:35] = True
    plan = PicturePlan(image_id=7, split="val", width_px=64, height_px=48, persons=1, crowd=True)
    records = {7: [person_record(person(mask), 7), person_record(person(mask, crowd=True), 7)]}
    document = annotation_document([plan], records, first_id=12, seed=0)
    assert [annotation["id"] for annotation in document["annotations"]] == [12, 900100000007]
    assert document["images"][0]["file_name"] == "000000000007.jpg"
    category = document["categories"][0]
    assert category["keypoints"] == list(COCO_PERSON.names)
    assert category["skeleton"][:3] == [[16, 14], [14, 12], [17, 15]]
    assert document["annotations"][1]["segmentation"]["size"] == [48, 64]
