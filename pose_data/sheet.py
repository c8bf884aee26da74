"""``verify --sheet``: a contact sheet of crops, skeletons, maps and problem records, as a picture or a web page.

People check a preparation with their eyes first. A ``.png`` is one picture; an ``.html`` is one file with its
pictures inside. All text of the input is escaped for where it is shown.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pose_data.atomic import make_folder, storage_errors, write_file
from pose_data.errors import StoreError, UsageError
from pose_data.manifest import is_finished
from pose_data.sheet_page import render_page
from pose_data.sheet_picture import render_picture
from pose_data.sheet_tiles import SplitTiles, collect_tiles
from pose_data.source import Source, find_source
from pose_data.store import split_folders
from pose_data.verify import split_facts

__all__ = ["write_sheet"]

_PROBLEM_ROWS = 2


def write_sheet(
    root: Path,
    out: Path,
    *,
    splits: Sequence[str] = (),
    sources: Mapping[str, Source] | None = None,
    columns: int = 8,
    rows: int = 6,
    seed: int = 0,
) -> None:
    """Draw ``columns`` x ``rows`` samples of the finished splits (or of those named) to ``out``, .png or .html.

    A seeded choice, shared out among the splits. ``sources``: where the pictures of records that were left out are;
    those that the run logs name unless given. Raises UsageError for another ending or an unknown split, StoreError
    without a finished split, DamageError, StorageError.
    """
    if out.suffix.lower() not in (".png", ".html"):
        raise UsageError(
            "option-value", f"a sheet is a .png or an .html, not {out.suffix or 'a file without an ending'}",
            where=str(out), hint="--sheet sheet.png",
        )  # fmt: skip
    if columns < 1 or rows < 1:
        raise UsageError("option-value", f"a sheet of {columns} x {rows} samples", hint="at least 1 x 1")
    tiles = _collect(root, splits, sources or {}, columns, rows, seed)
    is_page = out.suffix.lower() == ".html"
    content = render_page(root.name, tiles) if is_page else render_picture(root.name, tiles, columns)
    with storage_errors("writing the sheet", out):
        make_folder(out.absolute().parent)
        write_file(out.absolute(), content)


def _collect(
    root: Path, splits: Sequence[str], sources: Mapping[str, Source], columns: int, rows: int, seed: int
) -> list[SplitTiles]:
    folders = split_folders(root)
    unknown = sorted(set(splits) - set(folders))
    if unknown:
        raise UsageError("split-unknown", f"no split {', '.join(unknown)}", hint=f"splits: {', '.join(folders)}")
    chosen = {name: folder for name, folder in folders.items() if name in splits or not splits}
    chosen = {name: folder for name, folder in chosen.items() if is_finished(folder)}
    if not chosen:
        raise StoreError("unfinished", "there is no finished split to draw", where=str(root), hint="posedata prepare")
    rows_each = [rows // len(chosen) + (place < rows % len(chosen)) for place in range(len(chosen))]
    return [
        collect_tiles(
            folder, split_facts(folder), sources.get(name) or find_source(root, name),
            samples=columns * max(1, count), noted=columns, problems=columns * _PROBLEM_ROWS, seed=seed,
        )
        for (name, folder), count in zip(chosen.items(), rows_each, strict=True)
    ]  # fmt: skip
