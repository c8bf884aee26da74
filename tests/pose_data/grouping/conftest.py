"""What the tests of grouping share."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest


@pytest.fixture(scope="session")
def plain() -> ModuleType:
    """Return ``plain_grouping.py``: all of grouping, one number after the other."""
    path = Path(__file__).with_name("plain_grouping.py")
    spec = importlib.util.spec_from_file_location("plain_grouping", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
