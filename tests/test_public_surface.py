"""What every module offers: named completely, described, and with codes that exist."""

import ast
import importlib
import inspect
import pkgutil
import re
from pathlib import Path

import pytest

import cli
import pipelines
import pose_data
import pose_models
from pose_data import errors
from pose_data.errors import FINDINGS, PROBLEMS, PoseError

PACKAGES = (cli, pipelines, pose_data, pose_models)
MODULES = sorted(
    found.name
    for package in PACKAGES
    for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")
    if not found.name.endswith("__main__")
)
SOURCES = [path for package in PACKAGES for path in sorted(Path(package.__path__[0]).rglob("*.py"))]
KINDS = {
    name for name in errors.__all__ if inspect.isclass(kind := getattr(errors, name)) and issubclass(kind, PoseError)
}
CODE = re.compile(r"[a-z]+(-[a-z0-9]+)*")


def defined_here(module):
    """Return the public functions and classes that the module defines itself."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
    }


@pytest.mark.parametrize("name", MODULES)
def test_all_is_sorted_complete_and_exists(name):
    module = importlib.import_module(name)
    public = getattr(module, "__all__", None)
    if public is None:
        assert not defined_here(module), f"{name} has public names but no __all__"
        return
    # Constants, then classes, then functions, as ruff sorts them.
    assert list(public) == sorted(public, key=lambda one: (not one.isupper(), not one[0].isupper(), one))
    assert len(set(public)) == len(public)
    assert not [one for one in public if not hasattr(module, one)]
    assert set(defined_here(module)) <= set(public)
    assert not [one for one in public if one.startswith("_")]


@pytest.mark.parametrize("name", MODULES)
def test_everything_public_is_described(name):
    module = importlib.import_module(name)
    assert module.__doc__
    for public, value in defined_here(module).items():
        assert inspect.getdoc(value), f"{name}.{public}"
        if inspect.isclass(value):
            for method, function in vars(value).items():
                if not method.startswith("_") and (inspect.isfunction(function) or isinstance(function, property)):
                    assert inspect.getdoc(function), f"{name}.{public}.{method}"


def raised_codes():
    """Yield (kind, code, file, line) of every error of ours that is made with a literal code."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
                first = node.args[0]
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield node.func.id, first.value, path, node.lineno


RAISED = [(kind, code, path, line) for kind, code, path, line in raised_codes() if kind in KINDS]


def test_there_are_errors_of_every_kind_that_this_part_raises():
    assert {kind for kind, *_ in RAISED} >= {
        "BusyError", "DamageError", "InputError", "InterruptedRun", "ResumeMismatchError", "StorageError",
        "StoreError", "UsageError",
    }  # fmt: skip


def test_codes_are_short_words():
    assert [entry for entry in RAISED if not CODE.fullmatch(entry[1])] == []


def test_damage_is_raised_with_the_code_of_a_finding():
    # Two are about a store as a whole: several findings at once, and damage that nothing is left to mend with.
    known = {*FINDINGS, "damaged", "not-repairable"}
    assert [entry for entry in RAISED if entry[0] == "DamageError" and entry[1] not in known] == []


def test_one_code_has_one_exit_code():
    exits: dict[str, set[int]] = {}
    for kind, code, *_ in RAISED:
        exits.setdefault(code, set()).add(getattr(errors, kind).exit_code)
    assert {code: found for code, found in exits.items() if len(found) > 1} == {}


def test_picture_problems_carry_codes_of_records():
    codes = {code for kind, code, *_ in raised_codes() if kind == "PictureProblem"}
    assert {"img-missing", "img-truncated", "img-crash"} <= codes
    assert codes <= set(PROBLEMS)


def test_findings_carry_codes_of_findings():
    used = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Finding":
                for keyword in node.keywords:
                    if keyword.arg == "code" and isinstance(keyword.value, ast.Constant):
                        used.add(keyword.value.value)
    assert used
    assert used <= set(FINDINGS)


def test_every_problem_and_finding_code_is_used_somewhere():
    texts = "\n".join(
        path.read_text(encoding="utf-8") for path in SOURCES if path != Path(str(inspect.getsourcefile(errors)))
    )
    unused = [code for code in [*PROBLEMS, *FINDINGS] if f'"{code}"' not in texts]
    assert unused == []
