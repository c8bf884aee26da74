"""Augmentation of whole pictures, batched on the device: scale, turn, place, flip; then pixels, targets and mask.

A window is cut about one person of the picture, drawn among those that are large and labelled enough, as the published
trainings do it: this person's box becomes a given share of the window high, times a drawn factor. All persons of the
picture move with it, and their maps and fields are drawn where they come to lie, sides swapped in mirrored windows. The
mask of what must not be trained on is warped cell by cell.

Every picture draws its own numbers from (seed, epoch, row), as in :mod:`pose_models.augment`. Frames: ``stored``
(pixels of the stored image), ``crop`` (pixels of the window that the network sees).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from pose_data.errors import UsageError
from pose_data.limbs import find_limb_table
from pose_data.recipes import Recipe
from pose_data.scene_rows import BORDER_GREY, scene_rules
from pose_data.skeleton import Skeleton
from pose_models.augment import PixelRule, TrainingBatch, normalised, turned_about, warped
from pose_models.copying import sent
from pose_models.draws import Draws, sample_draws
from pose_models.scene_targets import render_fields, render_scene_maps, with_neck
from pose_models.stream import DeviceBatch

__all__ = [
    "SCENE_ARRAYS",
    "SCENE_AUGMENTATIONS",
    "SceneAugmentation",
    "augment_scenes",
    "find_scene_augmentation",
    "scene_transforms",
]

SCENE_ARRAYS = ("images", "mask", "keypoints", "bbox_xywh", "area", "transforms")
"""What a stream of scenes must read for :func:`augment_scenes`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneAugmentation:
    """What is drawn for each picture; uniform within its bounds."""

    flip_share: float = 0.5
    scale: tuple[float, float] = (0.5, 1.1)
    """Bounds of the factor on the chosen person's size."""
    rotation_deg: float = 40.0
    shift_px: float = 40.0
    """The chosen person's box is so far from the window's middle at most, on each axis."""
    person_height: float = 0.6
    """With a factor of 1 the chosen person's box is this share of the window high; 0: the whole stored picture is
    shown, times the factor, about its middle."""
    least_keypoints: int = 5
    least_area_px2: float = 1024.0
    """Persons with fewer labels, or smaller in the source picture, are chosen only where there is nobody else."""

    def __post_init__(self) -> None:
        low, high = self.scale
        if not 0.0 <= self.flip_share <= 1.0 or not 0.0 < low <= high <= 10.0 or not 0.0 <= self.person_height <= 10.0:
            raise UsageError("option-value", "flip_share is a share; scale and person_height lie between 0 and 10")
        if not 0.0 <= self.rotation_deg <= 180.0 or self.shift_px < 0.0:
            raise UsageError("option-value", "rotation_deg lies between 0 and 180, shift_px is not negative")


SCENE_AUGMENTATIONS: Mapping[str, SceneAugmentation] = MappingProxyType(
    {
        # The picture as it is stored, made as large as the window.
        "none": SceneAugmentation(flip_share=0.0, scale=(1.0, 1.0), rotation_deg=0.0, shift_px=0.0, person_height=0.0),
        # CMU-Perceptual-Computing-Lab's training; Daniil-Osokin/lightweight-human-pose-estimation.pytorch, train.py.
        "openpose": SceneAugmentation(),
    }
)


def find_scene_augmentation(name: str) -> SceneAugmentation:
    """Return the named augmentation of scenes. Raises UsageError for an unknown name."""
    if name not in SCENE_AUGMENTATIONS:
        raise UsageError(
            "augmentation-unknown", f"there is no augmentation of scenes {name!r}",
            hint=f"one of: {', '.join(SCENE_AUGMENTATIONS)}",
        )  # fmt: skip
    return SCENE_AUGMENTATIONS[name]


def augment_scenes(
    batch: DeviceBatch, recipe: Recipe, skeleton: Skeleton, augmentation: SceneAugmentation, pixels: PixelRule, *,
    seed: int, epoch: int,
) -> TrainingBatch:  # fmt: skip
    """Return windows of the batch's pictures, with targets by the recipe's rules.

    ``recipe`` says the stored image (window and context), the window and its maps. Of the result, ``targets`` are maps
    (B, J + 1, h, w) and fields (B, 2 L, h, w), ``weights`` (B, h, w) the share of every cell that is trained on, and
    ``keypoints`` (P, K, 3) those of all persons, in their windows.
    """
    stored = batch.arrays["images"]
    draws = sample_draws(batch.rows.numpy(), seed=seed, epoch=epoch)
    to_crop = scene_transforms(batch, recipe, augmentation, draws)
    flip = sent(draws.uniform(0) < augmentation.flip_share, stored.device)
    scene = _scene_of_persons(batch)
    keypoints = _moved(batch.arrays["keypoints"].to(torch.float64), to_crop[scene])
    images = warped(stored, to_crop, recipe.crop_width_px, recipe.crop_height_px, fill=float(BORDER_GREY))
    mask = _mask(batch, recipe, to_crop)
    if augmentation.flip_share:
        images = torch.where(flip[:, None, None, None], images.flip(-1), images)
        mask = torch.where(flip[:, None, None], mask.flip(-1), mask)
        keypoints = torch.where(
            flip[scene][:, None, None], _mirrored(keypoints, skeleton, recipe.crop_width_px), keypoints
        )
    valid = sent(batch.valid.numpy(), stored.device).to(torch.float32)
    return TrainingBatch(
        images=normalised(images, pixels), targets=_targets(keypoints, scene, len(stored), recipe),
        weights=mask * valid[:, None, None], keypoints=keypoints,
    )  # fmt: skip


def _scene_of_persons(batch: DeviceBatch) -> Tensor:
    """Return which picture of the batch each person is of, (P,) int64."""
    persons = torch.arange(len(batch.arrays["keypoints"]), device=batch.arrays["offsets"].device)
    return torch.searchsorted(batch.arrays["offsets"][:, 1].contiguous(), persons, right=True)


def _moved(keypoints: Tensor, to_crop: Tensor) -> Tensor:
    """Return keypoints (P, K, 3) moved by each person's matrix; unlabelled ones have no place and stay."""
    x, y, flag = keypoints.unbind(dim=-1)
    (a, b, c), (d, e, f) = (row.unbind(dim=1) for row in to_crop.unbind(dim=1))
    moved = (
        a[:, None] * x + b[:, None] * y + c[:, None],
        d[:, None] * x + e[:, None] * y + f[:, None],
    )  # fmt: skip
    return torch.stack([*(torch.where(flag > 0, one, 0.0) for one in moved), flag], dim=-1)


def _mirrored(keypoints: Tensor, skeleton: Skeleton, width_px: int) -> Tensor:
    order = sent(np.array(skeleton.flip_order(), np.float64), keypoints.device).to(torch.int64)
    swapped = keypoints.index_select(1, order)
    x = torch.where(swapped[..., 2] > 0, (width_px - 1.0) - swapped[..., 0], 0.0)
    return torch.cat([x[..., None], swapped[..., 1:]], dim=-1)


def _targets(keypoints: Tensor, scene: Tensor, scenes: int, recipe: Recipe) -> tuple[Tensor, Tensor]:
    xy, labelled = with_neck(keypoints[..., :2], keypoints[..., 2] > 0)
    rules, limbs = scene_rules(recipe), find_limb_table(recipe.limbs).limbs
    size = {"map_width": recipe.map_width, "map_height": recipe.map_height}
    maps = render_scene_maps(xy, labelled, scene, scenes, rules=rules, **size)
    return maps, render_fields(xy, labelled, scene, scenes, limbs, rules=rules, **size)


def _mask(batch: DeviceBatch, recipe: Recipe, to_crop: Tensor) -> Tensor:
    """Return the share (B, h, w) float32 of every cell of the window that is trained on; outside the picture all."""
    # Cell c has its middle at pixel stride * c + (stride - 1) / 2, before and after.
    stride, middle = recipe.stride_px, (recipe.stride_px - 1) / 2.0
    in_cells = to_crop.clone()
    in_cells[..., 2] = (to_crop[..., :2].sum(dim=-1) * middle + to_crop[..., 2] - middle) / stride
    stored = batch.arrays["mask"][..., None]
    return warped(stored, in_cells, recipe.map_width, recipe.map_height, fill=255.0)[:, 0] / 255.0


# ---------------------------------------------------------------------------------- the window


def scene_transforms(batch: DeviceBatch, recipe: Recipe, augmentation: SceneAugmentation, draws: Draws) -> Tensor:
    """Return the matrices (B, 2, 3) float64 from the stored images to the windows, before any flip."""
    device = batch.arrays["images"].device
    low, high = augmentation.scale
    window = np.array([recipe.crop_width_px, recipe.crop_height_px], np.float64)
    stored = np.array([recipe.stored_width_px, recipe.stored_height_px], np.float64)
    drawn = np.column_stack([
        low + (high - low) * draws.uniform(1),
        np.radians(augmentation.rotation_deg * (2.0 * draws.uniform(2) - 1.0)),
        augmentation.shift_px * (2.0 * draws.uniform(3) - 1.0),
        augmentation.shift_px * (2.0 * draws.uniform(4) - 1.0),
        draws.uniform(5),
    ])  # fmt: skip
    factor, radians, shift_x, shift_y, choice = sent(drawn, device).unbind(dim=1)
    middle = sent((window - 1.0) / 2.0, device)
    centre = sent((stored - 1.0) / 2.0, device).expand(len(factor), 2)
    zoom = torch.full_like(factor, float((window / stored).min()))
    if augmentation.person_height:
        box_centre, height, found = _chosen_persons(batch, augmentation, choice)
        centre = torch.where(found[:, None], box_centre, centre)
        zoom = torch.where(found, augmentation.person_height * recipe.crop_height_px / height, zoom)
    to_crop = turned_about(centre, middle, radians, 1.0 / (factor * zoom))
    to_crop[..., 2] += torch.stack([shift_x, shift_y], dim=1)
    return to_crop


def _chosen_persons(
    batch: DeviceBatch, augmentation: SceneAugmentation, choice: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the box's centre (B, 2) and height (B,) of one person of each picture, stored frame, and if there is one.

    Persons that are large and labelled enough before others; among them by ``choice`` (B,) in [0, 1).
    """
    arrays, offsets = batch.arrays, batch.arrays["offsets"]
    transforms, box = arrays["transforms"], arrays["bbox_xywh"].to(torch.float64)
    # Letterboxing has one scale on both axes and no turn.
    scale = transforms[:, 0, 0]
    usable = box.isfinite().all(dim=1) & (box[:, 2:] > 0).all(dim=1)
    labelled = (arrays["keypoints"][..., 2] > 0).sum(dim=1)
    good = usable & (labelled >= augmentation.least_keypoints)
    good = good & (arrays["area"].nan_to_num(nan=0.0) >= augmentation.least_area_px2)
    person, found = _pick(good, offsets, choice)
    other, any_found = _pick(usable, offsets, choice)
    person = torch.where(found, person, other)
    chosen = torch.cat([box, torch.ones_like(box[:1])])[person]
    centre_image = chosen[:, :2] + (chosen[:, 2:] - 1.0) / 2.0
    safe = torch.where(scale > 0, scale, 1.0)
    return (centre_image - transforms[:, :, 2]) / safe[:, None], chosen[:, 3] / safe, any_found & (scale > 0)


def _pick(usable: Tensor, offsets: Tensor, choice: Tensor) -> tuple[Tensor, Tensor]:
    """Return one usable person of each picture, and whether there is one; else the place behind the last person."""
    counted = torch.cat([usable.new_zeros(1, dtype=torch.int64), usable.to(torch.int64).cumsum(dim=0)])
    before, end = counted[offsets[:, 0]], counted[offsets[:, 1]]
    number = before + (choice * (end - before)).floor().to(torch.int64) + 1
    person = torch.searchsorted(counted[1:].contiguous(), number)
    found = end > before
    return torch.where(found, person, len(usable)), found
