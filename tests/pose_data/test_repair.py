"""Repairs give back exactly the bytes that were there, or refuse and change nothing."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from pipelines.verify import VerifyReport, verify
from pose_data.errors import BusyError, DamageError, ResumeMismatchError
from pose_data.lock import hold
from pose_data.manifest import SplitFolder, records_folder
from pose_data.repair import damaged_shards, repair_shards
from pose_data.source import Source, find_source
from pose_data.verify import check_shard_digests, check_split_records

FILES = (
    "val2017/images/c.1.0.0.0",
    "val2017/heatmaps/c.0.0.0.0",
    "train2017/kept/c.2",
    "val2017/.posedata/shards/000001.json",
    "val2017/.posedata/table.parquet",
    "train2017/.posedata/table.parquet",
    "val2017/images/zarr.json",
    "val2017/zarr.json",
    "zarr.json",
    "val2017/.posedata/manifest.json",
    "train2017/.posedata/manifest.json",
    ".posedata/manifest.json",
)


@pytest.fixture
def store(finished_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_store, tmp_path / "crops.zarr"))


@pytest.fixture(scope="module")
def own_store(factory: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose sources may be changed: they are copied anew for each test."""
    folder = tmp_path_factory.mktemp("own")
    factory.CocoMaker(folder / "coco", pictures=3).write("val2017")
    factory.prepare_split(folder / "crops.zarr", folder / "coco", "val2017", factory.small_recipe())
    return folder


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 3] ^= 4
    path.write_bytes(data)


def mend(store: Path, **options: object) -> VerifyReport:
    return verify(store, repair=True, workers=1, **options)


@pytest.mark.parametrize("damage", [flip, Path.unlink], ids=["flip", "delete"])
@pytest.mark.parametrize("path", FILES)
def test_a_damaged_file_comes_back_byte_for_byte(
    store: Path, finished_store: Path, factory: ModuleType, path: str, damage: Callable[[Path], None]
) -> None:
    damage(store / path)
    report = mend(store)
    assert not report.damaged
    assert path in report.repaired
    assert [finding.path for finding in report.found_before_repair] == [path]
    assert factory.store_bytes(store) == factory.store_bytes(finished_store)


@pytest.mark.parametrize(
    "paths",
    [
        ("val2017/images/c.1.0.0.0", "val2017/.posedata/shards/000001.json", "val2017/heatmaps/c.0.0.0.0"),
        ("val2017/images/c.1.0.0.0", "val2017/.posedata/table.parquet", "val2017/zarr.json"),
        ("val2017/.posedata/shards/000001.json", "val2017/.posedata/manifest.json"),
        ("val2017/.posedata/table.parquet", "val2017/.posedata/manifest.json"),
        ("val2017/.posedata/manifest.json", ".posedata/manifest.json"),
        ("val2017/.posedata/manifest.json", ".posedata/manifest.json", "val2017/.posedata/table.parquet", "zarr.json"),
        ("train2017/area/zarr.json", "val2017/.posedata/manifest.json", "zarr.json"),
    ],
)
def test_damage_in_several_places_is_mended_from_the_top_down(
    store: Path, finished_store: Path, factory: ModuleType, paths: tuple[str, ...]
) -> None:
    for path in paths:
        flip(store / path)
    report = mend(store)
    assert not report.damaged
    assert set(paths) <= set(report.repaired)
    assert factory.store_bytes(store) == factory.store_bytes(finished_store)


def test_only_what_is_damaged_is_touched(store: Path) -> None:
    flip(store / "val2017/images/c.1.0.0.0")
    times = {path: path.stat().st_mtime_ns for path in store.rglob("*") if path.is_file()}
    report = mend(store)
    assert report.repaired == ("val2017/images/c.1.0.0.0",)
    touched = [path for path, time in times.items() if path.stat().st_mtime_ns != time]
    assert touched == [store / "val2017/images/c.1.0.0.0"]


def test_left_overs_of_killed_programs_are_removed_and_other_files_stay(
    store: Path, finished_store: Path, factory: ModuleType
) -> None:
    (store / f"val2017/images/.c.0.0.0.0.{'0' * 32}.partial").write_bytes(b"half")
    (store / "val2017/.posedata/work/started").mkdir(parents=True)
    (store / "val2017/notes.txt").write_text("mine")
    report = mend(store)
    assert {finding.path for finding in report.findings} == {"val2017/notes.txt"}
    (store / "val2017/notes.txt").unlink()
    assert factory.store_bytes(store) == factory.store_bytes(finished_store)


def test_a_note_about_a_picture_in_two_splits_is_in_a_repaired_table(factory: ModuleType, tmp_path: Path) -> None:
    coco = factory.CocoMaker(tmp_path / "coco", pictures=2)
    coco.write("a", broken=False)
    coco.write("b", broken=False)
    shutil.copytree(tmp_path / "coco" / "a", tmp_path / "coco" / "b", dirs_exist_ok=True)
    for split in ("b", "a"):
        factory.prepare_split(tmp_path / "s.zarr", tmp_path / "coco", split, factory.small_recipe())
    before = factory.store_bytes(tmp_path / "s.zarr")
    for split in ("a", "b"):
        (tmp_path / "s.zarr" / split / ".posedata/table.parquet").write_bytes(b"")
    assert not mend(tmp_path / "s.zarr").damaged
    assert factory.store_bytes(tmp_path / "s.zarr") == before


def test_a_changed_picture_is_refused_and_nothing_is_changed(
    own_store: Path, tmp_path: Path, factory: ModuleType
) -> None:
    shutil.copytree(own_store, tmp_path / "own")
    store, coco = tmp_path / "own" / "crops.zarr", tmp_path / "own" / "coco"
    flip(store / "val2017/images/c.0.0.0.0")
    before = factory.store_bytes(store)
    for picture in (coco / "val2017").glob("0*.jpg"):
        picture.write_bytes(picture.read_bytes() + b"\0")
    with pytest.raises(ResumeMismatchError, match=r"not what was recorded.*\[repair-differs\]") as raised:
        mend(store, root=coco)
    assert raised.value.exit_code == 7
    assert factory.store_bytes(store) == before
    assert not (store / ".posedata/lock").exists()


def test_a_changed_annotation_file_is_refused(own_store: Path, tmp_path: Path, factory: ModuleType) -> None:
    shutil.copytree(own_store, tmp_path / "own")
    store, coco = tmp_path / "own" / "crops.zarr", tmp_path / "own" / "coco"
    flip(store / "val2017/keypoints/c.0.0.0")
    before = factory.store_bytes(store)
    annotations = coco / "annotations" / "person_keypoints_val2017.json"
    annotations.write_bytes(annotations.read_bytes() + b" ")
    with pytest.raises(ResumeMismatchError, match=r"\[source-changed\]") as raised:
        mend(store, annotations=annotations, images=coco / "val2017")
    assert raised.value.exit_code == 7
    assert factory.store_bytes(store) == before


def test_missing_sources_are_named(own_store: Path, tmp_path: Path) -> None:
    store = shutil.copytree(own_store / "crops.zarr", tmp_path / "crops.zarr")
    shutil.rmtree(store / "val2017/.posedata/runs")
    flip(store / "val2017/images/c.0.0.0.0")
    with pytest.raises(ResumeMismatchError, match=r"pictures of val2017 are not at hand.*\[source-missing\]"):
        mend(store)
    assert not mend(store, root=own_store / "coco").damaged


def test_a_second_program_is_kept_out(store: Path) -> None:
    with hold(records_folder(store)), pytest.raises(BusyError):
        mend(store)


def test_nothing_is_guessed_when_neither_manifest_nor_metadata_is_left(store: Path) -> None:
    for name in ("zarr.json", ".posedata/manifest.json"):
        (store / "val2017" / name).write_bytes(b"")
    with pytest.raises(DamageError, match=r"\[not-repairable\]"):
        mend(store)


def test_repair_shards_mends_the_shards_it_is_given(store: Path, finished_store: Path, factory: ModuleType) -> None:
    flip(store / "val2017/images/c.1.0.0.0")
    check = check_split_records(SplitFolder(store / "val2017"))
    findings = [finding for shard in sorted(check.whole_records) for finding in check_shard_digests(check, shard)]
    shards = damaged_shards(findings, "val2017")
    assert shards == (1,)
    assert repair_shards(check, shards, source=find_source(store, "val2017")) == ["images/c.1.0.0.0"]
    assert factory.store_bytes(store) == factory.store_bytes(finished_store)
    assert repair_shards(check, [], source=Source()) == []


def test_the_newest_run_log_whose_places_exist_names_the_source(store: Path, tmp_path: Path) -> None:
    runs = store / "val2017/.posedata/runs"
    known = find_source(store, "val2017")
    (runs / "20270101T000000.json").write_text('{"annotations": "/nowhere.json", "images_root": "/nowhere"}')
    (runs / "20270102T000000.json").write_text("torn")
    assert find_source(store, "val2017") == known
    (runs / "20270103T000000.json").write_text(f'{{"images_root": "{tmp_path}", "allow_outside": true}}')
    newest = find_source(store, "val2017")
    assert (newest.annotations, newest.images_root, newest.allow_outside) == (known.annotations, tmp_path, True)
