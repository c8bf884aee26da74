"""An exported network in 8 bits: convolutions and products, calibrated on real crops; the decoding stays as it is."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import numpy.typing as npt

from pose_data.errors import UsageError
from pose_models.graph import INPUT_NAME

__all__ = ["int8_bytes"]

_OPERATORS = ["Conv", "ConvTranspose", "Gemm", "MatMul"]
_BATCH = 8


class _Crops:
    """What ONNX Runtime's calibration asks for: one feed after another, then None."""

    def __init__(self, crops: npt.NDArray[np.uint8]) -> None:
        self._feeds: Iterator[dict[str, npt.NDArray[np.uint8]]] = (
            {INPUT_NAME: crops[first : first + _BATCH]} for first in range(0, len(crops), _BATCH)
        )

    def get_next(self) -> dict[str, npt.NDArray[np.uint8]] | None:
        return next(self._feeds, None)


def int8_bytes(model: bytes, crops: npt.NDArray[np.uint8]) -> bytes:
    """Return an ONNX model of :func:`pose_models.graph.onnx_bytes` with weights and activations in 8 bits.

    ``crops`` (N, H, W, 3) uint8 RGB set the ranges of the activations (their extremes); weights are quantised by
    channel. Only what lies inside the network is touched. Raises UsageError where ONNX Runtime's tools are missing.
    """
    try:
        import onnx
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static
    except ImportError:
        raise UsageError(
            "extra-missing",
            "onnx and ONNX Runtime are not installed",
            hint="pip install -c constraints.txt '.[export]'",
        ) from None
    CalibrationDataReader.register(_Crops)
    outside = [node.name for node in onnx.load_from_string(model).graph.node if not _inside(node)]
    with TemporaryDirectory() as name:
        before, after = Path(name) / "before.onnx", Path(name) / "after.onnx"
        before.write_bytes(model)
        reader: Any = _Crops(crops)
        with _without_advice():
            quantize_static(
                str(before), str(after), reader, quant_format=QuantFormat.QDQ, per_channel=True,
                op_types_to_quantize=_OPERATORS, nodes_to_exclude=outside,
                calibration_providers=["CPUExecutionProvider"],
            )  # fmt: skip
        return after.read_bytes()


@contextmanager
def _without_advice() -> Iterator[None]:
    """Silence the tool's warnings: it wants batch normalisation folded first, which the exporter has done."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _inside(node: Any) -> bool:
    """Return whether a node belongs to the network: the exporter names nodes after their modules."""
    return str(node.name).startswith("/network/")
