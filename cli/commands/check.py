"""``posedata check``."""

import sys
from typing import TYPE_CHECKING, Any

from cli.console import log_to_stderr, print_line, print_next, print_problems, print_table, say, to_plain, write_json
from cli.options import (
    AllowOutside,
    Annotations,
    Config,
    ForbidLeak,
    Format,
    Images,
    Json,
    MaxAnnotationBytes,
    MaxBad,
    PictureTimeout,
    Quiet,
    Root,
    SplitNames,
    Strict,
    Verbose,
    Workers,
    bad_share,
    check_format,
)
from cli.progress import listen
from cli.recipe_options import takes_recipe
from pose_data.recipes import Recipe

if TYPE_CHECKING:
    from pipelines.check import CheckReport, InputStatistics

__all__ = ["check"]

_UNUSABLE = 3


@takes_recipe
def check(
    format: Format,
    *,
    root: Root = None,
    split: SplitNames = None,
    annotations: Annotations = None,
    images: Images = None,
    recipe: Recipe,
    max_bad: MaxBad = None,
    strict: Strict = False,
    allow_outside: AllowOutside = False,
    forbid_leak: ForbidLeak = False,
    max_annotation_bytes: MaxAnnotationBytes = None,
    picture_timeout: PictureTimeout = None,
    workers: Workers = 2,
    config: Config = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = 0,
) -> int:
    """Read a whole data set, decode every picture that is used, report all problems. Writes nothing.

    Leaves with 3 when a preparation with the same options would be refused.
    """
    check_format(format)
    given: dict[str, Any] = {
        "max_bad": bad_share(max_bad, strict),
        "max_annotation_bytes": max_annotation_bytes,
        "picture_timeout_s": picture_timeout,
    }
    log_to_stderr(quiet=quiet, verbose=verbose)

    from pipelines import check as pipeline

    with listen(json=json, quiet=quiet) as on_event:
        report = pipeline.check(
            root=root, splits=tuple(split or ()), annotations=annotations, images=images, recipe=recipe,
            workers=workers, allow_outside=allow_outside, forbid_leak=forbid_leak, on_event=on_event,
            **{name: value for name, value in given.items() if value is not None},
        )  # fmt: skip
    if json:
        write_json({"event": "report", "usable": report.usable, **to_plain(report)})
    else:
        _show(report, quiet)
    return 0 if report.usable else _UNUSABLE


def _show(report: "CheckReport", quiet: bool) -> None:
    print_table(
        ["split", "annotations", "kept", "rejected", "pictures", "bad pictures", ""],
        [
            [
                part.split, part.annotations, part.kept, part.rejected, part.pictures, part.pictures_bad,
                "cannot be prepared" if part.fatal else "",
            ]
            for part in report.splits
        ],
    )  # fmt: skip
    print_line()
    for part in report.splits:
        print_problems(part.codes, part.examples, title=f"{part.split}: rejected")
        print_problems(part.notes, part.examples, title=f"{part.split}: kept, with a note")
        if part.statistics is not None:
            _show_statistics(part.split, part.statistics)
    for part in report.splits:
        if part.fatal is not None:
            say(f"error: {part.split}: {part.fatal}\n")
    if report.usable:
        same = ["prepare" if part == "check" else part for part in sys.argv[1:]]
        print_next("posedata", *same, "--out", "crops.zarr", quiet=quiet)
    else:
        print_next("posedata", "check", "--help", quiet=quiet)


def _show_statistics(split: str, statistics: "InputStatistics") -> None:
    print_line(
        f"{split}: {statistics.persons_a_picture:.2f} persons a picture (most {statistics.most_persons_a_picture}), "
        f"{statistics.keypoints_a_person:.1f} labelled keypoints a person"
    )
    for name, values in (("width", statistics.box_width_px), ("height", statistics.box_height_px)):
        print_line(f"  box {name:<6} 5 % {values[0]:,.0f} px, half {values[1]:,.0f} px, 95 % {values[2]:,.0f} px")
    shares = [f"{name} {100 * share:.0f}/{100 * statistics.visible[name]:.0f}"
              for name, share in statistics.labelled.items()]  # fmt: skip
    print_line("  labelled/visible in % of the persons: " + ", ".join(shares))
    print_line()
