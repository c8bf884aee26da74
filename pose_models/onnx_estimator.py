"""An exported network, run by ONNX Runtime."""

import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pose_data.cores import usable_cores
from pose_data.errors import ModelError, UsageError
from pose_models.conventions import Conventions
from pose_models.graph import INPUT_NAME, OUTPUT_NAMES, SCENE_OUTPUT_NAMES

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["FACTS_KEY", "OnnxEstimator", "open_session"]

FACTS_KEY = "posedata"
"""The model's metadata entry with everything that is known about it, as JSON."""
_PART = 4
"""Pictures that a core takes at a time: of 1 to 16, what was fastest for networks from 0.1 to 7 GMAC."""


def open_session(
    model: Path | bytes, *, device: str = "cpu", threads: int | None = None, shares_cores: bool = False
) -> "onnxruntime.InferenceSession":
    """Return a session of ONNX Runtime on the CPU, or on CUDA (cuda, cuda:1) where the build has it.

    Threads of ONNX Runtime wait for their next work by spinning, a few hundredths faster and at the
    cost of whoever else wants the cores; with ``shares_cores`` they sleep.

    Raises UsageError where ONNX Runtime is not installed, ModelError where it does not take the file.
    """
    try:
        import onnxruntime
    except ImportError:
        raise UsageError(
            "extra-missing", "ONNX Runtime is not installed", hint="pip install -c constraints.txt '.[export]'"
        ) from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if threads:
        options.intra_op_num_threads = threads
    if shares_cores:
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    there = onnxruntime.get_available_providers()
    wanted: list[str | tuple[str, dict[str, str]]] = ["CPUExecutionProvider"]
    if device != "cpu" and "CUDAExecutionProvider" in there:
        wanted.insert(0, ("CUDAExecutionProvider", {"device_id": _gpu_number(device)}))
    elif device.startswith("cuda"):
        raise ModelError(
            "device-absent", "this build of ONNX Runtime has no CUDA", hint="onnxruntime-gpu; --device cpu"
        )
    where = str(model) if isinstance(model, Path) else ""
    if isinstance(model, Path) and not model.is_file():
        raise ModelError("onnx-invalid", "there is no such file", where=where)
    try:
        return onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model), sess_options=options, providers=wanted
        )
    except Exception as error:
        text = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ModelError("onnx-invalid", f"ONNX Runtime does not take the model: {text}", where=where) from error


def _gpu_number(device: str) -> str:
    """Return which GPU a device's name means: cuda:1 the second, auto and cuda the first."""
    number = device.partition(":")[2]
    return number if number.isdecimal() else "0"


class OnnxEstimator:
    """A network of ``posetrain export --format onnx``; the mirrored picture is inside the graph or is not."""

    def __init__(
        self, model: Path | bytes, *, device: str = "cpu", threads: int | None = None, shares_cores: bool = False
    ) -> None:
        """Open the file; with ``shares_cores`` each core takes crops for itself where there are enough of them.

        Raises ModelError for a file that ``posetrain export`` did not make.
        """
        self._cores = _Cores(model, device=device, threads=threads, shares_cores=shares_cores)
        facts = _facts(self._cores.first, str(model) if isinstance(model, Path) else "")
        self.name, self.flip_test = str(facts["network"]), bool(facts["flip_test"])
        self.precision = str(facts["precision"])
        self.conventions = Conventions.from_dict(facts["conventions"])

    def keypoints(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return (N, K, 3) x, y in the crop, and score, of crops (N, H, W, 3) uint8 RGB."""
        points, scores = self._cores.run(OUTPUT_NAMES, images)
        joined: npt.NDArray[np.float64] = np.concatenate([points, scores[..., None]], axis=2).astype(np.float64)
        return joined

    def maps_and_fields(self, images: npt.NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Return maps (N, J + 1, h, w) and fields (N, 2 L, h, w) of whole pictures (N, H, W, 3) uint8 RGB."""
        maps, fields = self._cores.run(SCENE_OUTPUT_NAMES, images)
        return torch.from_numpy(maps), torch.from_numpy(fields)


class _Cores:
    """Runs a model on few pictures with all cores together, on many with each core for itself.

    Cores that share a picture wait for each other at every layer; those that share a batch do not. On two cores that is
    worth a fifth for RTMPose-t, a hundredth for ResNet-50; but where somebody's threads wait by spinning, it costs.
    So it is done with ``shares_cores`` alone.
    """

    def __init__(self, model: Path | bytes, *, device: str, threads: int | None, shares_cores: bool) -> None:
        self._model, self._device, self._asked, self._shares = model, device, threads, shares_cores
        self._count = threads or usable_cores()
        self._together: onnxruntime.InferenceSession | None = None
        self._apart: onnxruntime.InferenceSession | None = None
        self._pool = ThreadPoolExecutor(self._count, thread_name_prefix="onnx")
        if device == "cpu" and shares_cores:
            self.first = self._apart = open_session(model, threads=1)
        else:
            self.first = self._together = self._opened_together()

    def _opened_together(self) -> "onnxruntime.InferenceSession":
        return open_session(self._model, device=self._device, threads=self._asked, shares_cores=self._shares)

    def run(self, outputs: Sequence[str], images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
        """Return the model's outputs for pictures (N, H, W, 3)."""
        if self._apart is None or len(images) < self._count:
            self._together = self._together or self._opened_together()
            whole: list[npt.NDArray[np.float32]] = self._together.run(list(outputs), {INPUT_NAME: images})
            return whole
        session = self._apart

        def part(images: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.float32]]:
            found: list[npt.NDArray[np.float32]] = session.run(list(outputs), {INPUT_NAME: images})
            return found

        parts = list(self._pool.map(part, _parted(images, self._count)))
        return [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]


def _parted(images: npt.NDArray[np.uint8], cores: int) -> Iterator[npt.NDArray[np.uint8]]:
    """Yield parts that get smaller towards the end, so that all cores end at about the same time."""
    while len(images):
        size = min(_PART, max(1, len(images) // (2 * cores)))
        yield images[:size]
        images = images[size:]


def _facts(session: "onnxruntime.InferenceSession", where: str) -> dict[str, Any]:
    text = session.get_modelmeta().custom_metadata_map.get(FACTS_KEY, "")
    try:
        facts: dict[str, Any] = json.loads(text)
        missing = {"network", "flip_test", "precision", "conventions"} - set(facts)
    except ValueError:
        missing = {FACTS_KEY}
    if missing:
        inputs = ", ".join(f"{one.name} {one.shape}" for one in session.get_inputs())
        outputs = ", ".join(f"{one.name} {one.shape}" for one in session.get_outputs())
        raise ModelError(
            "onnx-foreign", f"posetrain export did not write this model (in: {inputs}; out: {outputs})", where=where,
            hint="posetrain export RUN --format onnx; a detector is named with --detector",
        )  # fmt: skip
    return facts
