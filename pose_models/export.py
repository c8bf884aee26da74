"""Exports of a run, in one table: graphs that run without us, and weights under other programs' names."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import nn

from pose_data.atomic import AtomicGroup, make_folder, storage_errors
from pose_data.errors import ModelError, UsageError
from pose_data.events import Event, Listener, silent
from pose_data.store import Split, choose_split, open_store
from pose_models.checkpoint_export import WEIGHT_FORMATS, WeightsReport, export_weights
from pose_models.conventions import Conventions
from pose_models.estimator import Estimator, TorchEstimator, TorchScriptEstimator
from pose_models.evaluate import check_fit, load_network
from pose_models.graph import Graph, KeypointGraph, SceneGraph, onnx_bytes, torchscript_bytes
from pose_models.onnx_estimator import FACTS_KEY, OnnxEstimator
from pose_models.openvino_graph import OpenvinoEstimator, openvino_files
from pose_models.parity import CLOSE_PX, Parity, ap_of_estimator, compare, crops_of_split, generated_crops
from pose_models.quantise import int8_bytes
from pose_models.scene_parity import CLOSE_SHARE, SceneParity, ap_of_scenes, compare_scenes

__all__ = ["FORMATS", "GRAPH_FORMATS", "GraphReport", "export", "onnx_content"]

Precision = Literal["fp32", "fp16", "int8"]
_LEAST_CLOSE_SHARE = 0.99
_GENERATED_CROPS, _GENERATED_PICTURES = 64, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class _GraphFormat:
    suffix: str
    besides: tuple[str, ...] = ()
    """The suffixes of the files that are written beside it."""
    precisions: tuple[str, ...]
    write: Callable[["_Work"], Mapping[str, bytes]]
    """Makes the files by their suffix, ``suffix`` and ``besides``; the former is that of the one that is named."""
    read: Callable[[Mapping[str, bytes]], Estimator]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphReport:
    """What an export of a graph wrote, and how far it is from the run's network in PyTorch."""

    run: Path
    out: Path
    network: str
    step: int
    format: str
    precision: str
    flip_test: bool
    size_bytes: int
    crops: str
    """Which crops (of a network of whole pictures: which pictures) were compared: a split's, or generated ones."""
    parity: Parity | SceneParity
    ap_before: float | None = None
    """AP of the run's network on the split, where a store was given."""
    ap_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Work:
    """What a graph is made of."""

    network: nn.Module
    name: str
    step: int
    conventions: Conventions
    flip_test: bool
    precision: str
    split: Split | None = None
    calibration: int = 0

    def graph(self) -> Graph:
        kind = SceneGraph if self.conventions.grouping else KeypointGraph
        return kind(self.network, self.conventions, flip_test=self.flip_test, half=self.precision == "fp16")

    def facts(self) -> dict[str, Any]:
        return {
            "network": self.name, "step": self.step, "flip_test": self.flip_test, "precision": self.precision,
            "conventions": self.conventions.as_dict(),
        }  # fmt: skip


def export(
    run: str | Path,
    *,
    format: str,
    out: str | Path | None = None,
    precision: Precision = "fp32",
    flip_test: bool = False,
    data: str | Path | None = None,
    split: str = "",
    crops: int = 256,
    checkpoint: Literal["best", "last"] = "best",
    overwrite: bool = False,
    on_event: Listener = silent,
) -> GraphReport | WeightsReport:
    """Write a run's network as a graph, or its weights, to ``out``, in one of :data:`FORMATS`.

    Graphs take crops (N, H, W, 3) uint8 RGB of any number and return keypoints and scores, those of networks of whole
    pictures maps and fields; see :mod:`pose_models.graph`. What was written is run and compared with PyTorch on
    ``crops`` crops of the ``data`` store's split (empty: the one whose name begins with "val"), or on generated ones;
    with a store both APs are measured, too. ``int8`` (ONNX only) needs the store: it is calibrated on crops of its
    training split where there is one. ``out`` is RUN/export/NETWORK… unless given. A float32 graph of which more than a
    hundredth of the keypoints is further away than 0.001 pixels, or a map by a thousandth, is not written. ``on_event``
    is told where the checkpoint is damaged and another one of the run is taken. Raises UsageError, ModelError,
    StoreError, StorageError.
    """
    if format in WEIGHT_FORMATS:
        if data is not None or flip_test or precision != "fp32":
            raise UsageError("option-conflict", f"{format} takes weights alone", hint="--format onnx makes a graph")
        return export_weights(
            run, format=format, out=out, checkpoint=checkpoint, overwrite=overwrite, on_event=on_event
        )
    row = _row(format, precision)
    network, found = load_network(
        run, which=checkpoint, say=lambda text: on_event(Event(kind="note", stage="export", text=text))
    )
    tail = ("-flip" if flip_test else "") + ("" if precision == "fp32" else f"-{precision}")
    path = Path(out) if out is not None else Path(run) / "export" / f"{found.network}{tail}{row.suffix}"
    places = _places(path, row)
    there = [place for place in places.values() if place.exists()]
    if there and not overwrite:
        raise UsageError("output-exists", "there is a file already", where=str(there[0]), hint="--out, or --overwrite")
    chosen = None if data is None else choose_split(open_store(data), split, "val")
    if chosen is not None:
        check_fit(found.conventions, chosen)
    work = _Work(
        network=network, name=found.network, step=found.step, conventions=found.conventions, flip_test=flip_test,
        precision=precision, split=_calibration_split(chosen, data), calibration=crops,
    )  # fmt: skip
    content = row.write(work)
    mine = TorchEstimator(network, found.network, found.conventions, device=torch.device("cpu"), flip_test=flip_test)
    theirs = row.read(content)
    most = _GENERATED_PICTURES if work.conventions.grouping else _GENERATED_CROPS
    pixels = (
        crops_of_split(chosen, count=crops) if chosen else generated_crops(work.conventions, count=min(crops, most))
    )
    parity = compare_scenes(mine, theirs, pixels) if work.conventions.grouping else compare(mine, theirs, pixels)
    if precision == "fp32":
        _require_near(parity, path)
    report = GraphReport(
        run=Path(run), out=path, network=found.network, step=found.step, format=format, precision=precision,
        flip_test=flip_test, size_bytes=sum(map(len, content.values())),
        crops=chosen.folder.name if chosen else "generated", parity=parity,
    )  # fmt: skip
    if chosen is not None:
        ap_of = ap_of_scenes if work.conventions.grouping else ap_of_estimator
        report = replace(report, ap_before=ap_of(mine, chosen), ap_after=ap_of(theirs, chosen))
    with storage_errors("writing the graph", path):
        make_folder(path.parent)
        with AtomicGroup() as group:
            for suffix, part in content.items():
                group.open(places[suffix]).write(part)
    return report


def _places(path: Path, row: _GraphFormat) -> Mapping[str, Path]:
    """Return where each of a graph's files goes, by its suffix."""
    if path.suffix in row.besides:
        raise UsageError(
            "file-suffix", f"{path.name} is where the graph's {path.suffix} file would go", where=str(path),
            hint=f"name the {row.suffix} file; {' and '.join(row.besides)} is written beside it",
        )  # fmt: skip
    return {row.suffix: path, **{suffix: path.with_suffix(suffix) for suffix in row.besides}}


def _require_near(parity: Parity | SceneParity, path: Path) -> None:
    if isinstance(parity, SceneParity):
        near = parity.largest_share <= CLOSE_SHARE
        found = f"maps and fields of the exported graph differ by up to {parity.largest_share:.2g} of their maximum"
    else:
        near = parity.close_share >= _LEAST_CLOSE_SHARE
        found = (
            f"the exported graph is up to {parity.largest_px:.3g} px from the network, "
            f"{1 - parity.close_share:.1%} of the keypoints more than {CLOSE_PX} px"
        )
    if not near:
        raise ModelError(
            "export-differs", f"{found}; nothing was written", where=str(path),
            hint="please report it with the network's name",
        )  # fmt: skip


def _row(format: str, precision: str) -> _GraphFormat:
    if format not in GRAPH_FORMATS:
        raise UsageError("option-value", f"format is {format!r}", hint=f"one of: {', '.join(FORMATS)}")
    row = GRAPH_FORMATS[format]
    if precision not in row.precisions:
        raise UsageError(
            "option-value", f"{format} is not written in {precision!r}", hint=f"one of: {', '.join(row.precisions)}"
        )
    return row


def _calibration_split(chosen: Split | None, data: str | Path | None) -> Split | None:
    """Return the split to calibrate on: not the one to be judged on, where there is a training split."""
    if chosen is None or data is None:
        return None
    store = open_store(data)
    training = [name for name in store if name.startswith("train")]
    return store[training[0]] if len(training) == 1 else chosen


def onnx_content(network: nn.Module, name: str, conventions: Conventions, *, flip_test: bool) -> bytes:
    """Return a network in evaluation mode as an ONNX file in float32 that :class:`OnnxEstimator` reads."""
    return _onnx(
        _Work(network=network, name=name, step=0, conventions=conventions, flip_test=flip_test, precision="fp32")
    )


def _onnx(work: _Work) -> bytes:
    try:
        import onnx
    except ImportError:
        raise UsageError(
            "extra-missing", "onnx is not installed", hint="pip install -c constraints.txt '.[export]'"
        ) from None
    if work.precision == "int8" and work.split is None:
        raise UsageError("option-conflict", "int8 is calibrated on real crops", hint="--data STORE")
    content = onnx_bytes(work.graph())
    if work.precision == "int8" and work.split is not None:
        content = int8_bytes(content, crops_of_split(work.split, count=work.calibration))
    model = onnx.load_from_string(content)
    model.producer_name = "posedata"
    onnx.helper.set_model_props(model, {FACTS_KEY: json.dumps(work.facts())})
    written: bytes = model.SerializeToString()
    return written


def _openvino(work: _Work) -> Mapping[str, bytes]:
    return openvino_files(_onnx(replace(work, precision="fp32")), work.facts(), half=work.precision == "fp16")


GRAPH_FORMATS: Mapping[str, _GraphFormat] = MappingProxyType(
    {
        "onnx": _GraphFormat(
            suffix=".onnx", precisions=("fp32", "fp16", "int8"), write=lambda work: {".onnx": _onnx(work)},
            read=lambda files: OnnxEstimator(files[".onnx"]),
        ),
        "torchscript": _GraphFormat(
            suffix=".pt", precisions=("fp32",),
            write=lambda work: {".pt": torchscript_bytes(work.graph(), work.facts())},
            read=lambda files: TorchScriptEstimator(files[".pt"]),
        ),
        "openvino": _GraphFormat(
            suffix=".xml", besides=(".bin",), precisions=("fp32", "fp16"), write=_openvino,
            read=lambda files: OpenvinoEstimator(files),
        ),
    }
)  # fmt: skip
FORMATS: tuple[str, ...] = (*GRAPH_FORMATS, *WEIGHT_FORMATS)
