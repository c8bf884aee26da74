"""Stacked hourglasses: maps refined from stack to stack, each stack supervised.

One stack halves its features four times and doubles them again, with a skip branch at every size. Residuals are
pre-activated (norm, ReLU, convolution). Three published networks are the same but for three details:

======== ======================== ============================== ====================================
kind     stem widths              residual                       branches joined by
======== ======================== ============================== ====================================
wide     64, 128, 256, 256        1x1, 3x3, 1x1                  addition (bearpaw, anibali, DarkPose)
narrow   64, 128, 128, 256        1x1, 3x3, 1x1                  addition (princeton-vl)
gated    64, 128, 128, C          3x3 thrice, joined, gated skip 3x3 convolution (soft-gated)
======== ======================== ============================== ====================================

Sources: Newell, Yang, Deng, Stacked Hourglass Networks for Human Pose Estimation, ECCV 2016; Bulat et al.,
Toward fast and accurate human pose estimation via soft-gated skip connections, FG 2020; the shapes of the
parameters of bearpaw/pytorch-pose; princeton-vl/pytorch_stacked_hourglass (BSD-3);
dkurzend/Soft_Gated_Pose_Estimation_Pytorch (Apache-2).
"""

from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pose_models.networks.key_map import KeyMap
from pose_models.networks.network import IMAGENET_MEAN, IMAGENET_STD, Network

__all__ = ["NARROW_KEYS", "TABLE", "WIDE_KEYS", "GatedResidual", "Residual", "StackedHourglass"]

Kind = Literal["wide", "narrow", "gated"]


class Residual(nn.Module):
    """Pre-activated bottleneck: (N, C, h, w) -> (N, channels_out, h, w).

    ``spare_skip`` makes a projection even where the identity is used, as princeton's network does: it is in
    its files, never computed, and frozen here so that distributed training does not wait for its gradient.
    """

    def __init__(self, channels: int, channels_out: int, *, spare_skip: bool = False) -> None:
        super().__init__()
        half = channels_out // 2
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, half, 1)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, half, 3, padding=1)
        self.bn3 = nn.BatchNorm2d(half)
        self.conv3 = nn.Conv2d(half, channels_out, 1)
        self.relu = nn.ReLU(inplace=True)
        self.projects = channels != channels_out
        self.skip = nn.Conv2d(channels, channels_out, 1) if self.projects or spare_skip else None
        if self.skip is not None and not self.projects:
            self.skip.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the residual's output."""
        skip: Tensor = self.skip(x) if self.projects and self.skip is not None else x
        x = self.conv1(self.relu(self.bn1(x)))
        x = self.conv2(self.relu(self.bn2(x)))
        x = self.conv3(self.relu(self.bn3(x)))
        return x + skip


class GatedResidual(nn.Module):
    """Three 3x3 convolutions, outputs joined, plus the input times one learnt number a channel (at first 0)."""

    def __init__(self, channels: int, channels_out: int) -> None:
        super().__init__()
        half, quarter = channels_out // 2, channels_out // 4
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, half, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(half)
        self.conv2 = nn.Conv2d(half, quarter, 3, padding=1)
        self.bn3 = nn.BatchNorm2d(quarter)
        self.conv3 = nn.Conv2d(quarter, quarter, 3, padding=1)
        self.relu = nn.ReLU()
        self.gate = nn.Parameter(torch.zeros(1, channels_out, 1, 1))
        self.skip = nn.Conv2d(channels, channels_out, 1) if channels != channels_out else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the residual's output."""
        skip = x if self.skip is None else self.skip(x)
        first = self.conv1(self.relu(self.bn1(x)))
        second = self.conv2(self.relu(self.bn2(first)))
        third = self.conv3(self.relu(self.bn3(second)))
        return torch.cat([first, second, third], dim=1) + skip * self.gate


class _Hourglass(nn.Module):
    """One size and, as ``inner``, everything that works at half of it and less."""

    def __init__(self, kind: Kind, channels: int, depth: int) -> None:
        super().__init__()
        self.branch = _residual(kind, channels, channels)
        self.down = _residual(kind, channels, channels)
        self.inner: nn.Module = (
            _Hourglass(kind, channels, depth - 1) if depth > 1 else _residual(kind, channels, channels)
        )
        self.up = _residual(kind, channels, channels)
        self.merge = nn.Conv2d(2 * channels, channels, 3, padding=1) if kind == "gated" else None

    def forward(self, x: Tensor) -> Tensor:
        branch = self.branch(x)
        inner = self.inner(self.down(functional.max_pool2d(x, 2)))
        if self.merge is None:
            joined: Tensor = branch + _enlarge(self.up(inner), branch)
            return joined
        merged: Tensor = self.up(functional.relu(self.merge(torch.cat([branch, _enlarge(inner, branch)], dim=1))))
        return merged


class _Stack(nn.Module):
    """One hourglass with its head; all but the last also have what goes into the next stack."""

    def __init__(self, kind: Kind, channels: int, keypoints: int, *, depth: int, last: bool) -> None:
        super().__init__()
        self.hourglass = _Hourglass(kind, channels, depth)
        self.residual = _residual(kind, channels, channels)
        self.feature_conv = nn.Conv2d(channels, channels, 1)
        self.feature_norm = nn.BatchNorm2d(channels)
        self.head = nn.Conv2d(channels, keypoints, 1)
        self.feature_merge = None if last else nn.Conv2d(channels, channels, 1)
        self.map_merge = None if last else nn.Conv2d(keypoints, channels, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the maps, and the input of the next stack."""
        features = self.residual(self.hourglass(x))
        features = functional.relu(self.feature_norm(self.feature_conv(features)))
        maps: Tensor = self.head(features)
        if self.feature_merge is not None and self.map_merge is not None:
            x = x + self.feature_merge(features) + self.map_merge(maps)
        return maps, x


class StackedHourglass(nn.Module):
    """Pictures (N, 3, H, W) -> one list entry a stack, each maps (N, keypoints, H / 4, W / 4); the last is final.

    ``channels`` are the features of every stack, ``depth`` how often it halves them.
    """

    def __init__(
        self, keypoints: int, *, stacks: int, kind: Kind = "wide", channels: int = 256, depth: int = 4
    ) -> None:
        super().__init__()
        widths = {"wide": (64, 128, 256), "narrow": (64, 128, 128), "gated": (64, 128, 128)}[kind]
        if channels < 128:
            widths = (channels // 2, channels, channels)
        self.stem_conv = nn.Conv2d(3, widths[0], 7, 2, padding=3)
        self.stem_norm = nn.BatchNorm2d(widths[0])
        self.stem = nn.ModuleList(
            [_residual(kind, *pair) for pair in zip(widths, (*widths[1:], channels), strict=True)]
        )
        self.stacks = nn.ModuleList(
            [_Stack(kind, channels, keypoints, depth=depth, last=stack == stacks - 1) for stack in range(stacks)]
        )

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Return the maps of every stack."""
        x = functional.relu(self.stem_norm(self.stem_conv(pictures)))
        x = functional.max_pool2d(self.stem[0](x), 2)
        x = self.stem[2](self.stem[1](x))
        outputs = []
        for stack in self.stacks:
            maps, x = stack(x)
            outputs.append(maps)
        return outputs


def _residual(kind: Kind, channels: int, channels_out: int) -> nn.Module:
    if kind == "gated":
        return GatedResidual(channels, channels_out)
    return Residual(channels, channels_out, spare_skip=kind == "narrow")


def _enlarge(small: Tensor, large: Tensor) -> Tensor:
    """Return ``small`` enlarged to the size of ``large`` by nearest neighbour; halving may have dropped a row."""
    return functional.interpolate(small, size=large.shape[-2:])


_PARTS = ("branch", "down", "up", "inner")

WIDE_KEYS = KeyMap(
    rules=(
        (r"^conv1\.", "stem_conv."),
        (r"^bn1\.", "stem_norm."),
        *((rf"^layer{place + 1}\.0\.", f"stem.{place}.") for place in range(3)),
        (r"\.downsample\.0\.", ".skip."),
        # They count the sizes from the smallest, whose fourth residual is the innermost.
        *((rf"^hg\.(\d+)\.hg\.{3 - level}\.", rf"stacks.\1.hourglass.{'inner.' * level}") for level in range(4)),
        *((rf"^(stacks.*\.){place}\.0\.", rf"\1{part}.") for place, part in enumerate(_PARTS)),
        (r"^res\.(\d+)\.0\.", r"stacks.\1.residual."),
        (r"^fc\.(\d+)\.0\.", r"stacks.\1.feature_conv."),
        (r"^fc\.(\d+)\.1\.", r"stacks.\1.feature_norm."),
        (r"^score\.(\d+)\.", r"stacks.\1.head."),
        (r"^fc_\.(\d+)\.", r"stacks.\1.feature_merge."),
        (r"^score_\.(\d+)\.", r"stacks.\1.map_merge."),
    )
)
"""Keys of bearpaw's, anibali's and DarkPose's files."""

NARROW_KEYS = KeyMap(
    rules=(
        (r"^pre\.0\.conv\.", "stem_conv."),
        (r"^pre\.0\.bn\.", "stem_norm."),
        (r"^pre\.1\.", "stem.0."),
        (r"^pre\.3\.", "stem.1."),
        (r"^pre\.4\.", "stem.2."),
        (r"^hgs\.(\d+)\.0\.", r"stacks.\1.hourglass."),
        (r"\.low2\b", ".inner"),
        (r"\.up1\.", ".branch."),
        (r"\.low1\.", ".down."),
        (r"\.low3\.", ".up."),
        (r"\.conv\.conv\.", ".merge."),
        (r"^features\.(\d+)\.0\.", r"stacks.\1.residual."),
        (r"^features\.(\d+)\.1\.conv\.", r"stacks.\1.feature_conv."),
        (r"^features\.(\d+)\.1\.bn\.", r"stacks.\1.feature_norm."),
        (r"^outs\.(\d+)\.conv\.", r"stacks.\1.head."),
        (r"^merge_features\.(\d+)\.merge\.", r"stacks.\1.feature_merge."),
        (r"^merge_preds\.(\d+)\.merge\.", r"stacks.\1.map_merge."),
        (r"\.skip_layer\.conv\.", ".skip."),
        (r"\.skip_connection\.skip", ".skip"),
        (r"\.skip_connection\.alpha$", ".gate"),
        (r"\.(conv\d)\.conv\.", r".\1."),
    )
)
"""Keys of princeton's files, and of the soft-gated network that was built from them."""

_DARK = "ilovepose/DarkPose 0185b42; Newell et al. 2016"
_WIDE = "Newell et al. 2016 with the stem of bearpaw/pytorch-pose edc7aec"
_NARROW = "princeton-vl/pytorch_stacked_hourglass ceedc14"
_GATED = "Bulat et al. 2020; dkurzend/Soft_Gated_Pose_Estimation_Pytorch 0cd654f (unofficial)"
_Colour = tuple[float, float, float]
_PIXELS: dict[str, tuple[_Colour, _Colour]] = {
    # Nothing but / 255: princeton-vl, data/MPII/dp.py and test.py; dkurzend, data/MPII/dataset.py.
    _NARROW: ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    _GATED: ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
    # MPII's own mean is subtracted and nothing divided by: bearpaw, pose/utils/transforms.py (color_normalize) and
    # pose/datasets/mpii.py, which computes the mean; its value as anibali/pytorch-stacked-hourglass writes it down.
    _WIDE: ((0.4404, 0.4440, 0.4327), (1.0, 1.0, 1.0)),
}
"""Source -> mean and deviation of RGB pixels in 0..1; all others take ImageNet's."""


def _row(
    name: str,
    stacks: int,
    size: tuple[int, int],
    sizes: tuple[int, float, float],
    source: str,
    *,
    kind: Kind = "wide",
    channels: int = 256,
    depth: int = 4,
    keypoints: int = 17,
    sigma: float = 1.0,
    dark_ap: float | None = None,
) -> Network:
    height_px, width_px = size
    mean, std = _PIXELS.get(source, (IMAGENET_MEAN, IMAGENET_STD))
    return Network(
        name=name,
        family="hourglass",
        build=partial(StackedHourglass, stacks=stacks, kind=kind, channels=channels, depth=depth),
        source=source,
        input_width_px=width_px,
        input_height_px=height_px,
        map_width=width_px // 4,
        map_height=height_px // 4,
        parameters=sizes[0],
        gmac=sizes[1],
        msra_g=sizes[2],
        keypoints=keypoints,
        stacks=stacks,
        published_ap=dark_ap,
        published_with="boxes of person AP 56.4, flip test, with DARK" if dark_ap else "",
        # DarkPose, experiments/coco/hourglass: COLOR_RGB is false, the mean is RGB's all the same.
        colour_order="bgr" if dark_ap else "rgb",
        mean=mean,
        std=std,
        geometry="dark" if dark_ap else "msra",
        encoding="unbiased" if dark_ap else "gaussian",
        decode="dark" if dark_ap else "quarter",
        flip_shift=0 if dark_ap else 1,
        sigma=sigma,
    )


TABLE = (
    _row("hourglass-small-128x96", 2, (128, 96), (364_322, 0.1519, 0.141), "this project", channels=64, depth=3),
    _row("hourglass-s4-128x96", 4, (128, 96), (13_020_612, 2.8783, 2.681), _DARK, dark_ap=69.6),
    _row("hourglass-s8-128x96", 8, (128, 96), (25_598_472, 5.2656, 4.904), _DARK, dark_ap=70.8),
    _row("hourglass-s1-256x256", 1, (256, 256), (3_587_217, 5.8057, 5.407), _WIDE),
    _row("hourglass-s2-256x256", 2, (256, 256), (6_731_682, 8.9921, 8.375), _WIDE),
    _row("hourglass-s4-256x256", 4, (256, 256), (13_020_612, 15.3648, 14.31), _WIDE),
    _row("hourglass-s8-256x256", 8, (256, 256), (25_598_472, 28.1102, 26.18), _WIDE),
    _row("hourglass-s8-256x192", 8, (256, 192), (25_598_472, 21.0827, 19.635), _WIDE),
    _row("hourglass-princeton-s1-256x256", 1, (256, 256), (4_364_305, 5.1514, 4.798), _NARROW, kind="narrow"),
    _row("hourglass-princeton-s2-256x256", 2, (256, 256), (8_429_858, 8.3378, 7.765), _NARROW, kind="narrow"),
    _row("hourglass-princeton-s4-256x256", 4, (256, 256), (16_560_964, 14.7105, 13.7), _NARROW, kind="narrow"),
    _row("hourglass-princeton-s8-256x256", 8, (256, 256), (32_823_176, 27.4559, 25.57), _NARROW, kind="narrow"),
    _row(
        "hourglass-gated-4x144-256x256",
        4,
        (256, 256),
        (13_690_956, 19.4978, 18.159),
        _GATED,
        kind="gated",
        channels=144,
    ),
    _row(
        "hourglass-gated-4x256-256x256",
        4,
        (256, 256),
        (42_636_740, 57.1479, 53.223),
        _GATED,
        kind="gated",
        channels=256,
    ),
)
