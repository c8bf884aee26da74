"""Options that several commands of ``posetrain`` have."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Data", "Device", "FlipTest", "NetworkName", "RunFolder", "Threads"]

NetworkName = Annotated[str, typer.Argument(help="A name of posetrain list.", metavar="NETWORK")]
RunFolder = Annotated[Path, typer.Argument(help="The folder that posetrain run made.", metavar="RUN")]
Data = Annotated[Path, typer.Option(help="The store, made by posedata prepare.", metavar="STORE")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N; under torchrun each process takes its own.")]
Threads = Annotated[
    int | None, typer.Option(help="Reading threads; as many as processors unless given.", min=1, metavar="N")
]
FlipTest = Annotated[
    bool, typer.Option("--flip-test/--no-flip-test", help="Average with the mirrored picture's output.")
]
