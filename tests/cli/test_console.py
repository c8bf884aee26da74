"""What is written as JSON is JSON."""

import json
import math
from pathlib import Path

from cli.console import to_plain, write_json
from pose_data.evaluation.bootstrap import Interval


def test_numbers_that_are_not_finite_become_null(capsys):
    values = {"a": math.nan, "b": [math.inf, 1.5], "c": {"d": (-math.inf, 2)}, "e": Path("x")}
    assert to_plain(values) == {"a": None, "b": [None, 1.5], "c": {"d": [None, 2]}, "e": "x"}
    assert to_plain(Interval(value=0.5, low=math.nan, high=1.0))["low"] is None
    write_json(values)
    written = capsys.readouterr().out
    assert "NaN" not in written
    assert json.loads(written)["b"] == [None, 1.5]
