"""What augmentation does to pixels alone: colours, and a rectangle cut out."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pose_models.draws import Draws

__all__ = ["coloured", "sent", "with_cut_out"]


def sent(values: npt.NDArray[np.float64] | npt.NDArray[np.bool_], device: torch.device) -> Tensor:
    """Return an array on the device; the host does not wait for what the device still has to do."""
    tensor = torch.from_numpy(np.ascontiguousarray(values))
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


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
