"""Attention on SimpleBaseline: maps that weigh features, over the whole body and for each keypoint by itself.

Holistic attention weighs the outputs of all three transposed convolutions, 16x12 to 64x48; they are enlarged by
nearest neighbours and added. With ``join="maps"`` the attention maps themselves, those of the backbone's 8x6 features
too, are enlarged and added, and weigh the last features (the third seed's README; its code does the former). Part-wise
attention makes each keypoint's map with weights of its own, and mixes the maps at the end.

The third seed is akmeraki/Pose_estimation at 0b12e28 (no licence; no code taken), after Chu et al., Multi-Context
Attention for Human Pose Estimation, CVPR 2017, and bearpaw/pose-attention 417a501 (BSD-3). Mended: the second
enlargement takes the second attention's output; a CRF's kernel of 1, with which no neighbour takes part, is one choice
beside the original's 11. The mean-field start is sigmoid(U), as in the paper; both programs put U itself there.
"""

from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pose_models.networks.network import Network
from pose_models.networks.resnet import ResNet
from pose_models.networks.simple_baseline import SimpleBaseline, deconvolutions, initialise_head

__all__ = ["TABLE", "Attention", "AttentionBaseline", "CrfAttention", "GaussianAttention", "SoftmaxAttention",
           "TransformAttention"]  # fmt: skip

Kind = Literal["crf1", "crf11", "softmax", "gaussian", "transform"]
Where = Literal["holistic", "parts", "both"]
Join = Literal["features", "maps"]

_ROUNDS = 3


class Attention(nn.Module):
    """Features (N, C, h, w) -> ``count`` attention maps (N, count, h, w) in 0 … 1."""

    @abstractmethod
    def maps(self, features: Tensor) -> Tensor:
        """Return the attention maps."""

    def attend(self, features: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``values`` (N, count, h, w), or any number of channels for one map, weighed; and the maps."""
        maps = self.maps(features)
        return values * maps, maps


class CrfAttention(Attention):
    """Mean-field rounds of a conditional random field over neighbouring cells: Q = sigmoid(K * Q + U), three times.

    U is a 3x3 convolution of the features; the kernel K is the same in all rounds, one for each map.
    """

    def __init__(self, channels: int, count: int, *, kernel: int) -> None:
        super().__init__()
        self.unary = nn.Conv2d(channels, count, 3, padding=1, bias=False)
        self.kernel = nn.Conv2d(count, count, kernel, padding=kernel // 2, groups=count, bias=False)
        nn.init.xavier_normal_(self.unary.weight)
        nn.init.xavier_normal_(self.kernel.weight)

    def maps(self, features: Tensor) -> Tensor:
        """Return the attention maps."""
        unary = self.unary(features)
        found = torch.sigmoid(unary)
        for _ in range(_ROUNDS):
            found = torch.sigmoid(self.kernel(found) + unary)
        return found


class SoftmaxAttention(Attention):
    """A softmax over all cells of a 3x3 convolution of the features, divided by its largest value."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.unary = nn.Conv2d(channels, count, 3, padding=1, bias=False)
        nn.init.xavier_normal_(self.unary.weight)

    def maps(self, features: Tensor) -> Tensor:
        """Return the attention maps, the largest value of each 1."""
        unary: Tensor = self.unary(features)
        return torch.exp(unary - unary.amax(dim=(2, 3), keepdim=True))


class GaussianAttention(Attention):
    """A Gaussian with a peak of 1; centre and spread along both axes are made of the features' mean."""

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self._count = count
        self.place = nn.Linear(channels, 4 * count)

    def maps(self, features: Tensor) -> Tensor:
        """Return the attention maps."""
        found = self.place(features.mean(dim=(2, 3))).view(-1, self._count, 4)
        # The map's sides are 2 long here; a Gaussian begins about as wide as half a side.
        centre, spread = torch.tanh(found[..., :2]), 0.1 + functional.softplus(found[..., 2:])
        height, width = features.shape[2:]
        across = _profile(width, centre[..., 0], spread[..., 0])
        return _profile(height, centre[..., 1], spread[..., 1])[..., :, None] * across[..., None, :]


class TransformAttention(Attention):
    """A spatial transformer: a box of the features, enlarged to the whole map, and put back in its place.

    What is outside the box is lost. Zoom and shift are made of the features' mean. Source of the transformer:
    Jaderberg et al., Spatial Transformer Networks, NIPS 2015.
    """

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self._count = count
        self.place = nn.Linear(channels, 3 * count)
        nn.init.normal_(self.place.weight, std=0.01)
        nn.init.constant_(self.place.bias, 0.0)

    def maps(self, features: Tensor) -> Tensor:
        """Return which share of each cell is left."""
        ones = features.new_ones(len(features), self._count, *features.shape[2:])
        return self._there_and_back(features, ones)

    def attend(self, features: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values inside the boxes, and which share of each cell is left."""
        return self._there_and_back(features, values), self.maps(features)

    def _there_and_back(self, features: Tensor, values: Tensor) -> Tensor:
        found = self.place(features.mean(dim=(2, 3))).view(-1, self._count, 3)
        # At first the box is nine tenths of the map; it is never less than three tenths.
        zoom = 0.3 + 0.7 * torch.sigmoid(found[..., :1] + 2.0)
        shift = torch.tanh(found[..., 1:]) * (1.0 - zoom)
        groups = values.reshape(len(values) * self._count, -1, *values.shape[2:])
        seen = _resampled(groups, zoom, shift)
        return _resampled(seen, 1.0 / zoom, -shift / zoom).reshape(values.shape)


def _profile(length: int, centre: Tensor, spread: Tensor) -> Tensor:
    place = torch.linspace(-1.0, 1.0, length, device=centre.device)
    return torch.exp(-0.5 * ((place - centre[..., None]) / spread[..., None]).square())


def _resampled(values: Tensor, zoom: Tensor, shift: Tensor) -> Tensor:
    """Return values (M, C, h, w) at ``zoom`` times the place plus ``shift``; 0 outside."""
    zoom, shift = zoom.reshape(-1, 1), shift.reshape(-1, 2)
    none = torch.zeros_like(zoom)
    first = torch.cat([zoom, none, shift[:, :1]], dim=1)
    second = torch.cat([none, zoom, shift[:, 1:]], dim=1)
    grid = functional.affine_grid(torch.stack([first, second], dim=1), list(values.shape), align_corners=False)
    return functional.grid_sample(values, grid.to(values.dtype), align_corners=False)


_KINDS: Mapping[str, type[Attention] | partial[CrfAttention]] = MappingProxyType(
    {
        "crf1": partial(CrfAttention, kernel=1),
        "crf11": partial(CrfAttention, kernel=11),
        "softmax": SoftmaxAttention,
        "gaussian": GaussianAttention,
        "transform": TransformAttention,
    }
)


class _Holistic(nn.Module):
    """Attention at every size; features or maps are enlarged to the last size and added."""

    def __init__(self, widths: tuple[int, ...], kind: Kind, join: Join) -> None:
        super().__init__()
        self._join = join
        self.attentions = nn.ModuleList([_KINDS[kind](width, 1) for width in widths])

    def forward(self, features: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        last = features[-1]
        total = torch.zeros_like(last[:, :1])
        found = {}
        for attention, one in zip(self.attentions, features, strict=True):
            assert isinstance(attention, Attention)
            attended, maps = attention.attend(one, one)
            found[f"holistic-{one.shape[2]}x{one.shape[3]}"] = maps
            total = total + functional.interpolate(attended if self._join == "features" else maps, last.shape[2:])
        return (total if self._join == "features" else last * total), found


class _Parts(nn.Module):
    """Each keypoint's map from features weighed by attention of its own; then all maps are mixed.

    The weights are the same for all channels, so they may as well weigh what the 1x1 convolutions make of the features.
    """

    def __init__(self, channels: int, keypoints: int, kind: Kind) -> None:
        super().__init__()
        self.attention = _KINDS[kind](channels, keypoints)
        self.each = nn.Conv2d(channels, keypoints, 1, bias=False)
        self.mix = nn.Conv2d(keypoints, keypoints, 1)
        nn.init.xavier_normal_(self.each.weight)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        attended, maps = self.attention.attend(features, self.each(features))
        return self.mix(attended), maps


class AttentionBaseline(ResNet):
    """Pictures (N, 3, H, W) -> maps (N, keypoints, H / 4, W / 4), with attention before and in the last layer."""

    def __init__(
        self,
        keypoints: int,
        *,
        where: Where,
        kind: Kind,
        join: Join = "features",
        depth: int = 50,
        width: int = 256,
    ) -> None:
        super().__init__(depth)
        self.deconv_layers = deconvolutions(self.feature_channels, (width, width, width))
        initialise_head(self.deconv_layers)
        sizes = (width, width, width) if join == "features" else (self.feature_channels, width, width, width)
        self.holistic = _Holistic(sizes, kind, join) if where != "parts" else None
        self.parts = _Parts(width, keypoints, kind) if where != "holistic" else None
        self.final_layer = nn.Conv2d(width, keypoints, 1) if self.parts is None else None
        if self.final_layer is not None:
            initialise_head(self.final_layer)
        self._sizes = len(sizes)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the maps."""
        return self._decoded(pictures)[0]

    def attention_maps(self, pictures: Tensor) -> dict[str, Tensor]:
        """Return the attention maps of pictures by name, for looking at.

        ``holistic-16x12`` and so on (N, 1, h, w), and ``parts`` (N, keypoints, H / 4, W / 4).
        """
        return self._decoded(pictures)[1]

    def _decoded(self, pictures: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        features = [self.features(pictures)]
        for first in range(0, len(self.deconv_layers), 3):
            features.append(self.deconv_layers[first : first + 3](features[-1]))
        last, found = features[-1], {}
        if self.holistic is not None:
            last, found = self.holistic(features[-self._sizes :])
        if self.parts is not None:
            maps, found["parts"] = self.parts(last)
            return maps, found
        assert self.final_layer is not None
        return self.final_layer(last), found


_SOURCE = "akmeraki/Pose_estimation 0b12e28"
_BOXES = "boxes of YOLOv2, flip test, 30 epochs on 80,000 pictures"


def _row(
    variant: str,
    sizes: tuple[int, float, float],
    *,
    where: Where | None = None,
    kind: Kind = "crf1",
    join: Join = "features",
    ap: float | None = None,
) -> Network:
    build = (
        partial(AttentionBaseline, where=where, kind=kind, join=join) if where else partial(SimpleBaseline, depth=50)
    )
    return Network(
        name=f"attention-{variant}-256x192",
        family="attention",
        build=build,
        source=_SOURCE,
        input_width_px=192,
        input_height_px=256,
        map_width=48,
        map_height=64,
        parameters=sizes[0],
        gmac=sizes[1],
        msra_g=sizes[2],
        published_ap=ap,
        published_with=_BOXES if ap else "",
        backbone="resnet50",
    )


TABLE = (
    _row("none", (33_999_697, 5.4264, 8.991), ap=46.8),
    _row("holistic-crf1", (34_006_612, 5.4357, 9.0), where="holistic"),
    _row("holistic-crf11", (34_006_972, 5.4371, 9.001), where="holistic", kind="crf11"),
    _row("parts-crf1", (34_039_171, 5.5477, 9.104), where="parts"),
    _row("parts-crf11", (34_041_211, 5.5666, 9.122), where="parts", kind="crf11"),
    _row("both-crf1", (34_046_086, 5.5571, 9.113), where="both", ap=56.7),
    _row("both-crf11", (34_048_486, 5.5773, 9.132), where="both", kind="crf11"),
    _row("both-softmax", (34_046_066, 5.5569, 9.113), where="both", kind="softmax"),
    _row("both-gaussian", (34_020_546, 5.4273, 8.992), where="both", kind="gaussian"),
    _row("both-transform", (34_015_406, 5.4273, 8.992), where="both", kind="transform"),
    _row("both-maps-crf1", (34_064_519, 5.5579, 9.114), where="both", join="maps"),
    _row("both-maps-crf11", (34_067_039, 5.5782, 9.133), where="both", kind="crf11", join="maps"),
)
