"""Limits on an evaluation's numbers, for scripts that must stop when a run is not good enough."""

import math
from collections.abc import Mapping, Sequence

from pose_data.errors import GateError, UsageError
from pose_data.evaluation.average_precision import NUMBERS
from pose_data.evaluation.bootstrap import Difference

__all__ = ["check_gates", "parse_limits"]


def parse_limits(texts: Sequence[str]) -> dict[str, float]:
    """Return limits from texts such as ``AP=0.70``.

    Raises UsageError ``option-value`` for unknown numbers, and for limits that are not finite numbers.
    """
    limits = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            limit = float(value)
        except ValueError:
            raise UsageError("option-value", f"{text!r} is not NAME=VALUE", hint="AP=0.70") from None
        # Nothing is below NaN or minus infinity: such a limit would let everything pass.
        if not math.isfinite(limit):
            raise UsageError("option-value", f"the limit of {text!r} is not a finite number", hint="AP=0.70")
        limits[_known(name.strip())] = limit
    return limits


def check_gates(
    numbers: Mapping[str, float], least: Mapping[str, float], differences: Mapping[str, Difference], baseline: str = ""
) -> None:
    """Raise GateError where a number is below its limit, or AP is worse than the baseline's beyond chance.

    Beyond chance: the whole 95 % interval of the paired difference lies below 0.
    """
    failures = [
        f"{name} {numbers[_known(name)]:.4f} is below {limit:g}"
        for name, limit in least.items()
        if numbers[_known(name)] < limit
    ]
    if baseline and differences["AP"].high < 0:
        drop = differences["AP"]
        failures.append(
            f"AP is {drop.value:+.4f} against {baseline} (95 % of the draws: {drop.low:+.4f} to {drop.high:+.4f})"
        )
    if failures:
        raise GateError("gate-failed", "; ".join(failures), hint="the report says what costs most")


def _known(name: str) -> str:
    by_folded = {known.casefold(): known for known in NUMBERS}
    try:
        return by_folded[name.casefold()]
    except KeyError:
        raise UsageError("option-value", f"there is no number {name!r}", hint=f"one of: {', '.join(NUMBERS)}") from None
