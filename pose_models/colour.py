"""What augmentation does to pixels alone: colours, blur, and a rectangle cut out."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pose_models.augmentation_rules import Augmentation
from pose_models.copying import sent
from pose_models.draws import Draws

__all__ = ["blurred", "coloured", "with_cut_out", "with_other_hsv", "with_other_pixels"]

_BLUR_SIDES = (3, 5, 7)


def with_other_pixels(images: Tensor, draws: Draws, rule: Augmentation) -> Tensor:
    """Return pixels (B, 3, H, W), RGB, 0 … 255, with all that a rule draws for them done in the order of this file."""
    images = coloured(
        images, draws, brightness_added=rule.brightness_added, brightness=rule.brightness, contrast=rule.contrast,
        saturation=rule.saturation,
    )  # fmt: skip
    images = with_other_hsv(images, draws, hue_deg=rule.hue_deg, saturation=rule.hsv_saturation, value=rule.hsv_value)
    images = blurred(images, draws, share=rule.blur_share)
    return with_cut_out(images, draws, share=rule.cut_out_share, sides=rule.cut_out_sides)


def coloured(
    images: Tensor,
    draws: Draws,
    *,
    brightness_added: float = 0.0,
    brightness: float = 0.0,
    contrast: float = 0.0,
    saturation: float = 0.0,
) -> Tensor:
    """Return pixels (B, 3, H, W), 0 … 255, with brightness, contrast and saturation changed.

    ``brightness_added`` is uniform in -x … x of the full range, the others are factors uniform in 1 - x … 1 + x;
    contrast is about each picture's mean grey.
    """

    def factor(amount: float, index: int) -> Tensor:
        values = 1.0 + amount * (2.0 * draws.uniform(index) - 1.0)
        return sent(values, images.device).to(torch.float32)[:, None, None, None]

    if brightness_added:
        images = (images + 255.0 * (factor(brightness_added, 20) - 1.0)).clamp(0.0, 255.0)
    if brightness:
        images = (images * factor(brightness, 17)).clamp(0.0, 255.0)
    if contrast:
        mean = _grey(images).mean(dim=(2, 3), keepdim=True)
        images = (mean + (images - mean) * factor(contrast, 18)).clamp(0.0, 255.0)
    if saturation:
        grey = _grey(images)
        images = (grey + (images - grey) * factor(saturation, 19)).clamp(0.0, 255.0)
    return images


def with_other_hsv(images: Tensor, draws: Draws, *, hue_deg: float, saturation: int, value: int) -> Tensor:
    """Return RGB pixels (B, 3, H, W), 0 … 255, with hue turned and saturation and value, 0 … 255, added to, and cut.

    Each of the three is uniform up to its bound, both ways, in half of the samples, in whole steps of OpenCV's 8-bit
    HSV, cut towards 0: 2° of hue, 1 of saturation and value. Source: mmdetection 3.x, YOLOXHSVRandomAug.
    """
    if not (hue_deg or saturation or value):
        return images
    bounds = np.array([hue_deg / 2.0, saturation, value], np.float64)
    steps = np.stack([np.trunc((2.0 * draws.uniform(26 + index) - 1.0) * bounds[index]) for index in range(3)])
    steps *= np.stack([draws.uniform(29 + index) < 0.5 for index in range(3)])
    half_degrees, more_saturation, more_value = sent(steps, images.device).to(torch.float32)[:, :, None, None]
    hue, share, lightest = _hue_saturation_value(images)
    hue = hue + half_degrees / 30.0
    share = (share + more_saturation / 255.0).clamp(0.0, 1.0)
    lightest = (lightest + more_value).clamp(0.0, 255.0)
    channels = []
    for offset in (5.0, 3.0, 1.0):
        place = (hue + offset) % 6.0
        channels.append(lightest * (1.0 - share * torch.minimum(place, 4.0 - place).clamp(0.0, 1.0)))
    return torch.stack(channels, dim=1)


def _hue_saturation_value(images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return hue in sixths of the circle from red on (0 where grey), saturation 0 … 1, and value 0 … 255; (B, H, W)."""
    red, green, blue = images.unbind(dim=1)
    most = images.amax(dim=1)
    spread = most - images.amin(dim=1)
    some = spread.clamp(min=1e-6)
    from_green, from_blue = 2.0 + (blue - red) / some, 4.0 + (red - green) / some
    hue = torch.where(most == red, (green - blue) / some, torch.where(most == green, from_green, from_blue))
    return hue * (spread > 0), spread / most.clamp(min=1e-6), most


def blurred(images: Tensor, draws: Draws, *, share: float) -> Tensor:
    """Return pixels (B, 3, H, W) with a ``share`` of the samples averaged over 3, 5 or 7 pixels square.

    Then, drawn apart, a share becomes the median of such a square. Beyond the border pixels are mirrored for the mean
    and repeated for the median. Source: mmpose, rtmpose configs (albumentations' Blur and MedianBlur).
    """
    if not share:
        return images
    for first, of_square in ((32, _mean_of_square), (34, _median_of_square)):
        sides = np.array(_BLUR_SIDES)[(draws.uniform(first + 1) * len(_BLUR_SIDES)).astype(np.int64)]
        rows = np.flatnonzero(draws.uniform(first) < share)
        if not len(rows):
            continue
        images = images.clone()
        for row in rows:  # one by one: a median over 7 x 7 pixels takes 49 times a picture's memory
            images[row] = of_square(images[row : row + 1], int(sides[row]))[0]
    return images


def _mean_of_square(image: Tensor, side: int) -> Tensor:
    padded = functional.pad(image, [side // 2] * 4, mode="reflect")
    return functional.avg_pool2d(padded, side, stride=1)


def _median_of_square(image: Tensor, side: int) -> Tensor:
    padded = functional.pad(image, [side // 2] * 4, mode="replicate")
    return padded.unfold(2, side, 1).unfold(3, side, 1).flatten(4).median(dim=-1).values


def with_cut_out(images: Tensor, draws: Draws, *, share: float, sides: tuple[float, float]) -> Tensor:
    """Return pixels (B, 3, H, W) with a black rectangle in a ``share`` of the samples, anywhere inside the window.

    Its sides are uniform between ``sides`` of the window's. Source: mmpose, rtmpose configs (CoarseDropout).
    """
    if not share:
        return images
    size = np.array([images.shape[3], images.shape[2]], np.float64)
    extent = np.stack([draws.uniform(22), draws.uniform(23)], axis=1) * (sides[1] - sides[0]) + sides[0]
    begin = np.stack([draws.uniform(24), draws.uniform(25)], axis=1) * (1.0 - extent)
    extent = np.where((draws.uniform(21) < share)[:, None], extent, -1.0)
    low_x, low_y, high_x, high_y = sent(np.hstack([begin * size, (begin + extent) * size]), images.device).unbind(dim=1)
    x = torch.arange(images.shape[3], dtype=torch.float64, device=images.device)
    y = torch.arange(images.shape[2], dtype=torch.float64, device=images.device)
    across = (x >= low_x[:, None]) & (x < high_x[:, None])
    down = (y >= low_y[:, None]) & (y < high_y[:, None])
    return images.masked_fill(down[:, None, :, None] & across[:, None, None, :], 0.0)


def _grey(images: Tensor) -> Tensor:
    """Return luma (ITU-R BT.601) of RGB pixels, (B, 1, H, W)."""
    return 0.299 * images[:, 0:1] + 0.587 * images[:, 1:2] + 0.114 * images[:, 2:3]
