"""Is the file at fault? Results changed in ways that mistakes in writing them would explain: AP must not rise.

Half a pixel more or less, left and right exchanged, x and y exchanged, coordinates scaled. And the labels themselves
as results: whoever draws exactly what is annotated has an AP of 1, or the annotations are at odds with themselves.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pose_data.evaluation.average_precision import Result, evaluate
from pose_data.evaluation.people import Detections, GroundTruth

__all__ = ["SelfTest", "self_tests"]

_Float = npt.NDArray[np.float64]
_RISE = 0.001
"""A rise of AP below this is taken for chance."""
_SUCCESS = 0.999


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTest:
    """One change of the results, and the AP with it."""

    name: str
    ap: float
    change: float
    """``ap`` minus the AP of the results as they are."""
    passed: bool
    meaning: str
    """What it means that the test did not pass."""


def self_tests(result: Result, *, threads: int = 1) -> tuple[SelfTest, ...]:
    """Return all tests; without a counted person there are none."""
    now = result.numbers["AP"]
    if now < 0:
        return ()
    own = evaluate(result.truth, _labels_as_results(result.truth), options=result.options).numbers["AP"]
    tests = [
        SelfTest(
            name="labels as results",
            ap=own,
            change=own - now,
            passed=own >= _SUCCESS,
            meaning="persons annotated twice, or areas of 0: no results could reach an AP of 1",
        )
    ]
    # Which detections count depends on scores alone: the others need not be changed.
    kept = np.zeros(len(result.detections), bool)
    kept[result.matching.detection] = True
    part = replace(result, detections=result.detections.chosen(kept))
    changes = list(_changes(part))
    with ThreadPoolExecutor(max(1, threads)) as pool:
        values = list(pool.map(lambda change: _ap_of(part, change[1]), changes))
    for (name, _, meaning), ap in zip(changes, values, strict=True):
        tests.append(SelfTest(name=name, ap=ap, change=ap - now, passed=ap - now < _RISE, meaning=meaning))
    return tuple(tests)


def _ap_of(result: Result, keypoints: _Float) -> float:
    return evaluate(result.truth, replace(result.detections, keypoints=keypoints), options=result.options).numbers["AP"]


def _labels_as_results(truth: GroundTruth) -> Detections:
    rows = np.flatnonzero(~truth.ignored)
    return Detections(
        image_id=truth.image_id[rows], keypoints=truth.keypoints[rows], score=np.ones(len(rows)),
        bbox_xywh=truth.bbox_xywh[rows],
    )  # fmt: skip


def _changes(result: Result) -> Iterator[tuple[str, _Float, str]]:
    """Yield a name, the changed keypoints (D, K, 3) and what a rise of AP would mean."""
    points, truth = result.detections.keypoints, result.truth
    if not len(points):
        return
    for shift in (-0.5, 0.5):
        yield (
            f"moved by {shift:+} px", _affine(points, 1.0, shift),
            f"the results are written half a pixel too {'far' if shift < 0 else 'near'}",
        )  # fmt: skip
    order = truth.skeleton.flip_order()
    if truth.skeleton.pairs:
        yield (
            "left and right exchanged",
            points[:, list(order)],
            "left and right are mixed up, in the order or by a flip",
        )
    yield "x and y exchanged", points[..., [1, 0, 2]], "x and y are mixed up"
    for factor in (0.5, 2.0):
        yield f"times {factor:g}", _affine(points, factor, 0.0), "the results are of pictures of another size"
    if truth.sizes_wh and np.abs(points[..., :2]).max() <= 2.0:
        sizes = np.array([truth.sizes_wh.get(int(image), (1, 1)) for image in result.detections.image_id], np.float64)
        scaled = points.copy()
        scaled[..., :2] *= sizes[:, None]
        yield "times the picture's size", scaled, "the results are in shares of the picture's width and height"


def _affine(points: _Float, factor: float, shift: float) -> _Float:
    moved = points.copy()
    moved[..., :2] = moved[..., :2] * factor + shift
    return moved
