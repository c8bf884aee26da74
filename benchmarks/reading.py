"""How fast are shuffled training samples read? Ours against Zarr readers, plain arrays and other formats.

    python -m venv peers && peers/bin/pip install -e . -r benchmarks/reading-requirements.txt
    peers/bin/python benchmarks/reading.py --coco data/coco --scratch scratch --group stores --cores 2

Every candidate is a process of its own, kept to the cores; epochs run in turn, A B C A B C …. Before it is timed, each
must deliver every sample once: the same pixels and keypoints, maps within 1/255. FFCV needs the development files of
OpenCV and libjpeg-turbo to be built; leave its line out where they are missing. The first epochs warm up and are not
counted.

Besides samples a second, samples a second of processor time are given: on a machine that others use, too, the former
say more about them than about the readers, while the latter hardly change.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil
import torch
from corpus import multiply_coco
from machine import describe_machine
from reading_peers import PEER_CANDIDATES, WRITERS, write_once
from reading_stores import STORE_CANDIDATES, Epochs, plain_arrays

from pipelines.prepare import prepare
from pose_data.recipes import build_recipe
from pose_data.store import open_store

CANDIDATES = {**STORE_CANDIDATES, **PEER_CANDIDATES}

GROUPS: dict[str, tuple[str, list[str]]] = {
    "stores": ("float32", ["ours lossless", "zarr-python lossless", "zarrs lossless", "TensorStore lossless"]),
    "raw": (
        "float32",
        ["ours raw", "memmap float32", "memmap float32, aligned", "memmap uint8", "Arrow IPC", "FFCV raw"],
    ),
    "uint8": (
        "uint8",
        ["ours raw", "ours lossless", "memmap uint8", "memmap uint8, aligned", "Arrow IPC", "FFCV raw"],
    ),
    "peers": (
        "float32",
        ["ours lossless", "ours raw", "COCO folder, DataLoader", "WebDataset", "MosaicML streaming", "LitData", "LMDB"],
    ),
    "full": (
        "float32",
        ["ours lossless", "ours lossless full shuffle", "ours raw", "ours raw full shuffle", "memmap float32"],
    ),
    "cold": ("float32", ["ours lossless", "ours raw", "memmap float32", "memmap uint8"]),
}
"""Group → how maps are delivered, and who takes part."""

BARS = {
    "stores": [
        ("ours lossless", "zarr-python lossless", 2.0),
        ("ours lossless", "zarrs lossless", 1.4),
        ("ours lossless", "TensorStore lossless", 1.2),
    ],
    "raw": [("ours raw", "memmap float32", 0.55), ("ours raw", "memmap float32, aligned", 0.55)],
    "uint8": [
        ("ours raw", "memmap uint8", 0.7),
        ("ours raw", "memmap uint8, aligned", 0.7),
        ("ours raw", "FFCV raw", 1.2),
    ],
    "peers": [
        ("ours lossless", "COCO folder, DataLoader", 15.0),
        ("ours lossless", "WebDataset", 3.0),
        ("ours lossless", "MosaicML streaming", 3.0),
        ("ours lossless", "LitData", 3.0),
    ],
    "full": [],
    "cold": [("ours lossless", "memmap float32", 1.2), ("ours raw", "memmap float32", 1.2)],
}  # fmt: skip


def make_data(coco: Path, folder: Path, times: int, names: Sequence[str]) -> None:
    """Prepare both stores and write the plain arrays and the peers' copies, unless they are there."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "coco").exists():
        multiply_coco(coco, folder / "coco", times=times)
    for codec in ("lossless", "raw"):
        if not (folder / f"{codec}.zarr").exists():
            prepare(
                folder / f"{codec}.zarr", root=folder / "coco",
                recipe=build_recipe("coco-256x192", image_codec=codec), workers=2, memory_bytes=4_000_000_000,
            )  # fmt: skip
    write_once(folder, "plain", _write_plain)
    wanted = {"MosaicML streaming": "mosaic", "Arrow IPC": "arrow", "FFCV raw": "ffcv"}
    for name in names:
        key = wanted.get(name, name.lower())
        if key in WRITERS:
            write_once(folder, key, WRITERS[key])


def _write_plain(folder: Path, out: Path) -> None:
    split = open_store(folder / "lossless.zarr")["all"]
    if not split["kept"][:].all():
        raise SystemExit("every person of the benchmark's set must have become a sample")
    maps = split["heatmaps"][:]
    arrays = {"images": split["images"][:], "maps_uint8": maps, "keypoints": split["keypoints"][:]}
    for name, values in {**arrays, "maps_float32": maps * np.float32(1 / 255)}.items():
        np.save(out / f"{name}.npy", values)


# ----------------------------------------------------------------------------------- in a candidate's process


def check(folder: Path, epochs: Epochs, maps: str) -> None:
    """Stop unless an epoch delivers every sample once, with its own values."""
    images, stored, keypoints = (plain_arrays(folder, name) for name in ("images", "maps_uint8", "keypoints"))
    seen = []
    for rows, pixels, heatmaps, points in epochs(0):
        seen.append(rows.copy())
        kind = torch.float32 if maps == "float32" else torch.uint8
        assert (pixels.dtype, heatmaps.dtype, points.dtype) == (torch.uint8, kind, torch.float32)
        assert np.array_equal(pixels.numpy(), images[rows]), "pixels differ"
        assert np.array_equal(points.numpy(), keypoints[rows]), "keypoints differ"
        unit = np.float32(255 if maps == "float32" else 1)
        assert np.abs(heatmaps.numpy() * unit - stored[rows].astype(np.float32)).max() <= 1.001, "maps differ"
    assert np.array_equal(np.sort(np.concatenate(seen)), np.arange(len(images))), "not every sample came once"


def evict(folder: Path) -> None:
    """Drop all files from the page cache."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def busy_s() -> float:
    """Return the processor time of this process and of its workers, alive or ended."""
    own = os.times()
    workers = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return sum(own[:4]) + sum(worker.user + worker.system for worker in workers)


def work(name: str, folder: Path, cores: int, maps: str, *, cold: bool) -> None:
    """Time an epoch for each line of the input and print its samples a second, and a second of processor time."""
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:cores]))
    torch.set_num_threads(1)  # a second one would fight with the loaders' own threads
    if cold:
        for part in ("lossless.zarr", "raw.zarr", "plain"):
            evict(folder / part)
    epochs = CANDIDATES[name](folder, cores, maps)
    if not cold:
        check(folder, epochs, maps)
    print("ready", flush=True)
    for epoch, _ in enumerate(sys.stdin, start=1):
        began_s, busy_before_s = time.perf_counter(), busy_s()
        count = sum(len(batch[0]) for batch in epochs(epoch))
        seconds, busy = time.perf_counter() - began_s, busy_s() - busy_before_s
        print(count / seconds, count / busy, flush=True)


# ----------------------------------------------------------------------------------- the comparison


class Process:
    """A candidate in a process of its own."""

    def __init__(self, name: str, options: argparse.Namespace, cores: int, maps: str, *, cold: bool) -> None:
        command = [sys.executable, __file__, "--worker", name, "--scratch", str(options.scratch), "--maps", maps]
        command += ["--cores", str(cores), *(["--cold"] if cold else [])]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._expect(name)

    def _expect(self, name: str) -> None:
        while (line := self._line(name)) != "ready":
            print(f"  {name}: {line}", file=sys.stderr)

    def _line(self, name: str) -> str:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise SystemExit(f"{name} did not deliver what it should")
        return line.strip()

    def epoch(self, name: str) -> tuple[float, float]:
        """Return samples a second of one epoch, and a second of processor time."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        a_second, a_busy_second = map(float, self._line(name).split())
        return a_second, a_busy_second

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)


def measure(
    names: Sequence[str], options: argparse.Namespace, cores: int, maps: str, group: str
) -> dict[str, list[tuple[float, float]]]:
    """Return samples a second, and a second of processor time, by candidate, one pair a round."""
    figures: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    cold = group == "cold"
    processes = {} if cold else {name: Process(name, options, cores, maps, cold=False) for name in names}
    for number in range(options.rounds + (0 if cold else options.warm_up)):
        for name in names:
            process = Process(name, options, cores, maps, cold=True) if cold else processes[name]
            figure = process.epoch(name)
            if cold:
                process.close()
            if cold or number >= options.warm_up:
                figures[name].append(figure)
    for process in processes.values():
        process.close()
    return figures


def report(figures: dict[str, list[tuple[float, float]]], group: str) -> None:
    """Print medians with extremes, and the ratios round by round against their bars."""
    for name, pairs in figures.items():
        speeds, busy = ([pair[which] for pair in pairs] for which in (0, 1))
        print(
            f"  {name:<28} {statistics.median(speeds):9,.0f} samples/s  ({min(speeds):,.0f} … {max(speeds):,.0f})"
            f"  {statistics.median(busy):9,.0f} a CPU second  ({min(busy):,.0f} … {max(busy):,.0f})"
        )
    for ours, peer, bar in BARS[group]:
        if ours in figures and peer in figures:
            texts = []
            for which, unit in ((0, "a second"), (1, "a CPU second")):
                ratios = [one[which] / other[which] for one, other in zip(figures[ours], figures[peer], strict=True)]
                median = statistics.median(ratios)
                verdict = "met" if median >= bar else "MISSED"
                texts.append(f"{unit} {median:5.2f} ({min(ratios):.2f} … {max(ratios):.2f}) {verdict}")
            print(f"  {ours} / {peer:<24} bar {bar}: {'; '.join(texts)}")


def main() -> None:
    """Run one group of the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--coco", type=Path, help="a COCO folder, needed the first time")
    parser.add_argument("--scratch", type=Path, required=True, help="where data is written, and kept")
    parser.add_argument("--times", type=int, default=12, help="how often each picture is in the benchmark's set")
    parser.add_argument("--group", choices=GROUPS, default="stores")
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--warm-up", type=int, default=2)
    parser.add_argument("--leave-out", action="append", default=[], choices=CANDIDATES)
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("--maps", help=argparse.SUPPRESS)
    parser.add_argument("--cold", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.scratch, options.cores, options.maps, cold=options.cold)
        return
    maps, names = GROUPS[options.group]
    names = [name for name in names if name not in options.leave_out]
    make_data(options.coco, options.scratch, options.times, names)
    print(describe_machine())
    print(f"{options.group}: {options.cores} core(s), maps {maps}, batches of 64")
    report(measure(names, options, options.cores, maps, options.group), options.group)


if __name__ == "__main__":
    main()
