"""The stream gives the reader's batches as tensors, wherever it was left."""

import itertools
import multiprocessing
import shutil
import threading
from collections import deque

import numpy as np
import pytest
import torch

from pose_data.errors import DamageError
from pose_data.order import EpochOrder
from pose_data.store import open_store
from pose_models import stream as stream_module
from pose_models.stream import SampleStream

ORDER = EpochOrder(seed=2, window=6, run_rows=4)
ARRAYS = ("images", "heatmaps", "keypoints")


def stream_of(path, **options):
    split = open_store(path)["train2017"]
    return split, SampleStream(split, batch_size=4, order=ORDER, arrays=ARRAYS, threads=2, **options)


def test_the_batches_are_the_stores_rows_as_tensors(finished_store):
    split, stream = stream_of(finished_store)
    seen = []
    for batch in stream.epoch(1):
        assert batch.arrays["images"].dtype == torch.uint8
        assert batch.arrays["heatmaps"].dtype == torch.uint8
        for name, values in batch.arrays.items():
            np.testing.assert_array_equal(values.numpy(), split[name][:][batch.rows.numpy()])
        seen += batch.rows[batch.valid].tolist()
    assert sorted(seen) == np.flatnonzero(split["kept"][:]).tolist()
    assert stream.wait_s > 0


def test_it_goes_on_from_its_state(finished_store):
    _, stream = stream_of(finished_store)
    whole = [batch.rows.tolist() for batch in stream.epoch(0)]
    epoch = stream.epoch(0)
    next(epoch)
    next(epoch)
    state = stream.state()
    epoch.close()
    _, other = stream_of(finished_store)
    assert [batch.rows.tolist() for batch in other.epoch(0, resume=state)] == whole[2:]


def test_leaving_early_ends_the_threads(finished_store):
    before = threading.active_count()
    _, stream = stream_of(finished_store)
    epoch = stream.epoch()
    next(epoch)
    epoch.close()
    stream.close()
    assert threading.active_count() == before


def test_damage_reaches_the_consumer_by_name(finished_store, tmp_path):
    shutil.copytree(finished_store, tmp_path / "copy.zarr")
    _, stream = stream_of(tmp_path / "copy.zarr")
    file = next((tmp_path / "copy.zarr" / "train2017" / "images").glob("c.*"))
    file.write_bytes(b"\0" * file.stat().st_size)
    with pytest.raises(DamageError, match="array images, shard "):
        list(stream.epoch())


class LateCopies:
    """A device that copies as late as it may: when it is waited for."""

    def __init__(self, device):
        self.begun = []

    def begin(self, arrays):
        self.begun.append(LateCopy(arrays))
        return self.begun[-1]


class LateCopy:
    def __init__(self, arrays):
        self._arrays = {name: torch.from_numpy(values) for name, values in arrays.items()}
        self._copied = {name: torch.empty_like(values) for name, values in self._arrays.items()}
        self.ended = False

    def tensors(self):
        return self._copied

    def wait(self):
        if not self.ended:
            for name, values in self._arrays.items():
                self._copied[name].copy_(values)
        self.ended = True


class Poisoned(deque):
    """Memory that is given back, and written over at once, as by a quick reader."""

    def append(self, memory):
        for values in memory.arrays.values():
            values.fill(0xAA)
        super().append(memory)


@pytest.mark.parametrize("taken", [3, 1000])
def test_memory_is_given_back_only_when_its_copy_has_ended(finished_store, monkeypatch, taken):
    ways = []
    monkeypatch.setattr(stream_module, "copies_to", lambda device: ways.append(LateCopies(device)) or ways[-1])
    split, stream = stream_of(finished_store)
    stream._reader._spare = Poisoned()
    epoch = stream.epoch(0)
    seen = list(itertools.islice(epoch, taken))
    epoch.close()
    assert len(seen) == min(taken, len(stream))
    assert all(copy.ended for copy in ways[0].begun)  # also those whose memory is dropped at the end
    for batch in seen:
        for name in ("images", "heatmaps"):
            np.testing.assert_array_equal(batch.arrays[name].numpy(), split[name][:][batch.rows.numpy()])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="copies to a GPU")
def test_batches_on_a_gpu_are_the_stores_rows_while_it_computes(finished_store):
    split, stream = stream_of(finished_store, device="cuda")
    busy = torch.randn(4096, 4096, device="cuda")
    seen = []
    for epoch in range(4):
        for batch in stream.epoch(epoch):
            for _ in range(20):  # the device falls behind, so that copies and reading overlap it
                busy = (busy @ busy).clamp(-1, 1)
            seen.append((batch.rows, {name: values.clone() for name, values in batch.arrays.items()}))
    for rows, arrays in seen:
        for name, values in arrays.items():
            assert values.device.type == "cuda"
            np.testing.assert_array_equal(values.cpu().numpy(), split[name][:][rows.numpy()])
    stream.close()


def _rows_in_child(stream, queue):
    queue.put([batch.rows.tolist() for batch in stream.epoch(0)])


def test_a_stream_handed_to_a_spawned_process_reads_the_same_order(finished_store):
    _, stream = stream_of(finished_store)
    here = [batch.rows.tolist() for batch in stream.epoch(0)]  # files are open, an index is known
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    child = context.Process(target=_rows_in_child, args=(stream, queue))
    child.start()
    theirs = queue.get(timeout=60)
    child.join(60)
    assert theirs == here
    queue.close()
