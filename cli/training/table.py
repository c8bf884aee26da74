"""Every command of ``posetrain``, in one table: what runs, the library function that does it, examples."""

from cli.command import Command
from cli.training.bench import bench
from cli.training.config import config
from cli.training.evaluate import evaluate
from cli.training.export import export
from cli.training.import_ import import_checkpoint
from cli.training.list import list_networks
from cli.training.predict import predict
from cli.training.run import run

__all__ = ["TRAINING_COMMANDS"]

TRAINING_COMMANDS: tuple[Command, ...] = (
    Command(
        handler=list_networks,
        title="list",
        function="pose_models.network_list.list_networks",
        examples=("posetrain list", "posetrain list --family hrnet --json"),
    ),
    Command(
        handler=config,
        function="pose_models.train_config.default_config",
        examples=("posetrain config small-128x96", "posetrain config hrnet-w32-256x192 > w32.toml"),
    ),
    Command(
        handler=run,
        function="pose_models.train.run",
        examples=(
            "posetrain run simplebaseline-r50-256x192 --data crops.zarr --out runs/r50",
            "posetrain run small-128x96 --data crops.zarr --out runs/small --epochs 30 --set amp=bf16",
            "posetrain run small-128x96 --data crops.zarr --out runs/small --resume",
            "torchrun --nproc-per-node 4 -m cli.posetrain run hrnet-w32-256x192 --data crops.zarr --out runs/w32",
        ),
    ),
    Command(
        handler=evaluate,
        function="pose_models.evaluate.evaluate",
        examples=(
            "posetrain evaluate runs/r50 --data crops.zarr",
            "posetrain evaluate runs/r50 --data crops.zarr --boxes detections.json --images val2017 --results r.json",
        ),
    ),
    Command(
        handler=import_checkpoint,
        title="import",
        function="pose_models.checkpoint_import.import_checkpoint",
        examples=(
            "posetrain import pose_hrnet_w32_256x192.pth --as hrnet-w32-256x192",
            "posetrain import td-hm_res50.pth --as simplebaseline-r50-256x192 --out runs/mmpose-r50 --dry-run",
        ),
    ),
    Command(
        handler=export,
        function="pose_models.export.export",
        examples=(
            "posetrain export runs/r50 --format onnx",
            "posetrain export runs/r50 --format onnx --precision int8 --data crops.zarr",
            "posetrain export runs/r50 --format mmpose",
            "posetrain export runs/r50 --format msra --out r50.pth",
        ),
    ),
    Command(
        handler=predict,
        function="pose_models.predict.predict",
        examples=(
            "posetrain predict runs/r50 photo.jpg --out found",
            "posetrain predict runs/r50 val2017 --boxes detections.json --save json --out found",
            "posetrain predict runs/r50 walk.mp4 --out found",
            "posetrain predict runs/r50 0 --max-frames 300 --out found",
        ),
    ),
    Command(
        handler=bench,
        function="pose_models.bench.bench",
        examples=(
            "posetrain bench runs/r50",
            "posetrain bench small-128x96 --batch-sizes 1 --threads 2",
            "posetrain bench r50-int8.onnx --backends onnxruntime --json",
        ),
    ),
)
