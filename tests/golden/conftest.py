"""What the golden tests share."""

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def references(shared: Path, keyed):
    """Return the reference networks' state dicts and outputs: ``tests/golden/reference.py``."""
    # Test folders are no packages: what they share is loaded by its place.
    spec = importlib.util.spec_from_file_location("golden_reference", Path(__file__).with_name("reference.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    found = module.References.of(shared / "peer_golden", keyed)
    yield found
    found.arrays.close()
