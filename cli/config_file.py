"""``--config FILE.toml``: a command's options from a file, for what the command line leaves open."""

from pathlib import Path
from typing import Any

import typer

from pose_data.errors import UsageError
from pose_data.toml_file import read_toml

__all__ = ["load_config"]

_NOT_IN_FILES = frozenset(["config", "help", "format"])


def load_config(context: typer.Context, file: Path | None) -> Path | None:
    """Make the options in a TOML file the defaults of the command being parsed; return the file.

    Names are those of the options, with dashes or underscores. Raises UsageError naming file and key.
    """
    if file is None or context.resilient_parsing:
        return file
    options = {str(option.name): option for option in context.command.params if option.name not in _NOT_IN_FILES}
    defaults: dict[str, Any] = {}
    for key, value in read_toml(file).items():
        name = key.replace("-", "_")
        if name not in options:
            known = ", ".join(sorted(option.replace("_", "-") for option in options))
            raise UsageError(
                "config-key", f"the configuration has a key {key!r} that is not an option of {context.info_name}",
                where=str(file), hint=f"options: {known}",
            )  # fmt: skip
        defaults[name] = _value(options[name], key, value, file)
    context.default_map = {**(context.default_map or {}), **defaults}
    return file


def _value(option: Any, key: str, value: Any, file: Path) -> Any:
    """Return a TOML value as the command line would give it: text, or a truth value for a flag."""
    is_flag = getattr(option, "is_flag", False)
    takes_many = getattr(option, "multiple", False)
    if is_flag and isinstance(value, bool):
        return value
    if not is_flag and _is_scalar(value):
        return [str(value)] if takes_many else str(value)
    if not is_flag and isinstance(value, list) and all(_is_scalar(item) for item in value):
        return [str(item) for item in value] if takes_many else ",".join(str(item) for item in value)
    wanted = "true or false" if is_flag else "a number, text or a list of them"
    raise UsageError("config-value", f"the value of {key!r} is not {wanted}", where=str(file))


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (str, int, float)) and not isinstance(value, bool)
