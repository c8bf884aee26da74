"""Targets of scenes against their definition, written out cell by cell."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_data.errors import UsageError
from pose_data.targets.paf import (
    SCENE_RULES,
    SceneRules,
    encode_fields,
    encode_scene_maps,
    field_offset_cells,
    trainable_share,
)

LIMBS = ((0, 1), (2, 1))
coordinate = st.one_of(st.floats(-20, 120), st.integers(-5, 28).map(lambda quarter: 4.0 * quarter))
rules_of_any_kind = st.builds(
    SceneRules,
    name=st.just("any"),
    stride_px=st.sampled_from([1, 4, 8]),
    sigma_px=st.sampled_from([2.0, 7.0]),
    limb_half_width_cells=st.sampled_from([1.0, 1.5]),
    map_overlap=st.sampled_from(["clipped-sum", "maximum"]),
    field_overlap=st.sampled_from(["average", "overwrite"]),
    limb_region=st.sampled_from(["tensorboy", "lightweight"]),
)
people = st.lists(st.tuples(*[st.tuples(coordinate, coordinate, st.booleans())] * 3), max_size=4)


def drawn(joint, rules, size):
    x, y, labelled = joint
    return labelled and 0 <= x < size[0] * rules.stride_px and 0 <= y < size[1] * rules.stride_px


def plain_maps(persons, rules, size):
    """Draw the maps as the definition reads, one cell and one person after the other."""
    maps = np.zeros((4, size[1], size[0]))
    for joint, row, column in itertools.product(range(3), range(size[1]), range(size[0])):
        value = 0.0
        for person in persons:
            if drawn(person[joint], rules, size):
                dx = column * rules.stride_px + rules.stride_px / 2 - 0.5 - person[joint][0]
                dy = row * rules.stride_px + rules.stride_px / 2 - 0.5 - person[joint][1]
                exponent = (dx * dx + dy * dy) / 2.0 / rules.sigma_px / rules.sigma_px
                one = math.exp(-exponent) if exponent <= 4.6052 else 0.0
                value = min(1.0, value + one) if rules.map_overlap == "clipped-sum" else max(value, one)
        maps[joint, row, column] = value
    maps[3] = 1.0 - maps[:3].max(axis=0)
    return maps


def plain_fields(persons, rules, size):
    """Draw the fields as the definition reads."""
    fields, half = np.zeros((2 * len(LIMBS), size[1], size[0])), rules.limb_half_width_cells
    for limb, (start, end) in enumerate(LIMBS):
        count = np.zeros((size[1], size[0]), dtype=int)
        for person in persons:
            if not (drawn(person[start], rules, size) and drawn(person[end], rules, size)):
                continue
            a, b = (np.array(person[joint][:2]) / rules.stride_px for joint in (start, end))
            length = math.hypot(*(b - a))
            if length <= 1e-7:
                continue
            unit = (b - a) / length
            low, high = np.maximum(np.minimum(a, b) - half, 0.0), np.minimum(np.maximum(a, b) + half, size)
            whole = round if rules.limb_region == "tensorboy" else int
            for row in range(whole(float(low[1])), min(whole(float(high[1])), size[1])):
                for column in range(whole(float(low[0])), min(whole(float(high[0])), size[0])):
                    away = abs((column - a[0]) * unit[1] - (row - a[1]) * unit[0])
                    if away < half or (away == half and rules.limb_region == "lightweight"):
                        cell = fields[2 * limb : 2 * limb + 2, row, column]
                        seen = count[row, column] if rules.field_overlap == "average" else 0
                        cell[:] = (cell * seen + unit) / (seen + 1)
                        count[row, column] += 1
    return fields


@settings(deadline=None, max_examples=120)
@given(persons=people, rules=rules_of_any_kind, size=st.tuples(st.integers(1, 12), st.integers(1, 12)))
def test_scenes_are_drawn_as_defined(persons, rules, size):
    joints = np.array(persons, dtype=float).reshape(-1, 3, 3)
    arguments = joints[..., :2], joints[..., 2] > 0
    shape = {"rules": rules, "map_width": size[0], "map_height": size[1]}
    maps = encode_scene_maps(*arguments, **shape)
    fields = encode_fields(*arguments, LIMBS, **shape)
    assert maps.dtype == fields.dtype == np.float32
    np.testing.assert_allclose(maps, plain_maps(persons, rules, size), rtol=0, atol=2e-7)
    np.testing.assert_allclose(fields, plain_fields(persons, rules, size), rtol=0, atol=2e-7)


def test_points_that_are_not_finite_are_not_drawn():
    xy = np.array([[[np.nan, 5.0], [np.inf, 5.0], [5.0, 5.0]]])
    shape = {"rules": SCENE_RULES["tensorboy"], "map_width": 4, "map_height": 4}
    maps = encode_scene_maps(xy, np.ones((1, 3), bool), **shape)
    assert maps[:3].any(axis=(1, 2)).tolist() == [False, False, True]
    assert not encode_fields(xy, np.ones((1, 3), bool), LIMBS, **shape).any()


def test_the_rules_differ_where_persons_meet():
    xy = np.array([[[20.0, 20.0]], [[28.0, 20.0]]])
    sums, greatest = (
        encode_scene_maps(
            xy, np.ones((2, 1), bool), map_width=6, map_height=6,
            rules=replace(SCENE_RULES["tensorboy"], map_overlap=overlap),
        )
        for overlap in ("clipped-sum", "maximum")
    )  # fmt: skip
    assert sums[0, 2, 2] == 1.0 > greatest[0, 2, 2]
    assert (sums[0] >= greatest[0]).all()


def test_a_field_lies_nearly_half_a_cell_from_its_map():
    assert field_offset_cells(SCENE_RULES["tensorboy"]) == 0.4375
    assert field_offset_cells(SceneRules(name="fine", stride_px=4)) == 0.375
    # Cut to whole cells, a limb's field ends before the limb does.
    assert field_offset_cells(SCENE_RULES["lightweight"]) == 0.0


def test_the_share_of_a_cell_is_that_of_its_pixels():
    untrained = np.zeros((16, 24), dtype=bool)
    untrained[:4, 8:16] = True
    untrained[8:, 16:] = True
    np.testing.assert_array_equal(trainable_share(untrained), [[1.0, 0.5, 1.0], [1.0, 1.0, 0.0]])
    with pytest.raises(UsageError, match="stride"):
        trainable_share(untrained[1:])


@pytest.mark.parametrize(
    "change", [{"map_overlap": "sum"}, {"limb_region": "paper"}, {"stride_px": 0}, {"sigma_px": 0}]
)
def test_rules_that_do_not_exist_are_refused(change):
    with pytest.raises(UsageError, match="option-value"):
        SceneRules(name="wrong", **change)
