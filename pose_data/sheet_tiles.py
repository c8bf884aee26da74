"""What a contact sheet shows: samples with skeleton and maps, and records that were left out or noted."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pose_data.drawing import draw_box, draw_skeleton, glow, keypoint_colours, resized, resized_by
from pose_data.errors import PROBLEMS, DamageError, InputError
from pose_data.geometry import map_to_crop
from pose_data.imaging import PictureProblem, decode_picture, read_picture
from pose_data.layout import ArrayLayout
from pose_data.manifest import SplitFolder
from pose_data.paths import resolve_inside, shown
from pose_data.shard_file import read_chunk, read_column, read_index
from pose_data.sheet_scenes import draw_scene
from pose_data.source import Source
from pose_data.store import SplitFacts

__all__ = ["TILE_HEIGHT_PX", "ProblemTile", "SampleTile", "SplitTiles", "collect_tiles"]

TILE_HEIGHT_PX = 224
_THUMBNAIL_WIDTH_PX = 320
_COLUMNS = (
    "sample_id", "annotation_id", "image_id", "file_name", "image_width_px", "image_height_px", "bbox_xywh",
    "labelled", "kept", "code", "detail", "notes", "row",
)  # fmt: skip
_PROBLEM: tuple[int, int, int] = (255, 82, 82)
_FILTERED: tuple[int, int, int] = (255, 214, 64)

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleTile:
    """One row: the stored image with skeletons, the same with its maps, and what to write below."""

    crop: Pixels
    maps: Pixels
    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ProblemTile:
    """One record that was left out; ``picture`` is None where none can be shown."""

    code: str
    fate: str
    picture: Pixels | None
    title: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitTiles:
    """What the sheet shows of one split. ``counts``: reject code → records; ``notes``: note code → rows."""

    split: str
    facts: SplitFacts
    kept: int
    rejected: int
    counts: dict[str, int]
    notes: dict[str, int]
    samples: tuple[SampleTile, ...]
    noted: tuple[SampleTile, ...]
    problems: tuple[ProblemTile, ...]


def collect_tiles(
    folder: SplitFolder, facts: SplitFacts, source: Source, *, samples: int, noted: int, problems: int, seed: int
) -> SplitTiles:
    """Return a seeded choice of a split's samples and problem records, drawn. Raises DamageError.

    Rows that cannot be read are passed over: what is wrong with them is for ``verify`` to say.
    """
    try:
        table = pq.read_table(folder.table, columns=list(_COLUMNS))
    except (OSError, pa.ArrowException) as error:
        raise DamageError("record", f"the sample table cannot be read: {error}", where=str(folder.table)) from error
    random = np.random.Generator(np.random.PCG64([seed, facts.rows]))
    reader = _RowReader(folder, facts)
    kept = table.filter(table["kept"])
    # Of a scene's persons the first stands for the picture.
    _, first = np.unique(kept["row"].to_numpy(), return_index=True)
    shown = kept.take(pa.array(first))
    order = random.permutation(shown.num_rows)
    notes_of = shown["notes"].to_pylist()
    with_notes = _spread(shown, [index for index in order if notes_of[index]], notes_of)
    rejected = table.filter(pc.invert(table["kept"]))
    return SplitTiles(
        split=folder.name,
        facts=facts,
        kept=kept.num_rows,
        rejected=rejected.num_rows,
        counts=_count(rejected["code"].to_pylist()),
        notes=_count(note for notes in kept["notes"].to_pylist() for note in notes),
        samples=tuple(_take(reader, shown, order, samples)),
        noted=tuple(_take(reader, shown, with_notes, noted)),
        problems=tuple(_problem_tiles(rejected, random.permutation(rejected.num_rows), facts, source, problems)),
    )


def _count(codes: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for code in codes:
        if code:
            counts[code] = counts.get(code, 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _spread(rows: pa.Table, indices: Iterable[int], codes: Sequence[Any]) -> list[int]:
    """Return the indices so that every code has its turn before one comes again, the rare ones first.

    Of one code, every picture has its turn before one comes again.
    """
    names = rows["file_name"].to_pylist()
    by_code: dict[str, list[int]] = {}
    for index in indices:
        for code in codes[index] if isinstance(codes[index], list) else [codes[index]]:
            by_code.setdefault(code, []).append(index)
    ordered: list[int] = []
    queues = [_by_turns(queue, names) for queue in sorted(by_code.values(), key=len)]
    for turn in range(max(map(len, queues), default=0)):
        ordered.extend(queue[turn] for queue in queues if turn < len(queue))
    return list(dict.fromkeys(ordered))


def _by_turns(indices: Sequence[int], names: Sequence[str | None]) -> list[int]:
    seen: dict[str | None, int] = {}
    turns: list[tuple[int, int, int]] = []
    for index in indices:
        turns.append((seen.get(names[index], 0), len(turns), index))
        seen[names[index]] = turns[-1][0] + 1
    return [index for _, _, index in sorted(turns)]


# ------------------------------------------------------------------------------------ kept samples


class _RowReader:
    """Single rows of a split's arrays, checked."""

    def __init__(self, folder: SplitFolder, facts: SplitFacts) -> None:
        self._folder, self._facts = folder, facts
        self._layouts = {layout.name: layout for layout in facts.layouts()}
        self.facts = facts

    def row(self, name: str, row: int) -> npt.NDArray[Any]:
        """Return one row of an array; of an array of persons, those of the row. Raises DamageError."""
        layout = self._layouts[name]
        shard, inside = divmod(row, self._facts.shard_rows)
        path = self._folder.shard_file(name, len(layout.row_shape), shard)
        if layout.of_persons:
            first, end = (self.row("offsets", row) - shard * layout.persons_a_shard).tolist()
            persons: npt.NDArray[Any] = read_column(layout, path, layout.persons_a_shard)[first:end]
            return persons
        if not layout.sharded:
            values: npt.NDArray[Any] = read_column(layout, path, self._facts.shard_rows)[inside]
            return values
        return self._from_chunk(layout, path, inside)

    def _from_chunk(self, layout: ArrayLayout, path: Any, inside: int) -> npt.NDArray[Any]:
        chunk_rows = self._facts.recipe.chunk_rows
        chunk, place = divmod(inside, chunk_rows)
        out = np.empty((chunk_rows, *layout.row_shape), layout.dtype)
        index = read_index(path, self._facts.shard_rows // chunk_rows)
        read_chunk(layout, path, index, chunk, out)
        image: npt.NDArray[Any] = out[place]
        return image

    def maps(self, row: int) -> npt.NDArray[np.float32]:
        """Return one row's maps (K, h, w), 0 to 1; SimCC's vectors are multiplied out, a cell a crop pixel."""
        if "heatmaps" in self._layouts:
            return self._unit("heatmaps", row)
        step = max(1, round(self._facts.recipe.split_ratio))
        x, y = self._unit("simcc_x", row)[:, ::step], self._unit("simcc_y", row)[:, ::step]
        product: npt.NDArray[np.float32] = y[:, :, None] * x[:, None, :]
        return product

    def _unit(self, name: str, row: int) -> npt.NDArray[np.float32]:
        values = self.row(name, row)
        return values.astype(np.float32) / np.float32(255.0 if values.dtype == np.uint8 else 1.0)


def _take(reader: _RowReader, kept: pa.Table, order: Iterable[int], wanted: int) -> Iterator[SampleTile]:
    taken = 0
    for index in order:
        if taken == wanted:
            return
        record = kept.slice(int(index), 1).to_pylist()[0]
        try:
            yield _sample_tile(reader, record)
        except DamageError:
            continue
        taken += 1


def _sample_tile(reader: _RowReader, record: dict[str, Any]) -> SampleTile:
    facts = reader.facts
    if facts.recipe.rows == "scenes":
        return _scene_tile(reader, record)
    image = np.ascontiguousarray(reader.row("images", record["row"]), np.uint8)
    keypoints = reader.row("keypoints", record["row"]).astype(np.float64)
    height, width = image.shape[:2]
    shown_width = max(1, round(TILE_HEIGHT_PX * width / height))
    crop = resized(image, shown_width, TILE_HEIGHT_PX)
    (scale_x, move_x), (scale_y, move_y) = resized_by(width, shown_width), resized_by(height, TILE_HEIGHT_PX)
    keypoints[:, 0] = keypoints[:, 0] * scale_x + move_x
    keypoints[:, 1] = keypoints[:, 1] * scale_y + move_y
    to_tile = np.array([[scale_x, 0.0, move_x], [0.0, scale_y, move_y]])
    maps = reader.maps(record["row"])
    lit = glow(crop, maps, keypoint_colours(facts.skeleton), _map_to_tile(facts, to_tile))
    if facts.recipe.context_px:
        window = facts.recipe.context_px, facts.recipe.crop_width_px, facts.recipe.crop_height_px
        box = (window[0] * scale_x, window[0] * scale_y, window[1] * scale_x, window[2] * scale_y)
        draw_box(crop, box, (255, 255, 255), 1)
        draw_box(lit, box, (255, 255, 255), 1)
    draw_skeleton(crop, keypoints, facts.skeleton)
    hidden = int((keypoints[:, 2] == 1).sum())
    labelled = int((keypoints[:, 2] > 0).sum())
    points = f"{labelled} of {len(keypoints)} keypoints" + (f", {hidden} hidden" if hidden else "")
    lines = [points, f"row {record['row']}, image {record['image_id']}"]
    if record["notes"]:
        lines.append(", ".join(dict.fromkeys(record["notes"])))
    return SampleTile(crop=crop, maps=lit, title=f"annotation {record['annotation_id']}", lines=tuple(lines))


def _scene_tile(reader: _RowReader, record: dict[str, Any]) -> SampleTile:
    picture, maps, lines = draw_scene(reader.row, reader.facts, record["row"], TILE_HEIGHT_PX)
    lines += (f"row {record['row']}, {record['file_name']}",)
    if record["notes"]:
        lines += (", ".join(dict.fromkeys(record["notes"])),)
    return SampleTile(crop=picture, maps=maps, title=f"image {record['image_id']}", lines=lines)


def _map_to_tile(facts: SplitFacts, to_tile: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    recipe = facts.recipe
    if recipe.encoding == "simcc":
        step = max(1, round(recipe.split_ratio)) / recipe.split_ratio
        scale_xy = np.array([step, step])
    else:
        scale_xy = map_to_crop(
            np.ones(2), geometry=recipe.geometry, crop_width_px=recipe.crop_width_px,
            crop_height_px=recipe.crop_height_px, map_width=recipe.map_width, map_height=recipe.map_height,
        )  # fmt: skip
    placed = to_tile.copy()
    placed[:, 2] += to_tile[:, :2] @ np.full(2, float(recipe.context_px))
    placed[:, :2] = to_tile[:, :2] * scale_xy
    return placed


# ------------------------------------------------------------------------------------ records left out


def _problem_tiles(
    rejected: pa.Table, order: Iterable[int], facts: SplitFacts, source: Source, wanted: int
) -> Iterator[ProblemTile]:
    codes = rejected["code"].to_pylist()
    numbers = [int(index) for index in order]
    bad = _spread(rejected, [index for index in numbers if _fate(codes[index]) == "reject"], codes)
    filtered = _spread(rejected, [index for index in numbers if _fate(codes[index]) != "reject"], codes)
    # What is broken comes before what is only not wanted; one picture's many persons come last.
    names = rejected["file_name"].to_pylist()
    ordered = sorted([*bad, *filtered], key=_Repeats(codes, names))
    for index in ordered[: wanted if bad else -(-wanted // 2)]:
        yield _problem_tile(rejected.slice(index, 1).to_pylist()[0], facts, source)


class _Repeats:
    """Says, called for one row after another, whether one with the same code and picture came before."""

    def __init__(self, codes: Sequence[str | None], names: Sequence[str | None]) -> None:
        self._codes, self._names = codes, names
        self._seen: set[tuple[str | None, str | None]] = set()

    def __call__(self, index: int) -> bool:
        key = self._codes[index], self._names[index]
        repeated = key in self._seen
        self._seen.add(key)
        return repeated


def _fate(code: str | None) -> str:
    return PROBLEMS[code].fate if code is not None and code in PROBLEMS else "reject"


def _problem_tile(record: dict[str, Any], facts: SplitFacts, source: Source) -> ProblemTile:
    name = record["file_name"]
    return ProblemTile(
        code=record["code"] or "",
        fate=_fate(record["code"]),
        picture=_thumbnail(record, facts, source),
        title=f"annotation {record['annotation_id']}" + (f" of {shown(name, 40)}" if name else ""),
        detail=record["detail"] or (PROBLEMS[record["code"]].meaning if record["code"] in PROBLEMS else ""),
    )


def _thumbnail(record: dict[str, Any], facts: SplitFacts, source: Source) -> Pixels | None:
    name = record["file_name"]
    if source.images_root is None or not name or (record["code"] or "") == "img-crash":
        return None
    size_wh = (record["image_width_px"], record["image_height_px"])
    try:
        data = read_picture(resolve_inside(source.images_root, name, allow_outside=source.allow_outside))
        picture = decode_picture(
            data, file_name=name, expected_wh=None if None in size_wh else size_wh, exif=facts.recipe.exif
        )
    except (PictureProblem, InputError):
        return None
    height, width = picture.pixels.shape[:2]
    scale = min(_THUMBNAIL_WIDTH_PX / width, TILE_HEIGHT_PX / height)
    thumbnail = resized(picture.pixels, max(1, round(width * scale)), max(1, round(height * scale)))
    box = record["bbox_xywh"]
    if box is not None and len(box) == 4 and np.isfinite(box).all():
        colour = _PROBLEM if _fate(record["code"]) == "reject" else _FILTERED
        draw_box(thumbnail, [value * scale for value in box], colour)
    return thumbnail
