"""Headers of every supported type, read without decoding."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from pose_data.picture_probe import PictureProblem, describe_bytes, kind_of_name, probe_picture

WIDTH, HEIGHT = 37, 23


def picture(mode="RGB"):
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    image = Image.fromarray(np.stack([x * 6, y * 10, x + y], -1).astype(np.uint8)).convert(mode)
    if mode == "RGBA":
        image.putalpha(128)
    return image


def encoded(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def with_orientation(kind, orientation, **options):
    exif = Image.Exif()
    exif[274] = orientation
    return encoded(picture(), kind, exif=exif, **options)


@pytest.mark.parametrize(
    ("kind", "mode", "options", "expected"),
    [
        ("JPEG", "RGB", {}, ("JPEG", "rgb", 8)),
        ("JPEG", "RGB", {"progressive": True}, ("JPEG", "rgb", 8)),
        ("JPEG", "L", {}, ("JPEG", "grey", 8)),
        ("JPEG", "CMYK", {}, ("JPEG", "cmyk", 8)),
        ("PNG", "RGB", {}, ("PNG", "rgb", 8)),
        ("PNG", "RGBA", {}, ("PNG", "rgb-alpha", 8)),
        ("PNG", "LA", {}, ("PNG", "grey-alpha", 8)),
        ("PNG", "L", {}, ("PNG", "grey", 8)),
        ("PNG", "1", {}, ("PNG", "grey", 1)),
        ("PNG", "P", {}, ("PNG", "palette", 8)),
        ("PNG", "I;16", {}, ("PNG", "grey", 16)),
        ("PNG", "RGB", {"transparency": (1, 2, 3)}, ("PNG", "rgb-alpha", 8)),
        ("GIF", "P", {}, ("GIF", "palette", 8)),
        ("WEBP", "RGB", {}, ("WebP", "rgb", 8)),
        ("WEBP", "RGB", {"lossless": True}, ("WebP", "rgb", 8)),
        ("WEBP", "RGBA", {"lossless": True}, ("WebP", "rgb-alpha", 8)),
        ("BMP", "RGB", {}, ("BMP", "rgb", 8)),
        ("BMP", "P", {}, ("BMP", "palette", 8)),
        ("BMP", "1", {}, ("BMP", "palette", 1)),
        ("TIFF", "RGB", {}, ("TIFF", "rgb", 8)),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}, ("TIFF", "rgb", 8)),
        ("TIFF", "RGBA", {}, ("TIFF", "rgb-alpha", 8)),
        ("TIFF", "L", {}, ("TIFF", "grey", 8)),
        ("TIFF", "P", {}, ("TIFF", "palette", 8)),
        ("TIFF", "CMYK", {}, ("TIFF", "cmyk", 8)),
        ("TIFF", "F", {}, ("TIFF", "float", 32)),
    ],
)
def test_type_size_and_mode_are_read_from_the_header(kind, mode, options, expected):
    header = probe_picture(encoded(picture(mode), kind, **options))
    assert (header.kind, header.mode, header.bits) == expected
    assert (header.width_px, header.height_px) == (WIDTH, HEIGHT)
    assert (header.orientation, header.frames, header.damage) == (1, 1, "")


def test_ycck_is_told_from_cmyk_by_adobes_marker():
    data = encoded(picture("CMYK"), "JPEG")
    at = data.index(b"Adobe") + 11
    assert probe_picture(data[:at] + b"\x02" + data[at + 1 :]).mode == "ycck"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {}), ("PNG", {}), ("WEBP", {}), ("WEBP", {"lossless": True}), ("TIFF", {})]
)
def test_orientation_is_read_wherever_a_type_keeps_it(kind, options, orientation):
    data = with_orientation(kind, orientation, **options)
    assert probe_picture(data).orientation == orientation
    assert probe_picture(data).damage == ""


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(("value", "read"), [(6, 6), (0, 1), (9, 1), (255, 1)])
def test_exif_of_both_byte_orders_and_nonsense_values(order, value, read):
    exif = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IHHHIHH", 8, 1, 274, 3, 1, value, 0)
    body = b"Exif\0\0" + exif
    data = encoded(picture(), "JPEG")
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    assert probe_picture(data).orientation == read


@pytest.mark.parametrize("cut", range(26))
def test_torn_exif_counts_as_none(cut):
    exif = (b"II*\0" + struct.pack("<IHHHIHH", 8, 1, 274, 3, 1, 6, 0))[:cut]
    body = b"Exif\0\0" + exif
    data = encoded(picture(), "JPEG")
    data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]
    assert probe_picture(data).orientation == (6 if cut >= 20 else 1)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_more_than_one_frame_is_counted(kind):
    frames = [picture(), picture().transpose(Image.Transpose.FLIP_TOP_BOTTOM)]
    header = probe_picture(encoded(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert header.frames == 2
    assert (header.width_px, header.height_px) == (WIDTH, HEIGHT)


def test_an_exif_thumbnail_is_no_end_marker():
    thumbnail = encoded(picture(), "JPEG")
    data = encoded(picture(), "JPEG")
    body = b"Exif\0\0" + thumbnail
    cut = data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:-2]
    assert "end marker" in probe_picture(cut).damage


def test_a_changed_byte_in_a_png_is_seen_by_its_checksum():
    data = bytearray(encoded(picture(), "PNG"))
    data[data.index(b"IDAT") + 10] ^= 1
    assert "'IDAT'" in probe_picture(bytes(data)).damage


def test_a_header_alone_gives_the_size_together_with_the_damage():
    ihdr = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 50_000, 8, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + ihdr + struct.pack(">I", zlib.crc32(ihdr))
    header = probe_picture(png)
    assert (header.width_px, header.height_px) == (60_000, 50_000)
    assert "IEND" in header.damage


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html><body>404", "HTML"),
        (b"\xef\xbb\xbf  <html>", "HTML"),
        (b"<?xml version='1.0'?><svg/>", "SVG"),
        (b"\x1f\x8b\x08\0\0\0", "gzip"),
        (b"PK\x03\x04....", "ZIP"),
        (b"%PDF-1.7", "PDF"),
        (b'{"images": []}', "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "LFS"),
        (b"\0\0\0\x1cftypavif\0\0\0\0", "AVIF"),
        (b"\0" * 5000, "only zero bytes"),
        (b"BM is how this text begins", "unknown"),
        (b"\x1b[31mred\x07", "unknown"),
    ],
)
def test_other_data_is_named_with_its_first_bytes_made_safe(data, words):
    with pytest.raises(PictureProblem) as caught:
        probe_picture(data)
    assert caught.value.code == "img-not-an-image"
    assert words in caught.value.detail
    assert caught.value.detail.isascii()
    assert caught.value.detail.isprintable()


@given(st.binary(max_size=64))
@settings(deadline=None, max_examples=300)
def test_descriptions_are_always_printable_ascii(data):
    text = describe_bytes(data)
    assert text.isascii()
    assert text.isprintable()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.JPG", "JPEG"), ("a.b.jpeg", "JPEG"), ("a.png", "PNG"), ("a", ""), ("frame.0001", ""), ("x/y.TIF", "TIFF")],
)
def test_kind_of_name(name, kind):
    assert kind_of_name(name) == kind


SEEDS = [
    encoded(picture(), "JPEG"),
    with_orientation("JPEG", 6),
    encoded(picture("P"), "PNG"),
    encoded(picture(), "GIF"),
    with_orientation("WEBP", 8),
    encoded(picture(), "BMP"),
    encoded(picture(), "TIFF"),
]


@given(st.sampled_from(SEEDS), st.data())
@settings(deadline=None, max_examples=600)
def test_any_damage_gives_a_header_or_a_problem(seed, data):
    changed = bytearray(seed[: data.draw(st.integers(0, len(seed)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if changed:
            changed[data.draw(st.integers(0, min(len(changed) - 1, 120)))] = data.draw(st.integers(0, 255))
    code = ""
    try:
        header = probe_picture(bytes(changed))
    except PictureProblem as problem:
        code = problem.code
    if code:
        assert code in ("img-truncated", "img-not-an-image")
    else:
        assert header.width_px >= 0
        assert header.height_px >= 0
        assert 1 <= header.orientation <= 8
        assert header.frames in (1, 2)


def test_a_hostile_count_of_tiff_values_is_not_followed():
    entries = struct.pack("<HHII", 273, 4, 0xFFFFFFFF, 0) + struct.pack("<HHII", 279, 4, 2_000_000, 0)
    data = b"II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4 + 9_000_000)
    assert "no picture" in probe_picture(data).damage


def test_real_pictures_have_the_size_that_libjpeg_reads(shared: Path):
    paths = [
        *(shared / "data" / "coco-sample" / "val2017").glob("*.jpg"),
        *(shared / "data" / "grayscale").glob("*.jpg"),
    ]
    assert len(paths) > 100
    for path in paths:
        data = path.read_bytes()
        height, width, colour, _ = simplejpeg.decode_jpeg_header(data)
        header = probe_picture(data)
        assert (header.width_px, header.height_px, header.damage) == (width, height, "")
        assert header.mode == ("grey" if colour == "Gray" else "rgb")
