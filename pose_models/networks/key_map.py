"""How the parameters of another implementation's file are called in ours."""

import re
from dataclasses import dataclass

__all__ = ["KeyMap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMap:
    """``rules`` are (pattern, replacement) of regular expressions, applied one after the other to every key."""

    rules: tuple[tuple[str, str], ...] = ()

    def ours(self, key: str) -> str:
        """Return our name of the parameter that the other implementation calls ``key``."""
        for pattern, replacement in self.rules:
            key = re.sub(pattern, replacement, key)
        return key
