"""Published results on COCO val2017, as their authors' pages give them; nothing here was measured by us.

``boxes`` is the person detector: 56.4 are the Faster R-CNN boxes released with SimpleBaseline (person AP 56.4, 104,125
boxes), with flip test. Figures with other boxes do not compare.
"""

from dataclasses import dataclass

__all__ = ["LITERATURE", "PublishedResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedResult:
    """One row of a published table; None where the source does not say."""

    method: str
    input: str
    ap: float
    ap50: float | None
    ap75: float | None
    apm: float | None
    apl: float | None
    ar: float | None
    boxes: str
    source: str


_HRNET = "leoxiaobin/deep-high-resolution-net.pytorch, README"


def _row(method: str, size: str, numbers: tuple[float | None, ...], boxes: str, source: str) -> PublishedResult:
    ap, ap50, ap75, apm, apl, ar = numbers
    assert ap is not None
    return PublishedResult(
        method=method, input=size, ap=ap, ap50=ap50, ap75=ap75, apm=apm, apl=apl, ar=ar, boxes=boxes, source=source
    )


LITERATURE: tuple[PublishedResult, ...] = (
    _row("SimpleBaseline R50", "256×192", (0.704, 0.886, 0.783, 0.671, 0.772, 0.763), "56.4", _HRNET),
    _row(
        "SimpleBaseline R50", "256×192", (0.724, 0.915, 0.804, 0.697, 0.765, 0.756), "annotated",
        "microsoft/human-pose-estimation.pytorch#58",
    ),
    _row("SimpleBaseline R152", "384×288", (0.743, 0.896, 0.811, 0.705, 0.816, 0.797), "56.4", _HRNET),
    _row("HRNet-W32", "256×192", (0.744, 0.905, 0.819, 0.708, 0.810, 0.798), "56.4", _HRNET),
    _row(
        "HRNet-W32", "256×192", (0.765, None, None, None, None, None), "annotated",
        "leoxiaobin/deep-high-resolution-net.pytorch#174",
    ),
    _row("HRNet-W48", "384×288", (0.763, 0.908, 0.829, 0.723, 0.834, 0.812), "56.4", _HRNET),
    _row("HRNet-W32 + DARK", "256×192", (0.756, 0.905, 0.821, 0.718, 0.828, 0.808), "56.4", _HRNET),
    _row("ViTPose-B", "256×192", (0.758, None, None, None, None, 0.811), "56.4", "ViTAE-Transformer/ViTPose, README"),
    _row("ViTPose-H", "256×192", (0.791, None, None, None, None, 0.841), "56.4", "ViTAE-Transformer/ViTPose, README"),
)  # fmt: skip
