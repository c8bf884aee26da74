"""Readers of annotation files, in one table: name -> function."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from pose_data.formats.coco import DEFAULT_MAX_FILE_BYTES, AnnotationSet, read_coco

__all__ = ["DEFAULT_MAX_FILE_BYTES", "READERS", "AnnotationSet", "read_coco"]

READERS: Mapping[str, Callable[..., AnnotationSet]] = MappingProxyType({"coco": read_coco})
"""Format name -> reader; all take a path and the options of ``read_coco``."""
