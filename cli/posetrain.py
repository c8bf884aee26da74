"""The program ``posetrain``."""

from cli.program import build_app, run_program
from cli.training.table import TRAINING_COMMANDS

__all__ = ["app", "main"]

app = build_app(
    "posetrain",
    "Pose networks: list, train from a store, evaluate, use.",
    (
        "posetrain list",
        "posetrain run small-128x96 --data crops.zarr --out runs/small",
        "posetrain evaluate runs/small --data crops.zarr",
    ),
    TRAINING_COMMANDS,
)


def main(arguments: list[str] | None = None) -> None:
    """Run the program and leave the process with its exit code; no exception gets out."""
    run_program(app, "posetrain", arguments)


if __name__ == "__main__":
    main()
