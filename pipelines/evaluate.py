"""Judging results files: read strictly, evaluated, diagnosed, reported, held against limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from pose_data.errors import UsageError
from pose_data.evaluation import EvaluationOptions, Result
from pose_data.evaluation import evaluate as evaluate_arrays
from pose_data.evaluation.bootstrap import Difference, Interval, bootstrap_numbers, intervals, paired_differences
from pose_data.evaluation.matching import AreaOfDetections
from pose_data.evaluation.oracles import Gain
from pose_data.evaluation.parts import evaluate_parts
from pose_data.evaluation.read_detections import DetectionFile, read_detections
from pose_data.evaluation.read_ground_truth import read_ground_truth
from pose_data.evaluation.rules import RULES, AreaRule, own_rules
from pose_data.evaluation.store_truth import truth_from_split
from pose_data.evaluation.truth_file import TruthFile
from pose_data.events import Event, Listener, silent
from pose_data.report import ReportFiles, judge, write_report
from pose_data.report.case_pictures import check_folder, pictures_of
from pose_data.report.comparison import ComparedRun, write_comparison
from pose_data.report.facts import ReportSources
from pose_data.store import Split, choose_split, open_store

__all__ = ["CompareReport", "EvaluateReport", "TruthSource", "compare", "evaluate"]

_CATEGORY = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthSource:
    """Where the annotated persons come from: a COCO file, or a split of a store."""

    annotations: Path | None = None
    data: Path | None = None
    split: str = ""
    """Of the store; empty: the one whose name begins with "val"."""
    category: str | int = _CATEGORY
    rules: str = ""
    """A name of :data:`pose_data.evaluation.rules.RULES`, or a TOML or JSON file that sets sigmas and more (see
    :func:`pose_data.evaluation.rules.own_rules`); empty: those of the file's keypoint names."""
    area: AreaRule | None = None
    """In place of the rules' own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateReport:
    """How results did."""

    results: str
    truth: str
    pictures: int
    persons: int
    """Counted ones."""
    detections: int
    numbers: Mapping[str, float]
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    gains: tuple[Gain, ...] = ()
    baseline: str = ""
    differences: Mapping[str, Difference] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()
    """In words."""
    parts: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The ten numbers of each part of the body, where the rules have parts."""
    files: ReportFiles | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompareReport:
    """Several results for the same pictures, the first one being what the others are compared with."""

    truth: str
    runs: tuple[ComparedRun, ...]
    page: Path | None = None


def evaluate(
    results: str | Path,
    truth: TruthSource,
    *,
    images: str | Path | None = None,
    report: str | Path | None = None,
    baseline: str | Path | None = None,
    quick: bool = False,
    replicates: int = 1000,
    seed: int = 0,
    cases: int = 200,
    boxes_from: str = "",
    unknown_images: Literal["error", "skip"] = "error",
    keypoint_stride: Literal[2, 3] = 3,
    max_detections: int = 20,
    detection_area: AreaOfDetections = "coco",
    threads: int = 2,
    on_event: Listener = silent,
) -> EvaluateReport:
    """Evaluate a COCO results file, diagnose it, and write a report where one is asked for.

    ``images`` is the folder of the pictures, for the report's cases; without it a store's crops are shown.
    ``boxes_from`` says in the report whose person boxes the results were made with. ``quick``: the numbers alone.

    Raises InputError (bad files), StoreError and DamageError (the store), UsageError, StorageError.
    """
    _check_options(report, baseline, images, quick, replicates)
    on_event(Event(kind="stage", stage="read", text=str(results)))
    own, split = _read_truth(truth)
    options = EvaluationOptions(max_detections=max_detections, detection_area=detection_area)
    read = partial(_evaluated, truth=own, skip=unknown_images == "skip" or split is not None, stride=keypoint_stride)
    result, read_file = read(Path(results), options=options)
    digest = read_file.digest
    name, *other_names = _distinct_names([Path(path) for path in (results, baseline) if path is not None])
    truth_name = _truth_name(truth, own, split)
    shared = EvaluateReport(
        results=name, truth=truth_name, pictures=len(own.truth.image_ids), persons=own.counts["counted"],
        detections=len(result.detections), numbers=result.numbers, warnings=result.warnings, rules=own.rules.lines(),
        parts=_parts(own, result, options),
    )  # fmt: skip
    if quick:
        return shared
    on_event(Event(kind="stage", stage="diagnose", text=f"{replicates:,} draws of pictures"))
    other = None if baseline is None else (other_names[0], read(Path(baseline), options=options)[0])
    judgement = judge(
        result, replicates=replicates, seed=seed, threads=threads, baseline=other, rules=own.rules,
        images_skipped=any(remark.code == "images-skipped" for remark in read_file.remarks),
    )  # fmt: skip
    files = None
    if report is not None:
        on_event(Event(kind="stage", stage="report", text=str(report)))
        sources = ReportSources(
            results=name,
            truth=truth_name,
            results_digest=digest,
            truth_digest=own.digest,
            boxes=boxes_from,
            rules=own.rules.lines(),
        )
        files = write_report(
            judgement, report, sources, pictures=pictures_of(own, split, images), most_cases=cases, threads=threads
        )
    differences = judgement.baseline.differences if judgement.baseline else {}
    return replace(
        shared, intervals=judgement.intervals, gains=judgement.gains, baseline=other[0] if other else "",
        differences=differences, warnings=(*judgement.warnings, *(files.warnings if files else ())), files=files,
    )  # fmt: skip


def compare(
    results: Sequence[str | Path],
    truth: TruthSource,
    *,
    report: str | Path | None = None,
    replicates: int = 1000,
    seed: int = 0,
    unknown_images: Literal["error", "skip"] = "error",
    max_detections: int = 20,
    detection_area: AreaOfDetections = "coco",
    threads: int = 2,
    on_event: Listener = silent,
) -> CompareReport:
    """Compare results for the same pictures with the first of them, on the same draws of pictures.

    ``report`` is a folder for ``compare.html``, ``compare.json`` and ``compare.md``. Raises like :func:`evaluate`;
    UsageError for fewer than two results.
    """
    if len(results) < 2:
        raise UsageError("option-conflict", "one file has nothing to be compared with", hint="name two or more")
    if replicates < 1:
        raise UsageError("option-value", f"replicates is {replicates}", hint="at least 1")
    own, split = _read_truth(truth)
    options = EvaluationOptions(max_detections=max_detections, detection_area=detection_area)
    runs: list[ComparedRun] = []
    first: tuple[Result, np.ndarray[tuple[int, ...], np.dtype[np.float64]]] | None = None
    paths = [Path(path) for path in results]
    for place, (path, name) in enumerate(zip(paths, _distinct_names(paths), strict=True)):
        on_event(Event(kind="progress", stage="compare", done=place, total=len(results), text=name))
        result, read_file = _evaluated(
            path, truth=own, options=options, skip=unknown_images == "skip" or split is not None, stride=3
        )
        draws = bootstrap_numbers(result, replicates=replicates, seed=seed, threads=threads)
        differences = paired_differences(result, first[0], (draws, first[1])) if first is not None else {}
        first = first or (result, draws)
        runs.append(
            ComparedRun.of(
                name, result, digest=read_file.digest, intervals=intervals(result, draws), against=differences
            )
        )
    on_event(Event(kind="progress", stage="compare", done=len(results), total=len(results)))
    truth_name = _truth_name(truth, own, split)
    page = None
    if report is not None:
        page = write_comparison(Path(report), truth_name, runs, replicates=replicates, seed=seed)
    return CompareReport(truth=truth_name, runs=tuple(runs), page=page)


def _distinct_names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each file: its own, with as many folders as tell it from the others.

    A file that is there twice is numbered.
    """
    names = []
    for place, path in enumerate(paths):
        others = [other for other in paths if other != path]
        depth = next(
            (
                depth
                for depth in range(1, len(path.parts))
                if all(_end(other, depth) != _end(path, depth) for other in others)
            ),
            len(path.parts),
        )
        before = paths[:place].count(path)
        names.append(_end(path, depth) + (f" ({before + 1})" if before else ""))
    return names


def _end(path: Path, depth: int) -> str:
    return Path(*path.parts[-depth:]).as_posix()


def _check_options(report: object, baseline: object, images: str | Path | None, quick: bool, replicates: int) -> None:
    if quick and (report is not None or baseline is not None):
        raise UsageError("option-conflict", "--quick gives the numbers alone", hint="leave --quick out")
    if images is not None:
        if report is None:
            raise UsageError(
                "option-conflict", "--images shows the cases of a report", hint="--report OUT, or leave --images out"
            )
        check_folder(images)
    if replicates < 0:
        raise UsageError("option-value", f"replicates is {replicates}", hint="0 or more")


def _read_truth(source: TruthSource) -> tuple[TruthFile, Split | None]:
    if (source.annotations is None) == (source.data is None):
        raise UsageError(
            "option-conflict", "the annotated persons come from one place",
            hint="--annotations person_keypoints_val2017.json, or --data crops.zarr",
        )  # fmt: skip
    if source.annotations is not None:
        if source.split:
            raise UsageError("option-conflict", "--split is of a store", hint="leave --split out, or give --data STORE")
        return _read_annotations(source, source.annotations), None
    assert source.data is not None
    if source.rules or source.area:
        raise UsageError("option-conflict", "a store has the rules of its skeleton", hint="--annotations takes others")
    if source.category != _CATEGORY:
        raise UsageError(
            "option-conflict", "a store has the category that it was prepared with",
            hint="leave --category out, or give --annotations GT.json",
        )  # fmt: skip
    split = _chosen(source.data, source.split)
    return truth_from_split(split), split


def _read_annotations(source: TruthSource, path: Path) -> TruthFile:
    if source.rules in RULES or not source.rules:
        rules = RULES.get(source.rules)
        return read_ground_truth(path, category=source.category, rules=rules, area=source.area)
    # Own sigmas stand for the file's own keypoint names, so it is read twice.
    base = read_ground_truth(path, category=source.category).rules
    return read_ground_truth(
        path, category=source.category, rules=own_rules(Path(source.rules), base), area=source.area
    )


def _chosen(data: Path, wanted: str) -> Split:
    store = open_store(data)
    if not wanted and len(store) == 1:
        return next(iter(store.values()))
    return choose_split(store, wanted, "val", option="--split")


def _truth_name(source: TruthSource, truth: TruthFile, split: Split | None) -> str:
    name = truth.path.name if truth.path else ""
    return f"{name}, {split.folder.name}" if split is not None else name


def _evaluated(
    path: Path, *, truth: TruthFile, options: EvaluationOptions, skip: bool, stride: Literal[2, 3]
) -> tuple[Result, DetectionFile]:
    # A store knows no pictures without annotations, so results on such pictures cannot be told from wrong ones.
    found = read_detections(
        path, truth, unknown_images="skip" if skip else "error", keypoint_stride=stride,
        boxes="ignore" if options.detection_area == "extent" else "read",
    )  # fmt: skip
    return evaluate_arrays(truth.truth, found.detections, options=options), found


def _parts(truth: TruthFile, result: Result, options: EvaluationOptions) -> dict[str, Mapping[str, float]]:
    if not truth.rules.parts:
        return {}
    found = evaluate_parts(truth.truth, result.detections, truth.rules, options=options)
    return {name: part.numbers for name, part in found.items()}
