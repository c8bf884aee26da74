"""Limb scores against loops over pairs and places."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_data.grouping import GROUPINGS, connections
from pose_data.grouping.connections import score_limbs
from pose_data.grouping.peaks import Peaks

LIMBS = ((0, 1), (2, 1), (0, 3))


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_scores_are_those_of_the_plain_version(plain, data):
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    options = replace(
        GROUPINGS["published"],
        upsample=data.draw(st.sampled_from([1, 4])),
        sampling=data.draw(st.sampled_from(["nearest", "bilinear"])),
        field_offset_cells=data.draw(st.sampled_from([0.0, 0.4375])),
        sample_count=data.draw(st.sampled_from([2, 5, 10])),
        minimum_share=data.draw(st.sampled_from([0.0, 0.3, 0.8])),
        penalise_length=data.draw(st.booleans()),
    )
    width, height = data.draw(st.tuples(st.integers(1, 12), st.integers(1, 12)))
    fields = (generator.normal(size=(6, height, width)) + 0.7).astype(np.float32)
    counts = data.draw(st.tuples(*[st.integers(0, 6)] * 4))
    xy = generator.uniform(0, 1, (sum(counts), 2)) * (width - 1, height - 1)
    if data.draw(st.booleans()):
        xy = np.rint(xy)
    peaks = Peaks(map_index=np.repeat(np.arange(4), counts), xy_grid=xy, score=np.ones(len(xy)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "_PAIRS_AT_ONCE", data.draw(st.sampled_from([1, 20, 1 << 13])))
        found = score_limbs(peaks, fields, LIMBS, options)
    expected = [
        (limb, start, end, score)
        for limb, ends in enumerate(LIMBS)
        for start in np.flatnonzero(peaks.map_index == ends[0])
        for end in np.flatnonzero(peaks.map_index == ends[1])
        if (score := plain.limb_score(fields[2 * limb : 2 * limb + 2], xy[start], xy[end], options)) is not None
    ]
    ours = dict(zip(zip(found.limb, found.start, found.end, strict=True), found.score, strict=True))
    assert set(ours) == {one[:3] for one in expected}
    np.testing.assert_allclose([ours[one[:3]] for one in expected], [one[3] for one in expected], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(np.lexsort((-found.score, found.limb)), np.arange(len(found.limb)))


def test_no_peaks_make_no_connections():
    nothing = Peaks(map_index=np.empty(0, np.intp), xy_grid=np.empty((0, 2)), score=np.empty(0))
    found = score_limbs(nothing, np.ones((6, 5, 5), np.float32), LIMBS, GROUPINGS["published"])
    assert len(found.limb) == len(found.start) == len(found.end) == len(found.score) == 0
