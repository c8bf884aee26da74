"""Details of ViTPose that the golden outputs do not show."""

import torch

from pose_models.networks.vitpose import ORIGINAL_KEYS, ViTPose, ViTPoseSize


def network(drop_path: float) -> ViTPose:
    torch.manual_seed(0)
    size = ViTPoseSize(channels=24, depth=3, heads=3, drop_path=drop_path, layer_decay=0.8)
    return ViTPose(5, size=size, size_wh=(32, 48))


def test_branches_are_left_out_in_training_alone_and_never_in_the_first_layer():
    pictures = torch.rand(1, 3, 48, 32).expand(64, 3, 48, 32)
    with torch.no_grad():
        always = network(0.0).backbone.train()(pictures)
        sometimes = network(0.9).backbone
        in_training = sometimes.train()(pictures)
        torch.testing.assert_close(sometimes.eval()(pictures), always)
        first = sometimes.layers[0].train()
        tokens = torch.rand(4, 6, 24)
        torch.testing.assert_close(first(tokens), first.eval()(tokens))
    assert in_training[:, 0, 0, 0].unique().numel() > 3
    # What is kept is enlarged, so that the mean stays.
    branch = torch.ones(20_000, 1, 1)
    assert abs(sometimes.layers[2].train()._kept(branch).mean() - 1.0) < 0.1


def test_the_original_repositorys_names_become_ours():
    ours = {name for name in network(0.0).state_dict() if not name.endswith("pos_embed")}
    renamed = {
        "backbone.patch_embed.proj.weight": "backbone.patch_embed.projection.weight",
        "backbone.blocks.2.norm1.bias": "backbone.layers.2.ln1.bias",
        "backbone.blocks.2.attn.qkv.weight": "backbone.layers.2.attn.qkv.weight",
        "backbone.blocks.0.mlp.fc1.weight": "backbone.layers.0.ffn.layers.0.0.weight",
        "backbone.blocks.0.mlp.fc2.bias": "backbone.layers.0.ffn.layers.1.bias",
        "backbone.last_norm.weight": "backbone.ln1.weight",
        "keypoint_head.deconv_layers.0.weight": "head.deconv_layers.0.weight",
        "keypoint_head.final_layer.bias": "head.final_layer.bias",
    }
    assert {name: ORIGINAL_KEYS.ours(name) for name in renamed} == renamed
    assert set(renamed.values()) <= ours
