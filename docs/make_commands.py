"""Write ``docs/commands.md`` from the program's own options: ``python docs/make_commands.py``."""

import inspect
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from cli.command import Command
from cli.commands.table import COMMANDS
from cli.posedata import app
from cli.posetrain import app as training_app
from cli.training.table import TRAINING_COMMANDS

__all__ = ["flags_of_program", "main", "render"]

_HEAD = """\
# Commands

<!-- Written by docs/make_commands.py from the program itself; change the program, then run it again. -->

Data goes to stdout, everything else to stderr. `--json` turns stdout into JSON lines, one object a line, the last one
with `"event": "report"`. `NO_COLOR` is honoured. Exit codes: [codes.md](codes.md). Every command is a Python function
too, of the same name; its options are keyword arguments. `posedata COMMAND --help` shows the same as this page.
"""
_NO_PANEL = "Options"
_TYPES: Mapping[Any, str] = {int: "whole number", float: "number", str: "text", Path: "path"}


def flags_of_program() -> dict[str, list[str]]:
    """Return the long names of every command's options, as the programs themselves understand them."""
    return {
        f"{program} {name}": [
            flag
            for option in command.params
            for flag in (*option.opts, *option.secondary_opts)
            if flag.startswith("--") and flag != "--help"
        ]
        for program, group in (("posedata", app), ("posetrain", training_app))
        for name, command in _group(group).commands.items()
    }


def _group(program: typer.Typer) -> Any:
    return typer.main.get_command(program)


def render() -> str:
    """Return the text of ``docs/commands.md``."""
    sections = [_section("posedata", command) for command in COMMANDS]
    sections += [_section("posetrain", command) for command in TRAINING_COMMANDS]
    return "\n".join([_HEAD, *sections])


def _parameters(command: Command) -> Iterator[tuple[inspect.Parameter, Any, Any]]:
    """Yield each parameter with its type and what Typer was told about it."""
    for parameter in inspect.signature(command.handler).parameters.values():
        kind, told = typing.get_args(parameter.annotation)[:2]
        yield parameter, kind, told


def _section(program: str, command: Command) -> str:
    parameters = list(_parameters(command))
    arguments = [told for parameter, _, told in parameters if not _is_option(told)]
    usage = " ".join([program, command.name, *(argument.metavar for argument in arguments), "[OPTIONS]"])
    lines = [f"## {program} {command.name}", "", " ".join(inspect.getdoc(command.handler).split()), ""]  # type: ignore[union-attr]
    lines += [f"    {usage}", ""]
    lines += [f"- `{argument.metavar}`: {argument.help}" for argument in arguments]
    lines += ["", f"In Python: `{command.function}`. For example:", ""]
    lines += [*(f"    {example}" for example in command.examples), ""]
    panels: dict[str, list[str]] = {}
    for parameter, kind, told in parameters:
        if _is_option(told):
            panels.setdefault(told.rich_help_panel or _NO_PANEL, []).append(_row(parameter, kind, told))
    for panel, rows in panels.items():
        lines += [f"**{panel}**", "", "| option | value | default | what it does |", "| --- | --- | --- | --- |"]
        lines += [*rows, ""]
    return "\n".join(lines)


def _is_option(told: Any) -> bool:
    return type(told).__name__ == "OptionInfo"


def _row(parameter: inspect.Parameter, kind: Any, told: Any) -> str:
    # Inside Annotated, Typer keeps the first name where a default would stand.
    first = (told.default,) if isinstance(told.default, str) else ()
    names = (*first, *(told.param_decls or ())) or (f"--{parameter.name.replace('_', '-')}",)
    flags = ", ".join(f"`{flag}`" for name in names for flag in name.split("/"))
    cells = [flags, _value(kind, told), _default(parameter, told), told.help or ""]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _value(kind: Any, told: Any) -> str:
    inner = next((part for part in typing.get_args(kind) if part is not type(None)), kind)
    inner = kind if typing.get_origin(kind) is typing.Literal else inner
    if inner is bool or told.count:
        return ""
    if typing.get_origin(inner) is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(inner))
    return f"`{told.metavar}`" if told.metavar else _TYPES[inner]


def _default(parameter: inspect.Parameter, told: Any) -> str:
    if isinstance(told.show_default, str):
        return told.show_default
    if parameter.default is inspect.Parameter.empty:
        return "required"
    hidden = parameter.default is None or parameter.default is False or told.show_default is False
    return "" if hidden else str(parameter.default)


def main() -> None:
    """Write the page beside this script."""
    Path(__file__).with_name("commands.md").write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
