"""What the fault tests share: a small data set, calm runs to compare with, and faults to order in child processes."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from pipelines.prepare import PrepareReport, prepare
from pose_data.atomic import set_write_hook
from pose_data.recipes import Recipe

# What a child process does at its start when FAULTS is on its path: see Kit.faulty().
SITE = """
import os, signal, time
import simplejpeg
decode = simplejpeg.decode_jpeg

def once(name):
    try:
        os.close(os.open(os.environ["FAULT_FLAG"] + name, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True

def faulty(data, *arguments, **options):
    time.sleep(float(os.environ.get("FAULT_SLEEP_S", "0")))
    head = bytes(data[:64])
    if b"fault:hang" in head:
        time.sleep(3600)
    if b"fault:segv-always" in head or b"fault:segv-once" in head and once("segv"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if b"fault:kill-once" in head and once("kill"):
        os.kill(os.getpid(), signal.SIGKILL)
    if b"fault:exit-once" in head and once("exit"):
        os._exit(3)
    return decode(data, *arguments, **options)

simplejpeg.decode_jpeg = faulty
if "FAULT_VERSION" in os.environ:
    from importlib import metadata
    version = metadata.version
    metadata.version = lambda name: os.environ["FAULT_VERSION"] if name == "simplejpeg" else version(name)
"""


def tree_digest(store: Path) -> dict[str, str]:
    """Return path → digest of everything in a store, empty folders too, but the logs of its runs."""

    def digest(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"

    paths = {path.relative_to(store): path for path in sorted(store.rglob("*"))}
    return {name.as_posix(): digest(path) for name, path in paths.items() if "runs" not in name.parts}


def shard_records(store: Path) -> dict[str, tuple[int, int]]:
    """Return the shard records there are, with what changes when one is written again."""
    found = {}
    for path in store.glob("*/.posedata/shards/*.json"):
        stat = path.stat()
        found[path.relative_to(store).as_posix()] = (stat.st_ino, stat.st_mtime_ns)
    return found


def leftovers(store: Path) -> list[str]:
    """Return what only an interrupted run leaves."""
    return [
        path.relative_to(store).as_posix()
        for path in store.rglob("*")
        if path.name.endswith(".partial") or path.name in ("work", "lock")
    ]


def mark_picture(path: Path, fault: str) -> None:
    """Order a fault of a JPEG's decoder by a comment in it: hang, segv-always, segv-once, kill-once, exit-once."""
    data = path.read_bytes()
    text = f"fault:{fault}".encode()
    path.write_bytes(data[:2] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + data[2:])


@dataclass(frozen=True)
class Kit:
    """One small data set with one split, ``val2017``, and how it is prepared."""

    coco: Path
    recipe: Recipe
    options: tuple[str, ...]
    """The recipe, said on the command line."""
    site: Path

    def prepare(self, out: Path, **changes: Any) -> PrepareReport:
        """Prepare in this process."""
        return prepare(out, **{"root": self.coco, "recipe": self.recipe, "scheduler": "threads", **changes})

    def write_steps(self, out: Path) -> list[str]:
        """Prepare in this process; return what every call of the write door was for, in order."""
        steps: list[str] = []
        set_write_hook(lambda step, path: steps.append(step))
        try:
            self.prepare(out, scheduler="sync")
        finally:
            set_write_hook(None)
        return steps

    def command(self, out: Path, *more: str) -> list[str]:
        """Return the command line of the same."""
        command = [sys.executable, "-m", "cli.posedata", "prepare", "coco", "--root", str(self.coco), "--out", str(out)]
        return [*command, "--quiet", *self.options, *more]

    def faulty(self, **settings: str) -> dict[str, str]:
        """Return the environment of a child process in which marked pictures break the decoder."""
        path = os.pathsep.join([str(self.site), *filter(None, [os.environ.get("PYTHONPATH")])])
        return {**os.environ, "PYTHONPATH": path, "FAULT_FLAG": str(self.site / "once-"), **settings}

    def run(self, out: Path, *more: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run the command to its end."""
        return subprocess.run(
            self.command(out, *more), capture_output=True, text=True, timeout=120, check=False, **options
        )

    def report(self, done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
        """Return the report that a command with ``--json`` ended with."""
        assert done.returncode == 0, done.stderr
        last: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        assert last["event"] == "report"
        return last

    tree_digest = staticmethod(tree_digest)
    shard_records = staticmethod(shard_records)
    leftovers = staticmethod(leftovers)
    mark_picture = staticmethod(mark_picture)


def _options(recipe: Recipe) -> tuple[str, ...]:
    return (
        "--crop-size", f"{recipe.crop_height_px}x{recipe.crop_width_px}",
        "--map-size", f"{recipe.map_height}x{recipe.map_width}", "--sigma", f"{recipe.sigma:g}",
        "--shard-rows", str(recipe.shard_rows), "--chunk-rows", str(recipe.chunk_rows),
    )  # fmt: skip


@pytest.fixture(scope="session")
def make_kit(factory: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Kit]:
    """Return a maker of data sets: ``make_kit(pictures=40, persons=3, shard_rows=32, chunk_rows=16)``."""

    def make(
        *, pictures: int = 40, persons: int = 3, shard_rows: int = 32, chunk_rows: int = 16, splits: int = 1
    ) -> Kit:
        folder = tmp_path_factory.mktemp("faults")
        maker = factory.CocoMaker(folder / "coco", pictures=pictures, persons=persons, width_px=160, height_px=112)
        for split in ("val2017", "train2017")[:splits]:
            maker.write(split, broken=False)
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(SITE, encoding="utf-8")
        recipe = factory.small_recipe(shard_rows=shard_rows, chunk_rows=chunk_rows)
        return Kit(coco=folder / "coco", recipe=recipe, options=_options(recipe), site=folder / "site")

    return make


@pytest.fixture(scope="session")
def kit(make_kit: Callable[..., Kit]) -> Kit:
    """Return 40 pictures with 120 persons in 4 shards; not to be changed."""
    return make_kit()


@pytest.fixture(scope="session")
def calm(kit: Kit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the digests of an undisturbed run on ``kit``."""
    out = tmp_path_factory.mktemp("calm") / "crops.zarr"
    kit.prepare(out, scheduler="sync")
    return tree_digest(out)


@pytest.fixture(scope="session")
def small_kit(make_kit: Callable[..., Kit]) -> Kit:
    """Return 6 pictures with 12 persons in 3 shards; not to be changed."""
    return make_kit(pictures=6, persons=2, shard_rows=4, chunk_rows=2)


@pytest.fixture(scope="session")
def small_calm(small_kit: Kit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the digests of an undisturbed run on ``small_kit``."""
    out = tmp_path_factory.mktemp("calm") / "crops.zarr"
    small_kit.prepare(out, scheduler="sync")
    return tree_digest(out)
