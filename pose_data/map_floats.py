"""Maps of batches as float32, made when a batch is handed out.

Batches that are read ahead keep the stored type, a quarter of the memory. What is handed out lies in a few arrays that
are used again and again, so that they stay in the processor's caches where these are large enough.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt

from pose_data.batch_memory import KEPT_BATCHES, Allocate, MemoryPool
from pose_data.layout import ArrayLayout

__all__ = ["FloatMaps"]

_HOT_BYTES = 1 << 19
"""So much is still in a core's own cache when it is multiplied."""
_Arrays = Mapping[str, npt.NDArray[Any]]


class FloatMaps:
    """Arrays of maps, times their scale. Pickles without its memory.

    With ``reuse_memory`` the batch handed out and those before it that are kept stay untouched while their memory is
    used again; otherwise every batch has memory of its own. Arrays that are stored as float32 are handed on as they
    are.
    """

    def __init__(
        self, layouts: Sequence[ArrayLayout], *, batch_size: int, reuse_memory: bool, allocate: Allocate
    ) -> None:
        self._layouts = [layout for layout in layouts if layout.dtype != np.float32]
        shapes = {layout.name: ((batch_size, *layout.row_shape), np.dtype(np.float32)) for layout in self._layouts}
        self._pool = MemoryPool(shapes, allocate, KEPT_BATCHES if reuse_memory else 0)

    def close(self) -> None:
        """Let the memory go."""
        self._pool.clear()

    @contextmanager
    def epoch(self) -> Iterator[Callable[[_Arrays], _Arrays]]:
        """Return what makes, of a batch's stored arrays, those of them that are maps, as float32; for one epoch."""
        memory = self._pool.lend()

        def as_floats(stored: _Arrays) -> _Arrays:
            memory.next_is_asked_for()
            batch = memory.take()
            memory.hand_out(batch)
            for layout in self._layouts:
                scale = np.float32(layout.attributes.get("scale", 1.0))
                _convert(stored[layout.name], scale, batch.arrays[layout.name])
            return batch.arrays

        try:
            yield as_floats
        finally:
            self._pool.take_back(memory)


def _convert(stored: npt.NDArray[Any], scale: np.float32, out: npt.NDArray[np.float32]) -> None:
    """Put values times a scale into ``out``, some rows at a time: in one call NumPy takes half as long again."""
    rows = max(1, _HOT_BYTES // max(1, out[:1].nbytes))
    for first in range(0, len(out), rows):
        part = out[first : first + rows]
        part[...] = stored[first : first + rows]
        np.multiply(part, scale, out=part)
