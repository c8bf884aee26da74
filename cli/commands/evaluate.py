"""``posedata evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.console import log_to_stderr, print_line, print_table, to_plain, write_json
from cli.judging_options import (
    Area,
    Category,
    DetectionArea,
    Judged,
    JudgedSplit,
    JudgedStore,
    MaxDetections,
    Replicates,
    RuleSet,
    UnknownImages,
)
from cli.options import Json, Quiet, Verbose
from cli.progress import listen

if TYPE_CHECKING:
    from pipelines.evaluate import EvaluateReport

__all__ = ["evaluate"]


def evaluate(
    results: Annotated[Path, typer.Argument(help="Results in COCO's format.", metavar="RESULTS.json")],
    annotations: Judged = None,
    data: JudgedStore = None,
    split: JudgedSplit = "",
    images: Annotated[
        Path | None,
        typer.Option(help="The pictures, for the report's cases; else a store's crops are shown.", metavar="FOLDER"),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write report.html, report.json, persons.parquet and summary.md there.", metavar="OUT"),
    ] = None,
    baseline: Annotated[
        Path | None,
        typer.Option(help="Other results for the same pictures, to compare with.", metavar="RESULTS.json"),
    ] = None,
    fail_under: Annotated[
        list[str] | None,
        typer.Option(help="Leave with 8 where a number is lower; may be repeated.", metavar="AP=0.70"),
    ] = None,
    fail_if_worse_than: Annotated[
        Path | None,
        typer.Option(
            help="Leave with 8 where AP is worse than these results' beyond chance (paired, 95 %).",
            metavar="RESULTS.json",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="The ten numbers alone.")] = False,
    replicates: Replicates = 1000,
    seed: Annotated[int, typer.Option(help="Of the draws.", min=0)] = 0,
    cases: Annotated[int, typer.Option(help="So many pictured cases at most.", min=0)] = 200,
    boxes_from: Annotated[
        str, typer.Option(help="Whose person boxes the results were made with, for the report.", metavar="TEXT")
    ] = "",
    category: Category = "person",
    rules: RuleSet = "",
    area: Area = None,
    detection_area: DetectionArea = "coco",
    max_detections: MaxDetections = 20,
    unknown_images: UnknownImages = "error",
    keypoint_stride: Annotated[int, typer.Option(help="Numbers a keypoint in the results: 3, or 2 for x, y.")] = 3,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Judge keypoint results: COCO's ten numbers with intervals, what costs most, and a report to look at.

    Equal to pycocotools in every bit; broken input is refused with its record. Leaves with 8 when a limit is not met.
    """
    log_to_stderr(quiet=quiet, verbose=verbose)
    if fail_if_worse_than is not None and baseline is not None and fail_if_worse_than != baseline:
        raise typer.BadParameter("--fail-if-worse-than and --baseline name two files; one can be compared with")
    if fail_if_worse_than is not None and not replicates:
        raise typer.BadParameter("--fail-if-worse-than tells chance by draws: --replicates 1000")
    if keypoint_stride not in (2, 3):
        raise typer.BadParameter("--keypoint-stride is 2 or 3")
    stride: Literal[2, 3] = 2 if keypoint_stride == 2 else 3

    from pipelines import evaluate as pipeline
    from pose_data.report.gates import check_gates, parse_limits

    least = parse_limits(fail_under or [])
    truth = pipeline.TruthSource(
        annotations=annotations, data=data, split=split, category=category, rules=rules, area=area
    )
    with listen(json=json, quiet=quiet) as on_event:
        found = pipeline.evaluate(
            results, truth, images=images, report=report, baseline=baseline or fail_if_worse_than, quick=quick,
            replicates=replicates, seed=seed, cases=cases, boxes_from=boxes_from, unknown_images=unknown_images,
            keypoint_stride=stride, max_detections=max_detections, detection_area=detection_area, on_event=on_event,
        )  # fmt: skip
    if json:
        write_json({"event": "report", **to_plain(found)})
    else:
        _show(found)
    check_gates(found.numbers, least, found.differences, found.baseline if fail_if_worse_than is not None else "")
    return 0


def _show(report: "EvaluateReport") -> None:
    """Print the ten numbers, what costs most, and what was noticed."""
    print_line(
        f"{report.results} against {report.truth}: {report.detections:,} detections, {report.persons:,} counted "
        f"persons in {report.pictures:,} pictures"
    )
    headers = ["", "value", "95 % interval"] if report.intervals else ["", "value"]
    if report.differences:
        headers += [f"minus {report.baseline}", "95 %, paired"]
    print_table(headers, [_row(report, name) for name in report.numbers])
    if report.gains:
        print_line()
        print_table(
            ["AP without", "AP", "gain"],
            [
                [gain.meaning, f"{gain.alone:.4f}", f"{gain.gain:+.4f}"]
                for gain in sorted(report.gains, key=lambda gain: -gain.gain)
            ],
        )
    if report.parts:
        print_line()
        print_table(
            ["part", *report.numbers],
            [[part, *(f"{value:.4f}" for value in numbers.values())] for part, numbers in report.parts.items()],
        )
    for rule in report.rules:
        print_line(rule)
    for warning in report.warnings:
        print_line(f"warning: {warning}")
    if report.files is not None:
        print_line(f"report: {report.files.page}")


def _row(report: "EvaluateReport", name: str) -> list[str]:
    row = [name, f"{report.numbers[name]:.4f}"]
    if report.intervals:
        interval = report.intervals[name]
        row.append(f"{interval.low:.4f} to {interval.high:.4f}")
    if report.differences:
        change = report.differences[name]
        row += [f"{change.value:+.4f}", f"{change.low:+.4f} to {change.high:+.4f}"]
    return row
