"""What the first bytes of a picture file say: type, size, colour mode, orientation, frames.

Nothing is decoded here; the work is bounded by the length of the data whatever the header
promises. The layouts are those of the public specifications: JPEG (ITU-T T.81, Adobe's APP14
marker), PNG 1.2 and APNG, GIF89a, WebP (RIFF container), BMP, TIFF 6.0 and EXIF 2.3 (tag 274).
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["PictureHeader", "PictureProblem", "describe_bytes", "kind_of_name", "probe_picture"]


class PictureProblem(Exception):
    """What is wrong with one picture, as a code of :data:`pose_data.errors.PROBLEMS` and a detail.

    It belongs to one record, is caught for each record, and is no error of the run.
    """

    def __init__(self, code: str, detail: str, file_name: str = "") -> None:
        super().__init__(code, detail, file_name)
        self.code = code
        self.detail = detail
        self.file_name = file_name

    def __str__(self) -> str:
        name = f"{self.file_name!a}: " if self.file_name else ""
        return f"{name}{self.detail} [{self.code}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureHeader:
    """The facts of one picture's header.

    ``mode`` is 'rgb', 'rgb-alpha', 'grey', 'grey-alpha', 'palette', or the name of a mode that we
    do not read ('cmyk', 'ycck', 'float' …); ``bits`` are per channel. ``width_px`` and
    ``height_px`` are of the stored pixels, before any turn; ``orientation`` is EXIF's, 1 to 8, and
    1 where there is none. Counting ``frames`` stops at 2. ``damage`` says where the data ends early
    or contradicts itself, and is empty otherwise. ``orientation_at`` is the byte offset of a TIFF's
    orientation value, 0 elsewhere.
    """

    kind: str
    width_px: int
    height_px: int
    mode: str
    bits: int = 8
    orientation: int = 1
    frames: int = 1
    damage: str = ""
    orientation_at: int = 0


_KINDS_BY_EXTENSION = {
    "jpg": "JPEG",
    "jpeg": "JPEG",
    "jpe": "JPEG",
    "jfif": "JPEG",
    "png": "PNG",
    "gif": "GIF",
    "webp": "WebP",
    "bmp": "BMP",
    "dib": "BMP",
    "tif": "TIFF",
    "tiff": "TIFF",
}

# Types that people really find under a picture's name, for the message only.
_OTHER_TYPES: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip archive"),
    (b"PK\x03\x04", "ZIP archive"),
    (b"7z\xbc\xaf\x27\x1c", "7-Zip archive"),
    (b"BZh", "bzip2 archive"),
    (b"\xfd7zXZ\0", "xz archive"),
    (b"\x28\xb5\x2f\xfd", "zstd archive"),
    (b"%PDF", "PDF document"),
    (b"8BPS", "Photoshop document"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000 picture (not supported)"),
    (b"\xff\x4f\xff\x51", "JPEG 2000 picture (not supported)"),
    (b"\xff\x0a", "JPEG XL picture (not supported)"),
    (b"\0\0\0\x0cJXL ", "JPEG XL picture (not supported)"),
    (b"II+\0", "BigTIFF picture (not supported)"),
    (b"MM\0+", "BigTIFF picture (not supported)"),
    (b"version https://git-lfs", "Git LFS pointer (the picture itself was not downloaded)"),
    (b"\x93NUMPY", "NumPy array"),
    (b"\x7fELF", "program"),
    (b"MZ", "program"),
)
_SHOWN_BYTES = 16
_ORIENTATION_TAG = 274
_TIFF_MODES = {0: "grey", 1: "grey", 2: "rgb", 3: "palette", 5: "cmyk", 6: "rgb", 8: "lab"}
_PNG_MODES = {0: "grey", 2: "rgb", 3: "palette", 4: "grey-alpha", 6: "rgb-alpha"}
# Start-of-frame markers: C0 to CF without DHT (C4), JPG (C8) and DAC (CC).
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
# Markers without a length: TEM, RST0 to RST7, SOI.
_JPEG_BARE = frozenset([0x01, *range(0xD0, 0xD9)])
_BMP_HEADER_BYTES = frozenset([12, 40, 52, 56, 108, 124])
# Width, height, bits, photometric, strips, orientation, samples, strip bytes, tiles, tile bytes, sample format.
_TIFF_TAGS = frozenset([256, 257, 258, 262, 273, _ORIENTATION_TAG, 277, 279, 324, 325, 339])
# More values than any real picture's strips; keeps a hostile count from filling the memory.
_MAX_TIFF_VALUES = 1 << 20
_read_u16 = struct.Struct(">H").unpack_from
_read_frame = struct.Struct(">BHHB").unpack_from


def kind_of_name(file_name: str) -> str:
    """Return the picture type that a file name claims by its extension, or '' where it claims none."""
    return _KINDS_BY_EXTENSION.get(file_name.rpartition(".")[2].lower(), "")


def describe_bytes(data: bytes) -> str:
    """Return what data that is no supported picture looks like, with its first bytes.

    The text is printable ASCII whatever the data holds.
    """
    if not data:
        return "the file is empty (0 bytes)"
    first = data[:_SHOWN_BYTES]
    text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in first)
    return f"looks like: {_name_of_other_type(data)}; first bytes {first.hex(' ')} ({text})"


def _name_of_other_type(data: bytes) -> str:
    for magic, name in _OTHER_TYPES:
        if data.startswith(magic):
            return name
    if data[4:8] == b"ftyp":
        return "AVIF, HEIC or MP4 (not supported)"
    start = data[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "HTML page"
    if start.startswith((b"<?xml", b"<svg", b"<")):
        return "XML, SVG or HTML text"
    if start.startswith((b"{", b"[")):
        return "JSON text"
    if not data[:4096].strip(b"\0"):
        return "only zero bytes"
    return "unknown type"


def probe_picture(data: bytes) -> PictureHeader:
    """Read the header of a JPEG, PNG, GIF, WebP, BMP or TIFF.

    Raises:
        PictureProblem: ``img-not-an-image`` where the bytes are of no supported type;
            ``img-truncated`` where the data ends before the size is known.
    """
    try:
        if data.startswith(b"\xff\xd8\xff"):
            return _probe_jpeg(data)
        if data.startswith(b"\x89PNG\r\n\x1a\n"):
            return _probe_png(data)
        if data.startswith((b"GIF87a", b"GIF89a")):
            return _probe_gif(data)
        if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
            return _probe_webp(data)
        if data.startswith((b"II*\0", b"MM\0*")):
            return _probe_tiff(data)
        if _is_bmp(data):
            return _probe_bmp(data)
    except (struct.error, IndexError):
        raise PictureProblem("img-truncated", f"the data ends inside the header, after {len(data)} bytes") from None
    raise PictureProblem("img-not-an-image", describe_bytes(data))


def _probe_jpeg(data: bytes) -> PictureHeader:
    """Follow the markers up to the first scan, then look for the end marker."""
    bits = height = width = components = 0
    transform, orientation, position, end = -1, 1, 2, len(data)
    damage = "the data ends before the first scan"
    while position + 4 <= end:
        if data[position] != 0xFF:
            damage = f"no marker at byte {position}"
            break
        marker = data[position + 1]
        if marker == 0xFF or marker in _JPEG_BARE:
            position += 1 if marker == 0xFF else 2
            continue
        if marker in (0xDA, 0xD9):
            # Entropy-coded data never holds FF D9; whatever follows the end marker is tolerated.
            damage = "" if data.rfind(b"\xff\xd9", position) >= 0 else f"no end marker in {end} bytes"
            break
        length: int = _read_u16(data, position + 2)[0]
        if marker in _JPEG_FRAMES:
            bits, height, width, components = _read_frame(data, position + 4)
        elif marker == 0xE1 and data.startswith(b"Exif\0\0", position + 4):
            orientation = _exif_orientation(data[position + 10 : position + 2 + length])
        elif marker == 0xEE and data.startswith(b"Adobe", position + 4):
            transform = data[position + 15]
        position += 2 + length
    if not components:
        raise PictureProblem("img-truncated", f"JPEG without a frame header in {end} bytes")
    if not (width and height):
        damage = damage or "a side is 0 pixels long"
    four = "ycck" if transform == 2 else "cmyk"
    mode = {1: "grey", 3: "rgb", 4: four}.get(components) or f"{components} channels"
    return PictureHeader(
        kind="JPEG",
        width_px=width,
        height_px=height,
        mode=mode,
        bits=bits,
        orientation=orientation,
        damage=damage,
    )


def _probe_png(data: bytes) -> PictureHeader:
    """Follow the chunks to IEND and check their checksums."""
    if data[12:16] != b"IHDR" and len(data) >= 16:
        raise PictureProblem("img-truncated", "PNG whose first chunk is not IHDR")
    width, height, bits, colour = struct.unpack_from(">IIBB", data, 16)
    mode, orientation, frames, damage, position = _PNG_MODES.get(colour, f"colour type {colour}"), 1, 1, "", 8
    view, name = memoryview(data), b""
    while name != b"IEND" and not damage:
        if position + 12 > len(data):
            damage = f"the data ends before the chunk IEND, after {len(data)} bytes"
            break
        length, name = struct.unpack_from(">I4s", data, position)
        body, position = position + 8, position + 12 + length
        if position > len(data):
            damage = f"the data ends inside the chunk {ascii(name)[1:]}, after {len(data)} bytes"
        elif zlib.crc32(view[body - 4 : body + length]) != struct.unpack_from(">I", data, body + length)[0]:
            damage = f"wrong checksum of the chunk {ascii(name)[1:]}"
        elif name == b"acTL" and length >= 4:
            frames = min(2, struct.unpack_from(">I", data, body)[0])
        elif name == b"tRNS" and mode in ("grey", "rgb"):
            mode += "-alpha"
        elif name == b"eXIf":
            orientation = _exif_orientation(data[body : body + length])
    if not (width and height):
        damage = damage or "a side is 0 pixels long"
    return PictureHeader(
        kind="PNG",
        width_px=width,
        height_px=height,
        mode=mode,
        bits=bits,
        orientation=orientation,
        frames=frames,
        damage=damage,
    )


def _probe_gif(data: bytes) -> PictureHeader:
    """Follow the blocks to the trailer or to the second frame."""
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    frames, damage, position = 0, "", 13 + _gif_table_bytes(flags)
    try:
        while frames < 2 and (block := data[position]) != 0x3B:
            if block == 0x21:
                position = _after_sub_blocks(data, position + 2)
            elif block == 0x2C:
                frames += 1
                position = _after_sub_blocks(data, position + 11 + _gif_table_bytes(data[position + 9]))
            else:
                damage = f"no block at byte {position}"
                break
    except IndexError:
        damage = f"the data ends before the trailer, after {len(data)} bytes"
    if not (frames and width and height):
        damage = damage or "there is no picture in it"
    return PictureHeader(
        kind="GIF", width_px=width, height_px=height, mode="palette", frames=max(frames, 1), damage=damage
    )


def _gif_table_bytes(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def _after_sub_blocks(data: bytes, position: int) -> int:
    while size := data[position]:
        position += size + 1
    return position + 1


def _probe_webp(data: bytes) -> PictureHeader:
    """Follow the RIFF chunks; the canvas of VP8X wins over the first frame's size."""
    end = 8 + struct.unpack_from("<I", data, 4)[0]
    damage = f"the data ends after {len(data)} of {end} bytes" if end > len(data) else ""
    size_px, mode, orientation, frames, position = (0, 0), "rgb", 1, 0, 12
    while position + 8 <= min(end, len(data)):
        name, length = struct.unpack_from("<4sI", data, position)
        body, position = position + 8, position + 8 + length + (length & 1)
        if name == b"VP8X":
            size_px = (_u24(data, body + 4) + 1, _u24(data, body + 7) + 1)
            mode = "rgb-alpha" if data[body] & 0x10 else mode
        elif name == b"VP8 ":
            across, down = struct.unpack_from("<HH", data, body + 6)
            size_px = size_px if any(size_px) else (across & 0x3FFF, down & 0x3FFF)
        elif name == b"VP8L":
            (packed,) = struct.unpack_from("<I", data, body + 1)
            size_px = size_px if any(size_px) else ((packed & 0x3FFF) + 1, (packed >> 14 & 0x3FFF) + 1)
            mode = "rgb-alpha" if packed >> 28 & 1 else mode
        elif name == b"ANMF":
            frames += 1
        elif name == b"EXIF":
            orientation = _exif_orientation(data[body : body + length].removeprefix(b"Exif\0\0"))
    if not all(size_px):
        raise PictureProblem("img-truncated", f"WebP without a picture in {len(data)} bytes")
    return PictureHeader(
        kind="WebP",
        width_px=size_px[0],
        height_px=size_px[1],
        mode=mode,
        orientation=orientation,
        frames=min(2, max(frames, 1)),
        damage=damage,
    )


def _u24(data: bytes, position: int) -> int:
    return data[position] | data[position + 1] << 8 | data[position + 2] << 16


def _is_bmp(data: bytes) -> bool:
    # Two letters are a weak sign; the size of the second header makes it a strong one.
    return data.startswith(b"BM") and (len(data) < 18 or struct.unpack_from("<I", data, 14)[0] in _BMP_HEADER_BYTES)


def _probe_bmp(data: bytes) -> PictureHeader:
    """Read the two headers; for uncompressed pixels the length follows from them."""
    pixels_at, header_bytes = struct.unpack_from("<II", data, 10)
    compression = 0
    if header_bytes == 12:
        width, height, _, depth = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, depth, compression = struct.unpack_from("<iiHHI", data, 18)
    # A negative height means rows from top to bottom.
    height = abs(height)
    damage = "a side is not positive" if width <= 0 or not height else ""
    wanted = pixels_at + (width * depth + 31) // 32 * 4 * height
    if compression in (0, 3, 6) and len(data) < wanted and not damage:
        damage = f"the data ends after {len(data)} of {wanted} bytes"
    mode, bits = {16: ("rgb", 5), 24: ("rgb", 8), 32: ("rgb-alpha", 8)}.get(depth, ("palette", depth))
    return PictureHeader(kind="BMP", width_px=max(width, 0), height_px=height, mode=mode, bits=bits, damage=damage)


def _probe_tiff(data: bytes) -> PictureHeader:
    """Read the first directory; a second one means a second page."""
    order = "<" if data.startswith(b"II") else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    (following,) = struct.unpack_from(order + "I", data, directory + 2 + 12 * count)
    entries = dict(_tiff_entries(data, order, directory))
    tags = {tag: _tiff_values(data, order, at) for tag, at in entries.items() if tag in _TIFF_TAGS}

    def first(tag: int, default: int) -> int:
        return (tags.get(tag) or (default,))[0]

    width, height, photometric = first(256, 0), first(257, 0), first(262, -1)
    mode = _TIFF_MODES.get(photometric, f"photometric {photometric}")
    samples = first(277, 1)
    if mode in ("grey", "rgb") and samples == {"grey": 2, "rgb": 4}[mode]:
        mode += "-alpha"
    mode = "float" if first(339, 1) == 3 else mode
    # Strips or tiles: where each starts and how long it is.
    starts, lengths = (tags.get(273) or tags.get(324, ())), (tags.get(279) or tags.get(325, ()))
    wanted = max(map(sum, zip(starts, lengths, strict=False)), default=0)
    damage = "" if width and height and wanted else "there is no picture in it"
    if wanted > len(data):
        damage = f"the data ends after {len(data)} of {wanted} bytes"
    orientation = first(_ORIENTATION_TAG, 1)
    return PictureHeader(
        kind="TIFF",
        width_px=width,
        height_px=height,
        mode=mode,
        bits=max(tags.get(258) or (1,)),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        frames=2 if following else 1,
        damage=damage,
        orientation_at=entries[_ORIENTATION_TAG] + 8 if _ORIENTATION_TAG in entries else 0,
    )


def _tiff_entries(data: bytes, order: str, directory: int) -> Iterator[tuple[int, int]]:
    """Yield tag and byte offset of every 12-byte entry of a TIFF directory."""
    (count,) = struct.unpack_from(order + "H", data, directory)
    for position in range(directory + 2, directory + 2 + 12 * count, 12):
        yield struct.unpack_from(order + "H", data, position)[0], position


def _tiff_values(data: bytes, order: str, entry: int) -> tuple[int, ...]:
    """Return the whole-number values of an entry; () for other types."""
    kind, count = struct.unpack_from(order + "HI", data, entry + 2)
    letter = {1: "B", 3: "H", 4: "I"}.get(kind)
    if letter is None or count > _MAX_TIFF_VALUES:
        return ()
    layout = f"{order}{count}{letter}"
    size = struct.calcsize(layout)
    position = entry + 8 if size <= 4 else struct.unpack_from(order + "I", data, entry + 8)[0]
    values: tuple[int, ...] = struct.unpack_from(layout, data, position)
    return values


def _exif_orientation(exif: bytes) -> int:
    """Return the orientation 1 to 8 of an EXIF block; 1 where it is missing or nonsense."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return 1
    try:
        for tag, entry in _tiff_entries(exif, order, struct.unpack_from(order + "I", exif, 4)[0]):
            if tag == _ORIENTATION_TAG:
                values = _tiff_values(exif, order, entry)
                return values[0] if values and 1 <= values[0] <= 8 else 1
    except struct.error:
        return 1
    return 1
