"""Versions of what decides a store's bytes."""

import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np

import pose_data
from pose_data.versions import code_digest, library_versions


def test_every_library_that_decides_bytes_is_named():
    versions = library_versions()
    assert list(versions) == sorted(versions)
    assert {"numcodecs", "numpy", "opencv", "posedata", "pyarrow", "pycocotools", "simplejpeg", "zarr"} <= set(versions)
    assert versions["numpy"] == np.__version__
    assert versions["posedata"] == pose_data.__version__ == metadata.version("posedata")
    assert versions["opencv"].startswith(cv2.__version__)
    assert all(re.match(r"\d+\.\d", version) for version in versions.values())


def test_the_codes_digest_is_the_same_in_another_process_and_place(tmp_path):
    source = "import sys; from pose_data.versions import code_digest; sys.stdout.write(code_digest())"
    other = subprocess.run([sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert re.fullmatch("[0-9a-f]{64}", code_digest())
    assert other.stdout == code_digest()


def test_any_change_of_the_data_code_changes_the_digest(tmp_path, monkeypatch):
    package = tmp_path / "pose_data"
    (package / "sample").mkdir(parents=True)
    for name in ("__init__.py", "geometry.py", "sample/plan.py", "notes.txt"):
        (package / name).write_text(f"# {name}\n", encoding="utf-8")
    monkeypatch.setattr(pose_data, "__file__", str(package / "__init__.py"))

    def digest() -> str:
        return code_digest.__wrapped__()

    before = digest()
    assert digest() == before
    (package / "sample" / "plan.py").write_text("# other\n", encoding="utf-8")
    (package / "notes.txt").write_text("other\n", encoding="utf-8")
    assert digest() == before  # neither makes a store's bytes
    (package / "geometry.py").write_text("# other\n", encoding="utf-8")
    changed = digest()
    assert changed != before
    Path(package / "geometry.py").rename(package / "geometries.py")
    assert digest() not in (before, changed)
