"""How fast is each network, and how much memory does it take? For inference and training, beside its published AP.

    python benchmarks/networks.py --families simplebaseline rtmpose vitpose
    python benchmarks/networks.py --networks hrnet-w32-256x192 --device cuda --batch-size 256 --amp bf16

For each network, in a process of its own (not on a GPU): samples/s of the forward pass alone in eval mode, without
gradients, and of whole training steps (forward, the recipe's loss, backward, Adam), on random pixels of the network's
input size, so that reading and augmentation play no part; the median of several rounds. Memory is the process's
greatest resident size less what it had before the network was made (with CUDA, torch's greatest allocation). On a GPU
pictures and weights lie channels last; with small batches the processor is what is measured there. Outputs are checked
for shape and finiteness; nothing here says how right a network is.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from machine import describe_machine
from torch import Tensor

from pose_models.devices import autocast
from pose_models.losses import SCENE_LOSSES, find_loss
from pose_models.networks.catalogue import NETWORKS, Network, find_network
from pose_models.train_config import default_config

_CALLS_ON_GPU = 3
"""Between two looks at the clock."""
_COLUMNS = ("network", "parameters", "GMAC", "AP", "inference, samples/s", "MB", "training, samples/s", "MB")


def main() -> None:
    """Measure the networks that were asked for, and print a table."""
    options = _options().parse_args()
    if options.alone:
        print(json.dumps(measure(find_network(options.alone), options)))
        return
    print(describe_machine())
    print(f"{options.device}, {options.amp}, batches of {options.batch_size}, {options.threads} threads\n")
    print("| " + " | ".join(_COLUMNS) + " |\n|" + " --- |" * len(_COLUMNS), flush=True)
    find = _in_own_process if options.device == "cpu" else _here
    for network in _chosen(options):
        print(_row(network, find(network, options)), flush=True)


def _options() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="*", default=[])
    parser.add_argument("--families", nargs="*", default=[])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--amp", choices=("off", "bf16", "fp16"), default="off")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-training", action="store_true")
    parser.add_argument("--alone", help=argparse.SUPPRESS)
    return parser


def _chosen(options: argparse.Namespace) -> list[Network]:
    chosen = [find_network(name) for name in options.networks]
    chosen += [network for network in NETWORKS.values() if network.family in options.families]
    return chosen or list(NETWORKS.values())


def _in_own_process(network: Network, options: argparse.Namespace) -> dict[str, float]:
    given = [
        f"--{name.replace('_', '-')}={getattr(options, name)}"
        for name in ("device", "amp", "batch_size", "threads", "rounds")
    ]
    flags = ["--no-training"] if options.no_training else []
    done = subprocess.run(
        [sys.executable, __file__, f"--alone={network.name}", *given, *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        print(f"{network.name}: {last[0]}", file=sys.stderr)
        return {}
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _here(network: Network, options: argparse.Namespace) -> dict[str, float]:
    """Return what this process measures, on a GPU, whose memory torch counts; an error is told and passed over."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    try:
        return measure(network, options)
    except RuntimeError as error:
        print(f"{network.name}: {str(error).splitlines()[0]}", file=sys.stderr)
        return {}


def measure(network: Network, options: argparse.Namespace) -> dict[str, float]:
    """Return samples/s and megabytes of one network, inference first, in this process."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    device = torch.device(options.device)
    on_gpu, before_mb = device.type == "cuda", _resident_mb()
    layout = torch.channels_last if on_gpu else torch.contiguous_format
    with device:
        module = network.build(network.keypoints).to(memory_format=layout).eval()
        pictures = torch.randn(options.batch_size, 3, network.input_height_px, network.input_width_px)
    pictures = pictures.to(memory_format=layout)

    def infer() -> Any:
        with torch.inference_mode(), autocast(device, options.amp):
            return module(pictures)

    _check(network, infer(), options.batch_size)
    found = {"inference": _rate(infer, device, options), "inference_mb": _peak_mb(device, before_mb)}
    if options.no_training:
        return found
    step = _training_step(network, module.train(), pictures, options)
    return {**found, "training": _rate(step, device, options), "training_mb": _peak_mb(device, before_mb)}


def _training_step(
    network: Network, module: torch.nn.Module, pictures: Tensor, options: argparse.Namespace
) -> Callable[[], None]:
    count, cells = len(pictures), (network.map_height, network.map_width)
    targets: Any
    weights = torch.ones(count, network.keypoints, device=pictures.device)
    scenes = network.output == "maps-and-fields"
    loss: Any = SCENE_LOSSES["staged-l2"] if scenes else find_loss(default_config(network.name).loss)
    if scenes:
        with torch.inference_mode():
            last = module.eval()(pictures[:1])[-1]
        module.train()
        targets = tuple(torch.zeros(count, *part.shape[1:], device=pictures.device) for part in last)
        weights = torch.ones(count, *cells, device=pictures.device)
    elif network.output == "simcc":
        bins = (network.map_width, network.map_height)
        targets = tuple(torch.full((count, network.keypoints, n), 1 / n, device=pictures.device) for n in bins)
    else:
        channels = network.keypoints * (3 if network.output == "offset-maps" else 1)
        targets = torch.zeros(count, channels, *cells, device=pictures.device)
    trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimiser = torch.optim.Adam(trained, lr=1e-5, fused=pictures.is_cuda or None)

    def step() -> None:
        with autocast(pictures.device, options.amp):
            value = loss(module(pictures), targets, weights)
        value.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)

    return step


def _rate(work: Callable[[], Any], device: torch.device, options: argparse.Namespace) -> float:
    times_s = []
    calls = _CALLS_ON_GPU if device.type == "cuda" else 1
    for _ in range(options.rounds + 1):
        began_s = time.perf_counter()
        for _ in range(calls):
            work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times_s.append((time.perf_counter() - began_s) / calls)
    # The first one warms up.
    return float(options.batch_size / statistics.median(times_s[1:]))


def _check(network: Network, output: Any, count: int) -> None:
    parts = [output] if isinstance(output, Tensor) else list(output)
    last = parts[-1] if isinstance(parts[-1], Tensor) else parts[-1][0]
    if len(last) != count or not bool(last.isfinite().all()):
        raise SystemExit(f"{network.name}: the output is of {tuple(last.shape)} or not finite")


def _resident_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _peak_mb(device: torch.device, before_mb: float) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return _resident_mb() - before_mb


def _row(network: Network, found: dict[str, float]) -> str:
    def number(name: str, digits: int = 0) -> str:
        return f"{found[name]:,.{digits}f}" if name in found else ""

    ap = "" if network.published_ap is None else str(network.published_ap)
    cells = [
        f"`{network.name}`", f"{network.parameters:,}", str(network.gmac), ap, number("inference", 1),
        number("inference_mb"), number("training", 1), number("training_mb"),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
