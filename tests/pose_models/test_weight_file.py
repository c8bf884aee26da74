"""Weights files of every form, and files that are none."""

import pickle

import numpy as np
import pytest
import torch

from pose_data.errors import ModelError
from pose_models.weight_file import list_keys, read_weights

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "a.count": torch.tensor(3)}


@pytest.mark.parametrize(
    "wrapped",
    [
        WEIGHTS,
        {"state_dict": WEIGHTS, "epoch": 3, "optimizer": {"state": {0: torch.ones(2)}}},
        {f"module.{key}": value for key, value in WEIGHTS.items()},
        {"state_dict": {f"model.module.{key}": value for key, value in WEIGHTS.items()}},
        {"model": WEIGHTS},
        {"meta": {"sigmas": np.array([0.1, 0.2]), "mean": np.float64(3), "names": ["a"]}, "state_dict": WEIGHTS},
    ],
    ids=["plain", "state_dict", "DataParallel", "princeton", "model", "mmpose"],
)
def test_wrappers_are_taken_off(tmp_path, wrapped):
    torch.save(wrapped, tmp_path / "file.pth")
    read = read_weights(tmp_path / "file.pth")
    assert list(read) == list(WEIGHTS)
    assert all(torch.equal(read[key], value) for key, value in WEIGHTS.items())


def test_a_prefix_of_some_keys_only_stays(tmp_path):
    torch.save({"model.0.weight": torch.ones(1), "head.weight": torch.ones(1)}, tmp_path / "file.pth")
    assert list(read_weights(tmp_path / "file.pth")) == ["model.0.weight", "head.weight"]


class Trap:
    """An object whose pickle would call a function."""

    def __reduce__(self):
        return (open, ("trap-was-sprung", "w"))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_with_code_is_refused_and_nothing_runs(tmp_path, monkeypatch, legacy):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": WEIGHTS, "hidden": Trap()}, "bad.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(ModelError, match="nothing of it was run") as caught:
        read_weights(tmp_path / "bad.pth")
    assert caught.value.code == "weights-code"
    assert "open" in caught.value.message
    assert not (tmp_path / "trap-was-sprung").exists()


def test_a_bare_pickle_with_code_is_refused_and_nothing_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.pth").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ModelError, match="weights"):
        read_weights(tmp_path / "bad.pth")
    assert not (tmp_path / "trap-was-sprung").exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_truncated_files_are_named(tmp_path, suffix, share):
    if suffix == ".pth":
        torch.save(WEIGHTS, tmp_path / "whole")
    else:
        from safetensors.torch import save_file

        save_file(WEIGHTS, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    path = tmp_path / f"file{suffix}"
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(ModelError, match="truncated or not a weights file") as caught:
        read_weights(path)
    assert caught.value.code == "weights-unreadable"


def test_other_files_are_named(tmp_path):
    (tmp_path / "text.pth").write_text("<html>not found</html>")
    with pytest.raises(ModelError, match="not a weights file") as caught:
        read_weights(tmp_path / "text.pth")
    assert "weights_only" not in caught.value.message  # torch's advice is to let the file's code run
    torch.save([torch.ones(1)], tmp_path / "list.pth")
    with pytest.raises(ModelError, match="no tensors by name"):
        read_weights(tmp_path / "list.pth")
    with pytest.raises(ModelError, match="no such weights file") as caught:
        read_weights(tmp_path / "absent.pth")
    assert caught.value.code == "weights-missing"


def test_long_lists_of_keys_are_cut():
    assert list_keys(["a", "b"]) == "  a\n  b"
    assert list_keys([str(number) for number in range(30)], most=2) == "  0\n  1\n  … and 28 more"
