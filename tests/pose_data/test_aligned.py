"""Memory that begins where a cache line does."""

import numpy as np
import pytest

from pose_data.aligned import ALIGNMENT_BYTES, aligned_array, padding_bytes


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, "<u8"])
@pytest.mark.parametrize("shape", [(0,), (1,), (7, 3), (5, 256, 192, 3)])
def test_arrays_begin_at_a_cache_line_and_are_whole(shape, dtype):
    arrays = [aligned_array(shape, dtype) for _ in range(8)]
    for number, array in enumerate(arrays):
        assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
        assert not array.size or array.ctypes.data % ALIGNMENT_BYTES == 0
        assert array.flags.c_contiguous
        assert array.flags.writeable
        array[...] = number
    for number, array in enumerate(arrays):
        assert (array == number).all()  # none lies in another


def test_padding_leads_to_the_next_cache_line():
    assert [padding_bytes(place) for place in (0, 1, 63, 64, 65)] == [0, 63, 1, 0, 63]
