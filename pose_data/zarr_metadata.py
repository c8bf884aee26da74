"""The ``zarr.json`` texts of a store, made by zarr-python itself in memory; the only maker of them.

The texts are then written through our own door (atomic, synced); zarr-python never writes to disk.
"""

import warnings
from collections.abc import Iterator, Mapping
from typing import Any, cast

import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, ZstdCodec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.sync import sync
from zarr.storage import MemoryStore

from pose_data.jpeg_codec import JpegCodec
from pose_data.layout import ArrayLayout

__all__ = ["array_metadata", "group_metadata"]


def _only_text(store: MemoryStore, key: str) -> bytes:
    buffer = sync(store.get(key, default_buffer_prototype()))
    if buffer is None:  # cannot happen: zarr has just written it
        raise AssertionError(key)
    return buffer.to_bytes()


def group_metadata(attributes: Mapping[str, Any], members: Mapping[str, bytes] | None = None) -> bytes:
    """Return the ``zarr.json`` of a group.

    ``members`` (path of a group or array below → its own ``zarr.json``) are repeated in it as consolidated
    metadata: readers then list the group without looking at the folder, where our own records are, too.
    """
    store = MemoryStore()
    zarr.create_group(store, attributes=dict(attributes))
    for path, text in (members or {}).items():
        sync(store.set(f"{path}/zarr.json", default_buffer_prototype().buffer.from_bytes(text)))
    if members:
        with warnings.catch_warnings():
            # zarr-python warns that consolidated metadata is not in the specification; readers may ignore it.
            warnings.simplefilter("ignore")
            zarr.consolidate_metadata(store)
    return _only_text(store, "zarr.json")


def array_metadata(layout: ArrayLayout, rows: int, shard_rows: int, chunk_rows: int) -> bytes:
    """Return the ``zarr.json`` of one array of a split of ``rows`` rows."""
    store = MemoryStore()
    shard_shape = (layout.places_a_shard(shard_rows), *layout.row_shape)
    options: dict[str, Any] = {
        "shape": (layout.places(rows, shard_rows), *layout.row_shape),
        "chunks": (chunk_rows, *layout.row_shape) if layout.sharded else shard_shape,
        "shards": shard_shape if layout.sharded else None,
        "dtype": layout.dtype,
        "compressors": list(_compressors(layout)),
        "filters": None,
        "fill_value": 0,
        # One flat folder an array: a shard costs no folders of its own.
        "chunk_key_encoding": {"name": "default", "separator": "."},
        "dimension_names": list(layout.dimensions),
        "attributes": dict(layout.attributes),
    }
    if layout.codec == "jpeg":
        options["serializer"] = JpegCodec(quality=layout.jpeg_quality)
    zarr.create_array(store, **options)
    return _only_text(store, "zarr.json")


def _compressors(layout: ArrayLayout) -> Iterator[Any]:
    match layout.codec:
        case "blosc-lz4-bitshuffle" | "blosc-lz4":
            shuffle = "bitshuffle" if layout.codec == "blosc-lz4-bitshuffle" else "noshuffle"
            yield BloscCodec(typesize=1, cname="lz4", clevel=5, shuffle=cast("Any", shuffle), blocksize=0)
        case "zstd":
            yield ZstdCodec(level=1, checksum=False)
        case "none" | "jpeg":
            pass
    yield Crc32cCodec()
