"""Lightweight OpenPose: a MobileNet with dilation, and light stages that share one trunk for maps and fields.

Names of parameters are those of the original, so its checkpoints load as they are.
Source: Osokin, Real-time 2D Multi-Person Pose Estimation on CPU: Lightweight OpenPose, 2018;
Daniil-Osokin/lightweight-human-pose-estimation.pytorch d23c284, models/with_mobilenet.py (Apache-2).
"""

from functools import partial

import torch
from torch import Tensor, nn

from pose_models.networks.network import Network
from pose_models.networks.openpose import PIXEL_MEAN, PIXEL_STD

__all__ = ["TABLE", "LightweightOpenPose"]

_CHANNELS = 128


def _conv(
    channels: int, channels_out: int, kernel: int = 3, *, stride: int = 1, dilation: int = 1, bias: bool = True,
    norm: bool = True, relu: bool = True,
) -> nn.Sequential:  # fmt: skip
    padding = dilation * (kernel // 2)
    layers: list[nn.Module] = [nn.Conv2d(channels, channels_out, kernel, stride, padding, dilation, bias=bias)]
    if norm:
        layers.append(nn.BatchNorm2d(channels_out))
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


def _plain(channels: int, channels_out: int, kernel: int = 3, *, relu: bool = True) -> nn.Sequential:
    return _conv(channels, channels_out, kernel, norm=False, relu=relu)


def _separable(channels: int, channels_out: int, *, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    """Return a 3x3 convolution of each channel and a 1x1 one across them, each with norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, stride, dilation, dilation, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(inplace=True),
        nn.Conv2d(channels, channels_out, 1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


def _separable_without_norm(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.ELU(inplace=True),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.ELU(inplace=True),
    )


class _Narrowed(nn.Module):
    """The backbone's features made narrower, and three separable convolutions beside a skip connection."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.align = _plain(channels, _CHANNELS, 1)
        self.trunk = nn.Sequential(*(_separable_without_norm(_CHANNELS) for _ in range(3)))
        self.conv = _plain(_CHANNELS, _CHANNELS)

    def forward(self, x: Tensor) -> Tensor:
        x = self.align(x)
        # The trunk works in place on its own first output, not on x.
        out: Tensor = self.conv(x + self.trunk(x))
        return out


class _Stage(nn.Module):
    """A trunk, and two 1x1 convolutions each for maps and fields."""

    def __init__(self, trunk: nn.Sequential, hidden: int, maps: int, fields: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.heatmaps = nn.Sequential(_plain(_CHANNELS, hidden, 1), _plain(hidden, maps, 1, relu=False))
        self.pafs = nn.Sequential(_plain(_CHANNELS, hidden, 1), _plain(hidden, fields, 1, relu=False))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        shared = self.trunk(x)
        return self.heatmaps(shared), self.pafs(shared)


class _RefinementBlock(nn.Module):
    """A 1x1 convolution, plus two 3x3 ones of it, the second dilated."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.initial = _plain(channels, _CHANNELS, 1)
        self.trunk = nn.Sequential(_conv(_CHANNELS, _CHANNELS), _conv(_CHANNELS, _CHANNELS, dilation=2))

    def forward(self, x: Tensor) -> Tensor:
        first: Tensor = self.initial(x)
        out: Tensor = first + self.trunk(first)
        return out


class LightweightOpenPose(nn.Module):
    """Pictures (N, 3, H, W) -> for each stage maps (N, keypoints + 1, H / 8, W / 8) and fields (N, 2 limbs, …).

    The last stage's are last; the last map of each is the background.
    """

    def __init__(self, keypoints: int, *, limbs: int = 19, refinements: int = 1) -> None:
        super().__init__()
        maps, fields = keypoints + 1, 2 * limbs
        self.model = nn.Sequential(
            _conv(3, 32, stride=2, bias=False),
            _separable(32, 64),
            _separable(64, 128, stride=2),
            _separable(128, 128),
            _separable(128, 256, stride=2),
            _separable(256, 256),
            _separable(256, 512),
            _separable(512, 512, dilation=2),
            *(_separable(512, 512) for _ in range(4)),
        )
        self.cpm = _Narrowed(512)
        trunk = nn.Sequential(*(_plain(_CHANNELS, _CHANNELS) for _ in range(3)))
        self.initial_stage = _Stage(trunk, 512, maps, fields)
        self.refinement_stages = nn.ModuleList(
            [_Stage(_refining(_CHANNELS + maps + fields), _CHANNELS, maps, fields) for _ in range(refinements)]
        )

    def forward(self, pictures: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return maps and fields of every stage."""
        features = self.cpm(self.model(pictures))
        outputs: list[tuple[Tensor, Tensor]] = [self.initial_stage(features)]
        for stage in self.refinement_stages:
            outputs.append(stage(torch.cat([features, *outputs[-1]], dim=1)))
        return outputs


def _refining(channels: int) -> nn.Sequential:
    return nn.Sequential(_RefinementBlock(channels), *(_RefinementBlock(_CHANNELS) for _ in range(4)))


def _row(name: str, refinements: int, sizes: tuple[int, float, float], ap: float | None) -> Network:
    return Network(
        name=f"{name}-368x368",
        family="lightweight-openpose",
        build=partial(LightweightOpenPose, refinements=refinements),
        source="Daniil-Osokin/lightweight-human-pose-estimation.pytorch d23c284",
        input_width_px=368,
        input_height_px=368,
        map_width=46,
        map_height=46,
        parameters=sizes[0],
        gmac=sizes[1],
        msra_g=sizes[2],
        keypoints=18,
        stacks=refinements + 1,
        output="maps-and-fields",
        published_ap=ap,
        published_with="no boxes, one scale" if ap else "",
        colour_order="bgr",
        mean=PIXEL_MEAN,
        std=PIXEL_STD,
        sigma=7 / 8,
        decode="argmax",
        flip_shift=0,
        backbone="mobilenet_v1",
    )


TABLE = (
    _row("lightweight-openpose", 1, (4_091_698, 8.8816, 8.272), 40.0),
    _row("lightweight-openpose-r3", 3, (7_308_964, 15.6691, 14.593), None),
)
