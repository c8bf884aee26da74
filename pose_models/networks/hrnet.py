"""HRNet: features at up to four sizes side by side, exchanged again and again; the largest is never given up.

Names of parameters are those of the original, so its checkpoints load as they are.
Source: Sun, Xiao, Liu, Wang, Deep High-Resolution Representation Learning for Human Pose Estimation, CVPR 2019, and
leoxiaobin/deep-high-resolution-net.pytorch (MIT), lib/models/pose_hrnet.py; the offset head: Huang et al., The Devil
is in the Details: Delving into Unbiased Data Processing, CVPR 2020, and HuangJunJie2017/UDP-Pose.
"""

from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from pose_models.networks.network import Decode, Network, Output
from pose_models.networks.resnet import Basic, Bottleneck
from pose_models.networks.simple_baseline import initialise_head

__all__ = ["TABLE", "HRNet", "HRNetFeatures", "OffsetHRNet"]

_BLOCKS = 4
_MODULES = {2: 1, 3: 4, 4: 3}
"""Exchanges of the stages with 2, 3 and 4 sizes."""


class _Exchange(nn.Module):
    """Four residuals at every size, then every size is made of all; size i has ``widths[i]`` channels and 1 / 2**i.

    ``outputs`` sizes come out, the first of them with ``first_width`` channels when given.
    """

    def __init__(self, widths: tuple[int, ...], outputs: int, first_width: int | None = None) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [nn.Sequential(*(Basic(width, width) for _ in range(_BLOCKS))) for width in widths]
        )
        goals = (first_width or widths[0], *widths[1:])[:outputs]
        self.fuse_layers = nn.ModuleList(
            [
                nn.ModuleList([_path(widths, size, goal_size, goal) for size in range(len(widths))])
                for goal_size, goal in enumerate(goals)
            ]
        )

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        features = [branch(one) for branch, one in zip(self.branches, features, strict=True)]
        outputs = []
        for paths in self.fuse_layers:
            assert isinstance(paths, nn.ModuleList)
            total: Tensor = paths[0](features[0])
            for path, one in zip(list(paths)[1:], features[1:], strict=True):
                total = total + path(one)
            outputs.append(functional.relu(total))
        return outputs


class HRNetFeatures(nn.Module):
    """Pictures (N, 3, H, W) -> the largest features (N, C, H / 4, W / 4), C = ``width`` or ``last_width``."""

    def __init__(self, *, width: int, last_width: int | None = None) -> None:
        super().__init__()
        widths = (width, 2 * width, 4 * width, 8 * width)
        self.feature_channels = last_width or width
        self.conv1 = nn.Conv2d(3, 64, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, 2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(Bottleneck(64, 64), *(Bottleneck(256, 64) for _ in range(3)))
        self.transition1 = _transition((256,), widths[:2])
        self.stage2 = _stage(widths[:2])
        self.transition2 = _transition(widths[:2], widths[:3])
        self.stage3 = _stage(widths[:3])
        self.transition3 = _transition(widths[:3], widths)
        last = _Exchange(widths, 1, last_width)
        self.stage4 = nn.Sequential(*(_Exchange(widths, 4) for _ in range(_MODULES[4] - 1)), last)

    def features(self, pictures: Tensor) -> Tensor:
        """Return the largest features."""
        x = functional.relu(self.bn1(self.conv1(pictures)))
        x = self.layer1(functional.relu(self.bn2(self.conv2(x))))
        features = [change(x) for change in self.transition1]
        features = self.stage2(features)
        for transition, stage in ((self.transition2, self.stage3), (self.transition3, self.stage4)):
            # Only the new, smallest size is made here, from the smallest before it.
            features = stage([*features, transition[-1](features[-1])])
        largest: Tensor = features[0]
        return largest

    def forward(self, pictures: Tensor) -> Tensor:
        """Return :meth:`features`."""
        return self.features(pictures)


class HRNet(HRNetFeatures):
    """Pictures (N, 3, H, W) -> maps (N, keypoints, H / 4, W / 4)."""

    def __init__(self, keypoints: int, *, width: int) -> None:
        super().__init__(width=width)
        self.final_layer = nn.Conv2d(width, keypoints, 1)
        initialise_head(self)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the maps."""
        maps: Tensor = self.final_layer(self.features(pictures))
        return maps


class OffsetHRNet(HRNetFeatures):
    """UDP's offset head: (N, 3, H, W) -> (N, 3 keypoints, H / 4, W / 4), for each keypoint a map and x, y offsets.

    The last exchange gives four times as many channels to the largest size.
    """

    def __init__(self, keypoints: int, *, width: int) -> None:
        super().__init__(width=width, last_width=4 * width)
        self.final_layer = nn.Conv2d(4 * width, 3 * keypoints, 1)
        initialise_head(self)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return maps and offsets, interleaved."""
        maps: Tensor = self.final_layer(self.features(pictures))
        return maps


def _conv_norm(channels: int, channels_out: int, kernel: int, stride: int = 1, *, relu: bool = True) -> nn.Sequential:
    parts: list[nn.Module] = [
        nn.Conv2d(channels, channels_out, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
    ]
    return nn.Sequential(*parts, nn.ReLU(inplace=True)) if relu else nn.Sequential(*parts)


def _path(widths: tuple[int, ...], size: int, goal_size: int, goal: int) -> nn.Module:
    """Return what brings the features of ``size`` to ``goal_size`` with ``goal`` channels."""
    width = widths[size]
    if size == goal_size:
        return nn.Identity() if width == goal else nn.Sequential(nn.Conv2d(width, goal, 1, bias=False))
    if size > goal_size:
        enlarge = nn.Upsample(scale_factor=2 ** (size - goal_size), mode="nearest")
        return nn.Sequential(*_conv_norm(width, goal, 1, relu=False), enlarge)
    steps = [_conv_norm(width, width, 3, 2) for _ in range(goal_size - size - 1)]
    return nn.Sequential(*steps, _conv_norm(width, goal, 3, 2, relu=False))


def _stage(widths: tuple[int, ...]) -> nn.Sequential:
    return nn.Sequential(*(_Exchange(widths, len(widths)) for _ in range(_MODULES[len(widths)])))


def _transition(before: tuple[int, ...], after: tuple[int, ...]) -> nn.ModuleList:
    """Return what makes each size of the next stage: sizes that stay are unchanged, but for the first transition."""
    if len(before) == 1:
        return nn.ModuleList([_conv_norm(before[0], after[0], 3), nn.Sequential(_conv_norm(before[0], after[1], 3, 2))])
    same: list[nn.Module] = [nn.Identity() for _ in before]
    return nn.ModuleList([*same, nn.Sequential(_conv_norm(before[-1], after[-1], 3, 2))])


_ORIGINAL = "leoxiaobin/deep-high-resolution-net.pytorch 6f69e46"
_DARK = "ilovepose/DarkPose 0185b42"
_UDP = "HuangJunJie2017/UDP-Pose 096fa07"
_MMPOSE = "open-mmlab/mmpose 759b39c"
_CONVENTIONS: dict[str, tuple[str, str, Decode, int]] = {
    "": ("msra", "gaussian", "quarter", 1),
    "-dark": ("dark", "unbiased", "dark", 0),
    "-udp": ("udp", "udp", "udp", 0),
    "-udp-offset": ("udp", "udp", "udp-offset", 0),
}
"""Variant -> geometry, encoding, decoding and flip shift."""


def _row(
    width: int,
    width_px: int,
    sizes: tuple[int, float, float],
    ap: float,
    *,
    variant: str = "",
    source: str = _ORIGINAL,
    boxes: str = "56.4",
) -> Network:
    height_px = width_px * 4 // 3
    geometry, encoding, decode, flip_shift = _CONVENTIONS[variant]
    output: Output = "offset-maps" if variant == "-udp-offset" else "maps"
    return Network(
        name=f"hrnet-w{width}{variant}-{height_px}x{width_px}",
        family="hrnet",
        build=partial(OffsetHRNet if output == "offset-maps" else HRNet, width=width),
        source=source,
        input_width_px=width_px,
        input_height_px=height_px,
        map_width=width_px // 4,
        map_height=height_px // 4,
        parameters=sizes[0],
        gmac=sizes[1],
        msra_g=sizes[2],
        output=output,
        published_ap=ap,
        published_with=f"boxes of person AP {boxes}, flip test",
        geometry=geometry,
        encoding=encoding,
        decode=decode,
        flip_shift=flip_shift,
        # The offsets' radius of the first version; later ones have 4 (UDP-Pose, lib/config/default.py, LOSS.KPD).
        sigma=3.5 if output == "offset-maps" else {96: 1.0, 192: 2.0, 288: 3.0}[width_px],
        # DarkPose, experiments/coco/hrnet: BLUR_KERNEL is 3 in w32_128x96 and 11 in all others.
        blur_kernel=3 if (variant, width, width_px) == ("-dark", 32, 96) else 0,
        backbone=f"hrnet_w{width}",
    )


_W32 = (28_536_113, 7.645, 7.12)
_W32_LARGE = (28_536_113, 17.2013, 16.02)
_W48 = (63_595_745, 15.6918, 14.614)
_W48_LARGE = (63_595_745, 35.3066, 32.882)
_W32_OFFSET = (28_589_811, 7.6842, 7.156)

TABLE = (
    _row(32, 192, _W32, 74.4),
    _row(32, 288, _W32_LARGE, 75.8),
    _row(48, 192, _W48, 75.1),
    _row(48, 288, _W48_LARGE, 76.3),
    _row(32, 96, (28_536_113, 1.9113, 1.78), 70.7, variant="-dark", source=_DARK),
    _row(48, 96, (63_595_745, 3.923, 3.654), 71.9, variant="-dark", source=_DARK),
    _row(32, 192, _W32, 75.6, variant="-dark", source=_DARK),
    _row(32, 288, _W32_LARGE, 76.6, variant="-dark", source=_DARK),
    _row(48, 288, _W48_LARGE, 76.8, variant="-dark", source=_DARK),
    _row(32, 192, _W32, 76.2, variant="-udp", source=_MMPOSE),
    _row(32, 288, _W32_LARGE, 76.8, variant="-udp", source=_MMPOSE),
    _row(48, 192, _W48, 76.8, variant="-udp", source=_MMPOSE),
    _row(48, 288, _W48_LARGE, 77.3, variant="-udp", source=_MMPOSE),
    _row(32, 192, _W32_OFFSET, 77.2, variant="-udp-offset", source=f"{_UDP} (v1)", boxes="65.1"),
)
