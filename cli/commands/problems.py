"""``posedata problems``."""

import csv
import dataclasses
import sys
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import log_to_stderr, print_line, print_next, print_problems, print_table, say, to_plain, write_json
from cli.options import OUTPUT_PANEL, Json, Quiet, Store, Verbose
from cli.text import csv_cell
from pose_data.errors import PROBLEMS, UsageError

if TYPE_CHECKING:
    from pose_data.problems import Problem

__all__ = ["problems"]

_DEFAULT_SHOWN = 50


def _complete_codes(incomplete: str) -> list[str]:
    return [code for code in PROBLEMS if code.startswith(incomplete)]


def problems(
    store: Store,
    code: Annotated[
        str | None,
        typer.Option(help="Only this problem, such as img-truncated.", metavar="CODE", autocompletion=_complete_codes),
    ] = None,
    split: Annotated[str | None, typer.Option(help="Only this split.", metavar="NAME")] = None,
    limit: Annotated[
        int | None,
        typer.Option(help=f"At most so many. For people {_DEFAULT_SHOWN}, for machines all.", min=0),
    ] = None,
    csv: Annotated[
        bool, typer.Option("--csv", help="All as CSV on stdout, safe for spreadsheets.", rich_help_panel=OUTPUT_PANEL)
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """List the records that were rejected, and the notes about those that were kept."""
    from pose_data.problems import problems as find_problems

    log_to_stderr(quiet=quiet, verbose=verbose)
    if csv and json:
        raise UsageError("option-conflict", "--csv and --json", hint="give one of them")
    if csv:
        _write_csv(find_problems(store, code=code, split=split, limit=limit))
        return 0
    if json:
        counts: Counter[str] = Counter()
        for problem in find_problems(store, code=code, split=split, limit=limit):
            counts[problem.code] += 1
            write_json({"event": "problem", **to_plain(problem)})
        write_json({"event": "report", "problems": counts.total(), "codes": dict(sorted(counts.items()))})
        return 0
    counts = Counter(problem.code for problem in find_problems(store, code=code, split=split))
    if not counts:
        print_line("no problems" + (f" with the code {code}" if code else ""))
    else:
        print_problems(counts, {}, title="all problems" if code is None else f"problems: {code}")
        shown = _DEFAULT_SHOWN if limit is None else limit
        _show(find_problems(store, code=code, split=split, limit=shown))
        if counts.total() > shown:
            say(f"{counts.total() - shown:,} more: --limit, --code, --csv or --json", quiet=quiet)
    print_next("posedata", "verify", store, quiet=quiet)
    return 0


def _show(found: Iterable["Problem"]) -> None:
    # Ids are names: no thousands separators.
    print_table(
        ["split", "code", "fate", "annotation", "picture", "row", "detail"],
        [
            [
                problem.split, problem.code, problem.fate, _text(problem.annotation_id), problem.file_name or "",
                _text(problem.row), problem.detail,
            ]
            for problem in found
        ],
    )  # fmt: skip


def _text(value: int | None) -> str:
    return "" if value is None else str(value)


def _write_csv(found: Iterable["Problem"]) -> None:
    from pose_data.problems import Problem

    names = [field.name for field in dataclasses.fields(Problem)]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(names)
    for problem in found:
        writer.writerow([csv_cell(getattr(problem, name)) for name in names])
