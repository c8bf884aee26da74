"""``posedata unlock``."""

from typing import Annotated

import typer

from cli.console import log_to_stderr, print_line, print_next, say, to_plain, write_json
from cli.options import Json, Quiet, Store, Verbose

__all__ = ["unlock"]


def unlock(
    store: Store,
    force: Annotated[
        bool, typer.Option("--force", help="Also when it cannot be seen from here whether the holder lives.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show whose lock it is.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Take away the lock that a dead process left on a store, after showing whose it is."""
    from pose_data.unlock import unlock as remove_lock

    log_to_stderr(quiet=quiet, verbose=verbose)
    holder = remove_lock(store, dry_run=True)
    if holder is not None:
        alive = holder.is_alive_here()
        state = "cannot be seen from here" if alive is None else "alive" if alive else "dead"
        say(f"lock of {holder.describe()}; that process: {state}")
    removed = remove_lock(store, force=force) if not dry_run else None
    if json:
        write_json({"event": "report", "holder": to_plain(holder), "removed": removed is not None})
        return 0
    if holder is None:
        print_line(f"{store}: no lock")
    else:
        print_line(f"{store}: " + ("the lock is still there" if dry_run else "the lock was removed"))
    if holder is not None and dry_run:
        print_next("posedata", "unlock", store, *(["--force"] if force else []), quiet=quiet)
    else:
        print_next("posedata", "info", store, quiet=quiet)
    return 0
