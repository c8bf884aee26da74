"""Crops around detected boxes: the pixels that the training's rules cut, whatever the picture's kind."""

import numpy as np
import pytest

from pose_data.errors import InputError
from pose_data.geometry import crop_transforms
from pose_data.imaging import decode_picture, encode_jpeg, encode_png, square_crop, warp_crop
from pose_data.recipes import build_recipe
from pose_models import box_crops
from pose_models.box_crops import Boxes, crops_of_boxes

RECIPE = build_recipe("coco-256x192")
IDS = np.array([2, 1, 1, 2, 1])
BOXES = np.array([[3, 4, 30, 40], [0, 0, 10, 10], [20, 8, 44, 20], [-5, -5, 30, 30], [1, 2, 60, 45]], np.float64)


@pytest.fixture
def pictures(tmp_path):
    pixels = np.random.default_rng(3).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    (tmp_path / "1.jpg").write_bytes(encode_jpeg(pixels, 90))
    (tmp_path / "2.png").write_bytes(encode_png(pixels[::-1]))
    return {1: tmp_path / "1.jpg", 2: tmp_path / "2.png"}


def boxes():
    return Boxes(image_id=IDS, bbox_xywh=BOXES, score=np.ones(len(IDS)))


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_every_box_gets_its_own_crop(pictures, batch_size):
    found = {}
    for part in crops_of_boxes(boxes(), RECIPE, pictures, batch_size=batch_size, threads=2):
        assert len(part.numbers) == len(part.images) == len(part.transforms)
        found |= dict(zip(part.numbers.tolist(), part.images, strict=True))
    assert sorted(found) == [0, 1, 2, 3, 4]
    transforms = crop_transforms(
        BOXES, geometry=RECIPE.geometry, crop_width_px=192, crop_height_px=256, padding=RECIPE.padding, frame=0.0
    )
    for number, crop in found.items():
        path = pictures[IDS[number]]
        picture = decode_picture(path.read_bytes(), file_name=path.name, expected_wh=None, exif="ignore")
        expected = np.empty((256, 192, 3), np.uint8)
        warp_crop(np.ascontiguousarray(picture.pixels), transforms[number], expected)
        assert np.array_equal(crop, expected)


def test_square_crops_are_those_of_the_store_and_of_predictions(pictures):
    recipe = build_recipe("white-frame-320")
    cut = np.trunc(BOXES)
    found = {}
    for part in crops_of_boxes(boxes(), recipe, pictures, batch_size=100, threads=1):
        found |= dict(zip(part.numbers.tolist(), part.images, strict=True))
    for number, crop in found.items():
        path = pictures[IDS[number]]
        picture = decode_picture(path.read_bytes(), file_name=path.name, expected_wh=None, exif="ignore")
        expected = np.empty((320, 320, 3), np.uint8)
        square_crop(picture.pixels, cut[number], crop_px=320, frame=recipe.frame, out=expected)
        assert np.array_equal(crop, expected)
    assert (found[0][0, 0] == 255).all()  # a white frame


def test_a_jpeg_is_not_copied_for_each_of_its_boxes(pictures, monkeypatch):
    given = []

    def noted(pixels, *arguments, **options):
        given.append((pixels.shape[2], pixels.flags.c_contiguous))
        warp_crop(pixels, *arguments, **options)

    monkeypatch.setattr(box_crops, "warp_crop", noted)
    list(crops_of_boxes(boxes(), RECIPE, pictures, batch_size=100, threads=1))
    assert sorted(given) == [(3, True)] * 2 + [(4, True)] * 3


def test_boxes_of_unknown_pictures_are_left_out_and_unreadable_ones_named(pictures):
    parts = list(crops_of_boxes(boxes(), RECIPE, {1: pictures[1]}, batch_size=100, threads=1))
    assert sorted(parts[0].numbers.tolist()) == [1, 2, 4]
    pictures[2].write_bytes(b"")
    with pytest.raises(InputError, match=r"2\.png"):
        list(crops_of_boxes(boxes(), RECIPE, pictures, batch_size=100, threads=1))
