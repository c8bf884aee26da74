"""Versions of what decides a store's bytes: the libraries and our own code."""

import hashlib
from functools import lru_cache
from importlib import metadata
from pathlib import Path

import pose_data

__all__ = ["code_digest", "library_versions"]

_LIBRARIES = ("numpy", "simplejpeg", "numcodecs", "zarr", "pyarrow", "pycocotools")
_OPENCV = ("opencv-python-headless", "opencv-python", "opencv-contrib-python-headless", "opencv-contrib-python")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@lru_cache(maxsize=1)
def library_versions() -> dict[str, str]:
    """Return the version of every library that decides a store's bytes, and our own."""
    found = {name: _version(name) or "not installed" for name in _LIBRARIES}
    found["opencv"] = next((version for name in _OPENCV if (version := _version(name))), "unknown")
    found["posedata"] = pose_data.__version__
    return dict(sorted(found.items()))


@lru_cache(maxsize=1)
def code_digest() -> str:
    """Return the SHA-256 of our own data code: an unfinished store is continued by the same code only."""
    digest = hashlib.sha256()
    folder = Path(pose_data.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        if path.relative_to(folder).parts[0] not in ("sample", "evaluation"):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()
