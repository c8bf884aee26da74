"""Exports in OpenVINO's own form, two files: the graph (XML) and its weights (BIN)."""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from pose_data.errors import ModelError, UsageError
from pose_models.conventions import Conventions
from pose_models.graph import INPUT_NAME, OUTPUT_NAMES, SCENE_OUTPUT_NAMES
from pose_models.onnx_estimator import FACTS_KEY

__all__ = ["OpenvinoEstimator", "openvino_files"]


_TELEMETRY = "openvino_telemetry"


def _openvino() -> Any:
    """Return the package, imported without its telemetry, which tells its makers of every import unless refused."""
    blocks = _TELEMETRY not in sys.modules
    if blocks:
        sys.modules[_TELEMETRY] = cast("Any", None)  # as if it were not installed
    try:
        import openvino
    except ImportError:
        raise UsageError(
            "extra-missing", "OpenVINO is not installed", hint="pip install -c constraints.txt '.[openvino]'"
        ) from None
    finally:
        if blocks:
            del sys.modules[_TELEMETRY]
    return openvino


def openvino_files(model: bytes, facts: Mapping[str, Any], *, half: bool) -> dict[str, bytes]:
    """Return an ONNX model of ours as OpenVINO's files by their suffix; ``half`` stores the weights in float16.

    Raises UsageError where OpenVINO is not installed.
    """
    openvino = _openvino()
    with TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "graph.onnx").write_bytes(model)
        # convert_model would do the same, and tell the makers of it.
        converted = openvino.Core().read_model(str(folder / "graph.onnx"))
        converted.set_rt_info(json.dumps(dict(facts)), FACTS_KEY)
        openvino.save_model(converted, str(folder / "graph.xml"), compress_to_fp16=half)
        return {suffix: (folder / f"graph{suffix}").read_bytes() for suffix in (".xml", ".bin")}


class OpenvinoEstimator:
    """A network of ``posetrain export --format openvino``, on the CPU in float32."""

    def __init__(self, files: Mapping[str, bytes], *, threads: int | None = None) -> None:
        """Compile the graph. Raises ModelError for one that ``posetrain export`` did not make."""
        openvino = _openvino()
        core = openvino.Core()
        try:
            model = core.read_model(files[".xml"], files[".bin"])
            facts = json.loads(str(model.get_rt_info(FACTS_KEY).astype(str)))
            self.name, self.flip_test = str(facts["network"]), bool(facts["flip_test"])
            self.conventions = Conventions.from_dict(facts["conventions"])
        except (RuntimeError, ValueError, KeyError) as error:
            text = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise ModelError("openvino-foreign", f"posetrain export did not write this: {text}") from error
        settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = threads
        self._compiled = core.compile_model(model, "CPU", settings)

    @staticmethod
    def of_file(path: Path, *, threads: int | None = None) -> "OpenvinoEstimator":
        """Return the estimator of an XML file with its BIN file beside it. Raises ModelError."""
        try:
            files = {suffix: path.with_suffix(suffix).read_bytes() for suffix in (".xml", ".bin")}
        except OSError as error:
            raise ModelError("openvino-foreign", f"the graph cannot be read: {error}", where=str(path)) from error
        return OpenvinoEstimator(files, threads=threads)

    def keypoints(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
        """Return (N, K, 3) x, y in the crop, and score, of crops (N, H, W, 3) uint8 RGB."""
        points, scores = self._run(images, OUTPUT_NAMES)
        joined: npt.NDArray[np.float64] = np.concatenate([points, scores[..., None]], axis=2).astype(np.float64)
        return joined

    def maps_and_fields(self, images: npt.NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Return maps (N, J + 1, h, w) and fields (N, 2 L, h, w) of whole pictures (N, H, W, 3) uint8 RGB."""
        maps, fields = self._run(images, SCENE_OUTPUT_NAMES)
        return torch.from_numpy(maps.copy()), torch.from_numpy(fields.copy())  # theirs are used again

    def _run(self, images: npt.NDArray[np.uint8], names: Sequence[str]) -> list[npt.NDArray[np.float32]]:
        found = self._compiled({INPUT_NAME: images})
        return [found[self._compiled.output(name)] for name in names]
