"""How an error is told: one text for people on stderr, one JSON line for machines, and the exit code."""

import sys
import traceback
from collections.abc import Sequence

from cli.console import say, write_json
from pose_data.errors import PoseError

__all__ = ["INTERRUPTED", "OUR_BUG", "USAGE", "report_bug", "report_error", "report_interrupt", "report_usage"]

OUR_BUG, USAGE, INTERRUPTED = 1, 2, 130


def report_error(error: PoseError, arguments: Sequence[str]) -> int:
    """Tell an error that was raised on purpose; return its exit code."""
    where = f" — {error.where}" if error.where else ""
    say(f"error: {error.message}{where} [{error.code}]" + (f"\n\nhint: {error.hint}" if error.hint else ""))
    _to_machine(arguments, {**error.fields(), "exit_code": error.exit_code})
    return error.exit_code


def report_usage(message: str, command: str, arguments: Sequence[str]) -> int:
    """Tell that the command line cannot be understood; return the exit code."""
    message = " ".join(message.split())  # choices come one a line
    hint = f"{command} --help"
    say(f"error: {message} [usage]\n\nhint: {hint}")
    fields = {"kind": "UsageError", "code": "usage", "message": message, "where": "", "hint": hint}
    _to_machine(arguments, {**fields, "exit_code": USAGE})
    return USAGE


def report_interrupt(exit_code: int, arguments: Sequence[str]) -> int:
    """Tell that a command that keeps nothing was stopped; return the exit code."""
    say("stopped [interrupted]")
    fields = {"kind": "InterruptedRun", "code": "interrupted", "message": "stopped", "where": "", "hint": ""}
    _to_machine(arguments, {**fields, "exit_code": exit_code})
    return exit_code


def report_bug(error: BaseException, arguments: Sequence[str]) -> int:
    """Tell an error that nobody foresaw: its last line, with ``-v`` the whole trace; return the exit code."""
    last = "".join(traceback.format_exception_only(error)).strip()
    wanted = any(part == "--verbose" or (part[:1] == "-" and part[1:2] not in ("", "-") and "v" in part)
                 for part in arguments)  # fmt: skip
    if wanted:
        say("".join(traceback.format_exception(error)))
    say(
        f"error: this is a fault of posedata, not yours: {last} [bug]\n\n"
        "hint: please report it with the command" + ("" if wanted else "; the same command with -v shows where")
    )
    fields = {"kind": "PoseError", "code": "bug", "message": last, "where": "", "hint": "please report it"}
    _to_machine(arguments, {**fields, "exit_code": OUR_BUG})
    return OUR_BUG


def _to_machine(arguments: Sequence[str], fields: dict[str, object]) -> None:
    if "--json" in arguments and not sys.stdout.closed:
        write_json({"event": "error", **fields})
