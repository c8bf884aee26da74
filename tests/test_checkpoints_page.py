"""The page of published weights says what the table says."""

import re
from pathlib import Path

from pose_models.checkpoint_formats import FORMATS
from pose_models.networks.catalogue import NETWORKS

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "checkpoints.md").read_text(encoding="utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| `")]


def test_every_kind_of_file_and_its_source_is_listed():
    for row in FORMATS:
        listed = " ".join(line for line in ROWS if line.startswith(f"| `{row.name}` "))
        repositories = re.findall(r"[\w-]+/[\w.-]+", row.source)
        assert repositories
        assert [one for one in repositories if one not in listed] == [], row.name


def test_every_network_with_published_weights_is_listed():
    patterns = [
        re.compile(re.escape(part.strip("`")).replace("…", ".*"))
        for line in ROWS
        for part in re.findall(r"`[^`]+`", line.split(" | ")[2] if line.count(" | ") >= 3 else "")
    ]
    for network in NETWORKS.values():
        if any(re.fullmatch(row.networks, network.name) for row in FORMATS):
            assert any(pattern.fullmatch(network.name) for pattern in patterns), network.name


def test_every_key_that_may_be_absent_or_left_out_is_explained():
    for row in FORMATS:
        for exempt in (*row.absent, *row.left_out):
            assert f"| {exempt.reason} |" in PAGE
