"""What the tables of commands hold."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

__all__ = ["Command"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """A command; ``function`` is the dotted name of the library function that does the same."""

    handler: Callable[..., Any]
    function: str
    examples: tuple[str, ...]
    title: str = ""
    """The command's name where it is not that of its handler."""

    @property
    def name(self) -> str:
        """Return the command's name: that of its handler, unless it has a title."""
        return self.title or self.handler.__name__

    @property
    def epilog(self) -> str:
        """Return the examples as the end of the command's help: Typer wants blank lines between them."""
        return "\n\n".join(["Examples:", *(f"  {example}" for example in self.examples)])
