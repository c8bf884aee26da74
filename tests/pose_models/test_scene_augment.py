"""Windows of scenes: where persons come to lie, their targets, the mask, mirroring, and whose draws they are."""

import dataclasses
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from pose_data.errors import UsageError
from pose_data.limbs import LIMB_TABLES, add_neck
from pose_data.order import EpochOrder
from pose_data.scene_rows import scene_rules
from pose_data.skeleton import COCO_PERSON
from pose_data.store import open_store
from pose_data.targets.paf import encode_fields, encode_scene_maps
from pose_models.augment import PixelRule, TrainingBatch
from pose_models.draws import sample_draws
from pose_models.scene_augment import (
    SCENE_ARRAYS,
    SCENE_AUGMENTATIONS,
    SceneAugmentation,
    augment_scenes,
    find_scene_augmentation,
    scene_transforms,
)
from pose_models.stream import DeviceBatch, SampleStream

STILL = SCENE_AUGMENTATIONS["none"]


@pytest.fixture(scope="module")
def store(factory: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    factory.CocoMaker(folder / "coco", pictures=8).write("val2017")
    factory.prepare_split(folder / "s.zarr", folder / "coco", "val2017", factory.scene_recipe())
    return folder / "s.zarr"


def batches(store: Path, size: int = 3) -> list[DeviceBatch]:
    stream = SampleStream(
        open_store(store)["val2017"], batch_size=size, order=EpochOrder(shuffle="none"), arrays=SCENE_ARRAYS, threads=1
    )
    with torch.inference_mode():
        found = [
            dataclasses.replace(batch, arrays={name: one.clone() for name, one in batch.arrays.items()})
            for batch in stream.epoch(0)
        ]
    stream.close()
    return found


def augmented(store: Path, augmentation: SceneAugmentation, size: int = 3, **options: int) -> list[TrainingBatch]:
    recipe = open_store(store)["val2017"].recipe
    given = {"seed": 1, "epoch": 0, **options}
    return [
        augment_scenes(batch, recipe, COCO_PERSON, augmentation, PixelRule(), **given) for batch in batches(store, size)
    ]


def persons_of(batch: DeviceBatch) -> np.ndarray:
    counts = (batch.arrays["offsets"][:, 1] - batch.arrays["offsets"][:, 0]).numpy()
    return np.repeat(np.arange(len(counts)), counts)


@pytest.mark.parametrize("name", SCENE_AUGMENTATIONS)
def test_targets_are_numpy_s_of_the_moved_keypoints(store: Path, name: str) -> None:
    recipe = open_store(store)["val2017"].recipe
    size = {"rules": scene_rules(recipe), "map_width": 12, "map_height": 12}
    for batch, made in zip(batches(store), augmented(store, SCENE_AUGMENTATIONS[name]), strict=True):
        scene, keypoints = persons_of(batch), made.keypoints.numpy()
        maps, fields = made.targets
        assert made.images.shape == (3, 3, 48, 48)
        for number in range(3):
            own = keypoints[scene == number]
            joints = add_neck(own[..., :2], own[..., 2] > 0)
            np.testing.assert_allclose(maps[number], encode_scene_maps(*joints, **size), rtol=0, atol=6e-8)
            expected = encode_fields(*joints, LIMB_TABLES[recipe.limbs].limbs, **size)
            np.testing.assert_allclose(fields[number], expected, rtol=0, atol=6e-8)
    assert any(bool(made.targets[1].any()) for made in augmented(store, SCENE_AUGMENTATIONS[name]))


def test_a_picture_that_is_not_moved_is_the_stored_one_smaller(store: Path) -> None:
    (batch, *_), (made, *_) = batches(store), augmented(store, STILL)
    scene = persons_of(batch)
    before, after = batch.arrays["keypoints"].numpy().astype(np.float64), made.keypoints.numpy()
    seen = before[..., 2] > 0
    expected = (before[..., :2] - 31.5) * 48 / 64 + 23.5
    np.testing.assert_allclose(after[seen][:, :2], expected[seen], atol=1e-9)
    np.testing.assert_array_equal(after[..., 2], before[..., 2])
    assert not after[~seen].any()
    assert len(scene) == len(after)
    # Smooth noise: the middle of a window is about the stored picture's middle.
    stored = batch.arrays["images"][:, 31:33, 31:33].to(torch.float32).mean(dim=(1, 2))
    np.testing.assert_allclose(255 * made.images[:, :, 23:25, 23:25].mean(dim=(2, 3)), stored, atol=15)


def test_pixels_and_keypoints_move_together(store: Path) -> None:
    """A white dot at every keypoint of a black picture is found at the moved keypoint."""
    augmentation = SceneAugmentation(shift_px=5.0, scale=(0.9, 1.1))
    recipe = open_store(store)["val2017"].recipe
    looked_at = 0
    for batch in batches(store):
        arrays = dict(batch.arrays)
        dots, scene = torch.zeros_like(arrays["images"]), persons_of(batch)
        for number, person in zip(scene, arrays["keypoints"].numpy(), strict=True):
            x, y = np.rint(person[0, :2]).astype(int)
            dots[number, max(0, y - 1) : y + 2, max(0, x - 1) : x + 2] = 255
        arrays["images"] = dots
        made = augment_scenes(
            dataclasses.replace(batch, arrays=arrays), recipe, COCO_PERSON, augmentation, PixelRule(), seed=4, epoch=2
        )
        for number, person in zip(scene, made.keypoints.numpy(), strict=True):
            x, y = person[0, :2]
            if not (2 < x < 45 and 2 < y < 45):
                continue
            looked_at += 1
            assert made.images[number, :, round(y), round(x)].min() > 0.3
    assert looked_at > 5


def test_mirrored_windows_have_the_other_side_s_names(store: Path) -> None:
    plain, mirrored = (augmented(store, dataclasses.replace(STILL, flip_share=share)) for share in (0.0, 1.0))
    order = list(COCO_PERSON.flip_order())
    for one, other in zip(plain, mirrored, strict=True):
        torch.testing.assert_close(other.images, one.images.flip(-1))
        torch.testing.assert_close(other.weights, one.weights.flip(-1))
        swapped = one.keypoints[:, order]
        torch.testing.assert_close(other.keypoints[..., 2], swapped[..., 2])
        seen = swapped[..., 2] > 0
        torch.testing.assert_close(other.keypoints[..., 0][seen], 47.0 - swapped[..., 0][seen])
        # Maps are symmetric about the window's middle; the mirrored left map is the right one.
        names = LIMB_TABLES["openpose"].skeleton.flip_order()
        torch.testing.assert_close(other.targets[0][:, :18], one.targets[0][:, list(names)].flip(-1))


def test_the_chosen_person_is_as_high_as_asked_for(store: Path) -> None:
    recipe = open_store(store)["val2017"].recipe
    augmentation = SceneAugmentation(scale=(1.0, 1.0), rotation_deg=0.0, shift_px=0.0, least_area_px2=1.0)
    chosen = 0
    for batch in batches(store):
        draws = sample_draws(batch.rows.numpy(), seed=0, epoch=0)
        to_crop = scene_transforms(batch, recipe, augmentation, draws).numpy()
        boxes, scale = batch.arrays["bbox_xywh"].numpy(), batch.arrays["transforms"][:, 0, 0].numpy()
        for number in range(len(to_crop)):
            heights = boxes[persons_of(batch) == number, 3] / scale[number] * to_crop[number, 0, 0]
            chosen += int(np.isclose(heights, 0.6 * 48).sum())
    assert chosen == sum(len(batch.rows) for batch in batches(store))


def test_small_and_hardly_labelled_persons_are_chosen_only_for_want_of_others(store: Path) -> None:
    recipe = open_store(store)["val2017"].recipe
    still = SceneAugmentation(scale=(1.0, 1.0), rotation_deg=0.0, shift_px=0.0, least_area_px2=1.0)
    (batch, *_) = batches(store)
    scene, arrays = persons_of(batch), dict(batch.arrays)
    wanted = np.array([np.flatnonzero(scene == number)[-1] for number in range(3)])
    keypoints = arrays["keypoints"].clone()
    for number, index in enumerate(wanted):
        others = np.setdiff1d(np.flatnonzero(scene == number), index)
        keypoints[others, 4:, 2] = 0
    few = dataclasses.replace(batch, arrays={**arrays, "keypoints": keypoints})
    for epoch in range(4):
        draws = sample_draws(batch.rows.numpy(), seed=0, epoch=epoch)
        heights = arrays["bbox_xywh"][wanted, 3] / arrays["transforms"][:, 0, 0]
        zoom = scene_transforms(few, recipe, still, draws)[:, 0, 0]
        torch.testing.assert_close(heights * zoom, torch.full((3,), 0.6 * 48, dtype=torch.float64))
    keypoints[:, 4:, 2] = 0
    nobody = dataclasses.replace(batch, arrays={**arrays, "keypoints": keypoints})
    assert bool((scene_transforms(nobody, recipe, still, draws)[:, 0, 0] != 0.75).all())
    lost = {**arrays, "bbox_xywh": torch.full_like(arrays["bbox_xywh"], torch.nan)}
    zoom = scene_transforms(dataclasses.replace(batch, arrays=lost), recipe, still, draws)[:, 0, 0]
    torch.testing.assert_close(zoom, torch.full((3,), 0.75, dtype=torch.float64))


def test_the_mask_moves_with_the_picture_and_padding_rows_weigh_nothing(store: Path) -> None:
    plain = augmented(store, STILL, size=4)
    for batch, made in zip(batches(store, 4), plain, strict=True):
        assert made.weights.shape == (4, 12, 12)
        stored = batch.arrays["mask"].to(torch.float32) / 255.0
        # 16 cells are shown as 12: the means agree but for the border cells' rounding.
        for number in np.flatnonzero(batch.valid.numpy()):
            assert abs(float(made.weights[number].mean()) - float(stored[number].mean())) < 0.03
        assert not made.weights[~batch.valid].any()
    assert any(0 < float(weights.min()) < 0.9 for made in plain for weights in made.weights)
    last = augmented(store, STILL, size=3)[-1].weights  # eight rows in batches of three
    assert last[1].any()
    assert not last[2].any()


def test_what_happens_to_a_picture_depends_on_seed_epoch_and_row_alone(store: Path) -> None:
    openpose = SCENE_AUGMENTATIONS["openpose"]
    whole, single = augmented(store, openpose, 8), augmented(store, openpose, 1)
    for number in range(8):
        torch.testing.assert_close(whole[0].images[number], single[number].images[0])
        torch.testing.assert_close(whole[0].targets[1][number], single[number].targets[1][0])
    for change in ({"seed": 2}, {"epoch": 1}):
        assert not torch.equal(augmented(store, openpose, 8, **change)[0].images, whole[0].images)


def test_unknown_and_impossible_augmentations_are_refused() -> None:
    assert find_scene_augmentation("openpose") == SceneAugmentation()
    with pytest.raises(UsageError, match="augmentation-unknown"):
        find_scene_augmentation("hrnet")
    for change in ({"scale": (1.0, 0.5)}, {"flip_share": 2.0}, {"rotation_deg": -1.0}, {"scale": (0.0, 1.0)}):
        with pytest.raises(UsageError, match="option-value"):
            SceneAugmentation(**change)
