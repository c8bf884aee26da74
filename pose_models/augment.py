"""Augmentation, batched on the device: flip, scale, rotation, shift, half body, colour; then pixels and targets.

The window is cut out of the stored image by one bilinear warp, so that context kept around it gives real pixels where
rotation and zoom-out reach; only where the picture itself ended, or no context was kept, are there zeros. Keypoints
move by the same matrices in float64, and targets are drawn from them.

Every sample draws its own numbers from (seed, epoch, row): what happens to a sample does not depend on the batch it is
in, on the number of ranks, or on where a training was resumed.

Frames: ``stored`` (pixels of the stored image), ``crop`` (pixels of the window that the network sees).
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from pose_data.recipes import Recipe
from pose_data.skeleton import Skeleton
from pose_models.augmentation_rules import Augmentation, Spread
from pose_models.colour import with_other_pixels
from pose_models.copying import sent
from pose_models.draws import Draws, sample_draws
from pose_models.networks.network import Network
from pose_models.stream import DeviceBatch
from pose_models.targets import SimccLabels, Targets, render_targets

__all__ = [
    "PixelRule",
    "TrainingBatch",
    "augment_batch",
    "augmentation_transforms",
    "normalised",
    "plain_batch",
    "turned_about",
    "warped",
    "window_pixels",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelRule:
    """How pixels are fed: channel order, and (value / 255 - mean) / std in that order."""

    bgr: bool = False
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)

    @staticmethod
    def of(network: Network) -> "PixelRule":
        """Return the rule that belongs to a network's weights."""
        return PixelRule(bgr=network.colour_order == "bgr", mean=network.mean, std=network.std)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingBatch:
    """What a training step takes, all on the device.

    ``images`` (B, 3, H, W) float32, ``targets`` as drawn, ``weights`` (B, K) float32: 0 for keypoints without a target
    and for samples that only fill up a batch; ``keypoints`` (B, K, 3) float64 in the crop, after all moves. Of scenes:
    :func:`pose_models.scene_augment.augment_scenes`.
    """

    images: Tensor
    targets: Targets
    weights: Tensor
    keypoints: Tensor


def augment_batch(
    batch: DeviceBatch,
    recipe: Recipe,
    skeleton: Skeleton,
    augmentation: Augmentation,
    pixels: PixelRule,
    *,
    seed: int,
    epoch: int,
    simcc: SimccLabels | None = None,
    offsets: bool = False,
) -> TrainingBatch:
    """Return the batch augmented, with targets of ``recipe`` (the store's geometry, the network's maps)."""
    stored, keypoints = batch.arrays["images"], batch.arrays["keypoints"].to(torch.float64)
    draws = sample_draws(batch.rows.numpy(), seed=seed, epoch=epoch)
    flip = sent(draws.uniform(0) < augmentation.flip_share, stored.device)
    if augmentation.moves:
        to_crop = augmentation_transforms(keypoints, recipe, skeleton, augmentation, draws)
        fill = 255.0 if recipe.background == "white" or recipe.geometry == "square" else 0.0
        images = warped(stored, to_crop, recipe.crop_width_px, recipe.crop_height_px, fill=fill)
        xy = _moved(keypoints, to_crop)
    else:
        images = window_pixels(stored, recipe)
        xy = keypoints[..., :2] - recipe.context_px
    if augmentation.flip_share:
        images = torch.where(flip[:, None, None, None], images.flip(-1), images)
        xy, visibility = _flipped(xy, keypoints[..., 2], flip, recipe.crop_width_px, skeleton)
    else:
        visibility = keypoints[..., 2]
    images = with_other_pixels(images, draws, augmentation)
    return _finished(images, xy, visibility, batch, recipe, pixels, simcc, offsets)


def plain_batch(
    batch: DeviceBatch, recipe: Recipe, pixels: PixelRule, *, simcc: SimccLabels | None = None, offsets: bool = False
) -> TrainingBatch:
    """Return the batch as it is stored: the window's pixels, normalised, and its targets."""
    keypoints = batch.arrays["keypoints"].to(torch.float64)
    images = window_pixels(batch.arrays["images"], recipe)
    xy = keypoints[..., :2] - recipe.context_px
    return _finished(images, xy, keypoints[..., 2], batch, recipe, pixels, simcc, offsets)


def _finished(
    images: Tensor, xy: Tensor, visibility: Tensor, batch: DeviceBatch, recipe: Recipe, pixels: PixelRule,
    simcc: SimccLabels | None, offsets: bool,
) -> TrainingBatch:  # fmt: skip
    visible = visibility > 0 if recipe.visibility == "labelled" else visibility == 2
    targets, weights = render_targets(recipe, xy, visible, simcc=simcc, offsets=offsets)
    valid = sent(batch.valid.numpy(), weights.device).to(weights.dtype)
    return TrainingBatch(
        images=normalised(images, pixels),
        targets=targets,
        weights=weights * valid[:, None],
        keypoints=torch.cat([xy, visibility[..., None]], dim=-1),
    )


# ---------------------------------------------------------------------------------- geometry


def augmentation_transforms(
    keypoints: Tensor, recipe: Recipe, skeleton: Skeleton, augmentation: Augmentation, draws: Draws
) -> Tensor:
    """Return the matrices (B, 2, 3) float64 from the stored image to the crop, before any flip.

    ``keypoints`` (B, K, 3) float64 are in the stored image, on the device that the matrices will be on; nothing waits
    for it. The moves are about the box's centre in the window: (W / 2, H / 2) in MSRA's geometry and ``box``,
    ((W - 1) / 2, (H - 1) / 2) in the others.
    """
    less = 0.0 if recipe.geometry in ("msra", "box") else 1.0
    size = np.array([recipe.crop_width_px, recipe.crop_height_px], np.float64)
    middle = (size - less) / 2.0
    factor = 1.0 + augmentation.scale * _spread(augmentation.spread, draws, 1, bound=1.0)
    degrees = augmentation.rotation_deg * _spread(augmentation.spread, draws, 4, bound=2.0)
    radians = np.where(draws.uniform(7) < augmentation.rotation_share, np.radians(degrees), 0.0)
    shift = augmentation.shift * np.stack([draws.truncated_normal(8), draws.truncated_normal(11)], axis=1)
    shift = np.where(draws.uniform(14) < augmentation.shift_share, 1.0, 0.0)[:, None] * shift
    drawn = np.column_stack([
        factor, radians, shift * size, draws.uniform(15) < augmentation.half_body_share,
        draws.uniform(16) < augmentation.upper_share,
    ])  # fmt: skip
    # One transfer for all that was drawn.
    factors, turns, x, y, halved, wants_upper = sent(drawn, keypoints.device).unbind(dim=1)
    centre, size_factor = _half_bodies(keypoints, recipe, skeleton, augmentation, halved > 0, wants_upper > 0)
    whole = sent(middle, keypoints.device)
    centre = torch.where(size_factor.isnan()[:, None], whole + recipe.context_px, centre)
    size_factor = size_factor.nan_to_num(nan=1.0)
    # A shift is a share of the box that the window shows.
    centre = centre + torch.stack([x, y], dim=1) * size_factor[:, None]
    return turned_about(centre, whole, turns, factors * size_factor)


def _spread(spread: Spread, draws: Draws, first: int, *, bound: float) -> npt.NDArray[np.float64]:
    if spread == "uniform":
        return 2.0 * draws.uniform(first) - 1.0
    if spread == "truncated-normal":
        return draws.truncated_normal(first)
    return np.clip(draws.normal(first), -bound, bound)


def _half_bodies(
    keypoints: Tensor,
    recipe: Recipe,
    skeleton: Skeleton,
    augmentation: Augmentation,
    halved: Tensor,
    wants_upper: Tensor,
) -> tuple[Tensor, Tensor]:
    """Return each half's window: its centre (B, 2) and its size as a factor (B,), NaN where the whole body stays.

    The half's keypoints' box, about their mean, widened to the window's aspect, times 1.5; the other half where the
    wanted one has two keypoints or fewer. Source: leoxiaobin/deep-high-resolution-net.pytorch,
    lib/dataset/JointsDataset.py, half_body_transform.
    """
    labelled = keypoints[..., 2] > 0
    upper = _upper_half(skeleton, keypoints.device)
    above, below = labelled & upper, labelled & ~upper
    enough_above, enough_below = above.sum(dim=1) > 2, below.sum(dim=1) > 2
    takes_upper = torch.where(wants_upper, enough_above, enough_above & ~enough_below)
    half = torch.where(takes_upper[:, None], above, below)
    used = halved & (enough_above | enough_below) & (labelled.sum(dim=1) > augmentation.half_body_more_than)
    xy = keypoints[..., :2]
    centre = (xy * half[..., None]).sum(dim=1) / half.sum(dim=1).clamp(min=1)[:, None]
    high = torch.where(half[..., None], xy, -torch.inf).amax(dim=1)
    low = torch.where(half[..., None], xy, torch.inf).amin(dim=1)
    aspect = recipe.crop_width_px / recipe.crop_height_px
    width = torch.maximum(high[:, 0] - low[:, 0], (high[:, 1] - low[:, 1]) * aspect)
    return centre, torch.where(used & (width > 0), 1.5 * width / recipe.crop_width_px, torch.nan)


@lru_cache(maxsize=16)
def _upper_half(skeleton: Skeleton, device: torch.device) -> Tensor:
    return torch.tensor([_is_upper(name) for name in skeleton.names]).to(device)


def _is_upper(name: str) -> bool:
    """Return whether a keypoint belongs to the upper half: all but hips and legs (COCO's ids 0 to 10)."""
    return not any(part in name for part in ("hip", "knee", "ankle", "foot", "toe", "heel"))


def turned_about(centre_stored: Tensor, middle_crop: Tensor, radians: Tensor, factor: Tensor) -> Tensor:
    """Return matrices that turn about a centre, shrink by a factor, and put the centre into the crop's middle."""
    cosine, sine = radians.cos() / factor, radians.sin() / factor
    x, y = centre_stored.unbind(dim=1)
    first = torch.stack([cosine, -sine, middle_crop[0] - (cosine * x - sine * y)], dim=1)
    second = torch.stack([sine, cosine, middle_crop[1] - (sine * x + cosine * y)], dim=1)
    return torch.stack([first, second], dim=1)


def warped(stored: Tensor, to_crop: Tensor, width_px: int, height_px: int, *, fill: float = 0.0) -> Tensor:
    """Return the bilinear warps (B, 3, height, width) float32, 0 … 255, of images (B, h, w, 3) uint8.

    Any number of channels in place of three. ``to_crop`` (B, 2, 3) float64; pixel centres are integers; ``fill``
    outside the stored image.
    """
    height, width = stored.shape[1:3]
    (a, b, c), (d, e, f) = to_crop[:, 0].unbind(dim=1), to_crop[:, 1].unbind(dim=1)
    # The inverse is written out: a library's would wait for the device to look for singular matrices.
    determinant = a * e - b * d
    # grid_sample counts from -1 at the first pixel's centre to 1 at the last one's.
    x_scale, y_scale = 2.0 / ((width - 1) * determinant), 2.0 / ((height - 1) * determinant)
    x_row = (e * x_scale, -b * x_scale, (b * f - c * e) * x_scale - 1.0)
    y_row = (-d * y_scale, a * y_scale, (c * d - a * f) * y_scale - 1.0)
    column = torch.arange(width_px, dtype=torch.float64, device=stored.device)
    row = torch.arange(height_px, dtype=torch.float64, device=stored.device)
    grid = torch.empty((len(stored), height_px, width_px, 2), dtype=torch.float32, device=stored.device)
    for axis, (of_x, of_y, constant) in enumerate((x_row, y_row)):
        along = (of_x[:, None] * column + constant[:, None]).to(torch.float32)
        down = (of_y[:, None] * row).to(torch.float32)
        torch.add(along[:, None, :], down[:, :, None], out=grid[..., axis])
    images = stored.permute(0, 3, 1, 2).to(torch.float32)
    if not fill:
        return functional.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
    return functional.grid_sample(images - fill, grid, padding_mode="zeros", align_corners=True) + fill


def window_pixels(stored: Tensor, recipe: Recipe) -> Tensor:
    """Return the window (B, 3, H, W) float32, 0 … 255, of stored images (B, H + 2c, W + 2c, 3)."""
    context = recipe.context_px
    inner = stored[:, context : context + recipe.crop_height_px, context : context + recipe.crop_width_px]
    return inner.permute(0, 3, 1, 2).to(torch.float32)


def _moved(keypoints: Tensor, to_crop: Tensor) -> Tensor:
    return keypoints[..., :2] @ to_crop[:, :, :2].transpose(1, 2) + to_crop[:, None, :, 2]


def _flipped(xy: Tensor, visibility: Tensor, flip: Tensor, width_px: int, skeleton: Skeleton) -> tuple[Tensor, Tensor]:
    """Return the keypoints of mirrored samples mirrored, x to W - 1 - x, and their sides swapped."""
    order = _indices(skeleton.flip_order(), xy.device)
    mirrored = xy.index_select(1, order)
    mirrored[..., 0] = (width_px - 1.0) - mirrored[..., 0]
    return (
        torch.where(flip[:, None, None], mirrored, xy),
        torch.where(flip[:, None], visibility.index_select(1, order), visibility),
    )


@lru_cache(maxsize=16)
def _indices(order: tuple[int, ...], device: torch.device) -> Tensor:
    return torch.tensor(order).to(device)


# ---------------------------------------------------------------------------------- pixels


def normalised(images: Tensor, pixels: PixelRule) -> Tensor:
    """Return pixels (B, 3, H, W), 0 … 255 RGB, as the network wants them, float32."""
    if pixels.bgr:
        images = images.flip(1)
    mean, std = _mean_and_std(pixels, images.device)
    return (images - mean) / std


@lru_cache(maxsize=16)
def _mean_and_std(pixels: PixelRule, device: torch.device) -> tuple[Tensor, Tensor]:
    values = torch.tensor([pixels.mean, pixels.std], dtype=torch.float32) * 255.0
    mean, std = values[:, :, None, None].to(device).unbind(dim=0)
    return mean, std
