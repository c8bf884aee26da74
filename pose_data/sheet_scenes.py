"""A scene on the contact sheet: the picture with everybody's skeleton; joint maps; fields; what is not trained on."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from pose_data.drawing import draw_box, draw_skeleton, flow, glow, keypoint_colours, resized, resized_by, veiled
from pose_data.limbs import find_limb_table
from pose_data.store import SplitFacts

__all__ = ["draw_scene"]

Pixels = npt.NDArray[np.uint8]
ReadRow = Callable[[str, int], npt.NDArray[Any]]


def draw_scene(read: ReadRow, facts: SplitFacts, row: int, height_px: int) -> tuple[Pixels, Pixels, tuple[str, ...]]:
    """Return the picture with skeletons, maps and fields side by side, and lines about them.

    ``read`` gives one row of an array; of arrays of persons, those of the row. Raises what it raises.
    """
    recipe = facts.recipe
    image = np.ascontiguousarray(read("images", row), np.uint8)
    keypoints = read("keypoints", row).astype(np.float64)
    height, width = image.shape[:2]
    shown_width = max(1, round(height_px * width / height))
    picture = resized(image, shown_width, height_px)
    (scale_x, move_x), (scale_y, move_y) = resized_by(width, shown_width), resized_by(height, height_px)
    keypoints[..., :2] = keypoints[..., :2] * (scale_x, scale_y) + (move_x, move_y)
    stride = recipe.stride_px
    # A map's cell stands for the middle of its pixels, a field's for the first of them.
    to_map = np.array([[stride * scale_x, 0.0, (stride - 1) / 2 * scale_x + move_x],
                       [0.0, stride * scale_y, (stride - 1) / 2 * scale_y + move_y]])  # fmt: skip
    to_field = to_map - np.array([[0.0, 0.0, (stride - 1) / 2 * scale_x], [0.0, 0.0, (stride - 1) / 2 * scale_y]])
    mask = read("mask", row).astype(np.float32) / np.float32(255.0)
    joints = find_limb_table(recipe.limbs).skeleton
    maps = _unit(read("heatmaps", row), 255.0)[: joints.keypoint_count]
    fields = _unit(read("pafs", row), 127.0)
    lit = veiled(glow(picture, maps, keypoint_colours(joints), to_map), mask, to_map)
    flowing = veiled(flow(picture, fields.reshape(-1, 2, *fields.shape[1:]), to_field), mask, to_map)
    for person in keypoints:
        draw_skeleton(picture, person, facts.skeleton, unit=0.7)
    if recipe.context_px:
        context, sides = recipe.context_px, (recipe.crop_width_px, recipe.crop_height_px)
        box = (context * scale_x, context * scale_y, sides[0] * scale_x, sides[1] * scale_y)
        draw_box(picture, box, (255, 255, 255), 1)
    untrained = f", {100 * (1 - float(mask.mean())):.0f} % not trained on" if mask.min() < 1 else ""
    labelled = int((keypoints[..., 2] > 0).sum())
    persons = f"{len(keypoints)} person{'s' if len(keypoints) != 1 else ''}, {labelled} keypoints{untrained}"
    return picture, np.concatenate([lit, flowing], axis=1), (persons,)


def _unit(values: npt.NDArray[Any], levels: float) -> npt.NDArray[np.float32]:
    return values.astype(np.float32) / np.float32(levels if values.dtype.kind in "iu" else 1.0)
