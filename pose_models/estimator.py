"""From crops to keypoints, whatever runs the network."""

import io
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pose_data.errors import ModelError, UsageError
from pose_models.conventions import Conventions
from pose_models.copying import sent
from pose_models.evaluate import load_network
from pose_models.inference import keypoints_of_crops
from pose_models.onnx_estimator import OnnxEstimator
from pose_models.openvino_graph import OpenvinoEstimator
from pose_models.scene_inference import maps_and_fields

__all__ = ["Estimator", "TorchEstimator", "TorchScriptEstimator", "open_estimator"]

_Float = npt.NDArray[np.float64]


class Estimator(Protocol):
    """A network with its conventions."""

    @property
    def name(self) -> str:
        """Return the network's name."""
        ...

    @property
    def conventions(self) -> Conventions:
        """Return geometry, targets and skeleton."""
        ...

    def keypoints(self, images: npt.NDArray[np.uint8]) -> _Float:
        """Return (N, K, 3) x, y in the crop, and score, of crops (N, H, W, 3) uint8 RGB."""
        ...

    def maps_and_fields(self, images: npt.NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Return maps (N, J + 1, h, w) and fields (N, 2 L, h, w) of pictures (N, H, W, 3) uint8 RGB.

        Only of a network of whole pictures, which has no :meth:`keypoints`.
        """
        ...


class TorchEstimator:
    """A run's network in PyTorch."""

    def __init__(
        self, network: nn.Module, name: str, conventions: Conventions, *, device: torch.device, flip_test: bool,
        amp: str = "off",
    ) -> None:  # fmt: skip
        self._network, self.name, self.conventions = network, name, conventions
        self._device, self._flip_test, self._amp = device, flip_test, amp

    @staticmethod
    def of_run(
        run: Path, *, checkpoint: str, device: torch.device, flip_test: bool, amp: str = "off",
        say: Callable[[str], None] = lambda text: None,
    ) -> "TorchEstimator":  # fmt: skip
        """Return the estimator of a run's checkpoint; ``say`` as in ``load_network``. Raises ModelError."""
        network, found = load_network(run, which=checkpoint, device=device, say=say)
        return TorchEstimator(network, found.network, found.conventions, device=device, flip_test=flip_test, amp=amp)

    def maps_and_fields(self, images: npt.NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Return maps (N, J + 1, h, w) and fields (N, 2 L, h, w) of whole pictures (N, H, W, 3) uint8 RGB."""
        pixels = sent(images, self._device).permute(0, 3, 1, 2).to(torch.float32)
        return maps_and_fields(self._network, pixels, self.conventions, flip_test=self._flip_test, amp=self._amp)

    def keypoints(self, images: npt.NDArray[np.uint8]) -> _Float:
        """Return (N, K, 3) x, y in the crop, and score, of crops (N, H, W, 3) uint8 RGB."""
        pixels = sent(images, self._device).permute(0, 3, 1, 2).to(torch.float32)
        points, scores = keypoints_of_crops(
            self._network, pixels, self.conventions, flip_test=self._flip_test, amp=self._amp
        )
        return torch.cat([points, scores.to(torch.float64)[..., None]], dim=-1).cpu().numpy()


class TorchScriptEstimator:
    """A network of ``posetrain export --format torchscript``."""

    def __init__(self, content: bytes) -> None:
        """Load an archive. Raises ModelError for one that ``posetrain export`` did not make."""
        extra = {"posedata.json": ""}
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # TorchScript is deprecated; whoever asks for it knows
                self._graph = torch.jit.load(io.BytesIO(content), _extra_files=extra)  # type: ignore[no-untyped-call]
            facts = json.loads(extra["posedata.json"])
            self.name, self.conventions = str(facts["network"]), Conventions.from_dict(facts["conventions"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError("torchscript-foreign", f"posetrain export did not write this: {error}") from error

    @torch.inference_mode()
    def keypoints(self, images: npt.NDArray[np.uint8]) -> _Float:
        """Return (N, K, 3) x, y in the crop, and score, of crops (N, H, W, 3) uint8 RGB."""
        points, scores = self._graph(torch.from_numpy(images))
        return torch.cat([points, scores[..., None]], dim=-1).to(torch.float64).numpy()

    @torch.inference_mode()
    def maps_and_fields(self, images: npt.NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Return maps (N, J + 1, h, w) and fields (N, 2 L, h, w) of whole pictures (N, H, W, 3) uint8 RGB."""
        maps, fields = self._graph(torch.from_numpy(images))
        return maps, fields


def open_estimator(
    run: Path, *, checkpoint: str, device: torch.device, flip_test: bool, amp: str = "off",
    threads: int | None = None, say: Callable[[str], None] = lambda text: None,
) -> Estimator:  # fmt: skip
    """Return the estimator of a run's folder, or of a file of ``posetrain export --format onnx`` or ``openvino``.

    ``amp`` (off, bf16, fp16) is PyTorch's precision; ``say`` as in ``load_network``. Raises ModelError; UsageError
    where the mirrored picture, or a precision, is asked for and is not in the file.
    """
    kind = run.suffix.lower()
    if kind not in (".onnx", ".xml"):
        return TorchEstimator.of_run(run, checkpoint=checkpoint, device=device, flip_test=flip_test, amp=amp, say=say)
    if amp != "off":
        raise UsageError(
            "option-conflict", "an exported file has a precision of its own", where=str(run),
            hint="posetrain export RUN --format onnx --precision fp16",
        )  # fmt: skip
    estimator: OnnxEstimator | OpenvinoEstimator
    if kind == ".xml":
        estimator = OpenvinoEstimator.of_file(run, threads=threads)
    else:
        # Frames are read and drawn meanwhile.
        estimator = OnnxEstimator(run, device=str(device), threads=threads, shares_cores=True)
    if flip_test and not estimator.flip_test:
        raise UsageError(
            "option-conflict", "the mirrored picture is not in this file", where=str(run),
            hint="posetrain export RUN --format onnx --flip-test",
        )  # fmt: skip
    return estimator
