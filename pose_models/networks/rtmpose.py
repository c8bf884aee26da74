"""RTMPose: a CSPNeXt backbone, one map a keypoint, a gated attention unit among keypoints, and SimCC vectors.

Names of parameters are mmpose's, so its checkpoints load as they are.
Source: Jiang et al., RTMPose: Real-Time Multi-Person Pose Estimation based on MMPose, 2023; open-mmlab/mmpose 759b39c,
projects/rtmpose, mmpose/models/backbones/cspnext.py, heads/coord_cls_heads/rtmcc_head.py and utils/rtmcc_block.py
(Apache-2). The attention unit: Hua et al., Transformer Quality in Linear Time, ICML 2022.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from pose_models.networks.network import Network
from pose_models.networks.simcc import flip_shift_of

__all__ = ["RTMPOSE_SIZES", "TABLE", "CSPNeXt", "RTMPose", "RTMPoseSize"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RTMPoseSize:
    """How wide and how deep a backbone is: the stem's channels and the blocks of its four stages."""

    stem_channels: int
    blocks: tuple[int, int, int, int]


RTMPOSE_SIZES: Mapping[str, RTMPoseSize] = MappingProxyType(
    {
        "t": RTMPoseSize(stem_channels=24, blocks=(1, 1, 1, 1)),
        "s": RTMPoseSize(stem_channels=32, blocks=(1, 2, 2, 1)),
        "m": RTMPoseSize(stem_channels=48, blocks=(2, 4, 4, 2)),
        "l": RTMPoseSize(stem_channels=64, blocks=(3, 6, 6, 3)),
    }
)


class _ConvNorm(nn.Module):
    """Convolution without bias, norm, SiLU."""

    def __init__(self, channels: int, channels_out: int, kernel: int = 1, stride: int = 1, *, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(channels_out)

    def forward(self, x: Tensor) -> Tensor:
        return functional.silu(self.bn(self.conv(x)), inplace=True)


class _Separable(nn.Module):
    """A 5x5 convolution of each channel by itself, then a 1x1 one across them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise_conv = _ConvNorm(channels, channels, 5, groups=channels)
        self.pointwise_conv = _ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.pointwise_conv(self.depthwise_conv(x))
        return out


class _Block(nn.Module):
    """A 3x3 and a separable 5x5 convolution, with the input added where ``skip`` says so."""

    def __init__(self, channels: int, *, skip: bool) -> None:
        super().__init__()
        self.conv1 = _ConvNorm(channels, channels, 3)
        self.conv2 = _Separable(channels)
        self._skip = skip

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.conv1(x))
        return x + out if self._skip else out


class _ChannelAttention(nn.Module):
    """Every channel times a weight between 0 and 1 that is made of all channels' means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x * functional.hardsigmoid(self.fc(x.mean(dim=(2, 3), keepdim=True)))


class _CrossStage(nn.Module):
    """Half of the channels go through the blocks, half past them; attention over all, then a 1x1 convolution."""

    def __init__(self, channels: int, count: int, *, skip: bool) -> None:
        super().__init__()
        half = channels // 2
        self.main_conv = _ConvNorm(channels, half)
        self.short_conv = _ConvNorm(channels, half)
        self.blocks = nn.Sequential(*(_Block(half, skip=skip) for _ in range(count)))
        self.attention = _ChannelAttention(channels)
        self.final_conv = _ConvNorm(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        joined = torch.cat([self.blocks(self.main_conv(x)), self.short_conv(x)], dim=1)
        out: Tensor = self.final_conv(self.attention(joined))
        return out


class _PyramidPool(nn.Module):
    """The features and their maxima over 5x5, 9x9 and 13x13 neighbourhoods, joined."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _ConvNorm(channels, channels // 2)
        self.conv2 = _ConvNorm(channels * 2, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        pooled = [functional.max_pool2d(x, side, 1, padding=side // 2) for side in (5, 9, 13)]
        out: Tensor = self.conv2(torch.cat([x, *pooled], dim=1))
        return out


class CSPNeXt(nn.Module):
    """Pictures (N, 3, H, W) -> features (N, 16 ``stem_channels``, H / 32, W / 32)."""

    def __init__(self, size: RTMPoseSize) -> None:
        super().__init__()
        width = size.stem_channels
        self.feature_channels = 16 * width
        self.stem = nn.Sequential(
            _ConvNorm(3, width // 2, 3, 2), _ConvNorm(width // 2, width // 2, 3), _ConvNorm(width // 2, width, 3)
        )
        self.stage1, self.stage2, self.stage3 = (
            nn.Sequential(
                _ConvNorm(width << stage, width << stage + 1, 3, 2),
                _CrossStage(width << stage + 1, size.blocks[stage], skip=True),
            )
            for stage in range(3)
        )
        self.stage4 = nn.Sequential(
            _ConvNorm(8 * width, 16 * width, 3, 2),
            _PyramidPool(16 * width),
            _CrossStage(16 * width, size.blocks[3], skip=False),
        )

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the last features."""
        features: Tensor = self.stage4(self.stage3(self.stage2(self.stage1(self.stem(pictures)))))
        return features


class _ScaleNorm(nn.Module):
    """Vectors divided by their root mean square, times one learnt number."""

    def __init__(self) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True) * x.shape[-1] ** -0.5
        out: Tensor = x / size.clamp(min=1e-5) * self.g
        return out


class _Scale(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


class _GatedAttention(nn.Module):
    """Keypoints (N, K, C) attend to each other: weights are the squares of positive products, and a gate follows."""

    def __init__(self, channels: int, inner: int = 512, shared: int = 128) -> None:
        super().__init__()
        self._widths = [inner, inner, shared]
        self.ln = _ScaleNorm()
        self.uv = nn.Linear(channels, 2 * inner + shared, bias=False)
        self.gamma = nn.Parameter(torch.rand(2, shared))
        self.beta = nn.Parameter(torch.rand(2, shared))
        self.o = nn.Linear(inner, channels, bias=False)
        self.res_scale = _Scale(channels)

    def forward(self, x: Tensor) -> Tensor:
        gate, value, base = torch.split(functional.silu(self.uv(self.ln(x))), self._widths, dim=-1)
        query, key = (base[:, :, None] * self.gamma + self.beta).unbind(dim=2)
        weights = functional.relu(torch.bmm(query, key.transpose(1, 2)) / math.sqrt(self._widths[2])).square()
        out: Tensor = self.res_scale(x) + self.o(gate * torch.bmm(weights, value))
        return out


class _Head(nn.Module):
    def __init__(self, channels: int, keypoints: int, size_wh: tuple[int, int], hidden: int = 256) -> None:
        super().__init__()
        self.final_layer = nn.Conv2d(channels, keypoints, 7, padding=3)
        self.mlp = nn.Sequential(_ScaleNorm(), nn.Linear((size_wh[0] // 32) * (size_wh[1] // 32), hidden, bias=False))
        self.gau = _GatedAttention(hidden)
        self.cls_x = nn.Linear(hidden, 2 * size_wh[0], bias=False)
        self.cls_y = nn.Linear(hidden, 2 * size_wh[1], bias=False)
        nn.init.normal_(self.final_layer.weight, std=0.001)
        nn.init.zeros_(self.final_layer.bias)  # type: ignore[arg-type]
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.normal_(part.weight, std=0.01)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        keypoints = self.gau(self.mlp(self.final_layer(features).flatten(2)))
        return self.cls_x(keypoints), self.cls_y(keypoints)


class RTMPose(nn.Module):
    """Pictures (N, 3, H, W) -> vectors x (N, keypoints, 2 W) and y (N, keypoints, 2 H), two bins a pixel.

    The output learns the labels themselves, Gaussians with a peak of 1: no softmax is needed to read it.
    """

    def __init__(self, keypoints: int, *, size: RTMPoseSize, size_wh: tuple[int, int]) -> None:
        super().__init__()
        self.backbone = CSPNeXt(size)
        self.head = _Head(self.backbone.feature_channels, keypoints, size_wh)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two vectors."""
        vectors: tuple[Tensor, Tensor] = self.head(self.backbone(pictures))
        return vectors


_BOXES = "boxes of person AP 56.4, flip test"


def _row(size: str, width_px: int, sizes: tuple[int, float, float], ap: float, *, data: str = "") -> Network:
    height_px = width_px * 4 // 3
    return Network(
        name=f"rtmpose-{size}-{height_px}x{width_px}",
        family="rtmpose",
        build=partial(RTMPose, size=RTMPOSE_SIZES[size], size_wh=(width_px, height_px)),
        source="open-mmlab/mmpose 759b39c, projects/rtmpose",
        input_width_px=width_px,
        input_height_px=height_px,
        map_width=2 * width_px,
        map_height=2 * height_px,
        parameters=sizes[0],
        gmac=sizes[1],
        msra_g=sizes[2],
        output="simcc",
        published_ap=ap,
        published_with=f"{_BOXES}{data}",
        encoding="simcc",
        sigma=4.9 if width_px == 192 else 6.0,
        split_ratio=2.0,
        decode="simcc",
        flip_shift=flip_shift_of(2.0),
        backbone=f"cspnext_{size}",
    )


_MORE = ", trained on AI Challenger, too"

TABLE = (
    _row("t", 192, (3_337_007, 0.3548, 0.33), 68.2),
    _row("s", 192, (5_473_251, 0.6764, 0.63), 71.6),
    _row("m", 192, (13_587_611, 1.9177, 1.786), 74.6),
    _row("l", 192, (27_660_339, 4.1423, 3.858), 75.8),
    _row("m", 288, (13_717_659, 4.3016, 4.006), 77.0, data=_MORE),
    _row("l", 288, (27_790_387, 9.3062, 8.667), 77.3, data=_MORE),
)
