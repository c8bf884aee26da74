"""ResNet-18 to -152 up to the last feature map; the backbone of several families.

Names of parameters are torchvision's, so that its ImageNet weights load as they are. The stride of a bottleneck
is in its 3x3 convolution, as in torchvision and the pose repositories of Microsoft.
Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016.
"""

from collections.abc import Mapping
from types import MappingProxyType

from torch import Tensor, nn

__all__ = ["RESNET_DEPTHS", "Basic", "Bottleneck", "ResNet", "ShallowResNet", "initialise_backbone"]

RESNET_DEPTHS: Mapping[int, tuple[int, int, int, int]] = MappingProxyType(
    {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
)
"""Depth -> blocks a stage. Below 50 the blocks are :class:`Basic`, else :class:`Bottleneck`."""


class Basic(nn.Module):
    """Two 3x3 convolutions beside a skip connection: (N, C, h, w) -> (N, width, h / stride, w / stride)."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, float32 as the input."""
        skip: Tensor = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        out: Tensor = self.relu(x + skip)
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions beside a skip connection: (N, C, h, w) -> (N, 4 width, h / stride, w / stride)."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _projection(channels, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output, float32 as the input."""
        skip: Tensor = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        x = self.bn3(self.conv3(x))
        out: Tensor = self.relu(x + skip)
        return out


class ResNet(nn.Module):
    """The features of a ResNet: pictures (N, 3, H, W) -> (N, ``feature_channels``, H / 32, W / 32)."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        kind = Basic if depth < 50 else Bottleneck
        self.feature_channels = 512 * kind.expansion
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        counts = RESNET_DEPTHS[depth]
        self.layer1 = _stage(kind, 64, 64, counts[0], 1)
        self.layer2 = _stage(kind, 64 * kind.expansion, 128, counts[1], 2)
        self.layer3 = _stage(kind, 128 * kind.expansion, 256, counts[2], 2)
        self.layer4 = _stage(kind, 256 * kind.expansion, 512, counts[3], 2)
        initialise_backbone(self)

    def features(self, pictures: Tensor) -> Tensor:
        """Return the last feature map, of stride 32."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(pictures))))
        out: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return out

    def forward(self, pictures: Tensor) -> Tensor:
        """Return :meth:`features`."""
        return self.features(pictures)


class ShallowResNet(ResNet):
    """A ResNet up to the last of its first ``stages`` stages, of stride 2 ** (stages + 1)."""

    def __init__(self, depth: int, *, stages: int) -> None:
        super().__init__(depth)
        self._stages = stages
        self.feature_channels >>= 4 - stages
        for stage in range(stages + 1, 5):
            delattr(self, f"layer{stage}")

    def features(self, pictures: Tensor) -> Tensor:
        """Return the features of the last stage that there is."""
        x: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(pictures))))
        for stage in range(1, self._stages + 1):
            x = self.get_submodule(f"layer{stage}")(x)
        return x


def initialise_backbone(module: nn.Module) -> None:
    """Draw convolutions from He's normal distribution (fan out), set norms to 1 and 0, as torchvision does."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)


def _projection(channels: int, channels_out: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and channels == channels_out:
        return None
    return nn.Sequential(nn.Conv2d(channels, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out))


def _stage(kind: type[Basic] | type[Bottleneck], channels: int, width: int, count: int, stride: int) -> nn.Sequential:
    rest = [kind(width * kind.expansion, width) for _ in range(count - 1)]
    return nn.Sequential(kind(channels, width, stride), *rest)
