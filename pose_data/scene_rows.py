"""Rows that are scenes: whole pictures with all their persons, joint maps, part affinity fields and a mask."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pose_data.crop_rows import picture_sizes
from pose_data.geometry import apply_affines, invert_affines, letterbox_transforms
from pose_data.imaging import Picture, warp_crop
from pose_data.limbs import add_neck, find_limb_table
from pose_data.recipes import Recipe
from pose_data.row_maker import Segmentations
from pose_data.scene_regions import SceneAnnotation, untrained_region
from pose_data.selection import table_boxes
from pose_data.targets.paf import SceneRules, encode_fields, encode_scene_maps, trainable_share

__all__ = ["BORDER_GREY", "SceneGeometry", "SceneRows", "scene_geometry", "scene_rules"]

BORDER_GREY = 128
"""Around the picture, as both ports have it."""
_DECIMALS = 9
_Float = npt.NDArray[np.float64]
_Bool = npt.NDArray[np.bool_]


def scene_rules(recipe: Recipe) -> SceneRules:
    """Return the rules that a recipe draws maps and fields of scenes by."""
    return SceneRules(
        name=recipe.name, stride_px=recipe.stride_px, sigma_px=recipe.sigma * recipe.stride_px,
        limb_half_width_cells=recipe.limb_half_width, map_overlap=recipe.map_overlap,
        field_overlap=recipe.field_overlap, limb_region=recipe.limb_region,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneGeometry:
    """Where everything of a shard's n pictures and P persons lies.

    ``first`` (n,): the first annotation of each row in the shard's table. ``persons`` (P,): the annotations that are
    persons of the scenes; ``person_row`` (P,): their rows; ``ends`` (n, 2): the first person of each row and the one
    behind its last. ``image_to_stored`` (n, 2, 3) float64. ``annotated`` and ``keypoints_stored`` (P, K, 3): x, y and
    visibility in the picture and in the stored image. ``xy_stored`` (P, J, 2), ``labelled`` (P, J): the joints of the
    limb table, the neck among them.
    """

    first: npt.NDArray[np.int64]
    persons: npt.NDArray[np.int64]
    person_row: npt.NDArray[np.int64]
    ends: npt.NDArray[np.int64]
    image_to_stored: _Float
    annotated: _Float
    keypoints_stored: _Float
    xy_stored: _Float
    labelled: _Bool


def scene_geometry(table: pa.Table, recipe: Recipe, keypoint_indices: tuple[int, ...]) -> SceneGeometry:
    """Return the geometry of the annotations of a shard's scenes (PLAN_SCHEMA or TABLE_SCHEMA)."""
    rows = table["row"].to_numpy().astype(np.int64)
    _, first, row = np.unique(rows, return_index=True, return_inverse=True)
    persons = np.flatnonzero(_planned(table)).astype(np.int64)
    person_row = row[persons].astype(np.int64)
    ends = np.searchsorted(person_row, np.stack([np.arange(len(first)), np.arange(1, len(first) + 1)], axis=1))
    sizes = np.array([picture_sizes(table)[index] for index in first], np.float64).reshape(-1, 2)
    image_to_stored = letterbox_transforms(sizes, width_px=recipe.stored_width_px, height_px=recipe.stored_height_px)
    flat = pc.list_flatten(table["keypoints"].take(pa.array(persons))).to_numpy()
    annotated = flat.reshape(len(persons), -1, 3)[:, list(keypoint_indices)]
    labelled = annotated[..., 2] > 0
    # As in a crop: a place on an edge between two cells must not fall to the wrong one by the affine's last bit.
    xy = np.round(apply_affines(image_to_stored[person_row], annotated[..., :2]), _DECIMALS)
    stored = annotated.copy()
    stored[..., :2] = np.where(labelled[..., None], xy, 0.0)
    xy_joints, has_joint = add_neck(xy, labelled)
    return SceneGeometry(
        first=first.astype(np.int64), persons=persons, person_row=person_row, ends=ends.astype(np.int64),
        image_to_stored=image_to_stored, annotated=annotated, keypoints_stored=stored, xy_stored=xy_joints,
        labelled=has_joint,
    )  # fmt: skip


def _planned(table: pa.Table) -> _Bool:
    """Return which annotations were kept when the plan was made; a picture that turned out unusable comes later."""
    unusable = pc.starts_with(pc.fill_null(table["code"], ""), "img-")
    planned: _Bool = pc.or_(table["kept"], unusable).to_numpy()
    return planned


class SceneRows:
    """See :class:`pose_data.row_maker.RowMaker`. Without ``segmentations``, masks cannot be made."""

    def __init__(
        self,
        table: pa.Table,
        recipe: Recipe,
        keypoint_indices: tuple[int, ...],
        segmentations: Segmentations | None,
        persons_a_shard: int,
    ) -> None:
        self._table, self._recipe, self._segmentations = table, recipe, segmentations
        self.geometry = geometry = scene_geometry(table, recipe, keypoint_indices)
        self._shard_first = int(table["shard"][0].as_py()) * persons_a_shard
        names, sizes = table["file_name"].to_pylist(), picture_sizes(table)
        self.names: list[str] = [names[index] for index in geometry.first]
        self.sizes_wh: list[tuple[int, int] | None] = [sizes[index] for index in geometry.first]
        self.person_row, self.annotated = geometry.person_row, geometry.annotated
        kept = table["kept"].to_numpy()[geometry.persons]
        self.table_kept = np.bincount(geometry.person_row[kept], minlength=len(self.names)) > 0
        self._borders = [*geometry.first.tolist(), table.num_rows]
        self._rules = scene_rules(recipe)
        self._limbs = find_limb_table(recipe.limbs).limbs
        self._boxes = table_boxes(table)
        self._crowd: list[bool] = pc.fill_null(table["iscrowd"], False).to_pylist()

    def draw(
        self, picture: Picture, row: int, out: npt.NDArray[np.uint8], scratch: npt.NDArray[np.uint8] | None = None
    ) -> None:
        """Fill ``out`` with the whole picture, grey around it."""
        pixels = picture.to_warp
        warp_crop(pixels, self.geometry.image_to_stored[row], out, border=BORDER_GREY, scratch=scratch)

    def targets(self, part: slice, kept: _Bool, out: Mapping[str, npt.NDArray[Any]]) -> None:
        """Draw the maps, fields and masks of rows ``part``, as far as ``out`` has them."""
        for place, row in enumerate(range(*part.indices(len(self.names)))):
            for name, rows in out.items():
                rows[place] = self._target(name, row, rows.dtype) if kept[place] else 0

    def _target(self, name: str, row: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        values, levels = self._drawn(name, row)
        stored: npt.NDArray[Any] = values if dtype.kind == "f" else np.rint(values * np.float32(levels))
        return stored.astype(dtype)

    def _drawn(self, name: str, row: int) -> tuple[npt.NDArray[np.float32], int]:
        """Return a row's target, and the stored number that stands for 1."""
        if name == "mask":
            return self._trained_share(row), 255
        recipe, geometry = self._recipe, self.geometry
        persons = slice(*geometry.ends[row])
        size = {
            "map_width": recipe.stored_width_px // recipe.stride_px,
            "map_height": recipe.stored_height_px // recipe.stride_px,
        }
        xy, labelled = geometry.xy_stored[persons], geometry.labelled[persons]
        if name == "heatmaps":
            return encode_scene_maps(xy, labelled, rules=self._rules, **size), 255
        return encode_fields(xy, labelled, self._limbs, rules=self._rules, **size), 127

    def _trained_share(self, row: int) -> npt.NDArray[np.float32]:
        """Return the share of each cell that may be trained on; around the picture all of it."""
        recipe, size = self._recipe, self.sizes_wh[row]
        shape = (recipe.stored_height_px, recipe.stored_width_px)
        untrained = np.zeros(shape, np.bool_)
        if size is not None and self._has_untrained(row):
            region = untrained_region(self._annotations(row), *size, rule=recipe.untrained)
            if region.any():
                x, y = _nearest_pixels(self.geometry.image_to_stored[row], shape)
                inside = (x >= 0) & (x < size[0]), (y >= 0) & (y < size[1])
                untrained[np.ix_(inside[1], inside[0])] = region[np.ix_(y[inside[1]], x[inside[0]])]
        return trainable_share(untrained, stride_px=recipe.stride_px)

    def _has_untrained(self, row: int) -> bool:
        """Return whether the picture has an annotation that is not only a person: masks cost more than maps."""
        annotations = slice(*self._borders[row : row + 2])
        persons = np.diff(self.geometry.ends[row])[0]
        return any(self._crowd[annotations]) or annotations.stop - annotations.start > persons

    def _annotations(self, row: int) -> Iterator[SceneAnnotation]:
        if self._segmentations is None:
            raise AssertionError("masks without segmentations")
        persons = set(self.geometry.persons[slice(*self.geometry.ends[row])].tolist())
        for index in range(*self._borders[row : row + 2]):
            raw = self._segmentations(index)
            left, top, width, height = self._boxes[index].tolist()
            yield SceneAnnotation(
                segmentation=None if raw is None else json.loads(raw), bbox_xywh_image=(left, top, width, height),
                crowd=self._crowd[index], labelled=index in persons,
            )  # fmt: skip

    def can_make(self, array: str) -> bool:
        """Return whether the segmentations are at hand, where they are needed."""
        return array != "mask" or self._segmentations is not None

    def columns(self, kept: _Bool) -> Mapping[str, npt.NDArray[Any]]:
        """Return the values of every column; ``offsets`` count in the whole split."""
        geometry = self.geometry
        persons = self._table.take(pa.array(geometry.persons))
        pictures = self._table.take(pa.array(geometry.first))
        boxes = np.full((len(geometry.persons), 4), np.nan)
        original = pc.fill_null(pc.equal(pc.list_value_length(persons["bbox_xywh"]), 4), False)
        boxes[original.to_numpy()] = pc.list_flatten(persons["bbox_xywh"].filter(original)).to_numpy().reshape(-1, 4)
        keypoints = geometry.keypoints_stored.astype(np.float32)
        return {
            "keypoints": np.where(kept[geometry.person_row][:, None, None], keypoints, np.float32(0)),
            "annotation_id": pc.fill_null(persons["annotation_id"], 0).to_numpy(),
            "bbox_xywh": boxes,
            "area": pc.fill_null(persons["area"], np.nan).to_numpy(),
            "score": pc.fill_null(persons["score"], np.nan).to_numpy(),
            "offsets": geometry.ends + self._shard_first,
            "transforms": np.where(kept[:, None, None], invert_affines(geometry.image_to_stored), 0.0),
            "image_id": pc.fill_null(pictures["image_id"], 0).to_numpy(),
            "kept": kept,
        }


def _nearest_pixels(
    image_to_stored: _Float, shape: tuple[int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return the picture's column of every stored column, and its row of every stored row."""
    (scale, _, x0), (_, _, y0) = image_to_stored
    columns, rows = np.arange(shape[1]), np.arange(shape[0])
    return np.rint((columns - x0) / scale).astype(np.int64), np.rint((rows - y0) / scale).astype(np.int64)
