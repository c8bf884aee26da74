"""A network with everything around it in one graph: bytes of a crop in, keypoints and scores out.

The graph's input ``images`` is (N, H, W, 3) uint8 RGB; its outputs are ``keypoints`` (N, K, 2) float32, x and y in the
crop's pixels, and ``scores`` (N, K) float32. Normalisation, the mirrored picture where it is asked for, decoding and
the way back to the crop are inside, and are the very code of :mod:`pose_models.inference`.
"""

import copy
import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor, nn

from pose_models.conventions import Conventions
from pose_models.inference import traceable_keypoints

__all__ = ["INPUT_NAME", "OUTPUT_NAMES", "KeypointGraph", "onnx_bytes", "torchscript_bytes"]

INPUT_NAME = "images"
OUTPUT_NAMES = ("keypoints", "scores")
_OPSET = 17


class KeypointGraph(nn.Module):
    """Crops (N, H, W, 3) uint8 RGB to keypoints (N, K, 2) and scores (N, K), float32."""

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

    def example(self, count: int = 2) -> Tensor:
        """Return an input to trace with."""
        recipe = self._conventions.recipe
        seeded = torch.Generator().manual_seed(0)
        size = (count, recipe.crop_height_px, recipe.crop_width_px, 3)
        return torch.randint(0, 256, size, generator=seeded, dtype=torch.uint8)


class _HalfPrecision(nn.Module):
    """The network alone in float16; what is before and after it stays as it is."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.inner = copy.deepcopy(network).half()

    def forward(self, images: Tensor) -> Tensor | list[Tensor]:
        output = self.inner(images.half())
        return output.float() if isinstance(output, Tensor) else [each.float() for each in output]


def onnx_bytes(graph: KeypointGraph) -> bytes:
    """Return the graph as an ONNX model of any batch size.

    It is traced by PyTorch's TorchScript exporter: the newer one needs a package more, and this one's graph runs in
    every runtime since 2022 (opset 17).
    """
    dynamic = {name: {0: "persons"} for name in (INPUT_NAME, *OUTPUT_NAMES)}
    # Constants are meant to be constants, and that there is another exporter is known.
    with TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        path = Path(folder) / "graph.onnx"
        warnings.simplefilter("ignore")
        torch.onnx.export(
            graph, (graph.example(),), path, dynamo=False, input_names=[INPUT_NAME], output_names=list(OUTPUT_NAMES),
            dynamic_axes=dynamic, opset_version=_OPSET,
        )  # fmt: skip
        return path.read_bytes()


def torchscript_bytes(graph: KeypointGraph, facts: Mapping[str, Any]) -> bytes:
    """Return the graph as a TorchScript archive, with ``facts`` in its extra file ``posedata.json``."""
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(graph, (graph.example(),), check_trace=False)  # type: ignore[no-untyped-call]
        torch.jit.save(traced, buffer, _extra_files={"posedata.json": json.dumps(dict(facts))})
    return buffer.getvalue()
