"""The short form for pull requests and logs: Markdown."""

from collections.abc import Mapping
from typing import Any

__all__ = ["summary_markdown"]


def summary_markdown(facts: Mapping[str, Any]) -> str:
    """Return the ten numbers with their intervals, what costs most, and the warnings."""
    baseline = facts["baseline"]
    data, sources = facts["data"], facts["sources"]
    lines = [
        f"# AP {facts['numbers']['AP']:.4f}",
        "",
        f"`{sources['results']}` against `{sources['truth']}`: {data['detections']:,} detections, "
        f"{data['counted_persons']:,} counted persons in {data['pictures']:,} pictures, {data['skeleton']['name']}.",
        "",
        *_numbers(facts, baseline),
        "",
        "## What costs most",
        "",
        "| without | AP | gain |",
        "| --- | ---: | ---: |",
    ]
    lines += [
        f"| {gain['meaning']} | {gain['alone']:.4f} | {gain['gain']:+.4f} |"
        for gain in sorted(facts["gains"], key=lambda row: -row["gain"])
    ]
    comparable = facts["comparable"]
    lines += [
        "",
        f"Comparable with published val2017 numbers: {'yes' if comparable['to_published_val2017'] else 'no'}, "
        f"{comparable['because']}.",
    ]
    if facts["warnings"]:
        lines += ["", "## Warnings", "", *(f"- {warning}" for warning in facts["warnings"])]
    return "\n".join(lines) + "\n"


def _numbers(facts: Mapping[str, Any], baseline: Mapping[str, Any] | None) -> list[str]:
    head, rule = "| | value | 95 % interval |", "| --- | ---: | ---: |"
    if baseline is not None:
        head, rule = f"{head} minus {baseline['name']} | 95 % interval |", f"{rule} ---: | ---: |"
    lines = [head, rule]
    for name, value in facts["numbers"].items():
        interval = facts["intervals"].get(name)
        line = f"| {name} | {value:.4f} | {_span(interval)} |"
        if baseline is not None:
            difference = baseline["differences"].get(name)
            plain = value - baseline["numbers"][name]
            line += f" {plain:+.4f} | {_span(difference, '+')} |"
        lines.append(line)
    return lines


def _span(interval: Mapping[str, float] | None, sign: str = "") -> str:
    return "" if interval is None else f"{interval['low']:{sign}.4f} to {interval['high']:{sign}.4f}"
