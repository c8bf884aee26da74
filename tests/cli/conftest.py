"""A tiny COCO data set, the program called in this process or in one of its own, and a store made by it."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from cli.posedata import main
from cli.posetrain import main as training_main
from pose_data.skeleton import COCO_PERSON

WIDTH_PX, HEIGHT_PX = 96, 72


@dataclass
class Result:
    """How a call of the program ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        """All of stdout as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def report(self) -> dict[str, Any]:
        """The last JSON line, which is the report."""
        last = self.lines[-1]
        assert last["event"] == "report"
        return last


class MiniCoco:
    """A COCO folder that a test builds as it likes; ``write`` puts its annotation files on disk."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.splits: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self.category = "person"
        self._next_id = 1

    def add_picture(self, split: str, name: str = "", *, persons: int = 2, data: bytes | None = None) -> None:
        records = self.splits.setdefault(split, {"images": [], "annotations": []})
        number = sum(len(each["images"]) for each in self.splits.values()) + 1
        name = name or f"{number:06d}.jpg"
        path = self.root / split / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number) if data is None else data)
        records["images"].append({"id": number, "file_name": name, "width": WIDTH_PX, "height": HEIGHT_PX})
        for position in range(persons):
            records["annotations"].append(self._person(number, position))

    def _person(self, image_id: int, position: int) -> dict[str, Any]:
        x0, y0 = 4.0 + 7 * (position % 5), 5.0 + position % 7
        keypoints = [value for index in range(17) for value in (x0 + 2 + 2 * (index % 8), y0 + 3 + 3 * (index // 2), 2)]
        self._next_id += 1
        return {
            "id": self._next_id, "image_id": image_id, "category_id": 1, "iscrowd": 0, "area": 900.0,
            "bbox": [x0, y0, 40.0, 45.0], "keypoints": keypoints, "num_keypoints": 17,
            "segmentation": [[x0, y0, x0 + 40, y0, x0 + 40, y0 + 45, x0, y0 + 45]],
        }  # fmt: skip

    def write(self) -> Path:
        (self.root / "annotations").mkdir(parents=True, exist_ok=True)
        limbs = [[a + 1, b + 1] for a, b in COCO_PERSON.limbs]
        category = {"id": 1, "name": self.category, "keypoints": list(COCO_PERSON.names), "skeleton": limbs}
        for split, records in self.splits.items():
            path = self.root / "annotations" / f"person_keypoints_{split}.json"
            path.write_text(json.dumps({**records, "categories": [category]}), encoding="utf-8")
        return self.root


def picture(number: int) -> bytes:
    y, x = np.mgrid[:HEIGHT_PX, :WIDTH_PX]
    pixels = np.stack([x * 2, y * 3, (x + y + 40 * number) % 256], axis=-1).astype(np.uint8)
    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), 90, "RGB", "444")


def filled(root: Path) -> MiniCoco:
    """Twelve pictures in two splits; one crowd record and one person without keypoints are among them."""
    coco = MiniCoco(root)
    for split, count in (("train", 8), ("val", 4)):
        for _ in range(count):
            coco.add_picture(split)
    coco.splits["train"]["annotations"][0]["iscrowd"] = 1
    nobody = coco.splits["val"]["annotations"][0]
    nobody["keypoints"], nobody["num_keypoints"] = [0] * 51, 0
    coco.splits["val"]["annotations"][1]["area"] = 0
    coco.write()
    return coco


@pytest.fixture
def new_coco(tmp_path: Path) -> MiniCoco:
    """An empty data set, for the test to fill."""
    return MiniCoco(tmp_path / "coco")


@pytest.fixture(scope="session")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny data set; not to be changed."""
    return filled(tmp_path_factory.mktemp("mini") / "coco").root


@pytest.fixture(scope="session")
def finished_store(coco: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store made by the program itself; not to be changed."""
    out = tmp_path_factory.mktemp("store") / "crops.zarr"
    done = in_own_process("prepare", "coco", "--root", coco, "--out", out)
    assert done.code == 0, done.err
    return out


@pytest.fixture
def store(finished_store: Path, tmp_path: Path) -> Path:
    """A copy of the store, for the test to change."""
    return Path(shutil.copytree(finished_store, tmp_path / "copy.zarr"))


Call = Callable[..., Result]


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "cli.posedata", *map(str, arguments)]


def in_own_process(*arguments: object, **settings: str) -> Result:
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=60, env={**os.environ, **settings}, check=False
    )
    return Result(done.returncode, done.stdout, done.stderr)


@pytest.fixture
def posedata(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """The program, called in this process: fast, and its parts can be replaced."""
    return called_here("posedata", main, capsys, monkeypatch)


@pytest.fixture
def posetrain(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """The other program, called in this process."""
    return called_here("posetrain", training_main, capsys, monkeypatch)


def called_here(
    name: str, program: Callable[[], None], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Call:
    def call(*arguments: object) -> Result:
        given = [str(argument) for argument in arguments]
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        loggers = logging.root.handlers[:], logging.root.level
        capsys.readouterr()
        try:
            monkeypatch.setattr(sys, "argv", [name, *given])
            with pytest.raises(SystemExit) as left:
                program()
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            logging.root.handlers[:], logging.root.level = loggers
        out, err = capsys.readouterr()
        return Result(int(left.value.code or 0), out, err)

    return call
