"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with real COCO pictures and golden outputs, which stands beside the checkout."""
    named = os.environ.get("POSEDATA_SHARED")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip(reason=f"needs the shared folder {folder}")
    return folder
