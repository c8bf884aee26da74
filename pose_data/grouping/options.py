"""The options of grouping, and the named sets of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from pose_data.errors import UsageError
from pose_data.targets.paf import SceneRules, field_offset_cells

__all__ = ["GROUPINGS", "GroupingOptions", "find_grouping"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupingOptions:
    """How maps and fields become persons. Lengths in cells of the maps as the network gives them."""

    name: str
    upsample: int = 4
    """Maps and fields are enlarged so many times, bicubically, before anything is looked at."""
    refine: bool = False
    """Peaks are moved to the top of a parabola through the logarithms of their neighbours."""
    minimum_peak: float = 0.1
    peak_distance_cells: float = 1.5
    """Of two peaks of one map nearer than this, one goes."""
    peak_priority: Literal["leftmost", "strongest"] = "leftmost"
    maximum_peaks: int = 127
    """Of one map, the strongest so many are kept: maps of an untrained network are full of peaks."""
    sample_count: int = 10
    sampling: Literal["nearest", "bilinear"] = "nearest"
    field_offset_cells: float = 0.0
    """Added to a place in map cells to look it up in the field; :func:`find_grouping` sets it by the field's rules."""
    minimum_field: float = 0.05
    """A sample of the field along a limb passes when it points along it with more than this."""
    minimum_share: float = 0.8
    """A limb needs more than this share of its samples to pass."""
    penalise_length: bool = False
    """A limb longer than half the picture's height loses ``1 - height / 2 / length`` of its score."""
    assignment: Literal["greedy", "optimal"] = "greedy"
    closing: Literal["copy", "merge"] = "copy"
    """What a limb does that ends in two persons or in none: see :mod:`pose_data.grouping.persons`."""
    join_reach: float = 0.0
    """Above 0: fragments without a common keypoint are joined, see :mod:`pose_data.grouping.fragments`."""
    minimum_joints: int = 3
    minimum_mean_score: float = 0.2

    def __post_init__(self) -> None:
        for option, value, allowed in (
            ("peak_priority", self.peak_priority, ("leftmost", "strongest")),
            ("sampling", self.sampling, ("nearest", "bilinear")),
            ("assignment", self.assignment, ("greedy", "optimal")),
            ("closing", self.closing, ("copy", "merge")),
        ):
            if value not in allowed:
                raise UsageError("option-value", f"{option} is {value!r}", hint=f"one of: {', '.join(allowed)}")
        if self.upsample < 1 or self.sample_count < 2 or self.maximum_peaks < 1:
            raise UsageError("option-value", "upsample and maximum_peaks must be at least 1, sample_count 2")
        if not 0.0 <= self.minimum_share < 1.0 or not self.minimum_peak > 0.0:
            raise UsageError("option-value", "minimum_share must be in [0, 1), minimum_peak above 0")

    def needed_samples(self) -> int:
        """Return the least number of passing samples that is more than ``minimum_share`` of them."""
        return next(count for count in range(self.sample_count + 1) if count / self.sample_count > self.minimum_share)


_SUBCELL = GroupingOptions(
    name="subcell", upsample=1, refine=True, sampling="bilinear", peak_distance_cells=0.5, peak_priority="strongest",
    closing="merge",
)  # fmt: skip

GROUPINGS: Mapping[str, GroupingOptions] = MappingProxyType(
    {
        options.name: options
        for options in (
            GroupingOptions(name="published"),
            _SUBCELL,
            replace(_SUBCELL, name="joined", join_reach=4.0, minimum_joints=1),
        )
    }
)
"""``published``: the lightweight port, number for number. ``subcell``: maps and fields as they are, peaks refined,
persons merged where a neck is missing. ``joined``: that, and every peak given to somebody."""


def find_grouping(name: str, rules: SceneRules | None = None) -> GroupingOptions:
    """Return the named options, but for ``published`` made to fit fields drawn by ``rules`` when these are given.

    Raises UsageError for another name.
    """
    if name not in GROUPINGS:
        raise UsageError("option-value", f"no grouping {name!r}", hint=f"one of: {', '.join(sorted(GROUPINGS))}")
    options = GROUPINGS[name]
    if rules is None or name == "published":
        return options
    return replace(options, field_offset_cells=field_offset_cells(rules))
