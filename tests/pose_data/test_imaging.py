"""Decoding, warping, masking and encoding of pixels."""

import contextlib
import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from pycocotools import mask as coco_mask

from pose_data.errors import PROBLEMS
from pose_data.imaging import (
    PictureProblem,
    decode_jpeg,
    decode_picture,
    encode_jpeg,
    encode_png,
    person_mask,
    read_picture,
    single_threaded,
    square_crop,
    warp_crop,
    whiten_outside,
)

WIDTH, HEIGHT = 61, 43


def gradient(width=WIDTH, height=HEIGHT):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 4, y * 5, (x + y) * 2], -1).astype(np.uint8)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(data, name="a.jpg", **options):
    return decode_picture(data, file_name=name, **{"expected_wh": None, "exif": "auto", **options})


def identity_warp(dx=0.0, dy=0.0):
    return np.array([[1.0, 0.0, dx], [0.0, 1.0, dy]])


# ------------------------------------------------------------------------------- decoding


def test_jpeg_pixels_are_those_of_libjpeg(shared: Path):
    for path in sorted((shared / "data" / "coco-sample" / "train2017").glob("*.jpg"))[:8]:
        data = path.read_bytes()
        expected = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]
        picture = decoded(data, path.name, expected_wh=(expected.shape[1], expected.shape[0]))
        np.testing.assert_array_equal(picture.pixels, expected)
        assert picture.notes == ()


def test_all_real_pictures_fit_their_annotation_file(shared: Path):
    folder = shared / "data" / "coco-sample"
    images = json.loads((folder / "annotations" / "person_keypoints_train2017.json").read_text())["images"]
    buffer = bytearray()
    for image in images:
        data = read_picture(folder / "train2017" / image["file_name"])
        size = (image["width"], image["height"])
        picture = decoded(data, image["file_name"], expected_wh=size, buffer=buffer)
        assert picture.pixels.shape == (size[1], size[0], 3)
        assert picture.notes == ()
        del picture
    assert len(buffer) == max(image["width"] * image["height"] * 4 for image in images)


def test_real_grey_pictures_become_rgb_with_a_note(shared: Path):
    paths = sorted((shared / "data" / "grayscale").glob("*.jpg"))
    assert paths
    for path in paths:
        picture = decoded(path.read_bytes(), path.name)
        assert picture.notes == ("img-converted",)
        assert (picture.pixels == picture.pixels[:, :, :1]).all()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF"])
def test_lossless_types_give_their_pixels(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = decoded(encoded(Image.fromarray(gradient()), kind, **options), f"a.{kind.lower()}")
    np.testing.assert_array_equal(picture.pixels, gradient())
    assert picture.pixels.flags.c_contiguous
    assert picture.notes == ()


def test_pixels_lie_in_the_callers_buffer_which_grows():
    small, large = encode_jpeg(gradient(), 90), encode_jpeg(gradient(90, 70), 90)
    buffer = bytearray(WIDTH * HEIGHT * 3)
    pixels = decoded(small, buffer=buffer).pixels
    assert np.shares_memory(pixels, np.frombuffer(buffer, np.uint8))
    first = pixels.copy()
    # Pixels still in use: the buffer cannot grow, so they stay as they are and others are made.
    other = decoded(large, buffer=buffer).pixels
    np.testing.assert_array_equal(pixels, first)
    np.testing.assert_array_equal(other, simplejpeg.decode_jpeg(large, "RGB"))
    del pixels
    again = decoded(large, buffer=buffer).pixels
    assert len(buffer) == 90 * 70 * 4
    np.testing.assert_array_equal(again, other)


def test_an_array_serves_as_buffer_where_it_is_large_enough():
    data = encode_jpeg(gradient(), 90)
    room = np.zeros(WIDTH * HEIGHT * 4 + 50, np.uint8)
    assert np.shares_memory(decoded(data, buffer=room).pixels, room)
    assert not np.shares_memory(decoded(data, buffer=room[:100]).pixels, room)


def test_threads_with_buffers_of_their_own_do_not_disturb_each_other():
    pictures = [encode_jpeg(np.roll(gradient(200, 150), shift, 1), 90) for shift in range(4)]
    expected = [simplejpeg.decode_jpeg(data, "RGB") for data in pictures]

    def all_right(number):
        buffer = bytearray()
        return all(np.array_equal(decoded(pictures[number], buffer=buffer).pixels, expected[number]) for _ in range(50))

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(all_right, range(4)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_turning_by_exif_equals_pillows(kind, orientation):
    exif = Image.Exif()
    exif[274] = orientation
    data = encoded(Image.fromarray(gradient()), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    np.testing.assert_array_equal(decoded(data, "a", exif="apply").pixels, expected)
    np.testing.assert_array_equal(decoded(data, "a", exif="ignore").pixels, gradient())


# --------------------------------------------------------------------------------- warping


def test_warp_writes_into_rows_of_a_batch_and_nowhere_else():
    batch = np.full((3, 20, 30, 3), 7, np.uint8)
    warp_crop(gradient(), identity_warp(), batch[1])
    np.testing.assert_array_equal(batch[1], gradient()[:20, :30])
    assert (batch[[0, 2]] == 7).all()


def test_warp_writes_into_a_window_of_a_larger_picture():
    large = np.full((40, 50, 3), 7, np.uint8)
    warp_crop(gradient(), identity_warp(), large[5:25, 10:40])
    np.testing.assert_array_equal(large[5:25, 10:40], gradient()[:20, :30])
    large[5:25, 10:40] = 7
    assert (large == 7).all()


@pytest.mark.parametrize("border", [0, 255])
def test_outside_the_picture_is_the_border(border):
    out = np.empty((20, 30, 3), np.uint8)
    warp_crop(gradient(), identity_warp(dx=4, dy=3), out, border=border)
    assert (out[:3] == border).all()
    assert (out[:, :4] == border).all()
    np.testing.assert_array_equal(out[3:, 4:], gradient()[:17, :26])


def test_pixel_centres_are_whole_numbers():
    pixels = np.zeros((40, 40, 3), np.uint8)
    pixels[10, 20] = 200
    out = np.empty((40, 40, 3), np.uint8)
    warp_crop(pixels, np.array([[2.0, 0.0, -25.0], [0.0, 2.0, -5.0]]), out)
    assert np.unravel_index(out[:, :, 0].argmax(), (40, 40)) == (15, 15)
    assert out[15, 15, 0] == 200


def test_warp_interpolates_linearly():
    pixels = np.repeat(np.arange(0, 200, 10, dtype=np.uint8)[None, :, None], 20, 0).repeat(3, 2)
    out = np.empty((10, 10, 3), np.uint8)
    warp_crop(pixels, identity_warp(dx=-0.5), out)
    np.testing.assert_array_equal(out[5, :, 0], np.arange(5, 105, 10))


def test_single_threaded_restores_the_number_of_threads():
    before = cv2.getNumThreads()
    with single_threaded():
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == before
    with contextlib.suppress(KeyError), single_threaded():
        raise KeyError
    assert cv2.getNumThreads() == before


# ----------------------------------------------------------------------------- square crop


def canvas_of(x, y, width, height, frame):
    side = max(width, height)
    margin = int(frame * side)
    return x - (side - width) // 2 - margin, y - (side - height) // 2 - margin, side + 2 * margin


@pytest.mark.parametrize(
    ("box", "crop_px", "frame"),
    [
        ((100, 40, 60, 150), 64, 0.2),
        ((100, 40, 151, 60), 64, 0.2),
        ((30, 20, 21, 34), 128, 0.0),
        ((5, 6, 80, 80), 80, 0.5),
    ],
)
def test_a_dot_lands_where_the_formula_says(box, crop_px, frame):
    x, y, width, height = box
    x0, y0, canvas_px = canvas_of(*box, frame)
    scale = crop_px / canvas_px
    for share_x, share_y in [(0.3, 0.7), (0.5, 0.5), (0.65, 0.4)]:
        dot = (x + int(share_x * width), y + int(share_y * height))
        # Smooth at the crop's resolution: a centroid survives resampling, an edge's place does not.
        sigma_px = 1.2 * max(canvas_px / crop_px, 1.0)
        rows, columns = np.mgrid[:240, :320]
        ink = 255 * np.exp(-((columns - dot[0]) ** 2 + (rows - dot[1]) ** 2) / (2 * sigma_px**2))
        pixels = np.repeat((255 - np.rint(ink)).astype(np.uint8)[:, :, None], 3, axis=2)
        out = np.empty((crop_px, crop_px, 3), np.uint8)
        square_crop(pixels, np.array(box, float), crop_px=crop_px, frame=frame, out=out)
        ink = 255.0 - out[:, :, 0]
        rows, columns = np.mgrid[:crop_px, :crop_px]
        found = (float((columns * ink).sum() / ink.sum()), float((rows * ink).sum() / ink.sum()))
        expected = ((dot[0] - x0 + 0.5) * scale - 0.5, (dot[1] - y0 + 0.5) * scale - 0.5)
        assert found == pytest.approx(expected, abs=0.05)


def test_all_but_the_box_is_white():
    out = np.empty((100, 100, 3), np.uint8)
    square_crop(np.zeros((200, 200, 3), np.uint8), np.array([50.0, 60.0, 40.0, 80.0]), crop_px=100, frame=0.1, out=out)
    # Canvas 80 + 2 * 8 = 96, enlarged to 100; the box is its columns 28 to 67 and rows 8 to 87.
    assert (out[:7] == 255).all()
    assert (out[93:] == 255).all()
    assert (out[:, :28] == 255).all()
    assert (out[:, 72:] == 255).all()
    assert (out[10:90, 31:69] == 0).all()


@pytest.mark.parametrize("box", [(-10, -5, 40, 30), (300, 220, 60, 40), (500, 10, 20, 20), (-90, 10, 20, 20)])
def test_what_lies_outside_the_picture_is_white(box):
    pixels = np.zeros((240, 320, 3), np.uint8)
    x, y, width, height = box
    side = max(width, height)
    out = np.empty((side, side, 3), np.uint8)
    square_crop(pixels, np.array(box, float), crop_px=side, frame=0.0, out=out)
    expected = np.full((side, side), 255, np.uint8)
    inside_x, inside_y = np.arange(x, x + width), np.arange(y, y + height)
    inside = ((inside_y >= 0) & (inside_y < 240))[:, None] & ((inside_x >= 0) & (inside_x < 320))[None]
    window = expected[(side - height) // 2 :, (side - width) // 2 :][:height, :width]
    window[inside] = 0
    np.testing.assert_array_equal(out[:, :, 0], expected)


def test_square_crop_writes_into_a_view():
    batch = np.full((2, 32, 32, 3), 9, np.uint8)
    square_crop(gradient(), np.array([5.0, 5, 20, 30]), crop_px=32, frame=0.2, out=batch[1])
    assert (batch[0] == 9).all()
    assert (batch[1] == 255).any()
    assert (batch[1] < 200).any()


def test_an_empty_box_is_a_problem():
    with pytest.raises(PictureProblem) as caught:
        square_crop(gradient(), np.array([5.0, 5, 0, 30]), crop_px=8, frame=0.2, out=np.empty((8, 8, 3), np.uint8))
    assert caught.value.code == "box-invalid"


# ----------------------------------------------------------------------------------- masks


def test_polygons_and_both_kinds_of_rle_give_one_mask():
    square = [[10.0, 5.0, 30.0, 5.0, 30.0, 25.0, 10.0, 25.0]]
    mask = person_mask(square, WIDTH, HEIGHT)
    assert mask is not None
    assert mask.dtype == np.uint8
    assert mask.shape == (HEIGHT, WIDTH)
    assert mask[5:25, 10:30].all()
    assert mask.sum() == 400
    compressed = coco_mask.encode(np.asfortranarray(mask))
    assert compressed["counts"]
    as_json = {"size": [HEIGHT, WIDTH], "counts": compressed["counts"].decode()}
    np.testing.assert_array_equal(person_mask(as_json, WIDTH, HEIGHT), mask)
    flat = mask.T.reshape(-1)
    edges = np.flatnonzero(np.diff(flat, prepend=0))
    counts = np.diff([0, *edges, flat.size]).tolist()
    np.testing.assert_array_equal(person_mask({"size": [HEIGHT, WIDTH], "counts": counts}, WIDTH, HEIGHT), mask)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 40), st.floats(0.02, 0.98))
@settings(deadline=None, max_examples=150)
def test_compressed_rle_of_any_mask_comes_back(seed, width, height, share):
    mask = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    text = coco_mask.encode(np.asfortranarray(mask))["counts"].decode()
    result = person_mask({"size": [height, width], "counts": text}, width, height)
    if mask.any():
        np.testing.assert_array_equal(result, mask)
    else:
        assert result is None


def test_several_polygons_are_united_and_slivers_left_out():
    parts = [[0, 0, 10, 0, 10, 10, 0, 10], [20, 20, 30, 20, 30, 30, 20, 30], [1.0, 2.0, 3.0, 4.0]]
    mask = person_mask(parts, WIDTH, HEIGHT)
    assert mask is not None
    assert mask.sum() == 200


@pytest.mark.parametrize(
    "segmentation",
    [
        None,
        [],
        "text",
        5,
        [[]],
        [[1, 2, 3, 4]],
        [[1, 2, 3, 4, 5]],
        [[1, 2, 3, 4, 5, None]],
        [[1, 2, 3, 4, 5, True]],
        [[1, 2, 3, 4, 5, float("nan")]],
        [[1, 2, 3, 4, 5, float("inf")]],
        [[0, 0, 1e12, 0, 0, 1e12]],
        [[-30, -30, -20, -30, -20, -20]],
        [[1, 2, 3, 4, 5, 6], "x"],
        {"size": [HEIGHT, WIDTH]},
        {"size": [WIDTH, HEIGHT], "counts": [WIDTH * HEIGHT]},
        {"size": [HEIGHT, WIDTH], "counts": [WIDTH * HEIGHT]},
        {"size": [HEIGHT, WIDTH], "counts": [0, 5]},
        {"size": [HEIGHT, WIDTH], "counts": [0, WIDTH * HEIGHT + 1]},
        {"size": [HEIGHT, WIDTH], "counts": [-1, WIDTH * HEIGHT + 1]},
        {"size": [HEIGHT, WIDTH], "counts": [0.0, WIDTH * HEIGHT]},
        {"size": [HEIGHT, WIDTH], "counts": ""},
        {"size": [HEIGHT, WIDTH], "counts": "oooooooooooooooo"},
        {"size": [HEIGHT, WIDTH], "counts": "05"},
        {"size": [HEIGHT, WIDTH], "counts": "\n\u00e9"},
        {"size": [HEIGHT, WIDTH], "counts": b"05"},
    ],
)
def test_unusable_segmentations_give_none(segmentation):
    assert person_mask(segmentation, WIDTH, HEIGHT) is None


def test_real_segmentations_give_masks_of_about_their_area(shared: Path):
    path = shared / "data" / "coco-sample" / "annotations" / "person_keypoints_train2017.json"
    file = json.loads(path.read_text())
    sizes = {image["id"]: (image["width"], image["height"]) for image in file["images"]}
    kinds = set()
    for annotation in file["annotations"]:
        mask = person_mask(annotation["segmentation"], *sizes[annotation["image_id"]])
        assert mask is not None
        kinds.add(type(annotation["segmentation"]))
        assert mask.sum() == pytest.approx(annotation["area"], rel=0.1, abs=30)
    assert kinds == {list, dict}


def test_whiten_outside_leaves_its_input_alone():
    pixels, mask = gradient(), np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[10:20, 10:20] = 1
    result = whiten_outside(pixels, mask)
    np.testing.assert_array_equal(result[10:20, 10:20], gradient()[10:20, 10:20])
    assert (result[mask == 0] == 255).all()
    np.testing.assert_array_equal(pixels, gradient())


# -------------------------------------------------------------------------------- encoding


def test_png_round_trip_is_exact():
    np.testing.assert_array_equal(decoded(encode_png(gradient()), "a.png").pixels, gradient())


def test_jpeg_round_trip_is_close_and_keeps_colour_resolution():
    data = encode_jpeg(gradient(), 95)
    assert simplejpeg.decode_jpeg_header(data)[3] == "444"
    out = np.empty((2, HEIGHT, WIDTH, 3), np.uint8)
    decode_jpeg(data, out[1])
    assert np.abs(out[1].astype(int) - gradient()).max() <= 8
    assert encode_jpeg(gradient()[::-1], 95) == encode_jpeg(gradient()[::-1].copy(), 95)


def test_stored_jpeg_of_another_size_or_cut_is_a_problem():
    data = encode_jpeg(gradient(), 95)
    with pytest.raises(PictureProblem) as caught:
        decode_jpeg(data, np.empty((HEIGHT, WIDTH + 1, 3), np.uint8))
    assert caught.value.code == "img-size-mismatch"
    for cut in (0, 1, 100, len(data) // 2, len(data) - 2):
        with pytest.raises(PictureProblem) as caught:
            decode_jpeg(data[:cut], np.empty((HEIGHT, WIDTH, 3), np.uint8))
        assert caught.value.code == "img-truncated"


# ------------------------------------------------------------------------------------ fuzz

SEEDS = [
    encode_jpeg(gradient(), 60),
    encoded(Image.fromarray(gradient()), "JPEG", progressive=True),
    encode_png(gradient()),
    encoded(Image.fromarray(gradient()).convert("P"), "PNG"),
    encoded(Image.fromarray(gradient()), "GIF"),
    encoded(Image.fromarray(gradient()), "WEBP"),
    encoded(Image.fromarray(gradient()), "BMP"),
    encoded(Image.fromarray(gradient()), "TIFF", compression="tiff_lzw"),
]


def assert_pixels_or_problem(data):
    code = ""
    try:
        picture = decoded(data, max_pixels=1_000_000)
    except PictureProblem as problem:
        code = problem.code
    if code:
        assert PROBLEMS[code].fate == "reject"
    else:
        assert picture.pixels.dtype == np.uint8
        assert picture.pixels.ndim == 3
        assert picture.pixels.shape[2] == 3


@given(st.sampled_from(SEEDS), st.data())
@settings(deadline=None, max_examples=500)
def test_flipped_bytes_give_pixels_or_a_problem(seed, data):
    changed = bytearray(seed)
    for _ in range(data.draw(st.integers(1, 6))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    assert_pixels_or_problem(bytes(changed))


@given(
    st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x99\0\0\0WEBP", b"BM", b"II*\0"]),
    st.binary(max_size=200),
)
@settings(deadline=None, max_examples=300)
def test_random_bytes_give_pixels_or_a_problem(magic, rest):
    assert_pixels_or_problem(magic + rest)


def test_four_channels_warp_to_the_same_bytes_as_three():
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    picture = decoded(simplejpeg.encode_jpeg(noise, 95))
    assert picture.padded is not None
    transform = np.array([[0.7, 0.2, -3.3], [-0.1, 1.4, 5.9]])
    three, four = np.empty((2, 40, 30, 3), np.uint8)
    warp_crop(np.ascontiguousarray(picture.pixels), transform, three, border=7)
    warp_crop(picture.padded, transform, four, border=7)
    np.testing.assert_array_equal(four, three)
