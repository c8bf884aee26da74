"""Joining fragments by distance, against loops."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_data.grouping.fragments import nearest_joins


def plain_joins(members, xy, reach):
    """Join the nearest two again and again, everything computed anew."""
    fragments = {index: {k: tuple(xy[i]) for k, i in enumerate(row) if i >= 0} for index, row in enumerate(members)}
    joins = []
    while True:
        best = None
        for one in sorted(fragments):
            for other in sorted(fragments):
                if one >= other or set(fragments[one]) & set(fragments[other]):
                    continue
                gap = min(math.dist(a, b) for a in fragments[one].values() for b in fragments[other].values())
                extents = [
                    max(max(p[axis] for p in f.values()) - min(p[axis] for p in f.values()) for axis in (0, 1))
                    for f in (fragments[one], fragments[other])
                ]
                if gap < reach * max(*extents, 8.0) and (best is None or gap < best[0]):
                    best = gap, one, other
        if best is None:
            return joins
        _, one, other = best
        fragments[one] |= fragments.pop(other)
        joins.append((one, other))


@settings(deadline=None)
@given(data=st.data())
def test_joins_are_those_of_the_plain_version(data):
    generator = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    held = data.draw(st.lists(st.sets(st.integers(0, 3), min_size=1), max_size=7))
    members = np.full((len(held), 4), -1, dtype=np.intp)
    places = [(row, keypoint) for row, keypoints in enumerate(held) for keypoint in sorted(keypoints)]
    for peak, place in enumerate(places):
        members[place] = peak
    xy = generator.uniform(0, 40, (len(places), 2))
    reach = data.draw(st.sampled_from([0.3, 1.0, 4.0]))
    assert nearest_joins(members, xy, reach) == plain_joins(members, xy, reach)
