"""The geometry conventions, by hand-computed cases and by laws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pose_data.errors import UsageError
from pose_data.geometry import (
    apply_affines,
    boxes_from_keypoints,
    clean_boxes,
    crop_to_map,
    crop_transforms,
    flip_keypoints,
    invert_affines,
    letterbox_transforms,
    map_to_crop,
    shift_transforms,
    square_canvas,
)
from pose_data.skeleton import COCO_PERSON

GEOMETRIES = ("msra", "udp", "dark", "box", "square")
CROP = {"crop_width_px": 192, "crop_height_px": 256}
boxes = st.tuples(st.floats(-500, 2000), st.floats(-500, 2000), st.floats(2, 1500), st.floats(2, 1500))
points = st.lists(st.tuples(st.floats(-100, 3000), st.floats(-100, 3000)), min_size=1, max_size=5)


@settings(deadline=None, max_examples=200)
@given(box=boxes, xy=points, geometry=st.sampled_from(GEOMETRIES), rotation=st.floats(-180, 180))
def test_an_affine_and_its_inverse_are_the_identity(
    box: tuple[float, ...], xy: list[tuple[float, float]], geometry: str, rotation: float
) -> None:
    turn = rotation if geometry in ("msra", "udp", "dark") else 0.0
    affine = crop_transforms([box], geometry=geometry, rotation_deg=turn, frame=0.2, **CROP)
    back = apply_affines(invert_affines(affine), apply_affines(affine, [xy]))
    assert np.abs(back - np.array([xy])).max() < 1e-6
    assert np.abs(invert_affines(invert_affines(affine)) - affine).max() < 1e-6 * np.abs(affine).max()


@settings(deadline=None, max_examples=100)
@given(box=boxes, geometry=st.sampled_from(GEOMETRIES))
def test_the_centre_of_the_box_lands_in_the_middle_of_the_crop(box: tuple[float, ...], geometry: str) -> None:
    affine = crop_transforms([box], geometry=geometry, rotation_deg=0.0, **CROP)
    x, y, w, h = box
    middle = apply_affines(affine, [[(x + w / 2, y + h / 2)]])[0, 0]
    target = {"msra": (96, 128), "box": (96, 128), "square": (96, 128)}.get(geometry, (95.5, 127.5))
    # The square canvas is centred by whole pixels, and pixel edges are lined up instead of centres.
    slack = 1e-6 if geometry != "square" else 256 / max(w, h) + 0.5
    assert np.abs(middle - target).max() <= slack


def test_the_box_reaches_the_crop_border_without_padding() -> None:
    box = [[10.0, 20.0, 96.0, 128.0]]
    corners = [[(10.0, 20.0), (106.0, 148.0)]]
    for geometry, low, high in (("msra", (0, 0), (192, 256)), ("udp", (0, 0), (191, 255)), ("box", (0, 0), (192, 256))):
        affine = crop_transforms(box, geometry=geometry, padding=1.0, **CROP)
        np.testing.assert_allclose(apply_affines(affine, corners)[0], [low, high], atol=1e-9)


def test_rotation_signs_of_msra_and_udp_are_opposite() -> None:
    box = [[0.0, 0.0, 96.0, 128.0]]
    right_of_centre = [[(58.0, 64.0)]]
    msra = apply_affines(crop_transforms(box, geometry="msra", rotation_deg=90.0, **CROP), right_of_centre)
    udp = apply_affines(crop_transforms(box, geometry="udp", rotation_deg=90.0, **CROP), right_of_centre)
    assert msra[0, 0, 1] < 128
    assert udp[0, 0, 1] > 127.5


def test_rotations_may_differ_by_person() -> None:
    box = [[0.0, 0.0, 96.0, 128.0]] * 2
    both = crop_transforms(box, geometry="msra", rotation_deg=[0.0, 30.0], **CROP)
    np.testing.assert_array_equal(both[1], crop_transforms(box[:1], geometry="msra", rotation_deg=30.0, **CROP)[0])
    assert both[0, 0, 1] == 0


def test_square_puts_the_box_on_a_framed_canvas() -> None:
    box = [[100.0, 50.0, 41.0, 100.0]]
    np.testing.assert_array_equal(square_canvas(box, 0.2), [[100 - 29 - 20, 50 - 20, 140]])
    np.testing.assert_array_equal(square_canvas([[0, 0, 99, 10]], 0.2), [[-19, -44 - 19, 99 + 38]])
    np.testing.assert_array_equal(square_canvas([[0, 0, 100, 10]], 0.29)[0, 2], 158)
    affine = crop_transforms(box, geometry="square", frame=0.2, crop_width_px=280, crop_height_px=280)
    # Twice the size: the first canvas pixel's two halves are crop pixels 0 and 1, its centre between them.
    np.testing.assert_allclose(apply_affines(affine, [[(51.0, 30.0), (190.0, 169.0)]])[0], [(0.5, 0.5), (278.5, 278.5)])


def test_box_rules() -> None:
    box = [[-5.7, 10.9, 50.6, 200.2], [90.0, 90.0, 30.0, 5.0], [120.0, 10.0, 5.0, 5.0]]
    size = [[100, 100]] * 3
    np.testing.assert_array_equal(clean_boxes(box, size, "annotated"), box)
    msra = clean_boxes(box, size, "msra-clean")
    np.testing.assert_allclose(msra[:2], [[0, 10.9, 49.6, 88.1], [90, 90, 9, 4]])
    assert msra[2, 2] <= 0
    whole = clean_boxes(box, size, "truncated")
    np.testing.assert_array_equal(whole[:2], [[0, 10, 45, 90], [90, 90, 10, 5]])
    assert whole[2, 2] <= 0
    with pytest.raises(UsageError, match="box_rule"):
        clean_boxes(box, size, "tight")


@settings(deadline=None, max_examples=100)
@given(xy=points, geometry=st.sampled_from(GEOMETRIES))
def test_crop_and_map_coordinates_are_inverse(xy: list[tuple[float, float]], geometry: str) -> None:
    sizes = {**CROP, "map_width": 48, "map_height": 64, "geometry": geometry}
    there = crop_to_map(np.array(xy), **sizes)
    assert np.abs(map_to_crop(there, **sizes) - np.array(xy)).max() < 1e-9
    last = crop_to_map([191.0, 255.0], **sizes)
    np.testing.assert_allclose(last, [47, 63] if geometry == "udp" else [47.75, 63.75])


@settings(deadline=None, max_examples=100)
@given(data=st.data(), width=st.integers(1, 4000))
def test_flipping_twice_is_the_identity(data: st.DataObject, width: int) -> None:
    joint = st.tuples(st.floats(-50, 4000), st.floats(-50, 4000), st.sampled_from([0.0, 1.0, 2.0]))
    keypoints = np.array(data.draw(st.lists(joint, min_size=17, max_size=17)))
    order = COCO_PERSON.flip_order()
    once = flip_keypoints(keypoints, width, order)
    assert np.abs(flip_keypoints(once, width, order) - keypoints).max() < 1e-9
    np.testing.assert_array_equal(once[..., 2], keypoints[list(order), 2])


def test_a_flip_swaps_sides_mirrors_pixel_centres_and_leaves_unlabelled_alone() -> None:
    keypoints = np.zeros((17, 3))
    keypoints[1] = (0, 7, 2)
    flipped = flip_keypoints(keypoints, 640, COCO_PERSON.flip_order())
    np.testing.assert_array_equal(flipped[2], (639, 7, 2))
    np.testing.assert_array_equal(np.delete(flipped, 2, axis=0), 0)


def test_boxes_from_keypoints() -> None:
    keypoints = np.zeros((2, 17, 3))
    keypoints[0, 3], keypoints[0, 9] = (10, 40, 2), (30, 15, 1)
    np.testing.assert_array_equal(boxes_from_keypoints(keypoints), [[10, 15, 20, 25], [0, 0, 0, 0]])


def test_context_moves_the_window() -> None:
    affine = crop_transforms([[0, 0, 10, 10]], geometry="msra", **CROP)
    moved = apply_affines(shift_transforms(affine, 8, 4), [[(1.0, 2.0)]])
    np.testing.assert_allclose(moved - apply_affines(affine, [[(1.0, 2.0)]]), [[[8, 4]]])


def test_wrong_calls_are_usage_errors() -> None:
    with pytest.raises(UsageError, match="geometry"):
        crop_transforms([[0, 0, 1, 1]], geometry="mmpose", **CROP)
    with pytest.raises(UsageError, match="does not rotate"):
        crop_transforms([[0, 0, 1, 1]], geometry="box", rotation_deg=5.0, **CROP)
    for size in (0.0, -3.0, float("nan")):
        with pytest.raises(UsageError, match="box-invalid"):
            crop_transforms([[0, 0, size, 1]], geometry="msra", **CROP)
    with pytest.raises(UsageError, match="affine-singular"):
        invert_affines(np.zeros((1, 2, 3)))


def test_no_persons_is_no_transforms() -> None:
    for geometry in GEOMETRIES:
        assert crop_transforms(np.empty((0, 4)), geometry=geometry, **CROP).shape == (0, 2, 3)
    assert boxes_from_keypoints(np.empty((0, 17, 3))).shape == (0, 4)


# ------------------------------------------------------------------ whole pictures


@given(
    width=st.integers(1, 5000), height=st.integers(1, 5000), frame_width=st.integers(8, 700),
    frame_height=st.integers(8, 700),
)  # fmt: skip
def test_a_letterboxed_picture_is_whole_centred_and_as_large_as_can_be(width, height, frame_width, frame_height):
    (transform,) = letterbox_transforms([[width, height]], width_px=frame_width, height_px=frame_height)
    scale = transform[0, 0]
    assert transform[1, 1] == scale
    assert transform[0, 1] == transform[1, 0] == 0.0
    # Edges of the picture's area, half a pixel outside the outer centres.
    first = scale * -0.5 + transform[:, 2] + 0.5
    end = scale * (np.array([width, height]) - 0.5) + transform[:, 2] + 0.5
    frame = np.array([frame_width, frame_height])
    np.testing.assert_allclose(first, np.rint(first), atol=1e-6)
    assert (first >= -1e-6).all()
    assert (end <= frame + 1e-6).all()
    assert np.isclose(end - first, frame).any()
    assert (np.abs(first - (frame - end)) < 2.0).all()


def test_a_picture_of_the_frame_s_size_stays_where_it_is():
    (transform,) = letterbox_transforms([[368, 368]], width_px=368, height_px=368)
    np.testing.assert_array_equal(transform, [[1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize("size", [(0, 5), (5, float("nan")), (float("inf"), 5)])
def test_pictures_without_a_size_are_refused(size):
    with pytest.raises(UsageError, match="box-invalid"):
        letterbox_transforms([size], width_px=8, height_px=8)
