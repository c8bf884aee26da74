"""UDP's offset maps, read on the device, against what UDP-Pose computed."""

import numpy as np
import pytest
import torch

from pose_data.geometry import apply_affines, crop_transforms, invert_affines
from pose_data.recipes import build_recipe
from pose_data.targets import decode_udp
from pose_models.decode import decode_output, merge_flipped
from pose_models.targets import map_cells, render_offset_maps

RADIUS_CELLS = 4.0


@pytest.fixture(scope="module")
def triples(keyed):
    """Return the reference's input: the maps to decode with offsets between -0.5 and 0.5 beside them."""
    maps, _ = keyed.heatmaps_to_decode()
    noise = [keyed.splitmix_uniform(name, maps.size).reshape(maps.shape) for name in ("offx", "offy")]
    offsets = [values - np.float32(0.5) for values in noise]
    return torch.from_numpy(np.stack([maps, *offsets], axis=2).reshape(len(maps), -1, *maps.shape[2:]))


def test_points_are_udps(references, keyed, triples):
    points, _ = decode_output(triples, "udp-offset", sigma=RADIUS_CELLS)
    small = crop_transforms(keyed.BOXES[:1], geometry="udp", crop_width_px=48, crop_height_px=64)
    ours = apply_affines(np.repeat(invert_affines(small), len(points), axis=0), points.numpy())
    theirs = references.arrays["codec_udp:decode/offset_final_image"]
    maps = triples[:, ::3].flatten(2).amax(dim=2).numpy()
    told = maps > 0  # its own takes the offset of cell 0 where a map is empty
    assert np.abs(ours - theirs)[told].max() <= 1e-4
    assert np.isfinite(ours).all()


def test_mirrored_triples_are_put_back_as_udp_does(references, keyed, triples):
    order = list(range(17))
    for left, right in keyed.FLIP:
        order[left], order[right] = right, left
    zero = torch.zeros_like(triples)
    back = 2.0 * merge_flipped(zero, triples, order, shift=0, offsets=True)
    name = "codec_udp:flip/offset"
    kept, step = references.arrays[f"{name}|every"], int(references.arrays[f"{name}|stat"][3])
    np.testing.assert_array_equal(back.numpy().reshape(-1)[::step], kept)


def test_mmposes_refinement_is_numpys(keyed):
    maps, _ = keyed.heatmaps_to_decode()
    points, _ = decode_output(torch.from_numpy(maps), "udp-mmpose")
    expected, _ = decode_udp(maps, modulation="mmpose")
    np.testing.assert_allclose(points.numpy(), expected, atol=2e-5)


def test_targets_are_udps(references, keyed):
    xy_crop, visible = keyed.joints_in_input()
    cells = map_cells(build_recipe("coco-256x192-udp"), torch.from_numpy(xy_crop))
    triples, drawn = render_offset_maps(
        cells, torch.from_numpy(visible > 0), map_width=48, map_height=64, radius=RADIUS_CELLS
    )
    assert drawn.sum() >= 40
    for index in range(3):
        name = f"codec_udp:target/offset_kpd4/{index}"
        kept, (total, absolute, count, step) = (references.arrays[f"{name}|{part}"] for part in ("every", "stat"))
        values = triples[index].numpy().reshape(-1).astype(np.float64)
        assert values.size == count
        assert np.abs(values[:: int(step)] - kept).max() <= 2e-6
        assert abs(values.sum() - total) <= 2e-6 * absolute
        assert abs(np.abs(values).sum() - absolute) <= 2e-6 * absolute


def test_targets_give_their_keypoints_back():
    xy_map = torch.from_numpy(np.random.default_rng(0).uniform([8, 8], [39, 55], (20, 17, 2)))
    visible = torch.ones(20, 17, dtype=torch.bool)
    triples, drawn = render_offset_maps(xy_map, visible, map_width=48, map_height=64, radius=RADIUS_CELLS)
    assert drawn.all()
    points, _ = decode_output(triples, "udp-offset", sigma=RADIUS_CELLS)
    # Blurring bends the offsets a little at the maps' edges.
    assert (points - xy_map).abs().max() < 0.05
    hidden = visible.clone()
    hidden[0, 0] = False
    xy_map[0, 1] = torch.nan
    xy_map[0, 2] = -RADIUS_CELLS - 0.01
    triples, drawn = render_offset_maps(xy_map, hidden, map_width=48, map_height=64, radius=RADIUS_CELLS)
    assert not drawn[0, :3].any()
    assert triples[0, :9].abs().max() == 0
    assert drawn[0, 3:].all()
