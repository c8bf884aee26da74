"""A Zarr v3 codec that keeps each crop of a chunk as one JPEG (lossy, about a sixth of the bytes).

Registered as ``posedata_jpeg``. No JPEG codec that other Zarr readers know exists for Python 3.11,
so a store made with ``--image-codec jpeg`` opens only where posedata is installed; the store's
metadata says so by the codec's name.

A chunk is: the number of JPEGs (uint32, little endian), their lengths (uint32 each), the JPEGs.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from zarr.abc.codec import ArrayBytesCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, NDBuffer
from zarr.core.common import JSON

from pose_data.imaging import PictureProblem, decode_jpeg, encode_jpeg

__all__ = ["JpegCodec", "decode_jpeg_chunk", "encode_jpeg_chunk"]

_NAME = "posedata_jpeg"


def encode_jpeg_chunk(crops: npt.NDArray[np.uint8], quality: int) -> bytes:
    """Return the chunk of crops (n, H, W, 3) uint8 RGB as bytes."""
    jpegs = [encode_jpeg(crop, quality) for crop in crops]
    head = np.array([len(jpegs), *map(len, jpegs)], dtype="<u4")
    return head.tobytes() + b"".join(jpegs)


def decode_jpeg_chunk(data: bytes | memoryview, out: npt.NDArray[np.uint8]) -> None:
    """Decode a chunk into ``out`` (n, H, W, 3) uint8 RGB. Raises ValueError when the bytes are damaged."""
    view = memoryview(data).cast("B")
    if len(view) < 4 * (1 + len(out)) or int.from_bytes(view[:4], "little") != len(out):
        raise ValueError("the chunk does not hold the expected number of JPEGs")
    lengths = np.frombuffer(view[4 : 4 * (1 + len(out))], dtype="<u4")
    ends = 4 * (1 + len(out)) + np.cumsum(lengths, dtype=np.int64)
    if ends.size and ends[-1] != len(view):
        raise ValueError("the chunk's length does not fit its JPEGs")
    for crop, length, end in zip(out, lengths, ends, strict=True):
        try:
            decode_jpeg(bytes(view[int(end) - int(length) : int(end)]), crop)
        except PictureProblem as problem:
            raise ValueError(problem.detail) from problem


@dataclass(frozen=True)
class JpegCodec(ArrayBytesCodec):
    """The codec as zarr-python sees it; ``quality`` is libjpeg's, 4:4:4 sampling."""

    is_fixed_size = False
    quality: int = 95

    @classmethod
    def from_dict(cls, data: dict[str, JSON]) -> Self:
        """Return the codec that a ``zarr.json`` describes."""
        configuration: Any = data.get("configuration", {})
        return cls(quality=int(configuration.get("quality", 95)))

    def to_dict(self) -> dict[str, JSON]:
        """Return the description that goes into ``zarr.json``."""
        return {"name": _NAME, "configuration": {"quality": self.quality}}

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Refuse: the size of a JPEG is not known beforehand."""
        raise ValueError("JPEG chunks have no fixed size")

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        out: npt.NDArray[np.uint8] = np.empty(chunk_spec.shape, np.uint8)
        await asyncio.to_thread(decode_jpeg_chunk, chunk_data.to_bytes(), out)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(out)

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        crops = np.ascontiguousarray(chunk_data.as_numpy_array())
        encoded = await asyncio.to_thread(encode_jpeg_chunk, crops, self.quality)
        return chunk_spec.prototype.buffer.from_bytes(encoded)

    async def decode(self, chunks_and_specs: Iterable[tuple[Buffer | None, ArraySpec]]) -> Iterable[NDBuffer | None]:
        """Return the crops of each chunk; None stays None (a chunk that is not there)."""
        return [None if data is None else await self._decode_single(data, spec) for data, spec in chunks_and_specs]

    async def encode(self, chunks_and_specs: Iterable[tuple[NDBuffer | None, ArraySpec]]) -> Iterable[Buffer | None]:
        """Return the bytes of each chunk; None stays None."""
        return [None if data is None else await self._encode_single(data, spec) for data, spec in chunks_and_specs]
