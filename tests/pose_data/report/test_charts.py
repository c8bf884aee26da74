"""Charts: finite coordinates, and counts that add up to the whole width."""

import math
import re

import pytest

from pose_data.report.charts import (
    histogram_chart,
    interval_mark,
    precision_recall_chart,
    reliability_chart,
    stacked_bar,
)


def numbers_in(svg):
    return [float(text) for text in re.findall(r' (?:x|y|x1|x2|y1|y2|cx|cy|width|height)="([^"]+)"', svg)]


def test_bars_are_as_wide_as_their_counts():
    svg = stacked_bar([("good", 3), ("miss", 1), ("jitter", 0)])
    widths = [float(text) for text in re.findall(r'width="([\d.]+)"', svg)]
    assert widths == [75.0, 25.0, 0.0]
    assert stacked_bar([("good", 0)]).count('width="0.00"') == 1


def test_an_interval_lies_between_its_ends():
    svg = interval_mark(0.2, 0.3, 0.6)
    x, width = re.search(r'class="range" x="([\d.]+)" y="2.5" width="([\d.]+)"', svg).groups()
    assert (float(x), float(width)) == (20.0, 40.0)
    assert "zero" not in svg
    assert 'class="zero" x1="50.00"' in interval_mark(-0.1, 0.0, 0.1, (-0.2, 0.2))


def test_curves_without_counted_persons_are_left_out():
    recall = [0.0, 0.5, 1.0]
    svg = precision_recall_chart([0.5, 0.95], recall, [[1.0, 0.5, 0.0], [-1.0, -1.0, -1.0]])
    assert svg.count("<polyline") == 1
    assert "OKS 0.50: AP 0.500" in svg


@pytest.mark.parametrize("scores", [(0.0, 1.0), (3.0, 40.0), (2.0, 2.0)])
def test_scores_of_any_range_can_be_drawn(scores):
    low, high = scores
    row = {"low": low, "high": high, "detections": 3, "mean_score": (low + high) / 2, "right_share": 0.5}
    svg = reliability_chart([{"oks": 0.5, "bins": [row]}, {"oks": 0.75, "bins": []}])
    assert all(math.isfinite(value) for value in numbers_in(svg))
    assert ("ideal" in svg) == (scores == (0.0, 1.0))
    assert all(math.isfinite(value) for value in numbers_in(histogram_chart([low, high + 1], [0], [0])))
