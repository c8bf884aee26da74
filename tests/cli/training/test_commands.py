"""The commands of posetrain as a person uses them."""

import json

import pytest
import torch

from pose_data.toml_file import read_toml
from pose_models.networks.catalogue import NETWORKS
from pose_models.train_config import changed, default_config, to_toml


def test_list_names_every_network_with_its_figures(posetrain, monkeypatch):
    monkeypatch.setenv("COLUMNS", "250")
    done = posetrain("list")
    assert done.code == 0
    assert all(name in done.out for name in NETWORKS)
    assert "34.00 M" in done.out
    assert "70.4" in done.out


def test_list_for_machines_is_a_line_a_network(posetrain):
    lines = [json.loads(line) for line in posetrain("list", "--family", "hrnet", "--json").out.splitlines()]
    assert {line["family"] for line in lines} == {"hrnet"}
    assert next(line for line in lines if line["name"] == "hrnet-w32-256x192")["parameters"] == 28_536_113


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_networks_configuration_is_read_back_as_it_was_written(name, tmp_path):
    config = default_config(name)
    (tmp_path / "config.toml").write_text(to_toml(config), encoding="utf-8")
    assert changed(config, read_toml(tmp_path / "config.toml")) == config


def test_config_prints_what_run_takes(posetrain):
    done = posetrain("config", "hrnet-w32-256x192")
    assert done.code == 0
    assert "milestones_epochs = [170, 200]" in done.out
    assert 'augmentation = "hrnet"' in done.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["config", "hrnet-w32"], "hrnet-w32-256x192"),
        (["run", "small-128x96", "--set", "clip_norm"], "is not NAME=VALUE"),
        (["run", "small-128x96", "--set", "clip=1"], "a training has no option 'clip'"),
        (["run", "small-128x96", "--set", "epochs=many"], "epochs is 'many'"),
        (["run", "small-128x96", "--set", "loss=l1"], "there is no loss 'l1'"),
        (["run", "small-128x96", "--set", "augmentation=x"], "there is no augmentation 'x'"),
        (["run", "small-128x96", "--set", "schedule=x"], "there is no schedule 'x'"),
        (["run", "small-128x96", "--set", "loss=nmt"], "does not fit the output"),
        (["run", "small-128x96", "--config", "absent.toml"], "cannot be read"),
    ],
)
def test_wrong_options_are_named(posetrain, tmp_path, arguments, told):
    more = ["--data", tmp_path / "none.zarr", "--out", tmp_path / "run"] if arguments[0] == "run" else []
    done = posetrain(*arguments, *more)
    assert done.code == 2
    assert told in done.err
    assert "hint: " in done.err or "cannot be read" in done.err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("line", ['device = "cpu"', "data = 1", "epoch = 3"])
def test_a_configuration_file_holds_options_of_the_training_only(posetrain, tmp_path, line):
    (tmp_path / "c.toml").write_text(line, encoding="utf-8")
    done = posetrain(
        "run", "small-128x96", "--config", tmp_path / "c.toml", "--data", tmp_path / "n.zarr", "--out", tmp_path / "run"
    )
    assert done.code == 2
    assert f"a training has no option '{line.split()[0]}'" in done.err


def test_a_store_that_is_not_there_is_named(posetrain, tmp_path):
    done = posetrain("run", "small-128x96", "--data", tmp_path / "none.zarr", "--out", tmp_path / "run")
    assert done.code == 4
    assert "no posedata store is here" in done.err


def test_a_run_that_is_not_there_is_named(posetrain, store, tmp_path):
    done = posetrain("evaluate", tmp_path / "run", "--data", store)
    assert done.code == 9
    assert "there is no such run" in done.err


def test_train_and_evaluate_from_the_command_line(posedata, posetrain, coco, tmp_path):
    crops, run = tmp_path / "crops.zarr", tmp_path / "run"
    done = posedata("prepare", "coco", "--root", coco, "--out", crops, "--crop-size", "128x96", "--map-size", "32x24")
    assert done.code == 0, done.err
    options = ["--data", crops, "--epochs", 1, "--batch-size", 4, "--device", "cpu", "--set", "amp=off"]
    done = posetrain("run", "small-128x96", "--out", run, *options)
    assert done.code == 0, done.err
    assert "AP" in done.out
    assert f"posetrain evaluate {run}" in done.err
    done = posetrain("run", "small-128x96", "--out", run, *options)
    assert done.code == 2
    assert "--resume goes on with it" in done.err
    done = posetrain("run", "small-128x96", "--out", run, *options, "--resume", "--json")
    report = json.loads(done.out.splitlines()[-1])
    assert report["event"] == "report"
    assert report["epochs"] == 1
    done = posetrain("run", "small-128x96", "--out", run, "--data", crops, "--resume", "--set", "optimiser=sgd")
    assert done.code == 7
    assert "optimiser was 'adamw' and is 'sgd'" in done.err
    done = posetrain("evaluate", run, "--data", crops, "--results", tmp_path / "r.json", "--device", "cpu", "--json")
    assert done.code == 0, done.err
    report = json.loads(done.out.splitlines()[-1])
    assert set(report["numbers"]) == {"AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL"}
    assert len(json.loads((tmp_path / "r.json").read_bytes())) == report["detections"]


def test_published_weights_come_in_and_go_out_from_the_command_line(posetrain, tmp_path):
    torch.save(NETWORKS["simplebaseline-r18-128x96"].build(17).state_dict(), tmp_path / "w.pth")
    arguments = ["import", tmp_path / "w.pth", "--as", "simplebaseline-r18-128x96", "--out", tmp_path / "run"]
    done = posetrain(*arguments, "--dry-run", "--json")
    report = json.loads(done.out)
    assert (report["event"], report["format"], report["out"]) == ("report", "msra", None)
    assert report["conventions"]["recipe"]["geometry"] == "msra"
    assert not (tmp_path / "run").exists()
    done = posetrain(*arguments)
    assert done.code == 0, done.err
    assert "RGB, mean 0.485 0.456 0.406" in done.out
    assert f"posetrain evaluate {tmp_path / 'run'}" in done.err
    assert posetrain(*arguments).code == 2
    assert posetrain(*arguments[:3], "hrnet-w32-256x192").code == 9
    done = posetrain("export", tmp_path / "run", "--format", "mmpose", "--out", tmp_path / "mmpose.pth")
    assert done.code == 0, done.err
    assert "open-mmlab/mmpose" in done.out
    done = posetrain("export", tmp_path / "run", "--format", "msra", "--json")
    assert json.loads(done.out)["tensors"] == report["loaded"]
    assert (tmp_path / "run" / "export" / "simplebaseline-r18-128x96-msra.pth").is_file()
    assert posetrain("export", tmp_path / "run", "--format", "tflite").code == 2


def test_the_versions_and_the_help(posetrain):
    assert posetrain("--version").out.startswith("posetrain ")
    for command in ("list", "config", "run", "evaluate", "import", "export", "predict"):
        done = posetrain(command, "--help")
        assert done.code == 0
        assert f"posetrain {command}" in done.out
