"""Every row of the catalogue against the network that it builds."""

import dataclasses

import pytest
import torch

from pose_data.errors import UsageError
from pose_models.networks.catalogue import NETWORKS, find_network
from pose_models.networks.size import count_gmac, count_msra_g, count_parameters


@pytest.mark.parametrize("name", NETWORKS)
def test_sizes_shapes_and_gradients_are_as_stated(name):
    # One test for all, since large networks take a second or more to make.
    network = NETWORKS[name]
    with torch.device("meta"):
        module = network.build(network.keypoints)
    size = {"width_px": network.input_width_px, "height_px": network.input_height_px}
    assert count_parameters(module) == network.parameters
    assert f"{count_gmac(module, **size):.4f}" == f"{network.gmac:.4f}"
    assert f"{count_msra_g(module, **size):.3f}" == f"{network.msra_g:.3f}"
    output = module.train()(torch.empty(2, 3, network.input_height_px, network.input_width_px, device="meta"))
    assert_shapes(network, output)
    parts = [output] if isinstance(output, torch.Tensor) else output
    if network.output == "maps-and-fields":
        parts = [part for stage in output for part in stage]
    torch.stack([part.sum() for part in parts]).sum().backward()
    # Distributed training waits for the gradient of every parameter that wants one.
    wanting = [key for key, parameter in module.named_parameters() if parameter.requires_grad]
    assert [key for key, parameter in module.named_parameters() if parameter.grad is not None] == wanting


def assert_shapes(network, output):
    if network.output == "simcc":
        bins = [network.input_width_px * network.split_ratio, network.input_height_px * network.split_ratio]
        assert [network.map_width, network.map_height] == bins
        assert [tuple(vectors.shape) for vectors in output] == [(2, network.keypoints, int(n)) for n in bins]
        return
    maps = output if isinstance(output, list) else [output]
    assert len(maps) == network.stacks
    if network.output == "maps-and-fields":
        cells = (network.map_height, network.map_width)
        for stage in maps:
            assert [tuple(part.shape) for part in stage] == [(2, network.keypoints + 1, *cells), (2, 38, *cells)]
        return
    channels = network.keypoints * (3 if network.output == "offset-maps" else 1)
    assert {tuple(one.shape) for one in maps} == {(2, channels, network.map_height, network.map_width)}


def test_rows_are_consistent():
    for name, network in NETWORKS.items():
        assert name == network.name
        assert network.source
        assert (network.published_ap is None) == (network.published_with == "")
        assert dataclasses.replace(network) == network
        assert name.endswith(f"-{network.input_height_px}x{network.input_width_px}")


def test_find_network_gives_the_row_or_the_nearest_names():
    assert find_network("simplebaseline-r50-256x192").published_ap == 70.4
    with pytest.raises(UsageError, match="simplebaseline-r50-256x192") as caught:
        find_network("SimpleBaseline-R50-256x129")
    assert caught.value.code == "network-unknown"
    with pytest.raises(UsageError, match="hourglass-s8-256x256"):
        find_network("???")
