"""Where the command line writes: data to stdout, everything else to stderr; Rich is loaded on first use.

Nothing here reads markup: all text is shown as it is, with control characters escaped.
"""

import dataclasses
import json
import logging
import math
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from cli.text import printable
from pose_data.errors import PROBLEMS, PoseError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = [
    "console_of",
    "log_to_stderr",
    "print_facts",
    "print_line",
    "print_next",
    "print_problems",
    "print_table",
    "say",
    "size_text",
    "time_text",
    "to_plain",
    "write_json",
]

_WIDEST_COLUMNS = 10_000
_STYLES: Mapping[str, str] = {"reject": "red", "filter": "yellow", "note": "cyan"}


def console_of(file: TextIO) -> "Console":
    """Return a Rich console on a stream that takes texts as they are; it honours NO_COLOR."""
    from rich.console import Console

    # A file or a pipe has no width: lines stay whole there, for other programs to cut.
    width = None if file.isatty() else _WIDEST_COLUMNS
    return Console(file=file, markup=False, highlight=False, emoji=False, width=width)


def print_line(text: str = "") -> None:
    """Write a line of data to stdout; line breaks in it stay."""
    sys.stdout.write(printable(text, keep_newlines=True) + "\n")


def say(text: str, *, quiet: bool = False) -> None:
    """Write a line for a person to stderr, unless ``quiet``."""
    if not quiet:
        sys.stdout.flush()
        sys.stderr.write(printable(text, keep_newlines=True) + "\n")
        sys.stderr.flush()


def print_next(*command: str | Path, quiet: bool = False) -> None:
    """Name the next command on stderr."""
    say("next: " + shlex.join(str(part) for part in command), quiet=quiet)


def write_json(values: Mapping[str, Any]) -> None:
    """Write one JSON object as a line to stdout, at once. ASCII only, so that no byte of it acts on a terminal.

    What is not finite becomes null, for JSON has no NaN.
    """
    sys.stdout.write(json.dumps(to_plain(values), default=str, allow_nan=False) + "\n")
    sys.stdout.flush()


def to_plain(value: Any) -> Any:
    """Return a report as JSON-ready values: dataclasses as objects, paths as text, errors as their fields.

    Numbers that are not finite become None.
    """
    if isinstance(value, PoseError):
        return value.fields()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [to_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def print_table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, styles: Sequence[str] = ()) -> None:
    """Write a table to stdout. Numbers stand right; ``styles``: one for each row, or none."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    lines = [list(row) for row in rows]
    for position, header in enumerate(headers):
        numeric = any(isinstance(line[position], (int, float)) for line in lines)
        table.add_column(header, justify="right" if numeric else "left", overflow="fold", no_wrap=numeric)
    for number, line in enumerate(lines):
        table.add_row(*(Text(_cell(value)) for value in line), style=styles[number] if styles else None)
    _print(table)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.1f}"
    return "" if value is None else printable(str(value))


def _print(renderable: Any) -> None:
    console = console_of(sys.stdout)
    if not sys.stdout.isatty():
        # As wide as the content, not as the console: no line of blanks.
        console.width = max(1, console.measure(renderable).maximum)
    console.print(renderable)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Write names and values to stdout, one pair a line, aligned."""
    lines = list(facts)
    width = max((len(name) for name, _ in lines), default=0)
    for name, value in lines:
        print_line(f"{name:<{width}}  {_cell(value)}".rstrip())


def print_problems(
    counts: Mapping[str, int], examples: Mapping[str, Sequence[str]], *, title: str, shown_examples: int = 3
) -> None:
    """Write a table of problem codes: how many, what each means, up to three examples. Nothing when there are none."""
    if not counts:
        return
    rows: list[list[object]] = []
    styles: list[str] = []
    for code, count in sorted(counts.items(), key=lambda item: (_order(item[0]), -item[1], item[0])):
        kind = PROBLEMS.get(code)
        style = _STYLES.get(kind.fate, "") if kind else ""
        rows.append([code, count, kind.fate if kind else "", kind.meaning if kind else ""])
        styles.append(style)
        for example in list(examples.get(code, ()))[:shown_examples]:
            rows.append(["", None, "", f"  e.g. {example}"])
            styles.append("dim")
    print_line(title)
    print_table(["code", "count", "fate", "meaning"], rows, styles=styles)
    print_line()


def _order(code: str) -> int:
    kind = PROBLEMS.get(code)
    return ["reject", "filter", "note"].index(kind.fate) if kind else 3


def size_text(size_bytes: float) -> str:
    """Return a number of bytes for people, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if abs(size_bytes) < 1000:
            return f"{size_bytes:.0f} {unit}" if unit == "B" else f"{size_bytes:.1f} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.1f} TB"


def time_text(seconds: float) -> str:
    """Return a duration for people."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def log_to_stderr(*, quiet: bool, verbose: int) -> None:
    """Send log records to stderr: warnings, with ``verbose`` more, with ``quiet`` errors only."""
    level = logging.ERROR if quiet else (logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)]
    handler = logging.StreamHandler(sys.stderr)
    # On the handler: libraries give their own loggers levels of their own.
    handler.setLevel(level)
    logging.basicConfig(level=level, handlers=[handler], format="%(levelname)s %(name)s: %(message)s", force=True)
