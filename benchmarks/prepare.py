"""How fast is a preparation? Against decoding alone, against scripts in the old manner, on one core, on a cluster.

    python benchmarks/prepare.py --coco data/coco --times 12 --rounds 5

Candidates run in turn, A B C A B C …; each round gives one ratio, and the median of the ratios is
printed with its extremes, because single times on a shared machine mean little.
"""

import argparse
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from corpus import multiply_coco
from machine import describe_machine
from seed_scripts import full_size_script, plain_script

from pipelines.prepare import prepare
from pipelines.schedulers import open_runner
from pose_data.imaging import decode_picture, read_picture, single_threaded
from pose_data.manifest import SplitFolder
from pose_data.recipes import build_recipe
from pose_data.sample import generate_sample

_BLOCK = 16


def decode_only(pictures: Sequence[Path], threads: int) -> float:
    """Return the seconds that the preparation's own checked decoder takes for the same pictures."""

    def block(first: int) -> None:
        buffer = bytearray()
        for path in pictures[first : first + _BLOCK]:
            data = read_picture(path)
            decode_picture(data, file_name=path.name, expected_wh=None, exif="ignore", buffer=buffer)

    began_s = time.perf_counter()
    with single_threaded(), ThreadPoolExecutor(threads) as pool:
        list(pool.map(block, range(0, len(pictures), _BLOCK)))
    return time.perf_counter() - began_s


def timed_prepare(coco: Path, out: Path, recipe: str, codec: str, scheduler: str, workers: int) -> float:
    """Return the seconds of a whole preparation: annotations to verified store."""
    shutil.rmtree(out, ignore_errors=True)
    began_s = time.perf_counter()
    prepare(
        out, root=coco, recipe=build_recipe(recipe, image_codec=codec), scheduler=scheduler, workers=workers,
        memory_bytes=4_000_000_000,
    )  # fmt: skip
    seconds = time.perf_counter() - began_s
    shutil.rmtree(out)
    return seconds


def timed(function: Callable[[], object]) -> float:
    """Return the seconds of a call."""
    began_s = time.perf_counter()
    function()
    return time.perf_counter() - began_s


def dask_overhead_s(scheduler: str, workers: int, tasks: int) -> float:
    """Return the seconds that Dask and our runner add to each task: tasks that find their shard suspect at once."""
    from pipelines.tasks import ShardTask, environment

    with tempfile.TemporaryDirectory() as folder:
        split = SplitFolder(Path(folder))
        split.started(0).parent.mkdir(parents=True)
        for shard in range(tasks):
            split.started(shard).touch()
        orders = [
            ShardTask(
                split_path=folder, shard=shard, lock_folder=folder, token="none", picture_timeout_s=60,
                environment=environment(),
            )
            for shard in range(tasks)
        ]  # fmt: skip
        with open_runner(
            scheduler, workers, stop=threading.Event(), on_picture=lambda: None, cluster_timeout_s=30,
            worker_memory_bytes=1_000_000_000,
        ) as run:  # fmt: skip
            return timed(lambda: list(run(orders))) / tasks


def report(name: str, ratios: list[float], bar: str) -> None:
    """Print one ratio: median, extremes and the bar it is held against."""
    print(f"  {name:<66} {statistics.median(ratios):6.2f}  ({min(ratios):.2f} … {max(ratios):.2f})   {bar}")


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coco", type=Path, help="a COCO folder; without it the generated sample is used")
    parser.add_argument("--times", type=int, default=12, help="how often each picture is in the benchmark's set")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scratch", type=Path, help="where the sets and stores are written")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.scratch) as folder:
        _run(Path(folder), options)


def _run(scratch: Path, options: argparse.Namespace) -> None:
    source = options.coco
    if source is None:
        source = generate_sample(scratch / "sample").out
    coco = multiply_coco(source, scratch / "coco", times=options.times)
    annotations, images = coco / "annotations" / "person_keypoints_all.json", coco / "all"
    pictures, workers = sorted(images.iterdir()), options.workers
    out = scratch / "crops.zarr"
    persons = prepare(out, root=coco, dry_run=True).splits[0].kept
    print(describe_machine())
    print(f"{len(pictures)} pictures, {persons} persons, {workers} threads, {options.rounds} rounds in turn\n")
    seconds: dict[str, list[float]] = {}
    small = max(64, len(pictures) // 24)  # the slow baseline gets a part of the set; rates are compared

    def note(name: str, value: float) -> None:
        seconds.setdefault(name, []).append(value)

    own_rates: list[float] = []
    white_rates: list[float] = []
    for _ in range(options.rounds):
        note("decode", decode_only(pictures, workers))
        note("raw", timed_prepare(coco, out, "coco-256x192", "raw", "threads", workers))
        note("decode, again", decode_only(pictures, workers))
        note("lossless", timed_prepare(coco, out, "coco-256x192", "lossless", "threads", workers))
        note("one core", timed_prepare(coco, out, "coco-256x192", "lossless", "sync", 1))
        note("local cluster", timed_prepare(coco, out, "coco-256x192", "lossless", "local", workers))
        note("plain script", timed(lambda: plain_script(annotations, images, scratch / "a.npy", threads=workers)))
        note("white-frame", timed_prepare(coco, out, "white-frame-320", "lossless", "threads", workers))
        for threads, rates in ((1, own_rates), (workers, white_rates)):
            began_s = time.perf_counter()
            count = full_size_script(annotations, images, scratch / "b.npy", threads=threads, limit=small)
            rates.append(count / (time.perf_counter() - began_s))
    white_persons = prepare(out, root=coco, recipe=build_recipe("white-frame-320"), dry_run=True).splits[0].kept
    _print(seconds, persons, white_persons, own_rates, white_rates)
    shard_s = 1024 / persons * statistics.median(seconds["lossless"]) * workers
    for scheduler in ("threads", "local"):
        share = dask_overhead_s(scheduler, workers, 200) / shard_s
        print(f"  Dask's share of a task of 1,024 persons, {scheduler:<28} {share:7.2%}   bar: below 3 %")


def _print(
    seconds: dict[str, list[float]], persons: int, white_persons: int, own_rates: list[float], white_rates: list[float]
) -> None:
    for name, values in seconds.items():
        count = white_persons if name == "white-frame" else persons
        print(f"  {name:<20} {statistics.median(values):7.2f} s   {count / statistics.median(values):9.0f} persons/s")
    print(f"  {'full-size, 1 thread':<20} {'':>9}   {statistics.median(own_rates):9.1f} persons/s")
    print(f"  {'full-size script':<20} {'':>9}   {statistics.median(white_rates):9.1f} persons/s\n")

    def over(a: str, b: str) -> list[float]:
        return [x / y for x, y in zip(seconds[a], seconds[b], strict=True)]

    print("ratios: median of the rounds (extremes)")
    report("prepare raw over decoding alone", over("raw", "decode"), "bar: at most 1.5")
    report("prepare lossless over decoding alone", over("lossless", "decode, again"), "bar: at most 1.7")
    report("plain script over prepare lossless", over("plain script", "lossless"), "bar: at least 2.2")
    rates = [white_persons / s for s in seconds["white-frame"]]
    for other, what in ((own_rates, "as it was, one thread"), (white_rates, "with our threads")):
        ratios = [ours / theirs for ours, theirs in zip(rates, other, strict=True)]
        report(f"white-frame-320 over the full-size script {what}", ratios, "bar: at least 20")
    ratios = [persons / s / theirs for s, theirs in zip(seconds["lossless"], white_rates, strict=True)]
    report("prepare lossless over the full-size script, persons/s", ratios, "")
    report("one core over two threads", over("one core", "lossless"), "")
    report("one core over the local cluster", over("one core", "local cluster"), "bar: at least 1.4")


if __name__ == "__main__":
    main()
