"""The rules of an evaluation, by data set: skeleton, sigmas, where areas come from, what is ignored.

Sources of the sigmas: cocodataset/cocoapi, pycocotools ``Params.setKpParams``; Jeff-sjtu/CrowdPose, crowdpose-api;
jin-s13/COCO-WholeBody, evaluation/myeval_wholebody.py. Of what is ignored: jin-s13/xtcocoapi, ``COCOeval._prepare``.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from pose_data.errors import UsageError
from pose_data.skeleton import COCO_PERSON, Skeleton
from pose_data.toml_file import read_toml

__all__ = ["COCO", "COCO_WHOLEBODY", "CROWDPOSE", "RULES", "AreaRule", "Rules", "own_rules", "rules_of"]

AreaRule = Literal["segment", "box-0.53"]
"""Where a person's area comes from: ``segment``, as written; ``box-0.53``, 0.53 of the box, as CrowdPose has it."""

_AREAS: Mapping[str, str] = {
    "segment": "as annotated (the segment's)",
    "box-0.53": "0.53 of the annotated box",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How persons of one data set are compared with detections; the defaults are COCO's."""

    name: str
    skeleton: Skeleton
    area: AreaRule = "segment"
    count_labels: bool = False
    """Ignore a person where no keypoint is labelled, whatever ``num_keypoints`` says."""
    drop_unscored: bool = False
    """Leave out detections whose third numbers are all 0 or less."""
    fields: tuple[tuple[str, int], ...] = ()
    """Names of the lists that make up the keypoints of a record, and how many each has; empty: ``keypoints`` alone."""
    parts: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Part → first keypoint and the one behind the last; each may be evaluated on its own."""
    source: str = ""

    def __post_init__(self) -> None:
        if self.area not in _AREAS:
            raise UsageError("option-value", f"area is {self.area!r}", hint=f"one of {', '.join(_AREAS)}")

    def lines(self) -> tuple[str, ...]:
        """Return the rules in words, a line each."""
        sigmas = self.skeleton.sigmas
        said = f"{min(sigmas):g} to {max(sigmas):g}" if sigmas else "none: give some before evaluating"
        ignored = "no keypoint is labelled" if self.count_labels else "num_keypoints, as written, is 0"
        return (
            f"skeleton: {self.skeleton.name}, {self.skeleton.keypoint_count} keypoints",
            f"sigmas: {said}" + (f" ({self.source})" if self.source else ""),
            f"area of a person: {_AREAS[self.area]}",
            f"ignored: crowds, and persons of whom {ignored}",
            *(("left out: detections whose third numbers are all 0",) if self.drop_unscored else ()),
            *((f"parts: {', '.join(self.parts)}",) if self.parts else ()),
        )

    def __str__(self) -> str:
        return "\n".join((f"rules: {self.name}", *self.lines()))


COCO = Rules(name="coco", skeleton=COCO_PERSON, source="cocodataset/cocoapi")

CROWDPOSE = Rules(
    name="crowdpose",
    skeleton=Skeleton(
        name="crowdpose-person",
        names=(
            "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_wrist", "right_wrist",
            "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "head", "neck",
        ),
        pairs=((0, 1), (2, 3), (4, 5), (6, 7), (8, 9), (10, 11)),
        limbs=(
            (10, 8), (8, 6), (11, 9), (9, 7), (6, 7), (0, 6), (1, 7), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5),
            (12, 13), (1, 13), (0, 13),
        ),
        sigmas=(
            0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089, 0.089, 0.079, 0.079,
        ),
    ),
    area="box-0.53",
    count_labels=True,
    drop_unscored=True,
    source="Jeff-sjtu/CrowdPose",
)  # fmt: skip

_FEET = ("big_toe", "small_toe", "heel")
_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
_FOOT_SIGMAS = (0.068, 0.066, 0.066, 0.092, 0.094, 0.094)
_FACE_SIGMAS = (
    0.042, 0.043, 0.044, 0.043, 0.040, 0.035, 0.031, 0.025, 0.020, 0.023, 0.029, 0.032, 0.037, 0.038, 0.043, 0.041,
    0.045, 0.013, 0.012, 0.011, 0.011, 0.012, 0.012, 0.011, 0.011, 0.013, 0.015, 0.009, 0.007, 0.007, 0.007, 0.012,
    0.009, 0.008, 0.016, 0.010, 0.017, 0.011, 0.009, 0.011, 0.009, 0.007, 0.013, 0.008, 0.011, 0.012, 0.010, 0.034,
    0.008, 0.008, 0.009, 0.008, 0.008, 0.007, 0.010, 0.008, 0.009, 0.009, 0.009, 0.007, 0.007, 0.008, 0.011, 0.008,
    0.008, 0.008, 0.010, 0.008,
)  # fmt: skip
_HAND_SIGMAS = (
    0.029, 0.022, 0.035, 0.037, 0.047, 0.026, 0.025, 0.024, 0.035, 0.018, 0.024, 0.022, 0.026, 0.017, 0.021, 0.021,
    0.032, 0.020, 0.019, 0.022, 0.031,
)  # fmt: skip
# The face is the 68 points of 300-W: jaw, brows, nose, eyes, mouth; each pair mirrors.
_FACE_PAIRS = (
    *((number, 16 - number) for number in range(8)),
    *((number, 43 - number) for number in range(17, 22)),
    (31, 35), (32, 34), (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46),
    (48, 54), (49, 53), (50, 52), (55, 59), (56, 58), (60, 64), (61, 63), (65, 67),
)  # fmt: skip


def _hand(side: str) -> tuple[str, ...]:
    return (f"{side}_hand_root", *(f"{side}_{finger}{number}" for finger in _FINGERS for number in range(1, 5)))


COCO_WHOLEBODY = Rules(
    name="coco-wholebody",
    skeleton=Skeleton(
        name="coco-wholebody-person",
        names=(
            *COCO_PERSON.names,
            *(f"{side}_{name}" for side in ("left", "right") for name in _FEET),
            *(f"face-{number}" for number in range(68)),
            *_hand("left"),
            *_hand("right"),
        ),
        pairs=(
            *COCO_PERSON.pairs,
            *((17 + number, 20 + number) for number in range(3)),
            *((23 + one, 23 + other) for one, other in _FACE_PAIRS),
            *((91 + number, 112 + number) for number in range(21)),
        ),
        limbs=COCO_PERSON.limbs,
        sigmas=(*COCO_PERSON.sigmas, *_FOOT_SIGMAS, *_FACE_SIGMAS, *_HAND_SIGMAS, *_HAND_SIGMAS),
    ),
    count_labels=True,
    drop_unscored=True,
    fields=(("keypoints", 17), ("foot_kpts", 6), ("face_kpts", 68), ("lefthand_kpts", 21), ("righthand_kpts", 21)),
    parts={"body": (0, 17), "foot": (17, 23), "face": (23, 91), "left_hand": (91, 112), "right_hand": (112, 133)},
    source="jin-s13/COCO-WholeBody",
)

RULES: Mapping[str, Rules] = MappingProxyType({rules.name: rules for rules in (COCO, CROWDPOSE, COCO_WHOLEBODY)})
"""Name → rules of a known data set."""

_OTHER_NAMES = {"top_head": "head"}


def rules_of(keypoint_names: tuple[str, ...], category: str) -> Rules:
    """Return the known rules that fit a file's keypoint names, else COCO's with these names and without sigmas."""
    plain = tuple(one.strip().lower().replace(" ", "_") for one in keypoint_names)
    plain = tuple(_OTHER_NAMES.get(one, one) for one in plain)
    for rules in RULES.values():
        if plain == rules.skeleton.names:
            return rules
    return Rules(name=category, skeleton=Skeleton(name=category, names=keypoint_names))


_OPTIONS = ("name", "sigmas", "area", "count_labels", "drop_unscored")


def own_rules(path: Path, base: Rules) -> Rules:
    """Return ``base``, such as :func:`rules_of` a file's names, with what a TOML or JSON file sets.

    ``sigmas``: a list in the order of the keypoints, or a table name → sigma; also ``name``, ``area``, ``count_labels``
    and ``drop_unscored``. Raises UsageError: ``config-unreadable``, ``config-invalid``, ``option-unknown``,
    ``option-value``, ``sigmas-count``.
    """
    path = Path(path)
    options = _read_options(path)
    unknown = [name for name in options if name not in _OPTIONS]
    if unknown:
        raise UsageError(
            "option-unknown", f"rules have no option {unknown[0]!r}", where=str(path),
            hint=f"one of {', '.join(_OPTIONS)}",
        )  # fmt: skip
    sigmas = _sigmas(options.pop("sigmas"), base.skeleton, path) if "sigmas" in options else base.skeleton.sigmas
    for name, kind in (("name", str), ("count_labels", bool), ("drop_unscored", bool)):
        if not isinstance(options.get(name, kind()), kind):
            raise UsageError("option-value", f"{name} is {options[name]!r}", where=str(path), hint=f"a {kind.__name__}")
    return replace(base, skeleton=replace(base.skeleton, sigmas=sigmas), source=path.name, **options)


def _read_options(path: Path) -> dict[str, Any]:
    if path.suffix.lower() != ".json":
        return read_toml(path)
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError("config-unreadable", f"the rules cannot be read: {error.strerror}", where=str(path)) from None
    except ValueError as error:
        raise UsageError("config-invalid", f"the rules are not JSON: {error}", where=str(path)) from None
    if not isinstance(value, dict):
        raise UsageError("config-invalid", "the rules are not a JSON object", where=str(path))
    return value


def _sigmas(value: Any, skeleton: Skeleton, path: Path) -> tuple[float, ...]:
    names = skeleton.names
    if isinstance(value, dict):
        missing = [name for name in names if name not in value]
        unknown = [name for name in value if name not in names]
        if missing or unknown:
            said = f"no sigma for {', '.join(missing[:5])}" if missing else f"no keypoint is named {unknown[0]!r}"
            raise UsageError("sigmas-count", said, where=str(path), hint=f"the keypoints are {', '.join(names)}")
        value = [value[name] for name in names]
    if not isinstance(value, list | tuple) or len(value) != len(names):
        found = f"{len(value)} sigmas" if isinstance(value, list | tuple) else f"sigmas {value!r}"
        raise UsageError(
            "sigmas-count", f"{found} for {len(names)} keypoints of {skeleton.name}", where=str(path),
            hint="a list with one for each keypoint, or a table name = sigma",
        )  # fmt: skip
    for sigma in value:
        if isinstance(sigma, bool) or not isinstance(sigma, int | float) or not 0 < sigma < math.inf:
            raise UsageError("option-value", f"a sigma is {sigma!r}", where=str(path), hint="a number above 0")
    return tuple(map(float, value))
