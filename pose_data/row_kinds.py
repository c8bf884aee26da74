"""Which rows a recipe makes: the table of row kinds."""

import pyarrow as pa

from pose_data.crop_rows import CropRows
from pose_data.recipes import Recipe
from pose_data.row_maker import RowMaker, Segmentations
from pose_data.scene_rows import SceneRows

__all__ = ["row_maker"]


def row_maker(
    table: pa.Table,
    recipe: Recipe,
    keypoint_indices: tuple[int, ...],
    *,
    segmentations: Segmentations | None,
    persons_a_shard: int,
) -> RowMaker:
    """Return the maker of the rows of one shard.

    ``table``: the shard's annotations, of the plan or of the finished table. ``segmentations`` None: not at hand.
    """
    if recipe.rows == "scenes":
        return SceneRows(table, recipe, keypoint_indices, segmentations, persons_a_shard)
    return CropRows(table, recipe, keypoint_indices, segmentations or (lambda index: None))
