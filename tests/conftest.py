"""Fixtures that every test may use."""

import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings

# How long an example takes depends on what else the machine does: nothing is asserted of time.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with real COCO pictures and golden outputs, which stands beside the checkout."""
    named = os.environ.get("POSEDATA_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(reason=f"needs the shared folder {folder}")
    return folder


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Return the processor, and with ``-m gpu`` the GPU: what the one computes, the other must."""
    if request.param == "cuda":
        torch = pytest.importorskip("torch")
        if not torch.cuda.is_available():
            pytest.skip(reason="needs a GPU")
    return str(request.param)


@pytest.fixture(scope="session")
def keyed(shared: Path) -> ModuleType:
    """Return ``peer_golden/keyed.py``: the weights and inputs that the golden outputs belong to."""
    return _load("peer_golden_keyed", shared / "peer_golden" / "keyed.py")


@pytest.fixture(scope="session")
def factory() -> ModuleType:
    """Return ``tests/store_factory.py``: small data sets and stores."""
    # Test folders are no packages: what they share is loaded by its place.
    return _load("store_factory", Path(__file__).with_name("store_factory.py"))


@pytest.fixture(scope="session")
def run_factory() -> ModuleType:
    """Return ``tests/run_factory.py``: runs without training."""
    return _load("run_factory", Path(__file__).with_name("run_factory.py"))


@pytest.fixture(scope="session")
def untrained_run(run_factory: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run whose small network has random weights; not to be changed."""
    folder: Path = run_factory.make_run(tmp_path_factory.mktemp("untrained") / "run")
    return folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread: small networks are no faster in two, and wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def judged() -> ModuleType:
    """Return ``tests/judged_cases.py``: persons and detections to be judged."""
    return _load("judged_cases", Path(__file__).with_name("judged_cases.py"))


@pytest.fixture(scope="session")
def judged_case(judged: ModuleType) -> Callable[..., Any]:
    """Return the function that draws ground truth and detections from a seed."""
    draw: Callable[..., Any] = judged.judged_case
    return draw


@pytest.fixture(scope="session")
def finished_store(factory: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a finished store of two small splits, with its data set beside it; copy it before changing it."""
    folder = tmp_path_factory.mktemp("finished")
    coco = factory.CocoMaker(folder / "coco")
    for split in ("train2017", "val2017"):
        coco.write(split)
        factory.prepare_split(folder / "crops.zarr", folder / "coco", split, factory.small_recipe())
    return folder / "crops.zarr"


@pytest.fixture(autouse=True, scope="session")
def _interrupts_are_heard() -> Iterator[None]:
    """Take SIGINT as a terminal would send it: a shell without job control starts its background jobs deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
