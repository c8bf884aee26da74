"""What both programs have in common: how they are put together, and the outermost handler of what goes wrong."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any, TextIO

import typer

from cli.command import Command
from cli.errors import INTERRUPTED, report_bug, report_error, report_interrupt, report_usage
from cli.signals import Stopper
from pose_data import __version__
from pose_data.errors import PoseError

__all__ = ["build_app", "run_program"]

# What Typer raises for a command line it does not understand; its place differs between versions of Typer.
_UsageFault: type[Exception] = typer.BadParameter.__mro__[2]


def build_app(name: str, about: str, first_steps: Sequence[str], commands: Sequence[Command]) -> typer.Typer:
    """Return a program with ``--version`` and these commands; called alone it shows its help."""
    app = typer.Typer(
        name=name, rich_markup_mode="rich", pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
        epilog="\n\n".join(["First steps:", *(f"  {step}" for step in first_steps)]),
    )  # fmt: skip

    def show_version(wanted: bool) -> None:
        if wanted:
            typer.echo(f"{name} {__version__}")
            raise typer.Exit

    @app.callback(invoke_without_command=True, help=about)
    def program(
        context: typer.Context,
        version: Annotated[
            bool,
            typer.Option("--version", callback=show_version, is_eager=True, help="Show the version and leave."),
        ] = False,
    ) -> None:
        if context.invoked_subcommand is None:
            text = context.get_help()  # shown on the way where Rich is there
            if text:
                typer.echo(text)

    for command in commands:
        app.command(command.name, epilog=command.epilog)(command.handler)
    return app


def run_program(app: typer.Typer, name: str, arguments: list[str] | None) -> None:
    """Run a program and leave the process with its exit code; no exception gets out."""
    given = sys.argv[1:] if arguments is None else arguments
    _never_fail_to_encode(sys.stdout)
    _never_fail_to_encode(sys.stderr)
    stopper = Stopper()
    stopper.install()
    code = _run(app, name, given, stopper)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
    sys.exit(code)


def _run(app: typer.Typer, name: str, arguments: list[str], stopper: Stopper) -> int:
    try:
        return _called(app, name, arguments, stopper)
    except PoseError as error:
        return report_error(error, arguments)
    except KeyboardInterrupt:
        return report_interrupt(stopper.exit_code, arguments)
    except BrokenPipeError:
        # The reader of our output has gone, as ``head`` does; that is no fault of anybody.
        _discard_stdout()
        return 128 + 13
    except Exception as error:  # noqa: BLE001 - the outermost handler
        return report_bug(error, arguments)


def _called(app: typer.Typer, name: str, arguments: list[str], stopper: Stopper) -> int:
    try:
        result: Any = app(args=arguments, prog_name=name, standalone_mode=False)
    except _UsageFault as fault:
        context = getattr(fault, "ctx", None)
        message = fault.format_message() if hasattr(fault, "format_message") else str(fault)
        return report_usage(message.rstrip("."), context.command_path if context else name, arguments)
    except typer.Abort:
        return report_interrupt(stopper.exit_code, arguments)
    except SystemExit as leaving:
        if isinstance(leaving.__context__, BrokenPipeError):  # Typer leaves with 1 then
            raise leaving.__context__ from None
        raise
    code = result if isinstance(result, int) else 0
    if code == INTERRUPTED:  # Typer turns a KeyboardInterrupt into this number
        return report_interrupt(stopper.exit_code, arguments)
    return code


def _never_fail_to_encode(stream: TextIO) -> None:
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")


def _discard_stdout() -> None:
    """Let Python's last flush of stdout go nowhere, so that it does not fail either."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
