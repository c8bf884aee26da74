"""A recipe's training targets for rows of keypoints, in the stored type: what the writer and ``verify`` share."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from pose_data.recipes import Recipe
from pose_data.targets.heatmap import encode_heatmaps, encode_heatmaps_uint8
from pose_data.targets.simcc import encode_simcc

__all__ = ["render_maps"]


def render_maps(
    recipe: Recipe,
    xy_crop: npt.NDArray[np.float64],
    xy_map: npt.NDArray[np.float64],
    has_map: npt.NDArray[np.bool_],
    out: Mapping[str, npt.NDArray[Any]],
) -> None:
    """Fill ``out`` (array name → (n, …) in the recipe's map dtype) for n rows.

    ``xy_crop`` (n, K, 2) window frame, ``xy_map`` (n, K, 2) cells, ``has_map`` (n, K): all-zero maps where False.
    """
    if recipe.encoding == "simcc":
        vectors = encode_simcc(
            xy_crop, has_map, crop_width_px=recipe.crop_width_px, crop_height_px=recipe.crop_height_px,
            split_ratio=recipe.split_ratio, sigma=recipe.sigma,
        )  # fmt: skip
        for name, values in zip(("simcc_x", "simcc_y"), vectors, strict=True):
            if name in out:
                out[name][:] = np.rint(values * 255.0) if out[name].dtype == np.uint8 else values
        return
    options: dict[str, Any] = {
        "encoding": recipe.encoding,
        "map_width": recipe.map_width,
        "map_height": recipe.map_height,
        "sigma": recipe.sigma,
    }
    if recipe.map_dtype == "uint8":
        encode_heatmaps_uint8(xy_map, has_map, out=out["heatmaps"], **options)
    else:
        out["heatmaps"][:] = encode_heatmaps(xy_map, has_map, **options)
