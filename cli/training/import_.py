"""``posetrain import``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import log_to_stderr, print_facts, print_line, print_next, to_plain, write_json
from cli.options import Json, Quiet, Verbose

if TYPE_CHECKING:
    from pose_models.checkpoint_import import ImportReport

__all__ = ["import_checkpoint"]


def import_checkpoint(
    file: Annotated[Path, typer.Argument(help="A weights file as its authors gave it out.", metavar="FILE")],
    *,
    as_: Annotated[str, typer.Option("--as", help="The network it is for, a name of posetrain list.", metavar="NAME")],
    out: Annotated[Path | None, typer.Option(help="The run's folder; runs/NAME unless given.", metavar="RUN")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the run that is there.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every key and write nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Make a run of published weights, with the conventions that belong to them; no code in the file runs."""
    log_to_stderr(quiet=quiet, verbose=verbose)

    from pose_models import checkpoint_import

    report = checkpoint_import.import_checkpoint(file, as_=as_, out=out, overwrite=overwrite, dry_run=dry_run)
    if json:
        write_json({"event": "report", **to_plain(report), "conventions": report.conventions.as_dict()})
        return 0
    _show(report)
    if report.out is not None:
        print_next("posetrain", "evaluate", report.out, "--data", "STORE", quiet=quiet)
    return 0


def _show(report: "ImportReport") -> None:
    conventions = report.conventions
    recipe, pixels = conventions.recipe, conventions.pixels
    print_facts(
        [
            ("network", f"{report.network}, {report.parameters:,} parameters"),
            ("file", f"of the kind {report.format}: {report.source}"),
            (
                "keys",
                f"{report.loaded:,} loaded, {len(report.left_out)} left out, {len(report.absent)} not in the file",
            ),
            ("keypoints", f"{report.keypoints}, {report.skeleton}"),
            ("input", f"{recipe.crop_height_px}x{recipe.crop_width_px}, geometry {recipe.geometry}"),
            ("pixels", f"{'BGR' if pixels.bgr else 'RGB'}, mean {_numbers(pixels.mean)}, std {_numbers(pixels.std)}"),
            ("output", f"{recipe.encoding}, sigma {recipe.sigma:g}; decoding {conventions.decode}"),
            ("flip test", f"mirrored output moved by {conventions.flip_shift}"),
        ]
    )
    for name, keys in (("left out", report.left_out), ("not in the file", report.absent)):
        for reason in sorted(set(keys.values())):
            print_line(f"{name}: {sum(1 for one in keys.values() if one == reason)} keys: {reason}")
    for note in report.notes:
        print_line(f"note: {note}")
    print_line("nothing was written" if report.out is None else f"{report.out}: weights and conventions")


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in values)
