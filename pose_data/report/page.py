"""The report as one page that needs nothing but itself: style, script, charts and pictures lie inside it."""

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from pose_data.report.cards import Card
from pose_data.report.cases import SORTS
from pose_data.report.charts import (
    histogram_chart,
    interval_mark,
    precision_recall_chart,
    reliability_chart,
    stacked_bar,
)

__all__ = ["render_report", "template_environment"]

_KINDS = (
    ("good", "similarity of 0.85 and more"),
    ("jitter", "near its own label"),
    ("inversion", "on its left/right counterpart"),
    ("swap", "on another person"),
    ("miss", "near no label"),
)
_DASH = "–"


def render_report(facts: Mapping[str, Any], cards: Sequence[Card]) -> bytes:
    """Return the page as UTF-8 bytes. ``facts`` are those of :func:`pose_data.report.facts.report_facts`."""
    counts = Counter(card.sort for card in cards)
    curves, scores = facts["curves"], facts["scores"]
    page = _template().render(
        facts=facts, cards=cards, style=Markup(_text("report.css")), script=_text("report.js"), json=_inline(facts),
        gains=_gains(facts["gains"]), numbers=_numbers(facts), keypoints=_keypoints(facts["keypoints"]), kinds=_KINDS,
        scoring=next(gain for gain in facts["gains"] if gain["name"] == "scoring"),
        precision_recall=Markup(precision_recall_chart(curves["oks"], curves["recall"], curves["precision"])),
        reliability=Markup(reliability_chart(scores["reliability"])),
        histogram=Markup(histogram_chart(**scores["histogram"])),
        sorts=[(name, meaning, counts[name]) for name, meaning in SORTS if counts[name]],
    )  # fmt: skip
    return page.encode("utf-8", "backslashreplace")


@cache
def _template() -> Template:
    return template_environment().from_string(_text("report.html.j2"))


def template_environment() -> Environment:
    """Return the environment of all pages: everything is escaped, and numbers have their shapes."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters.update(
        one=lambda value: _fixed(value, ".1f"), two=lambda value: _fixed(value, ".2f"),
        three=lambda value: _fixed(value, ".3f"), signed=lambda value: _fixed(value, "+.3f"),
        percent=lambda value: _fixed(value, ".1%"), whole=lambda value: f"{value:,}",
        words=lambda text: str(text).replace("_", " "),
    )  # fmt: skip
    return environment


def _text(name: str) -> str:
    return files("pose_data.report").joinpath("page", name).read_text(encoding="utf-8")


def _fixed(value: float | None, shape: str) -> str:
    """Return a number with a true minus; a dash where there is none (COCO writes -1)."""
    if value is None or value == -1 or math.isnan(value):
        return _DASH
    text = format(value, shape)
    return text.replace("-", "\N{MINUS SIGN}") if float(text.rstrip("%")) else text.lstrip("+-")


def _inline(facts: Mapping[str, Any]) -> str:
    """Return JSON that no script tag's end can occur in."""
    return json.dumps(facts, allow_nan=False, sort_keys=True).replace("<", "\\u003c")


def _gains(gains: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the gains, the largest first, with the length of their bars."""
    most = max((gain["gain"] for gain in gains), default=0.0)
    rows = [{**gain, "share": max(gain["gain"], 0.0) / most if most > 0 else 0.0} for gain in gains]
    return sorted(rows, key=lambda row: -row["gain"])


def _numbers(facts: Mapping[str, Any]) -> list[dict[str, Any]]:
    baseline = facts["baseline"]
    rows = []
    for name, value in facts["numbers"].items():
        interval = facts["intervals"].get(name)
        low, high = (interval["low"], interval["high"]) if interval else (value, value)
        rows.append(
            {
                "name": name, "value": value, "interval": interval, "mark": Markup(interval_mark(low, value, high)),
                "other": baseline["numbers"][name] if baseline else None,
                "difference": baseline["differences"].get(name) if baseline else None,
            }
        )  # fmt: skip
    return rows


def _keypoints(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "bar": Markup(stacked_bar([(name, row[name]) for name, _ in _KINDS]))} for row in rows]
