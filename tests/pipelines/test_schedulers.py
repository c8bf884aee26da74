"""Schedulers: every task once, outcomes as they come, stopping in between, names that do not exist."""

import threading
from pathlib import Path

import pytest

from pipelines.reading import InputLimits, read_split
from pipelines.schedulers import check_scheduler_name, open_runner
from pipelines.splits import begin_split
from pipelines.tasks import ShardTask
from pose_data.errors import StorageError, UsageError
from pose_data.events import silent
from pose_data.formats.coco_folder import find_coco
from pose_data.lock import hold
from pose_data.manifest import SplitFolder, read_shard_record


@pytest.fixture
def tasks(factory, tmp_path):
    factory.CocoMaker(tmp_path / "coco", pictures=8, persons=4).write("val2017")
    (source,) = find_coco(root=tmp_path / "coco")
    selection = read_split(source, factory.small_recipe(), InputLimits(), silent)
    job = begin_split(SplitFolder(tmp_path / "s.zarr" / "val2017"), selection, allow_outside=False).job
    with hold(tmp_path / "s.zarr" / ".posedata") as holder:
        yield [
            ShardTask(
                split_path=str(job.split.path), shard=shard, lock_folder=str(tmp_path / "s.zarr" / ".posedata"),
                token=holder.token, picture_timeout_s=60.0,
            )
            for shard in range(job.shards)
        ]  # fmt: skip


def runner(scheduler, workers, stop=None, on_picture=lambda: None, timeout_s=0.5):
    return open_runner(
        scheduler, workers, stop=stop or threading.Event(), on_picture=on_picture, cluster_timeout_s=timeout_s,
        worker_memory_bytes=10**9,
    )  # fmt: skip


@pytest.mark.parametrize(("scheduler", "workers"), [("sync", 1), ("sync", 4), ("threads", 1), ("threads", 3)])
def test_every_task_is_done_once(tasks, scheduler, workers):
    with runner(scheduler, workers) as run:
        outcomes = [outcome for outcome in run(tasks) if outcome is not None]
    assert sorted(outcome.shard for outcome in outcomes) == [task.shard for task in tasks]
    assert {outcome.status for outcome in outcomes} == {"done"}
    for task in tasks:
        assert read_shard_record(SplitFolder(Path(task.split_path)).shard_record(task.shard)).shard == task.shard


def test_a_stopped_run_ends_soon_and_says_of_every_task_what_became_of_it(tasks):
    stop = threading.Event()
    seen = []

    def on_picture():
        seen.append(threading.get_ident())
        stop.set()

    with runner("threads", 2, stop, on_picture) as run:
        outcomes = [outcome for outcome in run(tasks) if outcome is not None]
    assert len(outcomes) == len(tasks)
    assert {outcome.status for outcome in outcomes} <= {"stopped", "done"}
    assert sum(outcome.status == "stopped" for outcome in outcomes) >= len(tasks) - 3
    assert seen


def test_no_tasks_end_at_once():
    for scheduler in ("sync", "threads"):
        with runner(scheduler, 2) as run:
            assert [outcome for outcome in run([]) if outcome is not None] == []


@pytest.mark.parametrize("name", ["auto", "sync", "threads", "local", "tcp://host:8786", "tls://[::1]:1"])
def test_names_of_schedulers(name):
    check_scheduler_name(name)


@pytest.mark.parametrize("name", ["", "thread", "processes", "host:8786", "Local"])
def test_other_names_are_refused_with_the_known_ones(name):
    with pytest.raises(UsageError, match="scheduler-unknown") as caught:
        check_scheduler_name(name)
    assert "threads" in caught.value.hint


def test_a_scheduler_that_does_not_answer_is_a_storage_error():
    with pytest.raises(StorageError) as caught, runner("tcp://127.0.0.1:9", 1):
        pass
    assert caught.value.code == "cluster-unreachable"
    assert caught.value.where == "tcp://127.0.0.1:9"
    assert caught.value.exit_code == 6
