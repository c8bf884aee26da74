"""``posedata prepare``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.console import (
    log_to_stderr,
    print_line,
    print_next,
    print_problems,
    print_table,
    say,
    size_text,
    time_text,
    to_plain,
    write_json,
)
from cli.options import (
    RUN_PANEL,
    AllowOutside,
    Annotations,
    Config,
    ForbidLeak,
    Format,
    Images,
    Json,
    MaxAnnotationBytes,
    MaxBad,
    PictureTimeout,
    Quiet,
    Root,
    SplitNames,
    Strict,
    Verbose,
    Workers,
    bad_share,
    check_format,
    parse_bytes,
)
from cli.progress import listen
from cli.recipe_options import takes_recipe
from pose_data.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.prepare import PrepareReport, SplitReport

__all__ = ["prepare"]


@takes_recipe
def prepare(
    format: Format,
    *,
    out: Annotated[Path, typer.Option(help="The store to make, or to continue.", metavar="STORE")],
    root: Root = None,
    split: SplitNames = None,
    annotations: Annotations = None,
    images: Images = None,
    recipe: Recipe,
    max_bad: MaxBad = None,
    strict: Strict = False,
    allow_outside: AllowOutside = False,
    forbid_leak: ForbidLeak = False,
    max_annotation_bytes: MaxAnnotationBytes = None,
    picture_timeout: PictureTimeout = None,
    workers: Workers = 2,
    scheduler: Annotated[
        str,
        typer.Option(
            help="auto, sync, threads, local (a cluster of processes), or a Dask scheduler's address such as "
            "tcp://host:8786.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = "auto",
    memory: Annotated[
        int | None,
        typer.Option(
            help="Refuse to start when more would be needed, such as 2G; also each local worker's limit. Default 1G.",
            parser=parse_bytes,
            metavar="SIZE",
            rich_help_panel=RUN_PANEL,
        ),
    ] = None,
    cluster_timeout: Annotated[
        float | None,
        typer.Option(
            help="How long to wait for a cluster. Default 30.", min=0.1, metavar="SECONDS", rich_help_panel=RUN_PANEL
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option("--overwrite", help="Replace these splits of a store of ours.", rich_help_panel=RUN_PANEL),
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Say counts, sizes, time, memory and first problems; write nothing.",
            rich_help_panel=RUN_PANEL,
        ),
    ] = False,
    config: Config = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Make a store of crops and maps from a data set, or continue one: the same command finishes what was stopped."""
    check_format(format)
    given: dict[str, Any] = {
        "max_bad": bad_share(max_bad, strict),
        "max_annotation_bytes": max_annotation_bytes,
        "picture_timeout_s": picture_timeout,
        "memory_bytes": memory,
        "cluster_timeout_s": cluster_timeout,
    }
    log_to_stderr(quiet=quiet, verbose=verbose)

    from pipelines import prepare as pipeline

    with listen(json=json, quiet=quiet) as on_event:
        report = pipeline.prepare(
            out, root=root, splits=tuple(split or ()), annotations=annotations, images=images, recipe=recipe,
            workers=workers, scheduler=scheduler, allow_outside=allow_outside, forbid_leak=forbid_leak,
            overwrite=overwrite, dry_run=dry_run, on_event=on_event,
            **{name: value for name, value in given.items() if value is not None},
        )  # fmt: skip
    if json:
        write_json({"event": "report", **to_plain(report)})
        return 0
    _show(report)
    if dry_run:
        again = [part for part in sys.argv[1:] if part != "--dry-run"]
        say("nothing was written", quiet=quiet)
        print_next("posedata", *again, quiet=quiet)
    else:
        print_next("posedata", "verify", out, quiet=quiet)
    return 0


def _show(report: "PrepareReport") -> None:
    about = "about " if report.dry_run else ""
    print_table(
        ["split", "annotations", "kept", "rejected", "pictures", "shards", "size", "time", ""],
        [
            [
                part.split, part.annotations, part.kept, part.rejected, part.pictures, part.shards,
                about + size_text(part.size_bytes), about + time_text(part.seconds), _remark(part),
            ]
            for part in report.splits
        ],
    )  # fmt: skip
    print_line()
    for part in report.splits:
        examples = {**dict(part.examples), **({} if report.dry_run else _examples(report.out, part))}
        print_problems(part.codes, examples, title=f"{part.split}: rejected")
        print_problems(part.notes, examples, title=f"{part.split}: kept, with a note")
    if report.dry_run:
        print_line(
            f"planned memory {size_text(report.planned_memory_bytes)} with {report.workers} workers, "
            f"scheduler {report.scheduler}"
        )
    else:
        print_line(f"{report.out}: finished in {time_text(report.seconds)}, scheduler {report.scheduler}")


def _remark(part: "SplitReport") -> str:
    if part.already_finished:
        return "was finished before"
    remarks = [f"{part.shards_kept} shards of an earlier run"] if part.shards_kept else []
    remarks += [f"{part.retries} retries"] if part.retries else []
    return ", ".join(remarks)


def _examples(store: Path, part: "SplitReport") -> dict[str, tuple[str, ...]]:
    """Return examples from the finished table: it has those that came up while shards were made, too."""
    if not part.codes and not part.notes:
        return {}
    from pose_data.problems import problem_examples

    return problem_examples(store, part.split)
