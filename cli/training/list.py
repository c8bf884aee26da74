"""``posetrain list``."""

from typing import Annotated

import typer

from cli.console import log_to_stderr, print_next, print_table, to_plain, write_json
from cli.options import Json, Quiet, Verbose

__all__ = ["list_networks"]


def list_networks(
    family: Annotated[str | None, typer.Option(help="Only networks of this family.", metavar="NAME")] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """List every network with its size, published AP and source."""
    log_to_stderr(quiet=quiet, verbose=verbose)

    from pose_models import network_list

    rows = network_list.list_networks(family)
    if json:
        for row in rows:
            write_json({"event": "network", **to_plain(row)})
        return 0
    print_table(
        ["network", "input", "parameters", "GMAC", "MSRA G", "AP", "source"],
        [
            [
                row.name, f"{row.input_height_px}x{row.input_width_px}", f"{row.parameters / 1e6:.2f} M",
                f"{row.gmac:.2f}", f"{row.msra_g:.2f}", "" if row.published_ap is None else f"{row.published_ap:.1f}",
                row.source,
            ]
            for row in rows
        ],
    )  # fmt: skip
    print_next("posetrain", "config", rows[0].name if rows else "NETWORK", quiet=quiet)
    return 0
