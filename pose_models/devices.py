"""Where a training runs: the device, and the other processes that torchrun started beside this one.

A process that fails ends its connections, and the others, which wait for it, fail at once with ``process-lost``; one
that hangs is given up after ten minutes.
"""

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import distributed

from pose_data.errors import ModelError, UsageError

__all__ = ["Place", "any_says", "autocast", "from_leader", "gathered", "repeatable", "taking_part"]

_T = TypeVar("_T")
_LONGEST_WAIT = timedelta(minutes=10)
"""For another process: longer than the leading one takes to write a checkpoint or to compile a network."""
_BACKENDS = "cpu:gloo,cuda:nccl"
"""Weights go over NCCL; a request to stop goes between the processors, and the device's queue is not waited for."""


@dataclass(frozen=True, slots=True)
class Place:
    """This process's device, and its number among all."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def leads(self) -> bool:
        """Return whether this process writes and tells."""
        return self.rank == 0


@contextmanager
def taking_part(device: str) -> Iterator[Place]:
    """Yield this process's place; joins the others where torchrun set RANK and WORLD_SIZE.

    ``device``: cpu, cuda, cuda:1, or auto, which is cuda where there is one. Raises ModelError where CUDA is asked for
    and absent or another process is lost, UsageError for another name.
    """
    world_size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    chosen = _device(device, int(os.environ.get("LOCAL_RANK", "0")), world_size)
    if world_size == 1:
        yield Place(chosen)
        return
    distributed.init_process_group(_BACKENDS if chosen.type == "cuda" else "gloo", timeout=_LONGEST_WAIT)
    try:
        yield Place(chosen, rank, world_size)
    except RuntimeError as error:
        if not _is_of_another_process(error):
            raise
        raise ModelError(
            "process-lost", f"another of the {world_size} processes stopped, or did not answer", where=f"rank {rank}",
            hint="its own message says why; after that, the same command with --resume goes on",
        ) from error  # fmt: skip
    finally:
        distributed.destroy_process_group()


def _is_of_another_process(error: RuntimeError) -> bool:
    """Return whether a collective operation failed; gloo's errors have no type of their own."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error)


def _device(name: str, local_rank: int, world_size: int) -> torch.device:
    there = torch.cuda.is_available()
    if name == "auto":
        name = "cuda" if there else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError("device-unknown", f"there is no device {name!r}", hint="auto, cpu, cuda or cuda:N") from None
    if device.type == "cuda":
        if not there:
            raise ModelError(
                "device-absent", "CUDA was asked for, and this computer or this build of torch has none",
                hint="--device cpu; `posedata doctor` shows what is there",
            )  # fmt: skip
        number = local_rank if world_size > 1 else device.index
        if number is None:
            number = torch.cuda.current_device()
        if number >= torch.cuda.device_count():
            raise ModelError(
                "device-absent", f"there is no GPU {number}: this computer has {torch.cuda.device_count()}",
                hint="they are counted from 0; `posedata doctor` shows them",
            )  # fmt: skip
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
    return device


def autocast(device: torch.device, amp: str, *, cached: bool = True) -> torch.autocast:
    """Return the autocast context of a precision: off, bf16 or fp16. ``cached``: weights are rounded once within it."""
    dtype = torch.float16 if amp == "fp16" else torch.bfloat16
    return torch.autocast(device.type, dtype=dtype, enabled=amp != "off", cache_enabled=cached)


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Have a GPU add up in the same order each time, where there is code for it; processors do so anyway."""
    if device.type != "cuda":
        yield
        return
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS reads it at its first use
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    settings: Any = torch.utils.deterministic
    filled = settings.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    settings.fill_uninitialized_memory = False  # finds bugs, and takes time
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*does not have a deterministic implementation")
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        settings.fill_uninitialized_memory = filled


def gathered(value: Any, place: Place) -> list[Any]:
    """Return the value of every process, by rank."""
    if place.world_size == 1:
        return [value]
    values: list[Any] = [None] * place.world_size
    distributed.all_gather_object(values, value)
    return values


def from_leader(make: Callable[[], _T], place: Place) -> _T:
    """Return what ``make`` returns in the leading process; it is called there alone."""
    values = [make() if place.leads else None]
    if place.world_size > 1:
        distributed.broadcast_object_list(values, src=0)
    return values[0]  # type: ignore[return-value]


def any_says(value: bool, place: Place) -> bool:
    """Return whether the value is true in any process. All ask together; it costs half a millisecond, between CPUs."""
    if place.world_size == 1:
        return value
    flag = torch.tensor([value], dtype=torch.uint8)
    distributed.all_reduce(flag, distributed.ReduceOp.MAX)
    return bool(flag.item())
