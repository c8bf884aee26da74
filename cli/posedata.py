"""The program ``posedata``. :func:`main` is the outermost handler: what goes wrong below ends here."""

import os
import sys
from typing import Annotated, Any, TextIO

import typer

from cli.commands.table import COMMANDS
from cli.errors import INTERRUPTED, report_bug, report_error, report_interrupt, report_usage
from cli.signals import Stopper
from pose_data import __version__
from pose_data.errors import PoseError

__all__ = ["app", "main"]

# What Typer raises for a command line it does not understand; its place differs between versions of Typer.
_UsageFault: type[Exception] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="posedata", rich_markup_mode="rich", pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
    epilog="First steps:\n\n  posedata sample demo/coco\n\n"
    "  posedata prepare coco --root demo/coco --out crops.zarr\n\n"
    "  posedata verify crops.zarr --full --sheet sheet.png",
)  # fmt: skip


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"posedata {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _posedata(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Keypoint data sets for training pose networks: prepare, verify, look, read."""
    if context.invoked_subcommand is None:
        text = context.get_help()  # shown on the way where Rich is there
        if text:
            typer.echo(text)


for _command in COMMANDS:
    app.command(_command.name, epilog=_command.epilog)(_command.handler)


def main(arguments: list[str] | None = None) -> None:
    """Run the program and leave the process with its exit code; no exception gets out."""
    given = sys.argv[1:] if arguments is None else arguments
    _never_fail_to_encode(sys.stdout)
    _never_fail_to_encode(sys.stderr)
    stopper = Stopper()
    stopper.install()
    code = _run(given, stopper)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard_stdout()
    sys.exit(code)


def _run(arguments: list[str], stopper: Stopper) -> int:
    try:
        return _called(arguments, stopper)
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


def _called(arguments: list[str], stopper: Stopper) -> int:
    try:
        result: Any = app(args=arguments, prog_name="posedata", standalone_mode=False)
    except _UsageFault as fault:
        context = getattr(fault, "ctx", None)
        message = fault.format_message() if hasattr(fault, "format_message") else str(fault)
        return report_usage(message.rstrip("."), context.command_path if context else "posedata", arguments)
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


if __name__ == "__main__":
    main()
