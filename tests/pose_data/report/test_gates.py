"""Limits: met, missed, misspelt."""

import pytest

from pose_data.errors import GateError, UsageError
from pose_data.evaluation.bootstrap import Difference
from pose_data.report.gates import check_gates, parse_limits

NUMBERS = {"AP": 0.7, "AR50": 0.9}


def change(low, high):
    return {"AP": Difference(value=(low + high) / 2, low=low, high=high, share_better=0.0)}


def test_limits_that_are_met_pass():
    check_gates(NUMBERS, {"AP": 0.7, "ar50": 0.5}, {})
    check_gates(NUMBERS, {}, change(-0.02, 0.001), "before.json")


def test_everything_that_fails_is_named():
    with pytest.raises(
        GateError, match=r"AP 0\.7000 is below 0\.71; AR50 0\.9000 is below 0\.95; AP is -0\.0150"
    ) as raised:
        check_gates(NUMBERS, {"AP": 0.71, "AR50": 0.95}, change(-0.02, -0.01), "before.json")
    assert raised.value.exit_code == 8


def test_limits_are_read_and_their_names_known():
    assert parse_limits(["AP=0.7", "arm = 1"]) == {"AP": 0.7, "ARM": 1.0}
    for text in ("AP", "AP=high", "mAP=0.5"):
        with pytest.raises(UsageError):
            parse_limits([text])


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "NaN", "1e999"])
def test_a_limit_that_everything_or_nothing_meets_is_none(value):
    with pytest.raises(UsageError, match="not a finite number") as raised:
        parse_limits([f"AP={value}"])
    assert raised.value.code == "option-value"
