"""What is drawn for each sample: the augmentations of the references, by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from pose_data.errors import UsageError

__all__ = ["AUGMENTATIONS", "Augmentation", "Spread", "find_augmentation"]

Spread = Literal["clipped-normal", "truncated-normal", "uniform"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """What is drawn for each sample. Shares are probabilities."""

    flip_share: float = 0.0
    spread: Spread = "clipped-normal"
    """Of scale and rotation: ``clipped-normal``, a normal draw cut at the bounds (MSRA: scale at one, rotation at two
    standard deviations); ``truncated-normal``, a normal draw between -1 and 1, drawn again outside (mmpose);
    ``uniform``."""
    scale: float = 0.0
    """The box is multiplied by a factor about 1 with this spread: 0.3 means 0.7 to 1.3."""
    rotation_deg: float = 0.0
    rotation_share: float = 0.6
    shift: float = 0.0
    """Largest shift of the window, as a share of its sides (truncated normal)."""
    shift_share: float = 0.3
    half_body_share: float = 0.0
    half_body_more_than: int = 8
    """Only persons with more labelled keypoints than this are cut to a half."""
    upper_share: float = 0.6915
    """How often the upper half is taken: the references compare a normal draw with 0.5."""
    brightness_added: float = 0.0
    """Uniform in -x … x of the full range, added to all channels."""
    brightness: float = 0.0
    """Colour: factors uniform in 1 - x … 1 + x."""
    contrast: float = 0.0
    saturation: float = 0.0
    hue_deg: float = 0.0
    """HSV: the hue is turned by up to this, saturation and value get up to so many of 255 added; each of the three in
    half of the samples, by whole steps of OpenCV's 8-bit HSV (2°, 1, 1)."""
    hsv_saturation: int = 0
    hsv_value: int = 0
    blur_share: float = 0.0
    """How often the mean of 3, 5 or 7 pixels square is taken, and, drawn apart, how often their median is."""
    cut_out_share: float = 0.0
    """How often a rectangle is made black."""
    cut_out_sides: tuple[float, float] = (0.2, 0.4)
    """The least and the largest of its sides, as shares of the window's."""

    def __post_init__(self) -> None:
        for name in (
            "flip_share", "rotation_share", "shift_share", "half_body_share", "upper_share", "blur_share",
            "cut_out_share",
        ):  # fmt: skip
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UsageError("option-value", f"{name} is {getattr(self, name)}", hint="between 0 and 1")
        for name in ("scale", "shift", "brightness_added", "brightness", "contrast", "saturation"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UsageError("option-value", f"{name} is {getattr(self, name)}", hint="at least 0, below 1")
        if self.spread not in ("clipped-normal", "truncated-normal", "uniform"):
            raise UsageError("option-value", f"spread is {self.spread!r}")
        for name, most in (("rotation_deg", 360), ("hue_deg", 180), ("hsv_saturation", 255), ("hsv_value", 255)):
            if not 0 <= getattr(self, name) <= most:
                raise UsageError("option-value", f"{name} is {getattr(self, name)}", hint=f"between 0 and {most}")

    @property
    def moves(self) -> bool:
        """Return whether pixels may come to other places than by a flip."""
        return bool(self.scale or self.rotation_deg or self.shift or self.half_body_share)


# Sources: each family's official training configuration.
AUGMENTATIONS: Mapping[str, Augmentation] = MappingProxyType(
    {
        "none": Augmentation(),
        "flip": Augmentation(flip_share=0.5),
        # microsoft/human-pose-estimation.pytorch, lib/dataset/JointsDataset.py.
        "simple-baseline": Augmentation(flip_share=0.5, scale=0.3, rotation_deg=40.0),
        # leoxiaobin/deep-high-resolution-net.pytorch, the same file; DARK and UDP train with it, too.
        "hrnet": Augmentation(flip_share=0.5, scale=0.35, rotation_deg=45.0, half_body_share=0.3),
        # mmpose 1.x, td-hm configs: RandomHalfBody (at least 9 keypoints, upper 0.7), RandomBBoxTransform.
        "mmpose": Augmentation(
            flip_share=0.5, spread="truncated-normal", scale=0.5, rotation_deg=80.0, shift=0.16, half_body_share=0.3,
            upper_share=0.7,
        ),
        # mmpose 1.x, rtmpose configs, and their last 30 epochs: YOLOXHSVRandomAug with mmdet's defaults (a hue of 5 in
        # OpenCV's half degrees), albumentations' Blur, MedianBlur (up to 7 pixels) and CoarseDropout.
        "rtmpose": Augmentation(
            flip_share=0.5, spread="truncated-normal", scale=0.4, rotation_deg=80.0, shift=0.16, half_body_share=0.3,
            upper_share=0.7, hue_deg=10.0, hsv_saturation=30, hsv_value=30, blur_share=0.1, cut_out_share=1.0,
        ),
        "rtmpose-late": Augmentation(
            flip_share=0.5, spread="truncated-normal", scale=0.25, rotation_deg=60.0, half_body_share=0.3,
            upper_share=0.7, hue_deg=10.0, hsv_saturation=30, hsv_value=30, blur_share=0.1, cut_out_share=0.5,
        ),
        # princeton-vl/pytorch_stacked_hourglass, data/MPII/dp.py.
        "hourglass": Augmentation(
            flip_share=0.5, spread="uniform", scale=0.25, rotation_deg=30.0, rotation_share=1.0
        ),
        # What the seeds meant to do; see docs/augmentation.md.
        "hourglass-seed": Augmentation(flip_share=0.5, brightness_added=0.25, contrast=0.2),
        "white-frame": Augmentation(
            flip_share=0.5, spread="uniform", scale=0.1, rotation_deg=10.0, rotation_share=1.0, shift=0.1,
            shift_share=1.0,
        ),
        "simcc-seed": Augmentation(
            flip_share=0.5, spread="uniform", rotation_deg=20.0, rotation_share=1.0, brightness=0.3, saturation=0.3
        ),
    }
)  # fmt: skip


def find_augmentation(name: str) -> Augmentation:
    """Return the named augmentation. Raises UsageError for an unknown name."""
    if name not in AUGMENTATIONS:
        raise UsageError(
            "augmentation-unknown", f"there is no augmentation {name!r}", hint=f"one of: {', '.join(AUGMENTATIONS)}"
        )
    return AUGMENTATIONS[name]
