"""Rows of raw chunks: few reads, each chunk checked once, repeated and unwanted rows, errors that name the chunk."""

import google_crc32c
import numpy as np
import pytest

from pose_data.chunk_rows import ChunkRows, Scratch, Wanted
from pose_data.errors import DamageError
from pose_data.reader import open_readable
from pose_data.shard_file import read_index
from pose_data.store import open_store


@pytest.fixture(scope="module")
def split(factory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("chunk_rows")
    factory.CocoMaker(folder / "coco", pictures=9).write("train2017")
    factory.prepare_split(folder / "raw.zarr", folder / "coco", "train2017", factory.small_recipe(image_codec="raw"))
    return open_store(folder / "raw.zarr")["train2017"]


class CountedBytes:
    """A source that counts its reads, and may give ``missing`` bytes fewer than were asked for."""

    def __init__(self, source, missing=0):
        self._source, self.reads, self._missing = source, [], missing
        self.places = {}  # of files that are to be read from elsewhere

    def __getattr__(self, name):
        return getattr(self._source, name)

    def tail(self, key, count):
        return self._source.tail(self.places.get(key, key), count)

    def read_into(self, key, offset, parts, count):
        self.reads.append((offset, sum(memoryview(part).nbytes for part in parts)))
        return self._source.read_into(self.places.get(key, key), offset, parts, count) - self._missing


def chunks_of(split, **options):
    readable = open_readable(split)
    source = CountedBytes(readable.source, **options)
    facts = split.facts
    layouts = [readable.layouts["images"]]
    chunk_rows = facts.recipe.chunk_rows
    return ChunkRows(source, layouts, shard_rows=facts.shard_rows, chunk_rows=chunk_rows), source, readable, chunk_rows


def load(chunks, split, rows):
    layout = chunks.layouts["images"]
    places = [np.zeros(layout.row_shape, layout.dtype) for _ in rows]
    chunks.load("images", Wanted(0, np.array(rows), places={"images": places}), Scratch())
    np.testing.assert_array_equal(places, split["images"][:][rows])


def test_neighbouring_chunks_are_one_read_the_first_time_and_later(split):
    chunks, source, _, chunk_rows = chunks_of(split)
    rows = list(range(2 * chunk_rows))
    for _ in range(2):
        source.reads.clear()
        load(chunks, split, rows)
        assert len(source.reads) == 1


def test_chunks_without_zeros_between_them_are_one_read_too(split, tmp_path):
    # As zarr-python writes them, and as posedata did.
    chunks, source, _, chunk_rows = chunks_of(split)
    path = tmp_path / "packed"
    whole = (split.folder.path / chunks.key("images", 0)).read_bytes()
    index = read_index(split.folder.path / chunks.key("images", 0), split.facts.shard_rows // chunk_rows).copy()
    packed = b""
    for number, (offset, length) in enumerate(index.tolist()):
        index[number, 0] = len(packed)
        packed += whole[offset : offset + length]
    path.write_bytes(packed + index.tobytes() + google_crc32c.value(index.tobytes()).to_bytes(4, "little"))
    assert 0 < len(whole) - path.stat().st_size < 64 * len(index)
    source.places[chunks.key("images", 0)] = path
    load(chunks, split, list(range(2 * chunk_rows)))
    assert len(source.reads) == 1


def test_a_chunk_is_read_whole_only_until_it_has_been_checked(split):
    chunks, source, readable, chunk_rows = chunks_of(split)
    row_bytes = readable.layouts["images"].row_bytes()
    load(chunks, split, [1])
    assert sum(size for _, size in source.reads) == chunk_rows * row_bytes + 4
    source.reads.clear()
    load(chunks, split, [1])
    assert sum(size for _, size in source.reads) == row_bytes


@pytest.mark.parametrize("again", [False, True])
def test_repeated_rows_and_chunks_with_unwanted_rows_arrive_whole(split, again):
    chunks, _, _, chunk_rows = chunks_of(split)
    if again:
        load(chunks, split, list(range(2 * chunk_rows)))
    load(chunks, split, [1, 1, *range(chunk_rows, 2 * chunk_rows - 1)])
    load(chunks, split, [0, chunk_rows - 1, chunk_rows])


def test_a_short_read_names_the_chunk_in_which_the_file_ends(split):
    chunks, _, _, chunk_rows = chunks_of(split, missing=1)
    with pytest.raises(DamageError, match="beyond the end of its file") as caught:
        load(chunks, split, list(range(2 * chunk_rows)))
    assert caught.value.where.endswith("chunk 1")
