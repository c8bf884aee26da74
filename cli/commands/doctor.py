"""``posedata doctor``."""

import sys

from cli.console import console_of, log_to_stderr, print_next, to_plain, write_json
from cli.options import Json, Quiet, Verbose
from cli.text import printable

__all__ = ["doctor"]

_COLOURS = {"good": "green", "warning": "yellow", "bad": "red"}
_UNHEALTHY = 6


def doctor(json: Json = False, quiet: Quiet = False, verbose: Verbose = 0) -> int:
    """Look at this computer: versions, decoder and its speed, cores, memory, disk, GPU, limits."""
    from pose_data.doctor import doctor as examine

    log_to_stderr(quiet=quiet, verbose=verbose)
    report = examine()
    if json:
        write_json({"event": "report", "healthy": report.healthy, **to_plain(report)})
        return 0 if report.healthy else _UNHEALTHY
    from rich.text import Text

    console = console_of(sys.stdout)
    width = max(len(seen.name) for seen in report.observations)
    for seen in report.observations:
        # The word stands there, too: colours alone do not reach everybody, nor a file.
        line = Text(f"{seen.level:<7}", style=_COLOURS[seen.level])
        line.append(f"  {printable(seen.name):<{width}}  {printable(seen.value)}", style="default")
        if seen.advice:
            line.append(f" ({printable(seen.advice)})", style="bold")
        console.print(line, soft_wrap=True)
    print_next("posedata", "sample", "demo/coco", quiet=quiet)
    return 0 if report.healthy else _UNHEALTHY
