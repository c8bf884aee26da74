"""``posedata verify``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cli.console import log_to_stderr, print_facts, print_line, print_next, print_table, say, time_text, write_json
from cli.options import Annotations, Images, Json, Quiet, Root, SplitNames, Store, Verbose, Workers, parse_share
from cli.progress import listen

if TYPE_CHECKING:
    from pipelines.verify import VerifyReport

__all__ = ["verify"]

_DAMAGED = 4
_SHOWN_FINDINGS = 50


def verify(
    store: Store,
    full: Annotated[
        bool,
        typer.Option("--full", help="Decode everything, and make crops and maps again from their pictures."),
    ] = False,
    split: SplitNames = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Make damaged shards again; they must come out as recorded.")
    ] = False,
    sheet: Annotated[
        Path | None,
        typer.Option(help="Draw a contact sheet with skeletons, maps and problems.", metavar="OUT.png|OUT.html"),
    ] = None,
    sample_share: Annotated[
        float,
        typer.Option(
            help="Share of the pictures whose crops --full makes again: 0.1 or 10%. Default all.",
            parser=parse_share,
            metavar="SHARE",
            show_default=False,
        ),
    ] = 1.0,
    seed: Annotated[int, typer.Option(help="Which pictures that share is, and what the sheet shows.", min=0)] = 0,
    root: Root = None,
    annotations: Annotations = None,
    images: Images = None,
    workers: Workers = 2,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Prove that a store is whole and right: every digest, count and shape; with --full every pixel.

    Leaves with 4 when something is damaged or unfinished.
    """
    log_to_stderr(quiet=quiet, verbose=verbose)

    from pipelines import verify as pipeline

    with listen(json=json, quiet=quiet) as on_event:
        report = pipeline.verify(
            store, full=full, splits=tuple(split or ()), repair=repair, sheet=sheet, sample_share=sample_share,
            seed=seed, root=root, annotations=annotations, images=images, workers=workers, on_event=on_event,
        )  # fmt: skip
    if json:
        write_json({"event": "report", **report.as_dict()})
    else:
        _show(report)
        _show_next(report, quiet)
    return _DAMAGED if report.damaged else 0


def _show(report: "VerifyReport") -> None:
    print_table(
        ["split", "annotations", "kept", "rejected", "rows", "shards"],
        [[part.split, part.annotations, part.kept, part.rejected, part.rows, part.shards] for part in report.splits],
    )
    print_line()
    for part in report.splits:
        if part.statistics is not None:
            print_line(f"{part.split}: statistics")
            print_facts((f"  {name}", _short(value)) for name, value in part.statistics.as_dict().items())
            print_line()
    for file in report.repaired:
        print_line(f"made again: {file}")
    for finding in report.findings[:_SHOWN_FINDINGS]:
        print_line(f"{'damaged' if finding.damaged else 'note'}: {finding.describe()}")
    if len(report.findings) > _SHOWN_FINDINGS:
        print_line(f"and {len(report.findings) - _SHOWN_FINDINGS:,} more: --json lists all")
    if report.sheet is not None:
        print_line(f"sheet: {report.sheet}")
    damaged = sum(finding.damaged for finding in report.findings)
    state = f"NOT whole, {damaged:,} damaged" if damaged else "whole" + (" and right" if report.full else "")
    print_line(f"{report.store}: {state} ({'full' if report.full else 'quick'} check, {time_text(report.seconds)})")


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_short(item)}" for key, item in value.items())
    if isinstance(value, (list, tuple)):
        nested = any(isinstance(item, (list, tuple)) for item in value)
        return ", ".join("/".join(map(_short, item)) if nested else _short(item) for item in value)
    return str(value)


def _show_next(report: "VerifyReport", quiet: bool) -> None:
    if any(finding.damaged and finding.code == "unfinished" for finding in report.findings):
        say("next: the posedata prepare command that began the store; it continues", quiet=quiet)
    elif report.damaged:
        print_next("posedata", "verify", report.store, "--repair", quiet=quiet)
    elif report.full:
        print_next("posedata", "info", report.store, quiet=quiet)
    else:
        sheet = report.store.with_suffix(".png").name
        print_next("posedata", "verify", report.store, "--full", "--sheet", sheet, quiet=quiet)
