"""Bytes of shard files: what is open is closed, whoever forgets to; a copy in another process opens its own."""

import gc
import pickle
from pathlib import Path

import pytest
from zarr.storage import LocalStore

from pose_data.errors import DamageError, StorageError
from pose_data.shard_bytes import FolderBytes, StoreBytes


def open_paths():
    paths = []
    for link in Path("/proc/self/fd").iterdir():
        try:
            paths.append(link.readlink())
        except FileNotFoundError:  # the listing's own
            continue
    return paths


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "split").mkdir()
    (tmp_path / "split" / "c.0").write_bytes(bytes(range(100)))
    return tmp_path


@pytest.fixture(params=["folder", "store"])
def source(request, folder):
    if request.param == "folder":
        return FolderBytes(folder / "split")
    return StoreBytes(LocalStore(folder, read_only=True), "split")


def test_pieces_of_a_file_come_to_their_places(source):
    parts = [bytearray(3), bytearray(4)]
    assert source.read_into("c.0", 10, [memoryview(part) for part in parts], 7) == 7
    assert parts == [bytes(range(10, 13)), bytes(range(13, 17))]
    assert source.tail("c.0", 2) == bytes([98, 99])
    assert source.tail("c.0", 1000) == source.whole("c.0") == bytes(range(100))


def test_the_end_of_a_file_gives_fewer_bytes(source):
    part = bytearray(8)
    assert source.read_into("c.0", 95, [memoryview(part)], len(part)) == 5
    assert part == bytes([95, 96, 97, 98, 99, 0, 0, 0])


def test_a_missing_file_is_damage_however_it_is_read(source):
    for read in (
        lambda: source.whole("c.1"),
        lambda: source.tail("c.1", 4),
        lambda: source.read_into("c.1", 0, [memoryview(bytearray(1))], 1),
    ):
        with pytest.raises(DamageError, match="missing-file"):
            read()


def test_a_pickled_source_opens_its_own_files(source):
    source.tail("c.0", 1)
    copy = pickle.loads(pickle.dumps(source))
    source.close()
    assert copy.tail("c.0", 1) == bytes([99])
    copy.close()


@pytest.mark.parametrize("how", ["closed", "dropped"])
def test_no_file_stays_open(folder, how):
    source = FolderBytes(folder / "split")
    source.tail("c.0", 1)
    path = folder / "split" / "c.0"
    assert path in open_paths()
    if how == "closed":
        source.close()
    else:
        del source
        gc.collect()
    assert path not in open_paths()


class _OwnError(Exception):
    """What an object store's client may raise: no OSError."""


class _FailingStore(LocalStore):
    async def get(self, key, prototype, byte_range=None):
        raise _OwnError("403 Forbidden")


def test_whatever_a_store_raises_is_a_storage_error_with_key_and_hint(folder):
    source = StoreBytes(_FailingStore(folder, read_only=True), "split")
    for read in (
        lambda: source.whole("c.0"),
        lambda: source.tail("c.0", 4),
        lambda: source.read_into("c.0", 0, [memoryview(bytearray(1))], 1),
    ):
        with pytest.raises(StorageError, match="_OwnError: 403 Forbidden") as caught:
            read()
        assert caught.value.where.endswith("split/c.0")
        assert "rights" in caught.value.hint
        assert caught.value.exit_code == 6
