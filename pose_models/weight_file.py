"""Read the tensors of a weights file, and nothing else: no code of the file runs.

A ``.safetensors`` file holds tensors only. Every other file is a PyTorch pickle and is read with
``weights_only``: a file that wants a class or function which is not on torch's list is refused before
anything of it runs. On that list go NumPy's arrays, which mmpose's files hold as notes about the data set, and
mmengine's training log, which becomes an empty object.
"""

import pickle
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from pose_data.errors import ModelError

__all__ = ["list_keys", "read_weights"]

_WRAPPERS = ("state_dict", "model")
"""Entries that hold the weights where a file holds more than these."""
_PREFIXES = ("model.module.", "module.", "model.")
"""What wrapped modules put before every key: DataParallel, and princeton's trainer."""


class _Ignored:
    """What stands in for an object of a file that is of no use here."""

    def __setstate__(self, state: object) -> None:
        """Forget the state."""


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a weights file by key, on the CPU, floating point ones as float32.

    Wrappers are taken off: ``{"state_dict": …}``, ``{"model": …}``, and a prefix ``module.`` that every key has.
    Raises ModelError: ``weights-missing``, ``weights-unreadable`` (truncated, or no weights file),
    ``weights-code`` (a pickle that asks for code).
    """
    if not path.is_file():
        raise ModelError(
            "weights-missing", "there is no such weights file", where=str(path),
            hint="is the path right? Nothing is downloaded; docs/checkpoints.md lists whose files are known",
        )  # fmt: skip
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    tensors = _tensors_of(content)
    if not tensors:
        raise ModelError("weights-unreadable", "the file holds no tensors by name", where=str(path))
    return {key: _as_float32(value) for key, value in _without_prefix(tensors).items()}


def list_keys(keys: list[str], most: int = 20) -> str:
    """Return the keys as a text for an error: one a line, at most ``most`` of them, then how many more."""
    more = [f"… and {len(keys) - most} more"] if len(keys) > most else []
    return "\n".join(f"  {key}" for key in [*keys[:most], *more])


def _read_safetensors(path: Path) -> object:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, error) from error


def _read_pickle(path: Path) -> object:
    try:
        with torch.serialization.safe_globals(_harmless()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles of other protocols, which are read or refused all the same
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = _wanted_global(str(error))
        if not wanted:
            raise _unreadable(path, error) from error
        raise ModelError(
            "weights-code",
            f"the file is a pickle that asks for {wanted}; nothing of it was run",
            where=str(path),
            hint="weights files hold tensors only; save the state_dict, or convert the file to .safetensors",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, IndexError, UnicodeDecodeError) as error:
        raise _unreadable(path, error) from error


def _harmless() -> list[Callable[..., Any] | tuple[Callable[..., Any], str]]:
    """Return what a file may ask for beyond torch's own list: builders of plain data."""
    rebuild: Any = np.ndarray.__reduce__(np.zeros(1))[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    kinds = {type(np.dtype(name)) for name in ("f8", "f4", "i8", "i4", "u1", "?", "U1")}
    return [
        np.ndarray,
        np.dtype,
        *kinds,
        *((rebuild, f"numpy.{core}.multiarray._reconstruct") for core in ("core", "_core")),
        *((scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
        (_Ignored, "mmengine.logging.history_buffer.HistoryBuffer"),
    ]


def _wanted_global(message: str) -> str:
    """Return the name of the code that the pickle asks for, from torch's message; empty when it asks for none."""
    for marker in (
        "Unsupported global: GLOBAL ",
        "Unsupported class ",
        "Trying to call reduce for unrecognized function ",
    ):
        if marker in message:
            return message.split(marker, 1)[1].split()[0]
    return ""


def _unreadable(path: Path, error: Exception) -> ModelError:
    # Without what torch advises then, which would have the file's code run.
    reason = str(error).strip().split("\n", 1)[0].split(". ", 1)[0][:200] or "it ends early"
    return ModelError(
        "weights-unreadable",
        f"the file is truncated or not a weights file ({reason})",
        where=str(path),
        hint="download it again; .pth, .pt, .tar and .safetensors are read",
    )


def _tensors_of(content: object) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        return {}
    for wrapper in _WRAPPERS:
        if isinstance(content.get(wrapper), Mapping):
            return _tensors_of(content[wrapper])
    return {key: value for key, value in content.items() if isinstance(key, str) and isinstance(value, Tensor)}


def _without_prefix(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for prefix in _PREFIXES:
        if all(key.startswith(prefix) for key in tensors):
            return {key.removeprefix(prefix): value for key, value in tensors.items()}
    return dict(tensors)


def _as_float32(value: Tensor) -> Tensor:
    return value.detach().to(torch.float32) if value.is_floating_point() else value.detach()
