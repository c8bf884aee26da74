"""All that a report says about one evaluation, worked out once."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pose_data.evaluation.average_precision import Result
from pose_data.evaluation.bootstrap import (
    Difference,
    Interval,
    bootstrap_numbers,
    intervals,
    paired_differences,
)
from pose_data.evaluation.calibration import BestCut, Reliability, best_cut, reliability
from pose_data.evaluation.groups import Group, group_table
from pose_data.evaluation.keypoint_table import KeypointRow, keypoint_table
from pose_data.evaluation.localisation import Localisation, localise
from pose_data.evaluation.oracles import Gain, oracle_gains
from pose_data.evaluation.self_tests import SelfTest, self_tests

__all__ = ["Baseline", "Judgement", "judge"]

_RELIABILITY_AT = (0.5, 0.75)
_COCO_VAL2017 = (5000, 6352)
"""Pictures and counted persons of COCO val2017."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Other results for the same pictures, that these are compared with."""

    name: str
    result: Result
    found: Localisation
    differences: Mapping[str, Difference]
    """These results' numbers minus the baseline's, on the same draws of pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """An evaluation with its diagnosis."""

    result: Result
    found: Localisation
    intervals: Mapping[str, Interval]
    """Empty where no replicates were asked for."""
    gains: tuple[Gain, ...]
    keypoints: tuple[KeypointRow, ...]
    groups: tuple[Group, ...]
    reliability: tuple[Reliability, ...]
    cut: BestCut | None
    tests: tuple[SelfTest, ...]
    replicates: int
    seed: int
    baseline: Baseline | None = None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Return what the readers noticed, and what the self-tests found."""
        failed = [
            f"self-test “{test.name}”: AP {test.ap:.3f} ({test.change:+.3f}): {test.meaning}"
            for test in self.tests
            if not test.passed
        ]
        return (*self.result.warnings, *failed)

    def comparable(self) -> tuple[bool, str]:
        """Return whether the numbers compare with published ones of COCO val2017, and why."""
        truth = self.result.truth
        if truth.skeleton.name != "coco-person":
            return False, f"the skeleton is {truth.skeleton.name}, not COCO's"
        counts = len(truth.image_ids), int((~truth.ignored).sum())
        if counts != _COCO_VAL2017:
            return (
                False,
                f"these are {counts[0]:,} pictures with {counts[1]:,} counted persons; val2017 has 5,000 and 6,352",
            )
        if self.result.options.max_detections != 20:
            return False, f"{self.result.options.max_detections} detections a picture count, not 20"
        return True, "all of COCO val2017 by COCO's rules; say which person boxes were used"


def judge(
    result: Result,
    *,
    replicates: int = 1000,
    seed: int = 0,
    threads: int = 2,
    baseline: tuple[str, Result] | None = None,
) -> Judgement:
    """Diagnose an evaluation; ``baseline`` is the name and the evaluation of other results for the same pictures.

    Raises UsageError where the baseline was evaluated on other pictures.
    """
    found = localise(result)
    numbers = bootstrap_numbers(result, replicates=replicates, seed=seed, threads=threads) if replicates else None
    return Judgement(
        result=result, found=found, intervals={} if numbers is None else intervals(result, numbers),
        gains=oracle_gains(result, found, threads=threads), keypoints=keypoint_table(result.truth, found),
        groups=group_table(result, found),
        reliability=tuple(reliability(result, threshold) for threshold in _RELIABILITY_AT), cut=best_cut(result),
        tests=self_tests(result, threads=threads), replicates=replicates, seed=seed,
        baseline=None if baseline is None else _baseline(result, numbers, *baseline, replicates, seed, threads),
    )  # fmt: skip


def _baseline(
    result: Result, numbers: npt.NDArray[np.float64] | None, name: str, other: Result, replicates: int, seed: int,
    threads: int,
) -> Baseline:  # fmt: skip
    differences: Mapping[str, Difference] = {}
    if numbers is not None:
        theirs = bootstrap_numbers(other, replicates=replicates, seed=seed, threads=threads)
        differences = paired_differences(result, other, (numbers, theirs))
    return Baseline(name=name, result=other, found=localise(other), differences=differences)
