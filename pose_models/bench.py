"""How fast a network is here: bytes of crops in memory to keypoints in memory, decoding included.

Of networks of whole pictures: bytes of pictures to maps and fields. How long the grouping then takes depends on who is
in the picture; ``benchmarks/grouping.py`` measures that.
"""

import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pose_data.errors import ModelError, UsageError
from pose_data.events import Event, Listener, silent
from pose_data.recipes import Recipe, build_recipe
from pose_data.skeleton import COCO_PERSON
from pose_models.conventions import Conventions, conventions_of
from pose_models.devices import taking_part
from pose_models.estimator import Estimator, TorchEstimator
from pose_models.evaluate import load_network
from pose_models.export import onnx_content
from pose_models.networks.catalogue import NETWORKS, find_network
from pose_models.onnx_estimator import OnnxEstimator
from pose_models.parity import generated_crops
from pose_models.train_config import default_config

__all__ = ["BACKENDS", "BenchReport", "BenchRow", "bench", "fresh_network"]

_WARM_UPS = 3
_FEWEST_CALLS = 5
_SCENE_RECIPES = {"openpose": "openpose-368", "lightweight-openpose": "lightweight-openpose-368"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """One backend at one batch size; times of one call."""

    backend: str
    batch_size: int
    latency_ms: float
    """Median."""
    latency_ms_95: float
    """95th percentile."""
    per_s: float
    """Crops, or whole pictures, a second, of the median call."""
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchReport:
    """The rows of a benchmark, and what it ran on; ``left_out`` says why a backend has none."""

    network: str
    device: str
    threads: int
    flip_test: bool
    looks_at: Literal["crops", "pictures"]
    """Of whole pictures, grouping is not in the times."""
    size_wh: tuple[int, int]
    """Of a crop or picture, in pixels."""
    rows: tuple[BenchRow, ...]
    left_out: Mapping[str, str]


def bench(
    run: str | Path,
    *,
    backends: Sequence[str] = ("eager", "compiled", "onnxruntime"),
    batch_sizes: Sequence[int] = (1, 8, 32),
    seconds: float = 2.0,
    threads: int | None = None,
    amp: str = "off",
    flip_test: bool = False,
    device: str = "auto",
    on_event: Listener = silent,
) -> BenchReport:
    """Measure a run's network, or a network of the catalogue with random weights, or an exported file.

    Backends of one batch size take turns, call by call, for ``seconds`` each, so that a computer that is busy with
    something else is so for all of them. A backend that is not there is left out, with the reason. ``amp`` (off, bf16,
    fp16) is PyTorch's. Raises UsageError, ModelError.
    """
    unknown = [name for name in backends if name not in BACKENDS]
    if unknown:
        raise UsageError("option-value", f"there is no backend {unknown[0]!r}", hint=f"of: {', '.join(BACKENDS)}")
    if not batch_sizes or min(batch_sizes) < 1:
        raise UsageError("option-value", "a batch size is at least 1")
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    try:
        with taking_part(device) as place:
            subject = _Subject(Path(run), place.device, threads, amp, flip_test)
            estimators, left_out = _built(subject, backends)
            rows: list[BenchRow] = []
            for size in batch_sizes:
                on_event(Event(kind="stage", stage="bench", text=f"batches of {size}"))
                rows += _measured(estimators, generated_crops(subject.conventions, count=size), seconds, left_out)
            recipe = subject.conventions.recipe
            return BenchReport(
                network=subject.name, device=str(place.device), threads=torch.get_num_threads(), flip_test=flip_test,
                looks_at="pictures" if subject.conventions.grouping else "crops",
                size_wh=(recipe.crop_width_px, recipe.crop_height_px), rows=tuple(rows), left_out=left_out,
            )  # fmt: skip
    finally:
        torch.set_num_threads(before)


class _Subject:
    """What is measured: a network with its conventions, or a file that is only for ONNX Runtime."""

    def __init__(self, run: Path, device: torch.device, threads: int | None, amp: str, flip_test: bool) -> None:
        self.device, self.threads, self.amp, self.flip_test = device, threads, amp, flip_test
        self.network: nn.Module | None = None
        self.file: Path | None = None
        if run.suffix.lower() == ".onnx":
            self.file = run
            opened = OnnxEstimator(run, device=str(device), threads=threads)
            self.name, self.conventions = opened.name, opened.conventions
        elif not run.exists() and str(run) in NETWORKS:
            self.name = str(run)
            self.network, self.conventions = fresh_network(self.name)
        else:
            self.network, found = load_network(run, device=device)
            self.name, self.conventions = found.network, found.conventions
        if self.network is not None:
            self.network = self.network.to(device).eval()

    def in_torch(self, network: nn.Module) -> Estimator:
        return TorchEstimator(
            network, self.name, self.conventions, device=self.device, flip_test=self.flip_test, amp=self.amp
        )


def fresh_network(name: str) -> tuple[nn.Module, Conventions]:
    """Return a network of the catalogue with random weights, for COCO's keypoints, and its own conventions."""
    network = find_network(name)
    if network.output == "maps-and-fields":
        recipe = build_recipe(_SCENE_RECIPES[network.family])
    else:
        sizes = {"crop_width_px": network.input_width_px, "crop_height_px": network.input_height_px}
        recipe = Recipe.from_dict({"name": name, "geometry": network.geometry, **sizes})
    conventions = conventions_of(network, default_config(name), recipe, COCO_PERSON)
    torch.manual_seed(0)
    return network.build(conventions.skeleton.keypoint_count), conventions


def _eager(subject: _Subject) -> Estimator:
    return subject.in_torch(_network(subject))


def _compiled(subject: _Subject) -> Estimator:
    return subject.in_torch(torch.compile(_network(subject), dynamic=False))  # type: ignore[arg-type]


def _onnxruntime(subject: _Subject) -> Estimator:
    if subject.file is not None:
        return OnnxEstimator(subject.file, device=str(subject.device), threads=subject.threads)
    network = _network(subject).to("cpu")
    content = onnx_content(network, subject.name, subject.conventions, flip_test=subject.flip_test)
    network.to(subject.device)
    return OnnxEstimator(content, device=str(subject.device), threads=subject.threads)


def _network(subject: _Subject) -> nn.Module:
    if subject.network is None:
        raise UsageError("option-conflict", "an ONNX file runs in onnxruntime only", hint="name the run's folder")
    return subject.network


BACKENDS: Mapping[str, Callable[[_Subject], Estimator]] = MappingProxyType(
    {"eager": _eager, "compiled": _compiled, "onnxruntime": _onnxruntime}
)


def _built(subject: _Subject, backends: Sequence[str]) -> tuple[dict[str, Estimator], dict[str, str]]:
    estimators: dict[str, Estimator] = {}
    left_out: dict[str, str] = {}
    for name in backends:
        try:
            estimators[name] = BACKENDS[name](subject)
        except (UsageError, ModelError) as error:
            left_out[name] = error.message
    return estimators, left_out


def _measured(
    estimators: dict[str, Estimator], crops: npt.NDArray[np.uint8], seconds: float, left_out: dict[str, str]
) -> list[BenchRow]:
    times_s: dict[str, list[float]] = {}
    calls: dict[str, Callable[[npt.NDArray[np.uint8]], object]] = {
        name: estimator.maps_and_fields if estimator.conventions.grouping else estimator.keypoints
        for name, estimator in estimators.items()
    }
    for name, call in calls.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the compiler's advice
                for _ in range(_WARM_UPS):
                    call(crops)
        except RuntimeError as error:  # the compiler's errors, and memory that is not there
            left_out[name] = str(error).strip().splitlines()[0]
            del estimators[name]
            continue
        times_s[name] = []
    while any(sum(times) < seconds or len(times) < _FEWEST_CALLS for times in times_s.values()):
        for name, times in times_s.items():
            if sum(times) < seconds or len(times) < _FEWEST_CALLS:
                began_s = time.perf_counter()
                calls[name](crops)
                times.append(time.perf_counter() - began_s)
    return [_row(name, len(crops), np.array(times)) for name, times in times_s.items()]


def _row(name: str, batch_size: int, times_s: npt.NDArray[np.float64]) -> BenchRow:
    median_s, late_s = np.percentile(times_s, [50, 95]).tolist()
    return BenchRow(
        backend=name, batch_size=batch_size, latency_ms=1000 * median_s, latency_ms_95=1000 * late_s,
        per_s=batch_size / median_s, calls=len(times_s),
    )  # fmt: skip
