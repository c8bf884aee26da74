"""Keypoint data sets: read, check, crop, store, verify and stream them; no torch, no Dask, no terminal.

Import what you need from its module, for example ``from pose_data.geometry import crop_transforms``;
this file stays light so that ``posedata --help`` does.
"""

__all__ = ["__version__"]

__version__ = "0.1.0"
