"""A small encoder and decoder of plain convolutions: for first steps, demonstrations and tests on a CPU.

Ours, published nowhere: four halvings, two doublings with the encoder's features added, as in SimpleBaseline's and the
U-Net's manner. It trains at about a thousand samples a second on two processor cores.
"""

from torch import Tensor, nn

from pose_models.networks.network import Network

__all__ = ["TABLE", "SmallPose"]

_CHANNELS = 16


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def _up(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


class SmallPose(nn.Module):
    """Pixels (N, 3, H, W) to maps (N, K, H / 4, W / 4); H and W are multiples of 16."""

    def __init__(self, keypoints: int, channels: int = _CHANNELS) -> None:
        super().__init__()
        c = channels
        self.stem = _block(3, c, 2)
        self.quarter = nn.Sequential(_block(c, 2 * c, 2), _block(2 * c, 2 * c))
        self.eighth = nn.Sequential(_block(2 * c, 4 * c, 2), _block(4 * c, 4 * c))
        self.sixteenth = nn.Sequential(_block(4 * c, 8 * c, 2), _block(8 * c, 8 * c), _block(8 * c, 8 * c))
        self.up_eighth = _up(8 * c, 4 * c)
        self.merge_eighth = _block(4 * c, 4 * c)
        self.up_quarter = _up(4 * c, 2 * c)
        self.merge_quarter = _block(2 * c, 2 * c)
        self.head = nn.Conv2d(2 * c, keypoints, 1)
        nn.init.normal_(self.head.weight, std=0.001)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Return the maps of a batch."""
        quarter = self.quarter(self.stem(images))
        eighth = self.eighth(quarter)
        up = self.merge_eighth(self.up_eighth(self.sixteenth(eighth)) + eighth)
        maps: Tensor = self.head(self.merge_quarter(self.up_quarter(up) + quarter))
        return maps


TABLE: tuple[Network, ...] = (
    Network(
        name="small-128x96", family="small", build=SmallPose, source="this project", input_width_px=96,
        input_height_px=128, map_width=24, map_height=32, parameters=650241, gmac=0.0674, msra_g=0.0979, geometry="udp",
        encoding="unbiased", sigma=1.5, decode="dark", flip_shift=0,
    ),
)  # fmt: skip
