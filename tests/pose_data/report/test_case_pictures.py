"""Pictures of cases: the right pixels, and points that stay on them."""

import io

import numpy as np
import pytest
from PIL import Image

from pose_data.errors import InputError
from pose_data.evaluation.store_truth import ground_truth_from_split, truth_from_split
from pose_data.report.case_pictures import NoPictures, PictureFolder, StoreCrops, StoreScenes, pictures_of
from pose_data.store import open_store


def pixels_of(picture):
    return np.asarray(Image.open(io.BytesIO(picture.webp)).convert("RGB")).astype(int)


def on_card(picture, xy):
    return picture.to_card[:, :2] @ np.array(xy) + picture.to_card[:, 2]


@pytest.fixture
def folder(tmp_path):
    picture = np.zeros((300, 400, 3), np.uint8)
    picture[95:106, 195:206] = (255, 40, 40)  # around (200, 100)
    Image.fromarray(picture).save(tmp_path / "one.png")
    return tmp_path


@pytest.mark.parametrize("region", [(150, 50, 100, 100), (-50, -150, 500, 500), (150.4, 49.6, 90, 90)])
def test_a_point_of_the_picture_stays_on_its_pixels(folder, region):
    shown = PictureFolder(folder, {1: "one.png"}).show(1, None, np.array(region, float))
    pixels = pixels_of(shown)
    assert pixels.shape == (shown.height_px, shown.width_px, 3)
    red = np.argwhere(pixels[..., 0] - pixels[..., 1] > 120)
    np.testing.assert_allclose(on_card(shown, (200, 100)), red.mean(axis=0)[::-1], atol=1.0)


def test_a_region_outside_the_picture_is_grey(folder):
    shown = PictureFolder(folder, {1: "one.png"}).show(1, None, np.array([1000.0, 1000.0, 50.0, 50.0]))
    assert abs(pixels_of(shown) - 128).max() < 5


def test_a_picture_that_is_not_there_leaves_the_card_blank(folder):
    pictures = PictureFolder(folder, {1: "none.jpg"})
    for number in (1, 2):
        shown = pictures.show(number, None, np.array([10.0, 20.0, 40.0, 40.0]))
        assert shown.webp == b""
        np.testing.assert_allclose(on_card(shown, (10, 20)), (0, 0), atol=1e-9)


def test_a_stores_crop_shows_the_person_where_its_keypoints_are(finished_store):
    split = open_store(finished_store)["train2017"]
    pictures, truth = StoreCrops(split), ground_truth_from_split(split)
    row = int(np.flatnonzero(split["kept"][:])[0])
    number = int(split["annotation_id"][row])
    shown = pictures.show(0, number, np.array([0.0, 0, 1, 1]))
    stored = split["keypoints"][row]
    person = np.flatnonzero(truth.annotation_id == number)[0]
    scale = shown.width_px / split["images"].shape[2]
    for joint in np.flatnonzero(stored[:, 2] > 0):
        expected = (stored[joint, :2] + 0.5) * scale - 0.5
        np.testing.assert_allclose(on_card(shown, truth.keypoints[person, joint, :2]), expected, atol=0.05)


def test_an_annotation_without_a_crop_is_blank(finished_store):
    pictures = StoreCrops(open_store(finished_store)["train2017"])
    assert pictures.show(1, 10**9, np.array([0.0, 0, 9, 9])).webp == b""
    assert NoPictures().show(1, None, np.array([0.0, 0, 9, 9])).width_px > 100


def test_a_scene_shows_the_region_of_the_stored_picture_where_its_keypoints_are(factory, tmp_path):
    factory.CocoMaker(tmp_path / "coco", pictures=3).write("val2017")
    factory.prepare_split(tmp_path / "s.zarr", tmp_path / "coco", "val2017", factory.scene_recipe())
    split = open_store(tmp_path / "s.zarr")["val2017"]
    own = truth_from_split(split)
    pictures, truth = pictures_of(own, split, None), own.truth
    assert isinstance(pictures, StoreScenes)
    row = int(np.flatnonzero(split["kept"][:])[0])
    image_id, stored = int(split["image_id"][:][row]), split["images"][row]
    region = np.array([10.0, 8.0, 40.0, 30.0])
    shown = pictures.show(image_id, None, region)
    # 80 x 64 pixels are stored as 64 x 51: a region of 40 x 30 has 32 x 24 of them.
    assert (shown.width_px, shown.height_px) == (32, 24)
    np.testing.assert_allclose(on_card(shown, (10, 8)), (-0.1, -0.1), atol=0.6)
    pixels = pixels_of(shown)
    first, _ = split["offsets"][:][row]
    person = np.flatnonzero(truth.annotation_id == int(split["annotation_id"][:][first]))[0]
    for keypoint, annotated in zip(split["keypoints"][:][first], truth.keypoints[person], strict=True):
        x, y = np.rint(on_card(shown, annotated[:2])).astype(int)
        if keypoint[2] > 0 and 2 < x < 29 and 2 < y < 21:
            u, v = np.rint(keypoint[:2]).astype(int)
            assert (
                np.abs(pixels[y - 1 : y + 2, x - 1 : x + 2].mean() - stored[v - 1 : v + 2, u - 1 : u + 2].mean()) < 25
            )
    assert pictures.show(10**9, None, region).webp == b""


@pytest.mark.parametrize(
    "region",
    [(-60_000, -60_000, 120_000, 120_000), (50_000, 50_000, 1e6, 1e6), (-1e6, 90, 2e6, 2e6), (190, 90, 1e7, 20)],
)
def test_a_region_as_large_as_far_off_keypoints_make_it_is_shown_without_being_made(folder, region):
    shown = PictureFolder(folder, {1: "one.png"}).show(1, None, np.array(region, float))
    assert max(shown.width_px, shown.height_px) <= 220
    assert pixels_of(shown).shape == (shown.height_px, shown.width_px, 3)
    x, y, width, height = region
    np.testing.assert_allclose(on_card(shown, (x, y)), (0, 0), atol=0.5)
    np.testing.assert_allclose(on_card(shown, (x + width, y + height)), (shown.width_px, shown.height_px), atol=0.5)


def test_pictures_that_cannot_be_read_are_counted_once_each(folder):
    (folder / "broken.png").write_bytes(b"no picture")
    names = {1: "one.png", 2: "none.png", 3: "broken.png", 5: "one.png"}
    pictures = PictureFolder(folder, names)
    region = np.array([150.0, 50, 100, 100])
    assert pictures.warnings() == ()
    for number in (1, 1, 3, 2, 2, 4):
        pictures.show(number, None, region)
    (warning,) = pictures.warnings()
    assert warning.startswith("3 of 4 pictures could not be read")
    assert "'none.png'" in warning
    assert str(folder) not in warning
    assert NoPictures().warnings() == ()


def test_names_that_lead_out_of_the_folder_are_not_read(folder):
    inside = folder / "inside"
    inside.mkdir()
    (inside / "link.png").symlink_to(folder / "one.png")
    names = dict(enumerate(["../one.png", str(folder / "one.png"), "link.png", "x\0.png"]))
    pictures = PictureFolder(inside, names)
    for number in names:
        assert pictures.show(number, None, np.array([150.0, 50, 100, 100])).webp == b""
    (warning,) = pictures.warnings()
    assert warning.startswith("4 of 4 pictures could not be read")
    assert "climbs with '..'" in warning


def test_a_folder_that_is_not_there_is_refused(finished_store, folder):
    truth = truth_from_split(open_store(finished_store)["train2017"])
    for path in (folder / "none", folder / "one.png"):
        with pytest.raises(InputError, match="no such folder") as raised:
            pictures_of(truth, None, path)
        assert raised.value.code == "images-not-found"
