"""What is shown of a running pipeline: bars on a terminal, a line now and then elsewhere, or JSON lines."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from cli.console import console_of, say, size_text, time_text, write_json
from cli.text import printable
from pose_data.events import Event, Listener

__all__ = ["JsonListener", "LineListener", "listen"]

_LINE_EVERY_S = 10.0
_JSON_EVERY_S = 1.0
_NOTES_A_CODE = 3
_UNITS: Mapping[str, str] = MappingProxyType(
    {
        "shards": "persons",
        "pictures": "pictures",
        "sample": "pictures",
        "digests": "shards",
        "decode": "shards",
        "train": "samples",
        "evaluate": "persons",
        "predict": "frames",
    }
)
"""What ``done`` and ``total`` of a stage count, unless the event itself says it."""

Clock = Callable[[], float]


def _unit(event: Event) -> str:
    return str(event.data.get("unit", _UNITS.get(event.stage, "")))


@contextmanager
def listen(*, json: bool, quiet: bool) -> Iterator[Listener]:
    """Yield the listener that fits: JSON lines on stdout, nothing, bars, or plain lines on stderr."""
    if json:
        yield JsonListener()
    elif quiet:
        yield _ignore
    elif sys.stderr.isatty():
        bars = _Bars()
        with bars.shown():
            yield bars
    else:
        yield LineListener()


def _ignore(event: Event) -> None:
    """Show nothing."""


class JsonListener:
    """Every event as a JSON line on stdout; progress at most once a second, and at the end of its stage."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock, self._last_s = clock, -_JSON_EVERY_S

    def __call__(self, event: Event) -> None:
        """Write the event."""
        if event.kind == "progress" and (event.done < event.total or not event.total):
            if self._clock() - self._last_s < _JSON_EVERY_S:
                return
            self._last_s = self._clock()
        write_json(event.as_dict())


class _Rates:
    """Persons and pictures a second since a stage began; what an earlier run had done does not count."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.begin("")

    def begin(self, stage: str) -> None:
        self._stage, self._began_s = stage, self._clock()
        self._first: tuple[int, int] | None = None

    def describe(self, event: Event) -> str:
        pictures = int(event.data.get("pictures", 0))
        if self._first is None:
            self._first, self._began_s = (event.done, pictures), self._clock()
        seconds = self._clock() - self._began_s
        parts = []
        unit = _unit(event)
        if unit and seconds > 0.2:
            parts.append(f"{(event.done - self._first[0]) / seconds:,.0f} {unit}/s")
            if pictures and unit != "pictures":
                parts.append(f"{(pictures - self._first[1]) / seconds:,.0f} pictures/s")
        if "bytes" in event.data:
            parts.append(size_text(event.data["bytes"]))
        if "loss" in event.data:
            parts.append(f"{event.data.get('wait_share', 0.0):.1%} waiting, loss {event.data['loss']:.3g}")
        if "latency_ms" in event.data:
            parts.append(f"{event.data['persons']:,} persons, {event.data['latency_ms']:,.0f} ms")
        if "AP" in event.data:
            parts.append(f"AP {event.data['AP']:.3f}")
        rejects = event.data.get("rejects") or {}
        if rejects:
            parts.append("rejected: " + ", ".join(f"{code} {count}" for code, count in sorted(rejects.items())))
        return printable(", ".join(parts))

    def left_s(self, event: Event) -> float | None:
        seconds = self._clock() - self._began_s
        done = event.done - (self._first[0] if self._first else 0)
        return seconds / done * (event.total - event.done) if done > 0 and event.total and seconds > 0.2 else None


class _Texts:
    """The one-line texts of events that are not progress; of notes with one code only the first few."""

    def __init__(self) -> None:
        self._seen: Counter[str] = Counter()

    def of(self, event: Event) -> str:
        text = event.text or ", ".join(f"{key} {value}" for key, value in event.data.items() if key != "unit")
        if event.kind == "note":
            code = str(event.data.get("code", ""))
            self._seen[code] += 1
            if code and self._seen[code] > _NOTES_A_CODE:
                return ""
            text = f"{text} [{code}]" if code else text
        elif event.kind == "stage":
            text = text or (f"{event.total:,} {_unit(event)}".rstrip() if event.total else "")
        else:
            text = f"{event.kind}: {text}" if text else event.kind
        return printable(": ".join(part for part in (_place(event), text) if part))


def _place(event: Event) -> str:
    return " ".join(part for part in (event.split, event.stage) if part)


class LineListener:
    """A plain line on stderr for every new stage and note, and one about every ten seconds in between."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock, self._rates, self._texts = clock, _Rates(clock), _Texts()
        self._last_s = clock()
        self._stage = ("", "")

    def __call__(self, event: Event) -> None:
        """Print the event, or not yet."""
        if event.kind == "progress":
            self._progress(event)
            return
        if event.kind == "stage":
            self._begin(event)
        text = self._texts.of(event)
        if text:
            say(text)

    def _begin(self, event: Event) -> None:
        self._stage = (event.split, event.stage)
        self._rates.begin(event.stage)
        self._last_s = self._clock()

    def _progress(self, event: Event) -> None:
        if (event.split, event.stage) != self._stage:
            self._begin(event)
        details = self._rates.describe(event)
        if self._clock() - self._last_s < _LINE_EVERY_S:
            return
        self._last_s = self._clock()
        left_s = self._rates.left_s(event)
        parts = [
            f"{event.done:,} of {event.total:,}" if event.total else f"{event.done:,}",
            details,
            f"{time_text(left_s)} left" if left_s else "",
        ]
        say(f"{printable(_place(event))}: " + ", ".join(part for part in parts if part))


class _Bars:
    """A Rich bar for every stage, on stderr."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[count]}", markup=False, justify="right"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[details]}", markup=False),
            console=console_of(sys.stderr),
        )
        self._rates, self._texts = _Rates(time.monotonic), _Texts()
        self._task: Any = None
        self._stage = ("", "")

    @contextmanager
    def shown(self) -> Iterator[None]:
        with self._progress:
            yield
            self._end()

    def __call__(self, event: Event) -> None:
        if event.kind in ("stage", "progress"):
            if (event.split, event.stage) != self._stage or self._task is None:
                self._begin(event)
            self._update(event)
            return
        text = self._texts.of(event)
        if text:
            self._progress.console.print(text)

    def _begin(self, event: Event) -> None:
        self._end()
        self._stage = (event.split, event.stage)
        self._rates.begin(event.stage)
        self._task = self._progress.add_task(printable(_place(event)), total=None, count="", details="")

    def _update(self, event: Event) -> None:
        if event.kind == "stage" and not event.total:
            self._progress.update(self._task, details=printable(event.text))
            return
        self._progress.update(
            self._task, completed=event.done, total=event.total or None,
            count=f"{event.done:,}/{event.total:,}" if event.total else f"{event.done:,}",
            details=self._rates.describe(event),
        )  # fmt: skip

    def _end(self) -> None:
        if self._task is None:
            return
        task = self._progress.tasks[self._task]
        if task.total is None:
            # A stage without a known length: its bar stops moving.
            self._progress.update(self._task, total=1, completed=1)
        self._progress.stop_task(self._task)
        self._task = None
