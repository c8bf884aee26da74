"""Every command, in one table: what runs, the library function of the same name, and examples for ``--help``."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from cli.commands.check import check
from cli.commands.doctor import doctor
from cli.commands.info import info
from cli.commands.prepare import prepare
from cli.commands.problems import problems
from cli.commands.sample import sample
from cli.commands.unlock import unlock
from cli.commands.verify import verify

__all__ = ["COMMANDS", "Command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command; ``function`` is the dotted name of the library function that does the same."""

    handler: Callable[..., Any]
    function: str
    examples: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the command's name: that of its handler."""
        return self.handler.__name__

    @property
    def epilog(self) -> str:
        """Return the examples as the end of the command's help: Typer wants blank lines between them."""
        return "\n\n".join(["Examples:", *(f"  {example}" for example in self.examples)])


COMMANDS: tuple[Command, ...] = (
    Command(
        handler=sample,
        function="pose_data.sample.generate_sample",
        examples=("posedata sample demo/coco", "posedata sample big --pictures 2000 --seed 7"),
    ),
    Command(
        handler=check,
        function="pipelines.check.check",
        examples=("posedata check coco", "posedata check coco --root data/coco --split val2017 --json"),
    ),
    Command(
        handler=prepare,
        function="pipelines.prepare.prepare",
        examples=(
            "posedata prepare coco --out crops.zarr",
            "posedata prepare coco --root data/coco --out crops.zarr --recipe coco-384x288 --dry-run",
            "posedata prepare coco --annotations a.json --images pictures --out crops.zarr --config options.toml",
        ),
    ),
    Command(
        handler=verify,
        function="pipelines.verify.verify",
        examples=("posedata verify crops.zarr", "posedata verify crops.zarr --full --sheet sheet.png"),
    ),
    Command(
        handler=info,
        function="pose_data.info.info",
        examples=("posedata info crops.zarr", "posedata info crops.zarr --json"),
    ),
    Command(
        handler=problems,
        function="pose_data.problems.problems",
        examples=(
            "posedata problems crops.zarr",
            "posedata problems crops.zarr --split val2017 --code img-truncated",
            "posedata problems crops.zarr --csv > problems.csv",
        ),
    ),
    Command(handler=doctor, function="pose_data.doctor.doctor", examples=("posedata doctor",)),
    Command(
        handler=unlock,
        function="pose_data.unlock.unlock",
        examples=("posedata unlock crops.zarr", "posedata unlock crops.zarr --force"),
    ),
)
