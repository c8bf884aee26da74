"""What the data set will hold before anything is drawn: sizes, splits and kinds of pictures. NumPy only."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from pose_data.errors import UsageError

__all__ = ["SPLITS", "PicturePlan", "plan_pictures"]

SPLITS = ("train", "val")

_SIZES_WH = ((640, 480), (640, 480), (640, 426), (640, 427), (480, 640), (480, 640), (427, 640), (500, 375), (375, 500),
             (480, 360), (360, 480))  # fmt: skip
_COUNTS = (2, 2, 1, 3, 1, 3, 4, 2, 1, 3, 2, 1, 3, 6, 2, 1, 4, 2, 5, 2)
_EMPTY_EVERY = 16
_CROWD_EVERY = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class PicturePlan:
    """One picture to draw: ``persons`` articulated figures in the foreground, ``crowd`` a group far away."""

    image_id: int
    split: Literal["train", "val"]
    width_px: int
    height_px: int
    persons: int
    crowd: bool

    @property
    def file_name(self) -> str:
        """Return the name of the picture file, like COCO's."""
        return f"{self.image_id:012d}.jpg"


def plan_pictures(pictures: int, seed: int, val_share: float) -> tuple[PicturePlan, ...]:
    """Return the plan of every picture, by picture number from 1.

    The first picture of each split has a crowd; every 14th has one, every 16th nobody at all. Raises UsageError for
    fewer than 2 pictures or a share that is not between 0 and 1.
    """
    if pictures < 2:
        raise UsageError("sample-pictures", f"a sample needs at least 2 pictures, not {pictures}")
    if not 0 < val_share < 1:
        raise UsageError("sample-val-share", f"the share of val must lie between 0 and 1, not {val_share}")
    if seed < 0:
        raise UsageError("sample-seed", f"the seed must not be negative, not {seed}")
    rng = np.random.default_rng([seed, 0])
    order = rng.permutation(pictures)
    val_count = min(pictures - 1, max(1, round(pictures * val_share)))
    plans: list[PicturePlan] = []
    for split, members in zip(SPLITS, (order[val_count:], order[:val_count]), strict=True):
        plans += _split_plans(rng, "val" if split == "val" else "train", [int(member) + 1 for member in members])
    return tuple(sorted(plans, key=lambda plan: plan.image_id))


def _split_plans(
    rng: np.random.Generator, split: Literal["train", "val"], image_ids: Sequence[int]
) -> list[PicturePlan]:
    """Return the plans of one split; the first picture has a crowd, the sixth is empty."""
    plans = []
    for position, image_id in enumerate(image_ids):
        width, height = _SIZES_WH[int(rng.integers(len(_SIZES_WH)))]
        crowd = position % _CROWD_EVERY == 0
        empty = position % _EMPTY_EVERY == 5
        plans.append(
            PicturePlan(
                image_id=image_id,
                split=split,
                width_px=width,
                height_px=height,
                persons=0 if empty else _COUNTS[position % len(_COUNTS)],
                crowd=crowd and not empty,
            )
        )
    return plans
