"""The one door for writes: whole or not at all, whatever happens in between."""

import errno
import os
from pathlib import Path

import pytest
import xxhash
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pose_data import atomic
from pose_data.atomic import (
    AtomicFile,
    Written,
    file_digest,
    storage_errors,
    sweep,
    write_file,
)
from pose_data.errors import BusyError, StorageError


@pytest.fixture
def steps():
    seen: list[tuple[str, str]] = []
    atomic.set_write_hook(lambda step, path: seen.append((step, path.name)))
    yield seen
    atomic.set_write_hook(None)


@pytest.fixture
def fail_at():
    def arm(step: str) -> None:
        def hook(name: str, path: Path) -> None:
            if name == step:
                raise OSError(errno.EIO, "no luck", str(path))

        atomic.set_write_hook(hook)

    yield arm
    atomic.set_write_hook(None)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pieces=st.lists(st.binary(max_size=5000), max_size=5))
def test_what_was_written_in_pieces_is_there_and_digested(tmp_path, pieces):
    with AtomicFile(tmp_path / "file") as file:
        for piece in pieces:
            file.write(piece)
    whole = b"".join(pieces)
    assert (tmp_path / "file").read_bytes() == whole
    assert file.written == Written(len(whole), xxhash.xxh3_128_hexdigest(whole))
    assert file_digest(tmp_path / "file") == file.written
    assert names(tmp_path) == ["file"]


def test_the_steps_and_their_order(tmp_path, steps):
    write_file(tmp_path / "file", b"x")
    assert steps == [
        ("open", "file"), ("write", "file"), ("fsync", "file"), ("rename", "file"), ("fsync-folder", tmp_path.name),
    ]  # fmt: skip


def test_nothing_is_seen_under_the_name_before_the_end(tmp_path):
    with AtomicFile(tmp_path / "file") as file:
        file.write(b"half")
        assert not (tmp_path / "file").exists()
        assert [name.endswith(atomic.PARTIAL_SUFFIX) for name in names(tmp_path)] == [True]
        assert names(tmp_path)[0].startswith(".")


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_exception_in_the_body_leaves_the_old_state(tmp_path, error):
    write_file(tmp_path / "file", b"old")
    file = AtomicFile(tmp_path / "file")
    with pytest.raises(error), file:  # noqa: PT012 - the body is what is tested
        file.write(b"new")
        raise error
    assert (tmp_path / "file").read_bytes() == b"old"
    assert names(tmp_path) == ["file"]
    assert file.written is None


@pytest.mark.parametrize("step", ["open", "write", "fsync", "rename"])
@pytest.mark.parametrize("old", [True, False])
def test_a_failing_step_leaves_the_old_state(tmp_path, fail_at, step, old):
    if old:
        write_file(tmp_path / "file", b"old")
    fail_at(step)
    with pytest.raises(OSError, match="no luck"):
        write_file(tmp_path / "file", b"new")
    assert names(tmp_path) == (["file"] if old else [])
    if old:
        assert (tmp_path / "file").read_bytes() == b"old"


def test_descriptors_are_given_back(tmp_path, fail_at):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for step in ("write", "fsync", "rename"):
        fail_at(step)
        with pytest.raises(OSError, match="no luck"):
            write_file(tmp_path / "file", b"new")
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_nothing_is_written_after_the_end(tmp_path, steps):
    with AtomicFile(tmp_path / "whole") as whole:
        whole.write(b"new")
    with pytest.raises(OSError, match="stop"), AtomicFile(tmp_path / "abandoned") as abandoned:
        raise OSError("stop")
    done = list(steps)
    for file in (whole, abandoned):
        with pytest.raises(ValueError, match="after its end"):
            file.write(b"more")
    assert steps == done
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_every_kind_of_buffer_is_taken(tmp_path):
    data = bytes(range(200))
    for buffer in (data, bytearray(data), memoryview(data).cast("B", (10, 20))):
        assert write_file(tmp_path / "file", buffer).size_bytes == 200  # type: ignore[arg-type]
        assert (tmp_path / "file").read_bytes() == data


def test_sweeping_takes_what_is_half_written_and_nothing_else(tmp_path):
    (tmp_path / "a" / "b").mkdir(parents=True)
    for path in (tmp_path / "x", tmp_path / "a" / "c.0.0", tmp_path / "a" / "b" / "z.json"):
        left = AtomicFile(path).__enter__()  # killed here
        left.write(b"half")
        os.close(left._descriptor)
    kept = ("mine.partial", ".hidden", "a/c.0.0", "a/b/partial", ".theirs.partial", "a/.x.12.partial")
    for name in kept:
        (tmp_path / name).write_bytes(b"whole")
    assert sweep(tmp_path) == 3
    assert names(tmp_path) == sorted(["a", "b", *(Path(name).name for name in kept)])
    assert sweep(tmp_path) == 0


def test_folders_are_made_with_their_parents_and_synced(tmp_path, steps):
    atomic.make_folder(tmp_path / "a" / "b" / "c")
    assert [name for _, name in steps] == ["a", "b", "c"]
    steps.clear()
    atomic.make_folder(tmp_path / "a" / "b" / "c")
    assert steps == []


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(OSError, match="a"):
        atomic.make_folder(tmp_path / "a" / "b")


def test_removing_what_is_not_there_is_no_error(tmp_path):
    atomic.remove_file(tmp_path / "no")
    atomic.remove_tree(tmp_path / "no")
    write_file(tmp_path / "yes", b"")
    atomic.remove_file(tmp_path / "yes")
    (tmp_path / "tree" / "branch").mkdir(parents=True)
    atomic.remove_tree(tmp_path / "tree")
    assert names(tmp_path) == []


def test_a_whole_file_takes_the_place_of_another(tmp_path):
    write_file(tmp_path / "new", b"new")
    atomic.replace_file(tmp_path / "new", tmp_path / "deep" / "target")
    write_file(tmp_path / "newer", b"newer")
    atomic.replace_file(tmp_path / "newer", tmp_path / "deep" / "target")
    assert names(tmp_path) == ["deep", "target"]
    assert (tmp_path / "deep" / "target").read_bytes() == b"newer"


def test_large_files_are_digested_in_pieces(tmp_path):
    data = bytes(3_000_001)
    (tmp_path / "large").write_bytes(data)
    assert file_digest(tmp_path / "large") == Written(len(data), xxhash.xxh3_128_hexdigest(data))


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, "disk-full"), (errno.EDQUOT, "disk-full"), (errno.EROFS, "not-writable"),
        (errno.EACCES, "not-writable"), (errno.EPERM, "not-writable"), (errno.EIO, "io-error"),
        (errno.ESTALE, "io-error"),
    ],
)  # fmt: skip
def test_errors_of_the_system_become_ours_and_name_the_file(tmp_path, number, code):
    with pytest.raises(StorageError) as caught, storage_errors("writing", tmp_path / "not" / "there"):
        raise OSError(number, os.strerror(number), "/some/file")
    assert (caught.value.code, caught.value.where, caught.value.exit_code) == (code, "/some/file", 6)
    assert caught.value.message.startswith("writing stopped")
    assert caught.value.hint


def test_our_own_errors_and_bugs_pass_unchanged(tmp_path):
    with pytest.raises(BusyError), storage_errors("writing", tmp_path):
        raise BusyError("store-busy", "x")
    with pytest.raises(ZeroDivisionError), storage_errors("writing", tmp_path):
        raise ZeroDivisionError
