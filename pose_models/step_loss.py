"""The loss of a step, looked at while the next one runs; and what is said where a step fails."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from torch import Tensor

from pose_data.errors import ModelError
from pose_data.store import Split
from pose_models.copying import Fetched

__all__ = ["StepLoss", "enough_memory", "weights_not_finite"]

_HINT = "a lower learning rate, --set clip_norm=1, or bf16 in place of fp16"


class StepLoss:
    """A step's loss, on its way from the device: asking for its value at once would make the device wait."""

    def __init__(self, loss: Tensor, step: int, rows: Tensor) -> None:
        self._loss, self._step, self._rows = Fetched(loss), step, rows

    def checked(self, split: Split) -> float:
        """Return the loss. Raises ModelError where it is not finite."""
        value = float(self._loss.value())
        if not np.isfinite(value):
            what, name = ("pictures", "image_id") if "offsets" in split.arrays else ("annotations", "annotation_id")
            ids = np.asarray(split[name][:])[self._rows.numpy()]
            raise ModelError(
                "loss-not-finite", f"the loss of step {self._step} is {value}; no checkpoint was written of it",
                where=f"{what} {', '.join(map(str, ids.tolist()))}",
                hint=_HINT,
            )  # fmt: skip
        return value


def weights_not_finite(step: int) -> ModelError:
    """Return the error of weights that a step made NaN or infinite, though this process's losses were finite."""
    return ModelError(
        "weights-not-finite", f"the weights are not finite after step {step}; no checkpoint was written of them",
        hint=f"another process may say which loss it was; otherwise it was a gradient: {_HINT}",
    )  # fmt: skip


def _is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether torch says that there is not enough memory, on any device."""
    texts = ("can't allocate memory", "not enough memory", "out of memory")
    return any(text in str(error) for text in texts)


@contextmanager
def enough_memory(batch_size: int) -> Iterator[None]:
    """Say in our words that the device has not enough memory for a training with this batch size."""
    try:
        yield
    except RuntimeError as error:
        if _is_out_of_memory(error):
            raise _out_of_memory(batch_size) from error
        raise


def _out_of_memory(batch_size: int) -> ModelError:
    """Return the error of a step that does not fit into the device's memory."""
    fits = max(1, batch_size // 2)
    return ModelError(
        "out-of-memory", f"the device has not enough memory for a batch of {batch_size}",
        hint=f"--batch-size {fits} --set accumulate=2 takes half and learns the same; or --set amp=\"bf16\"",
    )  # fmt: skip
