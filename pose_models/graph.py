"""A network with everything around it in one graph: bytes of a crop in, keypoints and scores out.

The graph's input ``images`` is (N, H, W, 3) uint8 RGB; its outputs are ``keypoints`` (N, K, 2) float32, x and y in the
crop's pixels, and ``scores`` (N, K) float32. Normalisation, the mirrored picture where it is asked for, decoding and
the way back to the crop are inside, and are the very code of :mod:`pose_models.inference`.

A network of whole pictures takes pictures of any size that is whole in cells, and gives ``maps`` (N, J + 1, h, w) and
``fields`` (N, 2 L, h, w) float32 of its last stage: how many persons they are is no graph's to say, so the grouping
stays outside.
"""

import copy
import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from pose_models.conventions import Conventions
from pose_models.inference import traceable_keypoints
from pose_models.scene_inference import traceable_maps_and_fields

__all__ = [
    "INPUT_NAME",
    "OUTPUT_NAMES",
    "SCENE_OUTPUT_NAMES",
    "Graph",
    "KeypointGraph",
    "SceneGraph",
    "onnx_bytes",
    "torchscript_bytes",
]

INPUT_NAME = "images"
OUTPUT_NAMES = ("keypoints", "scores")
SCENE_OUTPUT_NAMES = ("maps", "fields")
_OPSET = 17


class KeypointGraph(nn.Module):
    """Crops (N, H, W, 3) uint8 RGB to keypoints (N, K, 2) and scores (N, K), float32."""

    output_names = OUTPUT_NAMES
    free_axes: Mapping[str, Mapping[int, str]] = {name: {0: "persons"} for name in (INPUT_NAME, *OUTPUT_NAMES)}
    """Of inputs and outputs, those of any length."""

    def __init__(self, network: nn.Module, conventions: Conventions, *, flip_test: bool, half: bool = False) -> None:
        super().__init__()
        self.network: nn.Module = _HalfPrecision(network) if half else network
        self._conventions, self._flip_test = conventions, flip_test
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return keypoints and scores."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        points, scores = traceable_keypoints(self.network, pixels, self._conventions, flip_test=self._flip_test)
        return points.to(torch.float32), scores.to(torch.float32)

    def example(self) -> Tensor:
        """Return an input to trace with."""
        return _example(self._conventions)


class SceneGraph(nn.Module):
    """Pictures (N, H, W, 3) uint8 RGB to maps (N, J + 1, h, w) and fields (N, 2 L, h, w), float32."""

    output_names = SCENE_OUTPUT_NAMES
    free_axes: Mapping[str, Mapping[int, str]] = {
        INPUT_NAME: {0: "pictures", 1: "height", 2: "width"},
        **{name: {0: "pictures", 2: "rows", 3: "columns"} for name in SCENE_OUTPUT_NAMES},
    }

    def __init__(self, network: nn.Module, conventions: Conventions, *, flip_test: bool, half: bool = False) -> None:
        super().__init__()
        self.network: nn.Module = _HalfPrecision(network) if half else network
        self._conventions, self._flip_test = conventions, flip_test
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return maps and fields."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32)
        return traceable_maps_and_fields(self.network, pixels, self._conventions, flip_test=self._flip_test)

    def example(self) -> Tensor:
        """Return an input to trace with."""
        return _example(self._conventions)


Graph: TypeAlias = KeypointGraph | SceneGraph


def _example(conventions: Conventions) -> Tensor:
    size = (2, conventions.recipe.crop_height_px, conventions.recipe.crop_width_px, 3)
    return torch.randint(0, 256, size, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


class _HalfPrecision(nn.Module):
    """The network alone in float16; what is before and after it stays as it is."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.inner = copy.deepcopy(network).half()

    def forward(self, images: Tensor) -> Any:
        return _in_float(self.inner(images.half()))


def _in_float(output: Any) -> Any:
    return output.float() if isinstance(output, Tensor) else [_in_float(each) for each in output]


def onnx_bytes(graph: Graph) -> bytes:
    """Return the graph as an ONNX model of any batch size.

    It is traced by PyTorch's TorchScript exporter: the newer one needs a package more, and this one's graph runs in
    every runtime since 2022 (opset 17).
    """
    # Constants are meant to be constants, and that there is another exporter is known.
    with TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        path = Path(folder) / "graph.onnx"
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph, (graph.example(),), path, dynamo=False, input_names=[INPUT_NAME],
            output_names=list(graph.output_names), dynamic_axes=graph.free_axes, opset_version=_OPSET,
        )  # fmt: skip
        return path.read_bytes()


def torchscript_bytes(graph: Graph, facts: Mapping[str, Any]) -> bytes:
    """Return the graph as a TorchScript archive, with ``facts`` in its extra file ``posedata.json``."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(graph, (graph.example(),), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, buffer, _extra_files={"posedata.json": json.dumps(dict(facts))})
    return buffer.getvalue()
