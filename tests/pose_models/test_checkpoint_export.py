"""A run's weights under other programs' names."""

import shutil

import pytest
import torch

from pose_data.errors import ModelError, UsageError
from pose_data.skeleton import COCO_PERSON
from pose_models.checkpoint import Checkpoint, mark_best, save_checkpoint
from pose_models.checkpoint_export import export_weights
from pose_models.checkpoint_formats import FORMATS
from pose_models.conventions import conventions_of_weights
from pose_models.networks.catalogue import NETWORKS
from pose_models.weight_file import read_weights

NAME = "simplebaseline-r18-128x96"


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return NETWORKS[NAME].build(17).state_dict()


@pytest.fixture
def run(state, tmp_path):
    conventions = conventions_of_weights(NETWORKS[NAME], COCO_PERSON)
    save_checkpoint(tmp_path / "run", Checkpoint(step=7, network=NAME, conventions=conventions, model=state))
    return tmp_path / "run"


def test_mmposes_names(run, state):
    report = export_weights(run, format="mmpose")
    assert report.out == run / "export" / f"{NAME}-mmpose.pth"
    assert (report.step, report.tensors, report.notes) == (7, len(state), ())
    content = torch.load(report.out, weights_only=True)
    assert set(content) == {"meta", "state_dict"}
    heads = ("deconv_layers.", "final_layer.")
    expected = {f"head.{key}" if key.startswith(heads) else f"backbone.{key}": value for key, value in state.items()}
    assert content["state_dict"].keys() == expected.keys()
    assert all(torch.equal(content["state_dict"][key], value) for key, value in expected.items())


def test_microsofts_names_are_ours(run, state):
    report = export_weights(run, format="msra")
    again = read_weights(report.out)
    assert again.keys() == state.keys()
    assert all(torch.equal(again[key], value) for key, value in state.items())


@pytest.mark.parametrize(
    "row", [row for row in FORMATS if row.back is not None], ids=lambda row: f"{row.name}-{row.networks}"
)
def test_every_name_goes_out_and_comes_back(row):
    import re

    for network in NETWORKS.values():
        if re.fullmatch(row.networks, network.name):
            with torch.device("meta"):
                keys = list(network.build(network.keypoints).state_dict())
            theirs = [row.theirs(key) for key in keys]
            assert len(set(theirs)) == len(keys)
            assert [row.ours(key) for key in theirs] == keys
            return
    raise AssertionError(row.networks)


def test_conventions_that_the_others_do_not_expect_are_said(state, tmp_path):
    name = "simplebaseline-r50-256x192"
    conventions = conventions_of_weights(NETWORKS[name], COCO_PERSON)  # Microsoft's: BGR
    with torch.device("meta"):
        hollow = NETWORKS[name].build(17).state_dict()
    zeros = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in hollow.items()}
    save_checkpoint(tmp_path / "run", Checkpoint(step=0, network=name, conventions=conventions, model=zeros))
    assert export_weights(tmp_path / "run", format="msra").notes == ()
    assert export_weights(tmp_path / "run", format="mmpose").notes == ("channels: BGR, such weights have RGB",)


def test_a_damaged_checkpoint_is_told(run):
    best = shutil.copytree(run / "checkpoints/step-00000007", run / "checkpoints/step-00000008")
    mark_best(run, 8, 0.5)
    (best / "model.safetensors").write_bytes(b"damaged")
    events = []
    assert export_weights(run, format="msra", on_event=events.append).step == 7
    assert [event.kind for event in events] == ["note"]
    assert "model.safetensors is not what was written; the checkpoint before it is used" in events[0].text
    events.clear()
    export_weights(run, format="msra", on_event=events.append, checkpoint="last", overwrite=True)
    assert [event.kind for event in events] == ["note"]
    shutil.rmtree(best)
    events.clear()
    export_weights(run, format="msra", on_event=events.append, overwrite=True)
    assert events == []


def test_what_cannot_be_written_is_refused(run, state, tmp_path):
    export_weights(run, format="msra")
    with pytest.raises(UsageError, match="there is a file already"):
        export_weights(run, format="msra")
    export_weights(run, format="msra", overwrite=True)
    with pytest.raises(UsageError, match="format is 'onnx'"):
        export_weights(run, format="onnx")
    with pytest.raises(ModelError, match="there is no such run"):
        export_weights(tmp_path / "absent", format="msra")


@pytest.mark.parametrize(
    ("name", "form", "hint"),
    [("small-128x96", "mmpose", "lists what it has"), ("hourglass52-256x256", "msra", "formats: mmpose")],
)
def test_networks_that_the_other_program_does_not_have_are_refused(state, tmp_path, name, form, hint):
    conventions = conventions_of_weights(NETWORKS[name], COCO_PERSON)
    checkpoint = Checkpoint(step=0, network=name, conventions=conventions, model={"a": torch.zeros(1)})
    save_checkpoint(tmp_path / "run", checkpoint)
    with pytest.raises(UsageError, match=f"{form} has no file for {name}") as caught:
        export_weights(tmp_path / "run", format=form)
    assert hint in caught.value.hint
