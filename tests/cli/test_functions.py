"""Every command is a Python function of the same name and options; what differs is listed here."""

import dataclasses
import importlib
import inspect

import pytest

from cli.commands.table import COMMANDS
from cli.options import FORMATS
from cli.recipe_options import RECIPE_OPTIONS, recipe_from
from cli.training.table import TRAINING_COMMANDS
from pose_data.errors import UsageError
from pose_data.formats import READERS
from pose_data.recipes import Recipe, build_recipe
from pose_models.train_config import TrainConfig

# How a command shows and tells things, and where options come from, is no business of the library.
ONLY_COMMANDS = {"json", "quiet", "verbose", "config", "format", "csv"}
# A limit on the numbers is checked on what the function returns: pose_data.report.gates.
ONLY_COMMANDS |= {"fail_under", "fail_if_worse_than"}
ONLY_FUNCTIONS = {"on_event", "progress"}
RENAMED = {
    "picture_timeout": "picture_timeout_s",
    "cluster_timeout": "cluster_timeout_s",
    "memory": "memory_bytes",
    "strict": "max_bad",
    **{option.name: "recipe" for option in RECIPE_OPTIONS},
}
# An option that may be repeated is named in the singular.
REPEATED = {"check": {"split": "splits"}, "prepare": {"split": "splits"}, "verify": {"split": "splits"}}
TRUTH = dict.fromkeys(("annotations", "data", "split", "category", "rules", "area"), "truth")
REPEATED |= {"evaluate": TRUTH, "compare": TRUTH}
# The folder that the doctor looks at is the current one.
MORE_IN_FUNCTIONS = {"doctor": {"folder"}, "evaluate": {"threads"}, "compare": {"threads"}}
OTHER_NAMES = {"sample": "generate_sample"}


def function_of(command):
    module, _, name = command.function.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_command_and_function_have_the_same_name_and_options(command):
    function = function_of(command)
    assert function.__name__ == OTHER_NAMES.get(command.name, command.name)
    assert function.__doc__
    renamed = RENAMED | REPEATED.get(command.name, {})
    options = inspect.signature(command.handler).parameters
    parameters = inspect.signature(function).parameters
    mine = {renamed.get(name, name) for name in options if name not in ONLY_COMMANDS}
    theirs = set(parameters) - ONLY_FUNCTIONS - MORE_IN_FUNCTIONS.get(command.name, set())
    assert mine == theirs


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)
def test_command_and_function_have_the_same_defaults(command):
    parameters = inspect.signature(function_of(command)).parameters
    for name, option in inspect.signature(command.handler).parameters.items():
        if name in parameters and option.default not in (inspect.Parameter.empty, None):
            assert parameters[name].default == option.default, name


@pytest.mark.parametrize("name", ["evaluate", "predict", "bench"])
def test_options_of_a_training_command_are_those_of_its_function(name):
    command = next(command for command in TRAINING_COMMANDS if command.name == name)
    options = inspect.signature(command.handler).parameters
    parameters = inspect.signature(function_of(command)).parameters
    assert set(options) - ONLY_COMMANDS == set(parameters) - ONLY_FUNCTIONS
    for name, option in options.items():
        if name in parameters and option.default not in (inspect.Parameter.empty, None):
            default = parameters[name].default
            assert (_as_list(default) if isinstance(default, tuple) else default) == option.default, name


def _as_list(values):
    """Return a tuple as a command takes it: with commas between."""
    return ",".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)


@pytest.mark.parametrize("name", ["import", "export"])
def test_options_of_other_training_commands_are_those_of_their_functions(name):
    command = next(command for command in TRAINING_COMMANDS if command.name == name)
    options = inspect.signature(command.handler).parameters
    parameters = inspect.signature(function_of(command)).parameters
    assert set(options) - ONLY_COMMANDS == (set(parameters) - ONLY_FUNCTIONS) - ({"format"} & ONLY_COMMANDS)
    for option, given in options.items():
        if option in parameters and given.default not in (inspect.Parameter.empty, None):
            assert parameters[option].default == given.default, option


def test_options_of_run_are_those_of_its_function_or_fields_of_the_configuration():
    command = next(command for command in TRAINING_COMMANDS if command.name == "run")
    options = set(inspect.signature(command.handler).parameters) - {"json", "quiet", "verbose", "set_"}
    parameters = set(inspect.signature(function_of(command)).parameters) - ONLY_FUNCTIONS - {"options"}
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    assert parameters <= options
    assert options - parameters <= fields


def test_every_field_of_a_recipe_has_an_option():
    fields = {field for option in RECIPE_OPTIONS for field in option.sets}
    # What a row is goes with the recipe that is named: no single option makes scenes of crops.
    assert fields | {"rows"} == {field.name for field in dataclasses.fields(Recipe)}


def test_no_option_given_is_the_default_recipe():
    assert recipe_from({}) == build_recipe()


def test_options_change_the_named_recipe():
    given = {"recipe": "hourglass-256", "crop_size": (320, 240), "joints": ("nose", "left_hip"), "context": 8}
    assert recipe_from(given) == build_recipe(
        "hourglass-256", crop_height_px=320, crop_width_px=240, joints=("nose", "left_hip"), context_px=8
    )


def test_joints_may_be_all_again():
    assert recipe_from({"recipe": "white-frame-320", "joints": ()}).joints == ()


def test_full_size_maps_are_as_large_as_the_window():
    recipe = recipe_from({"crop_size": (128, 96), "full_size_maps": True})
    assert (recipe.map_height, recipe.map_width) == (128, 96)
    with pytest.raises(UsageError, match="--full-size-maps and --map-size"):
        recipe_from({"map_size": (64, 48), "full_size_maps": True})


def test_formats_are_those_that_have_a_reader():
    assert set(FORMATS) == set(READERS)
