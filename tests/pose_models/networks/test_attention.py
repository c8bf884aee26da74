"""Attention against plain versions of what it is said to compute."""

import pytest
import torch
from torch.nn import functional

from pose_models.networks.attention import (
    AttentionBaseline,
    CrfAttention,
    GaussianAttention,
    SoftmaxAttention,
    TransformAttention,
    _Parts,
)

KINDS = ("crf1", "crf11", "softmax", "gaussian", "transform")


def features(channels=6, height=16, width=12, count=2):
    return torch.randn(count, channels, height, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kernel", [1, 11])
def test_crf_is_three_rounds_with_one_kernel(kernel):
    torch.manual_seed(0)
    attention, given = CrfAttention(6, 3, kernel=kernel), features()
    found = attention.maps(given)
    for number in range(3):
        unary = functional.conv2d(given, attention.unary.weight[number : number + 1], padding=1)
        q = torch.sigmoid(unary)
        for _ in range(3):
            message = functional.conv2d(q, attention.kernel.weight[number : number + 1], padding=kernel // 2)
            q = torch.sigmoid(message + unary)
        torch.testing.assert_close(found[:, number : number + 1], q)


def test_with_a_kernel_of_1_no_neighbour_takes_part():
    torch.manual_seed(0)
    for kernel, reach in ((1, 1), (11, 16)):
        attention, given = CrfAttention(6, 1, kernel=kernel), features(height=41, width=41)
        changed = given.clone()
        changed[:, :, 20, 20] += 1.0
        moved = (attention.maps(given) != attention.maps(changed))[0, 0].nonzero()
        assert (moved - 20).abs().max() == reach  # the 3x3 convolution reaches 1, each round five more


def test_softmax_and_gaussian_have_a_peak_of_1():
    torch.manual_seed(0)
    soft, gauss = SoftmaxAttention(6, 3), GaussianAttention(6, 3)
    maps = soft.maps(features())
    torch.testing.assert_close(maps.amax(dim=(2, 3)), torch.ones(2, 3))
    shares = functional.softmax(soft.unary(features()).flatten(2), dim=2)
    torch.testing.assert_close(maps.flatten(2) / maps.flatten(2).sum(dim=2, keepdim=True), shares)
    with torch.no_grad():
        gauss.place.weight.zero_()
        gauss.place.bias.zero_()
    maps = gauss.maps(features(height=9, width=7))
    assert maps[0, 0].argmax() == 9 * 7 // 2
    torch.testing.assert_close(maps, maps.flip(2).flip(3))
    assert 0.0 < maps.min() < maps.max() <= 1.0


def test_a_transformers_box_is_kept_and_the_rest_is_lost():
    torch.manual_seed(0)
    attention = TransformAttention(6, 1)
    with torch.no_grad():
        attention.place.weight.zero_()
        # A zoom of 0.65, wholly to the upper left.
        attention.place.bias.copy_(torch.tensor([-2.0, -9.0, -9.0]))
    ramp = torch.linspace(0, 1, 64).expand(2, 6, 64, 64)
    kept, maps = attention.attend(ramp, ramp)
    assert maps.shape == (2, 1, 64, 64)
    torch.testing.assert_close(kept[:, :, 2:38, 2:38], ramp[:, :, 2:38, 2:38], atol=1e-4, rtol=0)
    assert kept[:, :, 44:].abs().max() == kept[..., 44:].abs().max() == 0.0
    inside = maps[0, 0, 2:38, 2:38]
    torch.testing.assert_close(inside, torch.ones_like(inside))


@pytest.mark.parametrize("kind", KINDS)
def test_parts_are_as_many_attentions_each_with_its_own_convolution(kind):
    torch.manual_seed(0)
    parts, given = _Parts(6, 3, kind), features()
    found, maps = parts(given)
    plain = []
    for number in range(3):
        # All channels weighed by this keypoint's attention, then a 1x1 convolution to one map.
        each = given.repeat_interleave(3, dim=1) if kind == "transform" else given
        if kind == "transform":
            stacked = given.unsqueeze(1).expand(-1, 3, -1, -1, -1).reshape(2, 18, 16, 12)
            each = parts.attention.attend(given, stacked)[0].reshape(2, 3, 6, 16, 12)[:, number]
        else:
            each = given * maps[:, number : number + 1]
        plain.append(functional.conv2d(each, parts.each.weight[number : number + 1]))
    torch.testing.assert_close(found, parts.mix(torch.cat(plain, dim=1)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("join", ["features", "maps"])
def test_maps_of_all_sizes_can_be_looked_at(kind, join):
    network = AttentionBaseline(5, where="both", kind=kind, join=join, depth=18, width=8).eval()
    pictures = torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        found = network.attention_maps(pictures)
        assert network(pictures).shape == (2, 5, 16, 24)
    sizes = {"holistic-4x6": (4, 6), "holistic-8x12": (8, 12), "holistic-16x24": (16, 24)}
    if join == "maps":
        sizes = {"holistic-2x3": (2, 3), **sizes}
    assert {name: tuple(maps.shape) for name, maps in found.items()} == {
        **{name: (2, 1, *size) for name, size in sizes.items()}, "parts": (2, 5, 16, 24),
    }  # fmt: skip
    assert all(0.0 <= maps.min() <= maps.max() <= 1.0 + 1e-5 for maps in found.values())


def test_holistic_attention_adds_what_all_sizes_give():
    torch.manual_seed(0)
    network = AttentionBaseline(5, where="holistic", kind="crf1", depth=18, width=8).eval()
    pictures = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        x, total = network.features(pictures), 0.0
        for size, attention in enumerate(network.holistic.attentions):
            x = network.deconv_layers[3 * size : 3 * size + 3](x)
            attended = x * attention.maps(x)
            total = total + attended.repeat_interleave(4 >> size, dim=2).repeat_interleave(4 >> size, dim=3)
        torch.testing.assert_close(network(pictures), network.final_layer(total))
