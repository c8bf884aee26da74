"""Shard files: byte for byte what zarr-python writes; every flipped bit and every hole is found, never zeros."""

import asyncio

import google_crc32c
import numpy as np
import pytest
import tensorstore
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from zarrs.pipeline import UnsupportedMetadataError

from pose_data.atomic import AtomicFile
from pose_data.errors import DamageError
from pose_data.layout import ArrayLayout
from pose_data.shard_file import ShardWriter, decode_chunk, encode_chunk, read_chunk, read_column, read_index
from pose_data.zarr_metadata import array_metadata

ROWS, SHARD_ROWS, CHUNK_ROWS = 21, 8, 4
IMAGE_CODECS = ("blosc-lz4-bitshuffle", "blosc-lz4", "none", "jpeg")
DTYPES = ("uint8", "float16", "float32")


def image_layout(codec):
    return ArrayLayout(
        name="images", row_shape=(16, 24, 3), dtype=np.dtype(np.uint8), dimensions=("row", "y", "x", "channel"),
        codec=codec, sharded=True,
    )  # fmt: skip


def map_layout(dtype):
    return ArrayLayout(
        name="maps", row_shape=(3, 6, 5), dtype=np.dtype(dtype), dimensions=("row", "keypoint", "y", "x"),
        codec="zstd", sharded=True,
    )  # fmt: skip


LAYOUTS = [image_layout(codec) for codec in IMAGE_CODECS] + [map_layout(dtype) for dtype in DTYPES]
layouts = pytest.mark.parametrize("layout", LAYOUTS, ids=[f"{lay.codec}-{lay.dtype}" for lay in LAYOUTS])


def values_of(layout, rows=ROWS):
    random = np.random.default_rng(5)
    if layout.name == "images":
        coarse = random.integers(0, 256, (rows, 2, 3, 3))
        values = np.kron(coarse, np.ones((1, 8, 8, 1))).astype(np.uint8)
    elif layout.dtype == np.uint8:
        values = random.integers(0, 256, (rows, *layout.row_shape)).astype(np.uint8)
    else:
        values = random.normal(size=(rows, *layout.row_shape)).astype(layout.dtype)
    values[CHUNK_ROWS : 2 * CHUNK_ROWS] = 0  # a chunk of nothing but zeros
    return values


def write_array(folder, layout, values, rows=ROWS):
    folder.mkdir(exist_ok=True)
    (folder / "zarr.json").write_bytes(array_metadata(layout, rows, SHARD_ROWS, CHUNK_ROWS))
    for shard in range(-(-rows // SHARD_ROWS)):
        with AtomicFile(folder / f"c.{shard}.0.0.0") as file:
            writer = ShardWriter(layout, CHUNK_ROWS, SHARD_ROWS, file)
            for first in range(shard * SHARD_ROWS, min(rows, (shard + 1) * SHARD_ROWS), CHUNK_ROWS):
                chunk = np.zeros((CHUNK_ROWS, *layout.row_shape), layout.dtype)
                part = values[first : first + CHUNK_ROWS]
                chunk[: len(part)] = part
                writer.add(chunk)
            writer.finish()
    return folder


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    folder = tmp_path_factory.mktemp("arrays")
    return {
        (layout.codec, layout.dtype.name): write_array(
            folder / f"{layout.codec}-{layout.dtype}", layout, values_of(layout)
        )
        for layout in LAYOUTS
    }


def of(arrays, layout):
    return arrays[layout.codec, layout.dtype.name]


@layouts
def test_the_files_are_those_that_zarr_python_writes(tmp_path, arrays, layout):
    ours = of(arrays, layout)
    (tmp_path / "zarr.json").write_bytes((ours / "zarr.json").read_bytes())
    with zarr.config.set({"array.write_empty_chunks": True}):
        array = zarr.open_array(tmp_path, mode="r+")
        values = values_of(layout)
        for first in range(0, ROWS, SHARD_ROWS):
            array[first : first + SHARD_ROWS] = values[first : first + SHARD_ROWS]
    for shard in range(2):
        theirs, own = (folder / f"c.{shard}.0.0.0" for folder in (tmp_path, ours))
        if layout.codec == "none":  # ours have zeros between the chunks
            assert [chunk for chunk, _ in chunks_of(theirs)] == [chunk for chunk, _ in chunks_of(own)]
        else:
            assert theirs.read_bytes() == own.read_bytes()


def chunks_of(path):
    """Return the bytes of each chunk of a shard file, with those between the chunk before it and it."""
    data, chunks, end = path.read_bytes(), [], 0
    for offset, length in read_index(path, SHARD_ROWS // CHUNK_ROWS).tolist():
        chunks.append((data[offset : offset + length], data[end:offset]))
        end = offset + length
    return chunks


@layouts
def test_only_raw_chunks_have_zeros_before_them_to_begin_at_a_multiple_of_64_bytes(arrays, layout):
    path = of(arrays, layout) / "c.0.0.0.0"
    (first, before_first), (second, before_second) = chunks_of(path)
    assert before_first == b""
    if layout.codec == "none":
        assert before_second == bytes(-len(first) % 64) == bytes(60)
        assert (read_index(path, 2)[:, 0] % 64 == 0).all()
    else:
        assert before_second == b""
    assert len(path.read_bytes()) == len(before_second) + len(first) + len(second) + 2 * 16 + 4


@layouts
def test_zarr_python_reads_what_was_meant(arrays, layout):
    read = zarr.open_array(of(arrays, layout), mode="r")[:]
    if layout.codec == "jpeg":
        assert np.abs(read.astype(int) - values_of(layout)).mean() < 3
    else:
        np.testing.assert_array_equal(read, values_of(layout))
    assert read.dtype == layout.dtype


@layouts
def test_tensorstore_reads_the_same_or_refuses_jpeg_by_name(arrays, layout):
    spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(of(arrays, layout))}}
    if layout.codec == "jpeg":
        with pytest.raises(ValueError, match="posedata_jpeg"):
            tensorstore.open(spec, open=True).result()
        return
    read = tensorstore.open(spec, open=True).result().read().result()
    np.testing.assert_array_equal(read, values_of(layout))


@layouts
def test_zarrs_reads_the_same(arrays, layout):
    with zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline", "codec_pipeline.strict": True}):
        if layout.codec == "jpeg":
            with pytest.raises(UnsupportedMetadataError):
                zarr.open_array(of(arrays, layout), mode="r")[:]
            return
        read = zarr.open_array(of(arrays, layout), mode="r")
        np.testing.assert_array_equal(read[:], values_of(layout))


@layouts
def test_every_chunk_reads_back_as_zarr_reads_it(arrays, layout):
    whole = zarr.open_array(of(arrays, layout), mode="r")[:]
    out = np.empty((CHUNK_ROWS, *layout.row_shape), layout.dtype)
    for first in range(0, ROWS, CHUNK_ROWS):
        path = of(arrays, layout) / f"c.{first // SHARD_ROWS}.0.0.0"
        index = read_index(path, SHARD_ROWS // CHUNK_ROWS)
        out[:] = 7
        read_chunk(layout, path, index, first % SHARD_ROWS // CHUNK_ROWS, out)
        part = whole[first : first + CHUNK_ROWS]
        np.testing.assert_array_equal(out[: len(part)], part)
        if layout.codec != "jpeg":
            assert not out[len(part) :].any()


@layouts
def test_a_chunk_of_zeros_is_written_like_any_other(arrays, layout):
    index = read_index(of(arrays, layout) / "c.0.0.0.0", 2)
    assert (index[:, 1] > 4).all()
    assert (index[:, 1] < 2**32).all()


def test_only_chunks_beyond_the_last_row_are_missing(arrays):
    layout = LAYOUTS[0]
    path = write_array(of(arrays, layout).parent / "short", layout, values_of(layout), rows=10) / "c.1.0.0.0"
    index = read_index(path, 2)
    assert index[0].tolist() == [0, int(index[0, 1])]
    assert index[1].tolist() == [2**64 - 1, 2**64 - 1]
    out = np.empty((CHUNK_ROWS, *layout.row_shape), layout.dtype)
    with pytest.raises(DamageError, match="missing from its shard"):
        read_chunk(layout, path, index, 1, out)


@layouts
def test_every_chunk_ends_with_its_checksum(arrays, layout):
    for chunk, _ in chunks_of(of(arrays, layout) / "c.0.0.0.0"):
        assert google_crc32c.value(chunk[:-4]).to_bytes(4, "little") == chunk[-4:]


@pytest.fixture(scope="module")
def good(arrays):
    """Each array's first shard file: name → (path, bytes)."""
    return {key: (folder / "c.0.0.0.0", (folder / "c.0.0.0.0").read_bytes()) for key, folder in arrays.items()}


def read_all(layout, path):
    out = np.empty((CHUNK_ROWS, *layout.row_shape), layout.dtype)
    index = read_index(path, 2)
    for chunk in range(2):
        read_chunk(layout, path, index, chunk, out)


@layouts
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_flipped_bit_is_found(tmp_path, good, layout, data):
    path, whole = good[layout.codec, layout.dtype.name]
    (first, _), (_, padding) = chunks_of(path)
    damaged = bytearray(whole)
    # The zeros before a raw chunk mean nothing; that they changed only the file's digest shows.
    place = data.draw(st.integers(0, len(whole) - 1 - len(padding)))
    damaged[place + (len(padding) if place >= len(first) else 0)] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "shard"
    path.write_bytes(damaged)
    with pytest.raises(DamageError, match="chunk"):
        read_all(layout, path)


@layouts
@settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_cut_is_found(tmp_path, good, layout, data):
    _, whole = good[layout.codec, layout.dtype.name]
    (tmp_path / "shard").write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(DamageError, match="chunk"):
        read_all(layout, tmp_path / "shard")


def test_a_missing_file_is_damage_of_its_own_code(tmp_path):
    index = np.array([[0, 10]], np.uint64)
    out = np.empty((CHUNK_ROWS, 3, 6, 5), np.uint8)
    for read in (
        lambda: read_index(tmp_path / "no", 2),
        lambda: read_chunk(map_layout("uint8"), tmp_path / "no", index, 0, out),
        lambda: read_column(map_layout("uint8"), tmp_path / "no", 8),
    ):
        with pytest.raises(DamageError) as caught:
            read()
        assert caught.value.code == "missing-file"
        assert str(tmp_path / "no") in caught.value.where


@layouts
def test_a_chunk_of_another_number_of_rows_is_found_though_its_checksum_is_right(layout):
    values = values_of(layout, 16)
    for rows in (2, 6):
        coded, crc = encode_chunk(layout, np.ascontiguousarray(values[8 : 8 + rows]))
        out = np.full((CHUNK_ROWS, *layout.row_shape), 7, layout.dtype)
        with pytest.raises(ValueError, match=r".+"):
            decode_chunk(layout, bytes(coded) + crc, out)


def test_foreign_bytes_with_a_right_checksum_are_found():
    for layout in LAYOUTS:
        junk = b"this is no chunk of any codec"
        data = junk + google_crc32c.value(junk).to_bytes(4, "little")
        with pytest.raises(ValueError, match=r".+"):
            decode_chunk(layout, data, np.empty((CHUNK_ROWS, *layout.row_shape), layout.dtype))


@pytest.mark.parametrize("dtype", ["bool", "int64", "float32", "float64"])
@pytest.mark.parametrize("row_shape", [(), (4,), (17, 3)])
def test_columns_are_whole_checked_chunks(tmp_path, dtype, row_shape):
    layout = ArrayLayout(
        name="column", row_shape=row_shape, dtype=np.dtype(dtype), dimensions=("row", "a", "b")[: 1 + len(row_shape)]
    )
    values = np.random.default_rng(1).integers(0, 2, (SHARD_ROWS, *row_shape)).astype(dtype)
    path = tmp_path / ".".join(["c", "0", *["0"] * len(row_shape)])
    data = b"".join(encode_chunk(layout, values))
    path.write_bytes(data)
    (tmp_path / "zarr.json").write_bytes(array_metadata(layout, 5, SHARD_ROWS, CHUNK_ROWS))
    np.testing.assert_array_equal(read_column(layout, path, SHARD_ROWS), values)
    np.testing.assert_array_equal(zarr.open_array(tmp_path, mode="r")[:], values[:5])
    for position in {0, len(data) // 2, *range(len(data) - 5, len(data))}:
        path.write_bytes(data[:position] + bytes([data[position] ^ 16]) + data[position + 1 :])
        with pytest.raises(DamageError, match="checksum"):
            read_column(layout, path, SHARD_ROWS)
    path.write_bytes(data[:-5])
    with pytest.raises(DamageError):
        read_column(layout, path, SHARD_ROWS)


def test_what_is_no_whole_chunk_is_our_own_bug(tmp_path):
    layout = map_layout("uint8")
    with pytest.raises(AssertionError):
        encode_chunk(layout, np.zeros((4, 3, 6, 5), np.float32))
    with pytest.raises(AssertionError):
        encode_chunk(layout, np.zeros((4, 3, 5, 6), np.uint8).swapaxes(2, 3))
    with pytest.raises(AssertionError), AtomicFile(tmp_path / "x") as file:
        ShardWriter(layout, CHUNK_ROWS, SHARD_ROWS, file).add(np.zeros((3, 3, 6, 5), np.uint8))


def test_threads_code_the_same_bytes():
    async def both():
        work = [asyncio.to_thread(encode_chunk, LAYOUTS[0], values_of(LAYOUTS[0], 16)) for _ in range(8)]
        return await asyncio.gather(*work)

    assert {coded for coded, _ in asyncio.run(both())} == {encode_chunk(LAYOUTS[0], values_of(LAYOUTS[0], 16))[0]}
