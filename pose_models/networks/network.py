"""What the catalogue says about one network: its sizes, its published result, and the conventions of its weights."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import nn

__all__ = ["IMAGENET_MEAN", "IMAGENET_STD", "ColourOrder", "Decode", "Network", "Output"]

ColourOrder = Literal["rgb", "bgr"]
Decode = Literal["argmax", "quarter", "dark", "udp", "udp-mmpose", "udp-offset", "simcc", "simcc-dark"]
Output = Literal["maps", "offset-maps", "simcc", "maps-and-fields"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network of the catalogue. ``build(keypoints)`` makes it, freshly initialised, on the default device.

    ``parameters`` (to the unit), ``gmac`` and ``msra_g`` hold for ``keypoints`` keypoints and one picture of
    the input size; :mod:`pose_models.networks.size` says what each counts. The conventions (colour order to
    decoding) are those of the published weights: whoever loads these must keep them.
    """

    name: str
    family: str
    build: Callable[[int], nn.Module]
    source: str
    """Where architecture and figures come from: repository and file, or paper."""
    input_width_px: int
    input_height_px: int
    map_width: int
    """Columns of a map in cells; ``simcc``: bins of the x vector."""
    map_height: int
    """Rows of a map in cells; ``simcc``: bins of the y vector."""
    parameters: int
    gmac: float
    msra_g: float
    keypoints: int = 17
    """The number of keypoints (maps) that the three sizes above belong to."""
    stacks: int = 1
    """Maps that training supervises: more than one means intermediate supervision, the final ones last."""
    output: Output = "maps"
    published_ap: float | None = None
    """AP on COCO val2017, in percent; None when none was published for this network."""
    published_with: str = ""
    """Which boxes, flip test and weights the published AP belongs to."""
    colour_order: ColourOrder = "rgb"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Subtracted from pixels in 0..1, in the order in which the channels are fed."""
    std: tuple[float, float, float] = IMAGENET_STD
    geometry: str = "msra"
    """How box becomes crop; see :mod:`pose_data.geometry`."""
    encoding: str = "gaussian"
    sigma: float = 2.0
    """In map cells; ``simcc``: in bins; offset maps: the radius of the disk that they fill and are divided by."""
    split_ratio: float = 0.0
    """``simcc``: bins an input pixel; else 0."""
    decode: Decode = "quarter"
    flip_shift: int = 1
    """Cells (``simcc``: bins) by which the flipped picture's output is moved right before it is averaged."""
    blur_kernel: int = 0
    """Of a decoding that blurs, where the weights' authors took another one than the decoding's own; else 0."""
    backbone: str = ""
    """The ImageNet backbone inside, such as ``resnet50``, that takes pretrained weights; empty when none does."""
