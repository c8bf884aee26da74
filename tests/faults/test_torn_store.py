"""Every kind of file of a finished store, broken in every way: verify names exactly that file."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pipelines.verify import verify
from pose_data.manifest import SplitFolder
from pose_data.verify import check_root, check_shard_digests, check_split_records

pytestmark = pytest.mark.faults

# One of each class, and another of the same class to swap it with.
CLASSES = {
    "image shard": ("val2017/images/c.1.0.0.0", "val2017/images/c.0.0.0.0"),
    "map shard": ("val2017/heatmaps/c.0.0.0.0", "val2017/heatmaps/c.1.0.0.0"),
    "last map shard": ("train2017/heatmaps/c.2.0.0.0", "val2017/heatmaps/c.2.0.0.0"),
    "keypoints": ("val2017/keypoints/c.0.0.0", "val2017/keypoints/c.2.0.0"),
    "ids": ("train2017/annotation_id/c.0", "train2017/annotation_id/c.1"),
    "shard record": ("val2017/.posedata/shards/000001.json", "val2017/.posedata/shards/000002.json"),
    "table": ("val2017/.posedata/table.parquet", "train2017/.posedata/table.parquet"),
    "array metadata": ("val2017/images/zarr.json", "val2017/heatmaps/zarr.json"),
    "split metadata": ("val2017/zarr.json", "train2017/zarr.json"),
    "root metadata": ("zarr.json", "val2017/zarr.json"),
    "manifest": ("val2017/.posedata/manifest.json", "train2017/.posedata/manifest.json"),
    "root manifest": (".posedata/manifest.json", "val2017/.posedata/manifest.json"),
}


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def cut_last_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def flip(path: Path) -> None:
    flip_bit(path, random.Random(path.name).randrange(8 * path.stat().st_size))


def delete(path: Path) -> None:
    path.unlink()


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\n")


def flip_bit(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@pytest.fixture
def store(finished_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_store, tmp_path / "crops.zarr"))


def damaged_paths(store: Path) -> list[str]:
    return sorted(finding.path for finding in verify(store, workers=1).findings if finding.damaged)


@pytest.mark.parametrize("damage", [truncate, cut_last_byte, empty, zero, flip, delete, append])
@pytest.mark.parametrize("kind", CLASSES)
def test_a_torn_file_is_named_and_no_other(store: Path, kind: str, damage: Callable[[Path], None]) -> None:
    path, _ = CLASSES[kind]
    damage(store / path)
    assert damaged_paths(store) == [path]


@pytest.mark.parametrize("kind", CLASSES)
def test_two_swapped_files_are_both_named(store: Path, kind: str) -> None:
    first, second = CLASSES[kind]
    (store / first).rename(store / "aside")
    (store / second).rename(store / first)
    (store / "aside").rename(store / second)
    assert damaged_paths(store) == sorted([first, second])


@pytest.mark.parametrize("kind", CLASSES)
def test_a_doubled_file_is_noted_and_the_store_is_whole(store: Path, kind: str) -> None:
    path = store / CLASSES[kind][0]
    double = path.with_name("another" + path.suffix)
    shutil.copy(path, double)
    report = verify(store, workers=1)
    assert [(finding.code, finding.path) for finding in report.findings] == [
        ("foreign-file", double.relative_to(store).as_posix())
    ]
    assert not report.damaged


def test_a_file_that_became_a_folder_is_named(store: Path) -> None:
    path = store / "val2017/images/c.1.0.0.0"
    path.unlink()
    path.mkdir()
    assert damaged_paths(store) == ["val2017/images/c.1.0.0.0"]


def test_a_lost_split_is_named(store: Path) -> None:
    shutil.rmtree(store / "train2017")
    (finding,) = [finding for finding in verify(store).findings if finding.damaged and finding.code == "missing-file"]
    assert (finding.split, finding.path) == ("train2017", "train2017")


def test_a_power_cut_that_emptied_the_last_files_is_found_file_by_file(store: Path) -> None:
    last = [".posedata/manifest.json", "val2017/.posedata/manifest.json", "val2017/.posedata/table.parquet",
            "val2017/.posedata/shards/000002.json"]  # fmt: skip
    for path in last:
        empty(store / path)
    assert set(last) <= set(damaged_paths(store))


def test_a_thousand_flipped_bits_are_all_found(store: Path) -> None:
    files = [
        path for path in sorted(store.rglob("*"))
        if path.is_file() and "runs" not in path.parts and path.name != "lock"
    ]  # fmt: skip
    checks = {name: check_split_records(SplitFolder(store / name)) for name in ("train2017", "val2017")}
    chance = random.Random(20_260)
    sizes = [path.stat().st_size for path in files]
    # Most bits by the bytes they are among, and some in each file, or the small ones would never be hit.
    hit = [*files, *chance.choices(files, sizes, k=1000 - len(files))]
    missed = []
    for path in hit:
        bit = chance.randrange(8 * path.stat().st_size)
        flip_bit(path, bit)
        if damaged_among(store, path, checks) != {path.relative_to(store).as_posix()}:
            missed.append((path, bit))
        flip_bit(path, bit)
    assert not missed
    assert damaged_paths(store) == []


def damaged_among(store: Path, path: Path, checks: dict[str, object]) -> set[str]:
    """Return what the check of the piece to which ``path`` belongs finds."""
    parts = path.relative_to(store).parts
    if parts[0] not in checks:
        findings = check_root(store)
    elif path.name.startswith("c."):
        findings = check_shard_digests(checks[parts[0]], int(path.name.split(".")[1]))
    else:
        findings = list(check_split_records(SplitFolder(store / parts[0])).findings)
    return {finding.path for finding in findings if finding.damaged}
