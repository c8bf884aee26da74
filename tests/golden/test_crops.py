"""Crops against those of the reference implementations (made with OpenCV 4.11)."""

from pathlib import Path

import numpy as np
import pytest

from pose_data.imaging import warp_crop

CASES = [
    (family, variant, number)
    for family, variant in [("msra", ""), ("dark", ""), ("udp", ""), ("mmpose", "/msra"), ("mmpose", "/udp")]
    for number in range(5)
]


@pytest.fixture(scope="module")
def golden(shared: Path):
    with np.load(shared / "peer_golden" / "peers.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if ":crop/" in name or ":affine/" in name}


@pytest.fixture(scope="module")
def picture(keyed):
    return keyed.picture()


def image_to_crop(golden, family, variant, number):
    transform = golden[f"codec_{family}:affine/{number}/{variant[1:] or 'input'}"].astype(np.float64)
    if family == "udp":
        # Kept from crop to image, for cv2.WARP_INVERSE_MAP.
        transform = np.linalg.inv(np.vstack([transform, [0, 0, 1]]))[:2]
    return transform


@pytest.mark.parametrize(("family", "variant", "number"), CASES)
def test_crop_equals_the_references_to_a_few_grey_levels(golden, picture, family, variant, number):
    crop = np.empty((256, 192, 3), dtype=np.uint8)
    warp_crop(picture, image_to_crop(golden, family, variant, number), crop)
    expected = golden[f"codec_{family}:crop/{number}{variant}|every"].astype(int)
    total, _, count, every = golden[f"codec_{family}:crop/{number}{variant}|stat"]
    assert crop.size == count
    difference = np.abs(crop.reshape(-1)[:: int(every)][: len(expected)] - expected)
    assert difference.max() <= 4
    assert (difference > 1).mean() <= 0.003
    # The thinned values cannot hide a shifted crop, but the sum also watches those left out.
    assert abs(crop.sum(dtype=np.float64) - total) / count <= 0.05


@pytest.mark.parametrize("shift_px", [0.5, -0.5])
def test_half_a_pixel_would_be_noticed(golden, picture, shift_px):
    transform = image_to_crop(golden, "msra", "", 0)
    transform[0, 2] += shift_px
    crop = np.empty((256, 192, 3), dtype=np.uint8)
    warp_crop(picture, transform, crop)
    expected = golden["codec_msra:crop/0|every"].astype(int)
    assert (np.abs(crop.reshape(-1)[::36][: len(expected)] - expected) > 1).mean() > 0.003
