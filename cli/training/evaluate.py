"""``posetrain evaluate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.console import log_to_stderr, print_line, print_table, to_plain, write_json
from cli.options import Json, Quiet, Verbose
from cli.progress import listen
from cli.training.options import Data, Device, FlipTest, RunFolder, Threads
from pose_data.errors import UsageError

if TYPE_CHECKING:
    from pose_models.evaluate import EvaluationReport

__all__ = ["evaluate"]


def evaluate(
    run: RunFolder,
    *,
    data: Data,
    split: Annotated[str, typer.Option(help="Which split; unless given the one that begins with val.")] = "",
    boxes: Annotated[
        str | None,
        typer.Option(
            help="In place of annotated boxes: a detector's (COCO detections), or whole: one person a picture.",
            metavar="FILE.json|whole",
        ),
    ] = None,
    detector: Annotated[
        Path | None, typer.Option(help="A detector in ONNX: YOLOX, YOLOv8, RT-DETR or SSD.", metavar="FILE.onnx")
    ] = None,
    person_class: Annotated[
        int | None,
        typer.Option(help="The detector's class of persons, from 0; COCO's unless given.", min=0, metavar="N"),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="The folder of the original pictures; with --boxes, --detector, --report, or for whole pictures.",
            metavar="FOLDER",
        ),
    ] = None,
    results: Annotated[Path | None, typer.Option(help="Write COCO results there.", metavar="FILE.json")] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Write report.html, report.json, persons.parquet and summary.md there.", metavar="OUT"),
    ] = None,
    checkpoint: Annotated[Literal["best", "last"], typer.Option(help="Which checkpoint.")] = "best",
    flip_test: FlipTest = True,
    nms_threshold: Annotated[
        float, typer.Option(help="OKS above which a detection is dropped for a better one; with --boxes.")
    ] = 0.9,
    least_keypoint_score: Annotated[
        float | None,
        typer.Option(
            help="Keypoints with lower scores do not count for a detection's score; else 0.2, with SimCC what its "
            "labels want."
        ),
    ] = None,
    grouping: Annotated[
        str,
        typer.Option(
            help="Of networks of whole pictures: published, subcell or joined; else that of the training.",
            metavar="NAME",
        ),
    ] = "",
    scales: Annotated[
        str,
        typer.Option(help="Of networks of whole pictures: mean over these sizes of the picture.", metavar="A,B,C"),
    ] = "1",
    batch_size: Annotated[int, typer.Option(help="Crops or pictures at a time.", min=1)] = 64,
    device: Device = "auto",
    threads: Threads = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Evaluate a run's network on a store: COCO's ten OKS numbers, and a results file when asked for."""
    log_to_stderr(quiet=quiet, verbose=verbose)

    from pose_models import evaluate as evaluation

    with listen(json=json, quiet=quiet) as on_event:
        found = evaluation.evaluate(
            run, data=data, split=split, boxes=boxes, detector=detector, person_class=person_class, images=images,
            results=results, report=report, checkpoint=checkpoint, flip_test=flip_test, nms_threshold=nms_threshold,
            least_keypoint_score=least_keypoint_score, grouping=grouping, scales=_numbers(scales),
            batch_size=batch_size, device=device, threads=threads, on_event=on_event,
        )  # fmt: skip
    if json:
        plain = {name: to_plain(getattr(found, name)) for name in _SHOWN}
        write_json({"event": "report", **plain})
        return 0
    _show(found)
    return 0


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        raise UsageError("option-value", f"--scales {text!r}", hint="such as 0.5,1,1.5") from None


_SHOWN = (
    "run", "network", "step", "split", "boxes", "persons", "detections", "flip_test", "decode", "numbers", "results",
    "page", "warnings",
)  # fmt: skip


def _show(report: "EvaluationReport") -> None:
    print_line(
        f"{report.network}, step {report.step:,}, on {report.split}: {report.detections:,} detections against "
        f"{report.persons:,} annotated persons, {report.boxes} boxes, decoding {report.decode}, "
        f"flip test {'on' if report.flip_test else 'off'}"
    )
    print_table(list(report.numbers), [[f"{value:.4f}" for value in report.numbers.values()]])
    for warning in report.warnings:
        print_line(f"note: {warning}")
    if report.results is not None:
        print_line(f"results: {report.results}")
    if report.page is not None:
        print_line(f"report: {report.page}")
