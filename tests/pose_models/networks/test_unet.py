"""What the conditioned U-Net adds to the U-Net whose outputs the golden ones are."""

import torch
from torch.nn import functional

from pose_models.networks.network import IMAGENET_MEAN, IMAGENET_STD
from pose_models.networks.unet import ConditionedUNet


def test_the_resnet_sees_imagenets_pixels_at_seven_tenths_and_stays_as_it_is():
    torch.manual_seed(0)
    network = ConditionedUNet(3).train()
    assert network.unet.training
    assert not network.features.training
    pixels = torch.rand(2, 3, 320, 320)
    seen = []
    network.features.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    before = {key: value.clone() for key, value in network.features.state_dict().items()}
    features = network._seen(2.0 * pixels - 1.0)
    assert features.shape == (2, 128, 10, 10)
    assert not features.requires_grad
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGENET_MEAN, IMAGENET_STD))
    small = functional.interpolate(pixels, (224, 224), mode="bilinear", antialias=True)
    torch.testing.assert_close(seen[0], (small - mean) / std, atol=1e-4, rtol=0)
    assert all(torch.equal(value, before[key]) for key, value in network.features.state_dict().items())


def test_maps_are_shares_with_the_full_size_last_and_depend_on_what_the_resnet_saw():
    torch.manual_seed(0)
    network = ConditionedUNet(3).eval()
    pictures = 2.0 * torch.rand(1, 3, 64, 96) - 1.0
    with torch.inference_mode():
        outputs = network(pictures)
        full, coarse, middle = network.unet(pictures, network._seen(pictures))
        other = network.unet(pictures, torch.zeros(1, 128, 2, 3))[0]
    assert [tuple(maps.shape) for maps in outputs] == [(1, 3, 64, 96)] * 3
    for maps, tanh in zip(outputs, (coarse, middle, full), strict=True):
        torch.testing.assert_close(2.0 * maps - 1.0, tanh)
    # The coarse maps are the same over 16 x 16 cells, the middle ones over 4 x 4.
    for maps, side in ((coarse, 16), (middle, 4)):
        cells = maps[:, :, ::side, ::side].repeat_interleave(side, dim=2).repeat_interleave(side, dim=3)
        assert torch.equal(maps, cells)
    assert not torch.allclose(other, full)
