"""Options that several commands share, and the parsers of their values. Nothing heavy is loaded here."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from cli.config_file import load_config
from pose_data.errors import UsageError

__all__ = [
    "AllowOutside",
    "Annotations",
    "Config",
    "ForbidLeak",
    "Format",
    "Images",
    "Json",
    "MaxAnnotationBytes",
    "MaxBad",
    "PictureTimeout",
    "Quiet",
    "Root",
    "SplitNames",
    "Store",
    "Strict",
    "Verbose",
    "Workers",
    "bad_share",
    "check_format",
    "parse_bytes",
    "parse_pair",
    "parse_share",
]

INPUT_PANEL = "Where the data is"
LIMITS_PANEL = "Limits"
RUN_PANEL = "How it runs (changes no byte of the result)"
OUTPUT_PANEL = "What is shown"

FORMATS = ("coco",)
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_bytes(text: str) -> int:
    """Return a number of bytes: ``500M``, ``1.5G``, ``2GiB`` (K, M, G, T are powers of 1000, Ki … of 1024)."""
    match = _SIZE.fullmatch(str(text).strip())
    if match is None or (match[3] and not match[2]):
        raise ValueError(f"{text!r} is not a size such as 500M, 1G or 2GiB")
    return int(float(match[1]) * (1024 if match[3] else 1000) ** _POWERS[match[2].lower()])


def parse_share(text: str) -> float:
    """Return a share from 0 to 1: ``0.01`` or ``1%``."""
    plain = str(text).strip()
    try:
        share = float(plain[:-1]) / 100 if plain.endswith("%") else float(plain)
    except ValueError:
        raise ValueError(f"{text!r} is not a share such as 0.01 or 1%") from None
    if not 0 <= share <= 1:
        raise ValueError(f"{text!r} is not between 0 and 1")
    return share


def parse_pair(text: str) -> tuple[int, int]:
    """Return (height, width) from ``256x192``."""
    parts = str(text).lower().replace("×", "x").split("x")
    if len(parts) != 2 or not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"{text!r} is not HEIGHTxWIDTH, such as 256x192")
    return int(parts[0]), int(parts[1])


def check_format(name: str) -> None:
    """Raise UsageError for an annotation format that there is no reader for."""
    if name not in FORMATS:
        raise UsageError(
            "format-unknown", f"there is no annotation format {name!r}",
            hint=f"formats: {', '.join(FORMATS)}; for example: posedata prepare coco --out crops.zarr",
        )  # fmt: skip


def bad_share(max_bad: float | None, strict: bool) -> float | None:
    """Return the share of bad records that ``--max-bad`` and ``--strict`` allow, None for the default."""
    if strict and max_bad:
        raise UsageError("option-conflict", "--strict allows no bad record", hint="leave --max-bad out")
    return 0.0 if strict else max_bad


def _complete_formats(incomplete: str) -> Sequence[str]:
    return [name for name in FORMATS if name.startswith(incomplete)]


Format = Annotated[
    str,
    typer.Argument(
        help="Format of the annotations: " + ", ".join(FORMATS) + ".", metavar="FORMAT",
        autocompletion=_complete_formats,
    ),
]  # fmt: skip
Store = Annotated[Path, typer.Argument(help="The store, such as crops.zarr.", metavar="STORE")]
Root = Annotated[
    Path | None,
    typer.Option(
        help="The data set's folder, with annotations/person_keypoints_SPLIT.json and SPLIT/ or images/SPLIT/. "
        "Without it: $COCO_ROOT, ./data/coco, ./coco.",
        rich_help_panel=INPUT_PANEL,
    ),
]
SplitNames = Annotated[
    list[str] | None,
    typer.Option("--split", help="Only this split; may be repeated.", rich_help_panel=INPUT_PANEL, metavar="NAME"),
]
Annotations = Annotated[
    Path | None, typer.Option(help="One split's annotation file; with --images.", rich_help_panel=INPUT_PANEL)
]
Images = Annotated[
    Path | None, typer.Option(help="One split's folder of pictures; with --annotations.", rich_help_panel=INPUT_PANEL)
]
MaxBad = Annotated[
    float | None,
    typer.Option(
        help="Largest share of bad annotations, or pictures: 0.01 or 1%. Default 0.01.",
        parser=parse_share, metavar="SHARE", rich_help_panel=LIMITS_PANEL,
    ),
]  # fmt: skip
Strict = Annotated[bool, typer.Option("--strict", help="No bad record at all.", rich_help_panel=LIMITS_PANEL)]
AllowOutside = Annotated[
    bool,
    typer.Option(
        "--allow-outside", help="Follow picture names and links out of the folder.", rich_help_panel=LIMITS_PANEL
    ),
]
ForbidLeak = Annotated[
    bool,
    typer.Option("--forbid-leak", help="Fail when two splits share a picture.", rich_help_panel=LIMITS_PANEL),
]
MaxAnnotationBytes = Annotated[
    int | None,
    typer.Option(
        help="Largest annotation file that is read, such as 4G.",
        parser=parse_bytes, metavar="SIZE", rich_help_panel=LIMITS_PANEL,
    ),
]  # fmt: skip
PictureTimeout = Annotated[
    float | None,
    typer.Option(
        help="A picture whose decoding takes longer is rejected. Default 60.",
        min=0.1, metavar="SECONDS", rich_help_panel=LIMITS_PANEL,
    ),
]  # fmt: skip
Workers = Annotated[
    int,
    typer.Option(
        help="How many work at a time: threads, or processes of a local cluster.", min=1, rich_help_panel=RUN_PANEL
    ),
]
Config = Annotated[
    Path | None,
    typer.Option(
        help="A TOML file with any of these options by name; options given here win.",
        is_eager=True, callback=load_config, metavar="FILE.toml", rich_help_panel=RUN_PANEL,
    ),
]  # fmt: skip
Json = Annotated[
    bool, typer.Option("--json", help="JSON lines on stdout, nothing else there.", rich_help_panel=OUTPUT_PANEL)
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no hints.", rich_help_panel=OUTPUT_PANEL)]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose", "-v", count=True, help="Log more; twice for all. With it our own errors show where.",
        rich_help_panel=OUTPUT_PANEL, show_default=False,
    ),
]  # fmt: skip
