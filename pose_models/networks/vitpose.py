"""ViTPose: a plain vision transformer on patches of 16 pixels, and a light decoder to maps.

The classic decoder has two transposed convolutions, the simple one enlarges the features four times and convolves once.
Names of parameters are those of mmpose 1.x; :data:`ORIGINAL_KEYS` leads from the original repository's.
Source: Xu, Zhang, Zhang, Tao, ViTPose: Simple Vision Transformer Baselines for Human Pose Estimation, NeurIPS 2022;
ViTAE-Transformer/ViTPose c050ed2 and open-mmlab/mmpose 759b39c, configs/body_2d_keypoint/topdown_heatmap (Apache-2).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn import functional

from pose_models.networks.key_map import KeyMap
from pose_models.networks.network import Network
from pose_models.networks.simple_baseline import deconvolutions, initialise_head

__all__ = ["ORIGINAL_KEYS", "TABLE", "VITPOSE_SIZES", "ViTPose", "ViTPoseSize", "VisionTransformer"]

_PATCH_PX = 16

ORIGINAL_KEYS = KeyMap(
    rules=(
        (r"^keypoint_head\.", "head."),
        (r"\bpatch_embed\.proj\.", "patch_embed.projection."),
        (r"\bblocks\.(\d+)\.norm([12])\.", r"layers.\1.ln\2."),
        (r"\bblocks\.(\d+)\.attn\.", r"layers.\1.attn."),
        (r"\bblocks\.(\d+)\.mlp\.fc1\.", r"layers.\1.ffn.layers.0.0."),
        (r"\bblocks\.(\d+)\.mlp\.fc2\.", r"layers.\1.ffn.layers.1."),
        (r"\blast_norm\.", "ln1."),
    )
)
"""ViTAE-Transformer/ViTPose's names in ours; its ``pos_embed`` begins with a class token's, to be added to all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViTPoseSize:
    """The size of a transformer, and how it is trained: see the recipes of mmpose."""

    channels: int
    depth: int
    heads: int
    drop_path: float
    """The share of samples for which the last layer's branches are left out; rising from 0 at the first layer."""
    layer_decay: float
    """The learning rate of a layer is that of the one after it times this."""


VITPOSE_SIZES: Mapping[str, ViTPoseSize] = MappingProxyType(
    {
        "small": ViTPoseSize(channels=384, depth=12, heads=12, drop_path=0.1, layer_decay=0.8),
        "base": ViTPoseSize(channels=768, depth=12, heads=12, drop_path=0.3, layer_decay=0.75),
        "large": ViTPoseSize(channels=1024, depth=24, heads=16, drop_path=0.5, layer_decay=0.8),
        "huge": ViTPoseSize(channels=1280, depth=32, heads=16, drop_path=0.55, layer_decay=0.85),
    }
)


class _Attention(nn.Module):
    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self._heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        count, length, channels = x.shape
        parts = self.qkv(x).reshape(count, length, 3, self._heads, channels // self._heads)
        query, key, value = parts.permute(2, 0, 3, 1, 4).unbind(dim=0)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(mixed.transpose(1, 2).reshape(count, length, channels))
        return out


class _FeedForward(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = nn.Sequential(nn.Linear(channels, 4 * channels), nn.GELU())
        self.layers = nn.Sequential(inner, nn.Linear(4 * channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


class _Layer(nn.Module):
    """Attention and two linear layers, each after a norm and added to its input, or left out for a whole sample."""

    def __init__(self, channels: int, heads: int, drop_path: float) -> None:
        super().__init__()
        self._drop_path = drop_path
        self.ln1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = _Attention(channels, heads)
        self.ln2 = nn.LayerNorm(channels, eps=1e-6)
        self.ffn = _FeedForward(channels)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._kept(self.attn(self.ln1(x)))
        return x + self._kept(self.ffn(self.ln2(x)))

    def _kept(self, branch: Tensor) -> Tensor:
        if not self.training or not self._drop_path:
            return branch
        share = 1.0 - self._drop_path
        kept = torch.rand(len(branch), 1, 1, device=branch.device, dtype=branch.dtype) < share
        return branch * kept / share


class _PatchEmbed(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        # Padding of 2 as in the original: the patches lie two pixels further to the top left.
        self.projection = nn.Conv2d(3, channels, _PATCH_PX, _PATCH_PX, padding=2)

    def forward(self, pictures: Tensor) -> Tensor:
        patches: Tensor = self.projection(pictures)
        return patches


class VisionTransformer(nn.Module):
    """Pictures (N, 3, H, W) -> features (N, C, H / 16, W / 16); H and W are those of ``size_wh``."""

    def __init__(self, size: ViTPoseSize, size_wh: tuple[int, int]) -> None:
        super().__init__()
        cells = (size_wh[0] // _PATCH_PX) * (size_wh[1] // _PATCH_PX)
        self.pos_embed = nn.Parameter(torch.zeros(1, cells, size.channels))
        self.patch_embed = _PatchEmbed(size.channels)
        steps = max(size.depth - 1, 1)
        self.layers = nn.ModuleList(
            [_Layer(size.channels, size.heads, size.drop_path * layer / steps) for layer in range(size.depth)]
        )
        self.ln1 = nn.LayerNorm(size.channels, eps=1e-6)
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02)
                nn.init.zeros_(part.bias)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the features."""
        patches = self.patch_embed(pictures)
        x = patches.flatten(2).transpose(1, 2) + self.pos_embed
        for layer in self.layers:
            x = layer(x)
        features: Tensor = self.ln1(x)
        return features.transpose(1, 2).reshape(patches.shape)


class _ClassicHead(nn.Module):
    def __init__(self, channels: int, keypoints: int) -> None:
        super().__init__()
        self.deconv_layers = deconvolutions(channels, (256, 256))
        self.final_layer = nn.Conv2d(256, keypoints, 1)

    def forward(self, features: Tensor) -> Tensor:
        maps: Tensor = self.final_layer(self.deconv_layers(features))
        return maps


class _SimpleHead(nn.Module):
    def __init__(self, channels: int, keypoints: int) -> None:
        super().__init__()
        self.final_layer = nn.Conv2d(channels, keypoints, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        large = functional.interpolate(functional.relu(features), scale_factor=4.0, mode="bilinear")
        maps: Tensor = self.final_layer(large)
        return maps


class ViTPose(nn.Module):
    """Pictures (N, 3, H, W) -> maps (N, keypoints, H / 4, W / 4)."""

    def __init__(
        self, keypoints: int, *, size: ViTPoseSize, size_wh: tuple[int, int] = (192, 256), simple: bool = False
    ) -> None:
        super().__init__()
        self.backbone = VisionTransformer(size, size_wh)
        self.head = (_SimpleHead if simple else _ClassicHead)(size.channels, keypoints)
        initialise_head(self.head)

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the maps."""
        maps: Tensor = self.head(self.backbone(pictures))
        return maps


def _row(size: str, parameters: int, gmac: float, msra_g: float, ap: float, *, simple: bool = False) -> Network:
    return Network(
        name=f"vitpose-{size}{'-simple' if simple else ''}-256x192",
        family="vitpose",
        build=partial(ViTPose, size=VITPOSE_SIZES[size], simple=simple),
        source="ViTAE-Transformer/ViTPose c050ed2",
        input_width_px=192,
        input_height_px=256,
        map_width=48,
        map_height=64,
        parameters=parameters,
        gmac=gmac,
        msra_g=msra_g,
        published_ap=ap,
        published_with="boxes of person AP 56.4, flip test",
        geometry="udp",
        encoding="udp",
        decode="udp",
        flip_shift=0,
        backbone=f"vit_{size}_patch16",
    )


TABLE = (
    _row("small", 24_290_193, 5.2542, 7.987, 73.8),
    _row("base", 89_993_745, 17.8434, 20.555, 75.8),
    _row("large", 308_543_761, 59.757, 60.153, 78.3),
    _row("huge", 637_207_569, 122.81, 119.438, 79.1),
    _row("base", 85_911_569, 16.7817, 15.629, 75.5, simple=True),
)
