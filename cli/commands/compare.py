"""``posedata compare``."""

from pathlib import Path
from typing import Annotated

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

__all__ = ["compare"]


def compare(
    results: Annotated[
        list[Path], typer.Argument(help="Two or more files; the first is compared with.", metavar="A.json B.json …")
    ],
    annotations: Judged = None,
    data: JudgedStore = None,
    split: JudgedSplit = "",
    report: Annotated[
        Path | None, typer.Option(help="Write compare.html, compare.json and compare.md there.", metavar="OUT")
    ] = None,
    replicates: Replicates = 1000,
    seed: Annotated[int, typer.Option(help="Of the draws.", min=0)] = 0,
    category: Category = "person",
    rules: RuleSet = "",
    area: Area = None,
    detection_area: DetectionArea = "coco",
    max_detections: MaxDetections = 20,
    unknown_images: UnknownImages = "error",
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Compare results for the same pictures, on the same draws of them: what is a difference, and what is chance."""
    log_to_stderr(quiet=quiet, verbose=verbose)

    from pipelines import evaluate as pipeline

    truth = pipeline.TruthSource(
        annotations=annotations, data=data, split=split, category=category, rules=rules, area=area
    )
    with listen(json=json, quiet=quiet) as on_event:
        found = pipeline.compare(
            results, truth, report=report, replicates=replicates, seed=seed, unknown_images=unknown_images,
            max_detections=max_detections, detection_area=detection_area, on_event=on_event,
        )  # fmt: skip
    if json:
        write_json({"event": "report", **to_plain(found)})
        return 0
    print_line(f"against {found.truth}")
    names = list(found.runs[0].numbers)
    print_table(["", *(run.name for run in found.runs)], [
        [name, *(f"{run.numbers[name]:.4f}" for run in found.runs)] for name in names
    ])  # fmt: skip
    print_line()
    print_table([f"AP minus that of {found.runs[0].name}", "difference", "95 %, paired", "better in"], [
        [
            run.name, f"{run.against_first['AP'].value:+.4f}",
            f"{run.against_first['AP'].low:+.4f} to {run.against_first['AP'].high:+.4f}",
            f"{run.against_first['AP'].share_better:.1%}",
        ]
        for run in found.runs[1:]
    ])  # fmt: skip
    for run in found.runs:
        for warning in run.warnings:
            print_line(f"warning: {run.name}: {warning}")
    if found.page is not None:
        print_line(f"comparison: {found.page}")
    return 0
