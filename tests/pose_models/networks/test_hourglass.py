"""Details of the hourglasses that the golden outputs do not show."""

import torch

from pose_models.networks.hourglass import GatedResidual, Residual, StackedHourglass
from pose_models.networks.hourglass_seed import SeedHourglass


def test_a_gate_of_zero_shuts_the_skip_connection():
    torch.manual_seed(0)
    block = GatedResidual(32, 32).eval()
    x = torch.randn(1, 32, 4, 4)
    shut = block(x)
    with torch.no_grad():
        block.gate.fill_(0.5)
    torch.testing.assert_close(block(x) - shut, 0.5 * x)


def test_the_spare_projection_is_never_used():
    torch.manual_seed(0)
    block = Residual(32, 32, spare_skip=True).eval()
    x = torch.randn(1, 32, 4, 4)
    before = block(x)
    with torch.no_grad():
        block.skip.weight.fill_(7.0)
    assert torch.equal(block(x), before)
    assert not block.skip.weight.requires_grad


def test_sizes_that_do_not_halve_evenly():
    network = StackedHourglass(5, stacks=2, channels=16, depth=4).eval()
    assert [tuple(maps.shape) for maps in network(torch.zeros(1, 3, 136, 104))] == [(1, 5, 34, 26)] * 2


def test_the_first_seeds_maps_are_shares():
    torch.manual_seed(0)
    for gated in (False, True):
        network = SeedHourglass(3, stacks=2, gated=gated).eval()
        with torch.inference_mode():
            outputs = network(torch.rand(1, 3, 64, 64))
        assert [tuple(maps.shape) for maps in outputs] == [(1, 3, 16, 16)] * 2
        assert all(0 <= float(maps.min()) <= float(maps.max()) <= 1 for maps in outputs)
