"""A split on disk: begun, continued, removed; never more than what is ours."""

import json

import pytest

from pipelines.reading import InputLimits, read_split
from pipelines.splits import begin_split, log_run, remove_empty_store, remove_split, resume_split
from pose_data.errors import ResumeMismatchError
from pose_data.events import silent
from pose_data.formats.coco_folder import find_coco
from pose_data.job import load_job
from pose_data.manifest import SplitFolder
from pose_data.shard import make_shard


@pytest.fixture
def selection(factory, tmp_path):
    factory.CocoMaker(tmp_path / "coco").write("val2017")
    (source,) = find_coco(root=tmp_path / "coco")
    return read_split(source, factory.small_recipe(), InputLimits(), silent)


@pytest.fixture
def folder(tmp_path):
    return SplitFolder(tmp_path / "s.zarr" / "val2017")


def resume(folder, selection, recipe=None, sha256=None):
    facts = selection.facts
    return resume_split(
        folder, selection.source, recipe or facts.recipe, sha256 or facts.annotation_sha256, allow_outside=False
    )


def test_a_begun_split_is_continued_as_it_was_planned(folder, selection):
    begun = begin_split(folder, selection, allow_outside=False)
    resumed = resume(folder, selection)
    assert resumed is not None
    assert resumed.job == begun.job == load_job(folder)
    assert resumed.facts == begun.facts == selection.facts
    assert resumed.metadata == begun.metadata
    assert set(begun.metadata) == {"zarr.json", *(f"{layout.name}/zarr.json" for layout in begun.job.layouts())}
    assert begun.job.images_root.is_absolute()


def test_nothing_begun_is_nothing_to_continue(folder, selection):
    assert resume(folder, selection) is None


@pytest.mark.parametrize("damage", [None, b"", b"PAR1 torn"])
def test_a_torn_plan_is_planned_again(folder, selection, damage):
    begin_split(folder, selection, allow_outside=False)
    folder.plan.unlink()
    if damage is not None:
        folder.plan.write_bytes(damage)
    assert resume(folder, selection) is None


def test_other_options_and_sources_are_refused_by_name(folder, selection, factory):
    begin_split(folder, selection, allow_outside=False)
    with pytest.raises(ResumeMismatchError, match=r"recipe\.sigma: was 1\.0, is 2\.0"):
        resume(folder, selection, recipe=factory.small_recipe(sigma=2.0))
    with pytest.raises(ResumeMismatchError, match="source"):
        resume(folder, selection, sha256="0" * 64)


def test_moved_pictures_are_found_at_their_new_place(folder, selection, tmp_path):
    begin_split(folder, selection, allow_outside=False)
    (tmp_path / "coco").rename(tmp_path / "moved")
    (source,) = find_coco(root=tmp_path / "moved")
    resumed = resume_split(
        folder, source, selection.facts.recipe, selection.facts.annotation_sha256, allow_outside=False
    )
    assert resumed is not None
    assert resumed.job.images_root == tmp_path / "moved" / "val2017"
    assert load_job(folder).images_root == tmp_path / "moved" / "val2017"


def test_what_is_not_ours_survives_the_removal_of_a_split(folder, selection):
    job = begin_split(folder, selection, allow_outside=False).job
    for shard in range(job.shards):
        make_shard(job, shard)
    theirs = [folder.path / "notes.txt", folder.path / "images" / "mine.png", folder.path / "other" / "c.0"]
    for path in theirs:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine", encoding="utf-8")
    remove_split(folder)
    assert sorted(path for path in folder.path.rglob("*") if path.is_file()) == sorted(theirs)


def test_a_split_and_its_store_leave_nothing_behind(folder, selection, tmp_path):
    begin_split(folder, selection, allow_outside=False)
    remove_split(folder)
    assert not folder.path.exists()
    remove_empty_store(tmp_path / "s.zarr")
    assert [path.name for path in (tmp_path / "s.zarr").rglob("*") if path.is_file()] == []


def test_a_store_with_anything_in_it_stays(folder, selection, tmp_path):
    begin_split(folder, selection, allow_outside=False)
    remove_empty_store(tmp_path / "s.zarr")
    assert folder.plan.is_file()


def test_run_logs_are_added_never_replaced(folder, selection):
    begin_split(folder, selection, allow_outside=False)
    for number in range(3):
        log_run(folder, selection.source, {"number": number})
    logs = sorted((folder.records / "runs").glob("*.json"))
    assert [json.loads(log.read_bytes())["number"] for log in logs] == [0, 1, 2]
