"""A run's weights under the names that other programs give them, as a file that those can load."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from pose_data.atomic import make_folder, storage_errors, write_file
from pose_data.errors import UsageError
from pose_data.events import Event, Listener, silent
from pose_models.checkpoint import load_checkpoint
from pose_models.checkpoint_formats import CheckpointFormat, formats_of
from pose_models.conventions import Conventions
from pose_models.networks.catalogue import find_network
from pose_models.networks.network import Network

__all__ = ["WEIGHT_FORMATS", "WeightsReport", "export_weights"]

WeightFormat = Literal["mmpose", "msra"]
WEIGHT_FORMATS: tuple[str, ...] = get_args(WeightFormat)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightsReport:
    """What an export of weights wrote."""

    run: Path
    out: Path
    network: str
    step: int
    format: str
    source: str
    """Who reads such files."""
    tensors: int
    notes: tuple[str, ...]
    """Conventions of the run that such files' readers do not expect, and cannot see in the file."""


def export_weights(
    run: str | Path, *, format: str, out: str | Path | None = None, checkpoint: str = "best", overwrite: bool = False,
    on_event: Listener = silent,
) -> WeightsReport:  # fmt: skip
    """Write a run's weights as a PyTorch file with another program's names: ``mmpose`` or ``msra``.

    ``out`` is RUN/export/NETWORK-FORMAT.pth unless given. Reading the file back with
    :func:`pose_models.checkpoint_import.import_checkpoint` gives the same tensors, bit for bit. ``on_event`` is told
    where the checkpoint is damaged and another one of the run is taken. Raises UsageError
    (``option-value``, ``export-none``: that program has no such network, ``output-exists``), ModelError, StorageError.
    """
    if format not in WEIGHT_FORMATS:
        raise UsageError("option-value", f"format is {format!r}", hint=f"one of: {', '.join(WEIGHT_FORMATS)}")
    found = load_checkpoint(
        Path(run), checkpoint, say=lambda text: on_event(Event(kind="note", stage="export", text=text))
    )
    network = find_network(found.network)
    row = _row(network, format)
    path = Path(out) if out is not None else Path(run) / "export" / f"{network.name}-{format}.pth"
    if path.exists() and not overwrite:
        raise UsageError("output-exists", "there is a file already", where=str(path), hint="--out, or --overwrite")
    tensors = {row.theirs(key): value for key, value in found.model.items()}
    with storage_errors("writing the weights", path):
        make_folder(path.parent)
        write_file(path, _file(tensors, row, found.conventions))
    return WeightsReport(
        run=Path(run), out=path, network=network.name, step=found.step, format=format, source=row.source,
        tensors=len(tensors), notes=_notes(row.conventions(network, found.conventions.skeleton), found.conventions),
    )  # fmt: skip


def _row(network: Network, format: str) -> CheckpointFormat:
    for row in formats_of(network):
        if row.name == format and row.back is not None:
            return row
    others = sorted({row.name for row in formats_of(network) if row.back is not None})
    raise UsageError(
        "export-none", f"{format} has no file for {network.name}",
        hint=f"this network's formats: {', '.join(others)}" if others else "docs/checkpoints.md lists what it has",
    )  # fmt: skip


def _file(tensors: Mapping[str, Tensor], row: CheckpointFormat, conventions: Conventions) -> bytes:
    content: dict[str, Any] = dict(tensors)
    if row.name == "mmpose":
        # Its loader wants the wrapper; what it does not know in ``meta`` it leaves alone.
        content = {"meta": {"posetrain_conventions": conventions.as_dict()}, "state_dict": content}
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def _notes(theirs: Conventions, mine: Conventions) -> tuple[str, ...]:
    """Return where the run's conventions are not those that such weights have by themselves."""
    facts = (
        ("channels", "BGR" if theirs.pixels.bgr else "RGB", "BGR" if mine.pixels.bgr else "RGB"),
        ("mean", theirs.pixels.mean, mine.pixels.mean),
        ("std", theirs.pixels.std, mine.pixels.std),
        *(
            (name, getattr(theirs.recipe, name), getattr(mine.recipe, name))
            for name in ("geometry", "padding", "encoding", "sigma")
        ),
        *((name, getattr(theirs, name), getattr(mine, name)) for name in ("decode", "flip_shift", "cell_shift")),
    )
    return tuple(f"{name}: {own}, such weights have {usual}" for name, usual, own in facts if usual != own)
