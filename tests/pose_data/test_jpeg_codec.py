"""The JPEG codec: what it writes it reads, damage is named, and zarr-python finds it by its registered name."""

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.registry import get_codec_class

from pose_data.imaging import decode_jpeg, encode_jpeg
from pose_data.jpeg_codec import JpegCodec, decode_jpeg_chunk, encode_jpeg_chunk


def soft(rows, height, width, seed=0):
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (rows, height // 8, width // 8, 3))
    return np.kron(coarse, np.ones((1, 8, 8, 1))).astype(np.uint8)


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(1, 5), height=st.sampled_from([8, 16, 40]), width=st.sampled_from([8, 24]), seed=st.integers(0))
def test_a_chunk_is_its_crops_each_a_jpeg(rows, height, width, seed):
    crops = soft(rows, height, width, seed)
    out = np.empty_like(crops)
    decode_jpeg_chunk(encode_jpeg_chunk(crops, 95), out)
    for crop, decoded in zip(crops, out, strict=True):
        single = np.empty_like(crop)
        decode_jpeg(encode_jpeg(crop, 95), single)
        np.testing.assert_array_equal(decoded, single)
    assert np.abs(out.astype(int) - crops).mean() < 3


def test_the_chunks_head_counts_and_measures():
    data = encode_jpeg_chunk(soft(3, 16, 16), 90)
    head = np.frombuffer(data[:16], "<u4")
    assert head[0] == 3
    assert 16 + head[1:].sum() == len(data)
    assert data[16:18] == b"\xff\xd8"


DAMAGES = {
    "cut": lambda data: data[:-1],
    "cut in the head": lambda data: data[:10],
    "empty": lambda data: b"",
    "longer": lambda data: data + b"\0",
    "other count": lambda data: b"\4" + data[1:],
    "huge length": lambda data: data[:4] + b"\xff\xff\xff\xff" + data[8:],
    "no JPEG": lambda data: data[:16] + b"\0\0" + data[18:],
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_a_value_error(damage):
    data = encode_jpeg_chunk(soft(3, 16, 16), 90)
    with pytest.raises(ValueError, match=r"chunk|JPEG"):
        decode_jpeg_chunk(DAMAGES[damage](data), np.empty((3, 16, 16, 3), np.uint8))


def test_crops_of_another_size_are_a_value_error():
    with pytest.raises(ValueError, match="16"):
        decode_jpeg_chunk(encode_jpeg_chunk(soft(2, 16, 16), 90), np.empty((2, 16, 24, 3), np.uint8))


def test_zarr_knows_the_codec_by_its_name():
    assert get_codec_class("posedata_jpeg") is JpegCodec
    codec = JpegCodec(quality=80)
    assert JpegCodec.from_dict(codec.to_dict()) == codec
    assert codec.to_dict() == {"name": "posedata_jpeg", "configuration": {"quality": 80}}
    assert JpegCodec.from_dict({"name": "posedata_jpeg"}).quality == 95


def test_zarr_writes_and_reads_with_it(tmp_path):
    crops = soft(8, 16, 24)
    array = zarr.create_array(
        tmp_path, shape=crops.shape, dtype="uint8", chunks=(2, 16, 24, 3), serializer=JpegCodec(quality=97),
        compressors=None,
    )  # fmt: skip
    array[:] = crops
    read = zarr.open_array(tmp_path, mode="r")[:]
    assert np.abs(read.astype(int) - crops).mean() < 3
    out = np.empty((2, 16, 24, 3), np.uint8)
    decode_jpeg_chunk((tmp_path / "c" / "1" / "0" / "0" / "0").read_bytes(), out)
    np.testing.assert_array_equal(read[2:4], out)


def test_the_size_of_a_jpeg_is_not_known_beforehand():
    with pytest.raises(ValueError, match="size"):
        JpegCodec().compute_encoded_size(1, None)  # type: ignore[arg-type]
