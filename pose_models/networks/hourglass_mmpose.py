"""Hourglass-52, the CornerNet hourglass that mmpose trains: plain residuals that widen on the way down.

Unlike the stacked hourglass it has a stride-2 residual in place of each pooling, and five sizes of 256 to 512
channels. One stack here, as in the published configuration. Names of parameters are mmpose's.
Source: Law, Deng, CornerNet, ECCV 2018; open-mmlab/mmpose 759b39c, mmpose/models/backbones/hourglass.py (Apache-2).
"""

from torch import Tensor, nn
from torch.nn import functional

from pose_models.networks.network import Network
from pose_models.networks.resnet import Basic, initialise_backbone
from pose_models.networks.simple_baseline import initialise_head

__all__ = ["TABLE", "Hourglass52"]

_CHANNELS = (256, 256, 384, 384, 384, 512)
_BLOCKS = (2, 2, 2, 2, 2, 4)


class _ConvNorm(nn.Module):
    """Convolution without bias, norm, ReLU."""

    def __init__(self, channels: int, channels_out: int, kernel: int, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels_out, kernel, stride, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)), inplace=True)


class _Module(nn.Module):
    """One size and, inside it, all smaller ones."""

    def __init__(self, level: int = 0) -> None:
        super().__init__()
        here, below = _CHANNELS[level], _CHANNELS[level + 1]
        count, count_below = _BLOCKS[level], _BLOCKS[level + 1]
        self.up1 = _blocks(here, here, count)
        self.low1 = _blocks(here, below, count, stride=2)
        deepest = level + 2 == len(_CHANNELS)
        self.low2: nn.Module = _blocks(below, below, count_below) if deepest else _Module(level + 1)
        # The last residual narrows, not the first.
        self.low3 = nn.Sequential(*(Basic(below, below) for _ in range(count - 1)), Basic(below, here))

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.up1(x)
        below = self.low3(self.low2(self.low1(x)))
        return branch + functional.interpolate(below, size=branch.shape[-2:])


class _Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        width = _CHANNELS[0]
        self.stem = nn.Sequential(_ConvNorm(3, width // 2, 7, 2), nn.Sequential(Basic(width // 2, width, 2)))
        self.hourglass_modules = nn.ModuleList([_Module()])
        # Between stacks; with one stack it is in mmpose's files and never used, so it is frozen.
        self.inters = nn.Sequential(Basic(width, width)).requires_grad_(False)
        self.out_convs = nn.ModuleList([_ConvNorm(width, width, 3)])

    def forward(self, pictures: Tensor) -> Tensor:
        features: Tensor = self.out_convs[0](self.hourglass_modules[0](self.stem(pictures)))
        return features


class _Head(nn.Module):
    def __init__(self, keypoints: int) -> None:
        super().__init__()
        self.multi_final_layers = nn.ModuleList([nn.Conv2d(_CHANNELS[0], keypoints, 1)])

    def forward(self, features: Tensor) -> Tensor:
        maps: Tensor = self.multi_final_layers[0](features)
        return maps


class Hourglass52(nn.Module):
    """Pictures (N, 3, H, W) -> maps (N, keypoints, H / 4, W / 4)."""

    def __init__(self, keypoints: int) -> None:
        super().__init__()
        self.backbone = _Backbone()
        self.head = _Head(keypoints)
        initialise_backbone(self.backbone)
        initialise_head(self.head)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the maps."""
        maps: Tensor = self.head(self.backbone(pictures))
        return maps


def _blocks(channels: int, channels_out: int, count: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        Basic(channels, channels_out, stride), *(Basic(channels_out, channels_out) for _ in range(count - 1))
    )


def _row(side_px: int, gmac: float, msra_g: float, published_ap: float) -> Network:
    return Network(
        name=f"hourglass52-{side_px}x{side_px}",
        family="hourglass-mmpose",
        build=Hourglass52,
        source="open-mmlab/mmpose 759b39c",
        input_width_px=side_px,
        input_height_px=side_px,
        map_width=side_px // 4,
        map_height=side_px // 4,
        parameters=94_847_889,
        gmac=gmac,
        msra_g=msra_g,
        published_ap=published_ap,
        published_with="boxes of person AP 56.4, flip test",
        sigma=2.0 if side_px == 256 else 3.0,
    )


TABLE = (_row(256, 28.6202, 26.655, 72.6), _row(384, 64.3954, 59.973, 74.6))
