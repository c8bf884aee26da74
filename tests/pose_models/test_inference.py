"""Conventions read back what the authors of the weights trained for: labels drawn as they draw them, mirrored too."""

import numpy as np
import pytest
import torch
from torch import nn

from pose_data.geometry import crop_to_map
from pose_data.targets import encode_heatmaps
from pose_data.targets.simcc import encode_simcc
from pose_models import inference
from pose_models.checkpoint_formats import FORMATS, formats_of
from pose_models.evaluate import load_network
from pose_models.inference import keypoints_of_crops
from pose_models.networks.catalogue import NETWORKS

PERSONS = 4
# One network of each kind of file, input size and output.
KNOWN = list(
    {
        (row.networks, row.name, network.input_width_px, network.output, network.decode): (network, row)
        for network in NETWORKS.values()
        for row in formats_of(network)
        if network.output in ("maps", "offset-maps", "simcc")
    }.values()
)


class Perfect(nn.Module):
    """Returns the label of each picture, or of its mirrored picture when that is fed: its left edge is dark then."""

    def __init__(self, labels, labels_of_mirrored):
        super().__init__()
        self.labels, self.of_mirrored = labels, labels_of_mirrored

    def forward(self, pictures):
        return self.of_mirrored if pictures[0, 0, 0, 0] < pictures[0, 0, 0, -1] else self.labels


def labels_of(xy_crop, conventions):
    """Return what the authors' training would have a network put out for keypoints (N, K, 2) in the crop."""
    recipe = conventions.recipe
    shown = np.ones(xy_crop.shape[:2], bool)
    size = {"crop_width_px": recipe.crop_width_px, "crop_height_px": recipe.crop_height_px}
    if recipe.encoding == "simcc":
        vectors = encode_simcc(
            xy_crop, shown, split_ratio=recipe.split_ratio, sigma=recipe.sigma, rounded=False, **size
        )
        tensors = [torch.from_numpy(vector) for vector in vectors]
        # Where a softmax reads them, the loss trains logarithms.
        return tuple(
            v.clamp(1e-30).log() / conventions.simcc_softmax if conventions.simcc_softmax else v for v in tensors
        )
    maps_wh = {"map_width": recipe.map_width, "map_height": recipe.map_height}
    xy_map = crop_to_map(xy_crop, geometry=recipe.geometry, **size, **maps_wh)
    if conventions.decode == "udp-offset":
        return torch.from_numpy(offset_labels(xy_map, recipe))
    if conventions.cell_shift:
        xy_map = np.floor(xy_map)
    encoding = recipe.encoding
    return torch.from_numpy(encode_heatmaps(xy_map, shown, encoding=encoding, sigma=recipe.sigma, **maps_wh))


def offset_labels(xy_map, recipe):
    """Return triples: 1 within the radius of the keypoint, and there the way to it in units of the radius."""
    y, x = np.mgrid[: recipe.map_height, : recipe.map_width]
    way = xy_map[..., None, None] - np.stack([x, y])
    near = np.hypot(way[..., 0, :, :], way[..., 1, :, :])[..., None, :, :] <= recipe.sigma
    disk = near.astype(np.float32)
    triples = np.concatenate([disk, np.where(near, way / recipe.sigma, 0.0).astype(np.float32)], axis=2)
    return triples.reshape(len(xy_map), -1, recipe.map_height, recipe.map_width)


@pytest.mark.parametrize("flip_test", [False, True], ids=["plain", "flip"])
@pytest.mark.parametrize(("network", "row"), [pytest.param(*one, id=f"{one[0].name}-{one[1].name}") for one in KNOWN])
def test_perfect_outputs_give_the_keypoints(network, row, flip_test):
    conventions = row.conventions(network, row.skeletons[0])
    recipe = conventions.recipe
    size = np.array([recipe.crop_width_px, recipe.crop_height_px])
    count = conventions.skeleton.keypoint_count
    xy = np.random.default_rng(5).uniform(0.15 * size, 0.85 * size, (PERSONS, count, 2))
    mirrored = np.stack([size[0] - 1 - xy[..., 0], xy[..., 1]], axis=-1)[:, list(conventions.skeleton.flip_order())]
    stub = Perfect(labels_of(xy, conventions), labels_of(mirrored, conventions))
    pictures = torch.zeros(PERSONS, 3, *size[::-1].tolist())
    pictures[..., 0] = 255.0
    points, scores = keypoints_of_crops(stub.eval(), pictures, conventions, flip_test=flip_test)
    error = points.numpy() - xy
    cell_px = 1.0 / recipe.split_ratio if recipe.encoding == "simcc" else size[0] / recipe.map_width
    exact = conventions.decode in ("dark", "udp", "udp-mmpose", "udp-offset")
    assert np.abs(error).max() <= (0.2 if exact else 1.3) * cell_px
    # On average they are where they are, but for half a pixel of hourglasses whose mirrored labels are a pixel off.
    assert np.abs(error.mean(axis=(0, 1))).max() <= (0.03 if exact else 0.2) * cell_px
    assert (scores > 0).all()


def test_every_kind_of_file_is_tested_for_some_network():
    assert {row.networks for _, row in KNOWN} == {row.networks for row in FORMATS if row.recipe is None}


def test_crops_with_large_maps_are_looked_at_some_at_a_time(untrained_run, monkeypatch):
    network, checkpoint = load_network(untrained_run)
    conventions, seen = checkpoint.conventions, []
    network.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    images = torch.randint(0, 256, (7, 3, 128, 96), generator=torch.Generator().manual_seed(0)).to(torch.float32)
    whole = keypoints_of_crops(network, images, conventions, flip_test=True)
    assert seen == [7, 7]
    seen.clear()
    monkeypatch.setattr(inference, "_MOST_MAP_VALUES", 3 * 17 * 32 * 24)
    parts = keypoints_of_crops(network, images, conventions, flip_test=True)
    assert seen == [3, 3, 3, 3, 1, 1]
    # Another batch is another order of summation, which the decoding of some flat map of random weights may blow up.
    assert whole[1].numpy() == pytest.approx(parts[1].numpy(), abs=1e-4)
    assert (whole[0] - parts[0]).abs().amax(dim=2).median() < 1e-3
    # A crop whose maps alone are more than that is looked at by itself.
    monkeypatch.setattr(inference, "_MOST_MAP_VALUES", 1)
    assert len(keypoints_of_crops(network, images[:2], conventions, flip_test=False)[0]) == 2
