"""Training targets drawn on the device: confidence maps and SimCC vectors of a batch of keypoints.

The same maths as :mod:`pose_data.targets`, which decides what is right, in torch and without a loop over
keypoints. How equal they are:

- ``gaussian``, ``one-hot`` and hard SimCC labels are **bit-equal** to the NumPy encoders: the Gaussian's
  values are copied out of rows that the NumPy encoder itself drew.
- ``unbiased``, ``udp`` and Gaussian SimCC labels are computed in float64 in the same order and rounded to
  float32 where NumPy rounds. torch's and NumPy's ``exp`` may differ in the last bit of a float64, so a
  value may be one unit in the last place of a float32 off where that bit decides the rounding: fewer than
  one value in a hundred million. Times 255 and rounded, they are the bytes of the store.
- Which keypoints are drawn at all is decided in float64 by the same comparisons, bit for bit.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor

from pose_data.errors import UsageError
from pose_data.recipes import Recipe
from pose_data.targets import encode_heatmaps

__all__ = ["SimccLabel", "SimccLabels", "Targets", "map_cells", "render_heatmaps", "render_offset_maps", "render_simcc",
           "render_targets"]  # fmt: skip

Targets: TypeAlias = Tensor | tuple[Tensor, Tensor]
"""Maps (N, K, h, w), or SimCC vectors x (N, K, W * split) and y (N, K, H * split); float32."""

SimccLabel = Literal["gaussian", "exact", "hard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimccLabels:
    """How SimCC vectors are drawn: :func:`render_simcc` says what each option does."""

    label: SimccLabel = "gaussian"
    normalised: bool = False
    smoothing: float = 0.0
    wider_along_y: bool = False
    """sigma is that of x; that of y is sqrt(H / W) times as wide, to two decimals: RTMPose's 4.9 and 5.66, 6 and
    6.93."""

    def sigmas(self, recipe: Recipe) -> tuple[float, float]:
        """Return sigma along x and along y, in bins."""
        stretch = math.sqrt(recipe.crop_height_px / recipe.crop_width_px) if self.wider_along_y else 1.0
        return recipe.sigma, round(recipe.sigma * stretch, 2) if self.wider_along_y else recipe.sigma


_MAP_DECIMALS = 9
_ENCODINGS = ("gaussian", "unbiased", "udp", "one-hot")
_TABLE_CELLS = 1 << 24
"""Largest table of ready-made rows, as in the NumPy encoder; larger maps are computed."""


def map_cells(recipe: Recipe, xy_crop: Tensor) -> Tensor:
    """Return points (..., 2) float64 in map cells of points in crop pixels, as the store's writer computes them.

    Rounded to nine decimals there and here, so that a place on the edge between two cells does not fall
    to the wrong one by an affine's last bit.
    """
    less = 1.0 if recipe.geometry == "udp" else 0.0
    across = (recipe.map_width - less) / (recipe.crop_width_px - less)
    down = (recipe.map_height - less) / (recipe.crop_height_px - less)
    point = xy_crop.to(torch.float64)
    return torch.stack([point[..., 0] * across, point[..., 1] * down], dim=-1).round(decimals=_MAP_DECIMALS)


def render_targets(
    recipe: Recipe,
    xy_crop: Tensor,
    visible: Tensor,
    *,
    simcc: SimccLabels | None = None,
    offsets: bool = False,
) -> tuple[Targets, Tensor]:
    """Return the recipe's targets of keypoints, and the weights (N, K) float32: 1 where something was drawn, else 0.

    ``xy_crop`` (N, K, 2) in crop pixels, ``visible`` (N, K) bool: which keypoints are to have a target.
    ``simcc`` counts for that encoding alone. ``offsets`` asks for UDP's triples in place of maps, with the recipe's
    sigma as their radius.
    """
    if offsets:
        triples, drawn = render_offset_maps(
            map_cells(recipe, xy_crop), visible, map_width=recipe.map_width, map_height=recipe.map_height,
            radius=recipe.sigma,
        )  # fmt: skip
        return triples, drawn.to(torch.float32)
    if recipe.encoding == "simcc":
        labels = simcc or SimccLabels()
        x, y, drawn = render_simcc(
            xy_crop, visible, crop_width_px=recipe.crop_width_px, crop_height_px=recipe.crop_height_px,
            split_ratio=recipe.split_ratio, sigma=labels.sigmas(recipe), label=labels.label,
            normalised=labels.normalised, smoothing=labels.smoothing,
        )  # fmt: skip
        return (x, y), drawn.to(torch.float32)
    maps, drawn = render_heatmaps(
        map_cells(recipe, xy_crop), visible, encoding=recipe.encoding, map_width=recipe.map_width,
        map_height=recipe.map_height, sigma=recipe.sigma,
    )  # fmt: skip
    return maps, drawn.to(torch.float32)


def render_heatmaps(
    xy_map: Tensor, visible: Tensor, *, encoding: str, map_width: int, map_height: int, sigma: float
) -> tuple[Tensor, Tensor]:
    """Return maps (N, K, map_height, map_width) float32 with a peak of 1, and which were drawn (N, K) bool.

    ``xy_map`` (N, K, 2) in cells, ``visible`` (N, K) bool, ``sigma`` in cells; the encodings are those of
    :func:`pose_data.targets.encode_heatmaps`. A map is empty, and its keypoint not drawn, where that
    function leaves it empty. Raises UsageError for an unknown encoding.
    """
    if encoding not in _ENCODINGS:
        raise UsageError("option-value", f"encoding is {encoding!r}", hint=f"one of: {', '.join(_ENCODINGS)}")
    centre, drawn = _centres(xy_map, visible, encoding, (map_width, map_height), sigma)
    if encoding == "one-hot":
        flat = _hot_cells(centre, drawn, (map_width, map_height))
    elif encoding == "gaussian" and _table_fits(map_width, sigma):
        flat = _copied_rows(centre, drawn, (map_width, map_height), sigma)
    else:
        across, down = _profiles(centre, drawn, (map_width, map_height), encoding, sigma)
        flat = down[:, :, None] * across[:, None, :]
    return flat.view(*visible.shape, map_height, map_width), drawn.view(visible.shape)


def render_offset_maps(
    xy_map: Tensor, visible: Tensor, *, map_width: int, map_height: int, radius: float
) -> tuple[Tensor, Tensor]:
    """Return triples (N, 3 K, map_height, map_width) float32, and which keypoints were drawn (N, K) bool.

    ``xy_map`` (N, K, 2) in cells, ``visible`` (N, K) bool, ``radius`` in cells. Of each keypoint a map that is 1 within
    the radius, and there the way to the keypoint along x and along y in units of the radius; elsewhere 0. Not drawn: a
    keypoint that is not visible or not finite, or without a cell within the radius. Source: HuangJunJie2017/UDP-Pose,
    lib/dataset/JointsDataset.py (generate_target, offset).
    """
    point = xy_map.to(torch.float64)
    usable = visible & point.isfinite().all(dim=-1)
    point = torch.where(usable[..., None], point, 0.0)
    x = torch.arange(map_width, dtype=torch.float64, device=point.device)
    y = torch.arange(map_height, dtype=torch.float64, device=point.device)
    across = ((point[..., 0, None] - x) / radius)[..., None, :]
    down = ((point[..., 1, None] - y) / radius)[..., :, None]
    near = (across.square() + down.square() <= 1.0) & usable[..., None, None]
    shape = near.shape
    parts = torch.stack([torch.ones_like(across).expand(shape), across.expand(shape), down.expand(shape)], dim=2)
    triples = torch.where(near[:, :, None], parts, 0.0).to(torch.float32)
    return triples.flatten(1, 2), near.flatten(2).any(dim=2)


def render_simcc(
    xy_crop: Tensor,
    visible: Tensor,
    *,
    crop_width_px: int,
    crop_height_px: int,
    split_ratio: float,
    sigma: float | tuple[float, float],
    label: SimccLabel = "gaussian",
    normalised: bool = False,
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return labels x (N, K, W * split) and y (N, K, H * split) float32, and which were drawn (N, K) bool.

    ``label``: ``gaussian`` about the nearest bin, half to even (mmpose, RTMPose, SebastianKyle/Pose-Estimation);
    ``exact`` about the exact place (leeyegy/SimCC's sa-simdr); ``hard``, one bin (its simdr). ``sigma`` in
    bins, one or (x, y). Gaussians have a peak of 1, or with ``normalised`` are divided by sigma * sqrt(2 pi).
    ``smoothing`` s turns a hard label into 1 - s at its bin and s / (bins - 1) elsewhere.

    Empty, and not drawn: a keypoint that is not visible, or with 3 sigma (``hard``: its bin) outside the
    crop along x or y. Raises UsageError for an unknown label.
    """
    if label not in get_args(SimccLabel):
        raise UsageError("option-value", f"label is {label!r}", hint=f"one of: {', '.join(get_args(SimccLabel))}")
    # Halves go to even, as in NumPy: Python's round does the same.
    lengths = (round(crop_width_px * split_ratio), round(crop_height_px * split_ratio))
    sigmas = sigma if isinstance(sigma, tuple) else (sigma, sigma)
    centre = xy_crop.to(torch.float64) * split_ratio
    finite = centre.isfinite()
    centre = torch.where(finite, centre if label == "exact" else centre.round(), 0.0)
    labels, inside = [], visible
    for axis, (length, width) in enumerate(zip(lengths, sigmas, strict=True)):
        place, reach = centre[..., axis], 0.0 if label == "hard" else 3.0 * width
        slack = 0.0 if label == "hard" else 1.0
        inside = inside & finite[..., axis] & (place - reach < length) & (place + reach + slack >= 0.0)
        if label == "hard":
            labels.append(_hard_label(place, length, smoothing))
        else:
            labels.append(_gaussian_label(place, length, width, normalised=normalised))
    return labels[0] * inside[..., None], labels[1] * inside[..., None], inside


def _hard_label(place: Tensor, length: int, smoothing: float) -> Tensor:
    rest = smoothing / (length - 1) if length > 1 else 0.0
    values = torch.full((*place.shape, length), rest, dtype=torch.float32, device=place.device)
    return values.scatter_(-1, place.clamp(0, length - 1).to(torch.int64)[..., None], 1.0 - smoothing)


def _gaussian_label(place: Tensor, length: int, sigma: float, *, normalised: bool) -> Tensor:
    away = torch.arange(length, dtype=torch.float64, device=place.device) - place[..., None]
    values = torch.exp(-(away * away) / (2.0 * sigma**2))
    return (values / (sigma * math.sqrt(2.0 * math.pi)) if normalised else values).to(torch.float32)


def _reach(sigma: float) -> int:
    # The slack keeps 3 * sigma whole where it is meant to be.
    return int(3.0 * sigma + 1e-6)


def _centres(
    xy_map: Tensor, visible: Tensor, encoding: str, size_wh: tuple[int, int], sigma: float
) -> tuple[Tensor, Tensor]:
    """Return the centres (M, 2) float64, rounded where the encoding rounds, and which are drawn (M,)."""
    point = xy_map.to(torch.float64).reshape(-1, 2)
    point = torch.where(point.isfinite(), point, -torch.inf)
    centre = (point + 0.5).trunc() if encoding == "gaussian" else point
    drawn = visible.reshape(-1)
    for axis, size in enumerate(size_wh):
        drawn = drawn & _touches(point[:, axis], encoding, size, sigma)
    return torch.where(drawn[:, None], centre, 0.0), drawn


def _touches(place: Tensor, encoding: str, size: int, sigma: float) -> Tensor:
    if encoding == "one-hot":
        return (place >= 0.0) & (place < size)
    if encoding == "unbiased":
        return (place - 3.0 * sigma < size) & (place + (3.0 * sigma + 2.0) > 0.0)
    nearest = (place + 0.5).trunc()
    return (nearest >= -_reach(sigma)) & (nearest < size + _reach(sigma))


def _hot_cells(centre: Tensor, drawn: Tensor, size_wh: tuple[int, int]) -> Tensor:
    cell = centre.to(torch.int64)
    flat = torch.zeros((len(centre), size_wh[0] * size_wh[1]), dtype=torch.float32, device=centre.device)
    return flat.scatter_(1, (cell[:, 1] * size_wh[0] + cell[:, 0])[:, None], drawn.to(torch.float32)[:, None])


# -- rounded Gaussians: every row of every map is one of a few ready-made rows


def _table_fits(map_width: int, sigma: float) -> bool:
    reach = _reach(sigma)
    return (reach + 1) * (map_width + 2 * reach) * map_width < _TABLE_CELLS


@lru_cache(maxsize=8)
def _ready_rows(map_width: int, sigma: float, device: torch.device) -> Tensor:
    """Return an empty row, then row ``1 + (x + reach) * (reach + 1) + |dy|`` for a centre at x, dy rows away."""
    reach = _reach(sigma)
    x = np.arange(-reach, map_width + reach, dtype=np.float64)
    x[x < 0] -= 0.5  # the encoder rounds toward zero
    rows = encode_heatmaps(
        np.stack([x, np.zeros_like(x)], axis=-1)[None], np.ones((1, len(x)), dtype=np.bool_), encoding="gaussian",
        map_width=map_width, map_height=reach + 1, sigma=sigma,
    )  # fmt: skip
    empty = np.zeros((1, map_width), dtype=np.float32)
    return torch.from_numpy(np.concatenate([empty, rows.reshape(-1, map_width)])).to(device)


def _copied_rows(centre: Tensor, drawn: Tensor, size_wh: tuple[int, int], sigma: float) -> Tensor:
    reach = _reach(sigma)
    cell = centre.to(torch.int64)
    away = (torch.arange(size_wh[1], device=centre.device) - cell[:, 1:]).abs()
    number = 1 + (cell[:, :1] + reach) * (reach + 1) + away
    number = torch.where(drawn[:, None] & (away <= reach), number, 0)
    return _ready_rows(size_wh[0], sigma, centre.device).index_select(0, number.view(-1))


# -- sub-pixel Gaussians: separable


def _profiles(
    centre: Tensor, drawn: Tensor, size_wh: tuple[int, int], encoding: str, sigma: float
) -> tuple[Tensor, Tensor]:
    """Return the Gaussians along x (M, w) and along y (M, h), float32."""
    profiles = []
    nearest = (centre + 0.5).trunc()
    for axis, length in enumerate(size_wh):
        cell = torch.arange(length, dtype=torch.float64, device=centre.device)
        away = cell - centre[:, axis, None]
        values = torch.exp(away * away * (-0.5 / sigma**2)).to(torch.float32)
        if encoding != "unbiased":
            values = values.masked_fill((cell - nearest[:, axis, None]).abs() > _reach(sigma), 0.0)
        profiles.append(values)
    return profiles[0].masked_fill(~drawn[:, None], 0.0), profiles[1]
