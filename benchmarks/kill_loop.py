"""Kill preparations at random moments, continue them, and compare with a run that nobody disturbed.

    python benchmarks/kill_loop.py --coco data/coco --kills 50

Each kill is a SIGKILL to the whole process group of a real ``posedata prepare``. A round is one store, killed again
and again until a run gets through; its files are then compared byte by byte with those of the calm run. Prints one
line a kill (stage and finished shards at that moment) and the totals; exits 1 when a store differed.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from machine import describe_machine

from pose_data.sample import generate_sample


@dataclass
class Tally:
    """What happened so far."""

    kills: Counter[str] = field(default_factory=Counter)
    """By stage."""
    rounds: int = 0
    different: int = 0
    made_again: int = 0
    """Finished shards that a later run wrote again."""

    @property
    def total(self) -> int:
        """Return the number of kills."""
        return sum(self.kills.values())


def tree_digests(store: Path) -> dict[str, str]:
    """Return path → SHA-256 of every file of a store but the logs of its runs; folders are named too."""
    names = {path.relative_to(store): path for path in sorted(store.rglob("*"))}
    return {
        name.as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for name, path in names.items()
        if "runs" not in name.parts
    }


def shard_records(store: Path) -> dict[Path, int]:
    """Return the records of finished shards; the inode number changes when one is written again."""
    return {path: path.stat().st_ino for path in store.glob("*/.posedata/shards/*.json")}


def stage_of(store: Path, calm: Mapping[str, str]) -> str:
    """Return what a killed run was about to do, as far as its files tell."""
    if not store.exists():
        return "start"
    shards = sum(name.endswith(".json") and "/shards/" in name for name in calm)
    if len(list(store.glob("*/.posedata/manifest.json"))) == len({n.split("/")[0] for n in calm if "/shards/" in n}):
        return "end"
    if not list(store.glob("*/.posedata/work/fingerprint.json")):
        return "read and plan"
    return "commit" if len(shard_records(store)) == shards else "shards"


def command_of(coco: Path, out: Path, scheduler: str, options: list[str]) -> list[str]:
    """Return the command line."""
    command = [sys.executable, "-m", "cli.posedata", "prepare", "coco", "--root", str(coco), "--out", str(out)]
    return [*command, "--quiet", "--scheduler", scheduler, *options]


def one_round(command: list[list[str]], out: Path, moments: random.Random, longest_s: float, tally: Tally,
              calm: Mapping[str, str], wanted: int) -> None:  # fmt: skip
    """Prepare one store, killing until a run gets through or the wanted number of kills is reached."""
    finished: dict[Path, int] = {}
    while True:
        line = moments.choice(command)
        delay_s = moments.uniform(0.0, longest_s) if tally.total < wanted else None
        with subprocess.Popen(line, start_new_session=True, stdout=subprocess.DEVNULL) as child:
            try:
                code = child.wait(delay_s)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()
                stage = stage_of(out, calm)
                tally.kills[stage] += 1
                finished |= shard_records(out)
                print(f"kill {tally.total:4d}  after {delay_s:5.2f} s  {line[line.index('--scheduler') + 1]:8s}"
                      f"{stage:14s} {len(finished)} shards finished", flush=True)  # fmt: skip
                continue
        if code != 0:
            raise SystemExit(f"prepare ended with exit status {code}")
        break
    tally.rounds += 1
    records = shard_records(out)
    again = sum(records[path] != inode for path, inode in finished.items())
    tally.made_again += again
    same = tree_digests(out) == calm
    tally.different += not same
    print(f"round {tally.rounds}: {'byte-identical' if same else 'DIFFERENT'}, {again} finished shards made again")


def main() -> None:
    """Kill, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coco", type=Path, help="a COCO folder; without it the generated sample is used")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    parser.add_argument("--schedulers", default="threads,local")
    parser.add_argument("options", nargs="*", help="more options of posedata prepare, after --")
    arguments = parser.parse_args()
    print(describe_machine())
    print(f"seed {arguments.seed}")
    moments, tally = random.Random(arguments.seed), Tally()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        coco = arguments.coco or folder / "coco"
        if arguments.coco is None:
            generate_sample(coco)
        schedulers = arguments.schedulers.split(",")
        began_s = time.monotonic()
        subprocess.run(command_of(coco, folder / "calm.zarr", schedulers[0], arguments.options), check=True)
        longest_s = 1.2 * (time.monotonic() - began_s)
        calm = tree_digests(folder / "calm.zarr")
        while tally.total < arguments.kills:
            out = folder / f"{tally.rounds}.zarr"
            commands = [command_of(coco, out, scheduler, arguments.options) for scheduler in schedulers]
            one_round(commands, out, moments, longest_s, tally, calm, arguments.kills)
    by_stage = ", ".join(f"{stage} {count}" for stage, count in tally.kills.most_common())
    print(f"{tally.total} kills ({by_stage}) in {tally.rounds} stores; {tally.rounds - tally.different} byte-identical "
          f"to the calm run, {tally.different} different; {tally.made_again} finished shards made again")  # fmt: skip
    raise SystemExit(1 if tally.different or tally.made_again else 0)


if __name__ == "__main__":
    main()
