"""What an earlier prediction left in its folder, to be taken away once another one stands in its place."""

import csv
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from pose_data.atomic import remove_file, storage_errors
from pose_data.people_found import FILE_KINDS

__all__ = ["earlier_files", "remove_all_but"]

_FILES = tuple(f"keypoints.{kind}" for kind in FILE_KINDS)
_DRAWN_SUFFIXES = (".jpg", ".mp4")


def earlier_files(folder: Path) -> frozenset[Path]:
    """Return the files of the prediction whose ``frames.csv`` is in the folder: keypoints, and drawings of its sources.

    None where there is no such file: then nothing in the folder is a prediction's.
    """
    frames = folder / "frames.csv"
    if not frames.is_file():
        return frozenset()
    drawn = folder / "drawn"
    places = [folder / name for name in _FILES]
    places += [(drawn / source).with_suffix(suffix) for source in set(_sources(frames)) for suffix in _DRAWN_SUFFIXES]
    return frozenset(place for place in places if place.is_file() and not place.is_symlink())


def _sources(frames: Path) -> Iterator[PurePosixPath]:
    with suppress(OSError, ValueError, csv.Error), frames.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            # A quote stands before what a spreadsheet would take for a formula.
            name = PurePosixPath((row.get("source") or "").removeprefix("'"))
            if name.name and not name.is_absolute() and ".." not in name.parts:
                yield name


def remove_all_but(earlier: Collection[Path], written: Collection[Path]) -> None:
    """Remove earlier files that were not written anew, and folders of drawings that are empty then.

    Raises StorageError.
    """
    for place in sorted(set(earlier).difference(written)):
        with storage_errors("removing earlier predictions", place):
            remove_file(place)
        with suppress(OSError):  # not empty
            for folder in _drawn_folders(place):
                folder.rmdir()


def _drawn_folders(place: Path) -> Iterator[Path]:
    """Yield the folders that a drawing lies in, the innermost first, up to ``drawn`` itself."""
    if place.name in _FILES:
        return
    for folder in place.parents:
        yield folder
        if folder.name == "drawn":
            return
