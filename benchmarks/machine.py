"""One line about the machine and the versions, for the head of every benchmark's output."""

import os
import platform
from pathlib import Path

from pose_data.versions import library_versions

__all__ = ["describe_machine"]


def describe_machine() -> str:
    """Return the processor, its cores at hand, the memory, Python's and the libraries' versions."""
    cpu = platform.processor() or platform.machine()
    information = Path("/proc/cpuinfo")
    if information.is_file():
        lines = information.read_text(encoding="utf-8").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    versions = ", ".join(f"{name} {version}" for name, version in library_versions().items())
    cores = len(os.sched_getaffinity(0))
    return f"{cpu}, {cores} cores, {memory_gb:.0f} GB, Python {platform.python_version()}; {versions}"
