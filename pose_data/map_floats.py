"""Maps of batches as float32, made when a batch is handed out.

Batches that are read ahead keep the stored type, a quarter of the memory. What is handed out lies in a few arrays that
are used again and again, so that they stay in the processor's caches where these are large enough.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from pose_data.layout import ArrayLayout
from pose_data.read_ahead import Allocate

__all__ = ["FloatMaps"]

_HOT_BYTES = 1 << 19
"""So much is still in a core's own cache when it is multiplied."""
_Arrays = Mapping[str, npt.NDArray[Any]]


class FloatMaps:
    """Arrays of maps, times their scale. Pickles without its memory.

    ``kept`` batches stay untouched while their memory is used again: the one handed out, and those before it; None:
    every batch has memory of its own. Arrays that are stored as float32 are handed on as they are.
    """

    def __init__(
        self, layouts: Sequence[ArrayLayout], *, batch_size: int, kept: int | None, allocate: Allocate
    ) -> None:
        self._layouts = [layout for layout in layouts if layout.dtype != np.float32]
        self._size, self._kept, self._allocate = batch_size, kept, allocate
        self._spare: deque[_Arrays] = deque()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the memory: another process makes its own."""
        return {**self.__dict__, "_spare": deque()}

    def close(self) -> None:
        """Let the memory go."""
        self._spare.clear()

    def epoch(self) -> Callable[[_Arrays], _Arrays]:
        """Return what makes, of a batch's stored arrays, those of them that are maps, as float32; for one epoch.

        What the epoch's last batches were handed out in is left to whoever holds them.
        """
        held: deque[_Arrays] = deque()

        def as_floats(stored: _Arrays) -> _Arrays:
            if not self._layouts:
                return {}
            if self._kept is not None and len(held) == self._kept:
                self._spare.append(held.popleft())
            floats = self._memory()
            for layout in self._layouts:
                scale = np.float32(layout.attributes.get("scale", 1.0))
                _convert(stored[layout.name], scale, floats[layout.name])
            if self._kept is not None:
                held.append(floats)
            return floats

        return as_floats

    def _memory(self) -> _Arrays:
        try:
            return self._spare.pop()
        except IndexError:
            return {
                layout.name: self._allocate((self._size, *layout.row_shape), np.dtype(np.float32))
                for layout in self._layouts
            }


def _convert(stored: npt.NDArray[Any], scale: np.float32, out: npt.NDArray[np.float32]) -> None:
    """Put values times a scale into ``out``, some rows at a time: in one call NumPy takes half as long again."""
    rows = max(1, _HOT_BYTES // max(1, out[:1].nbytes))
    for first in range(0, len(out), rows):
        part = out[first : first + rows]
        part[...] = stored[first : first + rows]
        np.multiply(part, scale, out=part)
