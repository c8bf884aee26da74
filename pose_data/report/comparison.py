"""Several results side by side: numbers, paired differences from the first, and what costs each of them most."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from markupsafe import Markup

from pose_data import __version__
from pose_data.atomic import make_folder, storage_errors, write_file
from pose_data.evaluation.average_precision import NUMBERS, Result
from pose_data.evaluation.bootstrap import Difference, Interval
from pose_data.evaluation.keypoint_table import keypoint_table
from pose_data.evaluation.localisation import localise
from pose_data.evaluation.oracles import Gain, oracle_gains
from pose_data.report.charts import interval_mark
from pose_data.report.facts import plain_values
from pose_data.report.page import template_environment

__all__ = ["SCHEMA", "ComparedRun", "write_comparison"]

SCHEMA = "posedata-comparison/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRun:
    """One results file among several."""

    name: str
    digest: str
    numbers: Mapping[str, float]
    intervals: Mapping[str, Interval]
    against_first: Mapping[str, Difference]
    """Its numbers minus the first one's; empty for the first."""
    gains: tuple[Gain, ...]
    similarity: Mapping[str, float]
    """Mean keypoint similarity by keypoint, of persons that were found."""
    warnings: tuple[str, ...]

    @staticmethod
    def of(
        name: str, result: Result, *, digest: str, intervals: Mapping[str, Interval], against: Mapping[str, Difference]
    ) -> "ComparedRun":
        """Return a run with its diagnosis."""
        found = localise(result)
        rows = keypoint_table(result.truth, found)
        return ComparedRun(
            name=name, digest=digest, numbers=result.numbers, intervals=intervals, against_first=against,
            gains=oracle_gains(result, found), similarity={row.name: row.similarity for row in rows},
            warnings=result.warnings,
        )  # fmt: skip


def write_comparison(out: Path, truth: str, runs: Sequence[ComparedRun], *, replicates: int, seed: int) -> Path:
    """Write ``compare.html``, ``compare.json`` and ``compare.md`` into a folder; return the page.

    Raises StorageError.
    """
    facts = {
        "schema": SCHEMA, "posedata": __version__, "truth": truth, "replicates": replicates, "seed": seed,
        "runs": [asdict(run) for run in runs],
    }  # fmt: skip
    contents = {
        "compare.html": _page(truth, runs, replicates),
        "compare.json": (json.dumps(plain_values(facts), indent=1, sort_keys=True, allow_nan=False) + "\n").encode(),
        "compare.md": _markdown(truth, runs).encode(),
    }
    with storage_errors("writing a comparison", out):
        make_folder(out)
        for name, data in contents.items():
            write_file(out / name, data)
    return out / "compare.html"


def _markdown(truth: str, runs: Sequence[ComparedRun]) -> str:
    """Return a table of the ten numbers, a column for each run, and of the paired differences of AP."""
    lines = [
        f"# {len(runs)} results against `{truth}`", "",
        "| | " + " | ".join(run.name for run in runs) + " |", "| --- |" + " ---: |" * len(runs),
        *(f"| {name} | " + " | ".join(f"{run.numbers[name]:.4f}" for run in runs) + " |" for name in NUMBERS), "",
        f"| AP minus that of {runs[0].name} | difference | 95 %, paired | better in |", "| --- | ---: | ---: | ---: |",
    ]  # fmt: skip
    for run in runs[1:]:
        change = run.against_first["AP"]
        lines.append(
            f"| {run.name} | {change.value:+.4f} | {change.low:+.4f} to {change.high:+.4f} "
            f"| {change.share_better:.0%} |"
        )
    return "\n".join(lines) + "\n"


def _page(truth: str, runs: Sequence[ComparedRun], replicates: int) -> bytes:
    spans = [change for run in runs for change in run.against_first.values()]
    reach = max((abs(end) for change in spans for end in (change.low, change.high)), default=0.0) or 1.0
    marks: list[dict[str, Any]] = [
        {
            name: Markup(interval_mark(change.low, change.value, change.high, (-reach, reach)))
            for name, change in run.against_first.items()
        }
        for run in runs
    ]
    folder = files("pose_data.report").joinpath("page")
    template = template_environment().from_string(folder.joinpath("compare.html.j2").read_text(encoding="utf-8"))
    page = template.render(
        truth=truth, runs=runs, marks=marks, names=NUMBERS, replicates=replicates, version=__version__, reach=reach,
        style=Markup(folder.joinpath("report.css").read_text(encoding="utf-8")),
        costs=[(gain.meaning, [run.gains[place] for run in runs]) for place, gain in enumerate(runs[0].gains)],
        keypoints=[(name, [run.similarity[name] for run in runs]) for name in runs[0].similarity],
    )  # fmt: skip
    return page.encode("utf-8", "backslashreplace")
