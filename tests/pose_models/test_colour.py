"""What is done to pixels alone equals OpenCV's; factors of colours are tested with the augmentation."""

import cv2
import numpy as np
import pytest
import torch

from pose_models.augmentation_rules import find_augmentation
from pose_models.colour import blurred, with_cut_out, with_other_hsv, with_other_pixels
from pose_models.draws import sample_draws


def some_pictures(count, seed=0):
    """Return pictures (count, 3, 24, 20) with all hues, grey, black and white."""
    values = np.random.default_rng(seed).integers(0, 256, (count, 24, 20, 3), dtype=np.uint8)
    values[:, :4] = values[:, :4, :, :1]
    values[:, 4], values[:, 5] = 0, 255
    return values.astype(np.float32)


def channels_first(pictures):
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))


def hsv_by_opencv(picture, half_degrees, saturation, value):
    hue, sat, val = cv2.split(cv2.cvtColor(picture / 255, cv2.COLOR_RGB2HSV))
    hue = (hue + 2 * half_degrees) % 360
    sat, val = np.clip(sat + saturation / 255, 0, 1), np.clip(val + value / 255, 0, 1)
    return cv2.cvtColor(np.stack([hue, sat, val], axis=2, dtype=np.float32), cv2.COLOR_HSV2RGB) * 255


def steps_of(draws):
    """Return what the reference would draw of the same uniform numbers, (B, 3)."""
    drawn = np.stack([2 * draws.uniform(26 + index) - 1 for index in range(3)], axis=1) * [5, 30, 30]
    return drawn.astype(np.int16) * np.stack([draws.uniform(29 + index) < 0.5 for index in range(3)], axis=1)


def test_hue_saturation_and_value_change_as_opencvs_do():
    pictures, draws = some_pictures(64), sample_draws(np.arange(64), seed=0, epoch=0)
    steps = steps_of(draws)
    expected = [hsv_by_opencv(one, *step) for one, step in zip(pictures, steps, strict=True)]
    found = with_other_hsv(channels_first(pictures), draws, hue_deg=10.0, saturation=30, value=30)
    assert np.abs(found.numpy().transpose(0, 2, 3, 1) - np.array(expected)).max() < 1e-2
    assert (steps == 0).all(axis=1).any()
    assert (np.abs(steps).max(axis=0) >= [4, 25, 25]).all()


def test_nothing_drawn_leaves_pixels_as_they_are():
    images = channels_first(some_pictures(4))
    draws = sample_draws(np.arange(4), seed=0, epoch=0)
    assert with_other_hsv(images, draws, hue_deg=0.0, saturation=0, value=0) is images
    assert blurred(images, draws, share=0.0) is images
    assert torch.equal(with_other_pixels(images, draws, find_augmentation("none")), images)


def test_means_and_medians_are_opencvs_in_their_shares():
    pictures, draws = some_pictures(400), sample_draws(np.arange(400), seed=2, epoch=0)
    images = channels_first(pictures)
    before = images.clone()
    found = blurred(images, draws, share=0.1).numpy().transpose(0, 2, 3, 1)
    assert torch.equal(images, before)
    kinds = set()
    for row, picture in enumerate(pictures):
        mean_side, median_side = (
            (3, 5, 7)[int(3 * draws.uniform(first + 1)[row])] if draws.uniform(first)[row] < 0.1 else 0
            for first in (32, 34)
        )
        expected = cv2.blur(picture, (mean_side, mean_side)) if mean_side else picture
        if median_side and not mean_side:  # OpenCV's median over 7 pixels takes whole numbers only
            expected = cv2.medianBlur(expected.astype(np.uint8), median_side)
        elif median_side:
            padded = np.pad(expected, [(median_side // 2,) * 2] * 2 + [(0, 0)], mode="edge")
            squares = np.lib.stride_tricks.sliding_window_view(padded, (median_side, median_side), axis=(0, 1))
            expected = np.median(squares, axis=(3, 4))
        assert found[row] == pytest.approx(expected, abs=1e-3)
        kinds.add((mean_side, median_side))
    assert {(0, 0), (3, 0), (5, 0), (7, 0), (0, 3), (0, 5), (0, 7)} <= kinds
    changed = (found != pictures).any(axis=(1, 2, 3)).mean()
    assert 0.14 < changed < 0.24


@pytest.mark.parametrize("name", ["rtmpose", "rtmpose-late"])
def test_rtmposes_colours_blur_and_rectangle_are_its_own(name):
    rule, images = find_augmentation(name), channels_first(some_pictures(16))
    draws = sample_draws(np.arange(16), seed=0, epoch=0)
    expected = with_other_hsv(images, draws, hue_deg=10.0, saturation=30, value=30)
    share = 1.0 if name == "rtmpose" else 0.5
    expected = with_cut_out(blurred(expected, draws, share=0.1), draws, share=share, sides=(0.2, 0.4))
    assert torch.equal(with_other_pixels(images, draws, rule), expected)


def test_rectangles_of_the_stated_sizes_lie_inside_and_differ():
    draws = sample_draws(np.arange(400), seed=0, epoch=0)
    images = torch.ones(400, 3, 40, 30)
    cut = with_cut_out(images, draws, share=1.0, sides=(0.2, 0.4))
    black = cut[:, 0] == 0
    assert torch.equal(black, cut[:, 2] == 0)
    width, height = black.any(dim=1).sum(dim=1), black.any(dim=2).sum(dim=1)
    assert torch.equal(width * height, black.sum(dim=(1, 2)))
    assert 5 <= width.min() <= width.max() <= 13
    assert 7 <= height.min() <= height.max() <= 17
    assert black.any(dim=0).float().mean() > 0.9
    assert len(set(zip(width.tolist(), height.tolist(), strict=True))) > 40


def test_the_share_of_samples_is_kept_and_others_are_left_alone():
    draws = sample_draws(np.arange(400), seed=1, epoch=0)
    images = torch.ones(400, 3, 40, 30)
    touched = (with_cut_out(images, draws, share=0.5, sides=(0.2, 0.4)) == 0).flatten(1).any(dim=1)
    assert 160 < touched.sum() < 240
    assert with_cut_out(images, draws, share=0.0, sides=(0.2, 0.4)) is images
