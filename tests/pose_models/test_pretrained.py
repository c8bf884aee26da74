"""ImageNet weights from files in the forms of torchvision and timm."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from pose_data.errors import ModelError, UsageError
from pose_models.networks.hourglass import StackedHourglass
from pose_models.networks.hrnet import HRNet, OffsetHRNet
from pose_models.networks.lightweight_openpose import LightweightOpenPose
from pose_models.networks.openpose import OpenPose
from pose_models.networks.resnet import ResNet
from pose_models.networks.rtmpose import RTMPOSE_SIZES, RTMPose
from pose_models.networks.simple_baseline import SimpleBaseline
from pose_models.networks.unet import ConditionedUNet
from pose_models.networks.vitpose import VisionTransformer, ViTPose, ViTPoseSize
from pose_models.pretrained import freeze_backbone, load_backbone


def classifier_state(depth=18, seed=1):
    """Return the state dict of an ImageNet classifier: a ResNet's features and ``fc``."""
    torch.manual_seed(seed)
    state = ResNet(depth).state_dict()
    return {**state, "fc.weight": torch.randn(1000, 512), "fc.bias": torch.randn(1000)}


@pytest.fixture
def network():
    torch.manual_seed(0)
    return SimpleBaseline(17, depth=18)


def assert_holds(network, state):
    own = network.state_dict()
    assert all(torch.equal(own[key], value) for key, value in state.items() if not key.startswith("fc."))


def test_a_torchvision_file(network, tmp_path):
    state = classifier_state()
    torch.save(state, tmp_path / "resnet18.pth")
    head = network.final_layer.weight.clone()
    loaded = load_backbone(network, tmp_path / "resnet18.pth")
    assert_holds(network, state)
    assert torch.equal(network.final_layer.weight, head)
    assert loaded.left_out == ("fc.weight", "fc.bias")
    assert len(loaded.loaded) == len(state) - 2


def test_a_timm_file(network, tmp_path):
    state = classifier_state()
    save_file(state, tmp_path / "model.safetensors")
    load_backbone(network, tmp_path / "model.safetensors")
    assert_holds(network, state)


def test_a_file_from_before_batches_were_counted(network, tmp_path):
    state = {key: value for key, value in classifier_state().items() if "num_batches" not in key}
    torch.save(state, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    load_backbone(network, tmp_path / "old.pth")
    assert_holds(network, state)


def test_half_precision_becomes_float32(network, tmp_path):
    state = {key: value.half() if value.is_floating_point() else value for key, value in classifier_state().items()}
    torch.save(state, tmp_path / "half.pth")
    load_backbone(network, tmp_path / "half.pth")
    assert network.conv1.weight.dtype == torch.float32
    assert torch.equal(network.conv1.weight, state["conv1.weight"].float())


def test_another_depth_is_refused_with_the_keys_and_nothing_is_changed(network, tmp_path):
    torch.save(classifier_state(34), tmp_path / "resnet34.pth")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ModelError, match=r"layer1\.2\.conv1\.weight: in the file only") as caught:
        load_backbone(network, tmp_path / "resnet34.pth")
    assert caught.value.code == "weights-mismatch"
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("layer4.1.bn2.weight"), r"layer4\.1\.bn2\.weight: missing in the file"),
        (lambda state: state.update({"extra.weight": torch.zeros(1)}), r"extra\.weight: in the file only"),
        (lambda state: state.update({"conv1.weight": torch.zeros(64, 3, 3, 3)}), r"\(64, 3, 3, 3\) in the file"),
    ],
)
def test_every_key_is_accounted_for(network, tmp_path, change, message):
    state = classifier_state()
    change(state)
    torch.save(state, tmp_path / "file.pth")
    with pytest.raises(ModelError, match=message):
        load_backbone(network, tmp_path / "file.pth")


def test_a_network_without_such_a_backbone(tmp_path):
    with pytest.raises(UsageError, match="StackedHourglass has no backbone"):
        load_backbone(StackedHourglass(17, stacks=1, channels=16, depth=2), tmp_path / "any.pth")


@pytest.mark.parametrize("kind", [HRNet, OffsetHRNet])
def test_an_hrnet_classifiers_file(tmp_path, kind):
    torch.manual_seed(0)
    features = {key: value for key, value in HRNet(17, width=8).state_dict().items() if "final_layer" not in key}
    classifier = {
        "stage4.2.fuse_layers.3.0.0.0.weight": torch.randn(8, 8, 3, 3),
        "incre_modules.0.0.conv1.weight": torch.randn(8, 8, 1, 1),
        "downsamp_modules.0.0.weight": torch.randn(8, 8, 3, 3),
        "final_layer.0.weight": torch.randn(8, 8, 1, 1),
        "classifier.weight": torch.randn(10, 8),
    }
    torch.save({**features, **classifier}, tmp_path / "hrnet.pth")
    torch.manual_seed(1)
    network = kind(17, width=8)
    loaded = load_backbone(network, tmp_path / "hrnet.pth")
    own = network.state_dict()
    assert set(classifier) <= set(loaded.left_out)
    assert all(torch.equal(own[key], features[key]) for key in loaded.loaded)
    last = [key for key in features if key.startswith("stage4.2.fuse_layers.0.")]
    assert set(loaded.loaded) == set(features) - (set(last) if kind is OffsetHRNet else set())


def test_a_frozen_backbone_keeps_its_weights_and_the_head_learns(network):
    before = {key: value.clone() for key, value in network.state_dict().items()}
    freeze_backbone(network)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.1, weight_decay=0.1)
    network.train()(torch.rand(2, 3, 64, 64)).square().sum().backward()
    optimiser.step()
    moved = {key for key, value in network.state_dict().items() if not torch.equal(value, before[key])}
    assert {key for key in moved if key.startswith("layer")} == {
        key for key in before if key.startswith("layer") and ("running" in key or "num_batches" in key)
    }
    assert "final_layer.weight" in moved
    with pytest.raises(UsageError, match="backbone-none"):
        freeze_backbone(StackedHourglass(17, stacks=1))


def test_a_network_that_uses_the_first_stages_alone_takes_the_same_file(tmp_path):
    torch.save(classifier_state(34), tmp_path / "resnet34.pth")
    network = ConditionedUNet(13)
    loaded = load_backbone(network, tmp_path / "resnet34.pth")
    assert {key.split(".")[0] for key in loaded.left_out} == {"layer3", "layer4", "fc"}
    assert_holds(network.features, {key: value for key, value in classifier_state(34).items() if key in loaded.loaded})
    assert all(not parameter.requires_grad for parameter in network.features.parameters())


VIT = ViTPoseSize(channels=24, depth=2, heads=3, drop_path=0.0, layer_decay=0.8)


def transformer_classifier(side=14):
    """Return the weights of a vision transformer classifier in timm's names."""
    torch.manual_seed(1)
    state = {}
    for key, value in VisionTransformer(VIT, (192, 256)).state_dict().items():
        name = key.replace("layers.0.0", "fc1") if "ffn" in key else key
        name = name.replace("ffn.layers.1", "ffn.fc2").replace("ffn.fc", "mlp.fc").replace("projection", "proj")
        name = name.replace("layers.", "blocks.", 1).replace(".ln", ".norm")
        state["norm." + name.removeprefix("ln1.") if name.startswith("ln1.") else name] = value
    state["pos_embed"] = torch.randn(1, side * side + 1, 24)
    return {
        **state,
        "cls_token": torch.randn(1, 1, 24),
        "head.weight": torch.randn(10, 24),
        "head.bias": torch.randn(10),
    }


def test_a_vision_transformers_file_and_its_position_embeddings(tmp_path):
    state = transformer_classifier()
    assert {"blocks.1.mlp.fc2.bias", "blocks.0.norm2.weight", "norm.bias", "patch_embed.proj.weight"} <= set(state)
    torch.save({"model": state}, tmp_path / "mae_pretrain_vit.pth")
    network = ViTPose(17, size=VIT)
    loaded = load_backbone(network, tmp_path / "mae_pretrain_vit.pth")
    assert loaded.left_out == ("head.weight", "head.bias")
    own = network.backbone.state_dict()
    assert torch.equal(own["layers.1.ffn.layers.0.0.weight"], state["blocks.1.mlp.fc1.weight"])
    assert torch.equal(own["ln1.weight"], state["norm.weight"])
    grid = (state["pos_embed"][:, 1:] + state["pos_embed"][:, :1]).reshape(1, 14, 14, 24).permute(0, 3, 1, 2)
    expected = torch.nn.functional.interpolate(grid, (16, 12), mode="bicubic").flatten(2).transpose(1, 2)
    torch.testing.assert_close(own["pos_embed"], expected)


def test_a_transformer_of_another_width_or_depth_is_refused(tmp_path):
    torch.save(transformer_classifier(), tmp_path / "vit.pth")
    for size in (replace(VIT, channels=48), replace(VIT, depth=3)):
        with pytest.raises(ModelError, match="weights-mismatch"):
            load_backbone(ViTPose(17, size=size), tmp_path / "vit.pth")


def test_vgg_cspnext_and_mobilenet_files(tmp_path):
    torch.manual_seed(2)
    openpose, rtmpose = OpenPose(18, stages=1), RTMPose(17, size=RTMPOSE_SIZES["t"], size_wh=(96, 128))
    light = LightweightOpenPose(18)
    vgg = {
        f"features.{key}": torch.randn_like(value)
        for key, value in openpose.model0.state_dict().items()
        if int(key.split(".")[0]) < 23
    }
    more = {"features.23.weight": torch.randn(512, 512, 3, 3), "features.34.bias": torch.zeros(512),
            "classifier.0.bias": torch.zeros(8)}  # fmt: skip
    csp = {f"backbone.{key}": value.clone().fill_(0.5) for key, value in rtmpose.backbone.state_dict().items()}
    mobile = {f"module.model.{key}": value.clone().fill_(2) for key, value in light.model.state_dict().items()}
    files = {
        "vgg19.pth": ({**vgg, **more}, openpose),
        "cspnext.pth": ({"state_dict": {**csp, "head.fc.weight": torch.zeros(3, 3)}, "meta": {}}, rtmpose),
        "mobilenet.pth.tar": (
            {"state_dict": {**mobile, "module.model.12.0.weight": torch.zeros(1), "module.fc.bias": torch.zeros(4)}},
            light,
        ),
    }  # fmt: skip
    own_layers = openpose.model0[23].weight.clone()
    for name, (content, network) in files.items():
        torch.save(content, tmp_path / name)
        loaded = load_backbone(network, tmp_path / name)
        assert loaded.loaded
        assert loaded.left_out
    assert torch.equal(openpose.model0[21].weight, vgg["features.21.weight"])
    assert torch.equal(openpose.model0[23].weight, own_layers)
    assert (rtmpose.backbone.stem[0].conv.weight == 0.5).all()
    assert (light.model[11][4].running_var == 2).all()
    freeze_backbone(openpose)
    frozen = {key for key, parameter in openpose.named_parameters() if not parameter.requires_grad}
    assert frozen == {key.replace("features", "model0") for key in vgg}
