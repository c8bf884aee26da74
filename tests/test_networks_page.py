"""The page of networks says what the catalogue says."""

from pathlib import Path

from pose_models.networks.catalogue import NETWORKS

PAGE = Path(__file__).resolve().parents[1] / "docs" / "networks.md"


def test_every_network_is_listed_with_the_catalogues_figures():
    rows = [line.split(" | ") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    listed = {row[0].strip("| `"): row[2:6] for row in rows}
    assert set(listed) == set(NETWORKS)
    for name, network in NETWORKS.items():
        ap = "" if network.published_ap is None else str(network.published_ap)
        assert listed[name] == [f"{network.parameters:,}", str(network.gmac), str(network.msra_g), ap], name
