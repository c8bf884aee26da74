"""How much memory does a preparation take, and does it grow with the data set?

    python benchmarks/memory.py --coco data/coco

Runs ``posedata prepare`` as a child, adds up the resident memory of its whole process tree fifty
times a second, and prints the peak for a set and for one ten times as large.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
from corpus import multiply_coco
from machine import describe_machine

from pose_data.sample import generate_sample

_MIB = 1 << 20


def tree_bytes(process: psutil.Process) -> int:
    """Return the unique and shared resident bytes of a process and its children; shared pages count once each."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def peak_bytes(coco: Path, out: Path, scheduler: str) -> int:
    """Return the peak of the process tree of one preparation."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "cli.posedata", "prepare", "coco", "--root", str(coco), "--out", str(out)]
    child = subprocess.Popen([*command, "--scheduler", scheduler], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process = psutil.Process(child.pid)
    peak = 0
    while child.poll() is None:
        try:
            peak = max(peak, tree_bytes(process))
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    if child.wait() != 0:
        raise SystemExit(f"prepare failed with exit status {child.returncode}")
    shutil.rmtree(out)
    return peak


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coco", type=Path, help="a COCO folder; without it the generated sample is used")
    parser.add_argument("--times", type=int, default=4, help="how often each picture is in the smaller set")
    parser.add_argument("--scratch", type=Path)
    options = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        scratch = Path(folder)
        source = options.coco or generate_sample(scratch / "sample").out
        sets = {times: multiply_coco(source, scratch / f"x{times}", times=times)
                for times in (options.times, 10 * options.times)}  # fmt: skip
        for scheduler in ("threads", "local"):
            peaks = {times: peak_bytes(coco, scratch / "crops.zarr", scheduler) for times, coco in sets.items()}
            small, large = peaks.values()
            print(f"{scheduler:<8} 1 x: {small / _MIB:6.0f} MiB   10 x: {large / _MIB:6.0f} MiB   "
                  f"ratio {large / small:.3f}   bars: 400 (threads), 954 (1 GB), 1.10")  # fmt: skip


if __name__ == "__main__":
    main()
