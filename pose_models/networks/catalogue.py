"""Every network by name, in one table."""

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from pose_data.errors import UsageError
from pose_models.networks import (
    attention,
    hourglass,
    hourglass_mmpose,
    hourglass_seed,
    hrnet,
    lightweight_openpose,
    openpose,
    rtmpose,
    simcc,
    simple_baseline,
    small,
    unet,
    vitpose,
)
from pose_models.networks.network import Network

__all__ = ["NETWORKS", "Network", "find_network"]

_TABLE: tuple[Network, ...] = (
    *simple_baseline.TABLE,
    *hourglass.TABLE,
    *hourglass_seed.TABLE,
    *hourglass_mmpose.TABLE,
    *attention.TABLE,
    *hrnet.TABLE,
    *simcc.TABLE,
    *rtmpose.TABLE,
    *vitpose.TABLE,
    *unet.TABLE,
    *openpose.TABLE,
    *lightweight_openpose.TABLE,
    *small.TABLE,
)

NETWORKS: Mapping[str, Network] = MappingProxyType({network.name: network for network in _TABLE})


def find_network(name: str) -> Network:
    """Return the network called ``name``. Raises UsageError ``network-unknown`` with the nearest names."""
    if name in NETWORKS:
        return NETWORKS[name]
    near = difflib.get_close_matches(name.lower(), NETWORKS, n=4, cutoff=0.4)
    hint = f"nearest: {', '.join(near)}" if near else f"networks: {', '.join(NETWORKS)}"
    raise UsageError("network-unknown", f"there is no network {name!r}", hint=hint)
