"""Preparing a data set: the same bytes whatever makes them, everything accounted for, nothing left when refused."""

import dataclasses
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from pipelines.prepare import Terminated, prepare
from pose_data.errors import InputError, InterruptedRun, ResumeMismatchError, StorageError, UsageError
from pose_data.manifest import SplitFolder, read_record
from pose_data.recipes import build_recipe
from pose_data.store import open_store

CHILD = """
import sys
from pathlib import Path
from pipelines.prepare import prepare
from pose_data.recipes import build_recipe
recipe = build_recipe("coco-256x192", crop_width_px=24, crop_height_px=32, map_width=12, map_height=16, sigma=1.0,
                      shard_rows=8, chunk_rows=4)
prepare(Path(sys.argv[2]), root=Path(sys.argv[1]), recipe=recipe, max_bad=0.5, scheduler="threads", workers=3)
"""


@pytest.fixture(scope="module")
def coco(factory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("coco")
    for split in ("train2017", "val2017"):
        factory.CocoMaker(folder).write(split)
    return folder


@pytest.fixture
def run(coco, tmp_path, factory):
    def prepared(out="s.zarr", **options):
        given = {"root": coco, "recipe": factory.small_recipe(), "max_bad": 0.5, "workers": 2, **options}
        return prepare(tmp_path / out, **given)

    return prepared


@pytest.fixture(scope="module")
def reference(coco, tmp_path_factory, factory):
    out = tmp_path_factory.mktemp("reference") / "s.zarr"
    prepare(out, root=coco, recipe=factory.small_recipe(), max_bad=0.5, scheduler="sync", workers=1)
    return factory.store_bytes(out)


@pytest.mark.parametrize(("scheduler", "workers"), [("threads", 1), ("threads", 2), ("threads", 4), ("auto", 2)])
def test_scheduler_and_workers_change_no_byte(run, tmp_path, factory, reference, scheduler, workers):
    run(scheduler=scheduler, workers=workers)
    assert factory.store_bytes(tmp_path / "s.zarr") == reference


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_neither_process_nor_hash_seed_nor_place_change_a_byte(coco, tmp_path, factory, reference, seed):
    moved = shutil.copytree(coco, tmp_path / "moved")
    environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo", "LC_ALL": "C"}
    subprocess.run(
        [sys.executable, "-c", CHILD, str(moved), "out.zarr"], cwd=tmp_path, env=environment, check=True, timeout=60
    )
    assert factory.store_bytes(tmp_path / "out.zarr") == reference


def test_one_split_at_a_time_makes_the_same_store(run, tmp_path, factory, reference):
    run(splits=("train2017",))
    run(splits=("val2017",))
    assert factory.store_bytes(tmp_path / "s.zarr") == reference


def test_the_report_accounts_for_every_annotation(run, coco, tmp_path):
    report = run()
    assert report.out == tmp_path / "s.zarr"
    assert [split.split for split in report.splits] == ["train2017", "val2017"]
    for split in report.splits:
        content = json.loads((coco / "annotations" / f"person_keypoints_{split.split}.json").read_bytes())
        assert split.annotations == len(content["annotations"]) == split.kept + split.rejected == 22
        assert sum(split.codes.values()) == split.rejected == 4
        assert (split.kept, split.shards, split.shards_kept, split.retries) == (18, 3, 0, 0)
        assert split.examples.keys() == {"filter-crowd", "filter-keypoints"}
        assert split.seconds > 0
        assert not split.already_finished
    assert open_store(report.out)["val2017"].table.num_rows == 22


def test_a_finished_store_is_left_as_it_is(run, tmp_path, factory):
    run()
    before = factory.store_bytes(tmp_path / "s.zarr")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "s.zarr").rglob("*/c.*")}
    report = run()
    assert all(split.already_finished for split in report.splits)
    assert factory.store_bytes(tmp_path / "s.zarr") == before
    assert {path: path.stat().st_mtime_ns for path in times} == times


@pytest.mark.parametrize(
    ("changes", "named"), [({"sigma": 1.5}, "recipe.sigma: was 1.0, is 1.5"), ({"image_codec": "raw"}, "image_codec")]
)
def test_other_options_on_a_finished_store_are_refused_by_name(run, tmp_path, factory, changes, named):
    run()
    before = factory.store_bytes(tmp_path / "s.zarr")
    with pytest.raises(ResumeMismatchError, match="resume-mismatch") as caught:
        run(recipe=factory.small_recipe(**changes))
    assert named in caught.value.message
    assert factory.store_bytes(tmp_path / "s.zarr") == before


def test_overwrite_begins_again(run, tmp_path, factory, reference):
    run(recipe=factory.small_recipe(sigma=1.5))
    assert factory.store_bytes(tmp_path / "s.zarr") != reference
    run(overwrite=True)
    assert factory.store_bytes(tmp_path / "s.zarr") == reference


def test_run_logs_hold_what_the_store_does_not(run, tmp_path, coco):
    run()
    (log,) = (tmp_path / "s.zarr" / "val2017" / ".posedata" / "runs").glob("*.json")
    content = json.loads(log.read_bytes())
    assert (content["host"], content["pid"]) == (socket.gethostname(), os.getpid())
    assert content["images_root"] == str(coco / "val2017")
    assert content["started_utc"]
    private = [str(coco), str(tmp_path), f'"{socket.gethostname()}"', content["token"], content["started_utc"]]
    for path in (tmp_path / "s.zarr").rglob("*"):
        if path.is_file() and "runs" not in path.parts:
            assert not [text for text in private if text.encode() in path.read_bytes()], path


def test_no_lock_and_no_work_is_left(run, tmp_path):
    run()
    left = [path.name for path in (tmp_path / "s.zarr").rglob("*")]
    assert not {"lock", "work", "plan.parquet"} & set(left)
    assert not [name for name in left if name.endswith(".partial")]


def test_events_tell_the_stages_and_end_with_all_rows(run):
    events = []
    run(splits=("val2017",), on_event=events.append)
    stages = [event.stage for event in events if event.kind == "stage"]
    assert stages[:3] == ["read", "plan", "shards"]
    assert "commit" in stages
    progress = [event for event in events if event.kind == "progress" and event.stage == "shards"]
    assert [event.done for event in progress] == sorted(event.done for event in progress)
    assert (progress[-1].done, progress[-1].total) == (20, 20)
    assert progress[-1].data["rejects"] == {"img-missing": 1, "img-truncated": 1}
    assert events[-1].kind == "done" or [event.kind for event in events].count("done") == 1
    json.dumps([event.as_dict() for event in events])


def test_a_dry_run_writes_nothing_and_counts_the_same(run, tmp_path):
    report = run(dry_run=True)
    assert list(tmp_path.iterdir()) == []
    assert report.dry_run
    assert [(split.annotations, split.kept, split.pictures) for split in report.splits] == [(22, 20, 8)] * 2
    assert report.planned_memory_bytes > 0
    assert all(split.size_bytes > 0 for split in report.splits)


def test_too_many_bad_records_stop_before_anything_is_written(factory, tmp_path):
    coco = factory.CocoMaker(tmp_path / "coco")
    coco.write("val2017", broken=False)
    for _ in range(3):
        coco.annotations[_]["keypoints"] = [1, 2, 3]
    coco.dump("val2017")
    with pytest.raises(InputError, match="too-many-bad") as caught:
        prepare(tmp_path / "s.zarr", root=tmp_path / "coco", recipe=factory.small_recipe(), max_bad=0.1)
    assert "3 of 18" in caught.value.message
    assert not (tmp_path / "s.zarr").exists()


def test_too_many_bad_pictures_stop_and_keep_what_is_finished(run):
    with pytest.raises(InputError, match="too-many-bad"):
        run(max_bad=0.0)


@pytest.mark.parametrize("option", [{"workers": 0}, {"scheduler": "cloud"}, {"memory_bytes": 1_000_000}])
def test_calls_that_cannot_be_are_usage_errors_and_write_nothing(run, tmp_path, option):
    with pytest.raises(UsageError):
        run(**option)
    assert list(tmp_path.iterdir()) == []


def test_an_output_that_is_not_ours_is_not_touched(run, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear", encoding="utf-8")
    (tmp_path / "file").write_text("x", encoding="utf-8")
    for out, code, overwrite in (("mine", "output-foreign", False), ("mine", "output-foreign", True),
                                 ("file", "output-is-a-file", True)):  # fmt: skip
        with pytest.raises(UsageError, match=code):
            run(out=out, overwrite=overwrite)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "letter.txt", "mine"]


def test_a_full_disk_is_seen_before_the_work(run, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage._replace(free=1000))
    with pytest.raises(StorageError, match="disk-full"):
        run()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("signal", "exit_code"), [(KeyboardInterrupt, 130), (Terminated, 143)])
def test_an_interrupted_run_keeps_its_shards_and_is_continued(run, tmp_path, factory, reference, signal, exit_code):
    def interrupt(event):
        if event.kind == "progress" and event.split == "val2017" and event.stage == "shards" and event.done >= 8:
            raise signal

    with pytest.raises(InterruptedRun) as caught:
        run(on_event=interrupt, scheduler="sync", workers=1)
    assert caught.value.exit_code == exit_code
    split = SplitFolder(tmp_path / "s.zarr" / "val2017")
    assert not split.manifest.exists()
    assert list((split.records / "shards").glob("*.json"))
    report = run()
    assert report.splits[0].already_finished
    assert report.splits[1].shards_kept >= 1
    assert factory.store_bytes(tmp_path / "s.zarr") == reference


def test_leaks_between_splits_are_noted_or_forbidden(factory, tmp_path):
    for split in ("train2017", "val2017"):
        factory.CocoMaker(tmp_path / "coco").write(split, broken=False)
    folder = tmp_path / "coco"
    shutil.copy(folder / "train2017" / "000000000001.jpg", folder / "val2017" / "000000000002.jpg")
    report = prepare(tmp_path / "s.zarr", root=folder, recipe=factory.small_recipe())
    assert [split.notes.get("split-leak", 0) for split in report.splits] == [0, 3]
    with pytest.raises(InputError, match="split-leak"):
        prepare(tmp_path / "t.zarr", root=folder, recipe=factory.small_recipe(), forbid_leak=True)


def test_a_file_without_sizes_is_prepared(factory, tmp_path):
    coco = factory.CocoMaker(tmp_path / "coco")
    coco.write("val2017", broken=False)
    for record in coco.image_records:
        del record["width"], record["height"]
    coco.dump("val2017")
    for dry_run in (True, False):
        for rule in ("annotated", "truncated"):
            report = prepare(
                tmp_path / f"{rule}.zarr", root=tmp_path / "coco", recipe=factory.small_recipe(box_rule=rule),
                dry_run=dry_run,
            )  # fmt: skip
            assert (report.splits[0].kept, report.splits[0].rejected) == (18, 0)


def test_a_picture_split_over_two_shards_is_counted_once(run, tmp_path):
    report = run(splits=("val2017",))
    records = [read_record(path) for path in (tmp_path / "s.zarr" / "val2017").rglob("shards/*.json")]
    assert sum(len(record["pictures"]) for record in records) > 7  # 3 + 3 + 3 persons do not fill shards of 8
    assert report.splits[0].pictures == 7


@pytest.mark.parametrize("recipe", ["hourglass-seed", "simcc-seed"])
def test_recipes_whose_filters_keep_nobody_say_what_they_rejected(factory, tmp_path, recipe):
    coco = factory.CocoMaker(tmp_path / "coco")
    coco.write("val2017")
    for annotation in coco.annotations:
        annotation["keypoints"] = [0] * 51
    coco.dump("val2017")
    with pytest.raises(InputError, match="no-samples") as caught:
        prepare(tmp_path / "s.zarr", root=tmp_path / "coco", recipe=build_recipe(recipe))
    assert "filter-keypoints 21" in caught.value.message
    assert not Path(tmp_path / "s.zarr").exists()


def test_reports_are_frozen(run):
    report = run(dry_run=True)
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.workers = 3
