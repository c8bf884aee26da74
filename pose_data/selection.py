"""Which readable annotations a recipe keeps; the others stay in the table with a ``filter-*`` code."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pose_data.geometry import clean_boxes
from pose_data.packed_table import PackedTable
from pose_data.recipes import Recipe

__all__ = ["clean_table_boxes", "select_packed", "select_samples", "table_boxes"]


def table_boxes(table: pa.Table) -> npt.NDArray[np.float64]:
    """Return the usable boxes (n, 4) x, y, width, height in the image frame; NaN where there is none."""
    boxes = np.full((table.num_rows, 4), np.nan)
    there = pc.is_valid(table["box_xywh"]).to_numpy()
    flat = pc.list_flatten(table["box_xywh"]).to_numpy()
    boxes[there] = flat.reshape(-1, 4)
    return boxes


def clean_table_boxes(table: pa.Table, recipe: Recipe) -> npt.NDArray[np.float64]:
    """Return the boxes (n, 4) after the recipe's box rule, image frame."""
    sides = [table[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in _SIZE_COLUMNS]
    # Where the annotation file does not say how large a picture is, nothing can be clipped.
    size_wh = np.nan_to_num(np.stack(sides, axis=1), nan=np.inf)
    return clean_boxes(table_boxes(table), size_wh, recipe.box_rule)


_SIZE_COLUMNS = ("image_width_px", "image_height_px")


def select_samples(table: pa.Table, recipe: Recipe) -> pa.Table:
    """Return the table with the recipe's filters applied to the rows still kept.

    A row is rejected with the first code that fits: crowd, keypoints, polygons, mask, box rule, area, picture's size.
    """
    kept = table["kept"].to_numpy()
    code = np.array(table["code"].to_pylist(), dtype=object)
    detail = np.array(table["detail"].to_pylist(), dtype=object)
    labelled = pc.fill_null(table["labelled"], 0).to_numpy()
    polygons = pc.fill_null(table["polygons"], 0).to_numpy()
    with np.errstate(invalid="ignore"):
        boxes = clean_table_boxes(table, recipe)
        usable = (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
        large = table_boxes(table)[:, 2:].prod(axis=1) > recipe.min_box_area_px2
    no_size = pc.or_(*(pc.is_null(table[name]) for name in _SIZE_COLUMNS)).to_numpy()
    rules: list[tuple[npt.NDArray[np.bool_], str, str]] = [
        (pc.fill_null(table["iscrowd"], False).to_numpy() & (not recipe.keep_crowd), "filter-crowd", ""),
        (labelled < recipe.min_keypoints, "filter-keypoints", f"fewer than {recipe.min_keypoints} labelled"),
        ((polygons != 1) & recipe.single_polygon, "filter-polygons", "not exactly one polygon"),
        ((polygons == 0) & (recipe.background == "white"), "mask-missing", "no segmentation"),
        (~usable, "box-invalid", f"nothing is left of the box after the rule {recipe.box_rule}"),
        (~large, "filter-area", f"not above {recipe.min_box_area_px2:g} px²"),
        (no_size & (recipe.rows == "scenes"), "image-size-missing", ""),
    ]
    for applies, rule_code, rule_detail in rules:
        hit = kept & applies
        code[hit], detail[hit] = rule_code, rule_detail or None
        kept = kept & ~applies
    for name, values, kind in (
        ("kept", kept, pa.bool_()),
        ("code", code, pa.string()),
        ("detail", detail, pa.string()),
    ):
        position = table.schema.get_field_index(name)
        table = table.set_column(position, table.schema.field(name), pa.array(values.tolist(), kind))
    return table


_VERDICT_COLUMNS = ("kept", "code", "detail")
_READ_COLUMNS = (
    *_VERDICT_COLUMNS, *_SIZE_COLUMNS, "box_xywh", "area", "iscrowd", "labelled", "polygons",
)  # fmt: skip


def select_packed(rows: PackedTable, recipe: Recipe) -> PackedTable:
    """Return packed rows with the recipe's filters applied, as :func:`select_samples` does."""
    parts = [select_samples(block, recipe).select(_VERDICT_COLUMNS) for block in rows.blocks(_READ_COLUMNS)]
    if not parts:
        return rows
    verdicts = pa.concat_tables(parts).combine_chunks()
    return rows.replaced({name: verdicts[name] for name in _VERDICT_COLUMNS})
