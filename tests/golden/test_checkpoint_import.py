"""Original weights files, rebuilt with the reference's keys and wrappers, imported and run: the reference's outputs."""

import re
import shutil

import pytest
import torch

from pose_models.checkpoint_export import export_weights
from pose_models.checkpoint_fit import best_fit
from pose_models.checkpoint_formats import formats_of
from pose_models.checkpoint_import import import_checkpoint
from pose_models.evaluate import load_network
from pose_models.networks.catalogue import NETWORKS
from pose_models.weight_file import read_weights

TOLERANCE = 1e-5


def plain(state):
    return state


def data_parallel(state):
    """Return what SimpleBaseline's and HRNet's trainers save at the end of an epoch."""
    wrapped = {f"module.{key}": value for key, value in state.items()}
    return {"epoch": 3, "model": "pose", "state_dict": wrapped, "perf": 0.7, "optimizer": {"state": {}}}


def princeton(state):
    return {"state_dict": {f"model.module.{key}": value for key, value in state.items()}, "epoch": 3}


def wrapped(state):
    return {"state_dict": state, "iter": 370000}


def mmpose(state):
    return {"meta": {"epoch": 210, "dataset_meta": {"CLASSES": "person"}}, "state_dict": state}


def mmpose_0(state):
    """Return the form of mmpose 0.x, which calls the head otherwise."""
    renamed = {key.replace("head.", "keypoint_head.") if key.startswith("head.") else key: state[key] for key in state}
    return {"meta": {}, "state_dict": renamed}


def original_vitpose(state):
    """Return the form of ViTPose's own repository: other names, and a class token's embedding before the patches'."""
    token = 0.25 * state["backbone.pos_embed"][:, :1]
    positions = torch.cat([token, state["backbone.pos_embed"] - token], dim=1)
    renamed = {}
    for key, value in state.items():
        for ours, theirs in VITPOSE_NAMES.items():
            key = re.sub(ours, theirs, key)
        renamed[key] = value
    return {"state_dict": {**renamed, "backbone.pos_embed": positions}}


VITPOSE_NAMES = {
    r"^head\.": "keypoint_head.",
    r"patch_embed\.projection": "patch_embed.proj",
    r"layers\.(\d+)\.ln([12])": r"blocks.\1.norm\2",
    r"backbone\.layers\.(\d+)\.attn": r"backbone.blocks.\1.attn",
    r"layers\.(\d+)\.ffn\.layers\.0\.0": r"blocks.\1.mlp.fc1",
    r"layers\.(\d+)\.ffn\.layers\.1": r"blocks.\1.mlp.fc2",
    r"backbone\.ln1": "backbone.last_norm",
}

CASES = [
    # (golden name, network, wrapper, format to write it back in)
    ("sb_resnet50_256x192", "simplebaseline-r50-256x192", plain, "msra"),
    ("mm_td-hm_res50_8xb64-210e_coco-256x192", "simplebaseline-r50-256x192", mmpose, "mmpose"),
    ("hrnet_w32_256x192", "hrnet-w32-256x192", plain, "msra"),
    ("simcc_nmt_res50_256x192_d256x3_adam_lr1e-3_split_2_cpj28", "simcc-r50-direct-256x192", plain, "msra"),
    ("mm_simcc_res50_8xb64-210e_coco-256x192", "simcc-r50-256x192", mmpose, "mmpose"),
    ("mm_rtmpose-t_8xb256-420e_coco-256x192", "rtmpose-t-256x192", mmpose, "mmpose"),
    ("mm_td-hm_ViTPose-small_8xb64-210e_coco-256x192", "vitpose-small-256x192", mmpose, "mmpose"),
    ("mm_td-hm_ViTPose-small_8xb64-210e_coco-256x192", "vitpose-small-256x192", original_vitpose, ""),
    ("dark_hg4_128x96", "hourglass-s4-128x96", data_parallel, ""),
    ("hg_bearpaw_s1b1_d256_k16_256x256", "hourglass-s1-256x256", data_parallel, ""),
    ("hg_princeton_s2b1_d256_k16_256x256", "hourglass-princeton-s2-256x256", princeton, ""),
    ("hg_gated_s4b1_d144_k16_256x256", "hourglass-gated-4x144-256x256", plain, ""),
]
# What the small ones do not have: the largest of a family, other wrappers.
LARGE = [
    ("mm_td-hm_res50_8xb64-210e_coco-256x192", "simplebaseline-r50-256x192", mmpose_0, ""),
    ("sb_resnet152_384x288", "simplebaseline-r152-384x288", data_parallel, "msra"),
    ("mm_td-hm_hrnet-w48_8xb32-210e_coco-256x192", "hrnet-w48-256x192", mmpose_0, "mmpose"),
    ("hrnet_w48_384x288", "hrnet-w48-384x288", plain, "msra"),
    ("udp_w32_offset", "hrnet-w32-udp-offset-256x192", plain, "msra"),
    ("simcc_w48_256x192_adam_lr1e-3_split2_sigma4", "simcc-w48-256x192", plain, "msra"),
    ("mm_rtmpose-l_8xb256-420e_coco-256x192", "rtmpose-l-256x192", mmpose, "mmpose"),
    ("mm_td-hm_ViTPose-base-simple_8xb64-210e_coco-256x192", "vitpose-base-simple-256x192", original_vitpose, ""),
    ("mm_td-hm_ViTPose-large_8xb64-210e_coco-256x192", "vitpose-large-256x192", mmpose, ""),
    ("mm_td-hm_hourglass52_8xb32-210e_coco-256x256", "hourglass52-256x256", mmpose_0, "mmpose"),
    ("hg_bearpaw_s8b1_d256_k16_256x256", "hourglass-s8-256x256", data_parallel, ""),
    ("hg_princeton_s8b1_d256_k16_256x256", "hourglass-princeton-s8-256x256", princeton, ""),
    ("hg_gated_s4b1_d256_k16_256x256", "hourglass-gated-4x256-256x256", plain, ""),
]


@pytest.fixture
def folder(tmp_path):
    """Return a folder that does not stay: a case writes up to a gigabyte."""
    yield tmp_path
    shutil.rmtree(tmp_path)


@pytest.mark.parametrize(
    ("case", "network", "wrapper", "back"),
    [pytest.param(*case, id=f"{case[0]}-{case[2].__name__}") for case in CASES]
    + [pytest.param(*case, id=f"{case[0]}-{case[2].__name__}", marks=pytest.mark.slow) for case in LARGE],
)
def test_an_original_file_gives_the_originals_outputs_and_goes_back_as_it_was(
    references, folder, case, network, wrapper, back
):
    state = references.state(case)
    torch.save(wrapper(state), folder / "original.pth")
    report = import_checkpoint(folder / "original.pth", as_=network, out=folder / "run")
    assert report.loaded == len(state)
    assert (report.left_out, report.absent) == ({}, {})
    assert report.skeleton == ("mpii-person" if "_k16_" in case else "coco-person")
    assert report.parameters == references.facts[f"{case}-keyed"]["params"]
    module, _ = load_network(folder / "run")
    assert references.worst_difference(case, module) <= TOLERANCE
    if back:
        export_weights(folder / "run", format=back, out=folder / "back.pth")
        again = read_weights(folder / "back.pth")
        assert again.keys() == state.keys()
        assert all(torch.equal(again[key], value) for key, value in state.items())


def caffe(state):
    """Return CMU's weights as Hzzone gives them out: flat Caffe names, without the modules that the program adds."""
    return {key.split(".", 1)[1]: value for key, value in state.items()}


OPENPOSE = [
    # (golden name, network, wrapper, kind of file, how the reference orders its outputs)
    ("openpose_lightweight_r1_368x368", "lightweight-openpose-368x368", wrapped, "lightweight-openpose", "stages"),
    ("openpose_lightweight_r3_368x368", "lightweight-openpose-r3-368x368", wrapped, "lightweight-openpose", "stages"),
    ("openpose_hzzone_368x368", "openpose-368x368", caffe, "openpose", "hzzone"),
    ("openpose_tensorboy_368x368", "openpose-368x368", data_parallel, "tensorboy", "tensorboy"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("case", "network", "wrapper", "form", "order"), OPENPOSE)
def test_networks_of_whole_pictures(references, folder, case, network, wrapper, form, order):
    state = references.state(case)
    torch.save(wrapper(state), folder / "original.pth")
    report = import_checkpoint(folder / "original.pth", as_=network, out=folder / "run")
    assert (report.format, report.loaded, report.skeleton) == (form, len(state), "openpose-person")
    module, _ = load_network(folder / "run")
    assert references.worst_difference(case, module, order=order) <= TOLERANCE


NETWORK_OF = [
    # (a regular expression of golden names, the network that the same groups name)
    (
        r"(?:sb_|hrnetrepo_|udp_|mm_td-hm_)res(?:net)?(\d+)(?:_8xb64-210e_coco-(256x192)|_(\d+x\d+))?",
        "simplebaseline-r{}",
    ),
    (r"hrnet_(w\d+)_(\d+x\d+)", "hrnet-{}"),
    (r"mm_td-hm_hrnet-(w\d+)_8xb\d+-210e_coco-(256x192)", "hrnet-{}"),
    (r"udp_(w32)_offset", "hrnet-{}-udp-offset"),
    (r"dark_hg(\d)_(128x96)", "hourglass-s{}"),
    (r"hg_bearpaw_s(\d)b1_d256_k1\d_(\d+x\d+)", "hourglass-s{}"),
    (r"hg_princeton_s(\d)b1_d256_k1\d_(\d+x\d+)", "hourglass-princeton-s{}"),
    (r"hg_gated_s4b1_d(\d+)_k16_(\d+x\d+)", "hourglass-gated-4x{}"),
    (r"mm_td-hm_hourglass(52)_8xb32-210e_coco-(256x256)", "hourglass{}"),
    (r"simcc_(?:nmt_)?(?:res(50)_(\d+x\d+))_d256x3_adam_lr1e-3_deconv3.*", "simcc-r{}"),
    (r"simcc_nmt_(?:res(50)_(256x192))_d256x3_adam_lr1e-3_split_2_cpj28", "simcc-r{}-direct"),
    (r"simcc_(?:nmt_)?(w\d+)_(256x192).*", "simcc-{}"),
    (r"openpose_(?:tensorboy|hzzone)_(368)x368", "openpose-368x{}"),
    (r"openpose_lightweight_r1_(368)x368", "lightweight-openpose-368x{}"),
    (r"openpose_lightweight_r(3)_368x368", "lightweight-openpose-r{}-368x368"),
    (r"mm_simcc_res(50)_8xb64-210e_coco-(256x192)", "simcc-r{}"),
    (r"mm_rtmpose-(\w)_8xb256-420e_coco-(256x192)", "rtmpose-{}"),
    (r"mm_td-hm_ViTPose-([\w-]+)_8xb64-210e_coco-(256x192)", "vitpose-{}"),
]
NOT_PUBLISHED = {"seed_shade_320x320", "seed_simcc_256x192"}
"""Networks of earlier systems, which nobody gave out weights for."""


def network_of(case):
    """Return the name of the network that a golden case is of."""
    for pattern, form in NETWORK_OF:
        found = re.fullmatch(pattern, case)
        if found:
            name, *size = (group for group in found.groups() if group)
            if case.startswith("openpose"):
                return form.format(name)
            return f"{form.format(name)}-{size[0] if size else '256x192'}"
    raise LookupError(case)


@pytest.mark.slow
def test_every_reference_has_a_place_for_each_of_its_keys(references):
    cases = {name.removesuffix("-keyed") for name in references.keys} - NOT_PUBLISHED
    assert len(cases) >= 45
    for case in sorted(cases):
        network = NETWORKS[network_of(case)]
        tensors = {
            key: torch.empty(shape, dtype=getattr(torch, dtype), device="meta")
            for key, shape, dtype in references.keys[f"{case}-keyed"]
        }
        fit = best_fit(tensors, network, formats_of(network))
        assert fit.problems == (), case
        assert len(fit.taken) == len(tensors), case
        assert not fit.absent, case
