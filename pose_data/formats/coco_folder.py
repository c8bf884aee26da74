"""Find a COCO data set on disk: which splits it has, and where their annotations and pictures are."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pose_data.errors import InputError, UsageError

__all__ = ["CocoSplit", "check_split_name", "find_coco"]

_PREFIX = "person_keypoints_"
_USUAL_PLACES = (Path("data/coco"), Path("coco"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CocoSplit:
    """One split: its name, its annotation file and the folder of its pictures."""

    name: str
    annotations: Path
    images: Path


def find_coco(
    *,
    root: Path | None = None,
    splits: Sequence[str] = (),
    annotations: Path | None = None,
    images: Path | None = None,
) -> tuple[CocoSplit, ...]:
    """Return the splits to work on, in order of name.

    ``annotations`` and ``images`` name one split's places directly; else ``root``, else ``$COCO_ROOT``, else
    ``./data/coco`` and ``./coco`` are looked at. Raises UsageError or InputError, saying where it looked.
    """
    if annotations is not None:
        return (_named(annotations, images, splits),)
    if images is not None:
        raise UsageError("option-conflict", "--images goes with --annotations", hint="give both, or --root")
    base = _base(root)
    names = tuple(splits) or _splits_of(base)
    return tuple(_split(base, name) for name in sorted(set(names)))


def _named(annotations: Path, images: Path | None, splits: Sequence[str]) -> CocoSplit:
    if images is None:
        raise UsageError("option-conflict", "--annotations goes with --images", hint="name the folder of the pictures")
    if len(splits) > 1:
        raise UsageError("option-conflict", "--annotations names one split", hint="give --split at most once")
    if not annotations.is_file():
        raise InputError("annotations-not-found", "there is no such annotation file", where=str(annotations))
    if not images.is_dir():
        raise InputError("images-not-found", "there is no such folder of pictures", where=str(images))
    name = splits[0] if splits else annotations.name.removesuffix(".json").removeprefix(_PREFIX)
    return CocoSplit(name=check_split_name(name), annotations=annotations, images=images)


def check_split_name(name: str) -> str:
    """Return ``name`` when it can name a folder of the store. Raises UsageError."""
    if not name or name.startswith(".") or not all(letter.isalnum() or letter in "-_." for letter in name):
        raise UsageError("split-name", f"{name!r} cannot name a split", hint="letters, digits, '-', '_' and '.'")
    return name


def _base(root: Path | None) -> Path:
    if root is not None:
        tried = [root]
    elif os.environ.get("COCO_ROOT"):
        tried = [Path(os.environ["COCO_ROOT"])]
    else:
        tried = list(_USUAL_PLACES)
    for place in tried:
        if (place / "annotations").is_dir():
            return place
    raise InputError(
        "coco-not-found",
        "no COCO data set was found; a data set has annotations/person_keypoints_<split>.json",
        where="looked in " + ", ".join(str(place) for place in tried),
        hint="posedata prepare coco --root FOLDER, or set COCO_ROOT, or name --annotations and --images; "
        "posedata sample OUT makes a small data set to try",
    )


def _splits_of(base: Path) -> tuple[str, ...]:
    found = sorted((base / "annotations").glob(f"{_PREFIX}*.json"))
    if not found:
        raise InputError(
            "coco-not-found", f"the folder has no {_PREFIX}<split>.json", where=str(base / "annotations"),
            hint="download the COCO keypoint annotations, or name the file with --annotations",
        )  # fmt: skip
    return tuple(path.name.removesuffix(".json").removeprefix(_PREFIX) for path in found)


def _split(base: Path, name: str) -> CocoSplit:
    annotations = base / "annotations" / f"{_PREFIX}{check_split_name(name)}.json"
    if not annotations.is_file():
        raise InputError(
            "annotations-not-found", f"the split {name} has no annotation file", where=str(annotations),
            hint="splits there: " + (", ".join(_splits_of(base))),
        )  # fmt: skip
    tried = [base / name, base / "images" / name]
    images = next((place for place in tried if place.is_dir()), None)
    if images is None:
        raise InputError(
            "images-not-found", f"the split {name} has no folder of pictures",
            where="looked in " + ", ".join(str(place) for place in tried),
            hint="unpack the pictures there, or name them with --annotations and --images",
        )  # fmt: skip
    return CocoSplit(name=name, annotations=annotations, images=images)
