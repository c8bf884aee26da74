"""The sample table: one row for every annotation of the input, kept or rejected, and why.

The original values stay as they were read; cleaned ones are in columns of their own
(``box_xywh``, ``labelled``), so that nothing of the input is lost.
"""

import pyarrow as pa

__all__ = ["ANNOTATION_SCHEMA", "PLAN_SCHEMA", "TABLE_SCHEMA"]

_ANNOTATION_FIELDS = [
    # Our own id: the record's position in the file plus one; original ids may repeat.
    pa.field("sample_id", pa.int64(), nullable=False),
    pa.field("annotation_id", pa.int64()),
    pa.field("image_id", pa.int64()),
    pa.field("category_id", pa.int64()),
    # As written in the image record, relative to the image folder.
    pa.field("file_name", pa.string()),
    pa.field("image_width_px", pa.int32()),
    pa.field("image_height_px", pa.int32()),
    pa.field("bbox_xywh", pa.list_(pa.float64())),
    # The box after repair (``--boxes from-keypoints``); null when there is no usable one.
    pa.field("box_xywh", pa.list_(pa.float64())),
    pa.field("area", pa.float64()),
    pa.field("iscrowd", pa.bool_()),
    pa.field("score", pa.float64()),
    pa.field("num_keypoints", pa.int64()),
    # Flags above 0, counted by us.
    pa.field("labelled", pa.int32()),
    # x, y, v of every keypoint of the full skeleton, image frame, as read; null when unusable.
    pa.field("keypoints", pa.list_(pa.float64())),
    # Number of segmentation polygons; -1 for RLE, 0 for none.
    pa.field("polygons", pa.int32()),
    pa.field("kept", pa.bool_(), nullable=False),
    pa.field("code", pa.string()),
    pa.field("detail", pa.string()),
    pa.field("notes", pa.list_(pa.string()), nullable=False),
]

ANNOTATION_SCHEMA = pa.schema([*_ANNOTATION_FIELDS, pa.field("segmentation", pa.large_binary())])
"""What a reader returns; ``segmentation`` is the record's raw JSON value, null unless asked for."""

_PLACE_FIELDS = [
    # Row in the split's arrays; null for records rejected before planning.
    pa.field("row", pa.int64()),
    pa.field("shard", pa.int32()),
]

PLAN_SCHEMA = pa.schema([*_ANNOTATION_FIELDS, *_PLACE_FIELDS, pa.field("segmentation", pa.large_binary())])
"""The plan: the annotations and their fixed places; one Parquet row group a shard."""

TABLE_SCHEMA = pa.schema([*_ANNOTATION_FIELDS, *_PLACE_FIELDS, pa.field("image_digest", pa.string())])
"""The finished table; ``image_digest`` (XXH3-128) is of the picture file's bytes, null where it was not read."""
