"""The skeleton with a neck that OpenPose's family uses, and limb tables: which pairs of keypoints have a field.

A limb table fixes the order of the field's channels (limb i has channels 2i and 2i + 1), the direction
of every limb, and the order in which grouping follows them. Names and channel orders are facts of
trained networks: with another table a network's channels mean something else.

Sources, read for their numbers only: Daniil-Osokin/lightweight-human-pose-estimation.pytorch
(``datasets/coco.py``, ``modules/keypoints.py``), whose table is that of CMU's COCO model;
tensorboy/pytorch_Realtime_Multi-Person_Pose_Estimation (``lib/datasets/datasets.py``).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pose_data.errors import UsageError
from pose_data.skeleton import COCO_PERSON, Skeleton

__all__ = ["LIMB_TABLES", "OPENPOSE_PERSON", "LimbTable", "add_neck", "drop_neck", "find_limb_table", "limb_table"]

_NAMES = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle",
    "right_eye", "left_eye", "right_ear", "left_ear",
)  # fmt: skip
_NECK = _NAMES.index("neck")
_COCO_ORDER = tuple(COCO_PERSON.names.index(name) for name in _NAMES if name != "neck")
_SHOULDERS = (COCO_PERSON.names.index("left_shoulder"), COCO_PERSON.names.index("right_shoulder"))


def _by_name(limbs: tuple[tuple[str, str], ...]) -> tuple[tuple[int, int], ...]:
    return tuple((_NAMES.index(start), _NAMES.index(end)) for start, end in limbs)


_BODY = (
    ("neck", "right_hip"), ("right_hip", "right_knee"), ("right_knee", "right_ankle"),
    ("neck", "left_hip"), ("left_hip", "left_knee"), ("left_knee", "left_ankle"),
)  # fmt: skip
_RIGHT_ARM = (("neck", "right_shoulder"), ("right_shoulder", "right_elbow"), ("right_elbow", "right_wrist"))
_LEFT_ARM = (("neck", "left_shoulder"), ("left_shoulder", "left_elbow"), ("left_elbow", "left_wrist"))
_HEAD = (
    ("neck", "nose"), ("nose", "right_eye"), ("nose", "left_eye"),
    ("right_eye", "right_ear"), ("left_eye", "left_ear"),
)  # fmt: skip
_TO_EARS = (("right_shoulder", "right_ear"), ("left_shoulder", "left_ear"))
_TO_EYES = (("right_shoulder", "right_eye"), ("left_shoulder", "left_eye"))
_OPENPOSE_LIMBS = _by_name((*_BODY, *_RIGHT_ARM, _TO_EARS[0], *_LEFT_ARM, _TO_EARS[1], *_HEAD))
_TENSORBOY_LIMBS = _by_name((*_BODY, *_RIGHT_ARM, _TO_EYES[0], *_LEFT_ARM, _TO_EYES[1], *_HEAD))
# Shoulders, arms, legs, head, and last the two limbs that close a circle.
_OPENPOSE_ORDER = (6, 10, 7, 8, 11, 12, 0, 1, 2, 3, 4, 5, 14, 15, 17, 16, 18, 9, 13)

OPENPOSE_PERSON = Skeleton(
    name="openpose-person",
    names=_NAMES,
    pairs=((5, 2), (6, 3), (7, 4), (11, 8), (12, 9), (13, 10), (15, 14), (17, 16)),
    limbs=_by_name((*_BODY, *_RIGHT_ARM, *_LEFT_ARM, *_HEAD)),
)
"""COCO's keypoints in OpenPose's order, and the neck, which no annotator marks; it has no OKS sigma."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LimbTable:
    """The limbs of a skeleton that have a part affinity field.

    ``limbs`` are (start, end) keypoint indices in the order of the field's channels. ``order`` lists every limb
    once, in the order in which grouping follows them; each must touch a keypoint reached before, or begin
    a part of the body that no other limb joins on. A limb between two keypoints reached before is
    *closing*: it can complete a person, but not begin one; such limbs come last.

    Raises UsageError when ``limbs`` or ``order`` break this.
    """

    name: str
    skeleton: Skeleton
    limbs: tuple[tuple[int, int], ...]
    order: tuple[int, ...]

    def __post_init__(self) -> None:
        count = self.skeleton.keypoint_count
        named = all(0 <= start < count and 0 <= end < count and start != end for start, end in self.limbs)
        if not named or sorted(self.order) != list(range(len(self.limbs))):
            raise UsageError(
                "limbs-unusable",
                f"the limb table {self.name!r} names other keypoints or limbs than {self.skeleton.name} has",
                hint="limbs are pairs of two different keypoint indices; order names each limb once",
            )
        self.steps()

    def steps(self) -> tuple[tuple[int, int, int, bool], ...]:
        """Return (limb, from keypoint, to keypoint, closing) in grouping order; ``from`` was reached before ``to``."""
        part_of: dict[int, int] = {}
        steps = list[tuple[int, int, int, bool]]()
        for limb in self.order:
            start, end = self.limbs[limb]
            closing = start in part_of and end in part_of
            late = bool(steps) and steps[-1][3] and not closing
            if late or (closing and part_of[start] != part_of[end]):
                raise UsageError(
                    "limbs-unusable",
                    f"limb {limb} of table {self.name!r} comes too late or joins parts of the body begun apart",
                    hint="order the limbs outward from one keypoint, those that close a circle last",
                )
            if end in part_of and not closing:
                start, end = end, start
            part_of.setdefault(start, limb)
            part_of.setdefault(end, part_of[start])
            steps.append((limb, start, end, closing))
        return tuple(steps)


LIMB_TABLES: Mapping[str, LimbTable] = MappingProxyType(
    {
        table.name: table
        for table in (
            LimbTable(name="openpose", skeleton=OPENPOSE_PERSON, limbs=_OPENPOSE_LIMBS, order=_OPENPOSE_ORDER),
            LimbTable(name="tensorboy", skeleton=OPENPOSE_PERSON, limbs=_TENSORBOY_LIMBS, order=_OPENPOSE_ORDER),
        )
    }
)
"""``openpose``: CMU's COCO model and lightweight OpenPose (shoulder to ear); ``tensorboy``: shoulder to eye."""


def find_limb_table(name: str) -> LimbTable:
    """Return the named table. Raises UsageError for another name."""
    if name not in LIMB_TABLES:
        raise UsageError("option-value", f"no limb table {name!r}", hint=f"one of: {', '.join(sorted(LIMB_TABLES))}")
    return LIMB_TABLES[name]


def limb_table(skeleton: Skeleton) -> LimbTable:
    """Return a table of a skeleton's own limbs, in their order, grouped outward from the first limb's start.

    Limbs that close a circle come last. Raises UsageError for a skeleton without limbs.
    """
    if not skeleton.limbs:
        raise UsageError("limbs-unusable", f"the skeleton {skeleton.name} has no limbs")
    reached: set[int] = set()
    waiting, order = list(range(len(skeleton.limbs))), list[int]()
    while waiting:
        ends_reached = [len(reached.intersection(skeleton.limbs[limb])) for limb in waiting]
        growing, fresh = ([limb for limb, ends in zip(waiting, ends_reached, strict=True) if ends == n] for n in (1, 0))
        chosen = (growing or fresh or waiting)[0]
        reached.update(skeleton.limbs[chosen])
        waiting.remove(chosen)
        order.append(chosen)
    return LimbTable(name=skeleton.name, skeleton=skeleton, limbs=skeleton.limbs, order=tuple(order))


def add_neck(
    xy: NDArray[np.floating[Any]], labelled: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return COCO points (…, 17, 2) and labels (…, 17) as those of :data:`OPENPOSE_PERSON`, (…, 18, 2) and (…, 18).

    The neck is the middle of the shoulders, labelled when both are (Cao et al., *OpenPose*, and both ports;
    tensorboy's rounds it to whole pixels, which this does not). Any frame.
    """
    point = np.asarray(xy, dtype=np.float64)
    neck = point[..., _SHOULDERS, :].mean(axis=-2, keepdims=True)
    both = labelled[..., _SHOULDERS].all(axis=-1, keepdims=True)
    moved, named = point[..., _COCO_ORDER, :], labelled[..., _COCO_ORDER]
    return (
        np.concatenate([moved[..., :_NECK, :], neck, moved[..., _NECK:, :]], axis=-2),
        np.concatenate([named[..., :_NECK], both, named[..., _NECK:]], axis=-1),
    )


def drop_neck(keypoints: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return keypoints (…, 18, n) of :data:`OPENPOSE_PERSON` as COCO's (…, 17, n), without the neck."""
    coco = np.empty((*keypoints.shape[:-2], COCO_PERSON.keypoint_count, keypoints.shape[-1]), dtype=np.float64)
    coco[..., _COCO_ORDER, :] = np.delete(keypoints, _NECK, axis=-2)
    return coco
