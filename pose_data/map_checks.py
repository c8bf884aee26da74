"""Stored maps decoded and held against the stored keypoints: for crops and for scenes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pose_data.crop_rows import CropRows
from pose_data.geometry import crop_to_map
from pose_data.limbs import find_limb_table
from pose_data.recipes import Recipe
from pose_data.row_maker import RowMaker
from pose_data.scene_rows import SceneRows
from pose_data.skeleton import COCO_PERSON
from pose_data.targets.decode import decode_bounds, recover_keypoints
from pose_data.targets.simcc import recover_simcc

__all__ = ["MapCheck", "MapErrors", "map_check"]

_Array = npt.NDArray[Any]
_LEAST_SAID = 0.1
"""A scene's keypoint is looked for where its own Gaussian is at least so high in the cell nearest to it."""
_SCENE_BOUND_CELLS: Mapping[str, float] = {"u": 0.1, "f": 0.03}
"""By kind of type: half a step of 1 / 255 below the top of a Gaussian of one cell is 0.06 cells away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MapErrors:
    """How far decoded maps are from q persons' keypoints: ``error`` and ``bound`` (q, K, 1 or 2), in cells or bins.

    ``rows`` (q,) are the rows of the shard that they are of, ``said`` (q, K) where something can be said.
    """

    array: str
    rows: npt.NDArray[np.int64]
    error: _Array
    bound: _Array
    said: npt.NDArray[np.bool_]


class MapCheck(Protocol):
    """Looks at decoded maps (array name → (m, …)) of the rows ``span`` of one shard."""

    def peaks(self, maps: Mapping[str, _Array], span: slice) -> dict[str, Any]:
        """Return the counts of :class:`pose_data.store_statistics.Statistics` that the maps' peaks give."""

    def errors(self, maps: Mapping[str, _Array], span: slice, keypoints: _Array) -> MapErrors | None:
        """Return the errors of decoding; None where maps are missing. ``keypoints``: the shard's stored column."""


def map_check(recipe: Recipe, maker: RowMaker, kept: npt.NDArray[np.bool_]) -> MapCheck:
    """Return the check that goes with a maker's rows."""
    if isinstance(maker, SceneRows):
        return _SceneMaps(recipe, maker, kept)
    if isinstance(maker, CropRows):
        return _CropMaps(recipe, maker, kept)
    raise AssertionError(type(maker))


def _peak_counts(peaks: _Array, dtype: np.dtype[Any]) -> dict[str, Any]:
    values = peaks.astype(np.float64) / (255.0 if dtype == np.uint8 else 1.0)
    drawn = values[values > 0]
    return {
        "peaks": drawn.size, "peak_sum": float(drawn.sum()), "empty_maps": int((values <= 0).sum()),
        "peak_min": float(drawn.min(initial=np.inf)),
    }  # fmt: skip


class _CropMaps:
    def __init__(self, recipe: Recipe, maker: CropRows, kept: npt.NDArray[np.bool_]) -> None:
        self._recipe = recipe
        self._has_map = maker.geometry.has_map & kept[:, None]

    def peaks(self, maps: Mapping[str, _Array], span: slice) -> dict[str, Any]:
        has_map = self._has_map[span]
        peaks = [stored.reshape(*has_map.shape, -1).max(axis=-1)[has_map] for stored in maps.values()]
        return _peak_counts(np.concatenate(peaks), peaks[0].dtype)

    def errors(self, maps: Mapping[str, _Array], span: slice, keypoints: _Array) -> MapErrors | None:
        recipe = self._recipe
        xy_crop = keypoints[span, :, :2].astype(np.float64) - recipe.context_px
        if "heatmaps" in maps:
            name = "heatmaps"
            error, bound = _heatmap_errors(recipe, maps[name], xy_crop)
        elif {"simcc_x", "simcc_y"} <= set(maps):
            name = "simcc_x"
            error, bound = _simcc_errors(recipe, maps["simcc_x"], maps["simcc_y"], xy_crop)
        else:
            return None
        said = np.isfinite(bound).all(axis=-1) & self._has_map[span]
        return MapErrors(array=name, rows=np.arange(span.start, span.stop), error=error, bound=bound, said=said)


class _SceneMaps:
    """A scene's joint map has many tops; what it says of one person is how near a top is at least.

    At a keypoint's nearest cell the map is at least as high as the keypoint's own Gaussian, whatever the overlap rule.
    The distance that the stored value stands for is therefore not above that of the keypoint.
    """

    def __init__(self, recipe: Recipe, maker: SceneRows, kept: npt.NDArray[np.bool_]) -> None:
        self._recipe, self._geometry, self._kept = recipe, maker.geometry, kept
        names = find_limb_table(recipe.limbs).skeleton.names
        self._channels = np.array([names.index(name) for name in COCO_PERSON.names])

    def _persons(self, span: slice) -> npt.NDArray[np.int64]:
        rows = self._geometry.person_row
        return np.flatnonzero((rows >= span.start) & (rows < span.stop) & self._kept[rows])

    def peaks(self, maps: Mapping[str, _Array], span: slice) -> dict[str, Any]:
        if "heatmaps" not in maps:
            return {}
        persons = self._persons(span)
        joints = self._geometry.labelled.shape[1]
        has_map = np.zeros((span.stop - span.start, joints), np.bool_)
        np.logical_or.at(has_map, self._geometry.person_row[persons] - span.start, self._geometry.labelled[persons])
        stored = maps["heatmaps"][:, :joints]
        return _peak_counts(stored.reshape(*has_map.shape, -1).max(axis=-1)[has_map], stored.dtype)

    def errors(self, maps: Mapping[str, _Array], span: slice, keypoints: _Array) -> MapErrors | None:
        if "heatmaps" not in maps:
            return None
        persons, stride, sigma = self._persons(span), self._recipe.stride_px, self._recipe.sigma
        rows, stored = self._geometry.person_row[persons], maps["heatmaps"]
        found = keypoints[persons]
        xy_map = (found[..., :2].astype(np.float64) + 0.5) / stride - 0.5
        size = np.array(stored.shape[:1:-1])
        cell = np.clip(np.rint(xy_map), 0, size - 1).astype(np.intp)
        distance = np.hypot(*np.moveaxis(xy_map - cell, -1, 0))
        value = stored[(rows - span.start)[:, None], self._channels, cell[..., 1], cell[..., 0]].astype(np.float64)
        value /= 255.0 if stored.dtype == np.uint8 else 1.0
        with np.errstate(divide="ignore"):
            read = sigma * np.sqrt(-2.0 * np.log(np.minimum(value, 1.0)))
        inside = ((found[..., :2] >= 0) & (found[..., :2] < stride * size)).all(axis=-1)
        clear = np.exp(-0.5 * (distance / sigma) ** 2) >= _LEAST_SAID
        error = np.maximum(read - distance, 0.0)[..., None]
        bound = np.full_like(error, max(1.0, sigma) * _SCENE_BOUND_CELLS[stored.dtype.kind])
        return MapErrors(
            array="heatmaps", rows=rows, error=error, bound=bound, said=(found[..., 2] > 0) & inside & clear
        )


def _heatmap_errors(recipe: Recipe, maps: _Array, xy_crop: _Array) -> tuple[_Array, _Array]:
    xy_map = crop_to_map(
        xy_crop, geometry=recipe.geometry, crop_width_px=recipe.crop_width_px,
        crop_height_px=recipe.crop_height_px, map_width=recipe.map_width, map_height=recipe.map_height,
    )  # fmt: skip
    bound = decode_bounds(
        xy_map, encoding=recipe.encoding, sigma=recipe.sigma, dtype=maps.dtype,
        map_width=recipe.map_width, map_height=recipe.map_height,
    )  # fmt: skip
    return np.abs(recover_keypoints(maps, encoding=recipe.encoding, sigma=recipe.sigma) - xy_map), bound


def _simcc_errors(recipe: Recipe, x: _Array, y: _Array, xy_crop: _Array) -> tuple[_Array, _Array]:
    """Return errors and bounds in bins; nothing is said of points that round to a bin outside."""
    found = recover_simcc(x, y, split_ratio=recipe.split_ratio, sigma=recipe.sigma)
    bins = xy_crop * recipe.split_ratio
    last = np.array([x.shape[-1], y.shape[-1]]) - 1.0
    inside = ((bins >= 0) & (bins <= last)).all(axis=-1, keepdims=True)
    bound = np.where(inside, 0.5 + 1e-3 * max(1.0, recipe.split_ratio), np.inf)
    return np.abs(found - xy_crop) * recipe.split_ratio, np.broadcast_to(bound, found.shape)
