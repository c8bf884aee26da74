"""OpenPose's network: VGG-19's first ten convolutions, and six stages that each predict fields and maps anew.

Every stage but the first sees the features and the stage before. :data:`CAFFE_KEYS` leads from the flat Caffe names of
CMU's weights, as Hzzone/pytorch-openpose loads them, to ours, which are those of the other port.
Source: Cao et al., Realtime Multi-Person 2D Pose Estimation using Part Affinity Fields, CVPR 2017;
tensorboy/pytorch_Realtime_Multi-Person_Pose_Estimation 02174bc and Hzzone/pytorch-openpose 5ee71dc (no licence; no code
taken).
"""

from functools import partial

import torch
from torch import Tensor, nn

from pose_models.networks.key_map import KeyMap
from pose_models.networks.network import Network

__all__ = ["CAFFE_KEYS", "PIXEL_MEAN", "PIXEL_STD", "TABLE", "OpenPose"]

PIXEL_MEAN = (128 / 255, 128 / 255, 128 / 255)
PIXEL_STD = (256 / 255, 256 / 255, 256 / 255)
"""What makes x / 256 - 0.5 of pixels x in 0 … 255."""

_VGG = (64, 64, 0, 128, 128, 0, 256, 256, 256, 256, 0, 512, 512, 256, 128)
"""Channels of the convolutions; 0 is a pooling."""
_FEATURES = 128


def _caffe_rules() -> tuple[tuple[str, str], ...]:
    names = ("conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1", "conv3_2", "conv3_3", "conv3_4", "conv4_1",
             "conv4_2", "conv4_3_CPM", "conv4_4_CPM")  # fmt: skip
    places = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25)
    vgg = [(rf"^(model0\.)?{name}\.", f"model0.{place}.") for name, place in zip(names, places, strict=True)]
    first = [
        (rf"^(model1_\d\.)?conv5_{number}_CPM_L([12])\.", rf"model1_\2.{2 * number - 2}.") for number in range(1, 6)
    ]
    later = [
        (rf"^(model\d_\d\.)?Mconv{number}_stage(\d)_L([12])\.", rf"model\2_\3.{2 * number - 2}.")
        for number in range(1, 8)
    ]
    return (*vgg, *first, *later)


CAFFE_KEYS = KeyMap(rules=_caffe_rules())
"""CMU's Caffe names, with or without the prefixes of Hzzone's modules, in ours."""


class OpenPose(nn.Module):
    """Pictures (N, 3, H, W) -> for each stage maps (N, keypoints + 1, H / 8, W / 8) and fields (N, 2 limbs, …).

    The last stage's are last; the last map of each is the background.
    """

    def __init__(self, keypoints: int, *, limbs: int = 19, stages: int = 6) -> None:
        super().__init__()
        self._stages = stages
        channels, fields = keypoints + 1, 2 * limbs
        self.model0 = _vgg()
        joined = _FEATURES + channels + fields
        for stage in range(1, stages + 1):
            for branch, outputs in ((1, fields), (2, channels)):
                layers = _first_stage(outputs) if stage == 1 else _later_stage(joined, outputs)
                self.add_module(f"model{stage}_{branch}", layers)
        _initialise(self)

    def forward(self, pictures: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return maps and fields of every stage."""
        features = self.model0(pictures)
        seen, outputs = features, []
        for stage in range(1, self._stages + 1):
            fields = self.get_submodule(f"model{stage}_1")(seen)
            maps = self.get_submodule(f"model{stage}_2")(seen)
            outputs.append((maps, fields))
            seen = torch.cat([fields, maps, features], dim=1)
        return outputs


def _vgg() -> nn.Sequential:
    layers: list[nn.Module] = []
    before = 3
    for channels in _VGG:
        if channels:
            layers += [nn.Conv2d(before, channels, 3, padding=1), nn.ReLU(inplace=True)]
            before = channels
        else:
            layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _convolutions(channels: int, outputs: tuple[tuple[int, int], ...]) -> nn.Sequential:
    """Return convolutions to ``outputs`` (channels, kernel), with a ReLU after each but the last."""
    layers: list[nn.Module] = []
    for width, kernel in outputs:
        layers += [nn.Conv2d(channels, width, kernel, padding=kernel // 2), nn.ReLU(inplace=True)]
        channels = width
    return nn.Sequential(*layers[:-1])


def _first_stage(outputs: int) -> nn.Sequential:
    return _convolutions(_FEATURES, ((128, 3), (128, 3), (128, 3), (512, 1), (outputs, 1)))


def _later_stage(channels: int, outputs: int) -> nn.Sequential:
    return _convolutions(channels, (*((128, 7),) * 5, (128, 1), (outputs, 1)))


def _initialise(network: OpenPose) -> None:
    """Draw the stages' weights from a normal distribution of std 0.01, as tensorboy's port and Caffe's model do.

    Both take VGG-19's own from an ImageNet classifier; here they are He's, as torchvision begins. Biases are 0.
    """
    features = set(network.model0.modules())
    for part in network.modules():
        if isinstance(part, nn.Conv2d) and part.bias is not None:
            nn.init.zeros_(part.bias)
            if part in features:
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
            else:
                nn.init.normal_(part.weight, std=0.01)


TABLE = (
    Network(
        name="openpose-368x368",
        family="openpose",
        build=partial(OpenPose, limbs=19),
        source="Cao et al. 2017; tensorboy/pytorch_Realtime_Multi-Person_Pose_Estimation 02174bc",
        input_width_px=368,
        input_height_px=368,
        map_width=46,
        map_height=46,
        parameters=52_311_446,
        gmac=135.934,
        msra_g=126.598,
        keypoints=18,
        stacks=6,
        output="maps-and-fields",
        published_ap=48.6,
        published_with="no boxes, one scale (58.4 with six)",
        colour_order="bgr",
        mean=PIXEL_MEAN,
        std=PIXEL_STD,
        sigma=7 / 8,
        decode="argmax",
        flip_shift=0,
        backbone="vgg19",
    ),
)
