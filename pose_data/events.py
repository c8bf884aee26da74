"""What a long job tells while it runs: one stream of events, printed as a bar, as lines or as JSON."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Event", "EventKind", "Listener", "Terminated", "silent"]

EventKind = Literal["stage", "progress", "note", "retry", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened.

    ``stage``: a stage of a split begins (``total`` of its unit, when known). ``progress``: how far it is.
    ``note``: something worth a line. ``retry``: a shard is made again. ``done``: a split is finished.
    """

    kind: EventKind
    split: str = ""
    stage: str = ""
    text: str = ""
    done: int = 0
    total: int = 0
    data: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Return the event as JSON-ready values; empty fields are left out."""
        named = {"event": self.kind, "split": self.split, "stage": self.stage, "text": self.text}
        values: dict[str, Any] = {key: value for key, value in named.items() if value}
        if self.total:
            values |= {"done": self.done, "total": self.total}
        return values | dict(self.data)


Listener = Callable[[Event], None]


def silent(event: Event) -> None:
    """Listen to nothing."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, raised by a signal handler of the command line like Ctrl-C is by Python's own."""
