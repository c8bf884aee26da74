"""Options in a TOML file."""

from pathlib import Path
from typing import Any

from pose_data.errors import UsageError

__all__ = ["read_toml"]


def read_toml(file: Path) -> dict[str, Any]:
    """Return what a TOML file holds. Raises UsageError ``config-unreadable`` or ``config-invalid``."""
    import tomllib  # here, so that a program's --help does without it

    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(
            "config-unreadable", f"the configuration cannot be read: {error.strerror}", where=str(file)
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(
            "config-invalid", f"the configuration is not TOML: {error}", where=str(file),
            hint="a line is: option = value, with text in quotes",
        ) from None  # fmt: skip
