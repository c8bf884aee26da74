"""Going on with a run: by its own options and data, told what changed, refused what cannot."""

import json
import os
import signal

import pytest
import torch

from pose_data.errors import InterruptedRun, ModelError, ResumeMismatchError, UsageError
from pose_data.toml_file import read_toml
from pose_models.checkpoint import checkpoint_steps, load_checkpoint
from pose_models.resume import Change, chosen_config, look_for_run, refuse_changes
from pose_models.train import run
from pose_models.train_config import default_config

TINY = {
    "epochs": 2, "batch_size": 8, "schedule": "constant", "schedule_options": {}, "window": 16, "evaluate_every": 2,
    "report": False,
    "ema_decay": 0.5, "seed": 4,
}  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")


def make_store(factory, folder, pictures=8):
    coco = factory.CocoMaker(folder / "coco", pictures=pictures, persons=3)
    recipe = factory.small_recipe(
        crop_width_px=96, crop_height_px=128, map_width=24, map_height=32, geometry="udp", encoding="unbiased"
    )
    for split in ("train2017", "val2017"):
        coco.write(split, broken=split == "val2017")
        factory.prepare_split(folder / "crops.zarr", folder / "coco", split, recipe)
    return folder / "crops.zarr"


@pytest.fixture(scope="module")
def store(factory, tmp_path_factory):
    return make_store(factory, tmp_path_factory.mktemp("resume"))


def train(store, out, **options):
    return run("small-128x96", data=store, out=out, device="cpu", threads=1, **options)


class StopAt:
    """A listener that sends SIGTERM at the n-th progress of a stage."""

    def __init__(self, stage, times):
        self._stage, self._left = stage, times

    def __call__(self, event):
        if event.kind == "progress" and event.stage == self._stage:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGTERM)


def stopped(store, out, at, **options):
    with pytest.raises(InterruptedRun) as caught:
        train(store, out, on_event=at, **{**TINY, **options})
    assert caught.value.exit_code == 143


def notes_of(store, out, **options):
    told = []
    report = train(store, out, resume=True, on_event=told.append, **options)
    return report, [event.text for event in told if event.kind == "note"]


def test_a_run_goes_on_with_its_own_options(store, tmp_path):
    whole = train(store, tmp_path / "whole", **TINY).losses
    first = train(store, tmp_path / "run", **{**TINY, "epochs": 1}).losses
    assert (*first, *train(store, tmp_path / "run", resume=True, epochs=2).losses) == whole


def test_options_that_may_change_take_effect_are_told_and_are_kept(store, tmp_path):
    train(store, tmp_path / "run", **{**TINY, "epochs": 1})
    report, notes = notes_of(store, tmp_path / "run", epochs=2, learning_rate=1e-3, evaluate_every=1)
    assert report.epochs == 2
    assert "epochs was 1 and is 2; written to config.toml" in notes
    assert "learning_rate was 0.004 and is 0.001; written to config.toml" in notes
    kept = read_toml(tmp_path / "run" / "config.toml")
    assert (kept["epochs"], kept["learning_rate"], kept["evaluate_every"], kept["seed"]) == (2, 1e-3, 1, 4)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert next(line for line in lines if line["kind"] == "options")["learning_rate"] == 1e-3
    assert lines[-1]["kind"] == "val"
    assert {line["learning_rate"] for line in lines if line["kind"] == "train" and line["epoch"] == 2} == {1e-3}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"optimiser": "sgd"}, "optimiser was 'adamw' and is 'sgd', but its state fits no other one"),
        ({"decay_all": False}, "decay_all was True and is False, but the optimiser's state belongs to its groups"),
        ({"ema_decay": 0.0}, "ema_decay was 0.5 and is 0.0, but the moving average"),
        ({"encoding": "gaussian"}, "the network has learned other targets"),
        ({"pretrained": "r50.pth", "sigma": 3.0}, "pretrained was '' and is 'r50.pth', but it is read before"),
        ({"val_split": "train2017"}, "the val split has other samples, though as many"),
    ],
)
def test_options_that_the_weights_depend_on_are_refused(store, tmp_path, options, told):
    train(store, tmp_path / "run", **{**TINY, "epochs": 1})
    before = (tmp_path / "run" / "config.toml").read_bytes()
    with pytest.raises(ResumeMismatchError, match="run-mismatch") as caught:
        train(store, tmp_path / "run", resume=True, epochs=2, **options)
    assert told in caught.value.message
    assert caught.value.exit_code == 7
    assert caught.value.hint
    assert (tmp_path / "run" / "config.toml").read_bytes() == before


def test_another_network_is_refused_before_the_store_is_looked_at(tmp_path, store):
    train(store, tmp_path / "run", **{**TINY, "epochs": 1})
    with pytest.raises(ResumeMismatchError, match="the weights are another network's"):
        run("hourglass-s1-256x256", data=tmp_path / "none.zarr", out=tmp_path / "run", device="cpu", resume=True)


@pytest.mark.parametrize("name", ["seed", "shuffle", "window"])
def test_the_order_may_change_between_epochs_but_not_within_one(store, tmp_path, name):
    other = {"seed": 9, "shuffle": "full", "window": 8}[name]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pose_models.epoch_progress._TELL_EVERY_S", 0.0)  # progress at every step
        stopped(store, tmp_path / "run", StopAt("train", 1), epochs=2)
    assert checkpoint_steps(tmp_path / "run") == [1]
    with pytest.raises(ResumeMismatchError, match=f"{name} was .* in the middle of an epoch"):
        train(store, tmp_path / "run", resume=True, **{name: other})
    train(store, tmp_path / "run", resume=True, epochs=1)
    report, notes = notes_of(store, tmp_path / "run", epochs=2, **{name: other})
    assert report.epochs == 2
    assert any(note.startswith(f"{name} was") for note in notes)


def test_another_store_is_refused(store, factory, tmp_path):
    train(store, tmp_path / "run", **{**TINY, "epochs": 1})
    (tmp_path / "other").mkdir()
    other = make_store(factory, tmp_path / "other", pictures=6)
    with pytest.raises(ResumeMismatchError, match=r"the train split had 2\d samples and has 1\d"):
        train(other, tmp_path / "run", resume=True, epochs=2)


def test_another_batch_size_leaves_the_schedule_at_its_share_of_the_training(store, tmp_path):
    options = {**TINY, "schedule": "warm-up-cosine", "schedule_options": {"epochs": 4, "warm_up_steps": 0}}
    train(store, tmp_path / "run", **{**options, "epochs": 2})
    _, notes = notes_of(store, tmp_path / "run", epochs=3, batch_size=4)
    assert any("the learning rate goes on at its share" in note for note in notes)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    rates = [line["learning_rate"] for line in lines if line["kind"] == "train" and line["epoch"] == 3]
    assert rates[0] < 0.51 * 4e-3  # half of the cosine lies behind, though not half of the steps
    assert load_checkpoint(tmp_path / "run", "last").state["schedule_step"] > 12


def test_a_run_that_cannot_be_read_is_not_guessed(store, tmp_path):
    train(store, tmp_path / "run", **{**TINY, "epochs": 1})
    (tmp_path / "run" / "config.toml").write_text("epochs = ")
    with pytest.raises(ModelError, match="run-config"):
        train(store, tmp_path / "run", resume=True)
    (tmp_path / "run" / "config.toml").unlink()
    with pytest.raises(ModelError, match="configuration is missing"):
        train(store, tmp_path / "run", resume=True)


def test_a_backbones_file_is_not_wanted_again(store, tmp_path, monkeypatch):
    read = []
    monkeypatch.setattr("pose_models.train.load_backbone", lambda network, path: read.append(path.name))
    train(store, tmp_path / "run", **{**TINY, "epochs": 1, "pretrained": "r18.pth"})
    train(store, tmp_path / "run", resume=True, epochs=2)
    assert read == ["r18.pth"]


def test_resume_and_overwrite_exclude_each_other(store, tmp_path):
    with pytest.raises(UsageError, match="option-conflict"):
        train(store, tmp_path / "run", resume=True, overwrite=True)


def test_a_signal_during_an_evaluation_is_heard_and_the_evaluation_is_made_up_for(store, tmp_path):
    options = {"epochs": 2, "evaluate_every": 1}
    whole = train(store, tmp_path / "whole", **{**TINY, **options})
    stopped(store, tmp_path / "run", StopAt("evaluate", 1), **options)
    found = load_checkpoint(tmp_path / "run", "last")
    assert checkpoint_steps(tmp_path / "run") == [3]
    assert found.state["unjudged"]
    assert "AP" not in found.numbers
    rest = train(store, tmp_path / "run", resume=True)
    assert rest.losses == whole.losses[3:]
    assert rest.numbers == whole.numbers
    assert (rest.best_ap, rest.best_step) == (whole.best_ap, whole.best_step)
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "val"] == [3, 6]
    for name, values in load_checkpoint(tmp_path / "whole", "last").training.items():
        assert torch.equal(values, load_checkpoint(tmp_path / "run", "last", training=True).training[name]), name


def test_a_signal_during_the_last_evaluation_leaves_only_that_to_do(store, tmp_path):
    stopped(store, tmp_path / "run", StopAt("evaluate", 2), epochs=1)
    rest = train(store, tmp_path / "run", resume=True)
    assert rest.losses == ()
    assert rest.numbers["AP"] >= 0


def test_a_finished_run_that_goes_on_reports_what_it_has(store, tmp_path):
    done = train(store, tmp_path / "run", **{**TINY, "epochs": 1})
    again = train(store, tmp_path / "run", resume=True)
    assert (again.numbers, again.steps, again.losses) == (done.numbers, done.steps, ())


def test_without_a_run_there_is_nothing_to_compare_with(tmp_path):
    found = look_for_run(tmp_path)
    assert not found.begun
    config, changes = chosen_config("small-128x96", None, {"epochs": 3}, found, out=tmp_path)
    assert (config.epochs, changes) == (3, ())
    assert chosen_config("small-128x96", default_config("small-128x96"), {}, found, out=tmp_path)[1] == ()


def test_all_that_is_refused_is_named_at_once(tmp_path):
    changes = (Change("seed", 0, 1), Change("optimiser", "adam", "sgd"), Change("epochs", 1, 2))
    with pytest.raises(ResumeMismatchError) as caught:
        refuse_changes(changes, in_an_epoch=True, out=tmp_path)
    assert "seed" in caught.value.message
    assert "optimiser" in caught.value.message
    assert "epochs" not in caught.value.message
    with pytest.raises(ResumeMismatchError) as caught:
        refuse_changes(changes, in_an_epoch=False, out=tmp_path)
    assert "seed" not in caught.value.message
