"""Options of the commands that judge results: whom they are held against, and by which rules."""

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = [
    "Area",
    "Category",
    "DetectionArea",
    "Judged",
    "JudgedSplit",
    "JudgedStore",
    "MaxDetections",
    "Replicates",
    "RuleSet",
    "UnknownImages",
]

TRUTH_PANEL = "Annotated persons"
RULES_PANEL = "Rules"

Judged = Annotated[
    Path | None,
    typer.Option("--annotations", help="A COCO keypoint file.", metavar="GT.json", rich_help_panel=TRUTH_PANEL),
]
JudgedStore = Annotated[
    Path | None,
    typer.Option("--data", help="A store that was prepared.", metavar="STORE", rich_help_panel=TRUTH_PANEL),
]
JudgedSplit = Annotated[
    str,
    typer.Option(
        "--split", help="Of the store; unless given the one that begins with val.", rich_help_panel=TRUTH_PANEL
    ),
]
Category = Annotated[
    str, typer.Option(help="The category that is evaluated, by name.", rich_help_panel=TRUTH_PANEL, metavar="NAME")
]
RuleSet = Annotated[
    str,
    typer.Option(
        "--rules",
        help="coco, crowdpose or coco-wholebody, or a TOML or JSON file with sigmas; else by the keypoints' names.",
        rich_help_panel=RULES_PANEL,
        metavar="NAME|FILE",
    ),
]
Area = Annotated[
    Literal["segment", "box-0.53"] | None,
    typer.Option(
        help="A person's area, in place of the rules': as written, or 0.53 of the box.", rich_help_panel=RULES_PANEL
    ),
]
DetectionArea = Annotated[
    Literal["coco", "box", "extent"],
    typer.Option(
        help="A detection's area: of its box where there is one (coco, box), or of its keypoints.",
        rich_help_panel=RULES_PANEL,
    ),
]
MaxDetections = Annotated[
    int, typer.Option(help="So many of a picture's detections count.", min=1, rich_help_panel=RULES_PANEL)
]
UnknownImages = Annotated[
    Literal["error", "skip"],
    typer.Option(help="Results of pictures that are not annotated.", rich_help_panel=RULES_PANEL),
]
Replicates = Annotated[
    int, typer.Option(help="Draws of pictures for the intervals; 0: none.", min=0, rich_help_panel=RULES_PANEL)
]
