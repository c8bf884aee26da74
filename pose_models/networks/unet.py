"""A U-Net for one person on white, told what a frozen ResNet-34 sees, with maps as large as the picture.

Pre-activated bottlenecks with LeakyReLU go from 320 cells down to 10 and up again by shuffling pixels; three heads,
from 20, 80 and 320 cells, end in a tanh. :class:`UNet` takes the picture and the ResNet's features, with the original's
names of parameters; :class:`ConditionedUNet`, which is trained, makes the features itself.
Source: qyzdao/single-human-pose-estimation at bbffcae (MIT), model.py, module.py and utils.py, after Zheng, Li and
Bargteil, Learning to Shadow Hand-drawn Sketches, CVPR 2020 (ShadeSketch).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pose_models.networks.network import IMAGENET_MEAN, IMAGENET_STD, Network
from pose_models.networks.resnet import ShallowResNet

__all__ = ["TABLE", "ConditionedUNet", "UNet"]

_FEATURES = 128
"""Channels of a ResNet-34's second stage."""


def _conv_block(channels: int, convolution: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(channels), nn.LeakyReLU(), convolution)


class _Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, each after norm and LeakyReLU, plus the input, projected where that is needed.

    The original makes a projection everywhere; where it is not used it is in the files, and frozen.
    """

    def __init__(
        self, channels: int, width: int, channels_out: int, *, stride: int = 1, projects: bool = False
    ) -> None:
        super().__init__()
        self._projects = projects or stride > 1
        self.conv_block1 = _conv_block(channels, nn.Conv2d(channels, width, 1, bias=False))
        self.conv_block2 = _conv_block(width, nn.Conv2d(width, width, 3, stride, padding=1, bias=False))
        self.conv_block3 = _conv_block(width, nn.Conv2d(width, channels_out, 1, bias=False))
        self.shortcut = nn.Conv2d(channels, channels_out, 1, stride, bias=False).requires_grad_(self._projects)

    def forward(self, x: Tensor) -> Tensor:
        inner: Tensor = self.conv_block3(self.conv_block2(self.conv_block1(x)))
        return inner + (self.shortcut(x) if self._projects else x)


class _Shuffled(nn.Module):
    """A convolution to four times the channels, which become twice the height and width."""

    def __init__(self, channels: int, channels_out: int, kernel: int) -> None:
        super().__init__()
        self.conv2d = nn.Conv2d(channels, 4 * channels_out, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.conv2d(x), 2)


class _Up(nn.Module):
    """A bottleneck that doubles height and width, with dropout."""

    def __init__(self, channels: int, width: int, channels_out: int) -> None:
        super().__init__()
        self.conv_block1 = _conv_block(channels, nn.Conv2d(channels, width, 1, bias=False))
        self.conv_block2 = _conv_block(width, _Shuffled(width, width, 3))
        self.conv_block3 = _conv_block(width, nn.Conv2d(width, channels_out, 1, bias=False))
        self.shortcut = _Shuffled(channels, channels_out, 1)
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        inner = self.conv_block3(self.conv_block2(self.conv_block1(x)))
        out: Tensor = self.dropout(inner + self.shortcut(x))
        return out


def _stage(channels: int, width: int, channels_out: int, *, count: int, first_stride: int = 1) -> nn.Sequential:
    first = _Bottleneck(channels, width, channels_out, stride=first_stride, projects=True)
    return nn.Sequential(first, *(_Bottleneck(channels_out, width, channels_out) for _ in range(count - 1)))


class UNet(nn.Module):
    """Pictures (N, 3, H, W) in -1 … 1 and features (N, 128, H / 32, W / 32) -> three maps (N, keypoints, H, W).

    H and W are multiples of 32. The maps, in -1 … 1, are those of the full size, of 1/16 and of 1/4.
    """

    def __init__(self, keypoints: int) -> None:
        super().__init__()
        self.en_block1 = _stage(3, 8, 32, count=2)
        self.en_block2 = _stage(32, 16, 64, count=3, first_stride=2)
        self.en_block3 = _stage(64, 32, 128, count=3, first_stride=2)
        self.en_block4 = _stage(128, 64, 256, count=3, first_stride=2)
        self.en_block5 = _stage(256, 64, 256, count=3, first_stride=2)
        self.bottle = _stage(256, 128, 256, count=3, first_stride=2)
        self.embedding = nn.Conv2d(_FEATURES, 256, 1)
        self.en_block6 = nn.Sequential(*(_Bottleneck(512, 128, 512) for _ in range(4)))
        self.UpResiBlock1, self.de_block1 = _Up(512, 64, 256), _stage(512, 64, 256, count=2)
        self.conv1 = nn.Conv2d(256, keypoints, 1)
        self.UpResiBlock2, self.de_block2 = _Up(256, 64, 256), _stage(512, 64, 256, count=2)
        self.UpResiBlock3, self.de_block3 = _Up(256, 32, 128), _stage(256, 32, 128, count=2)
        self.conv2 = nn.Conv2d(128, keypoints, 1)
        self.UpResiBlock4, self.de_block4 = _Up(128, 16, 64), _stage(128, 16, 64, count=2)
        self.UpResiBlock5, self.de_block5 = _Up(64, 8, 32), _stage(64, 8, 32, count=2)
        self.de_block6 = _stage(32, 4, 16, count=3)
        self.conv2d = nn.Conv2d(16, keypoints, 1)

    def forward(self, pictures: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the three maps."""
        sizes = [self.en_block1(pictures)]
        for block in (self.en_block2, self.en_block3, self.en_block4, self.en_block5):
            sizes.append(block(sizes[-1]))
        x = self.en_block6(torch.cat([self.bottle(sizes[-1]), self.embedding(features)], dim=1))
        x = self.de_block1(torch.cat([self.UpResiBlock1(x), sizes[4]], dim=1))
        coarse = torch.tanh(self.conv1(functional.interpolate(x, scale_factor=16.0)))
        x = self.de_block2(torch.cat([self.UpResiBlock2(x), sizes[3]], dim=1))
        x = self.de_block3(torch.cat([self.UpResiBlock3(x), sizes[2]], dim=1))
        middle = torch.tanh(self.conv2(functional.interpolate(x, scale_factor=4.0)))
        x = self.de_block4(torch.cat([self.UpResiBlock4(x), sizes[1]], dim=1))
        x = self.de_block5(torch.cat([self.UpResiBlock5(x), sizes[0]], dim=1))
        return torch.tanh(self.conv2d(self.de_block6(x))), coarse, middle


class ConditionedUNet(nn.Module):
    """Pictures (N, 3, H, W) in -1 … 1 -> maps (N, keypoints, H, W) in 0 … 1 of 1/16, of 1/4 and of the full size.

    The ResNet-34 sees the picture at seven tenths of its size (224 of 320 pixels) and is never trained: give it
    ImageNet's weights (``pretrained``), for features of random weights say little.
    """

    def __init__(self, keypoints: int) -> None:
        super().__init__()
        self.unet = UNet(keypoints)
        self.features = ShallowResNet(34, stages=2).requires_grad_(False).eval()
        self._mean: Sequence[float] = IMAGENET_MEAN
        self._std: Sequence[float] = IMAGENET_STD

    def train(self, mode: bool = True) -> "ConditionedUNet":
        """Set the mode, but for the ResNet: its norms stay as they are."""
        super().train(mode)
        self.features.eval()
        return self

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Return the maps, the full-size ones last."""
        full, coarse, middle = self.unet(pictures, self._seen(pictures))
        return [0.5 * (maps + 1.0) for maps in (coarse, middle, full)]

    @torch.no_grad()
    def _seen(self, pictures: Tensor) -> Tensor:
        """Return the ResNet's features, one for each cell of the U-Net's bottom."""
        height, width = pictures.shape[2:]
        mean, std = (pictures.new_tensor(list(values))[:, None, None] for values in (self._mean, self._std))
        small = functional.interpolate(
            (0.5 * (pictures + 1.0) - mean) / std, (height * 7 // 10, width * 7 // 10), mode="bilinear", antialias=True
        )
        return functional.interpolate(self.features(small), (height // 32, width // 32))


TABLE = (
    Network(
        name="unet-white-320x320",
        family="unet",
        build=ConditionedUNet,
        source="qyzdao/single-human-pose-estimation bbffcae",
        input_width_px=320,
        input_height_px=320,
        map_width=320,
        map_height=320,
        parameters=7_517_749,
        gmac=7.2794,
        msra_g=6.779,
        keypoints=13,
        stacks=3,
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        geometry="square",
        encoding="unbiased",
        sigma=8.0,
        decode="dark",
        flip_shift=0,
        backbone="resnet34",
    ),
)
