"""Training: it learns, goes on where it was stopped, shares the work, and says what is wrong."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import torch

from pose_data.errors import InterruptedRun, ModelError, StoreError, UsageError
from pose_data.events import Event
from pose_data.reader import open_readable
from pose_data.store import open_store
from pose_models import train as train_module
from pose_models.checkpoint import checkpoint_steps, load_checkpoint
from pose_models.train import run

TINY = {
    "epochs": 2, "batch_size": 8, "schedule": "constant", "schedule_options": {}, "window": 16, "evaluate_every": 2,
    "report": False,
    "ema_decay": 0.5,
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="trains on a GPU")


@pytest.fixture(scope="module")
def store(factory, tmp_path_factory):
    """Return a store of two small splits with crops of 128 x 96."""
    folder = tmp_path_factory.mktemp("train")
    coco = factory.CocoMaker(folder / "coco", pictures=8, persons=3)
    recipe = factory.small_recipe(
        crop_width_px=96, crop_height_px=128, map_width=24, map_height=32, geometry="udp", encoding="unbiased"
    )
    for split in ("train2017", "val2017"):
        coco.write(split, broken=split == "val2017")
        factory.prepare_split(folder / "crops.zarr", folder / "coco", split, recipe)
    return folder / "crops.zarr"


def train(store, out, network="small-128x96", device="cpu", **options):
    return run(network, data=store, out=out, device=device, threads=1, **{**TINY, **options})


def weights_of(out, which="last"):
    return load_checkpoint(out, which).model


def test_a_run_leaves_checkpoints_log_pictures_and_its_configuration(store, tmp_path):
    events: list[Event] = []
    report = train(store, tmp_path / "run", on_event=events.append, report=True)
    assert (report.epochs, report.steps) == (2, 6)
    assert report.page == tmp_path / "run" / "report" / "report.html"
    assert json.loads(report.page.with_name("report.json").read_text())["numbers"] == dict(report.numbers)
    assert len(report.losses) == 6
    assert np.isfinite(report.losses).all()
    assert set(report.numbers) >= {"AP", "AR", "ARL"}
    assert checkpoint_steps(tmp_path / "run") == [6, 3]
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert {line["kind"] for line in lines} == {"train", "val", "checkpoint"}
    assert all(
        {"loss", "learning_rate", "samples_per_s", "wait_share"} <= set(x) for x in lines if x["kind"] == "train"
    )
    assert (tmp_path / "run" / "pictures" / "epoch-0002.png").read_bytes().startswith(b"\x89PNG")
    assert 'network = "small-128x96"' in (tmp_path / "run" / "config.toml").read_text()
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))
    assert {"train", "evaluate"} <= {event.stage for event in events}
    found = load_checkpoint(tmp_path / "run")
    assert found.conventions.decode == "dark"
    assert found.conventions.flip_shift == 0
    assert found.conventions.recipe.map_width == 24


def test_the_same_seed_gives_the_same_losses_and_another_one_others(store, tmp_path, device):
    first = train(store, tmp_path / "a", device=device).losses
    assert train(store, tmp_path / "b", device=device).losses == first
    assert train(store, tmp_path / "c", device=device, seed=1).losses != first


@pytest.mark.parametrize(
    "options", [{}, {"accumulate": 2, "optimiser": "sgd", "clip_norm": 1.0}, {"schedule": "plateau"}]
)
def test_a_run_that_is_continued_has_the_losses_of_an_undisturbed_one(store, tmp_path, device, options):
    whole = train(store, tmp_path / "whole", device=device, **options)
    first = train(store, tmp_path / "run", device=device, **{**options, "epochs": 1})
    rest = train(store, tmp_path / "run", device=device, resume=True, **options)
    assert (*first.losses, *rest.losses) == whole.losses
    for name, values in weights_of(tmp_path / "whole").items():
        assert torch.equal(values, weights_of(tmp_path / "run")[name]), name


def test_a_signal_ends_the_step_keeps_a_checkpoint_and_the_rest_is_the_same(store, tmp_path):
    whole = train(store, tmp_path / "whole", epochs=4)
    options = [
        f"--set={name}={json.dumps(value)}"
        for name, value in {**TINY, "epochs": 4}.items()
        if name != "schedule_options"
    ]
    command = [
        sys.executable, "-m", "cli.posetrain", "run", "small-128x96", "--data", str(store),
        "--out", str(tmp_path / "run"), "--device", "cpu", "--threads", "1", "--set", "schedule_options={}", *options,
    ]  # fmt: skip
    command = [part.replace('"', "") if "schedule=" in part else part for part in command]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    child = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    deadline_s = time.monotonic() + 60
    while not (tmp_path / "run" / "log.jsonl").exists() and time.monotonic() < deadline_s:
        time.sleep(0.02)
    while '"train"' not in (tmp_path / "run" / "log.jsonl").read_text() and time.monotonic() < deadline_s:
        time.sleep(0.005)
    asked_s = time.monotonic()
    child.send_signal(signal.SIGTERM)
    _, told = child.communicate(timeout=60)
    if child.returncode == 0:  # it had ended before it was asked
        pytest.fail("the run was too short to be stopped")
    assert child.returncode == 143, told
    assert time.monotonic() - asked_s < 5
    assert "--resume continues" in told
    steps = checkpoint_steps(tmp_path / "run")
    rest = train(store, tmp_path / "run", resume=True, epochs=4)
    np.testing.assert_allclose(rest.losses, whole.losses[steps[0] :], rtol=1e-6)


def test_an_existing_run_is_not_overwritten_unasked(store, tmp_path):
    train(store, tmp_path / "run", epochs=1)
    with pytest.raises(UsageError, match="output-exists"):
        train(store, tmp_path / "run", epochs=1)
    assert train(store, tmp_path / "run", epochs=1, overwrite=True).steps == 3


def test_a_run_in_place_of_another_leaves_nothing_of_it_but_foreign_files(store, tmp_path):
    out = tmp_path / "run"
    train(store, out, epochs=2, report=True)
    (out / "notes.txt").write_text("mine")
    began_s = time.time()
    time.sleep(1.1)  # TensorBoard names its files by the second
    train(store, out, epochs=1, evaluate_every=1, overwrite=True)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert max(line["step"] for line in lines) == 3
    assert [path.name for path in (out / "pictures").iterdir()] == ["epoch-0001.png"]
    assert len(list((out / "tensorboard").glob("events*"))) == 1
    assert sorted(path.name for path in out.iterdir() if path.stat().st_mtime < began_s) == ["notes.txt"]
    assert not (out / "report").exists()


def test_a_run_that_cannot_begin_leaves_the_one_before_it_alone(store, tmp_path):
    out = tmp_path / "run"
    train(store, out, epochs=1)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(ModelError, match="store-mismatch"):
        train(store, out, network="hourglass-s1-256x256", overwrite=True)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_progress_of_an_epoch_goes_on_where_it_was_left_and_reaches_its_end(store, tmp_path, monkeypatch):
    monkeypatch.setattr("pose_models.epoch_progress._TELL_EVERY_S", 0.0)
    plain, calls = train_module.any_says, []

    def stop_after_the_second_step(value, place):
        calls.append(value)
        return len(calls) == 2

    def progress(events):
        return [(event.done, event.total) for event in events if event.kind == "progress" and event.stage == "train"]

    monkeypatch.setattr(train_module, "any_says", stop_after_the_second_step)
    events: list[Event] = []
    with pytest.raises(InterruptedRun):
        train(store, tmp_path / "run", epochs=1, on_event=events.append)
    samples = open_readable(open_store(store)["train2017"]).samples.count
    assert progress(events) == [(8, samples), (16, samples)]
    monkeypatch.setattr(train_module, "any_says", plain)
    events.clear()
    train(store, tmp_path / "run", epochs=1, resume=True, on_event=events.append)
    assert set(progress(events)) == {(samples, samples)}
    assert 16 < samples <= 24


def test_a_torn_checkpoint_is_passed_over_and_that_is_said(store, tmp_path):
    train(store, tmp_path / "run")
    file = tmp_path / "run" / "checkpoints" / "step-00000006" / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-5])
    said: list[str] = []
    assert load_checkpoint(tmp_path / "run", "last", say=said.append).step == 3
    assert "is not what was written" in said[0]
    for place in (tmp_path / "run" / "checkpoints").glob("step-*"):
        (place / "checkpoint.json").write_text("{")
    with pytest.raises(ModelError, match="checkpoint-missing"):
        load_checkpoint(tmp_path / "run", "last")


def test_folders_of_other_names_beside_the_checkpoints_are_left_alone(store, tmp_path):
    train(store, tmp_path / "run", epochs=1)
    for name in ("step-00000003 (copy)", "step-best", "step-7"):
        (tmp_path / "run" / "checkpoints" / name).mkdir()
    assert checkpoint_steps(tmp_path / "run") == [3]
    assert load_checkpoint(tmp_path / "run").step == 3
    train(store, tmp_path / "run", epochs=4, resume=True, evaluate_every=1)
    assert (tmp_path / "run" / "checkpoints" / "step-best").is_dir()


def test_a_run_that_is_not_there_is_told_from_one_without_a_checkpoint(tmp_path):
    with pytest.raises(ModelError, match="there is no such run"):
        load_checkpoint(tmp_path / "run")
    (tmp_path / "run").mkdir()
    with pytest.raises(ModelError, match="no checkpoint that is whole"):
        load_checkpoint(tmp_path / "run")


def test_what_is_left_of_a_save_that_was_killed_is_swept(store, tmp_path):
    (tmp_path / "run" / "checkpoints" / ".step-00000001.abc.partial").mkdir(parents=True)
    train(store, tmp_path / "run", epochs=1)
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir() if path.name.startswith(".")] == []


def test_a_loss_that_is_not_finite_stops_with_step_and_samples(store, tmp_path):
    with pytest.raises(ModelError, match=r"the loss of step [0-9]+ is (nan|inf)") as caught:
        train(store, tmp_path / "run", optimiser="sgd", learning_rate=1e3, momentum=0.99, epochs=30, ema_decay=0.0)
    assert "annotations 10" in caught.value.where
    assert caught.value.exit_code == 9


@pytest.mark.parametrize("accumulate", [1, 2])
def test_weights_that_are_not_finite_are_never_saved(store, tmp_path, monkeypatch, accumulate):
    plain = train_module._Training._forward_backward

    def with_a_gradient_that_is_not_finite(self, sample):
        loss = plain(self, sample)
        if self._state.epoch == 1:  # of which every loss is finite until weights are changed, and the last step's too
            next(self._state.network.parameters()).grad[0] = float("nan")
        return loss

    monkeypatch.setattr(train_module._Training, "_forward_backward", with_a_gradient_that_is_not_finite)
    batch = open_readable(open_store(store)["train2017"]).samples.count  # one step an epoch
    with pytest.raises(ModelError, match="the weights are not finite after step 2; no checkpoint") as caught:
        train(store, tmp_path / "run", epochs=3, batch_size=batch, accumulate=accumulate, ema_decay=0.0)
    assert caught.value.code == "weights-not-finite"
    assert checkpoint_steps(tmp_path / "run") == [1]


def test_store_and_network_that_do_not_fit_are_told_apart(store, tmp_path):
    with pytest.raises(ModelError, match="crops of 128 x 96 pixels, hourglass-s1-256x256 takes 256 x 256"):
        train(store, tmp_path / "run", network="hourglass-s1-256x256")
    with pytest.raises(UsageError, match="nearest: small-128x96"):
        train(store, tmp_path / "run", network="smal-128x96")
    with pytest.raises(UsageError, match="no split 'test2017'"):
        train(store, tmp_path / "run", train_split="test2017")


def test_an_unfinished_store_is_refused(store, tmp_path):
    shutil.copytree(store, tmp_path / "copy.zarr")
    (tmp_path / "copy.zarr" / "train2017" / ".posedata" / "manifest.json").unlink()
    with pytest.raises(StoreError, match="unfinished"):
        train(tmp_path / "copy.zarr", tmp_path / "run")


@pytest.mark.skipif(torch.cuda.is_available(), reason="shows what is said where there is no CUDA")
def test_cuda_that_is_absent_is_named(store, tmp_path):
    with pytest.raises(ModelError, match="device-absent"):
        run("small-128x96", data=store, out=tmp_path / "run", device="cuda")
    with pytest.raises(UsageError, match="device-unknown"):
        run("small-128x96", data=store, out=tmp_path / "run", device="tpu9")


@pytest.mark.parametrize(
    ("device", "amp"),
    [("cpu", "bf16")] + [pytest.param("cuda", amp, marks=[pytest.mark.gpu, GPU]) for amp in ("bf16", "fp16")],
)
def test_lower_precision_and_channels_last_train_too(store, tmp_path, device, amp):
    report = train(store, tmp_path / "run", device=device, amp=amp, channels_last=True, epochs=6)
    assert np.mean(report.losses[-3:]) < np.mean(report.losses[:3])


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("network", ["small-128x96", "hourglass-small-128x96", "simplebaseline-r18-128x96"])
def test_a_step_on_a_gpu_waits_for_nothing(store, tmp_path, monkeypatch, network):
    step, counted = train_module._Training._step, []

    def unwaiting(training, batch):
        counted.append(1)
        if len(counted) < 3:  # what is made once is made
            return step(training, batch)
        torch.cuda.set_sync_debug_mode("error")
        try:
            return step(training, batch)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(train_module._Training, "_step", unwaiting)
    report = train(store, tmp_path / "run", network=network, device="cuda", amp="bf16", augmentation="mmpose", epochs=4)
    assert len(counted) > 9
    assert np.isfinite(report.losses).all()


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("network", ["small-128x96", "hourglass-small-128x96", "simplebaseline-r18-128x96"])
def test_a_replayed_network_learns_what_it_learns_piece_by_piece(store, tmp_path, network):
    options = {"network": network, "device": "cuda", "epochs": 3, "augmentation": "mmpose", "amp": "bf16"}
    replayed = train(store, tmp_path / "replayed", **options, cuda_graph=True).losses
    plain = train(store, tmp_path / "plain", **options).losses
    np.testing.assert_allclose(replayed[0], plain[0], rtol=1e-5)
    np.testing.assert_allclose(replayed, plain, rtol=2e-2)


@pytest.mark.gpu
@GPU
@pytest.mark.parametrize("more_mb", [40, 200])  # too little for the network; for its steps
def test_a_gpu_without_enough_memory_says_what_fits(store, tmp_path, more_mb):
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + more_mb * 2**20) / total)
    try:
        with pytest.raises(ModelError, match="not enough memory for a batch of 8") as caught:
            train(store, tmp_path / "run", network="simplebaseline-r18-128x96", device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert "--batch-size 4" in caught.value.hint


@pytest.mark.gpu
@GPU
def test_a_run_of_a_gpu_goes_on_on_the_processor(store, tmp_path):
    first = train(store, tmp_path / "run", device="cuda", epochs=1, evaluate_every=1)
    assert np.isfinite(first.numbers["AP"])
    rest = train(store, tmp_path / "run", resume=True, epochs=2)
    whole = train(store, tmp_path / "whole", epochs=2)
    np.testing.assert_allclose((*first.losses, *rest.losses), whole.losses, rtol=2e-2)


@pytest.mark.parametrize("where", ["_fresh_state", "go_on", "_step", "_judge"])
def test_wherever_memory_runs_out_it_says_what_fits(store, tmp_path, monkeypatch, where):
    def without_memory(self, *_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    if where == "go_on":
        train(store, tmp_path / "run", epochs=1)
    monkeypatch.setattr(train_module._Training, where, without_memory)
    with pytest.raises(ModelError, match="not enough memory for a batch of 8") as caught:
        train(store, tmp_path / "run", epochs=1, resume=where == "go_on")
    assert caught.value.code == "out-of-memory"
    assert "--batch-size 4" in caught.value.hint


def test_intermediate_supervision_trains(store, tmp_path):
    report = train(store, tmp_path / "run", network="hourglass-small-128x96", epochs=1, evaluate_every=1, ema_decay=0.0)
    assert np.isfinite(report.loss)


_WORKER = """
import json, os, sys, time
import torch
torch.set_num_threads(1)
from pose_models import stream, train
seen = []
plain = stream.SampleStream.epoch
def noting(self, epoch=0, *, resume=None):
    for batch in plain(self, epoch, resume=resume):
        if "keypoints" in batch.arrays:
            seen.append([epoch, batch.rows[batch.valid].tolist()])
        yield batch
stream.SampleStream.epoch = noting
plain_look = train.from_leader
def late(make, place):
    time.sleep(1.0 * place.rank)  # the leading process has begun the folder by then, if nothing holds it back
    return plain_look(make, place)
train.from_leader = late
options = json.loads(sys.argv[3])
report = train.run("small-128x96", data=sys.argv[1], out=sys.argv[2], device="cpu", threads=1, **options)
with open(f"{sys.argv[2]}-{os.environ['RANK']}.json", "w") as file:
    json.dump({"seen": seen, "losses": report.losses, "AP": report.numbers["AP"]}, file)
"""


def two_processes(program, *arguments):
    """Start a program in two processes as torchrun would; return them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    return [
        subprocess.Popen(
            [sys.executable, "-c", program, *map(str, arguments)],
            env={
                **os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": port, "OMP_NUM_THREADS": "1",
            },
            stderr=subprocess.PIPE, text=True,
        )
        for rank in range(2)
    ]  # fmt: skip


def test_two_processes_share_the_samples_and_agree(store, tmp_path):
    children = two_processes(_WORKER, store, tmp_path / "run", json.dumps({**TINY, "ema_decay": 0.0}))
    told = [child.communicate(timeout=120)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], told
    ranks = [json.loads((tmp_path / f"run-{rank}.json").read_text()) for rank in range(2)]
    kept = np.flatnonzero(open_store(store)["train2017"]["kept"][:]).tolist()
    for epoch in range(2):
        rows = [row for rank in ranks for number, part in rank["seen"] if number == epoch for row in part]
        assert sorted(rows) == kept
    assert ranks[0]["AP"] == ranks[1]["AP"]
    assert load_checkpoint(tmp_path / "run", "last").step == len(ranks[0]["losses"])


_TROUBLED = """
import os, signal, sys
import torch
torch.set_num_threads(1)
from pose_data.errors import DamageError, PoseError
from pose_models import train
plain = train._Training._step
def step(self, batch):
    if self._state.step == 1 and self._place.rank == 1:
        if sys.argv[3] == "signal":
            os.kill(os.getpid(), signal.SIGTERM)
        else:
            raise DamageError("chunk", "a chunk is damaged")
    return plain(self, batch)
train._Training._step = step
try:
    options = {"batch_size": 4, "ema_decay": 0.0, "report": False}
    train.run("small-128x96", data=sys.argv[1], out=sys.argv[2], device="cpu", threads=1, **options)
except PoseError as error:
    sys.stderr.write(error.code)
    sys.exit(error.exit_code)
"""


_LAST_LOSS_OF_THE_OTHER_ONE = """
import sys
import torch
torch.set_num_threads(1)
from pose_data.errors import PoseError
from pose_models import train
plain = train._Training._forward_backward
def last_step(self):
    return self._state.epoch == 1 and self._state.step + 1 == 2 * self._state.steps_per_epoch
def forward_backward(self, sample):
    if last_step(self) and self._place.rank == 1:
        sample.images[:] = float("nan")
    return plain(self, sample)
train._Training._forward_backward = forward_backward
try:
    options = {"batch_size": 4, "epochs": 2, "ema_decay": 0.0, "report": False}
    train.run("small-128x96", data=sys.argv[1], out=sys.argv[2], device="cpu", threads=1, **options)
except PoseError as error:
    sys.stderr.write(error.code)
    sys.exit(error.exit_code)
"""


def test_a_loss_of_another_process_in_the_last_step_is_not_saved(store, tmp_path):
    children = two_processes(_LAST_LOSS_OF_THE_OTHER_ONE, store, tmp_path / "run")
    told = [child.communicate(timeout=60)[1] for child in children]
    assert [child.returncode for child in children] == [9, 9], told
    assert told[0].endswith("weights-not-finite")
    assert told[1].endswith("loss-not-finite")
    steps = checkpoint_steps(tmp_path / "run")
    assert len(steps) == 1  # of the first epoch
    assert all(bool(value.isfinite().all()) for value in weights_of(tmp_path / "run").values())


@pytest.mark.parametrize(
    ("trouble", "ends"),
    [("signal", [(130, "interrupted"), (143, "interrupted")]), ("error", [(9, "process-lost"), (4, "chunk")])],
)
def test_what_ends_one_process_ends_the_other(store, tmp_path, trouble, ends):
    children = two_processes(_TROUBLED, store, tmp_path / "run", trouble)
    told = [child.communicate(timeout=60)[1] for child in children]
    assert [(child.returncode, code in text) for child, text, (_, code) in zip(children, told, ends, strict=True)] == [
        (number, True) for number, _ in ends
    ], told
    assert checkpoint_steps(tmp_path / "run") == ([2] if trouble == "signal" else [])
