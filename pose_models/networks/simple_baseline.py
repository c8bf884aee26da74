"""SimpleBaseline: a ResNet, three transposed convolutions, one map for each keypoint.

Names of parameters are those of the original, so its checkpoints load as they are.
Source: Xiao, Wu, Wei, Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018, and
microsoft/human-pose-estimation.pytorch (MIT), lib/models/pose_resnet.py.
"""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from pose_models.networks.network import ColourOrder, Network
from pose_models.networks.resnet import ResNet

__all__ = ["TABLE", "SimpleBaseline", "deconvolutions", "initialise_head"]


class SimpleBaseline(ResNet):
    """Pictures (N, 3, H, W) float32, normalised -> maps (N, keypoints, H / 4, W / 4), not bounded."""

    def __init__(self, keypoints: int, *, depth: int, widths: Sequence[int] = (256, 256, 256)) -> None:
        super().__init__(depth)
        self.deconv_layers = deconvolutions(self.feature_channels, widths)
        self.final_layer = nn.Conv2d(widths[-1], keypoints, 1)
        initialise_head(self.deconv_layers)
        initialise_head(self.final_layer)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the maps."""
        maps: Tensor = self.final_layer(self.deconv_layers(self.features(pictures)))
        return maps


def deconvolutions(channels: int, widths: Sequence[int]) -> nn.Sequential:
    """Return transposed 4x4 convolutions of stride 2, each with norm and ReLU; each doubles height and width."""
    layers: list[nn.Module] = []
    for width in widths:
        layers.append(nn.ConvTranspose2d(channels, width, 4, 2, padding=1, bias=False))
        layers += [nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        channels = width
    return nn.Sequential(*layers)


def initialise_head(head: nn.Module) -> None:
    """Draw convolutions and linear layers from a normal distribution of std 0.001, with no bias; norms are 1 and 0.

    Source: microsoft/human-pose-estimation.pytorch, lib/models/pose_resnet.py (init_weights).
    """
    for part in head.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(part.weight, std=0.001)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)


_SOURCE = "microsoft/human-pose-estimation.pytorch 49f3f44"
_BOXES = "boxes of person AP 56.4, flip test"


def _row(
    depth: int,
    width_px: int,
    parameters: int,
    gmac: float,
    msra_g: float,
    *,
    ap: float | None = None,
    boxes: str = _BOXES,
    widths: tuple[int, ...] = (256, 256, 256),
    sigma: float = 2.0,
    colour_order: ColourOrder = "bgr",
    source: str = _SOURCE,
) -> Network:
    height_px = width_px * 4 // 3
    return Network(
        name=f"simplebaseline-r{depth}-{height_px}x{width_px}",
        family="simplebaseline",
        build=partial(SimpleBaseline, depth=depth, widths=widths),
        source=source,
        input_width_px=width_px,
        input_height_px=height_px,
        map_width=width_px // 4,
        map_height=height_px // 4,
        parameters=parameters,
        gmac=gmac,
        msra_g=msra_g,
        published_ap=ap,
        published_with=boxes if ap else "",
        sigma=sigma,
        colour_order=colour_order,
        backbone=f"resnet{depth}",
    )


_OURS = "this project: a small network for demonstrations and tests"

TABLE = (
    _row(18, 96, 12_752_337, 0.5213, 0.696, widths=(128, 128, 128), colour_order="rgb", source=_OURS),
    _row(18, 192, 15_376_721, 2.8972, 5.792, colour_order="rgb", source=_OURS),
    _row(50, 192, 33_999_697, 5.4264, 8.991, ap=70.4),
    _row(50, 288, 33_999_697, 12.2094, 20.23, ap=72.2, sigma=3.0),
    _row(101, 192, 52_991_825, 9.0628, 12.378, ap=71.4),
    _row(101, 288, 52_991_825, 20.3914, 27.85, ap=73.6, sigma=3.0),
    _row(152, 192, 68_635_473, 12.6993, 15.765, ap=72.0),
    _row(152, 288, 68_635_473, 28.5734, 35.47, ap=74.3, sigma=3.0),
)
