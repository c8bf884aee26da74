"""``posedata sample``."""

from pathlib import Path
from typing import Annotated

import typer

from cli.console import log_to_stderr, print_line, print_next, to_plain, write_json
from cli.options import Json, Quiet, Verbose, Workers
from cli.progress import listen
from pose_data.events import Event

__all__ = ["sample"]


def sample(
    out: Annotated[Path, typer.Argument(help="Folder to write; it must not exist yet, or be empty.", metavar="OUT")],
    pictures: Annotated[int, typer.Option(help="Number of pictures.", min=1)] = 200,
    seed: Annotated[int, typer.Option(help="The same seed draws the same pictures.", min=0)] = 0,
    val_share: Annotated[float, typer.Option(help="Share of the pictures that go to the split val.")] = 0.25,
    workers: Workers = 2,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be drawn; write nothing.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Draw a data set in COCO's format: persons with exact keypoints, boxes and masks. Nothing is downloaded."""
    from pose_data.sample import generate_sample

    log_to_stderr(quiet=quiet, verbose=verbose)
    with listen(json=json, quiet=quiet) as on_event:
        what = "planning" if dry_run else "drawing"
        on_event(Event(kind="stage", stage="sample", text=f"{what} {pictures:,} pictures"))
        summary = generate_sample(
            out, pictures=pictures, seed=seed, val_share=val_share, workers=workers, dry_run=dry_run,
            progress=lambda done, total: on_event(Event(kind="progress", stage="sample", done=done, total=total)),
        )  # fmt: skip
    if json:
        write_json({"event": "report", **to_plain(summary)})
        return 0
    if dry_run:
        print_line(
            f"would draw {summary.pictures:,} pictures with up to {summary.persons:,} persons, splits "
            f"{', '.join(summary.splits)}: {summary.out}; nothing was written"
        )
        return 0
    print_line(
        f"{summary.pictures:,} pictures with {summary.persons:,} persons ({summary.labelled_persons:,} with "
        f"keypoints), splits {', '.join(summary.splits)}: {summary.out}"
    )
    print_next("posedata", "prepare", "coco", "--root", out, "--out", "crops.zarr", quiet=quiet)
    return 0
