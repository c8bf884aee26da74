"""Fixtures that every test may use."""

import importlib.util
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with real COCO pictures and golden outputs, which stands beside the checkout."""
    named = os.environ.get("POSEDATA_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(reason=f"needs the shared folder {folder}")
    return folder


def _load_factory() -> ModuleType:
    # Test folders are no packages: what they share is loaded by its place.
    path = Path(__file__).with_name("store_factory.py")
    spec = importlib.util.spec_from_file_location("store_factory", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["store_factory"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def factory() -> ModuleType:
    """Return ``tests/store_factory.py``: small data sets and stores."""
    return _load_factory()


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
