"""Batches: every sample once with its own bytes, in memory that may be used again, with errors that say where."""

import itertools
import pickle
import shutil
import threading

import numpy as np
import pytest
from zarr.storage import LocalStore, MemoryStore

from pose_data.errors import DamageError, ResumeMismatchError, StoreError, UsageError
from pose_data.order import EpochOrder, Position, Samples
from pose_data.reader import BatchReader, open_readable, open_zarr_split
from pose_data.store import open_store

SMALL = EpochOrder(seed=3, window=6, run_rows=4)


@pytest.fixture(scope="module")
def stores(factory, tmp_path_factory):
    """Return stores of the same persons with each image codec: codec → path."""
    folder = tmp_path_factory.mktemp("reader")
    factory.CocoMaker(folder / "coco", pictures=9).write("train2017")
    paths = {}
    for codec in ("lossless", "fast", "raw", "jpeg"):
        recipe = factory.small_recipe(image_codec=codec)
        factory.prepare_split(folder / f"{codec}.zarr", folder / "coco", "train2017", recipe)
        paths[codec] = folder / f"{codec}.zarr"
    return paths


def split_of(path):
    return open_store(path)["train2017"]


def truth(split):
    return {name: array[:] for name, array in split.arrays.items()}


def check_batches(batches, expected, rows_wanted):
    seen = []
    for batch in batches:
        for name, values in batch.arrays.items():
            np.testing.assert_array_equal(values, expected[name][batch.rows], err_msg=name)
        seen += batch.rows[batch.valid].tolist()
    assert sorted(seen) == rows_wanted.tolist()


@pytest.mark.parametrize("codec", ["lossless", "fast", "raw", "jpeg"])
@pytest.mark.parametrize("shuffle", ["window", "full", "none"])
@pytest.mark.parametrize("threads", [1, 3])
def test_every_sample_comes_once_with_its_own_bytes(stores, codec, shuffle, threads):
    split = split_of(stores[codec])
    order = EpochOrder(seed=1, shuffle=shuffle, window=6, run_rows=4)
    kept = np.flatnonzero(split["kept"][:])
    assert 0 < len(kept) < len(split)
    with BatchReader(split, batch_size=4, order=order, threads=threads) as reader:
        for epoch in range(2):
            batches = list(reader.epoch(epoch))
            assert len(batches) == len(reader)
            check_batches(batches, truth(split), kept)


def test_ranks_share_an_epoch_and_make_equally_many_batches(stores):
    split = split_of(stores["lossless"])
    batches = []
    for rank in range(3):
        with BatchReader(split, batch_size=4, order=SMALL, rank=rank, world_size=3) as reader:
            mine = list(reader.epoch())
            assert len(mine) == len(reader)
            batches += mine
    check_batches(batches, truth(split), np.flatnonzero(split["kept"][:]))


@pytest.mark.parametrize("ranks_after", [1, 2, 3])
@pytest.mark.parametrize("done", [0, 1, 2, 3])
def test_an_epoch_goes_on_where_it_was_left_on_another_number_of_ranks_too(stores, done, ranks_after):
    split, batches, position = split_of(stores["raw"]), [], None
    for rank in range(2):
        with BatchReader(split, batch_size=3, order=SMALL, rank=rank, world_size=2) as reader:
            epoch = reader.epoch(0)
            batches += [next(epoch) for _ in range(done)]
            epoch.close()
            position = Position.from_dict(reader.position.as_dict())
    for rank in range(ranks_after):
        with BatchReader(split, batch_size=3, order=SMALL, rank=rank, world_size=ranks_after) as reader:
            batches += list(reader.epoch(0, position=position))
    check_batches(batches, truth(split), np.flatnonzero(split["kept"][:]))


def test_the_rest_of_an_epoch_is_what_an_undisturbed_one_would_have_read(stores):
    with BatchReader(split_of(stores["fast"]), batch_size=4, order=SMALL) as reader:
        whole = [batch.rows.tolist() for batch in reader.epoch(2)]
        for done in range(len(whole)):
            epoch = reader.epoch(2)
            for _ in range(done):
                next(epoch)
            epoch.close()
            rest = [batch.rows.tolist() for batch in reader.epoch(2, position=reader.position)]
            assert rest == whole[done:]


def test_a_position_of_another_epoch_order_or_split_is_refused(stores):
    with BatchReader(split_of(stores["fast"]), batch_size=4, order=SMALL) as reader:
        next(reader.epoch(0))
        position = reader.position
        with pytest.raises(UsageError, match="position-invalid"):
            next(reader.epoch(1, position=position))
    for order in (EpochOrder(seed=9, window=SMALL.window, run_rows=SMALL.run_rows), EpochOrder(seed=SMALL.seed)):
        with (
            BatchReader(split_of(stores["fast"]), batch_size=4, order=order) as reader,
            pytest.raises(ResumeMismatchError, match="position-mismatch"),
        ):
            next(reader.epoch(0, position=position))
    with BatchReader(split_of(stores["fast"]), batch_size=4, order=SMALL) as reader:
        others = Position(order=SMALL, samples=Samples(reader.samples.count + 1, 0), segments=position.segments)
        with pytest.raises(ResumeMismatchError, match="samples and are"):
            next(reader.epoch(0, position=others))


def test_memory_is_used_again_only_when_asked_for(stores):
    split = split_of(stores["lossless"])
    made = []

    def allocate(shape, dtype):
        made.append(np.empty(shape, dtype))
        return made[-1]

    order = EpochOrder(window=2, run_rows=4)
    with BatchReader(
        split, batch_size=2, order=order, reuse_memory=True, allocate=allocate, arrays=["images"]
    ) as reader:
        before = None
        for batch in reader.epoch():
            assert np.array_equal(batch.arrays["images"], truth(split)["images"][batch.rows])
            if before is not None:  # the one before is still untouched
                assert np.array_equal(before.arrays["images"], truth(split)["images"][before.rows])
            before = batch
        count = len(reader)
    assert len(made) == 1
    assert len(made[0]) < 2 * count


@pytest.mark.parametrize("leave_after", [None, 1, 2, 5])
def test_all_epochs_use_the_same_memory_in_one_piece(stores, leave_after):
    split = split_of(stores["raw"])
    expected = truth(split)["images"]
    made = []

    def allocate(shape, dtype):
        made.append(np.empty(shape, dtype))
        return made[-1]

    with BatchReader(
        split, batch_size=2, order=SMALL, reuse_memory=True, allocate=allocate, arrays=["images"], threads=3
    ) as reader:
        reader.epoch(0)  # one that nobody reads
        position = Position(order=SMALL, samples=reader.samples).after(1, 2 * len(reader) - 2)
        rest = list(reader.epoch(0, position=position))  # memory is for a whole epoch, however short the first is
        last = rest[-1]
        for epoch in range(1, 40):
            for number, batch in enumerate(itertools.islice(reader.epoch(epoch), leave_after)):
                assert np.array_equal(batch.arrays["images"], expected[batch.rows])
                if number == 0:  # the epoch before ended with it, and the next batch but one is not asked for
                    assert np.array_equal(last.arrays["images"], expected[last.rows])
                last = batch
    # However far the threads run ahead: two windows of 3 batches, each with one that it shares, the two that are kept,
    # and the two that the epoch before ended with.
    assert [len(memory) // 2 for memory in made] == [min(2 * (3 + 1) + 2, len(reader)) + 2]


def test_a_used_reader_is_handed_on_without_its_memory(stores):
    split = split_of(stores["raw"])
    with BatchReader(split, batch_size=2, order=SMALL, reuse_memory=True) as reader:
        before = len(pickle.dumps(reader))
        list(reader.epoch(0))
        assert len(pickle.dumps(reader)) < before + 1000
        check_batches(pickle.loads(pickle.dumps(reader)).epoch(1), truth(split), np.flatnonzero(split["kept"][:]))


def test_two_epochs_of_one_reader_may_be_read_at_once(stores):
    split = split_of(stores["lossless"])
    expected = truth(split)["images"]
    with BatchReader(split, batch_size=2, order=SMALL, reuse_memory=True, arrays=["images"], threads=2) as reader:
        list(reader.epoch(0))
        for one, other in zip(reader.epoch(1), reader.epoch(2), strict=True):
            assert np.array_equal(one.arrays["images"], expected[one.rows])
            assert np.array_equal(other.arrays["images"], expected[other.rows])


def test_epochs_that_are_read_at_once_keep_their_places(stores):
    split = split_of(stores["raw"])
    with BatchReader(split, batch_size=2, order=SMALL, arrays=["images"], threads=2) as reader:
        expected = [batch.rows.tolist() for batch in reader.epoch(1)]
        one, other = reader.epoch(1), reader.epoch(2)
        for epoch in (one, other, other, one, other, one):
            next(epoch)
        position = reader.position
        one.close()
        other.close()
        assert (position.epoch, position.segments[-1].rows_a_rank) == (1, 6)
        assert [batch.rows.tolist() for batch in reader.epoch(1, position=position)] == expected[3:]


def test_maps_as_float32_are_the_stored_ones_times_their_scale(stores):
    split = split_of(stores["lossless"])
    with BatchReader(split, batch_size=4, arrays=["heatmaps"], maps="float32") as reader:
        for batch in reader.epoch():
            expected = split["heatmaps"][:][batch.rows] * np.float32(1 / 255)
            assert batch.arrays["heatmaps"].dtype == np.float32
            np.testing.assert_array_equal(batch.arrays["heatmaps"], expected)


def test_columns_alone_need_no_threads(stores):
    before = threading.active_count()
    with BatchReader(split_of(stores["raw"]), batch_size=4, arrays=["keypoints", "image_id"]) as reader:
        epoch = reader.epoch()
        assert set(next(epoch).arrays) == {"keypoints", "image_id"}
        assert threading.active_count() == before


def test_leaving_early_and_errors_end_the_threads(stores):
    before = threading.active_count()
    reader = BatchReader(split_of(stores["lossless"]), batch_size=2, order=SMALL, threads=4)
    epoch = reader.epoch()
    next(epoch)
    epoch.close()
    assert threading.active_count() == before

    def consume():
        for _ in reader.epoch():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()
    assert threading.active_count() == before
    reader.close()


# ----------------------------------------------------------------------------------- damage


@pytest.fixture
def copies(stores, tmp_path):
    def copy(codec):
        shutil.copytree(stores[codec], tmp_path / "copy.zarr")
        return tmp_path / "copy.zarr"

    return copy


def shard_files(path, array):
    return sorted((path / "train2017" / array).glob("c.*"))


@pytest.mark.parametrize("codec", ["lossless", "fast", "raw", "jpeg"])
@pytest.mark.parametrize("array", ["images", "heatmaps"])
def test_a_flipped_byte_is_an_error_that_says_where(copies, codec, array):
    path = copies(codec)
    split = split_of(path)
    file = shard_files(path, array)[1]
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    with BatchReader(split, batch_size=4, order=SMALL) as reader, pytest.raises(DamageError) as caught:
        list(reader.epoch())
    assert caught.value.code == "chunk"
    for part in (str(file), "split train2017", f"array {array}", "shard 1", "rows ", "annotations 10"):
        assert part in caught.value.where


@pytest.mark.parametrize("damage", ["index", "cut", "gone"])
def test_a_damaged_index_a_short_and_a_missing_file_are_errors(copies, damage):
    path = copies("lossless")
    split = split_of(path)
    file = shard_files(path, "images")[0]
    data = bytearray(file.read_bytes())
    data[-10] ^= 1
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes(data if damage == "index" else data[:30])
    with BatchReader(split, batch_size=4, order=SMALL) as reader, pytest.raises(DamageError) as caught:
        list(reader.epoch())
    assert caught.value.code == ("missing-file" if damage == "gone" else "chunk")


def test_a_chunk_that_is_absent_is_an_error_and_never_zeros(copies):
    import google_crc32c

    path = copies("raw")
    split = split_of(path)
    file = shard_files(path, "heatmaps")[0]
    chunks = split.recipe.shard_rows // split.recipe.chunk_rows
    data = bytearray(file.read_bytes())
    index = np.frombuffer(bytes(data[-16 * chunks - 4 : -4]), "<u8").copy().reshape(chunks, 2)
    index[0] = 2**64 - 1
    text = index.tobytes()
    data[-16 * chunks - 4 :] = text + google_crc32c.value(text).to_bytes(4, "little")
    file.write_bytes(data)
    with BatchReader(split, batch_size=4, order=SMALL) as reader, pytest.raises(DamageError, match="missing from"):
        list(reader.epoch())


def test_without_checksums_damage_of_pixels_passes_and_that_is_what_was_asked_for(copies):
    path = copies("raw")
    split = split_of(path)
    file = shard_files(path, "images")[0]
    data = bytearray(file.read_bytes())
    data[100] ^= 1
    file.write_bytes(data)
    with BatchReader(split, batch_size=4, check=False) as reader:
        assert len(list(reader.epoch())) == len(reader)


@pytest.mark.parametrize("column", ["keypoints", "kept"])
def test_a_damaged_column_is_found_when_the_reader_is_made(copies, column):
    path = copies("lossless")
    split = split_of(path)
    file = shard_files(path, column)[0]
    data = bytearray(file.read_bytes())
    data[0] ^= 1
    file.write_bytes(data)
    with pytest.raises(DamageError, match=f"array {column}, shard 0"):
        BatchReader(split, batch_size=4)


def test_an_unfinished_split_is_refused(copies):
    path = copies("lossless")
    (path / "train2017" / ".posedata" / "manifest.json").unlink()
    split = open_store(path, allow_unfinished=True)["train2017"]
    with pytest.raises(StoreError, match="unfinished"):
        open_readable(split)


@pytest.mark.parametrize(
    "options", [{"arrays": ["masks"]}, {"batch_size": 0}, {"threads": 0}, {"maps": "float64"}, {"rank": 1}]
)
def test_wrong_options_are_refused(stores, options):
    with pytest.raises(UsageError):
        list(BatchReader(split_of(stores["raw"]), **{"batch_size": 2, **options}).epoch())


# ----------------------------------------------------------------------------------- other stores


def in_memory(path):
    store = MemoryStore()
    from zarr.core.buffer import default_buffer_prototype
    from zarr.core.sync import sync

    for file in path.rglob("*"):
        if file.is_file():
            data = default_buffer_prototype().buffer.from_bytes(file.read_bytes())
            sync(store.set(file.relative_to(path).as_posix(), data))
    return store


@pytest.mark.parametrize("codec", ["lossless", "raw", "jpeg"])
@pytest.mark.parametrize("kind", ["memory", "local"])
def test_any_zarr_store_gives_the_same_batches(stores, codec, kind):
    path = stores[codec]
    store = in_memory(path) if kind == "memory" else LocalStore(path, read_only=True)
    near = list(BatchReader(split_of(path), batch_size=4, order=SMALL).epoch(1))
    far = list(BatchReader(open_zarr_split(store, "train2017"), batch_size=4, order=SMALL).epoch(1))
    assert [batch.rows.tolist() for batch in near] == [batch.rows.tolist() for batch in far]
    for mine, theirs in zip(near, far, strict=True):
        for name in mine.arrays:
            np.testing.assert_array_equal(mine.arrays[name], theirs.arrays[name])


def test_a_missing_shard_of_a_zarr_store_is_an_error(stores):
    from zarr.core.sync import sync

    store = in_memory(stores["lossless"])
    sync(store.delete("train2017/images/c.0.0.0.0"))
    reader = BatchReader(open_zarr_split(store, "train2017"), batch_size=4, order=SMALL)
    with pytest.raises(DamageError, match="missing-file"):
        list(reader.epoch())


def test_a_zarr_store_without_the_split_is_refused():
    with pytest.raises(StoreError, match="no finished split"):
        open_zarr_split(MemoryStore(), "val2017")


# ------------------------------------------------------------------ scenes


@pytest.fixture(scope="module")
def scenes(factory, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    coco = factory.CocoMaker(folder / "coco", pictures=5)
    coco.write("val2017", broken=False)
    random = np.random.default_rng(0)
    alone = coco.picture(random, folder / "coco" / "val2017", "alone.jpg")
    coco.person(random, alone)
    coco.dump("val2017")
    factory.prepare_split(folder / "s.zarr", folder / "coco", "val2017", factory.scene_recipe())
    return open_store(folder / "s.zarr")["val2017"]


def test_persons_of_a_batch_come_one_after_another_with_their_offsets(scenes):
    stored, offsets = scenes["keypoints"][:], scenes["offsets"][:]
    seen = []
    with BatchReader(scenes, batch_size=4, arrays=("mask", "keypoints", "area", "image_id"), threads=1) as reader:
        for batch in reader.epoch(0):
            own = batch.arrays["offsets"]
            assert own[0, 0] == 0
            assert own[-1, 1] == len(batch.arrays["keypoints"]) == len(batch.arrays["area"])
            np.testing.assert_array_equal(own[1:, 0], own[:-1, 1])
            for place, row in enumerate(batch.rows.tolist()):
                persons = batch.arrays["keypoints"][slice(*own[place])]
                np.testing.assert_array_equal(persons, stored[slice(*offsets[row])])
            seen += batch.rows[batch.valid].tolist()
    assert sorted(seen) == list(range(6))


def test_pictures_with_few_persons_alone(scenes):
    with BatchReader(scenes, batch_size=2, arrays=("keypoints",), most_persons=1) as reader:
        (batch,) = reader.epoch(0)
        assert reader.samples.count == 1
    assert batch.valid.tolist() == [True, False]
    offsets = scenes["offsets"][batch.rows[0]]
    assert offsets[1] - offsets[0] == 1


def test_a_limit_on_persons_is_for_scenes(scenes, finished_store):
    with pytest.raises(UsageError, match="most_persons"):
        BatchReader(open_store(finished_store)["val2017"], batch_size=2, most_persons=1)
    with pytest.raises(UsageError, match="most_persons"):
        BatchReader(scenes, batch_size=2, most_persons=-1)


def test_one_row_of_persons(scenes):
    split = open_readable(scenes)
    assert split.row("keypoints", 3).shape[1:] == (17, 3)
    assert len(split.row("area", 3)) == len(split.row("keypoints", 3))
    assert split.row("transforms", 3).shape == (2, 3)
