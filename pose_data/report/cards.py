"""Cards of cases: a picture with both skeletons, in which each keypoint's fault can be seen and read."""

import base64
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import escape

import numpy as np
import numpy.typing as npt

from pose_data.evaluation.localisation import Kind
from pose_data.report.case_pictures import CasePicture, Pictures
from pose_data.report.cases import Case
from pose_data.report.judgement import Judgement

__all__ = ["Card", "make_cards"]

_Float = npt.NDArray[np.float64]
_MARGIN = 0.15
_LEAST_SIDE_PX = 24.0
_FAR_SPREADS = 8.0
"""A keypoint is a stray from here on, in medians of its detection's distances: far beyond any pose."""
_FURTHEST_PX = 1e6
_DOT_SHARE = 0.014
"""A keypoint's radius, of the longer side of its card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What the page shows of a case; ``svg`` is finished markup, all else is text."""

    sort: str
    title: str
    text: str
    size: str
    keypoints: tuple[str, ...]
    """Names of keypoints with a fault."""
    svg: str


def make_cards(judgement: Judgement, cases: Sequence[Case], pictures: Pictures, *, threads: int = 2) -> list[Card]:
    """Return a card for each case, in their order."""
    with ThreadPoolExecutor(max(1, threads)) as pool:
        return list(pool.map(lambda case: _card(judgement, case, pictures), cases))


def _card(judgement: Judgement, case: Case, pictures: Pictures) -> Card:
    truth, detections = judgement.result.truth, judgement.result.detections
    labels = truth.keypoints[case.person] if case.person >= 0 else None
    detected = detections.keypoints[case.detection] if case.detection >= 0 else None
    annotation = int(truth.annotation_id[case.person]) if case.person >= 0 else None
    region = _region(labels, detected, truth.bbox_xywh[case.person] if case.person >= 0 else None)
    picture = pictures.show(case.image_id, annotation, region)
    kinds = judgement.found.kind[case.place] if case.place >= 0 else None
    names = truth.skeleton.names
    faulty = () if kinds is None else tuple(names[joint] for joint in np.flatnonzero(kinds > Kind.GOOD).tolist())
    return Card(
        sort=case.sort, title=_title(case, annotation), text=_text(judgement, case, faulty), size=case.size,
        keypoints=faulty, svg=_svg(judgement, case, picture, labels, detected),
    )  # fmt: skip


def _title(case: Case, annotation: int | None) -> str:
    return f"picture {case.image_id}" if annotation is None else f"person {annotation}, picture {case.image_id}"


def _text(judgement: Judgement, case: Case, faulty: Sequence[str]) -> str:
    parts = [case.sort] if case.oks is None else []
    if case.oks is not None:
        parts.append(f"OKS {case.oks:.2f}")
    if case.other_oks is not None:
        parts.append(f"other {case.other_oks:.2f}")
    if case.detection >= 0:
        parts.append(f"score {judgement.result.detections.score[case.detection]:.2f}")
    if case.size:
        parts.append(case.size)
    if faulty:
        kinds = judgement.found.kind[case.place]
        counts = [(kind.name.lower(), int((kinds == kind).sum())) for kind in Kind if kind > Kind.GOOD]
        parts += [f"{count} {name}" for name, count in counts if count]
    return " · ".join(parts)


def _region(labels: _Float | None, detected: _Float | None, box_xywh: _Float | None) -> _Float:
    """Return a square (4,) x, y, width, height around everything that is to be seen."""
    points = []
    if labels is not None:
        points.append(_bounded(labels[labels[:, 2] > 0, :2]))
    if box_xywh is not None:
        box_xywh = _bounded(box_xywh)
        points.append(np.stack([box_xywh[:2], box_xywh[:2] + box_xywh[2:]]))
    if detected is not None:
        points.append(_without_strays(_bounded(detected[:, :2]), box_xywh))
    seen = np.concatenate(points)
    low, high = seen.min(axis=0), seen.max(axis=0)
    side = max(float((high - low).max()) * (1 + 2 * _MARGIN), _LEAST_SIDE_PX)
    return np.array([*((low + high) / 2 - side / 2), side, side])


def _bounded(pixels: _Float) -> _Float:
    """Return coordinates that can be reckoned with: finite ones may be so large that their differences are not."""
    return np.clip(pixels, -_FURTHEST_PX, _FURTHEST_PX)


def _without_strays(points: _Float, box_xywh: _Float | None) -> _Float:
    """Leave out detected keypoints that lie far from the person: they would make everything else small."""
    if box_xywh is None:
        # Nobody's box tells what is far, so the detection's own spread does; medians do not mind strays.
        away = np.abs(points - np.median(points, axis=0)).max(axis=1)
        close: _Float = points[away <= max(_FAR_SPREADS * float(np.median(away)), _LEAST_SIDE_PX)]
        return close
    low, high = box_xywh[:2] - box_xywh[2:], box_xywh[:2] + 2 * box_xywh[2:]
    near: _Float = points[((points >= low) & (points <= high)).all(axis=1)]
    return near


def _svg(judgement: Judgement, case: Case, picture: CasePicture, labels: _Float | None, detected: _Float | None) -> str:
    limbs = judgement.result.truth.skeleton.limbs
    parts = []
    if picture.webp:
        data = base64.b64encode(picture.webp).decode("ascii")
        parts.append(
            f'<image href="data:image/webp;base64,{data}" width="{picture.width_px}" height="{picture.height_px}"/>'
        )
    else:
        parts.append(f'<rect class="blank" width="{picture.width_px}" height="{picture.height_px}"/>')
    if labels is not None:
        parts.append(_limbs(_moved(labels, picture), labels[:, 2] > 0, limbs, "truth"))
    if detected is not None:
        places = _moved(detected, picture)
        parts.append(_limbs(places, np.ones(len(places), bool), limbs, "found"))
        parts.append(_dots(judgement, case, places, _DOT_SHARE * max(picture.width_px, picture.height_px)))
    label = escape(f"{case.sort}: {_title(case, None)}")
    frame = f"0 0 {picture.width_px} {picture.height_px}"
    return f'<svg viewBox="{frame}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _moved(keypoints: _Float, picture: CasePicture) -> _Float:
    """Return (K, 2) in the frame of the SVG, whose pixels' corners are whole numbers."""
    moved: _Float = _bounded(keypoints[:, :2]) @ picture.to_card[:, :2].T + picture.to_card[:, 2] + 0.5
    return np.clip(moved, -1e4, 1e4)


def _limbs(places: _Float, there: npt.NDArray[np.bool_], limbs: Sequence[tuple[int, int]], name: str) -> str:
    path = "".join(
        f"M{places[a, 0]:.0f} {places[a, 1]:.0f}L{places[b, 0]:.0f} {places[b, 1]:.0f}"
        for a, b in limbs
        if there[a] and there[b]
    )
    return f'<path class="{name}" d="{path}"/>'


def _dots(judgement: Judgement, case: Case, places: _Float, radius: float) -> str:
    names = judgement.result.truth.skeleton.names
    found = judgement.found
    parts = []
    for joint, (x, y) in enumerate(places.tolist()):
        if case.place < 0:
            kind, text = "plain", names[joint]
        else:
            kind = Kind(int(found.kind[case.place, joint])).name.lower()
            text = f"{names[joint]}: {kind}"
            if kind != "unlabelled":
                far, similarity = found.distance_px[case.place, joint], found.similarity[case.place, joint]
                text += f", similarity {similarity:.2f}, {far:.0f} px"
        parts.append(
            f'<circle class="k-{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}">'
            f"<title>{escape(text)}</title></circle>"
        )
    return "".join(parts)
