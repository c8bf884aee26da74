"""Look at this computer: is what posedata needs there, and what will it be like to work on it?"""

import importlib.util
import os
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np
import psutil

import pose_data
from pose_data.cores import usable_cores
from pose_data.imaging import decode_picture, encode_jpeg
from pose_data.versions import library_versions

__all__ = ["DoctorReport", "Level", "Observation", "doctor"]

Level = Literal["good", "warning", "bad"]

_LIBRARIES = ("dask", "distributed", "numcodecs", "numpy", "psutil", "pyarrow", "pycocotools", "simplejpeg", "zarr")
_PROBE_WH = (640, 480)
_PROBE_S = 0.3
_SLOW_PICTURES_S = 150.0
_LEAST_MEMORY_BYTES = 1_000_000_000
_LEAST_DISK_BYTES = 5_000_000_000
_LEAST_FILES = 256
_CGROUP_MEMORY = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_CGROUP_CPU = "/sys/fs/cgroup/cpu.max"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One thing that was looked at. ``advice`` says what to do when it is not good."""

    name: str
    value: str
    level: Level = "good"
    advice: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorReport:
    """All observations, in the order in which they are best read."""

    observations: tuple[Observation, ...]

    @property
    def healthy(self) -> bool:
        """Return whether nothing is bad."""
        return all(seen.level != "bad" for seen in self.observations)


def doctor(folder: str | Path = ".") -> DoctorReport:
    """Look at versions, decoder, cores, memory, the disk of ``folder``, GPU, allocator and limits.

    Takes about a second; nothing is written. Never raises for what it finds.
    """
    looks: tuple[Callable[[], Iterator[Observation]], ...] = (
        _python, _libraries, _decoder, _cores, _memory, lambda: _disk(Path(folder)), _gpu, _allocator, _limits,
    )  # fmt: skip
    return DoctorReport(observations=tuple(seen for look in looks for seen in look()))


def _python() -> Iterator[Observation]:
    yield Observation(name="posedata", value=f"{pose_data.__version__} in {Path(pose_data.__file__).parent}")
    version = platform.python_version()
    old = sys.version_info < (3, 11)
    yield Observation(
        name="python", value=f"{version} at {sys.executable}", level="bad" if old else "good",
        advice="posedata needs Python 3.11 or newer" if old else "",
    )  # fmt: skip
    yield Observation(name="system", value=platform.platform())


def _libraries() -> Iterator[Observation]:
    for name in _LIBRARIES:
        try:
            yield Observation(name=name, value=metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Observation(name=name, value="not installed", level="bad", advice=f"pip install {name}")
    opencv = library_versions()["opencv"]
    yield Observation(
        name="opencv", value=f"{opencv} at {_place('cv2')}", level="good" if opencv != "unknown" else "warning",
        advice="" if opencv != "unknown" else "cv2 does not come from a package that pip knows",
    )  # fmt: skip
    torch = "torch" if importlib.util.find_spec("torch") else ""
    yield Observation(
        name="torch", value=metadata.version("torch") if torch else "not installed; needed for training only"
    )


def _place(module: str) -> str:
    found = importlib.util.find_spec(module)
    return str(found.origin) if found is not None and found.origin else "an unknown place"


def _decoder() -> Iterator[Observation]:
    # simplejpeg's extension module carries libjpeg-turbo in itself.
    yield Observation(name="jpeg decoder", value=f"libjpeg-turbo in {_place('simplejpeg._jpeg')}")
    rate = _pictures_a_second()
    slow = rate < _SLOW_PICTURES_S
    yield Observation(
        name="decoding", value=f"{rate:,.0f} pictures/s of {_PROBE_WH[0]} x {_PROBE_WH[1]} on one core",
        level="warning" if slow else "good",
        advice="slow: is the machine busy, or the decoder built without SIMD?" if slow else "",
    )  # fmt: skip


def _pictures_a_second() -> float:
    """Return how many JPEGs of COCO's usual size and detail one core decodes, checks included."""
    width_px, height_px = _PROBE_WH
    y, x = np.mgrid[:height_px, :width_px]
    noise = np.random.default_rng(0).integers(0, 24, (height_px, width_px, 3))
    waves = 100 + 60 * np.sin(x / 23)[..., None] + 50 * np.cos(y / 17)[..., None]
    data = encode_jpeg((waves + noise).clip(0, 255).astype(np.uint8), 90)
    buffer = bytearray(width_px * height_px * 3)
    count, began_s = 0, time.perf_counter()
    while (seconds := time.perf_counter() - began_s) < _PROBE_S:
        decode_picture(data, file_name="probe.jpg", expected_wh=_PROBE_WH, exif="ignore", buffer=buffer)
        count += 1
    return count / seconds


def _cores() -> Iterator[Observation]:
    usable = usable_cores()
    quota = _cpu_quota()
    value = f"{usable} usable of {os.cpu_count() or 1}"
    if quota is not None:
        value += f", limited to {quota:g} by the container"
    yield Observation(name="cores", value=value)


def _cpu_quota() -> float | None:
    try:
        quota, period = Path(_CGROUP_CPU).read_text(encoding="ascii").split()
        return int(quota) / int(period)
    except (OSError, ValueError):
        return None  # no such limit, or "max"


def _memory() -> Iterator[Observation]:
    memory = psutil.virtual_memory()
    limit = _memory_limit()
    free = memory.available if limit is None else min(memory.available, limit)
    value = f"{memory.available / 1e9:.1f} GB free of {memory.total / 1e9:.1f} GB"
    if limit is not None and limit < memory.total:
        value += f", limited to {limit / 1e9:.1f} GB by the container"
    low = free < _LEAST_MEMORY_BYTES
    yield Observation(
        name="memory", value=value, level="warning" if low else "good",
        advice="a preparation plans up to 1 GB: give fewer --workers and a smaller --memory" if low else "",
    )  # fmt: skip


def _memory_limit() -> int | None:
    for name in _CGROUP_MEMORY:
        try:
            return int(Path(name).read_text(encoding="ascii"))
        except (OSError, ValueError):
            continue  # another kind of control group, or "max"
    return None


def _disk(folder: Path) -> Iterator[Observation]:
    try:
        usage = shutil.disk_usage(folder)
    except OSError as error:
        yield Observation(
            name="disk", value=f"{folder.absolute()}: {error.strerror}", level="bad", advice="choose another folder"
        )
        return
    low = usage.free < _LEAST_DISK_BYTES
    yield Observation(
        name="disk", value=f"{usage.free / 1e9:.1f} GB free of {usage.total / 1e9:.1f} GB at {folder.absolute()}",
        level="warning" if low else "good",
        advice="COCO's train2017 takes about 17.1 GB, with --image-codec jpeg 3.8 GB" if low else "",
    )  # fmt: skip
    if not os.access(folder, os.W_OK):
        yield Observation(
            name="writable", value=f"{folder.absolute()} is not", level="warning", advice="give --out another place"
        )


def _gpu() -> Iterator[Observation]:
    program = shutil.which("nvidia-smi")
    if program is None:
        yield Observation(name="gpu", value="none seen (no nvidia-smi); needed for training only")
        return
    query = [program, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        yield Observation(
            name="gpu", value=f"nvidia-smi fails: {type(error).__name__}", level="warning", advice="look at the driver"
        )
        return
    for line in answer.splitlines():
        yield Observation(name="gpu", value=line.strip())


def _allocator() -> Iterator[Observation]:
    name, version = platform.libc_ver()
    settings = {key: value for key, value in os.environ.items() if key.startswith(("MALLOC_", "GLIBC_TUNABLES"))}
    preload = os.environ.get("LD_PRELOAD", "")
    value = f"{name or 'unknown'} {version}".strip()
    value += "".join(f", {key}={setting}" for key, setting in sorted(settings.items()))
    value += f", LD_PRELOAD={preload}" if preload else ""
    # Every decoded picture would be mapped and faulted in afresh; measured in pipelines.schedulers.
    trims = int(settings.get("MALLOC_TRIM_THRESHOLD_", "") or -1) if _is_number(settings) else -1
    slow = 0 <= trims < 1 << 20
    yield Observation(
        name="malloc", value=value, level="warning" if slow else "good",
        advice="MALLOC_TRIM_THRESHOLD_ is small: decoding is up to 1.4 times slower" if slow else "",
    )  # fmt: skip


def _is_number(settings: dict[str, str]) -> bool:
    return settings.get("MALLOC_TRIM_THRESHOLD_", "").isdigit()


def _limits() -> Iterator[Observation]:
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    few = 0 <= files < _LEAST_FILES
    yield Observation(
        name="open files", value=_limit(files), level="warning" if few else "good",
        advice="ulimit -n 1024" if few else "",
    )  # fmt: skip
    for name, which in (("address space", resource.RLIMIT_AS), ("file size", resource.RLIMIT_FSIZE)):
        limit = resource.getrlimit(which)[0]
        limited = limit != resource.RLIM_INFINITY
        yield Observation(
            name=name, value=_limit(limit), level="warning" if limited else "good",
            advice="a ulimit holds; a large preparation may meet it" if limited else "",
        )  # fmt: skip


def _limit(value: int) -> str:
    return "no limit" if value == resource.RLIM_INFINITY else f"{value:,}"
