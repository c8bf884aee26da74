"""Targets of whole pictures with many persons: joint confidence maps with a background, and part affinity fields.

Points are in pixels of the network's input (frame ``input``), integer at pixel centres. Cell i of a map
stands for pixel ``stride (i + 1/2) - 1/2``; **cell i of a field stands for pixel ``stride i``**: both
ports draw them so, nearly half a cell apart, and networks learn it (:func:`field_offset_cells`).

Maps: a Gaussian about every labelled point inside the input, zero where its exponent is above 4.6052
(ln 100); the last map is the background, 1 less the greatest joint map. Where persons meet:

``clipped-sum``
    The Gaussians are added, and cut at 1: both ports.
``maximum``
    The greatest counts: Cao et al., "Realtime Multi-Person 2D Pose Estimation using Part Affinity
    Fields", CVPR 2017, section 2.2.

Fields: in every cell near a limb, the unit vector along it. *Near* is less (``tensorboy``) or not more
(``lightweight``) than the half-width from the limb's line, within the rectangle about its ends grown
by the half-width and rounded (half to even) or cut to whole cells; the last row and column are left out.
Where limbs meet:

``average``
    The mean of the vectors: the paper and tensorboy's port.
``overwrite``
    The last person's: the lightweight port.

Sources: tensorboy/pytorch_Realtime_Multi-Person_Pose_Estimation, ``lib/datasets/heatmap.py``, ``paf.py``;
Daniil-Osokin/lightweight-human-pose-estimation.pytorch, ``datasets/coco.py``. The lightweight port looks
for cells of a map only within 4 sigma of the point; that leaves nothing out at its sigma and stride.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pose_data.errors import UsageError

__all__ = ["SCENE_RULES", "SceneRules", "encode_fields", "encode_scene_maps", "field_offset_cells", "trainable_share"]

_Float = NDArray[np.float64]
_Index = NDArray[np.intp]

_CUT = 4.6052
"""Greatest exponent that is drawn; both ports write ln 100 with these digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneRules:
    """What a scene's targets look like. Sizes in input pixels, the limb's half-width in cells."""

    name: str
    stride_px: int = 8
    sigma_px: float = 7.0
    limb_half_width_cells: float = 1.0
    map_overlap: Literal["clipped-sum", "maximum"] = "clipped-sum"
    field_overlap: Literal["average", "overwrite"] = "average"
    limb_region: Literal["tensorboy", "lightweight"] = "tensorboy"

    def __post_init__(self) -> None:
        for option, value, allowed in (
            ("map_overlap", self.map_overlap, ("clipped-sum", "maximum")),
            ("field_overlap", self.field_overlap, ("average", "overwrite")),
            ("limb_region", self.limb_region, ("tensorboy", "lightweight")),
        ):
            if value not in allowed:
                raise UsageError("option-value", f"{option} is {value!r}", hint=f"one of: {', '.join(allowed)}")
        if self.stride_px < 1 or not (self.sigma_px > 0 and self.limb_half_width_cells > 0):
            raise UsageError("option-value", "stride, sigma and limb width must be above 0")


SCENE_RULES: Mapping[str, SceneRules] = MappingProxyType(
    {
        "tensorboy": SceneRules(name="tensorboy"),
        "lightweight": SceneRules(name="lightweight", field_overlap="overwrite", limb_region="lightweight"),
        "paper": SceneRules(name="paper", map_overlap="maximum"),
    }
)
"""The two ports, and the paper's overlaps with tensorboy's limbs: what gives most persons back (docs/grouping.md)."""


def field_offset_cells(rules: SceneRules) -> float:
    """Return what to add to a place in map cells to look it up in a field drawn by these rules.

    ``1/2 - 1/2 / stride`` is where the limb's line lies. With ``lightweight`` it is 0: cutting both sides of the
    rectangle to whole cells leaves out so much of the limb's lower right end that the line must not go there.
    """
    return 0.5 - 0.5 / rules.stride_px if rules.limb_region == "tensorboy" else 0.0


def encode_scene_maps(
    xy_input: NDArray[np.floating[Any]],
    labelled: NDArray[np.bool_],
    *,
    rules: SceneRules,
    map_width: int,
    map_height: int,
) -> NDArray[np.float32]:
    """Return the maps (K + 1, map_height, map_width) float32 of the points ``xy_input`` (P, K, 2) of P persons.

    ``labelled`` is (P, K); points outside the input (``stride * map size`` pixels) or not finite are not drawn.
    The last map is the background. The module's text says what is drawn.
    """
    person, joint = np.nonzero(_drawn(xy_input, labelled, rules, map_width, map_height))
    point = np.asarray(xy_input, dtype=np.float64)[person, joint]
    stride, reach_px = rules.stride_px, np.sqrt(2.0 * _CUT) * rules.sigma_px
    # One cell more on each side than the reach needs, so that rounding never decides what is looked at.
    side = int(2.0 * reach_px / stride) + 4
    first = np.floor((point - reach_px) / stride).astype(np.intp) - 1
    cell = first[:, :, None] + np.arange(side)
    away = cell * stride + (stride / 2.0 - 0.5) - point[:, :, None]
    np.multiply(away, away, out=away)
    exponent = (away[:, 0, None, :] + away[:, 1, :, None]) / 2.0 / rules.sigma_px / rules.sigma_px
    within = [(cell[:, axis] >= 0) & (cell[:, axis] < size) for axis, size in enumerate((map_width, map_height))]
    mark, row, column = np.nonzero((exponent <= _CUT) & within[0][:, None, :] & within[1][:, :, None])
    maps = np.zeros((labelled.shape[1] + 1, map_height, map_width))
    place = (joint[mark], cell[mark, 1, row], cell[mark, 0, column])
    overlap = np.add if rules.map_overlap == "clipped-sum" else np.maximum
    overlap.at(maps, place, np.exp(-exponent[mark, row, column]))
    np.minimum(maps, 1.0, out=maps)
    np.subtract(1.0, maps[:-1].max(axis=0, initial=0.0), out=maps[-1])
    return maps.astype(np.float32)


def encode_fields(
    xy_input: NDArray[np.floating[Any]],
    labelled: NDArray[np.bool_],
    limbs: Sequence[tuple[int, int]],
    *,
    rules: SceneRules,
    map_width: int,
    map_height: int,
) -> NDArray[np.float32]:
    """Return the fields (2 L, map_height, map_width) float32 of the L ``limbs``: x and y of each in turn.

    ``xy_input`` (P, K, 2) and ``labelled`` (P, K) as for :func:`encode_scene_maps`; ``limbs`` are (start, end)
    indices of keypoints. A limb is drawn when both its points are, and are not the same point.
    """
    drawn = _drawn(xy_input, labelled, rules, map_width, map_height)
    ends = np.array(limbs, dtype=np.intp).reshape(-1, 2)
    # Limb by limb, and within it person by person: "overwrite" depends on it.
    limb, person = np.nonzero((drawn[:, ends[:, 0]] & drawn[:, ends[:, 1]]).T)
    point = np.asarray(xy_input, dtype=np.float64) / rules.stride_px
    start, end = point[person, ends[limb, 0]], point[person, ends[limb, 1]]
    length = np.hypot(*(end - start).T)
    which = np.flatnonzero(length > 1e-7)
    limb, start, end = limb[which], start[which], end[which]
    unit = (end - start) / length[which, None]
    segment, column, row = _near_cells(start, end, unit, rules, (map_width, map_height))
    cell = (limb[segment] * map_height + row) * map_width + column
    fields = np.zeros((2, len(ends) * map_height * map_width))
    if rules.field_overlap == "overwrite":
        fields[:, cell] = unit[segment].T
    else:
        count = np.bincount(cell, minlength=fields.shape[1])
        for axis in range(2):
            total = np.bincount(cell, weights=unit[segment, axis], minlength=fields.shape[1])
            np.divide(total, count, out=fields[axis], where=count > 0)
    by_limb = fields.reshape(2, len(ends), map_height, map_width).swapaxes(0, 1)
    return by_limb.reshape(-1, map_height, map_width).astype(np.float32)


def trainable_share(untrained: NDArray[np.bool_], *, stride_px: int = 8) -> NDArray[np.float32]:
    """Return, for every cell, the share of its pixels that may be trained on, (H / stride, W / stride) float32.

    ``untrained`` (H, W) bool marks the pixels of the input that must not be: crowds, persons without labels,
    see :func:`pose_data.scene_regions.untrained_region`. The loss of a cell is multiplied by its share. It is
    what the lightweight port gets from an area-weighted resize of its mask.

    Raises UsageError when the stride does not divide the size.
    """
    height, width = untrained.shape
    if height % stride_px or width % stride_px:
        raise UsageError("option-value", f"a stride of {stride_px} does not divide {width} x {height} pixels")
    blocks = untrained.reshape(height // stride_px, stride_px, width // stride_px, stride_px)
    share: NDArray[np.float32] = 1.0 - blocks.mean(axis=(1, 3), dtype=np.float32)
    return share


def _drawn(
    xy_input: NDArray[np.floating[Any]], labelled: NDArray[np.bool_], rules: SceneRules, width: int, height: int
) -> NDArray[np.bool_]:
    size_px = rules.stride_px * np.array([width, height])
    inside = (xy_input >= 0) & (xy_input < size_px)
    drawn: NDArray[np.bool_] = inside[..., 0] & inside[..., 1] & labelled
    return drawn


def _near_cells(
    start: _Float, end: _Float, unit: _Float, rules: SceneRules, size_wh: tuple[int, int]
) -> tuple[_Index, _Index, _Index]:
    """Return (segment, column, row) of every cell near each of the limbs from ``start`` to ``end``, in order."""
    half = rules.limb_half_width_cells
    low, high = np.minimum(start, end) - half, np.maximum(start, end) + half
    whole = np.rint if rules.limb_region == "tensorboy" else np.floor
    low = whole(np.maximum(low, 0.0)).astype(np.intp)
    high = np.minimum(whole(high).astype(np.intp), size_wh)
    size = np.maximum(high - low, 0)
    cells = size[:, 0] * size[:, 1]
    segment = np.repeat(np.arange(len(cells)), cells)
    within = np.arange(len(segment)) - np.repeat(np.cumsum(cells) - cells, cells)
    column, row = within % size[segment, 0] + low[segment, 0], within // size[segment, 0] + low[segment, 1]
    away = np.abs((column - start[segment, 0]) * unit[segment, 1] - (row - start[segment, 1]) * unit[segment, 0])
    near = np.flatnonzero(away < half if rules.limb_region == "tensorboy" else away <= half)
    return segment[near], column[near], row[near]
