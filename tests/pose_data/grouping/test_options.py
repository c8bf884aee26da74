"""Options of grouping."""

from dataclasses import replace

import pytest

from pose_data.errors import UsageError
from pose_data.grouping import GROUPINGS, find_grouping
from pose_data.targets.paf import SCENE_RULES


def test_names_are_those_of_the_table():
    assert all(find_grouping(name).name == name for name in GROUPINGS)
    with pytest.raises(UsageError, match="option-value") as caught:
        find_grouping("hungarian")
    assert "published" in caught.value.hint


def test_options_are_made_to_fit_the_fields_rules():
    assert find_grouping("subcell", SCENE_RULES["paper"]).field_offset_cells == 0.4375
    assert find_grouping("subcell", SCENE_RULES["lightweight"]) == GROUPINGS["subcell"]
    assert find_grouping("published", SCENE_RULES["paper"]) == GROUPINGS["published"]


@pytest.mark.parametrize(("share", "needed"), [(0.8, 9), (0.79, 8), (0.0, 1), (0.95, 10)])
def test_more_than_the_share_is_needed(share, needed):
    assert replace(GROUPINGS["published"], minimum_share=share).needed_samples() == needed


@pytest.mark.parametrize(
    "change",
    [{"sampling": "cubic"}, {"closing": "none"}, {"assignment": "best"}, {"peak_priority": ""}, {"upsample": 0},
     {"sample_count": 1}, {"maximum_peaks": 0}, {"minimum_share": 1.0}, {"minimum_peak": 0.0}],
)  # fmt: skip
def test_values_that_mean_nothing_are_refused(change):
    with pytest.raises(UsageError, match="option-value"):
        replace(GROUPINGS["published"], **change)
