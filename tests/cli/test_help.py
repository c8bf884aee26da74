import subprocess
import sys

import pytest

from cli.commands.table import COMMANDS
from cli.recipe_options import RECIPE_OPTIONS
from pose_data import __version__
from pose_data.recipes import RECIPES

HEAVY = {
    "cv2", "dask", "distributed", "msgspec", "numcodecs", "numpy", "pandas", "psutil", "pyarrow", "pycocotools",
    "simplejpeg", "torch", "zarr",
}  # fmt: skip


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize(
    ("program", "module", "example"),
    [
        ("cli.posedata", "cli.commands.prepare", "posedata prepare coco"),
        ("cli.posetrain", "cli.training.run", "posetrain run small-128x96"),
    ],
)
def test_help_loads_nothing_heavy(program, module, example):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", program, "--help"], capture_output=True, text=True, check=True
    )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert module in loaded
    assert {name.partition(".")[0] for name in loaded} & HEAVY == set()
    assert example in done.stdout


def test_help_names_every_command(posedata):
    done = posedata("--help")
    assert done.code == 0
    assert all(command.name in done.out for command in COMMANDS)
    assert [command.name for command in COMMANDS] == [
        "sample", "check", "prepare", "verify", "info", "problems", "evaluate", "compare", "doctor", "unlock"
    ]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_help_of_a_command_has_examples_that_are_its_own(posedata, command):
    done = posedata(command.name, "--help")
    assert done.code == 0
    assert "Examples:" in done.out
    assert command.examples
    for example in command.examples:
        assert example.split()[:2] == ["posedata", command.name]
        assert example in " ".join(done.out.split())


def test_help_of_prepare_names_recipes_choices_and_every_option(posedata):
    text = "".join(posedata("prepare", "-h").out.split())
    assert all(name in text for name in RECIPES)
    assert "msra|udp|dark|box|square" in text
    assert all("--" + option.name.replace("_", "-") in text for option in RECIPE_OPTIONS)


def test_without_a_command_the_help_is_shown(posedata):
    done = posedata()
    assert (done.code, done.err) == (0, "")
    assert "Usage: posedata" in done.out


def test_version(posedata):
    assert posedata("--version").out == f"posedata {__version__}\n"
