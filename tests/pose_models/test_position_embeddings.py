"""Position embeddings of other input sizes and with a class token."""

import pytest
import torch
from torch.nn import functional

from pose_models.networks.catalogue import NETWORKS
from pose_models.position_embeddings import fitted, without_class_token

NETWORK = NETWORKS["vitpose-small-256x192"]  # 16 x 12 patches
KEY = "backbone.pos_embed"


def ramp(rows, columns):
    """Return embeddings (1, rows * columns, 2) that say where on the picture, 0 to 1, their patch's middle is."""
    y = (torch.arange(rows) + 0.5) / rows
    x = (torch.arange(columns) + 0.5) / columns
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1)
    return grid.reshape(1, rows * columns, 2)


def test_embeddings_of_the_same_size_stay():
    tensors = {KEY: ramp(16, 12)}
    assert fitted(tensors, NETWORK) == ()
    assert torch.equal(tensors[KEY], ramp(16, 12))


@pytest.mark.parametrize(("rows", "columns"), [(24, 18), (8, 6), (32, 24)])
def test_embeddings_of_another_size_say_the_same_about_the_picture(rows, columns):
    tensors = {KEY: ramp(rows, columns)}
    notes = fitted(tensors, NETWORK)
    assert notes == (f"position embeddings resized from {rows}x{columns} to 16x12 patches",)
    grid = tensors[KEY].reshape(16, 12, 2)
    inner = (slice(2, -2), slice(2, -2))  # beyond the border the resize repeats the outermost row
    assert (grid - ramp(16, 12).reshape(16, 12, 2))[
        inner
    ].abs().max() < 0.02  # a third of a patch; torch's bicubic is not quite linear


def test_the_resize_is_bicubic_with_corners_not_aligned():
    torch.manual_seed(0)
    values = torch.randn(1, 24 * 18, 4)
    tensors = {KEY: values}
    fitted(tensors, NETWORK)
    grid = values.reshape(1, 24, 18, 4).permute(0, 3, 1, 2)
    expected = functional.interpolate(grid, size=(16, 12), mode="bicubic", align_corners=False)
    assert torch.equal(tensors[KEY].reshape(1, 16, 12, 4).permute(0, 3, 1, 2), expected)


def test_a_number_of_patches_of_other_proportions_stays_and_does_not_fit():
    tensors = {KEY: torch.zeros(1, 197, 4)}
    assert fitted(tensors, NETWORK) == ()
    assert tensors[KEY].shape == (1, 197, 4)


def test_the_class_tokens_embedding_is_added_to_all_others():
    positions = torch.randn(1, 193, 3)
    tensors = {KEY: positions}
    assert without_class_token(tensors, NETWORK) == ()
    assert torch.equal(tensors[KEY], positions[:, 1:] + positions[:, 0])


def test_a_file_without_embeddings_is_left_to_the_comparison_of_keys():
    tensors = {"backbone.ln1.weight": torch.zeros(3)}
    assert without_class_token(tensors, NETWORK) == ()
    assert list(tensors) == ["backbone.ln1.weight"]
