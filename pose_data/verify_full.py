"""The full check of a shard: decode everything, make everything again, compare, and gather statistics.

What can be derived is derived from the sample table, which holds the annotation's own values: columns,
transforms, keypoints and targets. Images are made again from the source pictures where they are at hand, and the
masks of scenes from the annotation file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pose_data.errors import DamageError
from pose_data.findings import Finding, finding_of_rows
from pose_data.geometry import apply_affines
from pose_data.layout import ArrayLayout
from pose_data.manifest import read_shard_record
from pose_data.map_checks import MapCheck, map_check
from pose_data.recipes import Recipe
from pose_data.recrop import SourceImages, choose_pictures
from pose_data.row_kinds import row_maker
from pose_data.row_maker import Segmentations
from pose_data.shard_file import ShardIndex, read_chunk, read_column, read_index
from pose_data.source import Source
from pose_data.store import SplitFacts
from pose_data.store_statistics import Statistics, channel_sums
from pose_data.verify import SplitCheck, check_shard_digests, ids_of_rows, read_shard_rows
from pose_data.versions import library_versions

__all__ = ["CROP_TOLERANCE", "ShardFull", "check_shard_full"]

CROP_TOLERANCE = 5
"""Grey levels that a crop may differ by when other library versions made it; none otherwise."""
_TRANSFORM_BOUND_PX = 1e-4
_CODE_OF_COLUMN = {"keypoints": "keypoints-differ", "transforms": "transform"}

_Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardFull:
    """What the full check of one shard gave."""

    findings: tuple[Finding, ...]
    statistics: Statistics


def check_shard_full(
    check: SplitCheck,
    shard: int,
    *,
    source: Source | None = None,
    sample_share: float = 1.0,
    seed: int = 0,
    tick: Callable[[], None] = lambda: None,
) -> ShardFull:
    """Check one shard's digests, decode all of it, and compare it with what table and pictures give.

    ``sample_share`` is the share of the pictures whose crops are made again (a seeded choice); everything else is
    compared whole. ``tick`` is called before each chunk and may raise to stop. Arrays whose bytes are damaged are
    not looked at further; neither is a shard whose record or table is.
    """
    findings = check_shard_digests(check, shard)
    if check.facts is None or not check.table_whole or shard not in check.whole_records:
        return ShardFull(findings=tuple(findings), statistics=Statistics())
    damaged = frozenset(finding.array for finding in findings)
    deep = _ShardCheck(check, check.facts, shard, damaged, source or Source(), tick)
    deep.check(sample_share, seed)
    return ShardFull(findings=(*findings, *deep.findings()), statistics=deep.statistics)


class _ShardCheck:
    def __init__(
        self, check: SplitCheck, facts: SplitFacts, shard: int, damaged: frozenset[str], source: Source,
        tick: Callable[[], None],
    ) -> None:  # fmt: skip
        self._folder, self._facts, self._shard, self._tick = check.folder, facts, shard, tick
        self._source = source
        self._recipe: Recipe = facts.recipe
        self._record = read_shard_record(check.folder.shard_record(shard))
        self._table = read_shard_rows(check.folder, shard)
        self._maker = row_maker(
            self._table, facts.recipe, facts.keypoint_indices, segmentations=_segmentations(self._table, source),
            persons_a_shard=facts.persons_a_shard,
        )  # fmt: skip
        self._kept = self._maker.table_kept
        self._exact = dict(facts.versions) == library_versions()
        self._layouts = {layout.name: layout for layout in facts.layouts() if layout.name not in damaged}
        self._wrong: dict[tuple[str, str], dict[int, str]] = {}
        self.statistics = Statistics(
            rows=len(self._kept), kept=int(self._kept.sum()), crop_tolerance=0 if self._exact else CROP_TOLERANCE
        )

    def findings(self) -> list[Finding]:
        """Return one finding for each code and array, over the rows it concerns."""
        findings = []
        for (code, array), wrong in self._wrong.items():
            rows = [self._record.first_row + row for row in sorted(wrong)]
            findings.append(finding_of_rows(
                code, rows, ids_of_rows(self._table, rows), detail=wrong[min(wrong)], split=self._folder.name,
                array=array, shard=self._shard,
                path=self._path(self._layouts[array]).relative_to(self._folder.path.parent).as_posix(),
            ))  # fmt: skip
        return findings

    def check(self, sample_share: float, seed: int) -> None:
        columns = self._read_columns()
        self._compare_columns(columns)
        self._check_transforms(columns)
        if "keypoints" in columns:
            flags = self._persons_keypoints(columns)[self._kept[self._maker.person_row]][..., 2]
            counts = np.stack([(flags == flag).sum(axis=0) for flag in (0, 1, 2)], axis=-1)
            self._count(visibility=tuple(tuple(row) for row in counts.tolist()))
        indices = self._read_indices()
        images = None
        if self._source.images_root is not None and "images" in indices:
            images = self._source_images()
            chosen = choose_pictures(self._maker.names, sample_share, seed, self._shard)
            picked = np.array([name in chosen for name in self._maker.names]) & self._kept
        check = map_check(self._recipe, self._maker, self._kept)
        chunk_rows = self._recipe.chunk_rows
        for chunk in range(-(-len(self._kept) // chunk_rows)):
            self._tick()
            part = range(chunk * chunk_rows, min(len(self._kept), (chunk + 1) * chunk_rows))
            decoded = self._decode(indices, chunk, part)
            if "images" in decoded:
                self._check_images(decoded.pop("images"), part)
                if images is not None:
                    self._compare_images(images, picked, part)
            if decoded:
                self._check_maps(decoded, part, columns, check)

    # -- bookkeeping

    def _note(self, code: str, array: str, rows: Any, detail: str) -> None:
        wrong = self._wrong.setdefault((code, array), {})
        for row in rows:
            wrong.setdefault(int(row), detail)

    def _count(self, **values: Any) -> None:
        self.statistics = self.statistics.merge(Statistics(**values))

    def _path(self, layout: ArrayLayout) -> Any:
        return self._folder.shard_file(layout.name, len(layout.row_shape), self._shard)

    # -- columns

    def _read_columns(self) -> dict[str, _Array]:
        columns = {}
        for name, layout in self._layouts.items():
            if layout.sharded:
                continue
            try:
                values = read_column(layout, self._path(layout), layout.places_a_shard(self._facts.shard_rows))
            except DamageError as error:
                self._note(error.code, name, range(len(self._kept)), error.message)
            else:
                columns[name] = values if layout.of_persons else values[: len(self._kept)]
        return columns

    def _persons_keypoints(self, columns: dict[str, _Array]) -> _Array:
        return columns["keypoints"][: len(self._maker.person_row)]

    def _compare_columns(self, columns: dict[str, _Array]) -> None:
        expected = self._maker.columns(self._kept)
        for name, values in columns.items():
            wanted = np.zeros_like(values)
            wanted[: len(expected[name])] = expected[name]
            differs = _differing_rows(values, wanted, exact=self._exact)
            if differs.size and self._layouts[name].of_persons:
                # Behind the last person there is nothing: what stands there is laid to the last row.
                persons = np.minimum(differs, len(self._maker.person_row) - 1)
                differs = np.unique(self._maker.person_row[persons])
            if differs.size:
                self._note(_CODE_OF_COLUMN.get(name, "counts"), name, differs, "not what the table's annotation gives")

    def _check_transforms(self, columns: dict[str, _Array]) -> None:
        """Map the stored keypoints back to the picture with the stored transforms, and compare with the annotation."""
        if "keypoints" not in columns or "transforms" not in columns:
            return
        rows, annotated = self._maker.person_row, self._maker.annotated
        stored, transforms = self._persons_keypoints(columns), columns["transforms"][rows]
        labelled = (annotated[..., 2] > 0) & self._kept[rows][:, None]
        error = np.abs(apply_affines(transforms, stored[..., :2]) - annotated[..., :2])
        scale = np.sqrt((transforms[..., :2] ** 2).sum(axis=1)).max(axis=1)[:, None, None]
        # Far outside the crop, float32 itself is coarser than the bound.
        coarse = np.spacing(np.abs(stored[..., :2])).astype(np.float64).max(axis=-1, keepdims=True) * scale
        bound = np.maximum(_TRANSFORM_BOUND_PX * np.maximum(1.0, scale), coarse)
        wrong = (~(error <= bound)).any(axis=-1) & labelled
        if labelled.any():
            self._count(transform_error_px=float(error[labelled].max()))
        if wrong.any():
            worst = float(error[wrong].max())
            self._note(
                "transform", "transforms", rows[wrong.any(axis=1)],
                f"stored image to picture is up to {worst:.3g} px from the annotation",
            )  # fmt: skip

    # -- chunks

    def _read_indices(self) -> dict[str, ShardIndex]:
        indices = {}
        for name, layout in self._layouts.items():
            if not layout.sharded:
                continue
            try:
                indices[name] = read_index(self._path(layout), self._facts.shard_rows // self._recipe.chunk_rows)
            except DamageError as error:
                self._note(error.code, name, range(len(self._kept)), error.message)
        # Zeros, so that reading again into the same memory is all that a chunk costs.
        chunk_rows = self._recipe.chunk_rows
        self._buffers = {
            name: np.zeros((chunk_rows, *self._layouts[name].row_shape), self._layouts[name].dtype) for name in indices
        }
        self._again = {name: np.zeros_like(buffer) for name, buffer in self._buffers.items()}
        return indices

    def _decode(self, indices: dict[str, ShardIndex], chunk: int, part: range) -> dict[str, _Array]:
        decoded = {}
        for name, index in indices.items():
            layout = self._layouts[name]
            try:
                read_chunk(layout, self._path(layout), index, chunk, self._buffers[name])
            except DamageError as error:
                self._note(error.code, name, part, f"chunk {chunk}: {error.message}")
            else:
                decoded[name] = self._buffers[name][: len(part)]
        return decoded

    def _check_images(self, images: _Array, part: range) -> None:
        kept = self._kept[part.start : part.stop]
        filled = part.start + np.flatnonzero(~kept & images.reshape(len(part), -1).any(axis=1))
        if filled.size:
            self._note("crop-differs", "images", filled, "a row that was not kept is not zero")
        context, width, height = self._recipe.context_px, self._recipe.crop_width_px, self._recipe.crop_height_px
        windows = images[kept, context : context + height, context : context + width]
        sums, squares = channel_sums(windows)
        self._count(pixels=len(windows) * height * width, channel_sums=sums, channel_square_sums=squares)

    def _source_images(self) -> SourceImages:
        def problem(code: str, row: int, detail: str) -> None:
            self._note(code, "images", [row], detail)

        return SourceImages(self._recipe, self._maker, self._record, self._source, problem)

    def _compare_images(self, source: SourceImages, picked: npt.NDArray[np.bool_], part: range) -> None:
        images, work = self._buffers["images"], self._again["images"][0]
        for row in part:
            if not picked[row]:
                continue
            levels = source.levels(row, images[row - part.start], work)
            if levels is None:
                continue
            self._count(crops_compared=1, crop_levels=levels)
            if levels > self.statistics.crop_tolerance:
                self._note(
                    "crop-differs", "images", [row],
                    f"up to {levels} grey levels from the crop made again ({self.statistics.crop_tolerance} allowed)",
                )  # fmt: skip

    def _check_maps(self, maps: dict[str, _Array], part: range, columns: dict[str, _Array], check: MapCheck) -> None:
        span = slice(part.start, part.stop)
        again = {name: self._again[name][: len(part)] for name in maps if self._maker.can_make(name)}
        self._maker.targets(span, self._kept[span], again)
        for name, made in again.items():
            differs = part.start + _differing_rows(maps[name], made, exact=self._exact)
            if differs.size:
                self._note("map-differs", name, differs, "not the map that its keypoints give")
        self._count(**check.peaks(maps, span))
        if "keypoints" not in columns:
            return
        errors = check.errors(maps, span, columns["keypoints"])
        if errors is None:
            return
        if errors.said.any():
            self._count(map_error=float(np.nan_to_num(errors.error[errors.said], nan=np.inf).max()))
        wrong = errors.said & ~(errors.error <= errors.bound).all(axis=-1)
        if wrong.any():
            self._note(
                "map-decode", errors.array, errors.rows[wrong.any(axis=1)],
                f"decoded up to {float(errors.error[wrong].max()):.3g} cells from the keypoint",
            )  # fmt: skip


def _segmentations(table: pa.Table, source: Source) -> Segmentations | None:
    if source.segmentations is None:
        return None
    sample_ids, known = table["sample_id"].to_pylist(), source.segmentations
    return lambda index: known.get(sample_ids[index])


def _differing_rows(found: _Array, expected: _Array, *, exact: bool) -> npt.NDArray[np.intp]:
    """Return the rows in which two arrays differ; with other library versions, by more than a last digit."""
    count = len(found)
    if np.array_equal(found, expected):
        return np.empty(0, np.intp)
    if found.dtype == np.bool_:
        same = found == expected
    elif exact:
        # NaN is the one value that is not itself.
        same = (found == expected) | ((found != found) & (expected != expected))
    elif found.dtype.kind == "u":
        same = np.abs(found.astype(np.int16) - expected.astype(np.int16)) <= 1
    else:
        slack = {"f2": 2e-3, "f4": 1e-5}.get(found.dtype.str[1:], 1e-9)
        same = np.isclose(found, expected, rtol=slack, atol=slack, equal_nan=True)
    return np.flatnonzero(~same.reshape(count, -1).all(axis=1))
