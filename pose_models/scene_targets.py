"""Maps and fields of whole pictures, drawn on the device: a batch of scenes at once, no loop over points.

The maths of :mod:`pose_data.targets.paf`, which decides what is right, in float64 and in the same order; rounded to
float32 where NumPy rounds. torch's and NumPy's ``exp`` and ``hypot`` may differ in the last bit of a float64, and sums
of Gaussians may be added in another order, so values may be one unit in the last place of a float32 off.

Nothing waits for the device: every point has its window of cells, and windows and points that do not count have weight
nought. Fields look at all cells for a limited number of persons at a time, so that crowds cost time and not memory.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pose_data.limbs import OPENPOSE_PERSON
from pose_data.skeleton import COCO_PERSON
from pose_data.targets.paf import SceneRules

__all__ = ["render_fields", "render_scene_maps", "with_neck"]

_CUT = 4.6052
_PERSONS_AT_A_TIME = 32
_NECK = OPENPOSE_PERSON.names.index("neck")
_ORDER = tuple(COCO_PERSON.names.index(name) for name in OPENPOSE_PERSON.names if name != "neck")
_SHOULDERS = tuple(COCO_PERSON.names.index(name) for name in ("left_shoulder", "right_shoulder"))


def with_neck(xy: Tensor, labelled: Tensor) -> tuple[Tensor, Tensor]:
    """Return COCO points (P, 17, 2) and labels (P, 17) as OpenPose's joints; see :func:`pose_data.limbs.add_neck`."""
    neck = xy[:, _SHOULDERS].mean(dim=1, keepdim=True)
    both = labelled[:, _SHOULDERS].all(dim=1, keepdim=True)
    moved, named = xy[:, _ORDER], labelled[:, _ORDER]
    return (
        torch.cat([moved[:, :_NECK], neck, moved[:, _NECK:]], dim=1),
        torch.cat([named[:, :_NECK], both, named[:, _NECK:]], dim=1),
    )


def render_scene_maps(
    xy_input: Tensor, labelled: Tensor, scene: Tensor, scenes: int, *, rules: SceneRules, map_width: int,
    map_height: int,
) -> Tensor:  # fmt: skip
    """Return the maps (B, J + 1, map_height, map_width) float32 of B scenes, the background last.

    ``xy_input`` (P, J, 2) float64 and ``labelled`` (P, J) bool of the persons of all scenes, ``scene`` (P,) int64 which
    scene each is of, ``scenes`` B. See :func:`pose_data.targets.paf.encode_scene_maps`.
    """
    joints, device = labelled.shape[1], xy_input.device
    drawn = _drawn(xy_input, labelled, rules, map_width, map_height).reshape(-1)
    channel = (scene[:, None] * joints + torch.arange(joints, device=device)).reshape(-1)
    point = torch.where(drawn[:, None], xy_input.reshape(-1, 2), 0.0)
    stride, reach_px = rules.stride_px, float(np.sqrt(2.0 * _CUT)) * rules.sigma_px
    side = int(2.0 * reach_px / stride) + 4
    cell = ((point - reach_px) / stride).floor()[..., None] - 1.0 + torch.arange(side, device=device)
    away = cell * stride + (stride / 2.0 - 0.5) - point[..., None]
    away = away * away
    exponent = (away[:, 0, None, :] + away[:, 1, :, None]) / 2.0 / rules.sigma_px / rules.sigma_px
    x, y = cell[:, 0, None, :].to(torch.int64), cell[:, 1, :, None].to(torch.int64)
    counts = (exponent <= _CUT) & (x >= 0) & (x < map_width) & (y >= 0) & (y < map_height) & drawn[:, None, None]
    place = (channel[:, None, None] * map_height + y.clamp(0, map_height - 1)) * map_width + x.clamp(0, map_width - 1)
    values = torch.where(counts, torch.exp(-exponent), 0.0)
    maps = torch.zeros(scenes * joints * map_height * map_width, dtype=torch.float64, device=device)
    if rules.map_overlap == "clipped-sum":
        maps.index_add_(0, place.reshape(-1), values.reshape(-1))
    else:
        maps.scatter_reduce_(0, place.reshape(-1), values.reshape(-1), "amax")
    shaped = maps.clamp_(max=1.0).view(scenes, joints, map_height, map_width)
    return torch.cat([shaped, 1.0 - shaped.amax(dim=1, keepdim=True)], dim=1).to(torch.float32)


def render_fields(
    xy_input: Tensor, labelled: Tensor, scene: Tensor, scenes: int, limbs: Sequence[tuple[int, int]], *,
    rules: SceneRules, map_width: int, map_height: int,
) -> Tensor:  # fmt: skip
    """Return the fields (B, 2 L, map_height, map_width) float32 of B scenes: x and y of each limb in turn.

    Arguments as for :func:`render_scene_maps`; see :func:`pose_data.targets.paf.encode_fields`. ``scene`` does not
    descend.
    """
    device, shape = xy_input.device, (map_height, map_width)
    drawn = _drawn(xy_input, labelled, rules, map_width, map_height)
    starts, ends = (torch.tensor([limb[end] for limb in limbs], device=device) for end in (0, 1))
    total = torch.zeros((scenes, 2, len(limbs), *shape), dtype=torch.float64, device=device)
    count = torch.zeros((scenes, 1, len(limbs), *shape), dtype=torch.float64, device=device)
    for first in range(0, len(scene), _PERSONS_AT_A_TIME):
        part = slice(first, first + _PERSONS_AT_A_TIME)
        point, both = xy_input[part] / rules.stride_px, drawn[part][:, starts] & drawn[part][:, ends]
        near, unit = _near_cells(point[:, starts], point[:, ends], both, rules, shape)
        if rules.field_overlap == "average":
            total.index_add_(0, scene[part], torch.where(near[:, None], unit[..., None, None], 0.0))
            count.index_add_(0, scene[part], near[:, None].to(torch.float64))
        else:
            _overwrite(total, near, unit, scene[part])
    if rules.field_overlap == "average":
        total /= count.clamp_(min=1.0)
    return total.transpose(1, 2).reshape(scenes, 2 * len(limbs), *shape).to(torch.float32)


def _overwrite(total: Tensor, near: Tensor, unit: Tensor, scene: Tensor) -> None:
    """Put each scene's last person that is near into the cells; what no person of these is near stays."""
    persons, limbs = near.shape[:2]
    number = torch.arange(1, persons + 1, device=near.device)[:, None, None, None]
    last = torch.zeros((len(total), *near.shape[1:]), dtype=torch.int64, device=near.device)
    last.scatter_reduce_(0, scene[:, None, None, None].expand_as(near), near * number, "amax")
    # Row 0 stands for nobody.
    vectors = torch.cat([torch.zeros_like(unit[:1]), unit])
    limb = torch.arange(limbs, device=near.device)[:, None, None]
    for axis in range(2):
        total[:, axis] = torch.where(last > 0, vectors[:, axis][last, limb], total[:, axis])


def _near_cells(
    start: Tensor, end: Tensor, drawn: Tensor, rules: SceneRules, shape: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Return which cells (P, L, h, w) are near each limb, and the limbs' unit vectors (P, 2, L)."""
    height, width = shape
    along = end - start
    length = torch.hypot(along[..., 0], along[..., 1])
    drawn = drawn & (length > 1e-7)
    unit = along / torch.where(drawn, length, 1.0)[..., None]
    half = rules.limb_half_width_cells
    low, high = torch.minimum(start, end) - half, torch.maximum(start, end) + half
    whole = torch.round if rules.limb_region == "tensorboy" else torch.floor
    low, high = whole(low.clamp(min=0.0)), whole(high)
    column = torch.arange(width, dtype=torch.float64, device=start.device)
    row = torch.arange(height, dtype=torch.float64, device=start.device)[:, None]

    def each(values: Tensor) -> Tensor:
        return values[..., None, None]

    within = (column >= each(low[..., 0])) & (column < each(high[..., 0]))
    within = within & (row >= each(low[..., 1])) & (row < each(high[..., 1])) & each(drawn)
    away = (
        (column - each(start[..., 0])) * each(unit[..., 1]) - (row - each(start[..., 1])) * each(unit[..., 0])
    ).abs()
    near = away < half if rules.limb_region == "tensorboy" else away <= half
    return near & within, unit.transpose(1, 2)


def _drawn(xy_input: Tensor, labelled: Tensor, rules: SceneRules, width: int, height: int) -> Tensor:
    size = torch.tensor([width, height], device=xy_input.device) * rules.stride_px
    return ((xy_input >= 0) & (xy_input < size)).all(dim=-1) & labelled
