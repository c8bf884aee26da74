"""Each named recipe on real COCO pictures: who is kept, what the crop is, what the maps hold.

The recipes' sources: the public repositories named in ``pose_data/recipes.py``.
"""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipelines.prepare import prepare
from pose_data.geometry import apply_affines, crop_transforms, invert_affines
from pose_data.imaging import decode_picture, person_mask, warp_crop
from pose_data.recipes import RECIPES
from pose_data.skeleton import COCO_PERSON
from pose_data.store import open_store


class Prepared:
    """One split of one recipe's store beside the annotations that it was made from."""

    def __init__(self, store: Path, coco: Path, split: str) -> None:
        self.split = open_store(store)[split]
        content = json.loads((coco / "annotations" / f"person_keypoints_{split}.json").read_bytes())
        self.annotations = {annotation["id"]: annotation for annotation in content["annotations"]}
        self.pictures = {image["id"]: image for image in content["images"]}
        self.folder = coco / split
        self.ids = self.split["annotation_id"][:].tolist()
        self.names = {"annotation_id", "image_id", "keypoints", "transforms", "bbox_xywh", "kept"}
        self.columns: dict[str, Any] = {name: self.split[name][:] for name in self.names}

    def pixels(self, row: int) -> np.ndarray:
        """Return the whole source picture of a row, (H, W, 3)."""
        image = self.pictures[self.columns["image_id"][row]]
        data = (self.folder / image["file_name"]).read_bytes()
        size = image["width"], image["height"]
        picture = decode_picture(data, file_name=image["file_name"], expected_wh=size, exif="ignore")
        return np.ascontiguousarray(picture.pixels)

    def truth(self, row: int) -> dict[str, Any]:
        return self.annotations[self.ids[row]]

    def annotated(self, row: int) -> np.ndarray:
        return np.array(self.truth(row)["keypoints"], np.float64).reshape(-1, 3)

    def maps(self, row: int) -> np.ndarray:
        return self.split["heatmaps"][row] / 255.0


@pytest.fixture(scope="module")
def coco(shared: Path) -> Path:
    return shared / "data" / "coco-sample"


@pytest.fixture(scope="module")
def prepared(coco: Path, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("recipes")
    made: dict[tuple[str, str], Prepared] = {}

    def of(name: str, split: str = "train2017") -> Prepared:
        if (name, split) not in made:
            prepare(folder / f"{name}.zarr", root=coco, splits=(split,), recipe=RECIPES[name], max_bad=0.0)
            made[name, split] = Prepared(folder / f"{name}.zarr", coco, split)
        return made[name, split]

    return of


def truncated(box: list[float], width_px: int, height_px: int) -> tuple[int, int, int, int]:
    """Return a box with int() applied to its four numbers, clipped to the picture."""
    x, y, width, height = (int(value) for value in box)
    left, top = max(x, 0), max(y, 0)
    return left, top, min(x + width, width_px) - left, min(y + height, height_px) - top


def rows(part: Prepared, step: int = 1) -> range:
    return range(0, len(part.split), step)


@pytest.mark.parametrize(("split", "kept"), [("train2017", 81), ("val2017", 214)])
def test_the_usual_recipe_keeps_every_person_with_keypoints(prepared, split, kept):
    part = prepared("coco-256x192", split)
    assert len(part.split) == part.columns["kept"].sum() == kept
    expected = {
        number for number, annotation in part.annotations.items()
        if annotation["num_keypoints"] > 0 and not annotation["iscrowd"]
    }  # fmt: skip
    assert set(part.ids) == expected
    table = part.split.table
    assert table.num_rows == len(part.annotations)
    assert sum(table["kept"].to_pylist()) == kept


@pytest.mark.parametrize("name", [name for name, recipe in RECIPES.items() if recipe.rows == "persons"])
def test_stored_keypoints_lead_back_to_the_annotation(prepared, name):
    part = prepared(name)
    _, indices = RECIPES[name].skeleton_of(COCO_PERSON)
    back = apply_affines(part.columns["transforms"], part.columns["keypoints"][..., :2])
    scale = np.abs(part.columns["transforms"][:, :, :2]).max(axis=(1, 2))
    for row in rows(part):
        annotated = part.annotated(row)[list(indices)]
        labelled = annotated[:, 2] > 0
        np.testing.assert_array_equal(part.columns["keypoints"][row][:, 2], annotated[:, 2])
        error = np.abs(back[row] - annotated[:, :2])[labelled].max(initial=0)
        assert error <= 1e-4 * max(1.0, scale[row])
        np.testing.assert_array_equal(part.columns["bbox_xywh"][row], part.truth(row)["bbox"])


REFERENCE_AFFINES = {
    # Scale (both axes) and where the box's centre goes, from the grown box's width: the table of conventions.
    "coco-256x192": lambda bw, w, h: (w / bw, w / bw, w / 2, h / 2),
    "coco-384x288": lambda bw, w, h: (w / bw, w / bw, w / 2, h / 2),
    "attention-256x192": lambda bw, w, h: (w / bw, w / bw, w / 2, h / 2),
    "hourglass-256": lambda bw, w, h: (w / bw, w / bw, w / 2, h / 2),
    "coco-256x192-dark": lambda bw, w, h: ((w - 1) / (bw - 1), (w - 1) / (bw - 1), (w - 1) / 2, (h - 1) / 2),
    "coco-256x192-udp": lambda bw, w, h: ((w - 1) / bw, (h - 1) / (bw * h / w), (w - 1) / 2, (h - 1) / 2),
}


@pytest.mark.parametrize("name", REFERENCE_AFFINES)
def test_the_crop_is_the_warp_of_its_convention(prepared, name):
    part, recipe = prepared(name), RECIPES[name]
    width, height = recipe.crop_width_px, recipe.crop_height_px
    images = part.split["images"]
    for row in rows(part, 8):
        x, y, box_width, box_height = part.truth(row)["bbox"]
        grown = max(box_width, box_height * width / height) * 1.25
        scale_x, scale_y, to_x, to_y = REFERENCE_AFFINES[name](grown, width, height)
        centre_x, centre_y = x + box_width / 2, y + box_height / 2
        affine = np.array([[scale_x, 0, to_x - scale_x * centre_x], [0, scale_y, to_y - scale_y * centre_y]])
        np.testing.assert_allclose(invert_affines(part.columns["transforms"][row]), affine, rtol=1e-9, atol=1e-6)
        crop = np.empty((height, width, 3), np.uint8)
        warp_crop(part.pixels(row), crop_of(part, recipe, row), crop)
        np.testing.assert_array_equal(images[row], crop)


def crop_of(part, recipe, row):
    """Return the affine of a row, image to crop, which the golden crops and matrices are checked against."""
    return crop_transforms(
        [part.truth(row)["bbox"]], geometry=recipe.geometry, crop_width_px=recipe.crop_width_px,
        crop_height_px=recipe.crop_height_px, padding=1.25,
    )[0]  # fmt: skip


def test_the_msra_affine_is_the_golden_one(shared, keyed):
    with np.load(shared / "peer_golden" / "peers.npz") as golden:
        for number, (box, rotation) in enumerate(zip(keyed.BOXES, keyed.ROTS, strict=True)):
            ours = crop_transforms(
                [box], geometry="msra", crop_width_px=192, crop_height_px=256, rotation_deg=rotation
            )[0]
            np.testing.assert_allclose(ours, golden[f"codec_msra:affine/{number}/input"], rtol=0, atol=5e-5)


SIGMAS = {
    "coco-256x192": (48, 64, 2.0), "coco-384x288": (72, 96, 3.0), "attention-256x192": (48, 64, 2.0),
    "hourglass-256": (64, 64, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", SIGMAS)
def test_rounded_gaussians_for_all_labelled_joints(prepared, name):
    part, recipe = prepared(name), RECIPES[name]
    width, height, sigma = SIGMAS[name]
    stride = recipe.crop_width_px / width
    assert part.split["heatmaps"].shape[1:] == (17, height, width)
    drawn = 0
    for row in rows(part, 5):
        maps, keypoints = part.maps(row), part.columns["keypoints"][row].astype(np.float64)
        for joint in range(17):
            x, y = (int(value / stride + 0.5) for value in keypoints[joint, :2])
            reach = int(3 * sigma)
            outside = x - reach >= width or y - reach >= height or x + reach + 1 < 0 or y + reach + 1 < 0
            expected = np.zeros((height, width))
            if keypoints[joint, 2] > 0 and not outside:
                down, across = np.mgrid[:height, :width]
                near = (np.abs(across - x) <= reach) & (np.abs(down - y) <= reach)
                expected = np.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * sigma**2)) * near
                drawn += 1
            assert np.abs(maps[joint] - expected).max() <= 0.002
    assert drawn > 50


@pytest.mark.parametrize(("name", "window"), [("coco-256x192-dark", False), ("coco-256x192-udp", True)])
def test_unrounded_gaussians_about_the_exact_place(prepared, name, window):
    part = prepared(name)
    ratio = np.array([47 / 191, 63 / 255]) if window else np.array([0.25, 0.25])
    checked = 0
    for row in rows(part, 5):
        maps, keypoints = part.maps(row), part.columns["keypoints"][row].astype(np.float64)
        for joint in np.flatnonzero(keypoints[:, 2] > 0):
            x, y = keypoints[joint, :2] * ratio
            if not (6 < x < 41 and 6 < y < 57):
                continue
            down, across = np.mgrid[:64, :48]
            expected = np.exp(-((across - x) ** 2 + (down - y) ** 2) / 8)
            near = (np.abs(across - x) <= 5.4) & (np.abs(down - y) <= 5.4)
            assert np.abs(maps[joint] - expected)[near].max() <= 0.0021
            checked += 1
    assert checked > 50


def test_attention_is_the_usual_recipe_under_its_own_name(prepared):
    usual, attention = prepared("coco-256x192"), prepared("attention-256x192")
    assert attention.split.recipe.name == "attention-256x192"
    for name in usual.split.arrays:
        np.testing.assert_array_equal(attention.split[name][:], usual.split[name][:])


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_the_hourglass_seed_keeps_persons_with_more_than_ten_keypoints(prepared, split):
    part = prepared("hourglass-seed", split)
    expected = {
        number for number, annotation in part.annotations.items()
        if annotation["num_keypoints"] > 10 and not annotation["iscrowd"]
    }  # fmt: skip
    assert set(part.ids) == expected
    assert len(expected) == {"train2017": 39, "val2017": 124}[split]


@pytest.mark.parametrize(("name", "size_wh"), [("hourglass-seed", (256, 256)), ("simcc-seed", (192, 256))])
def test_the_truncated_box_is_stretched_to_the_crop(prepared, name, size_wh):
    part = prepared(name)
    images = part.split["images"]
    for row in rows(part, 6):
        pixels = part.pixels(row)
        x, y, width, height = truncated(part.truth(row)["bbox"], pixels.shape[1], pixels.shape[0])
        corner = part.columns["transforms"][row]
        np.testing.assert_allclose(corner, [[width / size_wh[0], 0, x], [0, height / size_wh[1], y]], atol=1e-9)
        # TensorFlow's plain resize: crop pixel i comes from place i * size / crop of the cut-out box.
        across = np.clip(np.arange(size_wh[0]) * width / size_wh[0], 0, width - 1).astype(np.float32)
        down = np.clip(np.arange(size_wh[1]) * height / size_wh[1], 0, height - 1).astype(np.float32)
        grid_x, grid_y = np.meshgrid(across, down)
        cut = np.ascontiguousarray(pixels[y : y + height, x : x + width])
        expected = cv2.remap(cut, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        inner = (grid_x < width - 1.001) & (grid_y < height - 1.001)
        difference = np.abs(images[row].astype(int) - expected)[inner]
        assert difference.max() <= 5
        assert (difference > 1).mean() < 0.02


def test_one_hot_cell_for_each_visible_joint(prepared):
    part = prepared("hourglass-seed")
    assert part.split["heatmaps"].shape[1:] == (17, 64, 64)
    hot = 0
    for row in rows(part):
        maps, pixels = part.split["heatmaps"][row], part.pixels(row)
        x0, y0, width, height = truncated(part.truth(row)["bbox"], pixels.shape[1], pixels.shape[0])
        for joint, (x, y, flag) in enumerate(part.annotated(row)):
            expected = np.zeros((64, 64), np.uint8)
            cell_x, cell_y = int((x - x0) * 64 / width), int((y - y0) * 64 / height)
            if flag == 2 and x >= x0 and y >= y0 and cell_x < 64 and cell_y < 64:
                expected[cell_y, cell_x] = 255
                hot += 1
            np.testing.assert_array_equal(maps[joint], expected)
    assert hot > 400


def test_simcc_vectors_of_the_seed(prepared):
    part = prepared("simcc-seed")
    assert len(part.split) == 81
    vectors = part.split["simcc_x"][:] / 255.0, part.split["simcc_y"][:] / 255.0
    assert [values.shape for values in vectors] == [(81, 17, 768), (81, 17, 1024)]
    assert dict(part.split["simcc_x"].attrs)["split_ratio"] == 4.0
    drawn = 0
    for row in rows(part, 4):
        keypoints = part.columns["keypoints"][row].astype(np.float64)
        for joint in range(17):
            visible = keypoints[joint, 2] == 2
            inside = (keypoints[joint, :2] >= 0).all() and (keypoints[joint, :2] < [192, 256]).all()
            for axis, values in enumerate(vectors):
                centre = np.rint(keypoints[joint, axis] * 4)
                expected = np.exp(-((np.arange(values.shape[2]) - centre) ** 2) / (2 * 20.0**2))
                if not visible:
                    assert not values[row, joint].any()
                elif inside:
                    # Unnormalised: the peak is 1. One bin of slack where the float32 column rounds the other way.
                    assert np.abs(values[row, joint] - expected).max() <= 0.002 or (
                        abs(keypoints[joint, axis] * 4 % 1 - 0.5) < 1e-3
                    )
                    assert values[row, joint].max() == 1.0
                    drawn += 1
    assert drawn > 200


@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_the_white_frame_keeps_whole_large_persons_of_one_polygon(prepared, split):
    part = prepared("white-frame-320", split)
    expected = {
        number for number, annotation in part.annotations.items()
        if not annotation["iscrowd"] and annotation["num_keypoints"] > 15
        and annotation["bbox"][2] * annotation["bbox"][3] > 2500 and len(annotation["segmentation"]) == 1
    }  # fmt: skip
    assert set(part.ids) == expected
    assert len(expected) == {"train2017": 12, "val2017": 38}[split]
    assert part.split.skeleton.names == ("nose", *COCO_PERSON.names[5:])
    assert part.split["heatmaps"].shape[1:] == (13, 320, 320)
    assert part.split["images"].shape[1:] == (320, 320, 3)


def test_the_white_frame_is_the_seeds_canvas_reduced(prepared):
    part = prepared("white-frame-320", "val2017")
    images = part.split["images"]
    for row in rows(part, 2):
        pixels = part.pixels(row)
        mask = person_mask(part.truth(row)["segmentation"], pixels.shape[1], pixels.shape[0])
        white = np.where(mask[..., None] > 0, pixels, 255).astype(np.uint8)
        x, y, width, height = truncated(part.truth(row)["bbox"], pixels.shape[1], pixels.shape[0])
        side = max(width, height)
        square = np.full((side, side, 3), 255, np.uint8)
        left, top = (side - width) // 2, (side - height) // 2
        square[top : top + height, left : left + width] = white[y : y + height, x : x + width]
        frame = side // 5
        canvas = np.pad(square, ((frame, frame), (frame, frame), (0, 0)), constant_values=255)
        assert canvas.shape[0] == side + 2 * frame
        method = cv2.INTER_AREA if canvas.shape[0] >= 320 else cv2.INTER_LINEAR
        np.testing.assert_array_equal(images[row], cv2.resize(canvas, (320, 320), interpolation=method))
        outside = cv2.resize(
            np.pad(
                np.pad(mask[y : y + height, x : x + width],
                       ((top, side - height - top), (left, side - width - left))), frame
            ).astype(np.float32), (320, 320), interpolation=method,
        ) == 0  # fmt: skip
        assert outside.mean() > 0.4
        assert (images[row][outside] == 255).all()


def test_full_size_maps_about_visible_joints(prepared):
    part = prepared("white-frame-320", "val2017")
    indices = [0, *range(5, 17)]
    down, across = np.mgrid[:320, :320]
    drawn = 0
    for row in rows(part, 8):
        maps, keypoints = part.maps(row), part.columns["keypoints"][row].astype(np.float64)
        for joint, index in enumerate(indices):
            if part.annotated(row)[index, 2] != 2:
                assert not maps[joint].any()
                continue
            x, y = keypoints[joint, :2]
            expected = np.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * 64))
            assert np.abs(maps[joint] - expected).max() <= 0.0021
            if 0 <= x <= 319 and 0 <= y <= 319:
                assert maps[joint].max() >= 0.99  # 1 at the joint itself, which lies between pixels
                drawn += 1
    assert drawn > 20
