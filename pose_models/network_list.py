"""The catalogue as rows, for looking at."""

from dataclasses import dataclass

from pose_models.networks.catalogue import NETWORKS

__all__ = ["NetworkRow", "list_networks"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkRow:
    """One network: sizes, published accuracy, source."""

    name: str
    family: str
    input_height_px: int
    input_width_px: int
    parameters: int
    gmac: float
    """Multiply-adds of convolutions and linear layers, in 10⁹."""
    msra_g: float
    """What MSRA's script counts, in 2³⁰; see pose_models.networks.size."""
    published_ap: float | None
    published_with: str
    source: str
    trainable: bool
    """Whether ``posetrain run`` has a loss for its output."""


def list_networks(family: str | None = None) -> tuple[NetworkRow, ...]:
    """Return every network of the catalogue, or of one family."""
    return tuple(
        NetworkRow(
            name=network.name, family=network.family, input_height_px=network.input_height_px,
            input_width_px=network.input_width_px, parameters=network.parameters, gmac=network.gmac,
            msra_g=network.msra_g, published_ap=network.published_ap, published_with=network.published_with,
            source=network.source, trainable=network.output in ("maps", "offset-maps", "simcc", "maps-and-fields"),
        )
        for network in NETWORKS.values()
        if family in (None, network.family)
    )  # fmt: skip
