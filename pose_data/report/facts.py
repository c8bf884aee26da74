"""A judgement as JSON-ready values: the report's machine-readable form, which the page and the summary are made from.

The schema has a version; fields are added within one, never renamed. What is not a number is null. Nothing depends on
the time, the place or the number of threads, so equal input gives equal bytes.
"""

import math
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import numpy as np

from pose_data import __version__
from pose_data.evaluation.average_precision import Result
from pose_data.evaluation.localisation import GOOD, LOOSE, LOWEST_OKS, Kind, Localisation
from pose_data.report.cases import Case
from pose_data.report.judgement import Judgement
from pose_data.report.literature import LITERATURE

__all__ = ["SCHEMA", "ReportSources", "plain_values", "report_facts"]

SCHEMA = "posedata-report/1"
_HISTOGRAM_BINS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportSources:
    """What was evaluated against what; digests of the files as the readers give them, empty where there is none."""

    results: str
    truth: str
    results_digest: str = ""
    truth_digest: str = ""
    boxes: str = ""
    """Whose person boxes the results were made with, where known."""
    rules: tuple[str, ...] = ()
    """In words: skeleton, sigmas, areas, whom is ignored."""


def report_facts(
    judgement: Judgement, sources: ReportSources, cases: Sequence[Case], *, warnings: Sequence[str] = ()
) -> dict[str, Any]:
    """Return everything but the pictures; ``warnings`` come behind the judgement's."""
    comparable, because = judgement.comparable()
    facts = {
        "schema": SCHEMA,
        "versions": {"posedata": __version__, "numpy": np.__version__, "python": platform.python_version()},
        "sources": sources,
        "data": _data(judgement.result),
        "rules": _rules(judgement, sources),
        "comparable": {"to_published_val2017": comparable, "because": because},
        "numbers": dict(judgement.result.numbers),
        "intervals": judgement.intervals,
        "baseline": _baseline(judgement),
        "gains": judgement.gains,
        "keypoints": judgement.keypoints,
        "groups": judgement.groups,
        "curves": _curves(judgement.result),
        "scores": _scores(judgement),
        "found": _found(judgement.found),
        "self_tests": judgement.tests,
        "warnings": (*judgement.warnings, *warnings),
        "literature": LITERATURE,
        "cases": [_case(judgement, case) for case in cases],
    }
    plain: dict[str, Any] = plain_values(facts)
    return plain


def _data(result: Result) -> dict[str, Any]:
    truth = result.truth
    counted = ~truth.ignored
    return {
        "pictures": len(truth.image_ids), "persons": len(truth.area), "counted_persons": int(counted.sum()),
        "crowds": int(truth.iscrowd.sum()),
        "labelled_keypoints": int((truth.keypoints[counted][..., 2] > 0).sum()),
        "detections": len(result.detections), "detections_that_count": len(result.matching.detection),
        "skeleton": {
            "name": truth.skeleton.name, "names": truth.skeleton.names, "sigmas": truth.skeleton.sigmas,
        },
    }  # fmt: skip


def _rules(judgement: Judgement, sources: ReportSources) -> dict[str, Any]:
    result = judgement.result
    boxes = result.detections.bbox_xywh is not None
    area = {"coco": "box" if boxes else "extent"}.get(result.options.detection_area, result.options.detection_area)
    return {
        "options": asdict(result.options), "detection_area": area, "in_words": sources.rules,
        "pixels": "keypoints are indices of whole pixels, as in COCO; nothing is added or taken away",
        "diagnosis": {"matched_at_oks": LOWEST_OKS, "good_from": GOOD, "near_from": LOOSE},
        "replicates": judgement.replicates, "seed": judgement.seed,
    }  # fmt: skip


def _baseline(judgement: Judgement) -> dict[str, Any] | None:
    baseline = judgement.baseline
    if baseline is None:
        return None
    return {
        "name": baseline.name, "numbers": dict(baseline.result.numbers), "differences": baseline.differences,
    }  # fmt: skip


def _curves(result: Result) -> dict[str, Any]:
    return {
        "oks": result.options.iou_thresholds().round(2).tolist(),
        "recall": result.options.recall_thresholds().round(2).tolist(),
        "precision": result.precision[:, :, 0].tolist(), "score": result.scores[:, :, 0].tolist(),
    }  # fmt: skip


def _scores(judgement: Judgement) -> dict[str, Any]:
    matching = judgement.result.matching
    shown = ~matching.detection_ignored[0, 0]
    score, right = matching.score[shown], matching.found[0, 0][shown] >= 0
    low, high = (float(score.min()), float(score.max())) if len(score) else (0.0, 1.0)
    if low >= 0.0 and high <= 1.0:
        low, high = 0.0, 1.0
    edges = np.linspace(low, high if high > low else low + 1.0, _HISTOGRAM_BINS + 1)
    return {
        "reliability": judgement.reliability, "best_cut": judgement.cut,
        "histogram": {
            "edges": edges.tolist(), "right": np.histogram(score[right], edges)[0].tolist(),
            "wrong": np.histogram(score[~right], edges)[0].tolist(),
        },
    }  # fmt: skip


def _found(found: Localisation) -> dict[str, int]:
    return {
        "persons_found": len(found.person), "persons_missed": len(found.missed),
        "background_detections": len(found.background), "second_detections": len(found.duplicate),
    }  # fmt: skip


def _case(judgement: Judgement, case: Case) -> dict[str, Any]:
    result, found = judgement.result, judgement.found
    names = result.truth.skeleton.names
    faults = []
    if case.place >= 0:
        kinds = found.kind[case.place]
        faults = [
            {"keypoint": names[joint], "kind": Kind(int(kinds[joint])).name.lower()}
            for joint in np.flatnonzero(kinds > Kind.GOOD).tolist()
        ]
    return {
        "sort": case.sort, "image_id": case.image_id,
        "annotation_id": int(result.truth.annotation_id[case.person]) if case.person >= 0 else None,
        "detection": case.detection if case.detection >= 0 else None,
        "score": float(result.detections.score[case.detection]) if case.detection >= 0 else None,
        "oks": case.oks, "other_oks": case.other_oks, "size": case.size, "faults": faults,
    }  # fmt: skip


def plain_values(value: Any) -> Any:
    """Return plain lists, mappings and numbers; what is not finite becomes None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {name: plain_values(item) for name, item in asdict(value).items()}
    if isinstance(value, Mapping):
        return {str(key): plain_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
