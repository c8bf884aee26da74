"""Stores of scenes, end to end: what holds for crops holds for whole pictures."""

import dataclasses
import json
import shutil
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from pipelines.prepare import PrepareReport, prepare
from pipelines.verify import verify
from pose_data.info import info
from pose_data.manifest import SplitFolder
from pose_data.store import open_store

SHARDED = ("images", "heatmaps", "pafs", "mask")


def make(folder: Path, factory: ModuleType, out: str = "s.zarr", **options: object) -> PrepareReport:
    given = {"root": folder / "coco", "recipe": factory.scene_recipe(), "max_bad": 0.5, "workers": 2, **options}
    return prepare(folder / out, **given)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def made(factory: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    coco = factory.CocoMaker(folder / "coco")
    coco.write("val2017")
    # A picture with nobody who is labelled has no row.
    random = np.random.default_rng(0)
    coco.person(random, coco.picture(random, folder / "coco" / "val2017", "crowd.jpg"), iscrowd=1)
    coco.dump("val2017")
    make(folder, factory)
    return folder


@pytest.fixture
def store(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made / "s.zarr", tmp_path / "s.zarr")


def test_every_annotation_is_in_the_table_and_persons_in_their_row(made: Path) -> None:
    split = open_store(made / "s.zarr")["val2017"]
    assert split.manifest is not None
    assert split.manifest["annotations"] == split.manifest["kept"] + split.manifest["rejected"] == 23
    assert split.manifest["codes"] == {
        "filter-crowd": 2, "filter-keypoints": 1, "img-missing": 1, "img-truncated": 1,
    }  # fmt: skip
    assert len(split) == 8
    table = split.table.to_pylist()
    assert len({row["sample_id"] for row in table}) == len(table) == 23
    assert [row["file_name"] for row in table if row["row"] is None] == ["crowd.jpg"]
    offsets, kept, ids = split["offsets"][:], split["kept"][:], split["annotation_id"][:]
    for number in range(8):
        of_row = [row for row in table if row["row"] == number]
        persons = [row["annotation_id"] for row in of_row if row["kept"] or row["code"].startswith("img-")]
        assert ids[slice(*offsets[number])].tolist() == persons
        assert bool(kept[number]) == any(row["kept"] for row in of_row)
        assert {row["image_id"] for row in of_row} == {int(split["image_id"][:][number])}
    for number in np.flatnonzero(~kept):
        assert not any(split[name][number].any() for name in (*SHARDED, "transforms"))


@pytest.mark.parametrize(("scheduler", "workers"), [("sync", 1), ("threads", 3)])
def test_scheduler_and_workers_change_no_byte(
    made: Path, factory: ModuleType, tmp_path: Path, scheduler: str, workers: int
) -> None:
    make(made, factory, str(tmp_path / "again.zarr"), scheduler=scheduler, workers=workers)
    assert factory.store_bytes(tmp_path / "again.zarr") == factory.store_bytes(made / "s.zarr")


def test_an_interrupted_run_is_continued_to_the_same_bytes(made: Path, factory: ModuleType, tmp_path: Path) -> None:
    from pose_data.errors import InterruptedRun

    def stop(event: object) -> None:
        if getattr(event, "kind", "") == "progress" and getattr(event, "done", 0):
            raise KeyboardInterrupt

    out = tmp_path / "again.zarr"
    with pytest.raises(InterruptedRun):
        make(made, factory, str(out), workers=1, scheduler="sync", on_event=stop)
    assert any((out / "val2017" / ".posedata" / "shards").iterdir())
    (split,) = make(made, factory, str(out)).splits
    assert split.shards_kept
    assert factory.store_bytes(out) == factory.store_bytes(made / "s.zarr")


def test_the_dry_run_counts_the_same(made: Path, factory: ModuleType) -> None:
    (planned,) = make(made, factory, "dry.zarr", dry_run=True).splits
    assert not (made / "dry.zarr").exists()
    # Two persons more: that their pictures are unusable is only found when they are read.
    assert (planned.annotations, planned.kept, planned.rejected, planned.pictures, planned.shards) == (23, 20, 3, 8, 2)


def test_a_whole_store_has_no_findings(made: Path) -> None:
    report = verify(made / "s.zarr", full=True)
    assert report.findings == ()
    (split,) = report.splits
    assert split.statistics is not None
    assert split.statistics.crops_compared == 6
    assert split.statistics.peaks > 80
    assert 0.0 < split.statistics.map_error < 0.1
    assert split.statistics.transform_error_px < 1e-4


def test_info_names_the_arrays(made: Path) -> None:
    (split,) = info(made / "s.zarr").splits
    shapes = {array.name: array.shape for array in split.arrays}
    assert shapes["pafs"] == (8, 38, 16, 16)
    assert shapes["offsets"] == (8, 2)
    # The fullest of two shards has 12 persons.
    assert (
        shapes["keypoints"][0] == shapes["area"][0] == 2 * open_store(made / "s.zarr")["val2017"].facts.persons_a_shard
    )


@pytest.mark.parametrize("array", [*SHARDED, "keypoints", "offsets"])
def test_damage_is_found_and_repaired_to_the_same_bytes(
    store: Path, made: Path, factory: ModuleType, array: str
) -> None:
    file = next(iter(sorted((store / "val2017" / array).glob("c.1*"))))
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)
    (finding,) = verify(store).findings
    assert (finding.code, finding.array, finding.shard) == ("digest", array, 1)
    assert finding.annotation_ids
    report = verify(store, repair=True)
    assert report.findings == ()
    assert factory.store_bytes(store) == factory.store_bytes(made / "s.zarr")


@pytest.mark.parametrize(
    ("changes", "code", "array"),
    [
        ({"field_overlap": "overwrite"}, "map-differs", "pafs"),
        ({"map_overlap": "maximum"}, "map-differs", "heatmaps"),
        ({"untrained": "crowds"}, "map-differs", "mask"),
        ({"sigma": 0.5}, "map-differs", "heatmaps"),
    ],
    ids=str,
)
def test_a_store_that_says_another_rule_than_it_was_made_by_is_found_out(
    made: Path, factory: ModuleType, tmp_path: Path, changes: dict[str, object], code: str, array: str
) -> None:
    """Everything proves everything else, but the arrays are of another recipe: only drawing again can tell."""
    import pose_data.store as store_module
    from pose_data.atomic import file_digest, write_file
    from pose_data.commit import update_root_manifest, write_manifest

    out = tmp_path / "s.zarr"
    make(made, factory, str(out), recipe=dataclasses.replace(factory.scene_recipe(), **changes))
    folder = SplitFolder(out / "val2017")
    honest = store_module.read_split_facts(folder)
    lie = dataclasses.replace(honest, recipe=factory.scene_recipe())
    for name, text in store_module.split_metadata(lie).items():
        write_file(folder.path / name, text)
    files = {name: file_digest(folder.path / name) for name in store_module.split_metadata(lie)}
    write_manifest(folder, lie, {**files, ".posedata/table.parquet": file_digest(folder.table)})
    update_root_manifest(out)
    assert verify(out).findings == ()
    findings = {(finding.code, finding.array) for finding in verify(out, full=True).findings}
    assert (code, array) in findings
    assert {found for _, found in findings} == {array}


def test_without_the_annotation_file_all_but_the_masks_is_drawn_again(store: Path) -> None:
    for log in (store / "val2017" / ".posedata" / "runs").iterdir():
        run = json.loads(log.read_text(encoding="utf-8"))
        log.write_text(json.dumps({**run, "annotations": "gone.json"}), encoding="utf-8")
    (finding,) = verify(store, full=True).findings
    assert finding.code == "source-missing"
    assert "masks" in finding.detail


def test_a_sheet_is_drawn(made: Path, tmp_path: Path) -> None:
    verify(made / "s.zarr", sheet=tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").stat().st_size > 50_000
    verify(made / "s.zarr", sheet=tmp_path / "sheet.html")
    text = (tmp_path / "sheet.html").read_text(encoding="utf-8")
    assert "3 persons" in text
    assert "not trained on" in text


def test_real_pictures(shared: Path, tmp_path: Path) -> None:
    from pose_data.recipes import build_recipe

    coco = shared / "data" / "coco-sample"
    report = prepare(tmp_path / "s.zarr", root=coco, splits=("train2017",), recipe=build_recipe("openpose-368"))
    (split,) = report.splits
    assert (split.annotations, split.kept, split.rejected, split.pictures) == (158, 81, 77, 29)
    found = verify(tmp_path / "s.zarr", full=True)
    assert found.findings == ()
    sizes = {array.name: array.size_bytes for array in info(tmp_path / "s.zarr").splits[0].arrays}
    # What docs/scenes.md says of sizes.
    assert sizes["heatmaps"] + sizes["pafs"] + sizes["mask"] < 29 * 2500
