"""Charts as SVG text: lines, bars and dots that take their colours from the page, so that they follow its theme.

A chart has a ``viewBox`` and no size; its texts are real texts, and what stands in ``<title>`` shows on hovering.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

__all__ = ["histogram_chart", "interval_mark", "precision_recall_chart", "reliability_chart", "stacked_bar"]

_WIDTH, _HEIGHT = 460, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 14, 22, 36


def precision_recall_chart(oks: Sequence[float], recall: Sequence[float], precision: Sequence[Sequence[float]]) -> str:
    """Return one line for each OKS threshold, lighter as they rise; rows without counted persons are left out."""
    parts = [_axes("recall", "precision", (0.0, 1.0), (0.0, 1.0))]
    for number, (threshold, row) in enumerate(zip(oks, precision, strict=True)):
        if min(row) < 0:
            continue
        points = " ".join(f"{_x(r):.1f},{_y(p):.1f}" for r, p in zip(recall, row, strict=True))
        mean = sum(row) / len(row)
        parts.append(
            f'<polyline class="line" style="opacity:{1 - 0.075 * number:.3f}" points="{points}">'
            f"<title>OKS {threshold:.2f}: AP {mean:.3f}</title></polyline>"
        )
    marked = [(t, row) for t, row in zip(oks, precision, strict=True) if t in (oks[0], oks[-1]) and min(row) >= 0]
    for threshold, row in marked:
        # Beside the curve where it has fallen to half of its height.
        half = next((r for r, p in zip(recall, row, strict=True) if p < row[0] / 2), 0.9)
        parts.append(
            f'<text class="mark" x="{_x(min(half, 0.86)) + 5:.1f}" y="{_y(row[0] / 2):.1f}">{threshold:.2f}</text>'
        )
    return _svg(parts, "precision over recall, one line for each OKS threshold")


def reliability_chart(reliability: Sequence[Mapping[str, Any]]) -> str:
    """Return the share of right detections over their scores, one line for each OKS threshold."""
    bins = [part for row in reliability for part in row["bins"]]
    low = min((part["low"] for part in bins), default=0.0)
    high = max((part["high"] for part in bins), default=1.0)
    if not low < high:
        high = low + 1.0
    parts = [_axes("score", "share that is right", (low, high), (0.0, 1.0))]
    if (low, high) == (0.0, 1.0):
        parts.append(f'<line class="ideal" x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}"/>')
    for number, row in enumerate(reliability):
        places = [(_x((p["mean_score"] - low) / (high - low)), _y(p["right_share"]), p) for p in row["bins"]]
        points = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
        parts.append(f'<polyline class="line s{number}" points="{points}"/>')
        parts += [
            f'<circle class="dot s{number}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>OKS {row["oks"]:.2f}: score '
            f"{p['low']:.2f} to {p['high']:.2f}, {p['detections']:,} detections, {p['right_share']:.1%} right</title>"
            "</circle>"
            for x, y, p in places
        ]
        parts.append(
            f'<text class="mark s{number}" x="{_LEFT + 10}" y="{_TOP + 16 + 16 * number}">OKS {row["oks"]:.2f}</text>'
        )
    return _svg(parts, "share of right detections over their score")


def histogram_chart(edges: Sequence[float], right: Sequence[int], wrong: Sequence[int]) -> str:
    """Return bars of right detections with wrong ones on top."""
    most = max((r + w for r, w in zip(right, wrong, strict=True)), default=0)
    most = max(4 * -(-most // 4), 4)
    parts = [_axes("score", "detections", (edges[0], edges[-1]), (0.0, float(most)))]
    width = (_WIDTH - _LEFT - _RIGHT) / len(right)
    for number, (good, bad) in enumerate(zip(right, wrong, strict=True)):
        x = _LEFT + number * width
        title = f"<title>score {edges[number]:.2f} to {edges[number + 1]:.2f}: {good:,} right, {bad:,} wrong</title>"
        for kind, base, count in (("good", 0, good), ("miss", good, bad)):
            top = _y((base + count) / most)
            parts.append(
                f'<rect class="k-{kind}" x="{x + 0.5:.1f}" y="{top:.1f}" width="{width - 1:.1f}" '
                f'height="{_y(base / most) - top:.1f}">{title}</rect>'
            )
    return _svg(parts, "scores of right and wrong detections")


def stacked_bar(counts: Sequence[tuple[str, int]]) -> str:
    """Return one line of boxes as wide as their counts; names are classes of the page's colours."""
    total = sum(count for _, count in counts) or 1
    parts, x = [], 0.0
    for name, count in counts:
        width = 100.0 * count / total
        parts.append(
            f'<rect class="k-{escape(name)}" x="{x:.2f}" y="0" width="{width:.2f}" height="10">'
            f"<title>{escape(name)}: {count:,} ({count / total:.1%})</title></rect>"
        )
        x += width
    text = ", ".join(f"{name} {count / total:.0%}" for name, count in counts)
    return (
        f'<svg class="stack" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label="{escape(text)}">'
        f"{''.join(parts)}</svg>"
    )


def interval_mark(low: float, value: float, high: float, span: tuple[float, float] = (0.0, 1.0)) -> str:
    """Return a dot with a line for its interval, on a scale from ``span``'s first to its second."""
    first, width = span[0], (span[1] - span[0]) or 1.0
    places = [100.0 * min(max((number - first) / width, 0.0), 1.0) for number in (low, value, high)]
    zero = (
        f'<line class="zero" x1="{-100 * first / width:.2f}" y1="0" x2="{-100 * first / width:.2f}" y2="10"/>'
        if span[0] < 0 < span[1]
        else ""
    )
    return (
        f'<svg class="interval" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{zero}'
        f'<line class="track" x1="0" y1="5" x2="100" y2="5"/>'
        f'<rect class="range" x="{places[0]:.2f}" y="2.5" width="{max(places[2] - places[0], 0.6):.2f}" height="5"/>'
        f'<rect class="value" x="{places[1] - 0.5:.2f}" y="0.5" width="1" height="9"/></svg>'
    )


def _x(share: float) -> float:
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(share: float) -> float:
    return _TOP + (1.0 - share) * (_HEIGHT - _TOP - _BOTTOM)


def _axes(x_name: str, y_name: str, x_range: tuple[float, float], y_range: tuple[float, float]) -> str:
    parts = []
    for step in range(5):
        share = step / 4
        x_value, y_value = (low + share * (high - low) for low, high in (x_range, y_range))
        parts.append(f'<line class="grid" x1="{_x(0)}" y1="{_y(share):.1f}" x2="{_x(1)}" y2="{_y(share):.1f}"/>')
        parts.append(f'<text class="tick end" x="{_LEFT - 6}" y="{_y(share) + 4:.1f}">{_tick(y_value)}</text>')
        parts.append(f'<text class="tick mid" x="{_x(share):.1f}" y="{_HEIGHT - _BOTTOM + 16}">{_tick(x_value)}</text>')
    parts.append(f'<text class="axis end" x="{_x(1)}" y="{_HEIGHT - 4}">{escape(x_name)}</text>')
    parts.append(f'<text class="axis" x="{_LEFT}" y="{_TOP - 6}">{escape(y_name)}</text>')
    return "".join(parts)


def _tick(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 10 else f"{value:.2f}".rstrip("0").rstrip(".")


def _svg(parts: Sequence[str], label: str) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">'
        f"{''.join(parts)}</svg>"
    )
