"""How sure the ten numbers are: intervals from data sets drawn anew from the pictures, and paired differences.

A replicate draws as many pictures as there are, with repetition. Its numbers are not evaluated anew: matching looks at
one picture at a time, so a picture that was drawn twice counts twice in the sums of matched detections. The result is
that of an evaluation of the drawn pictures, exactly, but for scores that are equal within one picture.

Precision is looked at where a detection is right, the only places where recall grows; everything before such a place is
counted with one running sum for each area range and a short one for what differs between thresholds.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pose_data.errors import UsageError
from pose_data.evaluation.average_precision import NUMBERS, Result, ten_numbers
from pose_data.evaluation.matching import AREA_RANGES, EvaluationOptions, Matching

__all__ = ["Difference", "Interval", "bootstrap_numbers", "intervals", "paired_differences"]

_Float = npt.NDArray[np.float64]
_Index = npt.NDArray[np.intp]
_TINY = float(np.spacing(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Between which values 95 % of the replicates lie."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A number of one run minus that of another, on the same draws of pictures."""

    value: float
    low: float
    high: float
    share_better: float
    """The share of draws in which the difference is above 0."""


def bootstrap_numbers(result: Result, *, replicates: int = 1000, seed: int = 0, threads: int = 2) -> _Float:
    """Return (replicates, 10) the ten numbers of as many draws of pictures.

    Equal seeds draw equal pictures, so that two evaluations of the same pictures can be compared draw by draw.
    Raises UsageError for fewer than one replicate.
    """
    if replicates < 1:
        raise UsageError("option-value", f"replicates is {replicates}", hint="at least 1; 1000 for a report")
    images = len(result.matching.images)
    generator = np.random.Generator(np.random.PCG64([seed, images]))
    chances = np.full(images, 1.0 / images) if images else np.zeros(0)
    draws = generator.multinomial(images, chances, size=replicates).astype(np.float64)
    sums = _prepared(result.matching)
    with ThreadPoolExecutor(max(1, threads)) as pool:
        rows = list(pool.map(lambda weights: _numbers(sums, weights, result.options), draws))
    return np.array(rows)


def intervals(result: Result, numbers: _Float) -> dict[str, Interval]:
    """Return the 95 % interval of each of the ten numbers; -1 throughout where nothing is counted."""
    found = {}
    for place, name in enumerate(NUMBERS):
        values = numbers[:, place]
        values = values[values > -1]
        low, high = np.quantile(values, [0.025, 0.975]) if len(values) else (-1.0, -1.0)
        found[name] = Interval(value=result.numbers[name], low=float(low), high=float(high))
    return found


def paired_differences(first: Result, second: Result, numbers: tuple[_Float, _Float]) -> dict[str, Difference]:
    """Return ``first`` minus ``second`` for each of the ten numbers, from draws with one seed.

    Raises UsageError where the two were evaluated on other pictures.
    """
    if not np.array_equal(first.matching.images, second.matching.images):
        raise UsageError(
            "option-conflict", "the two were evaluated on other pictures: draws cannot be compared one by one",
            hint="evaluate both against the same annotations",
        )  # fmt: skip
    found = {}
    for place, name in enumerate(NUMBERS):
        values = numbers[0][:, place] - numbers[1][:, place]
        low, high = np.quantile(values, [0.025, 0.975])
        found[name] = Difference(
            value=first.numbers[name] - second.numbers[name], low=float(low), high=float(high),
            share_better=float(np.mean(values > 0)),
        )  # fmt: skip
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One area range and threshold: where its right detections stand."""

    image: _Index
    """(N,) pictures of the right detections, by falling score."""
    common: _Index
    """(N,) how many of the range's common detections stand up to and with each of them."""
    extra_image: _Index
    """(X,) pictures of detections that count at this threshold and not at all."""
    extra: _Index
    """(N,) how many of these stand up to and with each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Range:
    common_image: _Index
    """(C,) pictures of detections that count at every threshold, by falling score."""
    persons: _Float
    """(I,) counted persons of each picture."""
    steps: tuple[_Step, ...]


def _prepared(matching: Matching) -> tuple[_Range, ...]:
    order = np.argsort(-matching.score, kind="mergesort")
    image = matching.image[order]
    ranges = []
    for area in range(len(AREA_RANGES)):
        hit = matching.found[area][:, order] >= 0
        shown = ~matching.detection_ignored[area][:, order]
        common = shown.all(axis=0)
        counted = ~matching.person_ignored[area]
        persons = np.bincount(matching.person_image[counted], minlength=len(matching.images)).astype(np.float64)
        before = np.cumsum(common, dtype=np.intp)
        steps = tuple(_step(image, hit[step] & shown[step], shown[step] & ~common, before) for step in range(len(hit)))
        ranges.append(_Range(common_image=image[common], persons=persons, steps=steps))
    return tuple(ranges)


def _step(image: _Index, right: npt.NDArray[np.bool_], extra: npt.NDArray[np.bool_], common_before: _Index) -> _Step:
    places = np.flatnonzero(right)
    return _Step(
        image=image[places],
        common=common_before[places],
        extra_image=image[extra],
        extra=np.cumsum(extra, dtype=np.intp)[places],
    )


def _numbers(ranges: Iterable[_Range], weights: _Float, options: EvaluationOptions) -> list[float]:
    """Return the ten numbers when picture i counts ``weights[i]`` times."""
    thresholds, recalls = options.iou_thresholds(), options.recall_thresholds()
    precision = np.full((len(thresholds), len(recalls), len(AREA_RANGES)), -1.0)
    recall = np.full((len(thresholds), len(AREA_RANGES)), -1.0)
    for area, part in enumerate(ranges):
        counted = float(weights @ part.persons)
        if not counted:
            continue
        common = _running(weights[part.common_image])
        for number, step in enumerate(part.steps):
            true = np.cumsum(weights[step.image])
            shown = common[step.common] + _running(weights[step.extra_image])[step.extra]
            reached = true / counted
            precise = np.maximum.accumulate((true / (shown + _TINY))[::-1])[::-1]
            place = np.searchsorted(reached, recalls, side="left")
            inside = place < len(reached)
            recall[number, area] = reached[-1] if len(reached) else 0.0
            precision[number, :, area] = np.where(inside, precise[place * inside], 0.0) if len(reached) else 0.0
    return list(ten_numbers(precision, recall, options).values())


def _running(values: _Float) -> _Float:
    """Return the sums of the first 0, 1 … n values."""
    sums = np.zeros(len(values) + 1)
    np.cumsum(values, out=sums[1:])
    return sums
