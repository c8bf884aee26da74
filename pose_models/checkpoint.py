"""Checkpoints: safetensors and JSON in a folder that appears whole or not at all; nothing is ever unpickled.

``RUN/checkpoints/step-00001234/`` holds ``model.safetensors`` (the weights to use: the moving average where there is
one), ``training.safetensors`` (what resuming needs besides) and ``checkpoint.json``, written last, with the digests of
both. ``RUN/checkpoints/best.json`` names the best step. A checkpoint that is torn or damaged is passed over for the one
before, and that is said.
"""

import json
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from pose_data.atomic import file_digest, make_folder, remove_tree, replace_file, storage_errors, write_file
from pose_data.errors import ModelError
from pose_models.conventions import Conventions

__all__ = [
    "Checkpoint",
    "amend_checkpoint",
    "checkpoint_steps",
    "load_checkpoint",
    "mark_best",
    "read_best",
    "save_checkpoint",
]

_FORMAT = 2
_KEPT = 2
_FILES = ("model.safetensors", "training.safetensors")
_STEP = re.compile(r"step-([0-9]{8,})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A moment of a training: ``model`` are the weights to use, ``training`` and ``state`` what resuming needs."""

    step: int
    network: str
    conventions: Conventions
    model: Mapping[str, Tensor]
    training: Mapping[str, Tensor] = field(default_factory=dict)
    state: Mapping[str, Any] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)
    """The latest evaluation's."""


def save_checkpoint(run: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint and remove old ones but the last two and the best. Raises StorageError."""
    folder = run / "checkpoints"
    place = folder / f"step-{checkpoint.step:08d}"
    with storage_errors("writing a checkpoint", place):
        make_folder(folder)
        partial = folder / f".{place.name}.{uuid.uuid4().hex}.partial"
        make_folder(partial)
        digests = {}
        for name, tensors in zip(_FILES, (checkpoint.model, checkpoint.training), strict=True):
            contiguous = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
            digests[name] = write_file(partial / name, save(contiguous)).digest
        facts = {
            "format": _FORMAT, "step": checkpoint.step, "network": checkpoint.network, "files": digests,
            "conventions": checkpoint.conventions.as_dict(), "state": dict(checkpoint.state),
            "numbers": dict(checkpoint.numbers),
        }  # fmt: skip
        write_file(partial / "checkpoint.json", json.dumps(facts, indent=1).encode())
        if place.exists():  # renamed first: between two renames there is hardly time to be killed
            replace_file(place, folder / f".{place.name}.{uuid.uuid4().hex}.partial")
        replace_file(partial, place)
        _sweep(folder)
    return place


def amend_checkpoint(run: Path, step: int, *, state: Mapping[str, Any], numbers: Mapping[str, float]) -> None:
    """Put other state and numbers into a checkpoint whose tensors stay as they are. Raises StorageError."""
    path = run / "checkpoints" / f"step-{step:08d}" / "checkpoint.json"
    with storage_errors("writing a checkpoint", path):
        facts = json.loads(path.read_bytes())
        write_file(path, json.dumps({**facts, "state": dict(state), "numbers": dict(numbers)}, indent=1).encode())


def mark_best(run: Path, step: int, ap: float) -> None:
    """Say which step is the best one. Raises StorageError."""
    path = run / "checkpoints" / "best.json"
    with storage_errors("marking the best checkpoint", path):
        write_file(path, json.dumps({"step": step, "AP": ap}).encode())


def read_best(run: Path) -> tuple[int, float] | None:
    """Return step and AP of the best checkpoint, None where none is marked."""
    try:
        found = json.loads((run / "checkpoints" / "best.json").read_bytes())
        return int(found["step"]), float(found["AP"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def checkpoint_steps(run: Path) -> list[int]:
    """Return the steps of the checkpoints that are there, the latest first; folders of other names are none."""
    found = (_STEP.fullmatch(path.name) for path in (run / "checkpoints").glob("step-*") if path.is_dir())
    return sorted((int(name[1]) for name in found if name), reverse=True)


def load_checkpoint(
    run: Path, which: str = "best", *, training: bool = False, say: Callable[[str], None] = lambda text: None
) -> Checkpoint:
    """Return the ``best`` (or the ``last``) checkpoint of a run; a damaged one is passed over, and ``say`` is told.

    Raises ModelError when there is none that is whole.
    """
    steps = checkpoint_steps(run)
    best = read_best(run)
    if which == "best" and best is not None and best[0] in steps:
        steps = [best[0], *(step for step in steps if step != best[0])]
    problems = []
    for step in steps:
        place = run / "checkpoints" / f"step-{step:08d}"
        try:
            return _load(place, training=training)
        except ModelError as error:
            problems.append(str(error))
            say(f"{error.message}; the checkpoint before it is used — {place}")
    if not run.is_dir():
        raise ModelError(
            "checkpoint-missing", "there is no such run", where=str(run),
            hint="the folder that posetrain run --out, or posetrain import, made",
        )  # fmt: skip
    raise ModelError(
        "checkpoint-missing", "the run has no checkpoint that is whole" + (f": {problems[0]}" if problems else ""),
        where=str(run), hint="posetrain run makes one at the end of every epoch",
    )  # fmt: skip


def _load(place: Path, *, training: bool) -> Checkpoint:
    try:
        facts = json.loads((place / "checkpoint.json").read_bytes())
        if facts["format"] != _FORMAT:
            raise ModelError("checkpoint-invalid", f"a checkpoint of format {facts['format']}", where=str(place))
        for name in _FILES:
            if file_digest(place / name).digest != facts["files"][name]:
                raise ModelError("checkpoint-damaged", f"{name} is not what was written", where=str(place))
        return Checkpoint(
            step=int(facts["step"]), network=str(facts["network"]),
            conventions=Conventions.from_dict(facts["conventions"]), model=load_file(place / _FILES[0]),
            training=load_file(place / _FILES[1]) if training else {}, state=facts["state"], numbers=facts["numbers"],
        )  # fmt: skip
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ModelError("checkpoint-damaged", f"a checkpoint cannot be read: {error}", where=str(place)) from error


def _sweep(folder: Path) -> None:
    """Remove what an interrupted save left, and all checkpoints but the last ones and the best."""
    for left in folder.glob(".step-*.partial"):
        remove_tree(left)
    best = read_best(folder.parent)
    for step in checkpoint_steps(folder.parent)[_KEPT:]:
        if best is None or step != best[0]:
            remove_tree(folder / f"step-{step:08d}")
