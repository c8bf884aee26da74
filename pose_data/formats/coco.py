"""The reader of COCO keypoint files: ``images``, ``annotations``, ``categories``.

Format: https://cocodataset.org/#format-data. Every annotation becomes exactly one row, kept or
rejected; the file is mapped and decoded record by record, and the rows are packed as they come, so that memory
is bounded by the packed table.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pose_data.formats.checks import RecordReader
from pose_data.formats.image_records import ImageIndex, read_images
from pose_data.formats.json_records import DEFAULT_MAX_FILE_BYTES, JsonFile, map_json, too_deep, too_large_for_memory
from pose_data.formats.kinds import Categories, choose_category, wrong_kind
from pose_data.formats.rows import NOTE_BITS, BoxSource, RowReader, note_lists
from pose_data.packed_table import PackedTable
from pose_data.skeleton import COCO_PERSON, Skeleton
from pose_data.table import ANNOTATION_SCHEMA

__all__ = ["DEFAULT_MAX_FILE_BYTES", "AnnotationSet", "read_coco"]

# Records as Python objects take some 2 KB each.
_BATCH_ROWS = 1024
_NOTES_A_CODE = 100
_LISTED_IDS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AnnotationSet:
    """What a reader makes of an annotation file.

    ``rows`` have ANNOTATION_SCHEMA, one for each annotation of the file, in its order; ``sha256`` is of the file's
    bytes; ``category_id`` is the category that carries ``skeleton``.
    ``notes`` are (code, detail) about the file: unusable image records, files and ids that are there
    twice; at most 100 for each code and one line that counts the others.
    """

    path: Path
    sha256: str
    size_bytes: int
    rows: PackedTable
    skeleton: Skeleton
    category_id: int
    image_count: int
    annotation_count: int
    notes: tuple[tuple[str, str], ...]

    @property
    def table(self) -> pa.Table:
        """Return the rows as one table, made anew by each call: some 620 bytes a row."""
        return self.rows.table()


class _Lists(msgspec.Struct, kw_only=True):
    images: list[msgspec.Raw]
    annotations: list[msgspec.Raw]
    categories: list[msgspec.Raw]


def read_coco(
    path: Path,
    *,
    skeleton: Skeleton = COCO_PERSON,
    boxes: BoxSource = "annotated",
    keep_segmentation: bool = False,
    allow_outside: bool = False,
    max_file_bytes: int = DEFAULT_MAX_FILE_BYTES,
) -> AnnotationSet:
    """Read a COCO keypoint file; a bad record becomes a rejected row, never a failed file.

    A row is rejected with the first problem that is found, in the order given in ``checks``. A kept
    row has 3·K finite keypoint numbers with flags 0, 1 or 2 and a ``box_xywh`` of positive size that
    touches the picture. ``boxes="from-keypoints"``: a record without such a box gets the tight
    box of its labelled keypoints, if that is one. ``keep_segmentation`` fills that column.
    Records of other categories are rejected as ``filter-category``. A file without annotations gives
    an empty table. Widths and heights may be missing from image records (null), but not be wrong.

    Raises InputError: ``json-unreadable``, ``json-invalid``, ``json-too-large``, ``json-too-deep``,
    ``json-wrong-kind``, ``image-id-duplicate``, ``path-outside-root``, ``keypoints-other-skeleton``,
    ``skeleton-mismatch``.
    """
    file = map_json(path, max_file_bytes)
    digest = file.sha256()
    try:
        lists = _read_lists(file)
        image_count, annotation_count = len(lists.images), len(lists.annotations)
        images = read_images(lists.images, path, allow_outside=allow_outside)
        lists.images.clear()
        categories = choose_category(lists.categories, lists.annotations, skeleton, path)
        reader = _row_reader(images, categories, skeleton, boxes, keep_segmentation)
        rows, bits = _read_rows(file, lists.annotations, reader)
    except RecursionError as error:
        raise too_deep(path) from error
    except MemoryError as error:
        raise too_large_for_memory(path, file.size_bytes) from error
    rows, duplicates = _with_notes(rows, bits)
    return AnnotationSet(
        path=path,
        sha256=digest,
        size_bytes=file.size_bytes,
        rows=rows,
        skeleton=skeleton,
        category_id=categories.chosen,
        image_count=image_count,
        annotation_count=annotation_count,
        notes=_capped((*images.notes, *duplicates)),
    )


def _read_lists(file: JsonFile) -> _Lists:
    try:
        return file.decode(msgspec.json.Decoder(_Lists))
    except msgspec.ValidationError as error:
        raise wrong_kind(file) from error


def _row_reader(
    images: ImageIndex, categories: Categories, skeleton: Skeleton, boxes: BoxSource, keep_segmentation: bool
) -> RowReader:
    return RowReader(
        images=images,
        categories=categories,
        keypoint_count=skeleton.keypoint_count,
        boxes=boxes,
        keep_segmentation=keep_segmentation,
        file_names=pa.array(images.file_names, pa.string()),
        records=RecordReader(skeleton.keypoint_count),
    )


def _read_rows(
    file: JsonFile, raws: list[msgspec.Raw], reader: RowReader
) -> tuple[PackedTable, npt.NDArray[np.uint16]]:
    """Read and pack the records; ``raws`` is empty afterwards, since each costs memory, too."""
    rows = PackedTable(ANNOTATION_SCHEMA)
    bits = [np.zeros(0, np.uint16)]
    first_sample_id = 1
    raws.reverse()  # a list gives memory back at its end
    while raws:
        batch = raws[: -_BATCH_ROWS - 1 : -1]
        del raws[-_BATCH_ROWS:]
        batch_table, batch_bits = reader.read(batch, first_sample_id)
        first_sample_id += len(batch)
        rows.append(batch_table)
        bits.append(batch_bits)
        file.release()
    rows.finish()
    return rows, np.concatenate(bits)


def _with_notes(rows: PackedTable, bits: npt.NDArray[np.uint16]) -> tuple[PackedTable, tuple[tuple[str, str], ...]]:
    """Return the rows with their notes, and what is to be said about annotation ids that repeat."""
    ids = rows.column("annotation_id")
    there = ids.is_valid().to_numpy()
    values = ids.drop_null().to_numpy()
    unique, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    bits[np.flatnonzero(there)[counts[inverse] > 1]] |= NOTE_BITS["id-duplicate"]
    rows = rows.replaced({"notes": pa.chunked_array([note_lists(bits)])})
    repeated = unique[counts > 1].tolist()
    if not repeated:
        return rows, ()
    more = f" and {len(repeated) - _LISTED_IDS:,} more" if len(repeated) > _LISTED_IDS else ""
    listed = ", ".join(map(str, repeated[:_LISTED_IDS]))
    return rows, (("id-duplicate", f"{len(repeated):,} annotation ids repeat: {listed}{more}"),)


def _capped(notes: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    counts: Counter[str] = Counter()
    capped = []
    for code, detail in notes:
        counts[code] += 1
        if counts[code] <= _NOTES_A_CODE:
            capped.append((code, detail))
    capped += [(code, f"and {count - _NOTES_A_CODE:,} more") for code, count in counts.items() if count > _NOTES_A_CODE]
    return tuple(capped)
