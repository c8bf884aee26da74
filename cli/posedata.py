"""The program ``posedata``."""

import os

from cli.commands.table import COMMANDS
from cli.program import build_app, run_program

__all__ = ["app", "main"]

app = build_app(
    "posedata",
    "Keypoint data sets for training pose networks: prepare, verify, look, read.",
    (
        "posedata sample demo/coco",
        "posedata prepare coco --root demo/coco --out crops.zarr",
        "posedata verify crops.zarr --full --sheet sheet.png",
    ),
    COMMANDS,
)


def main(arguments: list[str] | None = None) -> None:
    """Run the program and leave the process with its exit code; no exception gets out."""
    # Arrow's own allocators keep some 20 MB that nothing gives back; it looks at this when it is loaded.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    run_program(app, "posedata", arguments)


if __name__ == "__main__":
    main()
