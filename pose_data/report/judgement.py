"""All that a report says about one evaluation, worked out once."""

from collections.abc import Iterator, Mapping
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
from pose_data.evaluation.rules import COCO, Rules
from pose_data.evaluation.self_tests import SelfTest, self_tests

__all__ = ["Baseline", "Judgement", "judge"]

_RELIABILITY_AT = (0.5, 0.75)
_COCO_VAL2017 = (5000, 6352)
"""Pictures and counted persons of COCO val2017."""
_EXTENTS: Mapping[str, str] = {"box": "box", "extent": "keypoints"}


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
    rules: Rules = COCO
    """By which the persons were read."""
    images_skipped: bool = False
    """Results of pictures that are not annotated were left out."""

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
        """Return whether the numbers compare with published ones of COCO val2017, and why: the first difference."""
        difference = next(self._differences(), "")
        if difference:
            return False, difference
        return True, "all of COCO val2017 by COCO's rules; say which person boxes were used"

    def _differences(self) -> Iterator[str]:
        """Yield in words what is not as in evaluations of COCO val2017."""
        truth, rules, options = self.result.truth, self.rules, self.result.options
        skeleton = COCO.skeleton
        if (truth.skeleton.name, truth.skeleton.names) != (skeleton.name, skeleton.names):
            yield f"the skeleton is {truth.skeleton.name}, not COCO's"
        if truth.skeleton.sigmas != skeleton.sigmas:
            # The name of the file that set them; rules that nobody changed still have COCO's source.
            yield "the sigmas are not COCO's" + (f" but {rules.source}'s" if rules.source != COCO.source else "")
        if rules.area != COCO.area:
            yield f"the area of a person is {rules.area}, not the annotated segment's"
        if rules.count_labels != COCO.count_labels:
            yield "persons are ignored by their labels, not by num_keypoints as written"
        if rules.drop_unscored != COCO.drop_unscored:
            yield "detections whose third numbers are all 0 are left out"
        counts = len(truth.image_ids), int((~truth.ignored).sum())
        if counts != _COCO_VAL2017:
            yield f"these are {counts[0]:,} pictures with {counts[1]:,} counted persons; val2017 has 5,000 and 6,352"
        if self.images_skipped:
            yield "results of pictures that are not annotated were skipped"
        if options.max_detections != 20:
            yield f"{options.max_detections} detections a picture count, not 20"
        if options.detection_area != "coco":
            yield f"the area of a detection is that of its {_EXTENTS[options.detection_area]}, not by COCO's rule"


def judge(
    result: Result,
    *,
    replicates: int = 1000,
    seed: int = 0,
    threads: int = 2,
    baseline: tuple[str, Result] | None = None,
    rules: Rules = COCO,
    images_skipped: bool = False,
) -> Judgement:
    """Diagnose an evaluation; ``baseline`` is the name and the evaluation of other results for the same pictures.

    ``rules`` are those that the persons were read by, and ``images_skipped`` says that results of pictures that are
    not annotated were left out: both decide whether the numbers compare with published ones.

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
        rules=rules, images_skipped=images_skipped,
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
