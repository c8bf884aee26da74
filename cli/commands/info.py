"""``posedata info``."""

from typing import TYPE_CHECKING

from cli.console import (
    log_to_stderr,
    print_facts,
    print_line,
    print_next,
    print_problems,
    print_table,
    size_text,
    to_plain,
    write_json,
)
from cli.options import Json, Quiet, Store, Verbose

if TYPE_CHECKING:
    from pose_data.info import SplitInfo

__all__ = ["info"]


def info(store: Store, json: Json = False, quiet: Quiet = False, verbose: Verbose = 0) -> int:
    """Show what a store holds: splits, counts, recipe, arrays and sizes, versions; finished or not."""
    from pose_data.info import info as read_info

    log_to_stderr(quiet=quiet, verbose=verbose)
    found = read_info(store)
    if json:
        write_json({"event": "report", "finished": found.finished, "size_bytes": found.size_bytes, **to_plain(found)})
        return 0
    state = "finished" if found.finished else "not finished"
    print_line(f"{found.store}: {state}, {size_text(found.size_bytes)}, format {found.format_version}")
    if found.writer:
        print_line(f"being written by {found.writer}")
    print_line()
    for split in found.splits:
        _show_split(split)
    unfinished = [split.split for split in found.splits if not split.finished]
    if unfinished or not found.splits:
        print_next("posedata", "prepare", "coco", "--out", store, quiet=quiet)
    else:
        print_next("posedata", "verify", store, quiet=quiet)
    return 0


def _show_split(split: "SplitInfo") -> None:
    of_rows, of_row = ("pictures", "picture") if split.recipe.get("rows") == "scenes" else ("persons", "person")
    made = f"{split.shards_made} of {split.shards} shards of up to {split.shard_rows:,} {of_rows}"
    facts: list[tuple[str, object]] = [
        ("split", split.split + ("" if split.finished else ", NOT FINISHED: the command that began it continues it")),
        ("annotations", f"{split.annotations:,} in {split.annotation_file}, sha256 {split.annotation_sha256}"),
    ]
    if split.finished:
        facts += [("kept", split.kept), ("rejected", split.rejected), ("pictures", split.pictures)]
    facts += [
        ("rows", split.rows),
        ("shards", made),
        ("skeleton", f"{split.skeleton}: {', '.join(split.keypoints)}"),
        ("recipe", ", ".join(f"{name} {_value(value)}" for name, value in split.recipe.items())),
        ("versions", ", ".join(f"{name} {version}" for name, version in split.versions.items())),
    ]
    print_facts(facts)
    print_line()
    print_table(
        ["array", "shape", "type", "codec", "on disk", f"bytes a {of_row}"],
        [
            [
                array.name, " x ".join(str(size) for size in array.shape), array.dtype, array.codec,
                size_text(array.size_bytes), round(array.size_bytes / max(1, split.rows)),
            ]
            for array in split.arrays
        ],
    )  # fmt: skip
    print_line()
    print_problems(split.codes, {}, title=f"{split.split}: rejected")
    print_problems(split.notes, {}, title=f"{split.split}: kept, with a note")


def _value(value: object) -> str:
    if isinstance(value, list):
        return "+".join(str(item) for item in value) or "all"
    return str(value)
