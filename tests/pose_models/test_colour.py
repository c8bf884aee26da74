"""Rectangles that are cut out of pictures; colours are tested with the augmentation."""

import numpy as np
import torch

from pose_models.colour import with_cut_out
from pose_models.draws import sample_draws


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
