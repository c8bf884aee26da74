"""Which parameters learn how fast, and which decay."""

import pytest
import torch

from pose_data.errors import UsageError
from pose_models.networks.simple_baseline import SimpleBaseline
from pose_models.networks.vitpose import ViTPose, ViTPoseSize
from pose_models.optimisers import build_optimiser, load_optimiser, optimiser_state, parameter_groups
from pose_models.train_config import TrainConfig

VIT = ViTPoseSize(channels=24, depth=3, heads=3, drop_path=0.0, layer_decay=0.8)


def vit():
    torch.manual_seed(0)
    return ViTPose(5, size=VIT, size_wh=(32, 48))


def config(**options):
    return TrainConfig(**{"network": "vitpose-small-256x192", "optimiser": "adamw", "weight_decay": 0.1, **options})


def test_every_parameter_is_in_one_group():
    network = vit()
    for options in ({}, {"layer_decay": 0.5}, {"decay_all": False}, {"layer_decay": 0.5, "decay_all": False}):
        groups = parameter_groups(config(**options), network)
        inside = [id(parameter) for group in groups for parameter in group["params"]]
        assert sorted(inside) == sorted(id(parameter) for parameter in network.parameters())


def test_layers_learn_the_slower_the_earlier_they_are():
    network = vit()
    groups = parameter_groups(config(layer_decay=0.5, decay_all=False), network)
    found = {}
    for group in groups:
        for parameter in group["params"]:
            found[id(parameter)] = (group["lr_scale"], group.get("weight_decay", 0.1))
    named = {name: found[id(parameter)] for name, parameter in network.named_parameters()}
    assert named["backbone.pos_embed"] == (0.5**4, 0.0)
    assert named["backbone.patch_embed.projection.weight"] == (0.5**4, 0.1)
    assert named["backbone.layers.0.attn.qkv.weight"] == (0.5**3, 0.1)
    assert named["backbone.layers.2.attn.qkv.weight"] == (0.5, 0.1)
    assert named["backbone.layers.2.attn.qkv.bias"] == (0.5, 0.0)
    assert named["backbone.ln1.weight"] == (1.0, 0.0)
    assert named["head.final_layer.weight"] == (1.0, 0.1)


def test_the_state_of_groups_goes_there_and_back():
    options = config(layer_decay=0.5, decay_all=False)
    network = vit()
    optimiser = build_optimiser(options, network)
    network(torch.rand(1, 3, 48, 32)).square().sum().backward()
    optimiser.step()
    again = build_optimiser(options, network)
    load_optimiser(again, *optimiser_state(optimiser))
    for one, other in zip(optimiser.param_groups, again.param_groups, strict=True):
        for parameter, its in zip(one["params"], other["params"], strict=True):
            assert parameter is its
            assert torch.equal(optimiser.state[parameter]["exp_avg"], again.state[its]["exp_avg"])


def test_a_plain_training_has_one_group():
    groups = parameter_groups(config(), SimpleBaseline(5, depth=18))
    assert [group["lr_scale"] for group in groups] == [1.0]
    with pytest.raises(UsageError, match="layer_decay is for transformers"):
        TrainConfig(network="small-128x96", layer_decay=0.5)
