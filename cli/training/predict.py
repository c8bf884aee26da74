"""``posetrain predict``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.console import log_to_stderr, print_facts, print_line, time_text, to_plain, write_json
from cli.options import Json, Quiet, Verbose
from cli.progress import listen
from cli.training.options import Device

if TYPE_CHECKING:
    from pose_models.predict import PredictReport

__all__ = ["predict"]

_PEOPLE_PANEL = "Where persons are looked for"
_RESULT_PANEL = "What is written"
_RUN_PANEL = "How it runs"


def predict(
    run: Annotated[
        Path, typer.Argument(help="The folder of a run, or a file of posetrain export --format onnx.", metavar="RUN")
    ],
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Pictures, folders, patterns, videos; or one camera's number; or one stream's address.",
            metavar="INPUT...",
        ),
    ],
    *,
    out: Annotated[Path, typer.Option(help="The folder of the results.", metavar="DIR")],
    boxes: Annotated[
        str,
        typer.Option(
            help="whole: one person a picture; or a detector's boxes, a COCO detections file.",
            metavar="whole|FILE.json",
            rich_help_panel=_PEOPLE_PANEL,
        ),
    ] = "whole",
    detector: Annotated[
        Path | None,
        typer.Option(
            help="A detector in ONNX: YOLOX, YOLOv8, RT-DETR or SSD.",
            metavar="FILE.onnx",
            rich_help_panel=_PEOPLE_PANEL,
        ),
    ] = None,
    person_class: Annotated[
        int | None,
        typer.Option(
            help="The detector's class of persons, from 0; COCO's unless given.",
            min=0,
            metavar="N",
            rich_help_panel=_PEOPLE_PANEL,
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(
            help="A COCO file whose images say which image_id a picture has.",
            metavar="FILE.json",
            rich_help_panel=_PEOPLE_PANEL,
        ),
    ] = None,
    least_box_score: Annotated[
        float | None,
        typer.Option(
            help="Boxes with lower scores are not looked at; a detector's below 0.3 unless given.",
            rich_help_panel=_PEOPLE_PANEL,
        ),
    ] = None,
    nms_threshold: Annotated[
        float,
        typer.Option(help="OKS above which a person is dropped for a better one.", rich_help_panel=_PEOPLE_PANEL),
    ] = 0.9,
    least_keypoint_score: Annotated[
        float | None,
        typer.Option(
            help="Keypoints with lower scores count for nothing and are not drawn in full; the network's own.",
            rich_help_panel=_PEOPLE_PANEL,
        ),
    ] = None,
    save: Annotated[
        str,
        typer.Option(
            help="What to write: json, csv, parquet, drawn; with commas between.",
            metavar="LIST",
            rich_help_panel=_RESULT_PANEL,
        ),
    ] = "json,csv,drawn",
    track: Annotated[
        bool,
        typer.Option("--track/--no-track", help="Follow persons through videos.", rich_help_panel=_RESULT_PANEL),
    ] = True,
    smooth: Annotated[
        bool,
        typer.Option(
            "--smooth/--no-smooth", help="Smooth the keypoints of followed persons.", rich_help_panel=_RESULT_PANEL
        ),
    ] = True,
    show: Annotated[
        bool,
        typer.Option(
            "--show",
            help="Show the live picture: in a window, or on a page for this computer only.",
            rich_help_panel=_RESULT_PANEL,
        ),
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace earlier results.", rich_help_panel=_RESULT_PANEL)
    ] = False,
    checkpoint: Annotated[
        Literal["best", "last"], typer.Option(help="Which checkpoint.", rich_help_panel=_RUN_PANEL)
    ] = "best",
    flip_test: Annotated[
        bool,
        typer.Option(
            "--flip-test/--no-flip-test",
            help="Average with the mirrored crop's output: half as fast, a little better.",
            rich_help_panel=_RUN_PANEL,
        ),
    ] = False,
    exif: Annotated[
        Literal["auto", "apply", "ignore"],
        typer.Option(
            help="EXIF orientation; auto turns pictures unless boxes come from a file.", rich_help_panel=_RUN_PANEL
        ),
    ] = "auto",
    max_pixels: Annotated[
        int, typer.Option(help="Larger pictures are not decoded.", min=1, rich_help_panel=_RUN_PANEL)
    ] = 200_000_000,
    max_frames: Annotated[
        int | None, typer.Option(help="Stop after so many frames.", min=1, rich_help_panel=_RUN_PANEL)
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Crops at a time.", min=1, rich_help_panel=_RUN_PANEL)] = 32,
    device: Device = "auto",
    amp: Annotated[
        Literal["off", "bf16", "fp16"],
        typer.Option(help="PyTorch's precision; bf16 pays on a GPU.", rich_help_panel=_RUN_PANEL),
    ] = "off",
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Find the keypoints of persons in pictures, videos, a camera or a stream; write them to files, and drawn."""
    log_to_stderr(quiet=quiet, verbose=verbose)
    kinds = tuple(kind.strip() for kind in save.split(",") if kind.strip())

    from pose_models import predict as prediction

    with listen(json=json, quiet=quiet) as on_event:
        report = prediction.predict(
            run, inputs, out=out, boxes=boxes, detector=detector, person_class=person_class, annotations=annotations,
            save=kinds, track=track, smooth=smooth, flip_test=flip_test, checkpoint=checkpoint,
            least_box_score=least_box_score, least_keypoint_score=least_keypoint_score, nms_threshold=nms_threshold,
            exif=exif, max_pixels=max_pixels, max_frames=max_frames, batch_size=batch_size, device=device,
            amp=amp, overwrite=overwrite, show=show, on_event=on_event,
        )  # fmt: skip
    if json:
        write_json({"event": "report", **to_plain(report)})
        return 0
    _show(report)
    return 0


def _show(report: "PredictReport") -> None:
    latency = report.latency_ms
    facts: list[tuple[str, object]] = [
        ("network", f"{report.network}, boxes: {report.boxes}"),
        ("found", f"{report.persons:,} persons in {report.frames:,} frames"),
        ("speed", f"{report.frames_per_s:,.1f} frames/s, {time_text(report.seconds)}"),
        ("latency", f"{latency['p50']:.0f} ms (95 %: {latency['p95']:.0f}, 99 %: {latency['p99']:.0f})"),
    ]
    if report.tracks:
        facts.append(("followed", f"{report.tracks:,} persons"))
    if report.dropped:
        facts.append(("passed over", f"{report.dropped:,} frames, for newer ones"))
    facts += [("not read", f"{count:,} [{code}]") for code, count in report.problems.items()]
    facts += [("written", str(path)) for path in report.files]
    if report.drawn:
        facts.append(("drawn", f"{report.out / 'drawn'}: {report.drawn:,} pictures and videos"))
    print_facts(facts)
    if report.problems:
        print_line("frames.csv names what could not be read")
