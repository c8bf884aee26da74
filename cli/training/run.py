"""``posetrain run``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import log_to_stderr, print_facts, print_line, print_next, time_text, to_plain, write_json
from cli.options import Json, Quiet, Verbose
from cli.progress import listen
from cli.training.options import Data, Device, NetworkName, Threads
from pose_data.errors import UsageError
from pose_data.toml_file import read_toml

if TYPE_CHECKING:
    from pose_models.train import RunReport

__all__ = ["run"]


def run(
    network: NetworkName,
    *,
    data: Data,
    out: Annotated[Path, typer.Option(help="The run's folder: checkpoints, log, pictures.", metavar="RUN")],
    config: Annotated[
        Path | None,
        typer.Option(help="Options from a TOML file, such as posetrain config prints.", metavar="FILE.toml"),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="How long to train.", min=1)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Samples a step on each device.", min=1)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="The base learning rate.", min=0.0)] = None,
    seed: Annotated[int | None, typer.Option(help="Of order, augmentation and first weights.", min=0)] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other field of the configuration; may be repeated.", metavar="NAME=VALUE"),
    ] = None,
    device: Device = "auto",
    threads: Threads = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run was left, with its options.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Begin the run again.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Train a network on a store; --resume goes on with a run that was stopped, with the very same losses."""
    log_to_stderr(quiet=quiet, verbose=verbose)
    given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "seed": seed}
    flags = {name: value for name, value in given.items() if value is not None}

    from pose_models import train
    from pose_models.train_config import option_name

    options: dict[str, Any] = {}
    for values in (read_toml(config) if config else {}, flags, _pairs(set_ or []), {"network": network}):
        options |= {option_name(name): value for name, value in values.items()}
    with listen(json=json, quiet=quiet) as on_event:
        report = train.run(
            data=data, out=out, device=device, threads=threads, resume=resume, overwrite=overwrite, on_event=on_event,
            **options,
        )  # fmt: skip
    if json:
        plain = {name: value for name, value in to_plain(report).items() if name != "losses"}
        write_json({"event": "report", **plain})
        return 0
    _show(report)
    print_next("posetrain", "evaluate", out, "--data", data, quiet=quiet)
    return 0


def _pairs(texts: list[str]) -> dict[str, Any]:
    pairs = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not separator or not name:
            raise UsageError("option-value", f"--set {text!r} is not NAME=VALUE", hint="--set clip_norm=1")
        pairs[name.strip()] = value.strip()
    return pairs


def _show(report: "RunReport") -> None:
    numbers = report.numbers
    print_facts(
        [
            ("network", report.network),
            ("epochs", f"{report.epochs}, {report.steps:,} steps in {time_text(report.seconds)}"),
            ("speed", f"{report.samples_per_s:,.0f} samples/s, {report.wait_share:.1%} of the time waiting for data"),
            ("AP", f"{numbers['AP']:.4f} (AP50 {numbers['AP50']:.4f}, AP75 {numbers['AP75']:.4f})"),
            ("boxes", report.boxes),
            ("best", f"AP {report.best_ap:.4f} at step {report.best_step:,}"),
        ]
    )
    print_line(f"{report.out}: checkpoints, log.jsonl, pictures")
    if report.page is not None:
        print_line(f"report: {report.page}")
