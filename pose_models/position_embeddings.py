"""Position embeddings of a vision transformer's file, made to fit the network: class token, other input size.

Sources: ViTAE-Transformer/ViTPose, mmpose/models/backbones/vit.py (the class token's embedding is added to all others)
and mmcv_custom/checkpoint.py (bicubic, corners not aligned, to another number of patches).
"""

import math

from torch import Tensor
from torch.nn import functional

from pose_models.networks.network import Network

__all__ = ["fitted", "without_class_token"]

_KEY = "backbone.pos_embed"
_PATCH_PX = 16


def without_class_token(tensors: dict[str, Tensor], network: Network) -> tuple[str, ...]:
    """Add the first embedding, a class token's that no patch has, to all others; then do as :func:`fitted`."""
    positions = tensors.get(_KEY)
    if positions is not None and positions.ndim == 3 and positions.shape[1] > 1:
        tensors[_KEY] = positions[:, 1:] + positions[:, :1]
    return fitted(tensors, network)


def fitted(tensors: dict[str, Tensor], network: Network) -> tuple[str, ...]:
    """Resize the embeddings (1, patches, C) to the network's patches where the file was for another input size.

    The file's patches are taken to have the network's proportions. Where no such grid has their number, they stay as
    they are, and do not fit.
    """
    positions = tensors.get(_KEY)
    width, height = network.input_width_px // _PATCH_PX, network.input_height_px // _PATCH_PX
    if positions is None or positions.ndim != 3 or positions.shape[1] == width * height:
        return ()
    here = _grid(positions.shape[1], width, height)
    if here is None:
        return ()
    grid = positions.reshape(1, here[1], here[0], -1).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, size=(height, width), mode="bicubic", align_corners=False)
    tensors[_KEY] = grid.flatten(2).transpose(1, 2).contiguous()
    return (f"position embeddings resized from {here[1]}x{here[0]} to {height}x{width} patches",)


def _grid(patches: int, width: int, height: int) -> tuple[int, int] | None:
    """Return columns and rows of so many patches in the proportions of width and height."""
    columns = math.isqrt(patches * width // height)
    rows = columns * height // width
    return (columns, rows) if columns * rows == patches and columns * height == rows * width else None
