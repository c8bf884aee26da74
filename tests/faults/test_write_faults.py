"""Fault 32 and the write door: a call that fails ends in a StorageError, damages nothing, and a rerun finishes."""

import errno
import gc
import mmap
import os
import threading
from unittest import mock

import pytest

from pose_data.atomic import set_write_hook
from pose_data.errors import StorageError

SOME_CALLS = 14


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch):
    """Leave out what only matters when the power goes, which no test here does: the write door is called all the same.

    Hundreds of preparations would else wait for a real disk for most of their time.
    """
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


class FailingDisk:
    """Lets one call of the write door fail; with ``for_good`` also every one after it that needs room."""

    def __init__(self, number=0, at=0, *, for_good=False):
        self._number, self._at, self._for_good = number, at, for_good
        self._turn = threading.Lock()
        self.calls = 0

    def __call__(self, step, path):
        with self._turn:
            self.calls += 1
            fails = self.calls == self._at or (
                self._for_good and self.calls > self._at and step in ("open", "write", "mkdir")
            )
        if fails:
            raise OSError(self._number, os.strerror(self._number), str(path))

    def __enter__(self):
        set_write_hook(self)
        return self

    def __exit__(self, *error):
        set_write_hook(None)


def number_of_calls(kit, out):
    return len(kit.write_steps(out))


def fail_and_resume(kit, calm, out, number, call, **options):
    resume_after(FailingDisk(number, call, **options), kit, calm, out, number, call)


def resume_after(fault, kit, calm, out, number, call):
    """Prepare with a fault, then without, and compare with the calm run."""
    code = {errno.ENOSPC: "disk-full", errno.EROFS: "not-writable", errno.EIO: "io-error"}[number]
    errors = []
    try:
        with fault:
            kit.prepare(out, scheduler="sync")
    except StorageError as error:
        errors.append(error)
    assert all((error.code, error.exit_code, bool(error.where)) == (code, 6, True) for error in errors), call
    finished = kit.shard_records(out)
    kit.prepare(out)
    records = kit.shard_records(out)
    assert (call, {name: records[name] for name in finished}) == (call, finished)
    assert (call, kit.tree_digest(out)) == (call, calm)
    assert (call, kit.leftovers(out)) == (call, [])


class HalfWrites:
    """Lets ``os.write`` take half of what it is given: always, or with ``at`` in one call, and fail in the next one."""

    def __init__(self, number=0, at=0):
        self._number, self._at = number, at
        self._write = os.write
        self._turn = threading.Lock()
        self.calls = 0

    def __call__(self, descriptor, data):
        with self._turn:
            self.calls += 1
            call = self.calls
        if self._at and call == self._at + 1:
            raise OSError(self._number, os.strerror(self._number))
        return self._write(descriptor, half_of(data) if self._at in (0, call) else data)

    def __enter__(self):
        self._patch = mock.patch.object(os, "write", self)
        self._patch.start()
        return self

    def __exit__(self, *error):
        self._patch.stop()


def half_of(data):
    """Return the first half of bytes to write; of whole pages whole ones, since writes past the cache take no other."""
    half = len(data) // 2
    if len(data) % mmap.PAGESIZE == 0:
        half -= half % mmap.PAGESIZE
    return data[: half or len(data)]


def test_writes_that_take_half_are_gone_on_with(small_kit, small_calm, tmp_path):
    out = tmp_path / "crops.zarr"
    with HalfWrites() as disk:
        small_kit.prepare(out, scheduler="sync")
    assert disk.calls > 200
    assert small_kit.tree_digest(out) == small_calm


def number_of_writes(kit, out):
    with HalfWrites(at=10**9) as disk:
        kit.prepare(out, scheduler="sync")
    return disk.calls


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO], ids=["full", "broken"])
def test_a_write_that_took_half_and_then_failed(small_kit, small_calm, tmp_path, number):
    count = number_of_writes(small_kit, tmp_path / "counted.zarr")
    for call in range(1 + number % 2, count, count // SOME_CALLS):
        resume_after(HalfWrites(number, call), small_kit, small_calm, tmp_path / f"{call}.zarr", number, call)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS], ids=["full", "broken", "read-only"])
def test_one_call_fails(small_kit, small_calm, tmp_path, number):
    count = number_of_calls(small_kit, tmp_path / "counted.zarr")
    for call in range(1 + number % 3, count + 1, count // SOME_CALLS):
        fail_and_resume(small_kit, small_calm, tmp_path / f"{call}.zarr", number, call)


@pytest.mark.slow
def test_every_call_fails_but_most_writes_into_partial_files(small_kit, small_calm, tmp_path):
    # Two of three calls are such writes, and all end in the same: the partial file is swept away.
    steps = small_kit.write_steps(tmp_path / "counted.zarr")
    calls = [number for number, step in enumerate(steps, 1) if step != "write" or number % 8 == 0]
    assert len(calls) > 300
    for call in calls:
        fail_and_resume(small_kit, small_calm, tmp_path / f"{call}.zarr", errno.ENOSPC, call)


def test_the_disk_is_full_and_stays_full(small_kit, small_calm, tmp_path):
    count = number_of_calls(small_kit, tmp_path / "counted.zarr")
    for call in range(2, count + 1, count // 9):
        fail_and_resume(small_kit, small_calm, tmp_path / f"{call}.zarr", errno.ENOSPC, call, for_good=True)


@pytest.mark.parametrize("name", ["plan.parquet", "table.parquet"])
def test_nothing_is_written_after_a_failure_has_been_told(small_kit, tmp_path, name):
    # Arrow's writers try to write a footer when they are collected, in whatever thread that happens.
    calls = []

    def fail(step, path):
        calls.append((step, path.name))
        if (step, path.name) == ("write", name) and calls.count(("write", name)) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    set_write_hook(fail)
    try:
        with pytest.raises(StorageError) as caught:
            small_kit.prepare(tmp_path / "crops.zarr", scheduler="sync")
        told = len(calls)
        del caught  # and with it the frames that hold the writer
        gc.collect()
        assert calls[told:] == []
    finally:
        set_write_hook(None)


def test_a_full_disk_is_named_with_what_is_free(small_kit, tmp_path):
    out = tmp_path / "crops.zarr"
    half = number_of_calls(small_kit, tmp_path / "counted.zarr") // 2
    with FailingDisk(errno.ENOSPC, half, for_good=True), pytest.raises(StorageError) as caught:
        small_kit.prepare(out)
    assert caught.value.code == "disk-full"
    assert "MB free" in caught.value.message
    assert "what was finished is kept" in caught.value.message
    assert "run the same command again" in caught.value.hint


def test_a_failure_before_the_first_shard_leaves_nothing(small_kit, tmp_path):
    out = tmp_path / "crops.zarr"
    with FailingDisk(errno.ENOSPC, 30), pytest.raises(StorageError):
        small_kit.prepare(out)
    assert not out.exists()


def test_a_failure_while_the_lock_is_given_back_does_not_lock_this_process_out(small_kit, small_calm, tmp_path):
    out = tmp_path / "crops.zarr"

    def fail(step, path):
        if step == "remove" and path == kit_lock(out):
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    set_write_hook(fail)
    try:
        with pytest.raises(StorageError, match="giving the lock back"):
            small_kit.prepare(out, scheduler="sync")
    finally:
        set_write_hook(None)
    assert kit_lock(out).is_file()
    small_kit.prepare(out)
    assert small_kit.tree_digest(out) == small_calm


def kit_lock(out):
    return out / ".posedata" / "lock"
