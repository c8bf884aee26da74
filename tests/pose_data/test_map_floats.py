"""Maps as float32: times their scale, in memory of their own or in two arrays that take turns."""

import pickle

import numpy as np
import pytest

from pose_data.layout import ArrayLayout
from pose_data.map_floats import FloatMaps

SCALE = 1 / 255


def layout_of(dtype, name="heatmaps", **attributes):
    return ArrayLayout(
        name=name,
        row_shape=(2, 4, 3),
        dtype=np.dtype(dtype),
        dimensions=("row", "keypoint", "y", "x"),
        sharded=True,
        attributes=attributes,
    )


def stored_maps(number, dtype):
    return {"heatmaps": np.random.default_rng(number).integers(0, 256, (5, 2, 4, 3)).astype(dtype), "images": None}


def counted():
    made = []

    def allocate(shape, dtype):
        made.append(np.empty(shape, dtype))
        return made[-1]

    return made, allocate


@pytest.mark.parametrize("dtype", ["uint8", "float16"])
@pytest.mark.parametrize("reuse_memory", [False, True])
def test_values_are_the_stored_ones_times_their_scale(dtype, reuse_memory):
    layout = layout_of(dtype, scale=SCALE)
    maps = FloatMaps([layout], batch_size=5, reuse_memory=reuse_memory, allocate=np.empty)
    with maps.epoch() as as_floats:
        for number in range(5):
            stored = stored_maps(number, dtype)
            found = as_floats(stored)
            assert list(found) == ["heatmaps"]
            assert found["heatmaps"].dtype == np.float32
            assert np.array_equal(found["heatmaps"], stored["heatmaps"].astype(np.float32) * np.float32(SCALE))


def test_maps_without_a_scale_keep_their_values():
    stored = stored_maps(0, "float16")
    maps = FloatMaps([layout_of("float16")], batch_size=5, reuse_memory=True, allocate=np.empty)
    with maps.epoch() as as_floats:
        assert np.array_equal(as_floats(stored)["heatmaps"], stored["heatmaps"])


def test_stored_float32_is_handed_on():
    made, allocate = counted()
    maps = FloatMaps([layout_of("float32")], batch_size=5, reuse_memory=True, allocate=allocate)
    with maps.epoch() as as_floats:
        for number in range(4):
            assert not as_floats(stored_maps(number, "float32"))
    assert not any(memory.size for memory in made)


def test_two_batches_stay_from_epoch_to_epoch_and_no_more_memory_is_made():
    made, allocate = counted()
    maps = FloatMaps([layout_of("uint8", scale=SCALE)], batch_size=5, reuse_memory=True, allocate=allocate)
    batches = []
    for length in (7, 1, 2, 5, 4):
        with maps.epoch() as as_floats:
            for number in range(length):
                batches.append((stored_maps(number, "uint8")["heatmaps"], as_floats(stored_maps(number, "uint8"))))
                for stored, found in batches[-2:]:
                    assert np.array_equal(found["heatmaps"], stored * np.float32(SCALE))
    assert len(made) == 1
    assert len(made[0]) == 2 * 5


def test_without_memory_that_is_used_again_every_batch_has_its_own():
    made, allocate = counted()
    maps = FloatMaps([layout_of("uint8")], batch_size=5, reuse_memory=False, allocate=allocate)
    with maps.epoch() as as_floats:
        for number in range(4):
            as_floats(stored_maps(number, "uint8"))
    assert len(made) == 4


def test_memory_is_not_handed_to_another_process():
    maps = FloatMaps([layout_of("uint8")], batch_size=1000, reuse_memory=True, allocate=np.empty)
    with maps.epoch() as as_floats:
        for _ in range(3):
            as_floats({"heatmaps": np.zeros((1000, 2, 4, 3), np.uint8)})
    assert len(pickle.dumps(maps)) < 2000
    maps.close()
    with pickle.loads(pickle.dumps(maps)).epoch() as as_floats:
        found = as_floats({"heatmaps": np.ones((1000, 2, 4, 3), np.uint8)})
        assert np.array_equal(found["heatmaps"], np.ones((1000, 2, 4, 3)))
