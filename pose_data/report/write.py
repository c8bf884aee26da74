"""A report's folder: the page, the numbers, the persons and the summary, whole or not at all."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pose_data.atomic import make_folder, storage_errors, write_file
from pose_data.evaluation.average_precision import Result
from pose_data.evaluation.store_truth import truth_from_split
from pose_data.report.cards import make_cards
from pose_data.report.case_pictures import NoPictures, Pictures, pictures_of
from pose_data.report.cases import choose_cases
from pose_data.report.facts import ReportSources, report_facts
from pose_data.report.judgement import Judgement, judge
from pose_data.report.page import render_report
from pose_data.report.persons_table import persons_parquet
from pose_data.report.summary import summary_markdown
from pose_data.store import Split

__all__ = ["ReportFiles", "report_on_split", "write_report"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportFiles:
    """What was written."""

    page: Path
    facts: Path
    persons: Path
    summary: Path
    warnings: tuple[str, ...] = ()
    """What was noticed on the way, such as pictures that could not be read; in the report behind the judgement's."""


def write_report(
    judgement: Judgement,
    out: str | Path,
    sources: ReportSources,
    *,
    pictures: Pictures | None = None,
    most_cases: int = 200,
    threads: int = 2,
) -> ReportFiles:
    """Write ``report.html``, ``report.json``, ``persons.parquet`` and ``summary.md`` into the folder ``out``.

    Equal input gives equal bytes. Files of the same names are replaced. Raises StorageError.
    """
    folder = Path(out)
    pictures = pictures or NoPictures()
    cases = choose_cases(judgement, most=most_cases)
    # The cards first: which pictures cannot be read is known behind them.
    cards = make_cards(judgement, cases, pictures, threads=threads)
    warnings = pictures.warnings()
    facts = report_facts(judgement, sources, cases, warnings=warnings)
    contents = {
        "report.html": render_report(facts, cards),
        "report.json": _json_bytes(facts),
        "persons.parquet": persons_parquet(judgement),
        "summary.md": summary_markdown(facts).encode(),
    }
    with storage_errors("writing a report", folder):
        make_folder(folder)
        for name, data in contents.items():
            write_file(folder / name, data)
    return ReportFiles(
        page=folder / "report.html", facts=folder / "report.json", persons=folder / "persons.parquet",
        summary=folder / "summary.md", warnings=warnings,
    )  # fmt: skip


def report_on_split(
    result: Result, split: Split, out: str | Path, *, results: str, boxes: str, images: str | Path | None = None,
    replicates: int = 1000, threads: int = 2,
) -> ReportFiles:  # fmt: skip
    """Diagnose an evaluation against a store's split and write its report; cases show pictures of ``images``, or crops.

    ``results`` and ``boxes`` say what was judged and whose person boxes it was made with. Raises StorageError, and
    InputError ``images-not-found``.
    """
    truth = truth_from_split(split)
    sources = ReportSources(
        results=results, truth=f"{split.folder.path.parent.name}, {split.folder.name}", boxes=boxes,
        rules=truth.rules.lines(),
    )  # fmt: skip
    judgement = judge(result, replicates=replicates, threads=threads, rules=truth.rules)
    return write_report(judgement, out, sources, pictures=pictures_of(truth, split, images))


def _json_bytes(facts: dict[str, Any]) -> bytes:
    """Return facts as JSON with sorted names, one value a line."""
    return (json.dumps(facts, indent=1, sort_keys=True, allow_nan=False) + "\n").encode()
