"""verify as a whole: events, reports, repairs, workers, and what it refuses."""

import json
import shutil
import threading
from pathlib import Path
from types import ModuleType

import pytest

from pipelines.parallel import in_threads
from pipelines.verify import require_sound, verify
from pose_data.commit import update_root_manifest
from pose_data.errors import DamageError, InputError, InterruptedRun, StoreError, UsageError
from pose_data.events import Event
from pose_data.manifest import SplitFolder
from pose_data.recipes import build_recipe


@pytest.fixture
def store(finished_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_store, tmp_path / "crops.zarr"))


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("full", [False, True])
def test_a_whole_store_has_no_findings(finished_store: Path, full: bool, workers: int) -> None:
    events: list[Event] = []
    report = verify(finished_store, full=full, workers=workers, on_event=events.append)
    assert report.findings == ()
    assert not report.damaged
    assert [split.split for split in report.splits] == ["train2017", "val2017"]
    for split in report.splits:
        assert split.annotations == split.kept + split.rejected == 22
        assert (split.rows, split.shards) == (20, 3)
        assert (split.statistics is not None) == full
    stages = [(event.split, event.stage) for event in events if event.kind == "stage"]
    stage = "decode" if full else "digests"
    assert stages == [(split, name) for split in ("train2017", "val2017") for name in ("records", stage)]
    progress = [event.done for event in events if event.kind == "progress" and event.split == "val2017"]
    assert progress == [1, 2, 3]
    assert json.loads(json.dumps(report.as_dict()))["damaged"] is False


def test_real_pictures_come_out_as_they_went_in(factory: ModuleType, shared: Path, tmp_path: Path) -> None:
    recipe = build_recipe("coco-256x192", shard_rows=64)
    factory.prepare_split(tmp_path / "s.zarr", shared / "data/coco-sample", "train2017", recipe)
    report = verify(tmp_path / "s.zarr", full=True, sheet=tmp_path / "sheet.html")
    assert report.findings == ()
    (split,) = report.splits
    assert (split.annotations, split.kept, split.rejected) == (158, 81, 77)
    assert split.statistics is not None
    assert (split.statistics.crops_compared, split.statistics.crop_levels) == (81, 0)
    assert split.statistics.transform_error_px < 1e-4


def test_results_do_not_depend_on_the_workers(store: Path) -> None:
    (store / "val2017/images/c.1.0.0.0").write_bytes(b"")
    (store / "train2017/area/c.0").unlink()
    reports = [verify(store, full=True, workers=workers) for workers in (1, 2, 5)]
    assert reports[0].damaged
    for report in reports[1:]:
        assert report.findings == reports[0].findings
        assert report.splits == reports[0].splits


def test_one_split_alone_can_be_looked_at(store: Path) -> None:
    (store / "val2017/images/c.1.0.0.0").write_bytes(b"")
    assert not verify(store, splits=["train2017"]).damaged
    assert verify(store, splits=["val2017"]).damaged


def test_a_sheet_is_drawn(finished_store: Path, tmp_path: Path) -> None:
    report = verify(finished_store, sheet=tmp_path / "out" / "sheet.png")
    assert report.sheet == tmp_path / "out" / "sheet.png"
    assert (tmp_path / "out" / "sheet.png").read_bytes().startswith(b"\x89PNG")


def test_an_unfinished_split_counts_as_damaged_and_is_left_alone_by_a_repair(store: Path) -> None:
    (store / "val2017/.posedata/manifest.json").unlink()
    (store / "val2017/.posedata/work").mkdir()
    (store / "val2017/images/c.1.0.0.0").unlink()
    update_root_manifest(store)
    report = verify(store, repair=True)
    assert [(finding.code, finding.split) for finding in report.findings] == [("unfinished", "val2017")]
    assert report.damaged
    assert (store / "val2017/.posedata/work").is_dir()


def test_missing_sources_are_one_note_a_split(store: Path) -> None:
    for split in ("train2017", "val2017"):
        shutil.rmtree(store / split / ".posedata/runs")
    report = verify(store, full=True)
    assert [(finding.code, finding.split) for finding in report.findings] == [
        ("source-missing", "train2017"),
        ("source-missing", "val2017"),
    ]
    assert not report.damaged


def test_sources_can_be_named(store: Path, finished_store: Path) -> None:
    coco = finished_store.parent / "coco"
    for split in ("train2017", "val2017"):
        shutil.rmtree(store / split / ".posedata/runs")
    assert verify(store, full=True, root=coco).findings == ()
    annotations, images = coco / "annotations/person_keypoints_val2017.json", coco / "val2017"
    named = verify(store, full=True, splits=["val2017"], annotations=annotations, images=images)
    assert named.findings == ()
    assert named.splits[0].statistics is not None
    assert named.splits[0].statistics.crops_compared > 0
    with pytest.raises(UsageError, match="are of one split"):
        verify(store, annotations=annotations, images=images)


def test_a_named_root_without_the_splits_is_refused_not_replaced(
    store: Path, finished_store: Path, tmp_path: Path
) -> None:
    for full in (True, False):
        with pytest.raises(InputError, match=r"no COCO data set was found.*\[coco-not-found\]"):
            verify(store, full=full, root=tmp_path / "nonexistent")
    part = tmp_path / "part"
    shutil.copytree(finished_store.parent / "coco/annotations", part / "annotations")
    shutil.copytree(finished_store.parent / "coco/val2017", part / "val2017")
    with pytest.raises(InputError, match=r"the split train2017 has no folder of pictures.*\[images-not-found\]"):
        verify(store, full=True, root=part)
    (part / "annotations/person_keypoints_train2017.json").unlink()
    with pytest.raises(InputError, match=r"the split train2017 has no annotation file.*\[annotations-not-found\]"):
        verify(store, full=True, root=part)
    assert verify(store, full=True, splits=["val2017"], root=part).findings == ()


def test_a_share_of_the_crops_is_made_again(finished_store: Path) -> None:
    compared = []
    for share in (0.0, 0.4, 1.0):
        report = verify(finished_store, full=True, sample_share=share)
        compared.append(sum(split.statistics.crops_compared for split in report.splits if split.statistics))
    assert compared[0] == 0 < compared[1] < compared[2]


def test_a_repair_reports_what_was_wrong_and_what_was_done(store: Path) -> None:
    (store / "val2017/images/c.1.0.0.0").unlink()
    report = verify(store, repair=True, full=True)
    assert report.findings == ()
    assert [finding.path for finding in report.found_before_repair] == ["val2017/images/c.1.0.0.0"]
    assert report.repaired == ("val2017/images/c.1.0.0.0",)
    assert not (store / ".posedata/lock").exists()


def test_nothing_is_written_without_repair(store: Path, factory: ModuleType) -> None:
    (store / "val2017/images/c.1.0.0.0").unlink()
    before = {path: path.stat().st_mtime_ns for path in store.rglob("*")}
    verify(store, full=True)
    assert {path: path.stat().st_mtime_ns for path in store.rglob("*")} == before


def test_wrong_calls_are_refused(finished_store: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"no posedata store is here.*\[not-a-store\]"):
        verify(tmp_path)
    with pytest.raises(UsageError, match="no split test2017"):
        verify(finished_store, splits=["test2017"])
    with pytest.raises(UsageError, match="sample_share"):
        verify(finished_store, sample_share=1.5)
    with pytest.raises(UsageError, match="workers"):
        verify(finished_store, workers=0)


def test_a_sound_split_is_passed_and_a_damaged_one_raises(store: Path) -> None:
    require_sound(SplitFolder(store / "val2017"))
    (store / "val2017/images/c.1.0.0.0").write_bytes(b"")
    with pytest.raises(DamageError, match=r"size: val2017/images/c\.1\.0\.0\.0") as raised:
        require_sound(SplitFolder(store / "val2017"), workers=1)
    assert raised.value.exit_code == 4


def test_ctrl_c_stops_between_shards(finished_store: Path) -> None:
    seen = []

    def interrupt(event: Event) -> None:
        seen.append(event)
        if event.kind == "progress":
            raise KeyboardInterrupt

    with pytest.raises(InterruptedRun):
        verify(finished_store, full=True, on_event=interrupt)
    assert [event.kind for event in seen].count("progress") == 1


# ------------------------------------------------------------------------------------ in_threads


def test_calls_run_side_by_side_and_all_results_come() -> None:
    both = threading.Barrier(2, timeout=30)

    def call(number: int) -> int:
        if number < 2:
            both.wait()
        return number * number

    results = dict(in_threads(call, range(20), workers=2, stop=threading.Event()))
    assert results == {number: number * number for number in range(20)}


def test_an_error_ends_the_calls_and_is_raised() -> None:
    stop, called = threading.Event(), []

    def call(number: int) -> int:
        called.append(number)
        if number == 3:
            raise StoreError("x", "boom")
        return number

    with pytest.raises(StoreError, match="boom"):
        list(in_threads(call, range(500), workers=2, stop=stop))
    assert stop.is_set()
    assert len(called) < 500


def test_no_calls_at_all_are_no_trouble() -> None:
    assert list(in_threads(lambda number: number, [], workers=2, stop=threading.Event())) == []
