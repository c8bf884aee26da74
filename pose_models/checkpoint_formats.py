"""What published weights files look like, and the conventions of the weights in them, in one table.

A row says for which networks of the catalogue a kind of file is, what its keys are called here, which keys may be
absent or are left out and why, and where its weights want other conventions than the catalogue's, which are those of
the network's first publication. Whose keys they are was compared with the state dicts of the repositories themselves.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from torch import Tensor

from pose_data.limbs import OPENPOSE_PERSON
from pose_data.recipes import Recipe, build_recipe
from pose_data.skeleton import COCO_PERSON, MPII_PERSON, Skeleton
from pose_models.conventions import Conventions, conventions_of_weights
from pose_models.losses import SIMCC_RULES, SimccRule
from pose_models.networks.hourglass import NARROW_KEYS, WIDE_KEYS
from pose_models.networks.key_map import KeyMap
from pose_models.networks.network import Network
from pose_models.networks.openpose import CAFFE_KEYS
from pose_models.networks.vitpose import ORIGINAL_KEYS
from pose_models.position_embeddings import fitted, without_class_token

__all__ = ["FORMATS", "CheckpointFormat", "Exempt", "formats_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exempt:
    """Keys that need no partner on the other side, by a regular expression that matches them whole; and why."""

    pattern: str
    reason: str

    def covers(self, key: str) -> bool:
        """Return whether the key is one of these."""
        return re.fullmatch(self.pattern, key) is not None


_COUNTERS = Exempt(pattern=r"(.*\.)?num_batches_tracked", reason="written since PyTorch 0.4.1; no output depends on it")


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFormat:
    """One kind of weights file."""

    name: str
    """What ``posetrain export --format`` calls it; rows of one name differ in the networks that they are for."""
    networks: str
    """A regular expression that matches whole names of the catalogue."""
    source: str
    """Whose files look so."""
    keys: KeyMap = field(default_factory=KeyMap)
    """From the file's keys to ours."""
    back: KeyMap | None = None
    """From ours to the file's; None: such files are read only."""
    every: str = ""
    """A regular expression that every key of the file begins with."""
    left_out: tuple[Exempt, ...] = ()
    """Keys of the file, by its own names, that the network has no use for."""
    absent: tuple[Exempt, ...] = (_COUNTERS,)
    """Keys of the network that the file need not have; they are 0 then."""
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of :class:`pose_models.networks.network.Network` that these weights want otherwise."""
    cell_shift: float = 0.0
    """See :class:`pose_models.conventions.Conventions`."""
    simcc: SimccRule | None = None
    """How SimCC vectors are read."""
    recipe: Recipe | None = None
    """How whole pictures are prepared, for networks that look at them."""
    prepare: Callable[[dict[str, Tensor], Network], tuple[str, ...]] | None = None
    """Makes the network's tensors of the file's, by our keys, in place; returns what it did, for a person to read."""
    skeletons: tuple[Skeleton, ...] = (COCO_PERSON,)
    """The keypoints that such weights may be for, told apart by their number."""

    def ours(self, key: str) -> str | None:
        """Return our name of the file's key; None where it cannot be one of such a file."""
        return self.keys.ours(key) if re.match(self.every, key) else None

    def theirs(self, key: str) -> str:
        """Return what such files call our key. Raises ValueError for a kind that is read only, or a key it has not."""
        theirs = self.back.ours(key) if self.back is not None else ""
        if not theirs or self.ours(theirs) != key:
            raise ValueError(f"files of the kind {self.name} have no name for {key}")
        return theirs

    def facts(self, network: Network) -> Network:
        """Return the network's facts with the conventions of these weights."""
        return replace(network, **self.changes)

    def conventions(self, network: Network, skeleton: Skeleton) -> Conventions:
        """Return all that inference with these weights needs."""
        return conventions_of_weights(
            self.facts(network), skeleton, rule=self.simcc, cell_shift=self.cell_shift, recipe=self.recipe
        )


_MMPOSE = KeyMap(rules=((r"^(backbone|head|keypoint_head)\.", ""),))
_TO_MMPOSE = KeyMap(rules=((r"^(?!deconv_layers\.|final_layer\.)", "backbone."), (r"^(?!backbone\.)", "head.")))
_OF_MMPOSE = r"(backbone|head|keypoint_head)\."
_PREPROCESSOR = Exempt(
    pattern=r"data_preprocessor\.(mean|std)",
    reason="the colours' mean and deviation, which are part of the conventions",
)
# open-mmlab/mmpose 759b39c: every configuration of these has bgr_to_rgb and ImageNet's mean and deviation.
_RGB: Mapping[str, Any] = MappingProxyType({"colour_order": "rgb"})
# The same, td-hm_hrnet-w32_dark: MSRAHeatmap(unbiased=True), shift_heatmap=True, TopdownAffine without use_udp.
_MMPOSE_DARK: Mapping[str, Any] = MappingProxyType({"geometry": "msra", "flip_shift": 1, "blur_kernel": 11})
# UDPHeatmap: a blur of 11 with zeros outside, where UDP-Pose's has one of 7.
_MMPOSE_UDP: Mapping[str, Any] = MappingProxyType({"decode": "udp-mmpose"})
_DEAD_SKIPS = Exempt(
    pattern=r"(stem\.1|stacks\..*\.(branch|down|up|inner)|stacks\.\d+\.residual)\.skip\.(weight|bias)",
    reason="princeton's residuals have a projection even where the identity is used: in the file, never computed",
)
# bearpaw/pytorch-pose, pose/utils/evaluation.py and imutils.py; princeton-vl, utils/group.py and data/MPII/dp.py: the
# Gaussian stands on the truncated cell, half a cell is added when it is read back, mirrored maps are not moved.
_SIMCC_OF_MMPOSE = KeyMap(rules=((r"^(backbone\.|head\.deconv_head\.|head\.)", ""),))
_SIMCC_TO_MMPOSE = KeyMap(
    rules=(
        (r"^mlp_head_", "head.mlp_head_"),
        (r"^(deconv_layers|final_layer)\.", r"head.deconv_head.\1."),
        (r"^(?!head\.)", "backbone."),
    )
)
# open-mmlab/mmpose 759b39c, configs/body_2d_keypoint/simcc/coco: SimCCLabel(sigma=6.0, simcc_split_ratio=2.0) at both
# sizes; its decoder takes the outputs as they are, and scores are rescored above 0.2.
_MMPOSE_SIMCC: Mapping[str, Any] = MappingProxyType({"colour_order": "rgb", "sigma": 6.0})
_AS_IT_IS = SimccRule(softmax=0.0, least_score=0.2)
_TRUNCATED: Mapping[str, Any] = MappingProxyType({"flip_shift": 0})

FORMATS: tuple[CheckpointFormat, ...] = (
    CheckpointFormat(
        name="msra", networks=r"simplebaseline-.*", back=KeyMap(),
        source="microsoft/human-pose-estimation.pytorch; the ResNets of leoxiaobin/deep-high-resolution-net.pytorch",
    ),
    CheckpointFormat(
        name="msra", networks=r"hrnet-.*", back=KeyMap(),
        source="leoxiaobin/deep-high-resolution-net.pytorch, ilovepose/DarkPose, HuangJunJie2017/UDP-Pose",
    ),
    CheckpointFormat(
        name="mmpose", networks=r"simplebaseline-.*", keys=_MMPOSE, back=_TO_MMPOSE, every=_OF_MMPOSE,
        left_out=(_PREPROCESSOR,), changes=_RGB, source="open-mmlab/mmpose 0.x and 1.x, ResNet with a heatmap head",
    ),
    CheckpointFormat(
        name="mmpose", networks=r"hrnet-w\d+-\d+x\d+", keys=_MMPOSE, back=_TO_MMPOSE, every=_OF_MMPOSE,
        left_out=(_PREPROCESSOR,), source="open-mmlab/mmpose 0.x and 1.x, HRNet with a heatmap head",
    ),
    CheckpointFormat(
        name="mmpose", networks=r"hrnet-w\d+-udp-\d+x\d+", keys=_MMPOSE, back=_TO_MMPOSE, every=_OF_MMPOSE,
        left_out=(_PREPROCESSOR,), changes=_MMPOSE_UDP, source="open-mmlab/mmpose 0.x and 1.x, HRNet with UDP",
    ),
    CheckpointFormat(
        name="mmpose", networks=r"hrnet-w\d+-dark-.*", keys=_MMPOSE, back=_TO_MMPOSE, every=_OF_MMPOSE,
        left_out=(_PREPROCESSOR,), changes=_MMPOSE_DARK,
        source="open-mmlab/mmpose 0.x and 1.x, HRNet with DARK",
    ),
    CheckpointFormat(
        name="mmpose", networks=r"hourglass52-.*", keys=KeyMap(rules=((r"^keypoint_head\.", "head."),)), back=KeyMap(),
        every=_OF_MMPOSE, left_out=(_PREPROCESSOR,), source="open-mmlab/mmpose 0.x and 1.x, hourglass-52",
    ),
    CheckpointFormat(
        name="msra", networks=r"simcc-r50-384x288|simcc-w48-384x288", back=KeyMap(), simcc=SIMCC_RULES["simcc-kl"],
        source="leeyegy/SimCC, Gaussian labels (sa_simdr)",
    ),
    CheckpointFormat(
        name="msra", networks=r"simcc-(?!(r50|w48)-384x288|seed)[rw]\d+.*", back=KeyMap(), simcc=SIMCC_RULES["nmt"],
        source="leeyegy/SimCC, hard labels (simdr)",
    ),
    CheckpointFormat(
        name="mmpose", networks=r"simcc-r\d+-\d+x\d+", keys=_SIMCC_OF_MMPOSE, back=_SIMCC_TO_MMPOSE, every=_OF_MMPOSE,
        left_out=(_PREPROCESSOR,), changes=_MMPOSE_SIMCC, simcc=_AS_IT_IS,
        source="open-mmlab/mmpose 1.x, SimCC on a ResNet",
    ),
    CheckpointFormat(
        name="mmpose", networks=r"rtmpose-.*", back=KeyMap(), every=_OF_MMPOSE, left_out=(_PREPROCESSOR,),
        simcc=SIMCC_RULES["rtmpose-kl"], source="open-mmlab/mmpose 1.x, RTMPose",
    ),
    CheckpointFormat(
        name="mmpose", networks=r"vitpose-.*", back=KeyMap(), every=_OF_MMPOSE, left_out=(_PREPROCESSOR,),
        changes=_MMPOSE_UDP, prepare=fitted, source="open-mmlab/mmpose 1.x, ViTPose",
    ),
    CheckpointFormat(
        name="vitpose", networks=r"vitpose-.*", keys=ORIGINAL_KEYS, every=r"(backbone|keypoint_head)\.",
        changes=_MMPOSE_UDP, prepare=without_class_token, source="ViTAE-Transformer/ViTPose",
    ),
    CheckpointFormat(
        name="darkpose", networks=r"hourglass-s\d+-128x96", keys=WIDE_KEYS, source="ilovepose/DarkPose",
    ),
    CheckpointFormat(
        name="bearpaw", networks=r"hourglass-s\d+-256x(256|192)", keys=WIDE_KEYS, changes=_TRUNCATED, cell_shift=0.5,
        skeletons=(MPII_PERSON, COCO_PERSON), source="bearpaw/pytorch-pose, anibali/pytorch-stacked-hourglass",
    ),
    CheckpointFormat(
        name="princeton", networks=r"hourglass-princeton-.*", keys=NARROW_KEYS, absent=(_COUNTERS, _DEAD_SKIPS),
        changes=_TRUNCATED, cell_shift=0.5, skeletons=(MPII_PERSON, COCO_PERSON),
        source="princeton-vl/pytorch_stacked_hourglass",
    ),
    CheckpointFormat(
        name="princeton", networks=r"hourglass-gated-.*", keys=NARROW_KEYS, changes=_TRUNCATED, cell_shift=0.5,
        skeletons=(MPII_PERSON, COCO_PERSON), source="dkurzend/Soft_Gated_Pose_Estimation_Pytorch",
    ),
    CheckpointFormat(
        name="openpose", networks=r"openpose-.*", keys=CAFFE_KEYS, every=r"(model\d(_\d)?\.)?M?conv\d",
        skeletons=(OPENPOSE_PERSON,), recipe=build_recipe("openpose-368"),
        source="Hzzone/pytorch-openpose (CMU's weights)",
    ),
    CheckpointFormat(
        name="tensorboy", networks=r"openpose-.*", every=r"model\d(_\d)?\.\d+\.", skeletons=(OPENPOSE_PERSON,),
        recipe=build_recipe("openpose-368", limbs="tensorboy"), back=KeyMap(),
        source="tensorboy/pytorch_Realtime_Multi-Person_Pose_Estimation",
    ),
    CheckpointFormat(
        name="lightweight-openpose", networks=r"lightweight-openpose-.*", skeletons=(OPENPOSE_PERSON,), back=KeyMap(),
        recipe=build_recipe("lightweight-openpose-368"),
        source="Daniil-Osokin/lightweight-human-pose-estimation.pytorch",
    ),
)  # fmt: skip


def formats_of(network: Network) -> tuple[CheckpointFormat, ...]:
    """Return the kinds of file that hold weights of this network; none for a network that nobody published."""
    return tuple(row for row in FORMATS if re.fullmatch(row.networks, network.name))
