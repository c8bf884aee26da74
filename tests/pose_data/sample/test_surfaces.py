import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_data.sample.surfaces import Part, cast_parts

SCALE, SIZE = 60.0, 64


def cone(start: list[float], end: list[float], radii: tuple[float, float], squash=(1.0, 1.0, 1.0), **rest) -> Part:
    return Part(
        material="skin", start=np.array(start), end=np.array(end), start_radius=radii[0], end_radius=radii[1],
        frame=np.eye(3), origin=np.zeros(3), squash=squash, **rest,
    )  # fmt: skip


def cast(*parts: Part):
    return cast_parts(parts, scale=SCALE, origin_xy=((SIZE - 1) / 2, (SIZE - 1) / 2), width=SIZE, height=SIZE)


def swept_depth(part: Part, steps: int = 4001) -> np.ndarray:
    """Return the depth by brute force: the nearest of many spheres (of a part that is not squashed)."""
    t = np.linspace(0, 1, steps)[:, None, None]
    centre = part.start + t * (part.end - part.start)
    radius = part.start_radius + t[:, :, 0] * (part.end_radius - part.start_radius)
    x = (np.arange(SIZE) - (SIZE - 1) / 2) / SCALE
    depth = np.full((SIZE, SIZE), -np.inf)
    for row in range(SIZE):
        q = radius**2 - (x[None] - centre[:, :, 0]) ** 2 - (-x[row] - centre[:, :, 1]) ** 2
        z = np.where(q >= 0, centre[:, :, 2] + np.sqrt(np.maximum(q, 0)), -np.inf)
        depth[row] = z.max(axis=0)
    return depth


coordinate = st.floats(-0.3, 0.3)


@settings(deadline=None, max_examples=25)
@given(st.tuples(coordinate, coordinate, coordinate), st.tuples(coordinate, coordinate, coordinate),
       st.floats(0.03, 0.2), st.floats(0.03, 0.2))  # fmt: skip
def test_depth_equals_that_of_many_spheres(start, end, first, second):
    part = cone(list(start), list(end), (first, second))
    surface, truth = cast(part), swept_depth(part, 1501)
    both = (surface.part >= 0) & np.isfinite(truth)
    assert both.any()
    # Steep rims of the swept spheres sit between the brute force's steps; elsewhere the two agree.
    assert np.quantile(np.abs(surface.depth - truth)[both], 0.97) < 4e-3
    assert ((surface.part >= 0) ^ np.isfinite(truth)).mean() < 0.01


def test_normals_of_a_ball_point_away_from_its_middle():
    surface = cast(cone([0, 0, 0], [0, 0, 0], (0.4, 0.4)))
    rows, columns = np.nonzero(surface.part >= 0)
    x, y = (columns - (SIZE - 1) / 2) / SCALE, ((SIZE - 1) / 2 - rows) / SCALE
    place = np.stack([x, y, surface.depth[rows, columns]])
    assert np.allclose(surface.normal[:, rows, columns], place / 0.4, atol=2e-3)


def test_squash_makes_an_ellipsoid():
    surface = cast(cone([0, 0, 0], [0, 0, 0], (0.4, 0.4), squash=(1.0, 0.5, 0.25)))
    covered = surface.part >= 0
    assert covered.any(axis=0).sum() == 2 * covered.any(axis=1).sum()
    assert abs(surface.depth.max() - 0.1) < 2e-3


def test_the_nearer_part_wins_and_an_open_end_is_cut():
    near, far = cone([0, 0, 0.3], [0, 0, 0.3], (0.1, 0.1)), cone([0, 0, 0], [0, 0, 0], (0.3, 0.3))
    for parts in ((near, far), (far, near)):
        surface = cast(*parts)
        assert surface.part[SIZE // 2, SIZE // 2] == parts.index(near)
    closed = cast(cone([0, 0.3, 0], [0, 0, 0], (0.1, 0.1))).part >= 0
    opened = cast(cone([0, 0.3, 0], [0, 0, 0], (0.1, 0.1), open_end=True)).part >= 0
    assert closed[SIZE // 2 + 3].any()
    assert not opened[SIZE // 2 + 3 :].any()
