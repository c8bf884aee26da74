"""Read and decode pictures as a preparation would, watched, keeping nothing of their pixels."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from pose_data.atomic import bytes_digest
from pose_data.imaging import PictureProblem, decode_picture, person_mask, read_picture
from pose_data.paths import resolve_inside
from pose_data.recipes import Recipe

__all__ = ["Need", "PictureLooker", "Seen"]

_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """A picture that is needed: for which rows of the table of kept persons."""

    name: str
    size_wh: tuple[int, int] | None
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What became of a needed picture. ``bad_rows``: rows whose mask is unusable."""

    need: Need
    digest: int = 0
    code: str = ""
    detail: str = ""
    notes: tuple[str, ...] = ()
    bad_rows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureLooker:
    """Looks at pictures in a thread of its own, so that one whose decoding does not end can be left behind.

    ``kept``: the table of the persons that a Need's rows count in. ``stop`` is looked at between pictures.
    """

    images_root: Path
    recipe: Recipe
    kept: pa.Table
    allow_outside: bool
    stop: threading.Event

    def look_at(self, needs: Sequence[Need], *, timeout_s: float) -> list[Seen]:
        """Return what became of each picture; fewer when stopped. Raises InputError for a name outside the folder.

        A picture that takes longer than ``timeout_s`` gets the code ``img-crash``.
        """
        seen: list[Seen] = []
        while len(seen) < len(needs) and not self.stop.is_set():
            attempt = _Attempt(self._looked_at(needs[len(seen) :]))
            attempt.follow(timeout_s, self.stop)
            seen += attempt.found()
            if attempt.error is not None:
                raise attempt.error
            if attempt.stalled and len(seen) < len(needs):
                detail = f"decoding took longer than {timeout_s:g} s"
                seen.append(Seen(need=needs[len(seen)], code="img-crash", detail=detail))
        return seen

    def _looked_at(self, needs: Sequence[Need]) -> Iterator[Seen]:
        buffer = bytearray()
        for need in needs:
            yield self._look_at(need, buffer)

    def _look_at(self, need: Need, buffer: bytearray) -> Seen:
        digest = 0
        try:
            path = resolve_inside(self.images_root, need.name, allow_outside=self.allow_outside)
            data = read_picture(path)
            digest = int(bytes_digest(data)[:16], 16)
            picture = decode_picture(
                data, file_name=need.name, expected_wh=need.size_wh, exif=self.recipe.exif, buffer=buffer
            )
        except PictureProblem as problem:
            return Seen(need=need, digest=digest, code=problem.code, detail=problem.detail)
        bad_rows: tuple[int, ...] = ()
        if self.recipe.background == "white":
            height_px, width_px = picture.pixels.shape[:2]
            bad_rows = tuple(row for row in need.rows if not self._has_mask(row, width_px, height_px))
        return Seen(need=need, digest=digest, notes=picture.notes, bad_rows=bad_rows)

    def _has_mask(self, row: int, width_px: int, height_px: int) -> bool:
        raw = self.kept["segmentation"][row].as_py()
        mask = None if raw is None else person_mask(json.loads(raw), width_px, height_px)
        return mask is not None and bool(mask.any())


class _Attempt:
    """A thread that takes results from an iterator until it ends, or does not move any more."""

    def __init__(self, results: Iterator[Seen]) -> None:
        self._results = results
        self._found: list[Seen] = []
        self._left = False
        self.error: Exception | None = None
        self.stalled = False

    def found(self) -> list[Seen]:
        """Return the results so far."""
        return list(self._found)

    def follow(self, timeout_s: float, stop: threading.Event) -> None:
        """Wait for the end, for a result that takes longer than ``timeout_s``, or for ``stop``."""
        thread = threading.Thread(target=self._run, name="check-pictures", daemon=True)
        thread.start()
        moved_s, count = time.monotonic(), 0
        while thread.is_alive() and not stop.is_set():
            thread.join(_POLL_S)
            if len(self._found) != count:
                moved_s, count = time.monotonic(), len(self._found)
            if time.monotonic() - moved_s > timeout_s:
                self.stalled = True
                break
        self._left = True

    def _run(self) -> None:
        try:
            for result in self._results:
                if self._left:
                    return
                self._found.append(result)
        except Exception as error:  # noqa: BLE001 - raised again in the thread that follows
            self.error = error
