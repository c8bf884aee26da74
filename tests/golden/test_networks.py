"""Outputs of every network, with weights made from names, against what the reference implementations computed.

The weights are those of ``peer_golden/keyed.py`` for the reference's own keys and shapes, so each test also shows
that every key of the reference's files has its place in our network and the other way round.
"""

import pytest
import torch

from pose_models.networks.catalogue import NETWORKS
from pose_models.networks.hourglass import NARROW_KEYS, WIDE_KEYS
from pose_models.networks.key_map import KeyMap
from pose_models.networks.openpose import CAFFE_KEYS
from pose_models.networks.simcc import MMPOSE_SIMCC_KEYS, SEED_SIMCC_KEYS
from pose_models.networks.unet import UNet

TOLERANCE = 1e-5
"""Greatest difference, as a share of the greatest value of the reference's output."""

SAME = KeyMap()
MMPOSE = KeyMap(rules=((r"^backbone\.", ""), (r"^head\.", "")))


def with_keyed_weights(references, case, network, key_map):
    """Return a network, made without memory, with the reference's weights under our names; nothing may be left."""
    state = {key_map.ours(key): value for key, value in references.state(case).items()}
    assert len(state) == len(references.keys[f"{case}-keyed"]), "two keys of the reference became one"
    network.load_state_dict(state, strict=True, assign=True)
    assert sum(parameter.numel() for parameter in network.parameters()) == references.facts[f"{case}-keyed"]["params"]
    return network


CASES = [
    # (golden name, network, keypoints, keys, stacked: the reference joins its outputs in dimension 1)
    ("sb_resnet50_256x192", "simplebaseline-r50-256x192", 17, SAME),
    ("sb_resnet50_384x288", "simplebaseline-r50-384x288", 17, SAME),
    ("sb_resnet101_256x192", "simplebaseline-r101-256x192", 17, SAME),
    ("sb_resnet152_256x192", "simplebaseline-r152-256x192", 17, SAME),
    ("mm_td-hm_res50_8xb64-210e_coco-256x192", "simplebaseline-r50-256x192", 17, MMPOSE),
    ("dark_hg4_128x96", "hourglass-s4-128x96", 17, WIDE_KEYS),
    ("dark_hg8_128x96", "hourglass-s8-128x96", 17, WIDE_KEYS),
    ("hg_bearpaw_s1b1_d256_k16_256x256", "hourglass-s1-256x256", 16, WIDE_KEYS),
    ("hg_bearpaw_s1b1_d256_k17_256x256", "hourglass-s1-256x256", 17, WIDE_KEYS),
    ("hg_bearpaw_s2b1_d256_k16_256x256", "hourglass-s2-256x256", 16, WIDE_KEYS),
    ("hg_princeton_s2b1_d256_k16_256x256", "hourglass-princeton-s2-256x256", 16, NARROW_KEYS),
    ("hg_gated_s4b1_d144_k16_256x256", "hourglass-gated-4x144-256x256", 16, NARROW_KEYS),
    ("mm_td-hm_hourglass52_8xb32-210e_coco-256x256", "hourglass52-256x256", 17, SAME),
    ("hrnet_w32_256x192", "hrnet-w32-256x192", 17, SAME),
    ("hrnet_w48_256x192", "hrnet-w48-256x192", 17, SAME),
    ("mm_td-hm_hrnet-w32_8xb64-210e_coco-256x192", "hrnet-w32-256x192", 17, MMPOSE),
    ("simcc_nmt_res50_256x192_d256x3_adam_lr1e-3_deconv3_split2", "simcc-r50-256x192", 17, SAME),
    ("simcc_nmt_res50_256x192_d256x3_adam_lr1e-3_split_2_cpj28", "simcc-r50-direct-256x192", 17, SAME),
    ("simcc_nmt_w32_256x192_adam_lr1e-3", "simcc-w32-256x192", 17, SAME),
    ("simcc_w48_256x192_adam_lr1e-3_split2_sigma4", "simcc-w48-256x192", 17, SAME),
    ("mm_simcc_res50_8xb64-210e_coco-256x192", "simcc-r50-256x192", 17, MMPOSE_SIMCC_KEYS),
    ("seed_simcc_256x192", "simcc-seed-256x192", 17, SEED_SIMCC_KEYS),
    ("mm_rtmpose-t_8xb256-420e_coco-256x192", "rtmpose-t-256x192", 17, SAME),
    ("mm_rtmpose-s_8xb256-420e_coco-256x192", "rtmpose-s-256x192", 17, SAME),
    ("mm_rtmpose-m_8xb256-420e_coco-256x192", "rtmpose-m-256x192", 17, SAME),
    ("mm_rtmpose-l_8xb256-420e_coco-256x192", "rtmpose-l-256x192", 17, SAME),
    ("mm_td-hm_ViTPose-small_8xb64-210e_coco-256x192", "vitpose-small-256x192", 17, SAME),
    ("mm_td-hm_ViTPose-base_8xb64-210e_coco-256x192", "vitpose-base-256x192", 17, SAME),
    ("mm_td-hm_ViTPose-base-simple_8xb64-210e_coco-256x192", "vitpose-base-simple-256x192", 17, SAME),
    ("udp_w32_offset", "hrnet-w32-udp-offset-256x192", 17, SAME),
]
LARGE = [
    ("hrnetrepo_res50_256x192", "simplebaseline-r50-256x192", 17, SAME),
    ("udp_res50", "simplebaseline-r50-256x192", 17, SAME),
    ("simcc_nmt_res50_384x288_d256x3_adam_lr1e-3_deconv3", "simcc-r50-384x288", 17, SAME),
    ("simcc_nmt_w48_256x192_adam_lr1e-3", "simcc-w48-256x192", 17, SAME),
    ("mm_td-hm_ViTPose-large_8xb64-210e_coco-256x192", "vitpose-large-256x192", 17, SAME),
    ("mm_td-hm_ViTPose-huge_8xb64-210e_coco-256x192", "vitpose-huge-256x192", 17, SAME),
    ("simcc_res50_384x288_d256x3_adam_lr1e-3_deconv3_split2_sigma6", "simcc-r50-384x288", 17, SAME),
    ("hrnet_w32_384x288", "hrnet-w32-384x288", 17, SAME),
    ("hrnet_w48_384x288", "hrnet-w48-384x288", 17, SAME),
    ("mm_td-hm_hrnet-w48_8xb32-210e_coco-256x192", "hrnet-w48-256x192", 17, MMPOSE),
    ("sb_resnet101_384x288", "simplebaseline-r101-384x288", 17, SAME),
    ("sb_resnet152_384x288", "simplebaseline-r152-384x288", 17, SAME),
    ("hg_bearpaw_s8b1_d256_k16_256x256", "hourglass-s8-256x256", 16, WIDE_KEYS),
    ("hg_bearpaw_s8b1_d256_k17_256x192", "hourglass-s8-256x192", 17, WIDE_KEYS),
    ("hg_princeton_s8b1_d256_k16_256x256", "hourglass-princeton-s8-256x256", 16, NARROW_KEYS),
    ("hg_gated_s4b1_d256_k16_256x256", "hourglass-gated-4x256-256x256", 16, NARROW_KEYS),
]


@pytest.mark.parametrize(
    ("case", "network", "keypoints", "key_map"),
    [pytest.param(*case, id=case[0]) for case in CASES]
    + [pytest.param(*case, id=case[0], marks=pytest.mark.slow) for case in LARGE],
)
def test_outputs(references, case, network, keypoints, key_map):
    with torch.device("meta"):
        ours = NETWORKS[network].build(keypoints)
    with_keyed_weights(references, case, ours, key_map)
    height_px, width_px = references.facts[f"{case}-keyed"]["input"][2:]
    assert (height_px, width_px) == (NETWORKS[network].input_height_px, NETWORKS[network].input_width_px)
    assert references.worst_difference(case, ours) <= TOLERANCE


OPENPOSE = [
    # (golden name, network, keys, how the reference orders its outputs)
    pytest.param("openpose_tensorboy_368x368", "openpose-368x368", SAME, "tensorboy", marks=pytest.mark.slow),
    pytest.param("openpose_hzzone_368x368", "openpose-368x368", CAFFE_KEYS, "hzzone", marks=pytest.mark.slow),
    ("openpose_lightweight_r1_368x368", "lightweight-openpose-368x368", SAME, "stages"),
    ("openpose_lightweight_r3_368x368", "lightweight-openpose-r3-368x368", SAME, "stages"),
]


@pytest.mark.parametrize(("case", "network", "key_map", "order"), OPENPOSE)
def test_outputs_of_bottom_up_networks(references, case, network, key_map, order):
    with torch.device("meta"):
        ours = NETWORKS[network].build(18)
    with_keyed_weights(references, case, ours, key_map)
    assert references.worst_difference(case, ours, order=order) <= TOLERANCE


def test_outputs_of_the_conditioned_unet(references, keyed):
    with torch.device("meta"):
        ours = UNet(13)
    with_keyed_weights(references, "seed_shade_320x320", ours, SAME)
    given = [
        torch.from_numpy(keyed.fixed_input(320, 320)),
        torch.from_numpy(keyed.fixed_input(10, 10, channels=128, name="features")),
    ]
    # The reference's own float32 outputs are 2.7e-5 away from those of exact arithmetic, and how far another float32
    # run is depends on the processor's kernels and on the number of threads. So the network is compared in float64,
    # where nothing depends on either, and float32 may be off as far again.
    exact = references.worst_difference(
        "seed_shade_320x320", ours.double(), inputs=[values.double() for values in given], tolerance=3e-5
    )
    assert exact <= 3e-5
    assert references.worst_difference("seed_shade_320x320", ours.float(), inputs=given, tolerance=6e-5) <= 6e-5
