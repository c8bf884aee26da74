"""``posetrain bench``."""

from typing import Annotated, Literal

import typer

from cli.console import log_to_stderr, print_line, print_table, say, to_plain, write_json
from cli.options import Json, Quiet, Verbose
from cli.progress import listen
from cli.training.options import Device
from pose_data.errors import UsageError

__all__ = ["bench"]


def bench(
    run: Annotated[
        str,
        typer.Argument(
            help="A run's folder, a name of posetrain list (random weights), or an exported .onnx file.", metavar="RUN"
        ),
    ],
    *,
    backends: Annotated[
        str, typer.Option(help="Of eager, compiled, onnxruntime; with commas between.", metavar="LIST")
    ] = "eager,compiled,onnxruntime",
    batch_sizes: Annotated[str, typer.Option(help="Crops a call; with commas between.", metavar="LIST")] = "1,8,32",
    seconds: Annotated[float, typer.Option(help="For each backend and batch size.", min=0.0)] = 2.0,
    threads: Annotated[
        int | None, typer.Option(help="Computing threads; as the libraries choose unless given.", min=1, metavar="N")
    ] = None,
    amp: Annotated[Literal["off", "bf16", "fp16"], typer.Option(help="PyTorch's precision.")] = "off",
    flip_test: Annotated[
        bool, typer.Option("--flip-test/--no-flip-test", help="Average with the mirrored crop's output.")
    ] = False,
    device: Device = "auto",
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Measure a network's latency and throughput here, from crops in memory to keypoints, decoding included.

    Of a network of whole pictures: from pictures to maps and fields; who is in a picture decides how long grouping
    takes.
    """
    log_to_stderr(quiet=quiet, verbose=verbose)
    sizes = _sizes(batch_sizes)
    names = tuple(name.strip() for name in backends.split(",") if name.strip())

    from pose_models import bench as benchmark

    with listen(json=json, quiet=quiet) as on_event:
        report = benchmark.bench(
            run, backends=names, batch_sizes=sizes, seconds=seconds, threads=threads, amp=amp, flip_test=flip_test,
            device=device, on_event=on_event,
        )  # fmt: skip
    if json:
        write_json({"event": "report", **to_plain(report)})
        return 0
    print_line(
        f"{report.network} on {report.device}, {report.threads} threads, flip test "
        f"{'on' if report.flip_test else 'off'}, {report.looks_at} of {report.size_wh[0]} x {report.size_wh[1]}"
    )
    print_table(
        ["backend", "batch", "latency ms", "95 % ms", f"{report.looks_at}/s"],
        [
            [row.backend, row.batch_size, f"{row.latency_ms:.2f}", f"{row.latency_ms_95:.2f}", row.per_s]
            for row in report.rows
        ],
    )
    for name, reason in report.left_out.items():
        say(f"{name} was left out: {reason}", quiet=quiet)
    return 0


def _sizes(text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts or not all(part.isascii() and part.isdigit() for part in parts):
        raise UsageError("option-value", f"--batch-sizes {text!r} are not whole numbers", hint="--batch-sizes 1,8,32")
    return tuple(int(part) for part in parts)
