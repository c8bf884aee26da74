"""The three counters on layers whose counts can be done by hand."""

import pytest
import torch
from torch import nn

from pose_models.networks.size import count_gmac, count_msra_g, count_parameters

SIZE = {"width_px": 6, "height_px": 4}


def test_convolution():
    network = nn.Conv2d(3, 5, 3, padding=1)
    assert count_parameters(network) == 3 * 5 * 9 + 5
    assert count_gmac(network, **SIZE) == pytest.approx(3 * 5 * 9 * 24 / 1e9)
    assert count_msra_g(network, **SIZE) == 3 * 5 * 9 * 24 / 2**30


def test_grouped_convolution():
    network = nn.Conv2d(3, 6, 3, padding=1, groups=3)
    assert count_gmac(network, **SIZE) == pytest.approx(6 * 9 * 24 / 1e9)
    assert count_msra_g(network, **SIZE) == 6 * 9 * 24 / 2**30


def test_transposed_convolution_is_four_times_too_dear_by_the_second_rule():
    network = nn.ConvTranspose2d(3, 5, 4, 2, padding=1)
    assert count_gmac(network, **SIZE) == pytest.approx(3 * 5 * 16 * 24 / 1e9)
    assert count_msra_g(network, **SIZE) == 4 * 3 * 5 * 16 * 24 / 2**30


def test_linear_counts_every_position_it_is_applied_at():
    network = nn.Linear(6, 7)  # along the rows of the picture
    assert count_gmac(network, **SIZE) == pytest.approx(6 * 7 * 3 * 4 / 1e9)
    assert count_msra_g(network, **SIZE) == 6 * 7 * 3 * 4 / 2**30


class Attends(nn.Module):
    def __init__(self, *, fused: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.fused = fused

    def forward(self, x):
        x = self.linear(x)
        if self.fused:
            return nn.functional.scaled_dot_product_attention(x, x, x)
        return torch.matmul(torch.matmul(x, x.transpose(-1, -2)), x)


def test_fused_attention_is_not_counted_and_plain_products_are():
    linear = 6 * 6 * 3 * 4 / 1e9
    assert count_gmac(Attends(fused=True), **SIZE) == pytest.approx(linear)
    assert count_gmac(Attends(fused=False), **SIZE) == pytest.approx(linear + 2 * 3 * 4 * 4 * 6 / 1e9)


def test_the_network_is_left_alone():
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)).train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    count_gmac(network, **SIZE)
    count_msra_g(network, **SIZE)
    assert network.training
    assert not network[0]._forward_hooks
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
