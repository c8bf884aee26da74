"""The stacked hourglass of borarak/human-pose-estimation, plain and gated, for crops of 256x256.

It differs from the published hourglass: residuals are post-activated, the skip branch starts after the residual
of its size instead of before, maps end in a sigmoid, and norms are those of TensorFlow (epsilon 0.001, momentum
0.99). The gated one has no norm before its first convolution, a ReLU after the sum, and gates that start at 0.5.
Behaviour from deep-pose/models/hourglass.py and hourglass_gated.py at 1dbf243 (no licence; no code taken).
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from pose_models.networks.network import Network

__all__ = ["TABLE", "SeedHourglass"]

_CHANNELS = 256
_DEPTH = 4


class _Plain(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, the first two with norm and ReLU, plus the input."""

    def __init__(self) -> None:
        super().__init__()
        half = _CHANNELS // 2
        self.conv1, self.bn1 = nn.Conv2d(_CHANNELS, half, 1), _norm(half)
        self.conv2, self.bn2 = nn.Conv2d(half, half, 3, padding=1), _norm(half)
        self.conv3 = nn.Conv2d(half, _CHANNELS, 1)

    def forward(self, x: Tensor) -> Tensor:
        inner = functional.relu(self.bn1(self.conv1(x)))
        inner = functional.relu(self.bn2(self.conv2(inner)))
        out: Tensor = self.conv3(inner)
        return x + out


class _Gated(nn.Module):
    """Three 3x3 convolutions with norm and ReLU, outputs joined, plus the input times a gate a channel; ReLU."""

    def __init__(self) -> None:
        super().__init__()
        half, quarter = _CHANNELS // 2, _CHANNELS // 4
        self.conv1, self.bn1 = nn.Conv2d(_CHANNELS, half, 3, padding=1), _norm(half)
        self.conv2, self.bn2 = nn.Conv2d(half, quarter, 3, padding=1), _norm(quarter)
        self.conv3, self.bn3 = nn.Conv2d(quarter, quarter, 3, padding=1), _norm(quarter)
        self.gate = nn.Parameter(torch.full((1, _CHANNELS, 1, 1), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        first = functional.relu(self.bn1(self.conv1(x)))
        second = functional.relu(self.bn2(self.conv2(first)))
        third = functional.relu(self.bn3(self.conv3(second)))
        return functional.relu(torch.cat([first, second, third], dim=1) + self.gate * x)


class _Hourglass(nn.Module):
    """Down four sizes and up again.

    ``down``, ``branch`` and ``merge`` are listed from the largest size, ``up`` from the smallest.
    """

    def __init__(self, block: type[_Plain] | type[_Gated]) -> None:
        super().__init__()
        self.down = nn.ModuleList([block() for _ in range(_DEPTH)])
        self.branch = nn.ModuleList([block() for _ in range(_DEPTH)])
        self.up = nn.ModuleList([block() for _ in range(_DEPTH)])
        merges = _DEPTH if block is _Gated else 0
        self.merge = nn.ModuleList([nn.Conv2d(2 * _CHANNELS, _CHANNELS, 3, padding=1) for _ in range(merges)])

    def forward(self, x: Tensor) -> Tensor:
        branches = []
        for down, branch in zip(self.down, self.branch, strict=True):
            x = down(x)
            branches.append(branch(x))
            x = functional.max_pool2d(x, 2)
        for step, (up, side) in enumerate(zip(self.up, reversed(branches), strict=True)):
            x = functional.interpolate(up(x), size=side.shape[-2:])
            x = self.merge[step](torch.cat([x, side], dim=1)) if len(self.merge) else x + side
        return x


class SeedHourglass(nn.Module):
    """Pictures (N, 3, H, W), in 0..1 -> one list entry a stack, each maps (N, keypoints, H / 4, W / 4) in 0..1."""

    def __init__(self, keypoints: int, *, stacks: int, gated: bool = False) -> None:
        super().__init__()
        block = _Gated if gated else _Plain
        self.stem_conv, self.stem_norm = nn.Conv2d(3, _CHANNELS, 7, 2), _norm(_CHANNELS)
        self.stem = nn.ModuleList([block() for _ in range(3)])
        self.hourglasses = nn.ModuleList([_Hourglass(block) for _ in range(stacks)])
        self.features = nn.ModuleList([block() for _ in range(stacks)])
        self.heads = nn.ModuleList([nn.Conv2d(_CHANNELS, keypoints, 1) for _ in range(stacks)])
        self.feature_merges = nn.ModuleList([block() for _ in range(stacks - 1)])
        self.map_merges = nn.ModuleList([nn.Conv2d(keypoints, _CHANNELS, 1) for _ in range(stacks - 1)])
        _initialise(self)

    def forward(self, pictures: Tensor) -> list[Tensor]:
        """Return the maps of every stack."""
        # TensorFlow pads "same" unevenly: two pixels before, three after.
        x = functional.relu(self.stem_norm(self.stem_conv(functional.pad(pictures, (2, 3, 2, 3)))))
        x = functional.max_pool2d(self.stem[0](x), 2)
        x = self.stem[2](self.stem[1](x))
        outputs = []
        for stack, hourglass in enumerate(self.hourglasses):
            features = self.features[stack](hourglass(x))
            outputs.append(torch.sigmoid(self.heads[stack](features)))
            if stack < len(self.map_merges):
                x = x + self.feature_merges[stack](features) + self.map_merges[stack](outputs[-1])
        return outputs


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _initialise(network: nn.Module) -> None:
    """Draw every convolution uniformly from -0.05 to 0.05, as the original does; biases are 0."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d) and part.bias is not None:
            nn.init.uniform_(part.weight, -0.05, 0.05)
            nn.init.zeros_(part.bias)


def _row(stacks: int, parameters: int, gmac: float, msra_g: float, *, gated: bool) -> Network:
    return Network(
        name=f"hourglass-seed{'-gated' if gated else ''}-s{stacks}-256x256",
        family="hourglass-seed",
        build=partial(SeedHourglass, stacks=stacks, gated=gated),
        source="borarak/human-pose-estimation 1dbf243",
        input_width_px=256,
        input_height_px=256,
        map_width=64,
        map_height=64,
        parameters=parameters,
        gmac=gmac,
        msra_g=msra_g,
        stacks=stacks,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
        geometry="box",
        encoding="one-hot",
        sigma=1.0,
        decode="argmax",
        flip_shift=0,
    )


TABLE = (
    _row(1, 3_467_025, 9.3483, 8.706, gated=False),
    _row(4, 12_482_628, 22.5108, 20.965, gated=False),
    _row(1, 11_266_833, 23.6417, 22.018, gated=True),
    _row(4, 42_526_788, 67.8562, 63.196, gated=True),
)
