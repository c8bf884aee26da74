"""One task makes one shard and tells a few numbers; what goes wrong is an outcome, not an exception."""

import pickle
import threading
import time

import pytest

from pipelines import tasks
from pipelines.reading import InputLimits, read_split
from pipelines.splits import begin_split
from pipelines.tasks import ShardOutcome, ShardTask, outcome_of, run_remote_task, run_task
from pose_data.errors import PoseError
from pose_data.events import silent
from pose_data.formats.coco_folder import find_coco
from pose_data.lock import hold, read_holder
from pose_data.manifest import SplitFolder, read_shard_record


@pytest.fixture
def job(factory, tmp_path):
    factory.CocoMaker(tmp_path / "coco").write("val2017")
    (source,) = find_coco(root=tmp_path / "coco")
    selection = read_split(source, factory.small_recipe(), InputLimits(), silent)
    with hold(tmp_path / "s.zarr" / ".posedata"):
        yield begin_split(SplitFolder(tmp_path / "s.zarr" / "val2017"), selection, allow_outside=False).job


def lock_folder(job):
    return job.split.path.parent / ".posedata"


def task_of(job, shard, timeout_s=60.0, **more):
    holder = read_holder(lock_folder(job))
    return ShardTask(
        split_path=str(job.split.path), shard=shard, lock_folder=str(lock_folder(job)),
        token=holder.token if holder else "none", picture_timeout_s=timeout_s, **more,
    )  # fmt: skip


def run(job, shard, **options):
    return run_task(task_of(job, shard), **{"should_stop": lambda: False, **options})


def markers(job):
    folder = job.split.work / "started"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def test_an_outcome_is_what_the_record_says(job):
    outcomes = [run(job, shard) for shard in range(job.shards)]
    records = [read_shard_record(job.split.shard_record(shard)) for shard in range(job.shards)]
    assert outcomes == [outcome_of(record) for record in records]
    assert [outcome.status for outcome in outcomes] == ["done"] * 3
    assert sum(outcome.rows for outcome in outcomes) == 20
    rejects = [code for outcome in outcomes for code in outcome.rejects]
    assert sorted(rejects) == ["img-missing", "img-truncated"]
    assert sum(outcome.bad_pictures for outcome in outcomes) == 2
    assert [outcome.size_bytes for outcome in outcomes] == [record.size_bytes for record in records]
    assert markers(job) == []


def test_tasks_and_outcomes_travel(job):
    task = task_of(job, 1)
    assert pickle.loads(pickle.dumps(task)) == task
    outcome = run(job, 1)
    assert pickle.loads(pickle.dumps(outcome)) == outcome
    assert len(pickle.dumps(task)) + len(pickle.dumps(outcome)) < 3000  # no arrays, no annotations


def test_every_picture_is_told(job):
    count = [0]

    def told():
        count[0] += 1

    for shard in range(job.shards):
        run(job, shard, on_picture=told)
    assert count[0] >= 8


def test_a_stopped_shard_leaves_no_record_and_no_suspicion(job):
    outcome = run(job, 0, should_stop=lambda: True)
    assert outcome == ShardOutcome(shard=0, status="stopped")
    assert not job.split.shard_record(0).exists()
    assert markers(job) == []


def test_a_shard_during_which_a_process_died_is_not_begun_again(job):
    (job.split.work / "started").mkdir()
    (job.split.work / "started" / "1").write_bytes(b"")
    assert run(job, 1).status == "suspect"
    assert not job.split.shard_record(1).exists()
    assert markers(job) == ["1"]


def test_another_worker_tries_a_shard_in_which_one_died_and_a_third_does_not(job):
    marker = job.split.work / "started" / "1"
    marker.parent.mkdir()
    marker.write_bytes(b".")
    outcome = run_remote_task(task_of(job, 1, environment=tasks.environment()))
    assert (outcome.status, outcome.tries) == ("done", 2)
    assert markers(job) == []
    job.split.shard_record(1).unlink()
    marker.write_bytes(b"..")
    assert run_remote_task(task_of(job, 1, environment=tasks.environment())).status == "suspect"
    assert not job.split.shard_record(1).exists()
    assert marker.read_bytes() == b".."


def test_a_worker_notes_that_it_began_before_it_may_die(job, monkeypatch):
    marker = job.split.work / "started" / "1"
    marker.parent.mkdir()
    marker.write_bytes(b".")
    seen = []
    monkeypatch.setattr(tasks, "make_shard", lambda *arguments, **options: seen.append(marker.read_bytes()))
    with pytest.raises(AttributeError):  # no record came back
        run_remote_task(task_of(job, 1, environment=tasks.environment()))
    assert seen == [b".."]


def test_a_picture_that_takes_too_long_makes_the_shard_stalled(job):
    release = threading.Event()
    slow = threading.Event()

    def hang():
        slow.set()
        release.wait(20)

    began_s = time.monotonic()
    outcome = run_task(task_of(job, 0, timeout_s=0.3), should_stop=lambda: False, on_picture=hang)
    took_s = time.monotonic() - began_s
    release.set()
    assert slow.is_set()
    assert outcome.status == "stalled"
    assert took_s < 5
    assert markers(job) == ["0"]


class CountedSlots(tasks.Slots):
    """Slots that know how many are free."""

    def __init__(self, count):
        super().__init__(count)
        self.free = count
        self._turn = threading.Lock()

    def take(self):
        super().take()
        with self._turn:
            self.free -= 1

    def give_back(self):
        with self._turn:
            self.free += 1
        super().give_back()


@pytest.mark.parametrize("hangs_in", ["a lent write", "a picture", "nothing"])
def test_a_thread_that_hangs_leaves_as_many_slots_as_there_were(job, monkeypatch, hangs_in):
    hangs, goes_on, ended = threading.Event(), threading.Event(), threading.Event()

    def making(job, shard, *, before_picture, before_write, culprits, waiting):
        try:
            before_picture("a.jpg")
            with waiting():
                free.append(slots.free)
                if hangs_in == "a lent write":
                    hangs.set()
                    goes_on.wait(20)
            free.append(slots.free)
            if hangs_in == "a picture":
                hangs.set()
                goes_on.wait(20)
            before_picture("b.jpg")
            raise PoseError("failed", "all the same")
        finally:
            ended.set()

    monkeypatch.setattr(tasks, "make_shard", making)
    slots, free = CountedSlots(2), []
    outcome = run_task(task_of(job, 0, timeout_s=0.2), should_stop=lambda: False, slots=slots)
    assert outcome.status == ("failed" if hangs_in == "nothing" else "stalled")
    assert hangs.is_set() == (hangs_in != "nothing")
    assert slots.free == 2  # though the thread is still there
    goes_on.set()
    assert ended.wait(10)
    deadline_s = time.monotonic() + 10
    while any(thread.name == "shard-0" for thread in threading.enumerate()) and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert slots.free == 2
    assert free[0] == 2  # lent while it waits
    assert free[1] == (2 if hangs_in == "a lent write" else 1)


def test_a_damaged_plan_is_a_failed_outcome_with_the_errors_fields(job):
    job.plan_path.write_bytes(b"torn")
    outcome = run(job, 0)
    assert outcome.status == "failed"
    error = PoseError.from_fields(outcome.error)
    assert (error.code, error.exit_code) == ("record", 4)


def test_a_place_that_cannot_be_written_is_a_failed_outcome(job):
    folder = job.split.path / "images"
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    outcome = run(job, 0)
    assert outcome.status == "failed"
    assert PoseError.from_fields(outcome.error).exit_code == 6
    assert not job.split.shard_record(0).exists()


def test_a_shard_is_not_written_when_the_lock_was_taken(job):
    task = task_of(job, 0)
    (lock_folder(job) / "lock").unlink()
    outcome = run_task(task, should_stop=lambda: False)
    assert outcome.status == "failed"
    error = PoseError.from_fields(outcome.error)
    assert (error.code, error.exit_code) == ("lock-lost", 5)
    assert not list((job.split.path / "images").glob("c.*"))
    assert not job.split.shard_record(0).exists()


def test_a_cluster_worker_stops_when_the_lock_is_lost(job, monkeypatch):
    monkeypatch.setattr(tasks, "_LOCK_CHECK_S", 0.0)
    first, second = (task_of(job, shard, environment=tasks.environment()) for shard in (0, 1))
    assert run_remote_task(first).status == "done"
    (lock_folder(job) / "lock").unlink()
    assert run_remote_task(second).status == "stopped"


def test_a_cluster_worker_of_other_code_makes_nothing(job):
    outcome = run_remote_task(task_of(job, 0, environment={"code": "other"}))
    assert outcome.status == "failed"
    assert PoseError.from_fields(outcome.error).code == "cluster-versions"
    assert list((job.split.records / "shards").iterdir()) == []
