"""ImageNet weights for the backbone of a network, from a file that the user has; nothing is fetched.

The files are those of torchvision and timm for ResNets, HRNets and VGG-19: ``resnet50-….pth``, ``model.safetensors``;
for ViTPose a vision transformer's of timm, MAE or mmpose; for RTMPose a CSPNeXt's of mmdetection or mmpose; for
lightweight OpenPose the MobileNet that its authors name. What belongs to the classifier (or to another head) is left
out, every other key must have its place, and every parameter of the backbone must be in the file.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional

from pose_data.errors import ModelError, UsageError
from pose_models.networks.hrnet import HRNetFeatures, OffsetHRNet
from pose_models.networks.key_map import KeyMap
from pose_models.networks.lightweight_openpose import LightweightOpenPose
from pose_models.networks.openpose import OpenPose
from pose_models.networks.resnet import ResNet, ShallowResNet
from pose_models.networks.rtmpose import CSPNeXt
from pose_models.networks.vitpose import ORIGINAL_KEYS, VisionTransformer
from pose_models.weight_file import list_keys, read_weights

__all__ = ["LoadedBackbone", "freeze_backbone", "load_backbone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedBackbone:
    """What :func:`load_backbone` did: the keys it loaded, and those of the file that it left out."""

    loaded: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """Which of a network's keys are its backbone, and which of the file's keys are the classifier's."""

    backbone: re.Pattern[str]
    classifier: re.Pattern[str]
    """Of the file's keys; what they match is left out."""
    keys: KeyMap = field(default_factory=KeyMap)
    """What the rest of the file's keys are called in the backbone."""
    fit: Callable[[Mapping[str, Tensor], Mapping[str, Tensor]], dict[str, Tensor]] = lambda given, own: dict(given)
    """Makes what is given under our names fit what the backbone has."""


_RESNET = _Rule(
    backbone=re.compile(r"(conv1|bn1|layer[1-4])\."),
    classifier=re.compile(r"fc\."),
)
_SHALLOW_RESNET = _Rule(
    # What comes after the stages that are used is left out with the classifier.
    backbone=re.compile(r"(conv1|bn1|layer[1-4])\."),
    classifier=re.compile(r"(fc|layer[34])\."),
)
_HRNET_CLASSIFIER = r"(incre_modules|downsamp_modules|final_layer|classifier)\."
_HRNET = _Rule(
    # The classifier's last exchange makes all four sizes, ours the largest only.
    backbone=re.compile(r"(conv[12]|bn[12]|layer1|transition[1-3]|stage[2-4])\."),
    classifier=re.compile(rf"{_HRNET_CLASSIFIER}|stage4\.2\.fuse_layers\.[1-3]\."),
)
_OFFSET_HRNET = _Rule(
    # Its last exchange makes four times as many channels: that one is not pretrained.
    backbone=re.compile(r"(?!stage4\.2\.fuse_layers)(conv[12]|bn[12]|layer1|transition[1-3]|stage[2-4])\."),
    classifier=re.compile(rf"{_HRNET_CLASSIFIER}|stage4\.2\.fuse_layers\."),
)


def _with_positions(given: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a vision transformer's weights with position embeddings for the backbone's patches.

    Those of a classifier are of a square of patches and of a class token, which has no place here: its embedding is
    added to all others (ViTAE-Transformer/ViTPose, backbones/vit.py), which are resized, bicubic.
    """
    fitted = {key: value for key, value in given.items() if key != "cls_token"}
    positions, wanted = given.get("pos_embed"), own["pos_embed"]
    if positions is None or positions.ndim != 3 or positions.shape == wanted.shape:
        return fitted
    side = math.isqrt(positions.shape[1] - 1)
    rows, columns = _patches(wanted.shape[1])
    if side * side != positions.shape[1] - 1 or positions.shape[2] != wanted.shape[2]:
        return fitted
    grid = positions[:, 1:].reshape(1, side, side, -1).permute(0, 3, 1, 2)
    grid = functional.interpolate(grid, size=(rows, columns), mode="bicubic", align_corners=False)
    fitted["pos_embed"] = grid.flatten(2).transpose(1, 2) + positions[:, :1]
    return fitted


def _patches(count: int) -> tuple[int, int]:
    """Return rows and columns of a network's patches: its pictures are 4 : 3."""
    columns = math.isqrt(count * 3 // 4)
    return count // columns, columns


_VIT = _Rule(
    backbone=re.compile(""),
    classifier=re.compile(r"(head|fc_norm|pre_logits|decoder_\w+|mask_token|keypoint_head|data_preprocessor)\b"),
    keys=KeyMap(rules=((r"^backbone\.", ""), *ORIGINAL_KEYS.rules, (r"^norm\.", "ln1."))),
    fit=_with_positions,
)
_VGG = _Rule(
    # The first ten convolutions; the two after them are OpenPose's own.
    backbone=re.compile(r"(\d|1\d|2[01])\."),
    classifier=re.compile(r"classifier\.|features\.(2[3-9]|3\d)\."),
    keys=KeyMap(rules=((r"^features\.", ""),)),
)
_CSPNEXT = _Rule(
    backbone=re.compile(""),
    classifier=re.compile(r"(head|neck|bbox_head|data_preprocessor)\."),
    keys=KeyMap(rules=((r"^backbone\.", ""),)),
)
_MOBILENET = _Rule(
    backbone=re.compile(""),
    classifier=re.compile(r"fc\.|model\.1[2-9]\."),
    keys=KeyMap(rules=((r"^model\.", ""),)),
)


def load_backbone(network: nn.Module, path: Path) -> LoadedBackbone:
    """Load the backbone's weights of an ImageNet classifier into ``network``, in place.

    Raises UsageError ``backbone-none`` when the network has none that takes such weights; ModelError
    ``weights-mismatch`` when keys or shapes do not fit (a ResNet-101's file for a ResNet-50, say), listing them,
    and what :func:`pose_models.weight_file.read_weights` raises. The network is not touched before all is checked.
    """
    part, rule = _backbone_of(network)
    tensors = read_weights(path)
    own = {key: value for key, value in part.state_dict().items() if rule.backbone.match(key)}
    left_out = [key for key in tensors if rule.classifier.match(key)]
    kept = {rule.keys.ours(key): value for key, value in tensors.items() if key not in left_out}
    given = rule.fit(kept, own)
    _check(own, given, path)
    part.load_state_dict(given, strict=False)
    return LoadedBackbone(loaded=tuple(given), left_out=tuple(left_out))


def freeze_backbone(network: nn.Module) -> None:
    """Take the backbone's parameters out of the training; the statistics of its norms still move.

    Raises UsageError ``backbone-none`` as :func:`load_backbone` does.
    """
    part, rule = _backbone_of(network)
    for key, parameter in part.named_parameters():
        if rule.backbone.match(key):
            parameter.requires_grad_(False)


def _backbone_of(network: nn.Module) -> tuple[nn.Module, _Rule]:
    for part in network.modules():
        if isinstance(part, ShallowResNet):
            return part, _SHALLOW_RESNET
        if isinstance(part, ResNet):
            return part, _RESNET
        if isinstance(part, VisionTransformer):
            return part, _VIT
        if isinstance(part, CSPNeXt):
            return part, _CSPNEXT
        if isinstance(part, OpenPose):
            return part.model0, _VGG
        if isinstance(part, LightweightOpenPose):
            return part.model, _MOBILENET
        if isinstance(part, OffsetHRNet):
            return part, _OFFSET_HRNET
        if isinstance(part, HRNetFeatures):
            return part, _HRNET
    raise UsageError(
        "backbone-none",
        f"{type(network).__name__} has no backbone that takes ImageNet weights",
        hint="leave the backbone's file out",
    )


def _check(own: dict[str, Tensor], given: dict[str, Tensor], path: Path) -> None:
    extra = [f"{key}: in the file only" for key in given if key not in own]
    # Files from before PyTorch 0.4.1 do not count batches; nothing depends on that count here.
    missing = [f"{key}: missing in the file" for key in own if key not in given and "num_batches" not in key]
    shapes = [
        f"{key}: {tuple(given[key].shape)} in the file, {tuple(own[key].shape)} in the network"
        for key in own.keys() & given.keys()
        if own[key].shape != given[key].shape
    ]
    wrong = [*missing, *extra, *sorted(shapes)]
    if wrong:
        raise ModelError(
            "weights-mismatch",
            f"{len(wrong)} keys of the file and the backbone do not fit:\n{list_keys(wrong)}\n ",
            where=str(path),
            hint="is the file of the same kind and size? docs/networks.md says which files are read",
        )
