"""Training targets: keypoints to confidence maps and SimCC vectors, and back. Array maths, NumPy only."""

from pose_data.targets.decode import (
    decode_argmax,
    decode_bound,
    decode_bounds,
    decode_dark,
    decode_quarter,
    decode_udp,
    recover_keypoints,
)
from pose_data.targets.heatmap import encode_heatmaps, encode_heatmaps_uint8
from pose_data.targets.simcc import decode_simcc, decode_simcc_dark, encode_simcc, recover_simcc

__all__ = [
    "decode_argmax",
    "decode_bound",
    "decode_bounds",
    "decode_dark",
    "decode_quarter",
    "decode_simcc",
    "decode_simcc_dark",
    "decode_udp",
    "encode_heatmaps",
    "encode_heatmaps_uint8",
    "encode_simcc",
    "recover_keypoints",
    "recover_simcc",
]
