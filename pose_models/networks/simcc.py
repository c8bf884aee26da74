"""SimCC: a keypoint as two vectors of bins, one along x and one along y, on a ResNet or an HRNet.

Each keypoint's map (with ``maps_per_keypoint``, its maps) is laid out flat and goes through two linear layers that all
keypoints share. Names of parameters are those of the original, so its checkpoints load as they are.
Source: Li et al., SimCC: a Simple Coordinate Classification Perspective for Human Pose Estimation, ECCV 2022, and
leeyegy/SimCC at aa6e089, lib/models (no licence; no code taken); the head of the fourth seed:
SebastianKyle/Pose-Estimation at 7369feb (no licence; no code taken).
"""

from collections.abc import Callable
from functools import partial

from torch import Tensor, nn

from pose_models.networks.hrnet import HRNet
from pose_models.networks.key_map import KeyMap
from pose_models.networks.network import Network
from pose_models.networks.resnet import ResNet
from pose_models.networks.simple_baseline import SimpleBaseline, deconvolutions, initialise_head

__all__ = [
    "MMPOSE_SIMCC_KEYS",
    "SEED_SIMCC_KEYS",
    "TABLE",
    "SeedSimcc",
    "SimccDirect",
    "SimccHRNet",
    "SimccResNet",
    "flip_shift_of",
]

MMPOSE_SIMCC_KEYS = KeyMap(rules=((r"^backbone\.", ""), (r"^head\.deconv_head\.", ""), (r"^head\.", "")))
"""mmpose's SimCC on a ResNet in the original's names."""

SEED_SIMCC_KEYS = KeyMap(
    rules=(
        (r"^backbone\.0\.", "conv1."),
        (r"^backbone\.1\.", "bn1."),
        *((rf"^backbone\.{stage + 3}\.", f"layer{stage}.") for stage in range(1, 5)),
    )
)
"""SebastianKyle/Pose-Estimation's, whose backbone is a plain sequence, in ours."""


class SimccResNet(SimpleBaseline):
    """Pictures (N, 3, H, W) -> vectors x (N, keypoints, bins_wh[0]) and y (N, keypoints, bins_wh[1])."""

    def __init__(self, keypoints: int, *, depth: int, size_wh: tuple[int, int], bins_wh: tuple[int, int]) -> None:
        super().__init__(keypoints, depth=depth)
        cells = (size_wh[0] // 4) * (size_wh[1] // 4)
        self.mlp_head_x = nn.Linear(cells, bins_wh[0])
        self.mlp_head_y = nn.Linear(cells, bins_wh[1])

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the two vectors, not normalised."""
        maps = super().forward(pictures).flatten(2)
        return self.mlp_head_x(maps), self.mlp_head_y(maps)


class SimccDirect(ResNet):
    """The same without transposed convolutions: ``maps_per_keypoint`` maps of stride 32 for each keypoint."""

    def __init__(
        self,
        keypoints: int,
        *,
        depth: int,
        size_wh: tuple[int, int],
        bins_wh: tuple[int, int],
        maps_per_keypoint: int = 28,
    ) -> None:
        super().__init__(depth)
        self.keypoints = keypoints
        cells = maps_per_keypoint * (size_wh[0] // 32) * (size_wh[1] // 32)
        self.final_layer = nn.Conv2d(self.feature_channels, keypoints * maps_per_keypoint, 1)
        self.mlp_head_x = nn.Linear(cells, bins_wh[0])
        self.mlp_head_y = nn.Linear(cells, bins_wh[1])
        initialise_head(self.final_layer)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the two vectors, not normalised."""
        maps = self.final_layer(self.features(pictures))
        maps = maps.reshape(len(maps), self.keypoints, -1)
        return self.mlp_head_x(maps), self.mlp_head_y(maps)


class SimccHRNet(HRNet):
    """Pictures (N, 3, H, W) -> vectors x (N, keypoints, bins_wh[0]) and y (N, keypoints, bins_wh[1])."""

    def __init__(self, keypoints: int, *, width: int, size_wh: tuple[int, int], bins_wh: tuple[int, int]) -> None:
        super().__init__(keypoints, width=width)
        cells = (size_wh[0] // 4) * (size_wh[1] // 4)
        self.mlp_head_x = nn.Linear(cells, bins_wh[0])
        self.mlp_head_y = nn.Linear(cells, bins_wh[1])

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the two vectors, not normalised."""
        maps = super().forward(pictures).flatten(2)
        return self.mlp_head_x(maps), self.mlp_head_y(maps)


class _SeedHead(nn.Module):
    def __init__(self, cells: int, bins_wh: tuple[int, int]) -> None:
        super().__init__()
        self.fc_x = nn.Linear(cells, bins_wh[0])
        self.fc_y = nn.Linear(cells, bins_wh[1])

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        flat = maps.flatten(2)
        return self.fc_x(flat), self.fc_y(flat)


class SeedSimcc(ResNet):
    """The fourth seed's: ResNet-50, transposed convolutions to 1,024 and 512 channels, maps of stride 8, two vectors.

    The seed held the backbone's convolutions at ImageNet's weights; ``posetrain run --set freeze_backbone=true`` with a
    ``pretrained`` file does so, too.
    """

    def __init__(
        self,
        keypoints: int,
        *,
        size_wh: tuple[int, int],
        bins_wh: tuple[int, int],
        depth: int = 50,
        widths: tuple[int, int] = (1024, 512),
    ) -> None:
        super().__init__(depth)
        self.deconv_layers = deconvolutions(self.feature_channels, widths)
        self.final_layer = nn.Conv2d(widths[-1], keypoints, 1)
        self.head = _SeedHead((size_wh[0] // 8) * (size_wh[1] // 8), bins_wh)
        initialise_head(self.deconv_layers)
        initialise_head(self.final_layer)

    def forward(self, pictures: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Return the two vectors, not normalised."""
        vectors: tuple[Tensor, Tensor] = self.head(self.final_layer(self.deconv_layers(self.features(pictures))))
        return vectors


def flip_shift_of(split_ratio: float) -> int:
    """Return the bins by which a mirrored picture's x vector is moved right (so: negative) before it is averaged.

    A keypoint at x is at W - 1 - x in the mirrored picture, bin s (W - 1 - x); the vector of s W bins turned round has
    it at bin s x + s - 1. For the published s = 2 that is SimCC's own move of one bin to the left; what a split ratio
    that is no whole number leaves is put right after decoding.
    """
    return -round(split_ratio - 1.0)


_SOURCE = "leeyegy/SimCC aa6e089"
_BOXES = "boxes of person AP 56.4, flip test"


def _row(
    backbone: str,
    width_px: int,
    sizes: tuple[int, float, float],
    *,
    ap: float | None = None,
    label: str = "hard labels",
    direct: bool = False,
    split_ratio: float = 2.0,
    sigma: float | None = None,
) -> Network:
    height_px = width_px * 4 // 3
    bins = (round(width_px * split_ratio), round(height_px * split_ratio))
    kind, size = backbone[0], int(backbone[1:])
    build: Callable[[int], nn.Module]
    if kind == "w":
        build = partial(SimccHRNet, width=size, size_wh=(width_px, height_px), bins_wh=bins)
    elif direct:
        build = partial(SimccDirect, depth=size, size_wh=(width_px, height_px), bins_wh=bins)
    else:
        build = partial(SimccResNet, depth=size, size_wh=(width_px, height_px), bins_wh=bins)
    return Network(
        name=f"simcc-{backbone}{'-direct' if direct else ''}-{height_px}x{width_px}",
        family="simcc",
        build=build,
        source=_SOURCE,
        input_width_px=width_px,
        input_height_px=height_px,
        map_width=bins[0],
        map_height=bins[1],
        parameters=sizes[0],
        gmac=sizes[1],
        msra_g=sizes[2],
        output="simcc",
        published_ap=ap,
        published_with=f"{_BOXES}, {label}" if ap else "",
        colour_order="rgb" if kind == "w" else "bgr",
        encoding="simcc",
        sigma=sigma or (4.0 if width_px == 192 else 6.0),
        split_ratio=split_ratio,
        decode="simcc",
        flip_shift=flip_shift_of(split_ratio),
        backbone=f"hrnet_w{size}" if kind == "w" else f"resnet{size}",
    )


_SEED = Network(
    name="simcc-seed-256x192",
    family="simcc-seed",
    build=partial(SeedSimcc, size_wh=(192, 256), bins_wh=(768, 1024)),
    source="SebastianKyle/Pose-Estimation 7369feb",
    input_width_px=192,
    input_height_px=256,
    map_width=768,
    map_height=1024,
    parameters=66_840_913,
    gmac=7.255,
    msra_g=15.757,
    output="simcc",
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
    geometry="box",
    encoding="simcc",
    sigma=20.0,
    split_ratio=4.0,
    decode="simcc-dark",
    flip_shift=flip_shift_of(4.0),
    backbone="resnet50",
)

TABLE = (
    _row("r50", 192, (36_753_105, 5.4732, 9.035), ap=71.4),
    _row("r50", 288, (43_290_769, 12.3673, 20.377), ap=73.4, label="Gaussian labels"),
    _row("r50", 192, (25_688_476, 4.071, 3.791), direct=True),
    _row("r101", 192, (55_745_233, 9.1096, 12.422), ap=72.3),
    _row("r101", 288, (62_282_897, 20.5493, 27.997), ap=74.2),
    _row("r101", 192, (44_680_604, 7.7075, 7.178), direct=True),
    _row("r152", 192, (71_388_881, 12.7461, 15.808)),
    _row("r152", 288, (77_926_545, 28.7314, 35.618), ap=74.9),
    _row("r152", 192, (60_324_252, 11.3439, 10.565), direct=True),
    _row("w32", 192, (31_289_521, 7.6918, 7.164), ap=75.3),
    _row("w48", 192, (66_349_153, 15.7386, 14.658), ap=75.9),
    _row("w48", 288, (70_564_049, 35.4251, 32.992), ap=76.9, label="Gaussian labels", split_ratio=1.5, sigma=4.0),
    _SEED,
)
