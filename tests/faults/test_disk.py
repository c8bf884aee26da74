"""Fault 32, before work: a disk that is too small is noticed before anything is written."""

import shutil
from types import SimpleNamespace

import pytest

from pose_data.errors import StorageError


def tell_free(monkeypatch, free_bytes):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=10**12, used=0, free=free_bytes))


def test_too_little_room_is_refused_before_anything_is_written(kit, tmp_path, monkeypatch):
    out = tmp_path / "crops.zarr"
    tell_free(monkeypatch, 100_000)
    with pytest.raises(StorageError) as caught:
        kit.prepare(out)
    assert (caught.value.code, caught.value.exit_code) == ("disk-full", 6)
    assert "are needed" in caught.value.message
    assert "0.00 GB are free" in caught.value.message
    assert "nothing was written" in caught.value.message
    assert caught.value.where == str(out)
    assert not out.exists()


def test_a_dry_run_says_so_too(kit, tmp_path, monkeypatch):
    tell_free(monkeypatch, 100_000)
    with pytest.raises(StorageError, match="are needed"):
        kit.prepare(tmp_path / "crops.zarr", dry_run=True)


def test_a_tenth_is_kept_in_reserve(kit, tmp_path, monkeypatch):
    needed_bytes = kit.prepare(tmp_path / "crops.zarr", dry_run=True).splits[0].size_bytes
    tell_free(monkeypatch, int(needed_bytes * 1.09))
    with pytest.raises(StorageError, match="a tenth of it in reserve"):
        kit.prepare(tmp_path / "crops.zarr")
    tell_free(monkeypatch, int(needed_bytes * 1.11))
    kit.prepare(tmp_path / "crops.zarr")


def test_what_finished_shards_take_is_not_asked_for_again(kit, calm, tmp_path, monkeypatch):
    out = tmp_path / "crops.zarr"

    def stop(event):
        if event.kind == "progress" and event.done >= 64:
            raise KeyboardInterrupt

    with pytest.raises(BaseException, match="stopped"):
        kit.prepare(out, scheduler="sync", on_event=stop)
    there = sum(path.stat().st_size for path in out.glob("val2017/*/c.*"))
    assert there
    needed_bytes = kit.prepare(tmp_path / "other.zarr", dry_run=True).splits[0].size_bytes
    tell_free(monkeypatch, int((needed_bytes - there) * 1.11))
    kit.prepare(out)
    assert kit.tree_digest(out) == calm
