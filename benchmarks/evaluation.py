"""How fast is OKS evaluation at the size of COCO val2017? Ours against pycocotools, faster-coco-eval and hotcoco.

    python -m venv peers && peers/bin/pip install -e ".[fast-json]" -r benchmarks/evaluation-requirements.txt
    peers/bin/python benchmarks/evaluation.py --scratch scratch

Every run is a fresh process that begins with nothing imported; candidates take turns, A B C A B C …, and start one
place later in each round. All ten numbers of every run must equal pycocotools'. Ratios are medians of the rounds' own.
``in a process`` is an evaluation alone, of arrays or records that are in memory: what validation after an epoch does.
"""

import argparse
import contextlib
import importlib.metadata
import io
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

BEGAN_S = time.perf_counter()
PEERS = ("pycocotools", "faster-coco-eval", "hotcoco")

# Ours, the peer, and how many times as fast; a bar below 1 allows us to be slower.
BARS = (
    ("ours, JSON", "pycocotools", 12.0),
    ("ours, JSON", "faster-coco-eval", 7.0),
    ("ours, JSON", "hotcoco", 1 / 1.2),
    ("ours, arrays", "pycocotools", 20.0),
    ("ours, arrays", "faster-coco-eval", 12.0),
)
IN_PROCESS_BAR_S = 0.15
MEMORY_BAR_MB = 250.0

Finished = tuple[list[float], dict[str, float]]
"""The ten numbers, and times in seconds by their names."""


def _ours(folder: Path, truth_name: str, results_name: str) -> Finished:
    from pose_data.evaluation import NUMBERS, evaluate
    from pose_data.evaluation.read_detections import read_detections
    from pose_data.evaluation.read_ground_truth import read_ground_truth

    times = {"import": time.perf_counter() - BEGAN_S}
    truth = read_ground_truth(folder / truth_name)
    times["truth"] = time.perf_counter() - BEGAN_S - sum(times.values())
    found = read_detections(folder / results_name, truth)
    times["results"] = time.perf_counter() - BEGAN_S - sum(times.values())
    result = evaluate(truth.truth, found.detections)
    times["core"] = time.perf_counter() - BEGAN_S - sum(times.values())
    return [result.numbers[name] for name in NUMBERS], times


def ours_from_json(folder: Path) -> Finished:
    """Read both JSON files and evaluate."""
    return _ours(folder, "truth.json", "results.json")


def ours_from_arrays(folder: Path) -> Finished:
    """Read the annotations as JSON, as peers do, and the results as .npz."""
    return _ours(folder, "truth.json", "results.npz")


def _in_coco_shape(folder: Path, truth_class: Any, evaluation_class: Any, load: str = "loadRes") -> Finished:
    times = {"import": time.perf_counter() - BEGAN_S}
    with contextlib.redirect_stdout(io.StringIO()):
        truth = truth_class(str(folder / "truth.json"))
        times["truth"] = time.perf_counter() - BEGAN_S - sum(times.values())
        found = getattr(truth, load)(str(folder / "results.json"))
        times["results"] = time.perf_counter() - BEGAN_S - sum(times.values())
        evaluation = evaluation_class(truth, found, "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    times["core"] = time.perf_counter() - BEGAN_S - sum(times.values())
    return [float(value) for value in evaluation.stats], times


def pycocotools(folder: Path) -> Finished:
    """Read both JSON files and evaluate with pycocotools."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return _in_coco_shape(folder, COCO, COCOeval)


def faster_coco_eval(folder: Path) -> Finished:
    """Read both JSON files and evaluate with faster-coco-eval."""
    from faster_coco_eval import COCO, COCOeval_faster

    return _in_coco_shape(folder, COCO, COCOeval_faster)


def hotcoco(folder: Path) -> Finished:
    """Read both JSON files and evaluate with hotcoco, on all cores."""
    from hotcoco import COCO, COCOeval

    return _in_coco_shape(folder, COCO, COCOeval, "load_res")


def in_a_process(folder: Path) -> Finished:
    """Evaluate arrays that are in memory, seven times; the fastest of our candidates for training."""
    from pose_data.evaluation import NUMBERS, evaluate
    from pose_data.evaluation.read_detections import read_detections
    from pose_data.evaluation.read_ground_truth import read_ground_truth

    truth = read_ground_truth(folder / "truth.json")
    found = read_detections(folder / "results.npz", truth).detections
    seconds = []
    for _ in range(7):
        began_s = time.perf_counter()
        result = evaluate(truth.truth, found)
        seconds.append(time.perf_counter() - began_s)
    return [result.numbers[name] for name in NUMBERS], {"core": statistics.median(seconds)}


CANDIDATES: dict[str, Callable[[Path], Finished]] = {
    "pycocotools": pycocotools,
    "faster-coco-eval": faster_coco_eval,
    "hotcoco": hotcoco,
    "ours, JSON": ours_from_json,
    "ours, arrays": ours_from_arrays,
    "ours, in a process": in_a_process,
}


def peak_memory_mb() -> float:
    """Return the most memory that this process had resident; without that of its parent, which getrusage may count."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def work(name: str, folder: Path) -> None:
    """Run one candidate and print what it found and took, as a line of JSON."""
    numbers, times = CANDIDATES[name](folder)
    total_s = time.perf_counter() - BEGAN_S
    peak_mb = peak_memory_mb()
    sys.stdout.write(json.dumps({"numbers": numbers, "times": times, "total": total_s, "peak": peak_mb}) + "\n")


def run(name: str, folder: Path) -> dict[str, Any]:
    """Return what one candidate did in a process of its own."""
    command = [sys.executable, __file__, "--worker", name, "--scratch", str(folder)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def make_data(folder: Path) -> None:
    """Write the case, and its results as .npz, unless they are there."""
    from evaluation_case import write_case

    from pose_data.evaluation.array_files import write_detections
    from pose_data.evaluation.read_detections import read_detections
    from pose_data.evaluation.read_ground_truth import read_ground_truth

    if not (folder / "results.npz").exists():
        write_case(folder)
        truth = read_ground_truth(folder / "truth.json")
        write_detections(folder / "results.npz", read_detections(folder / "results.json", truth).detections)
    for name in ("truth.json", "results.json", "results.npz"):
        (folder / name).read_bytes()  # all begin with a warm page cache
        print(f"{name}: {(folder / name).stat().st_size / 1e6:.0f} MB")


def measure(folder: Path, names: list[str], rounds: int) -> dict[str, list[dict[str, Any]]]:
    """Return every candidate's runs; the order turns from round to round."""
    runs: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    expected: list[float] = []
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            done = run(name, folder)
            expected = expected or done["numbers"]
            if done["numbers"] != expected:
                raise SystemExit(f"{name} gives {done['numbers']}, not {expected}")
            runs[name].append(done)
    print(f"all {rounds * len(names)} runs give the same ten numbers, AP {expected[0]:.6f}")
    return runs


def report(runs: dict[str, list[dict[str, Any]]]) -> None:
    """Print medians, peaks, and the ratios against their bars."""
    for name, done in runs.items():
        parts = {part: statistics.median(one["times"].get(part, 0.0) for one in done) for part in done[0]["times"]}
        total = statistics.median(one["total"] for one in done)
        said = ", ".join(f"{part} {seconds:.2f}" for part, seconds in parts.items())
        alone = name == "ours, in a process"
        print(
            f"  {name:<20} {parts['core'] if alone else total:6.2f} s  peak {max(one['peak'] for one in done):4.0f} MB"
            + ("" if alone else f"  ({said})")
        )
    for ours, peer, bar in BARS:
        if ours in runs and peer in runs:
            ratios = [other["total"] / mine["total"] for mine, other in zip(runs[ours], runs[peer], strict=True)]
            median = statistics.median(ratios)
            print(
                f"  {ours} / {peer:<18} {median:6.2f} x  ({min(ratios):.2f} … {max(ratios):.2f})  bar {bar:.2f}: "
                f"{'met' if median >= bar else 'MISSED'}"
            )
    alone_s = statistics.median(one["times"]["core"] for one in runs["ours, in a process"])
    print(
        f"  in a process {alone_s:.3f} s, bar {IN_PROCESS_BAR_S}: {'met' if alone_s <= IN_PROCESS_BAR_S else 'MISSED'}"
    )
    peak = max(one["peak"] for name in ("ours, JSON", "ours, arrays") for one in runs[name])
    print(f"  peak {peak:.0f} MB, bar {MEMORY_BAR_MB:.0f}: {'met' if peak <= MEMORY_BAR_MB else 'MISSED'}")


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scratch", type=Path, required=True, help="where data is written, and kept")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--leave-out", action="append", default=[], choices=CANDIDATES)
    parser.add_argument("--worker", choices=CANDIDATES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker, options.scratch)
        return
    from machine import describe_machine

    make_data(options.scratch)
    print(describe_machine())
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in PEERS))
    names = [name for name in CANDIDATES if name not in options.leave_out]
    report(measure(options.scratch, names, options.rounds))


if __name__ == "__main__":
    main()
