"""Every command, in one table: what runs, the library function of the same name, and examples for ``--help``."""

from cli.command import Command
from cli.commands.check import check
from cli.commands.compare import compare
from cli.commands.doctor import doctor
from cli.commands.evaluate import evaluate
from cli.commands.info import info
from cli.commands.prepare import prepare
from cli.commands.problems import problems
from cli.commands.sample import sample
from cli.commands.unlock import unlock
from cli.commands.verify import verify

__all__ = ["COMMANDS"]


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
    Command(
        handler=evaluate,
        function="pipelines.evaluate.evaluate",
        examples=(
            "posedata evaluate results.json --data crops.zarr --report report",
            "posedata evaluate results.json --annotations keypoints.json --images val2017 --report report",
            "posedata evaluate results.json --data crops.zarr --fail-under AP=0.70 --fail-if-worse-than before.json",
        ),
    ),
    Command(
        handler=compare,
        function="pipelines.evaluate.compare",
        examples=("posedata compare before.json after.json --data crops.zarr --report comparison",),
    ),
    Command(handler=doctor, function="pose_data.doctor.doctor", examples=("posedata doctor",)),
    Command(
        handler=unlock,
        function="pose_data.unlock.unlock",
        examples=("posedata unlock crops.zarr", "posedata unlock crops.zarr --force"),
    ),
)
