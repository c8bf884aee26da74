"""``posetrain export``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.console import log_to_stderr, print_facts, print_line, size_text, to_plain, write_json
from cli.options import Json, Quiet, Verbose
from cli.progress import listen
from cli.training.options import RunFolder

if TYPE_CHECKING:
    from pose_models.export import GraphReport

__all__ = ["export"]

_GRAPH_PANEL = "Of graphs"


def export(
    run: RunFolder,
    *,
    format: Annotated[
        Literal["onnx", "torchscript", "openvino", "mmpose", "msra"],
        typer.Option(
            help="The first three are a graph with decoding inside, the others weights under other programs' names.",
            metavar="onnx|torchscript|openvino|mmpose|msra",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(help="The file; RUN/export/NETWORK… unless given.", metavar="FILE")
    ] = None,
    checkpoint: Annotated[Literal["best", "last"], typer.Option(help="Which checkpoint of the run.")] = "best",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file that is there.")] = False,
    precision: Annotated[
        Literal["fp32", "fp16", "int8"],
        typer.Option(help="Of the network in the graph; int8 wants --data.", rich_help_panel=_GRAPH_PANEL),
    ] = "fp32",
    flip_test: Annotated[
        bool,
        typer.Option(
            "--flip-test/--no-flip-test", help="Put the mirrored picture into the graph.", rich_help_panel=_GRAPH_PANEL
        ),
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            help="A store: its crops are compared, its APs measured.", metavar="STORE", rich_help_panel=_GRAPH_PANEL
        ),
    ] = None,
    split: Annotated[
        str,
        typer.Option(help="Which split; unless given the one that begins with val.", rich_help_panel=_GRAPH_PANEL),
    ] = "",
    crops: Annotated[
        int,
        typer.Option(help="How many are compared, and int8 is calibrated on.", min=1, rich_help_panel=_GRAPH_PANEL),
    ] = 256,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Write a run's network for other programs: as one graph from pixels to keypoints, or its weights by their names.

    A graph is run and compared with the network before it is written.
    """
    log_to_stderr(quiet=quiet, verbose=verbose)

    from pose_models import export as exporting

    with listen(json=json, quiet=quiet) as on_event:
        report = exporting.export(
            run, format=format, out=out, precision=precision, flip_test=flip_test, data=data, split=split, crops=crops,
            checkpoint=checkpoint, overwrite=overwrite, on_event=on_event,
        )  # fmt: skip
    if json:
        write_json({"event": "report", **to_plain(report)})
    elif isinstance(report, exporting.GraphReport):
        _show_graph(report)
    else:
        print_line(
            f"{report.out}: {report.tensors:,} tensors of {report.network}, step {report.step:,}, for {report.source}"
        )
        for note in report.notes:
            print_line(f"note: {note}")
    return 0


def _show_graph(report: "GraphReport") -> None:
    facts: list[tuple[str, object]] = [
        ("file", f"{report.out}, {size_text(report.size_bytes)}"),
        ("graph", f"{report.network}, step {report.step:,}, {report.precision}, "
         f"{'with' if report.flip_test else 'without'} the mirrored picture"),
        *_parity_facts(report),
    ]  # fmt: skip
    if report.ap_before is not None and report.ap_after is not None:
        change = report.ap_after - report.ap_before
        facts.append(("AP", f"{report.ap_after:.4f}, in PyTorch {report.ap_before:.4f} ({change:+.4f})"))
    print_facts(facts)


def _parity_facts(report: "GraphReport") -> list[tuple[str, object]]:
    from pose_models.scene_parity import SceneParity

    parity = report.parity
    if isinstance(parity, SceneParity):
        return [
            ("compared", f"{parity.pictures:,} pictures ({report.crops}), {parity.persons:,} persons"),
            ("difference", f"{parity.largest_share:.2g} of the greatest value of maps and fields; "
             f"{parity.persons_again:,} persons found again, {parity.largest_px:.2g} px at most"),
        ]  # fmt: skip
    return [
        ("compared", f"{parity.keypoints:,} keypoints in {parity.crops:,} crops ({report.crops})"),
        ("difference", f"{parity.mean_px:.2g} px in the mean, {parity.largest_px:.2g} px at most; "
         f"{parity.close_share:.1%} within 0.001 px; scores {parity.largest_score_difference:.2g}"),
    ]  # fmt: skip
