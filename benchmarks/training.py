r"""Does training wait for data? ``posetrain run`` against the very same steps fed from a batch that stays where it is.

    python benchmarks/training.py --networks small-128x96 simplebaseline-r50-256x192 hrnet-w32-256x192
    python benchmarks/training.py --device cuda --networks simplebaseline-r50-256x192 --batch-sizes 64 128 256 512 \
        --set amp=bf16 --set channels_last=true --steps 20 --rounds 3 --profile profile.txt

One run trains for many short epochs; of these every other one is read from the store as always, and those between get
one batch again and again, so both are interleaved and share network, augmentation, loss, update and log. The first
epoch of each kind warms up. Printed are samples/s of both, their ratio round by round, and the share of the time that
the training waited for data. Waiting begins anew with each epoch: the first batch is counted apart, since a real epoch
has thousands of steps to spread it over.

Data: a drawn sample, prepared for the network's input, or, with ``--coco``, the pictures of a COCO folder.
"""

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from corpus import multiply_coco
from machine import describe_machine

from pipelines.prepare import prepare
from pose_data.recipes import build_recipe
from pose_data.sample import generate_sample
from pose_models import train
from pose_models.networks.catalogue import find_network
from pose_models.stream import DeviceBatch, SampleStream

_RATIO_BAR, _WAIT_BAR = 0.95, 0.02
_GPU_CASE = "simplebaseline-r50-256x192, bf16, batches of 64 to 512"


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What an epoch took: ``first_s`` until its first batch, then ``seconds`` for ``steps``, of which waiting."""

    first_s: float
    seconds: float
    waited_s: float
    steps: int


class AlternatingStream(SampleStream):
    """A stream of which every other epoch is one batch again and again, and which notes how long each took."""

    epochs_noted: list[Epoch]
    steps: int

    def __init__(self, split: Any, **options: Any) -> None:
        super().__init__(split, **options)
        self._evaluates = "transforms" in options.get("arrays", ())

    def epoch(self, epoch: int = 0, *, resume: Mapping[str, Any] | None = None) -> Iterator[DeviceBatch]:
        """Return the batches of an epoch."""
        if self._evaluates:  # how good the network is, is not asked here
            yield from itertools.islice(super().epoch(epoch, resume=resume), 1)
            return
        batches = super().epoch(epoch, resume=resume)
        if epoch % 2:
            kept = next(batches)
            tensors = {name: values.clone() for name, values in kept.arrays.items()}
            batches.close()
            same = DeviceBatch(rows=kept.rows, arrays=tensors, valid=torch.ones_like(kept.valid))
            batches = iter([same] * (self.steps + 1))
        began_s = time.perf_counter()
        first = next(batches)
        first_s = time.perf_counter() - began_s
        yield first
        self._finish()
        began_s, waited_s, waited, count = time.perf_counter(), self.wait_s, 0.0, 0
        for batch in batches:
            waited = self.wait_s - waited_s
            yield batch
            count += 1
            if count == self.steps:
                break
        self._finish()
        seconds = time.perf_counter() - began_s
        self.epochs_noted.append(Epoch(first_s=first_s, seconds=seconds, waited_s=waited, steps=count))

    def _finish(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def make_store(folder: Path, network_name: str, samples: int, coco: Path | None) -> Path:
    """Return a store with at least so many samples for a network, prepared unless it is there."""
    network = find_network(network_name)
    size = f"{network.input_height_px}x{network.input_width_px}"
    store = folder / f"{size}-{samples}.zarr"
    if store.exists():
        return store
    root = folder / f"coco-{samples}"
    if coco is not None:
        if not root.exists():
            multiply_coco(coco, root, times=-(-samples // 200))
    elif not root.exists():
        generate_sample(root, pictures=samples, val_share=max(0.02, 4 / samples))
    recipe = build_recipe(
        "coco-256x192", crop_height_px=network.input_height_px, crop_width_px=network.input_width_px,
        map_height=network.map_height, map_width=network.map_width, context_px=32,
    )  # fmt: skip
    prepare(store, root=root, recipe=recipe)
    return store


def measure(name: str, batch_size: int, options: argparse.Namespace, folder: Path) -> list[Epoch]:
    """Return the epochs of a run, streamed and resident in turn."""
    store = make_store(folder, name, max(options.batch_sizes) * (options.steps + 1), options.coco)
    noted: list[Epoch] = []
    AlternatingStream.epochs_noted, AlternatingStream.steps = noted, options.steps
    changes = dict(text.split("=", 1) for text in options.set)
    if options.coco is not None:
        changes |= {"train_split": "all", "val_split": "all"}
    epochs = 2 * (options.rounds + 1)
    with tempfile.TemporaryDirectory() as out, mock.patch.object(train, "SampleStream", AlternatingStream):
        train.run(
            name, data=store, out=Path(out) / "run", device=options.device, epochs=epochs, batch_size=batch_size,
            evaluate_every=epochs, flip_test=False, threads=options.threads, **changes,
        )  # fmt: skip
    return noted[2:]


def report(name: str, batch_size: int, epochs: list[Epoch]) -> None:
    """Print both speeds, their ratio round by round, and what was waited."""
    streamed, resident = epochs[::2], epochs[1::2]
    speeds = [[batch_size * epoch.steps / epoch.seconds for epoch in kind] for kind in (streamed, resident)]
    ratios = [one / other for one, other in zip(*speeds, strict=True)]
    waits = [epoch.waited_s / epoch.seconds for epoch in streamed]
    ratio, wait = statistics.median(ratios), statistics.median(waits)
    print(
        f"{name:<28} batch {batch_size:>3}  {statistics.median(speeds[0]):9,.1f} samples/s, resident "
        f"{statistics.median(speeds[1]):9,.1f}  ratio {ratio:.3f} ({min(ratios):.3f} … {max(ratios):.3f}) "
        f"{_verdict(ratio >= _RATIO_BAR, f'>= {_RATIO_BAR}')}"
    )
    print(
        f"{'':<28} waiting for data {wait:.2%} of the time ({min(waits):.2%} … {max(waits):.2%}) "
        f"{_verdict(wait < _WAIT_BAR, f'< {_WAIT_BAR:.0%}')}; first batch of an epoch after "
        f"{statistics.median(epoch.first_s for epoch in streamed) * 1000:.0f} ms",
        flush=True,
    )


def _verdict(met: bool, bar: str) -> str:
    return f"[bar {bar}: {'met' if met else 'MISSED'}]"


def write_profile(name: str, batch_size: int, options: argparse.Namespace, folder: Path, file: Path) -> None:
    """Write which operations take the device's time in one short run."""
    activities = [torch.profiler.ProfilerActivity.CPU]
    on_gpu = options.device.startswith("cuda")
    if on_gpu:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profile:
        measure(name, batch_size, argparse.Namespace(**{**vars(options), "rounds": 0}), folder)
    order = "self_cuda_time_total" if on_gpu else "self_cpu_time_total"
    file.write_text(profile.key_averages().table(sort_by=order, row_limit=40), encoding="utf-8")


def main() -> None:
    """Measure each network with each batch size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["small-128x96"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[32])
    parser.add_argument("--steps", type=int, default=10, help="steps an epoch that are timed")
    parser.add_argument("--rounds", type=int, default=5, help="pairs of epochs, besides those that warm up")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, help="reading threads")
    parser.add_argument("--coco", type=Path, help="a COCO folder in place of drawn pictures")
    parser.add_argument("--scratch", type=Path, help="where data is kept; a temporary folder unless given")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="as for posetrain run")
    parser.add_argument("--profile", type=Path, help="also write which operations take the time")
    options = parser.parse_args()
    print(describe_machine())
    if torch.cuda.is_available():
        print(f"device: {options.device}, {torch.cuda.get_device_name()}")
    else:
        print(f"device: {options.device}. There is no GPU here: the figures for {_GPU_CASE} are open.")
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.scratch or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for name in options.networks:
            for batch_size in options.batch_sizes:
                report(name, batch_size, measure(name, batch_size, options, folder))
        if options.profile:
            write_profile(options.networks[0], options.batch_sizes[0], options, folder, options.profile)


if __name__ == "__main__":
    main()
