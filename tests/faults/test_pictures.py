"""Bad picture files, faults 15 to 21: each ends in a named problem, or in pixels with a note."""

import gzip
import io
import os
import pickle
import struct
import tracemalloc
import unicodedata
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from pose_data.errors import PROBLEMS
from pose_data.imaging import PictureProblem, decode_picture, read_picture

WIDTH, HEIGHT = 64, 48


def gradient():
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return np.stack([x * 3, y * 5, 255 - x * 2], -1).astype(np.uint8)


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(kind="JPEG", mode="RGB", **options):
    return encoded(Image.fromarray(gradient()).convert(mode), kind, **options)


def decoded(data, name="a", **options):
    return decode_picture(data, file_name=name, **{"expected_wh": None, "exif": "auto", **options})


def problem_of(call, *arguments, **options):
    with pytest.raises(PictureProblem) as caught:
        call(*arguments, **options)
    assert PROBLEMS[caught.value.code].fate == "reject"
    assert caught.value.detail
    return caught.value


# ----------------------------------------------------------------------- 15: files not there


def test_missing_file_with_nothing_near_it(tmp_path):
    (tmp_path / "other.jpg").write_bytes(b"")
    problem = problem_of(read_picture, tmp_path / "a.jpg")
    assert (problem.code, problem.detail) == ("img-missing", "no such file")
    assert problem.file_name == "a.jpg"


@pytest.mark.parametrize(
    ("existing", "wanted", "difference"),
    [
        ("IMG_1.JPG", "img_1.jpg", "case"),
        ("img_1.jpeg", "img_1.jpg", "extension"),
        ("img_1.png", "IMG_1.jpg", "extension"),
        (unicodedata.normalize("NFD", "caf\u00e9.jpg"), unicodedata.normalize("NFC", "caf\u00e9.jpg"), "Unicode form"),
        (unicodedata.normalize("NFC", "\u00fcber.jpg"), unicodedata.normalize("NFD", "\u00fcber.jpg"), "Unicode form"),
        (unicodedata.normalize("NFD", "Caf\u00e9.jpg"), "caf\u00e9.jpg", "case and Unicode form"),
    ],
)
def test_the_nearest_name_is_told_and_not_used(tmp_path, existing, wanted, difference):
    (tmp_path / existing).write_bytes(picture())
    problem = problem_of(read_picture, tmp_path / wanted)
    assert problem.code == "img-missing"
    assert ascii(existing) in problem.detail
    assert f"differs in {difference};" in problem.detail
    assert str(tmp_path) not in problem.detail


def test_a_file_that_appears_later_is_found_in_the_next_message(tmp_path):
    assert problem_of(read_picture, tmp_path / "a.jpg").detail == "no such file"
    (tmp_path / "A.JPG").write_bytes(b"x")
    os.utime(tmp_path, ns=(1, 1))
    assert "'A.JPG'" in problem_of(read_picture, tmp_path / "a.jpg").detail


def test_missing_folder_is_named_with_the_nearest_one(tmp_path):
    (tmp_path / "Train2017").mkdir()
    detail = problem_of(read_picture, tmp_path / "train2017" / "a.jpg").detail
    assert "there is no folder 'train2017'" in detail
    assert "'Train2017' exists and differs in case" in detail
    assert problem_of(read_picture, tmp_path / "val" / "x" / "a.jpg").detail == "there is no folder 'val'"


def test_a_file_used_as_folder_is_missing(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    assert problem_of(read_picture, tmp_path / "a.jpg" / "b.jpg").code == "img-missing"


def test_dangling_link(tmp_path):
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    problem = problem_of(read_picture, tmp_path / "a.jpg")
    assert problem.code == "img-missing"
    assert "link" in problem.detail


def test_folders_pipes_devices_and_impossible_names_are_unreadable(tmp_path):
    (tmp_path / "folder.jpg").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    for name in ("folder.jpg", "pipe.jpg", "/dev/zero", "a\0b", "\ud800.jpg", "x" * 300):
        assert problem_of(read_picture, tmp_path / name).code == "img-unreadable"


def test_a_file_over_the_limit_is_not_read(tmp_path):
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(1 << 40)
    problem = problem_of(read_picture, tmp_path / "a.jpg")
    assert problem.code == "img-unreadable"
    assert str(1 << 40) in problem.detail


def test_what_is_there_is_read(tmp_path):
    data = os.urandom(100_000)
    (tmp_path / "a.jpg").write_bytes(data)
    assert read_picture(tmp_path / "a.jpg") == data


# ------------------------------------------------------------------------ 16: not a picture


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "empty"),
        (b"<html><head><title>404 Not Found</title>", "HTML"),
        (gzip.compress(picture()), "gzip"),
        (b"\0" * 2048, "zero bytes"),
        (b"\x1b]0;evil\x07[bold]", "unknown"),
        (b"\x89PN", "unknown"),
    ],
)
def test_what_is_no_picture_is_named_by_its_bytes(data, word):
    problem = problem_of(decoded, data, "photo.jpg")
    assert problem.code == "img-not-an-image"
    assert word in problem.detail
    assert problem.detail.isprintable()
    assert problem.file_name == "photo.jpg"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "BMP", "WEBP", "TIFF"])
def test_wrong_extension_is_read_and_noted(kind):
    right = decoded(picture(kind), f"a.{kind.lower()}")
    wrong = decoded(picture(kind), "a.gif")
    assert right.notes == ()
    assert wrong.notes == ("img-wrong-extension",)
    np.testing.assert_array_equal(right.pixels, wrong.pixels)
    assert decoded(picture(kind), "noextension").notes == ()


# --------------------------------------------------------------------------- 17: truncated


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {}),
        ("JPEG", {"progressive": True}),
        ("JPEG", {"quality": 100, "subsampling": 0}),
        ("PNG", {}),
        ("PNG", {"compress_level": 0}),
        ("GIF", {}),
        ("WEBP", {}),
        ("WEBP", {"lossless": True}),
        ("BMP", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
    ],
)
def test_cut_at_every_five_percent_never_gives_pixels(kind, options):
    data = picture(kind, **options)
    decoded(data)
    for percent in range(0, 100, 5):
        rest = data[: len(data) * percent // 100]
        # Fewer bytes than a signature has do not tell the type.
        assert problem_of(decoded, rest).code == ("img-truncated" if len(rest) >= 12 else "img-not-an-image")


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("missing", [1, 2, 3, 8, 11, 12, 13, 40])
def test_the_last_bytes_count(kind, missing):
    assert problem_of(decoded, picture(kind)[:-missing]).code == "img-truncated"


def test_a_real_photo_cut_anywhere_is_rejected(shared: Path):
    data = next((shared / "data" / "coco-sample" / "val2017").glob("*.jpg")).read_bytes()
    assert decoded(data).notes == ()
    for percent in range(5, 100, 5):
        assert problem_of(decoded, data[: len(data) * percent // 100]).code == "img-truncated"


def test_a_gap_inside_is_noticed_by_the_decoders_warning():
    data = picture(quality=95)
    start = data.index(b"\xff\xda") + 20
    # The end marker is there, the middle is not.
    holed = data[:start] + data[start + 200 :]
    problem = problem_of(decoded, holed)
    assert problem.code == "img-truncated"
    assert "decoder" in problem.detail


def test_a_cut_picture_whose_end_marker_was_put_back_is_rejected():
    data = picture(quality=95)
    assert problem_of(decoded, data[: len(data) * 3 // 5] + b"\xff\xd9").code == "img-truncated"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("rest", [b"\0" * 100, b"garbage", b"\xff\xd8\xff\xe0 more", b"\n"])
def test_bytes_after_the_end_are_tolerated(kind, rest):
    np.testing.assert_array_equal(decoded(picture(kind) + rest).pixels, decoded(picture(kind)).pixels)


def test_a_png_with_a_flipped_bit_is_rejected():
    data = picture("PNG")
    for position in range(8, len(data), 37):
        changed = bytearray(data)
        changed[position] ^= 4
        assert problem_of(decoded, bytes(changed)).code in ("img-truncated", "img-too-large", "img-mode")


# -------------------------------------------------------------------------------- 18: EXIF


def oriented(orientation, kind="JPEG"):
    exif = Image.Exif()
    exif[274] = orientation
    return picture(kind, exif=exif, **({"quality": 100, "subsampling": 0} if kind == "JPEG" else {}))


def seen(pixels, orientation):
    """The eight orientations, written out: where the stored first row and first column are seen."""
    return {
        1: pixels,  # row on top, column on the left
        2: pixels[:, ::-1],  # top, right
        3: pixels[::-1, ::-1],  # bottom, right
        4: pixels[::-1],  # bottom, left
        5: pixels.transpose(1, 0, 2),  # left, top
        6: np.rot90(pixels, -1),  # right, top
        7: pixels[::-1, ::-1].transpose(1, 0, 2),  # right, bottom
        8: np.rot90(pixels, 1),  # left, bottom
    }[orientation]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_ignore_and_apply(orientation, kind):
    data = oriented(orientation, kind)
    stored = decoded(oriented(1, kind)).pixels
    turned_wh = (HEIGHT, WIDTH) if orientation >= 5 else (WIDTH, HEIGHT)
    ignored = decoded(data, exif="ignore", expected_wh=(WIDTH, HEIGHT))
    applied = decoded(data, exif="apply", expected_wh=turned_wh)
    np.testing.assert_array_equal(ignored.pixels, stored)
    np.testing.assert_array_equal(applied.pixels, seen(stored, orientation))
    assert ignored.notes == (() if orientation == 1 else ("img-exif-ignored",))
    assert applied.notes == (() if orientation == 1 else ("img-exif-applied",))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_auto_decides_by_the_size_in_the_annotations(orientation):
    data = oriented(orientation)
    as_stored = decoded(data, expected_wh=(WIDTH, HEIGHT))
    assert as_stored.notes == (() if orientation == 1 else ("img-exif-ignored",))
    assert as_stored.pixels.shape == (HEIGHT, WIDTH, 3)
    if orientation >= 5:
        as_seen = decoded(data, expected_wh=(HEIGHT, WIDTH))
        assert as_seen.notes == ("img-exif-applied",)
        np.testing.assert_array_equal(as_seen.pixels, seen(as_stored.pixels, orientation))
    else:
        assert problem_of(decoded, data, expected_wh=(HEIGHT, WIDTH)).code == "img-size-mismatch"
    assert problem_of(decoded, data, expected_wh=(WIDTH + 1, HEIGHT)).code == "img-size-mismatch"


def test_auto_ignores_where_both_fit_or_nothing_is_known():
    exif = Image.Exif()
    exif[274] = 6
    square = encoded(Image.fromarray(gradient()[:, :HEIGHT]), "PNG", exif=exif)
    result = decoded(square, expected_wh=(HEIGHT, HEIGHT))
    assert result.notes == ("img-exif-ignored",)
    np.testing.assert_array_equal(result.pixels, gradient()[:, :HEIGHT])
    assert decoded(oriented(8), expected_wh=None).notes == ("img-exif-ignored",)


@pytest.mark.parametrize(("exif", "wrong"), [("ignore", (HEIGHT, WIDTH)), ("apply", (WIDTH, HEIGHT))])
def test_a_fixed_choice_rejects_the_other_size_and_says_why(exif, wrong):
    problem = problem_of(decoded, oriented(6), exif=exif, expected_wh=wrong)
    assert problem.code == "img-size-mismatch"
    assert "orientation 6" in problem.detail
    assert exif in problem.detail


# -------------------------------------------------------------------------------- 19: size


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize(
    "expected", [(WIDTH + 1, HEIGHT), (WIDTH, HEIGHT - 1), (HEIGHT, WIDTH), (2 * WIDTH, 2 * HEIGHT)]
)
def test_another_size_than_annotated_is_rejected(kind, expected):
    problem = problem_of(decoded, picture(kind), expected_wh=expected)
    assert problem.code == "img-size-mismatch"
    assert f"{WIDTH} x {HEIGHT}" in problem.detail
    assert f"{expected[0]} x {expected[1]}" in problem.detail


# ------------------------------------------------------------------- 20: modes and animation


def test_grey_is_repeated():
    result = decoded(picture("PNG", "L"))
    assert result.notes == ("img-converted",)
    np.testing.assert_array_equal(result.pixels, np.asarray(Image.fromarray(gradient()).convert("L").convert("RGB")))
    assert decoded(picture("JPEG", "L")).notes == ("img-converted",)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_palette_is_looked_up(kind):
    image = Image.fromarray(gradient()).convert("P")
    result = decoded(encoded(image, kind))
    assert result.notes == ("img-converted",)
    np.testing.assert_array_equal(result.pixels, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_dropped_and_the_colour_under_it_stays(kind):
    image = Image.fromarray(np.dstack([gradient(), np.full((HEIGHT, WIDTH), 9, np.uint8)]), "RGBA")
    options = {"lossless": True, "exact": True} if kind == "WEBP" else {}
    result = decoded(encoded(image, kind, **options))
    assert result.notes == ("img-converted",)
    np.testing.assert_array_equal(result.pixels, gradient())


def test_the_colours_of_a_tiff_come_blended_with_black():
    alpha = np.tile(np.arange(WIDTH, dtype=np.uint8) * 4, (HEIGHT, 1))
    result = decoded(encoded(Image.fromarray(np.dstack([gradient(), alpha]), "RGBA"), "TIFF"))
    assert result.notes == ("img-converted",)
    assert np.abs(result.pixels - gradient() * (alpha[:, :, None] / 255)).max() <= 1


def test_grey_with_alpha():
    image = Image.merge("LA", [Image.fromarray(gradient()[:, :, 0]), Image.fromarray(gradient()[:, :, 1])])
    np.testing.assert_array_equal(decoded(encoded(image, "PNG")).pixels, gradient()[:, :, :1].repeat(3, 2))


@pytest.mark.parametrize("extension", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_sixteen_bits_are_rounded_to_eight(extension, channels):
    if (extension, channels) == (".tiff", 1):
        values = np.arange(WIDTH * HEIGHT, dtype=np.uint16).reshape(HEIGHT, WIDTH, 1) * 21
    else:
        values = (np.random.default_rng(0).random((HEIGHT, WIDTH, channels)) * 65535).astype(np.uint16)
    values[0, 0], values[0, 1] = 0, 65535
    _, data = cv2.imencode(extension, values)
    result = decoded(data.tobytes())
    assert result.notes == ("img-converted",)
    expected = np.rint(values / 257).astype(np.uint8)
    expected = expected.repeat(3, 2) if channels == 1 else expected[:, :, 2::-1]
    np.testing.assert_array_equal(result.pixels, expected)


def test_one_bit_becomes_black_and_white():
    result = decoded(picture("PNG", "1"))
    assert result.notes == ("img-converted",)
    assert set(np.unique(result.pixels)) == {0, 255}


def ycck():
    data = picture("JPEG", "CMYK")
    at = data.index(b"Adobe") + 11
    return data[:at] + b"\x02" + data[at + 1 :]


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (picture("JPEG", "CMYK"), "cmyk"),
        (ycck(), "ycck"),
        (picture("TIFF", "CMYK"), "cmyk"),
        (picture("TIFF", "LAB"), "lab"),
        (picture("TIFF", "F"), "float"),
    ],
)
def test_other_modes_are_rejected_by_name(data, word):
    problem = problem_of(decoded, data)
    assert problem.code == "img-mode"
    assert word in problem.detail


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_more_than_one_frame_is_rejected(kind):
    frames = [Image.fromarray(gradient()), Image.fromarray(gradient()[::-1])]
    problem = problem_of(decoded, encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert problem.code == "img-animated"


# ----------------------------------------------------------------------------- 21: bombs


def png_header(width, height):
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(bytes(1000))
    data = b"\x89PNG\r\n\x1a\n"
    for part in (ihdr, pixels, b"IEND"):
        data += struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part))
    return data


def jpeg_header(width, height):
    data = bytearray(picture())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", height, width)
    return bytes(data)


BOMBS = {
    "PNG": png_header(60_000, 60_000),
    "JPEG": jpeg_header(60_000, 60_000),
    "GIF": b"GIF89a" + struct.pack("<HH", 60_000, 60_000) + picture("GIF")[10:],
    "BMP": picture("BMP")[:18] + struct.pack("<ii", 60_000, 60_000) + picture("BMP")[26:],
    "WebP": b"RIFF\x16\0\0\0WEBPVP8X\x0a\0\0\0" + bytes(4) + 2 * (59_999).to_bytes(3, "little"),
    "TIFF": b"II*\0" + struct.pack("<IHHHIIHHIII", 8, 2, 256, 4, 1, 60_000, 257, 4, 1, 60_000, 0),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_rejected_from_its_header_and_named(kind):
    tracemalloc.start()
    try:
        problem = problem_of(decoded, BOMBS[kind], "huge.bin")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert problem.code == "img-too-large"
    assert "60000 x 60000" in problem.detail
    assert "huge.bin" in str(problem)
    assert peak_bytes < 1_000_000


def test_the_limit_is_the_callers():
    data = picture()
    assert decoded(data, max_pixels=WIDTH * HEIGHT).pixels.shape == (HEIGHT, WIDTH, 3)
    assert problem_of(decoded, data, max_pixels=WIDTH * HEIGHT - 1).code == "img-too-large"


# ------------------------------------------------------------------------ the problem itself


def test_problems_cross_processes():
    problem = problem_of(decoded, b"", "a.jpg")
    copy = pickle.loads(pickle.dumps(problem))
    assert (copy.code, copy.detail, copy.file_name) == (problem.code, problem.detail, problem.file_name)
    assert str(copy) == str(problem)


def test_hostile_names_are_escaped_in_the_text():
    assert "\x1b" not in str(problem_of(decoded, b"", "\x1b[31m.jpg"))
