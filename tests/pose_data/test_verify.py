"""The checks of a store, quick and full: stores that are right, and stores with wrong content but right digests."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr

from pose_data import verify_full
from pose_data.atomic import AtomicFile, file_digest, write_file
from pose_data.commit import update_root_manifest, write_manifest
from pose_data.errors import FINDINGS
from pose_data.findings import LISTED_IDS, Finding, finding_of_rows
from pose_data.manifest import SplitFolder, read_record, read_shard_record, write_record, write_shard_record
from pose_data.recrop import choose_pictures
from pose_data.shard_file import ShardWriter, encode_chunk, read_chunk, read_column, read_index
from pose_data.source import Source, find_source, with_segmentations
from pose_data.store import open_store, split_metadata
from pose_data.store_statistics import Statistics
from pose_data.verify import check_root, check_shard_digests, check_split_records, split_facts
from pose_data.verify_full import ShardFull, check_shard_full

RECIPES: dict[str, dict[str, Any]] = {
    "msra": {},
    "udp, jpeg, context": {"geometry": "udp", "encoding": "udp", "image_codec": "jpeg", "context_px": 3},
    "dark, one-hot, raw": {"geometry": "dark", "encoding": "one-hot", "image_codec": "raw", "map_dtype": "float32"},
    "float16 maps": {"encoding": "unbiased", "map_dtype": "float16", "image_codec": "fast", "box_rule": "msra-clean"},
    "simcc": {"geometry": "box", "encoding": "simcc", "sigma": 3.0, "split_ratio": 4.0, "padding": 1.0},
    "white": {
        "name": "white-frame-320", "crop_width_px": 24, "crop_height_px": 24, "map_width": 24, "map_height": 24,
        "sigma": 1.5, "min_keypoints": 8, "min_box_area_px2": 50.0,
    },
}  # fmt: skip


@pytest.fixture
def store(finished_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_store, tmp_path / "crops.zarr"))


def full(store: Path, split: str = "val2017", source: Source | None = None, **options: Any) -> ShardFull:
    """Check all shards of a split; return the findings and the merged statistics."""
    check = check_split_records(SplitFolder(store / split))
    assert check.facts is not None
    source = with_segmentations(source or find_source(store, split), check.facts)
    findings, statistics = list(check.findings), Statistics()
    for shard in range(check.facts.shards):
        result = check_shard_full(check, shard, source=source, **options)
        findings += result.findings
        statistics = statistics.merge(result.statistics)
    return ShardFull(findings=tuple(findings), statistics=statistics)


def forge(store: Path, array: str, shard: int, edit: Callable[[np.ndarray], None], split: str = "val2017") -> None:
    """Change the content of a shard's array and all digests above it: what a bug in the writer would leave."""
    folder = SplitFolder(store / split)
    facts = split_facts(folder)
    layout = next(layout for layout in facts.layouts() if layout.name == array)
    path = folder.shard_file(array, len(layout.row_shape), shard)
    record = read_shard_record(folder.shard_record(shard))
    with_rows = record.rows
    if layout.sharded:
        chunk_rows = facts.recipe.chunk_rows
        index = read_index(path, facts.shard_rows // chunk_rows)
        chunks = -(-with_rows // chunk_rows)
        values = np.zeros((chunks * chunk_rows, *layout.row_shape), layout.dtype)
        for chunk in range(chunks):
            read_chunk(layout, path, index, chunk, values[chunk * chunk_rows : (chunk + 1) * chunk_rows])
        edit(values)
        with AtomicFile(path) as file:
            writer = ShardWriter(layout, chunk_rows, facts.shard_rows, file)
            for chunk in range(chunks):
                writer.add(values[chunk * chunk_rows : (chunk + 1) * chunk_rows])
            writer.finish()
    else:
        values = read_column(layout, path, facts.shard_rows)
        edit(values)
        write_file(path, b"".join(encode_chunk(layout, values)))
    name = path.relative_to(folder.path).as_posix()
    write_shard_record(folder, replace(record, files={**record.files, name: file_digest(path)}))
    recommit(folder)


def recommit(folder: SplitFolder) -> None:
    names = [*split_metadata(split_facts(folder)), ".posedata/table.parquet"]
    write_manifest(folder, split_facts(folder), {name: file_digest(folder.path / name) for name in names})
    update_root_manifest(folder.path.parent)


def codes(findings: tuple[Finding, ...]) -> set[tuple[str, str]]:
    return {(finding.code, finding.array) for finding in findings}


# ------------------------------------------------------------------------------------ stores that are right


@pytest.mark.parametrize("options", RECIPES.values(), ids=RECIPES)
def test_every_kind_of_store_passes_the_full_check(
    factory: ModuleType, tmp_path: Path, options: dict[str, Any]
) -> None:
    factory.CocoMaker(tmp_path / "coco", pictures=5).write("val2017")
    recipe = factory.small_recipe(**options)
    factory.prepare_split(tmp_path / "s.zarr", tmp_path / "coco", "val2017", recipe)
    result = full(tmp_path / "s.zarr")
    assert result.findings == ()
    split = open_store(tmp_path / "s.zarr")["val2017"]
    kept = np.asarray(split["kept"][:])
    assert result.statistics.crops_compared == kept.sum() > 0
    assert result.statistics.crop_levels == result.statistics.crop_tolerance == 0
    assert result.statistics.peaks > 0
    assert result.statistics.transform_error_px < 1e-4


def test_statistics_are_those_of_the_arrays(finished_store: Path) -> None:
    statistics = full(finished_store).statistics
    group = zarr.open_group(finished_store / "val2017", mode="r")
    kept = np.asarray(group["kept"][:])
    images = np.asarray(group["images"][:])[kept].reshape(-1, 3)
    flags = np.asarray(group["keypoints"][:])[kept][..., 2]
    peaks = np.asarray(group["heatmaps"][:])[kept].max(axis=(2, 3)) / 255.0
    np.testing.assert_allclose(statistics.mean_rgb(), images.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(statistics.std_rgb(), images.std(axis=0), rtol=1e-9)
    assert statistics.visibility == tuple(tuple((column == flag).sum() for flag in (0, 1, 2)) for column in flags.T)
    assert statistics.peaks == (peaks > 0).sum()
    assert statistics.peak_min == peaks[peaks > 0].min()
    assert statistics.peak_mean() == pytest.approx(peaks[peaks > 0].mean())
    assert (statistics.rows, statistics.kept) == (len(kept), kept.sum())
    assert json.loads(json.dumps(statistics.as_dict()))["kept"] == kept.sum()


def test_statistics_of_nothing_say_nothing() -> None:
    empty = Statistics()
    assert empty.merge(empty) == empty
    assert empty.as_dict()["mean_rgb"] is empty.as_dict()["peak_min"] is None
    assert np.isnan(empty.mean_rgb()).all()
    assert np.isnan(empty.std_rgb()).all()


def test_a_share_of_the_pictures_is_a_seeded_choice(finished_store: Path) -> None:
    names = [f"{number}.jpg" for number in range(10)]
    assert len(choose_pictures(names, 0.25, 0, 0)) == 3
    assert choose_pictures(names, 0.25, 0, 0) == choose_pictures(names * 2, 0.25, 0, 0)
    assert len({choose_pictures(names, 0.25, seed, 0) for seed in range(8)}) > 1
    assert choose_pictures(names, 0.0, 0, 0) == frozenset()
    assert choose_pictures(names, 1.0, 0, 0) == frozenset(names)
    some = full(finished_store, sample_share=0.3).statistics.crops_compared
    assert 0 < some < full(finished_store).statistics.crops_compared


# ------------------------------------------------------------------------------------ wrong content, right digests


def brighten(values: np.ndarray) -> None:
    values[2] = np.where(values[2] > 250, values[2] - 3, values[2] + 3)


def move_map(values: np.ndarray) -> None:
    values[2] = np.roll(values[2], 2, axis=-1)


def shift_points(values: np.ndarray) -> None:
    values[2, :, 0] += np.float32(0.75)


def swap_kept(values: np.ndarray) -> None:
    values[2] = not values[2]


def add_one(values: np.ndarray) -> None:
    values[2] += 1


@pytest.mark.parametrize(
    ("array", "edit", "expected"),
    [
        ("images", brighten, {("crop-differs", "images")}),
        ("heatmaps", move_map, {("map-differs", "heatmaps"), ("map-decode", "heatmaps")}),
        ("transforms", add_one, {("transform", "transforms")}),
        ("keypoints", shift_points, {("keypoints-differ", "keypoints"), ("transform", "transforms"),
                                     ("map-decode", "heatmaps")}),
        ("annotation_id", add_one, {("counts", "annotation_id")}),
        ("bbox_xywh", add_one, {("counts", "bbox_xywh")}),
        ("kept", swap_kept, {("counts", "kept")}),
    ],
)  # fmt: skip
def test_wrong_content_with_right_digests_is_found_and_named(
    store: Path, array: str, edit: Callable[[np.ndarray], None], expected: set[tuple[str, str]]
) -> None:
    forge(store, array, 1, edit)
    folder = SplitFolder(store / "val2017")
    quick = check_split_records(folder)
    assert quick.findings == ()
    assert check_root(store) == []
    assert all(check_shard_digests(quick, shard) == [] for shard in range(3))
    findings = full(store).findings
    assert codes(findings) == expected
    row = 8 + 2
    table = pq.read_table(folder.table)
    annotation_id = table["annotation_id"][table["row"].to_pylist().index(row)].as_py()
    for finding in findings:
        assert (finding.split, finding.shard, finding.rows, finding.damaged) == ("val2017", 1, (row, row), True)
        assert finding.annotation_ids == (annotation_id,)
        assert finding.path.startswith(f"val2017/{finding.array}/c.1")


def test_a_row_that_was_not_kept_must_be_zero(factory: ModuleType, store: Path) -> None:
    table = pq.read_table(store / "val2017/.posedata/table.parquet")
    row = next(r["row"] for r in table.to_pylist() if r["row"] is not None and not r["kept"])

    def fill(values: np.ndarray) -> None:
        values[row % 8] = 7

    forge(store, "images", row // 8, fill)
    (finding,) = full(store).findings
    assert (finding.code, finding.rows) == ("crop-differs", (row, row))


def test_other_library_versions_may_differ_by_a_few_levels(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forge(store, "images", 1, brighten)
    monkeypatch.setattr(verify_full, "library_versions", lambda: {"opencv": "another"})
    result = full(store)
    assert result.findings == ()
    assert (result.statistics.crop_levels, result.statistics.crop_tolerance) == (3, verify_full.CROP_TOLERANCE)


def test_other_library_versions_do_not_excuse_more(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forge(store, "images", 1, lambda values: values[2].fill(90))
    forge(store, "heatmaps", 1, move_map)
    monkeypatch.setattr(verify_full, "library_versions", lambda: {"opencv": "another"})
    assert {code for code, _ in codes(full(store).findings)} == {"crop-differs", "map-differs", "map-decode"}


def test_a_lost_rejected_record_breaks_the_law(store: Path) -> None:
    folder = SplitFolder(store / "val2017")
    table = pq.read_table(folder.table)
    shards = -(-split_facts(folder).rows // 8)
    with pq.ParquetWriter(folder.table, table.schema) as writer:
        for shard in range(shards):
            writer.write_table(table.filter([value == shard for value in table["shard"].to_pylist()]))
        writer.write_table(table.filter([value is None for value in table["shard"].to_pylist()]).slice(1))
    recommit(folder)
    (finding,) = check_split_records(folder).findings
    assert (finding.code, finding.path) == ("law", "val2017/.posedata/table.parquet")


def test_counts_that_do_not_agree_are_named(store: Path) -> None:
    folder = SplitFolder(store / "val2017")
    manifest = read_record(folder.manifest)
    write_record(folder.manifest, {**manifest, "kept": manifest["kept"] + 1})
    update_root_manifest(store)
    (finding,) = check_split_records(folder).findings
    assert finding.code == "counts"
    assert f"kept: the table has {manifest['kept']}, the manifest {manifest['kept'] + 1}" in finding.detail


def test_metadata_of_another_recipe_is_found(store: Path) -> None:
    folder = SplitFolder(store / "val2017")
    path = folder.path / "keypoints/zarr.json"
    path.write_text(path.read_text().replace("float32", "float64"))
    recommit(folder)
    (finding,) = check_split_records(folder).findings
    assert (finding.code, finding.array, finding.path) == ("metadata", "keypoints", "val2017/keypoints/zarr.json")


def test_a_record_of_another_shard_is_found(store: Path) -> None:
    folder = SplitFolder(store / "val2017")
    write_shard_record(folder, replace(read_shard_record(folder.shard_record(1)), shard=0))
    recommit(folder)
    (finding,) = check_split_records(folder).findings
    assert (finding.code, finding.shard) == ("record", 0)


# ------------------------------------------------------------------------------------ sources


def test_changed_and_missing_pictures_are_notes_not_damage(
    factory: ModuleType, tmp_path: Path, finished_store: Path
) -> None:
    coco = tmp_path / "coco"
    shutil.copytree(finished_store.parent / "coco", coco)
    changed, missing = sorted((coco / "val2017").glob("0*.jpg"))[:2]
    changed.write_bytes(changed.read_bytes() + b"\0")
    missing.unlink()
    source = Source(annotations=coco / "annotations/person_keypoints_val2017.json", images_root=coco / "val2017")
    findings = full(finished_store, source=source).findings
    assert {finding.code for finding in findings} == {"picture-changed", "source-missing"}
    assert not any(finding.damaged for finding in findings)
    assert all(finding.annotation_ids for finding in findings)


def test_without_masks_white_crops_are_not_compared(factory: ModuleType, tmp_path: Path) -> None:
    factory.CocoMaker(tmp_path / "coco", pictures=2).write("val2017")
    factory.prepare_split(tmp_path / "s.zarr", tmp_path / "coco", "val2017", factory.small_recipe(background="white"))
    result = full(tmp_path / "s.zarr", source=Source(images_root=tmp_path / "coco/val2017"))
    assert result.statistics.crops_compared == 0
    assert {finding.code for finding in result.findings} == {"source-missing"}


# ------------------------------------------------------------------------------------ what a finding says


def test_damage_is_told_down_to_the_chunk(store: Path) -> None:
    folder = SplitFolder(store / "val2017")
    path = store / "val2017/images/c.1.0.0.0"
    data = bytearray(path.read_bytes())
    first_chunk_end = int(read_index(path, 2)[0].sum())
    data[first_chunk_end + 40] ^= 16
    path.write_bytes(data)
    (finding,) = check_shard_digests(check_split_records(folder), 1)
    assert (finding.code, finding.array, finding.rows) == ("digest", "images", (12, 15))
    ids = pq.read_table(folder.table, columns=["annotation_id", "row"]).to_pydict()
    assert finding.annotation_ids == tuple(ids["annotation_id"][ids["row"].index(row)] for row in range(12, 16))


def test_without_a_whole_table_the_rows_are_named_and_the_ids_left_out(store: Path) -> None:
    (store / "val2017/.posedata/table.parquet").write_bytes(b"PAR1")
    (store / "val2017/images/c.1.0.0.0").unlink()
    check = check_split_records(SplitFolder(store / "val2017"))
    (finding,) = check_shard_digests(check, 1)
    assert (finding.code, finding.rows, finding.annotation_ids) == ("missing-file", (8, 15), ())


def test_an_unfinished_split_is_named_and_nothing_else_of_it(store: Path) -> None:
    (store / "val2017/.posedata/manifest.json").unlink()
    update_root_manifest(store)
    check = check_split_records(SplitFolder(store / "val2017"))
    assert [finding.code for finding in check.findings] == ["unfinished"]
    assert check.unfinished
    assert check.findings[0].damaged


def test_long_lists_of_annotations_are_cut_and_counted() -> None:
    finding = finding_of_rows("chunk", range(100, 200), [*range(99), None], detail="why", split="a", array="images")
    assert (finding.rows, len(finding.annotation_ids)) == ((100, 199), LISTED_IDS)
    assert "99 annotations" in finding.detail
    assert finding.describe().startswith("chunk — split a, array images, rows 100-199, annotations 0, 1,")
    assert json.loads(json.dumps(finding.as_dict()))["rows"] == [100, 199]


def test_every_code_is_a_known_one(store: Path) -> None:
    for path in ("zarr.json", "val2017/.posedata/table.parquet", "val2017/images/c.0.0.0.0"):
        (store / path).write_bytes(b"?")
    findings = [*check_root(store), *full(store).findings]
    assert len(findings) == 3
    assert {finding.code for finding in findings} <= set(FINDINGS)
