"""From a network's output to keypoints, batched on the device, with the numbers of :mod:`pose_data.targets.decode`.

Points are float64 in map cells (``simcc``: in bins), scores float32. An empty or negative map gives (0, 0), a map
without curvature its argmax, and never NaN. Which decoding and which flip rule belong to a network's weights stands in
the catalogue: a heatmap network trained in MSRA's geometry wants the mirrored picture's maps moved one cell to the
right before they are averaged, one trained with DARK's or UDP's wants no move, SimCC wants its x vector moved to the
left, by one bin where there are two a pixel. UDP's offset maps come as triples: a map that is 1 about the keypoint, and
how far it is from each cell to it along x and y.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pose_data.errors import UsageError
from pose_data.geometry import map_to_crop
from pose_data.recipes import Recipe
from pose_data.targets.decode import blur_weights
from pose_models.networks.network import Decode
from pose_models.simcc_decode import refined_bins, simcc_peaks

__all__ = [
    "DECODES",
    "Decode",
    "Output",
    "decode_output",
    "final_output",
    "merge_flipped",
    "to_crop",
    "to_image",
    "without_flip_bias",
]

Output: TypeAlias = Tensor | tuple[Tensor, Tensor]
"""Maps (N, K, h, w), or SimCC vectors x (N, K, bins) and y (N, K, bins)."""
DECODES: tuple[str, ...] = get_args(Decode)


def final_output(output: Tensor | Sequence[Tensor], *, simcc: bool = False) -> Output:
    """Return what is decoded of a network's output: the last stack's maps, or the SimCC vectors."""
    if isinstance(output, Tensor):
        return output
    return (output[0], output[1]) if simcc else output[-1]


def decode_output(
    output: Output,
    decode: Decode,
    *,
    blur_kernel: int | None = None,
    sigma: float = 6.0,
    softmax: float = 0.0,
    threshold: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """Return points (N, K, 2) float64 in cells or bins, and scores (N, K) float32: the maxima.

    ``blur_kernel`` counts for ``dark`` and ``udp-mmpose`` (11 unless given) and ``udp`` (7). ``udp-offset`` wants maps
    (N, 3 K, h, w) and the disk's radius in cells as ``sigma``. SimCC vectors are read as
    softmax(softmax * output), with 0 as they are; the score is the smaller of the two axes' maxima (leeyegy/SimCC);
    ``sigma``, in bins, is that of the labels and counts for ``simcc-dark``. A score below ``threshold`` counts as no
    keypoint: (0, 0) with score 0, as from an empty map; 0 keeps all (borarak/human-pose-estimation takes 0.85 with
    ``argmax``). Raises UsageError where the decoding does not fit the output.
    """
    if isinstance(output, tuple) != decode.startswith("simcc") or decode not in DECODES:
        raise UsageError("option-conflict", f"the decoding {decode!r} does not fit this network's output")
    if isinstance(output, tuple):
        points, scores = _of_vectors(output, decode, sigma, softmax)
    else:
        points, scores = _of_maps(output, decode, blur_kernel, sigma)
    if not threshold:
        return points, scores
    there = scores >= threshold
    return torch.where(there[..., None], points, 0.0), torch.where(there, scores, 0.0)


def _of_vectors(output: tuple[Tensor, Tensor], decode: Decode, sigma: float, softmax: float) -> tuple[Tensor, Tensor]:
    x, y = (vectors.detach().to(torch.float32) for vectors in output)
    if softmax:
        x, y = functional.softmax(softmax * x, dim=-1), functional.softmax(softmax * y, dim=-1)
    points, score = simcc_peaks(x, y)
    if decode == "simcc-dark":
        points = torch.stack([refined_bins(x, sigma), refined_bins(y, sigma)], dim=-1)
    return torch.where((score > 0)[..., None], points, 0.0), score


def _of_maps(output: Tensor, decode: Decode, blur_kernel: int | None, sigma: float) -> tuple[Tensor, Tensor]:
    maps = output.detach().to(torch.float32)
    match decode:
        case "quarter":
            return _quarter(maps)
        case "dark":
            return _dark(maps, blur_kernel or 11)
        case "udp":
            return _udp(maps, blur_kernel or 7)
        case "udp-mmpose":
            return _udp(maps, blur_kernel or 11, border="constant")
        case "udp-offset":
            return _offset(maps, sigma)
        case _:
            return _peaks(maps)


def merge_flipped(
    output: Output, of_flipped: Output, flip_order: Sequence[int], *, shift: int, offsets: bool = False
) -> Output:
    """Return the mean of a picture's output and its mirrored picture's, put back: mirrored, sides swapped, moved.

    ``shift``: so many cells (bins of the x vector) to the right, negative to the left; what is uncovered stays.
    ``offsets``: the maps are UDP's triples of map, x and y offset, and the way to the keypoint is mirrored, too.
    """
    order = list(flip_order)
    if isinstance(output, Tensor) and isinstance(of_flipped, Tensor):
        mirrored = of_flipped
        if offsets:
            signs = torch.tensor([1.0, -1.0, 1.0], device=of_flipped.device).repeat(len(order))
            mirrored = of_flipped * signs[:, None, None]
            order = [3 * place + part for place in order for part in range(3)]
        back = _moved(mirrored[:, order].flip(-1), shift)
        return (output + back) * 0.5
    x, y = output
    flipped_x, flipped_y = of_flipped
    return (x + _moved(flipped_x[:, order].flip(-1), shift)) * 0.5, (y + flipped_y[:, order]) * 0.5


def to_crop(points: Tensor, recipe: Recipe) -> Tensor:
    """Return points (N, K, 2) float64 in window pixels of points in map cells (``simcc``: bins).

    A hot cell (``one-hot``) stands for all places that it was drawn for, from its number to the next: their middle.
    """
    if recipe.encoding == "simcc":
        return points / recipe.split_ratio
    if recipe.encoding == "one-hot":
        points = points + 0.5
    one = np.ones((1, 2))
    scale = map_to_crop(
        one, geometry=recipe.geometry, crop_width_px=recipe.crop_width_px, crop_height_px=recipe.crop_height_px,
        map_width=recipe.map_width, map_height=recipe.map_height,
    )  # fmt: skip
    return points * torch.from_numpy(scale).to(points.device)


def without_flip_bias(points: Tensor, recipe: Recipe, *, shift: int) -> Tensor:
    """Return points (N, K, 2) of outputs merged with ``shift``, in cells or bins, moved to where both pictures agree.

    With cells at x / s, s pixels a cell, the mirrored picture's maps come back (s - 1) / s cells too far to the left,
    and the mean half as much. DarkPose moves nothing and takes its map for (w - 1) cells wide on the way back to the
    picture, which makes up for it at the crop's middle; :func:`to_crop` is exact, so it is put right here. SimCC's
    vectors come back (bins a pixel - 1) bins too far to the right; a whole number of them is moved, this is the rest.
    """
    if recipe.encoding == "simcc":
        too_far_right = 0.5 * (shift + recipe.split_ratio - 1.0)
    elif recipe.geometry == "udp":
        return points
    else:
        too_far_right = 0.5 * (shift - (1.0 - recipe.map_width / recipe.crop_width_px))
    return torch.stack([points[..., 0] - too_far_right, points[..., 1]], dim=-1)


def to_image(xy_crop: Tensor, transforms: Tensor, context_px: int = 0) -> Tensor:
    """Return points (N, K, 2) float64 in the source pictures.

    ``transforms`` (N, 2, 3) are the store's, from the stored image, which has ``context_px`` around the window.
    """
    stored = xy_crop.to(torch.float64) + context_px
    matrix = transforms.to(torch.float64)
    return stored @ matrix[:, :, :2].transpose(1, 2) + matrix[:, None, :, 2]


def _moved(values: Tensor, shift: int) -> Tensor:
    if not shift:
        return values
    moved = values.clone()
    if shift > 0:
        moved[..., shift:] = values[..., :-shift]
    else:
        moved[..., :shift] = values[..., -shift:]
    return moved


def _peaks(maps: Tensor) -> tuple[Tensor, Tensor]:
    width = maps.shape[-1]
    score = maps.flatten(2).amax(dim=2)
    # max() may name any of equal maxima; the first one is meant.
    first = (maps.flatten(2) == score[..., None]).to(torch.uint8).argmax(dim=2)
    cell = torch.stack([first % width, first // width], dim=-1).to(torch.float64)
    return torch.where((score > 0)[..., None], cell, 0.0), score


class _Neighbours:
    """Values of maps, or their logarithms of at least ``floor``, some cells away from given cells, float64."""

    def __init__(self, maps: Tensor, cell: Tensor, floor: float | None = None) -> None:
        self._flat, self._floor = maps.flatten(2), floor
        self._height, self._width = maps.shape[-2:]
        self._x, self._y = cell[..., 0].to(torch.int64), cell[..., 1].to(torch.int64)

    def __call__(self, dx: int, dy: int) -> Tensor:
        x = (self._x + dx).clamp(0, self._width - 1)
        y = (self._y + dy).clamp(0, self._height - 1)
        values = self._flat.gather(2, (y * self._width + x)[..., None])[..., 0].to(torch.float64)
        return values if self._floor is None else values.clamp(self._floor, 50.0).log()


def _inner(cell: Tensor, maps: Tensor, margin: int) -> Tensor:
    x, y = cell[..., 0], cell[..., 1]
    return (x > 1) & (x < maps.shape[3] - margin) & (y > 1) & (y < maps.shape[2] - margin)


def _quarter(maps: Tensor) -> tuple[Tensor, Tensor]:
    cell, score = _peaks(maps)
    at = _Neighbours(maps, cell)
    step = torch.stack([(at(1, 0) - at(-1, 0)).sign(), (at(0, 1) - at(0, -1)).sign()], dim=-1)
    inner = _inner(cell, maps, 1) & (score > 0)
    return cell + torch.where(inner[..., None], 0.25 * step, 0.0), score


def _dark(maps: Tensor, kernel: int) -> tuple[Tensor, Tensor]:
    cell, score = _peaks(maps)
    at = _Neighbours(_scaled_to_maximum(_blurred(maps, kernel, "constant"), maps), cell, 1e-10)
    dx, dy = 0.5 * (at(1, 0) - at(-1, 0)), 0.5 * (at(0, 1) - at(0, -1))
    dxx = 0.25 * (at(2, 0) - 2.0 * at(0, 0) + at(-2, 0))
    dyy = 0.25 * (at(0, 2) - 2.0 * at(0, 0) + at(0, -2))
    dxy = 0.25 * (at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1))
    inner = _inner(cell, maps, 2) & (score > 0)
    return cell + torch.where(inner[..., None], _newton_step(dx, dy, dxx, dyy, dxy), 0.0), score


def _udp(maps: Tensor, kernel: int, *, border: Literal["reflect", "constant"] = "reflect") -> tuple[Tensor, Tensor]:
    cell, score = _peaks(maps)
    blurred = _blurred(maps, kernel, border)
    if border == "reflect":  # UDP-Pose's own; mmpose's does not move the minimum to 0
        blurred = blurred - blurred.amin(dim=(2, 3), keepdim=True)
    blurred = _scaled_to_maximum(blurred, maps)
    at = _Neighbours(blurred, cell, 1e-3)
    here, right, left, below, above = at(0, 0), at(1, 0), at(-1, 0), at(0, 1), at(0, -1)
    dxy = 0.5 * (at(1, 1) - right - below + 2.0 * here - left - above + at(-1, -1))
    step = _newton_step(
        0.5 * (right - left), 0.5 * (below - above), right - 2.0 * here + left, below - 2.0 * here + above, dxy
    )
    return cell + torch.where((score > 0)[..., None], step, 0.0), score


def _offset(maps: Tensor, radius: float) -> tuple[Tensor, Tensor]:
    """Return the blurred maps' peaks moved by the blurred offsets there, which are in units of ``radius``.

    Source: HuangJunJie2017/UDP-Pose, lib/core/inference.py (get_final_preds): kernels 15 and 7.
    """
    cell, score = _peaks(_blurred(maps[:, ::3], 15, "reflect"))
    steps = [_Neighbours(_blurred(maps[:, part::3], 7, "reflect"), cell)(0, 0) for part in (1, 2)]
    step = radius * torch.stack(steps, dim=-1)
    return cell + torch.where((score > 0)[..., None], step, 0.0), score


def _newton_step(dx: Tensor, dy: Tensor, dxx: Tensor, dyy: Tensor, dxy: Tensor) -> Tensor:
    determinant = dxx * dyy - dxy * dxy
    usable = determinant.isfinite() & (determinant.abs() > 1e-12)
    divisor = torch.where(usable, determinant, 1.0)
    step = torch.stack([dxy * dy - dyy * dx, dxy * dx - dxx * dy], dim=-1) / divisor[..., None]
    return torch.where(usable[..., None], step, 0.0)


def _scaled_to_maximum(blurred: Tensor, maps: Tensor) -> Tensor:
    after = blurred.amax(dim=(2, 3), keepdim=True)
    before = maps.amax(dim=(2, 3), keepdim=True)
    return blurred * torch.where(after > 0, before / torch.where(after > 0, after, 1.0), 1.0)


def _blurred(maps: Tensor, kernel: int, border: Literal["reflect", "constant"]) -> Tensor:
    across = _blurred_last_axis(maps, kernel, border)
    return _blurred_last_axis(across.transpose(-1, -2), kernel, border).transpose(-1, -2)


def _blurred_last_axis(values: Tensor, kernel: int, border: Literal["reflect", "constant"]) -> Tensor:
    half, length = kernel // 2, values.shape[-1]
    flat = functional.pad(values.reshape(-1, 1, length), (half, half), mode=border)
    padded = flat.view(*values.shape[:-1], length + 2 * half)
    weights = blur_weights(kernel)
    blurred = float(weights[half]) * padded[..., half : half + length]
    for away in range(1, half + 1):
        before, after = half - away, half + away
        pair = padded[..., before : before + length] + padded[..., after : after + length]
        blurred = blurred + float(weights[after]) * pair
    return blurred
