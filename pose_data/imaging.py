"""Picture files to pixels, pixels to crops, and back to bytes; the only user of cv2.

Pixels are (H, W, 3) uint8 RGB everywhere. What is converted on decoding, with the note
``img-converted``: grey is repeated in the three channels; a palette is looked up; alpha is dropped
and the colour under it stays (but a GIF's transparent pixels get its background colour, and
libtiff blends the 8-bit colours of a TIFF with black); 16 bits become 8 by rounding value / 257;
1, 2, 4 and 5 bits are stretched to 0-255 by the decoder. Colour profiles and gamma are not applied.
CMYK, YCCK, Lab and floats are rejected with ``img-mode``. JPEGs go through libjpeg-turbo
(simplejpeg), every other type through OpenCV. EXIF orientation is applied or not as the caller
says, never by the decoder.
"""

import math
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from pose_data.picture_file import read_picture
from pose_data.picture_probe import PictureHeader, PictureProblem, kind_of_name, probe_picture

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "ExifRule",
    "Picture",
    "PictureProblem",
    "decode_jpeg",
    "decode_picture",
    "encode_jpeg",
    "encode_png",
    "person_mask",
    "read_picture",
    "single_threaded",
    "square_crop",
    "warp_crop",
    "whiten_outside",
]

Pixels = NDArray[np.uint8]
ExifRule = Literal["auto", "apply", "ignore"]

DEFAULT_MAX_PIXELS = 200_000_000
"""The largest picture that is decoded: 600 MB of pixels."""

_READABLE_MODES = frozenset(["rgb", "rgb-alpha", "grey", "grey-alpha", "palette"])
_READABLE_BITS = frozenset([1, 2, 4, 5, 8, 16])
_JPEG_BITS = frozenset([8])


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """Decoded pixels, (H, W, 3) uint8 RGB, and the codes of the notes about them.

    Both may lie in the buffer given to :func:`decode_picture` and then live until its next use.
    """

    pixels: Pixels
    notes: tuple[str, ...]
    padded: Pixels | None = None
    """The same pixels with an unused fourth channel, (H, W, 4): OpenCV warps four channels twice as fast as three."""

    @property
    def to_warp(self) -> Pixels:
        """Return what :func:`warp_crop` is to be given: a view of three channels of four it would copy, each time."""
        return self.pixels if self.padded is None else self.padded


# ----------------------------------------------------------------------------------- decoding


def decode_picture(
    data: bytes,
    *,
    file_name: str,
    expected_wh: tuple[int, int] | None,
    exif: ExifRule,
    max_pixels: int = DEFAULT_MAX_PIXELS,
    buffer: bytearray | Pixels | None = None,
) -> Picture:
    """Decode a picture file's bytes and check everything that can be wrong with them.

    Args:
        data: The whole file.
        file_name: Its name, for messages and for the note about a wrong extension.
        expected_wh: Width and height of the annotation file; None skips the comparison.
        exif: 'ignore' keeps the stored pixels, 'apply' turns them by the EXIF orientation, 'auto'
            ignores it where the stored size equals ``expected_wh`` (or that is None) and applies it where
            only the turned size does. Where both fit (square pictures, half turns, mirrored ones)
            'auto' ignores it: COCO's annotations are made on the stored pixels.
        max_pixels: Larger pictures are refused from the header.
        buffer: Memory for a JPEG's pixels, four bytes each. A bytearray grows when needed, unless pixels of an earlier
            call are still in use; then, and where an array is too small, fresh memory is taken.

    Raises:
        PictureProblem: With one of the ``img-*`` codes of :data:`pose_data.errors.PROBLEMS`.
    """
    try:
        header = probe_picture(data)
        _refuse(header, max_pixels)
        turn, notes = _decide_turn(header, expected_wh, exif)
        padded = _decode_jpeg_padded(data, header, buffer) if header.kind == "JPEG" else None
        pixels = _decode_other(data, header) if padded is None else padded[:, :, :3]
    except PictureProblem as problem:
        raise PictureProblem(problem.code, problem.detail, file_name) from None
    if header.mode != "rgb" or header.bits != 8:
        notes = ("img-converted", *notes)
    if kind_of_name(file_name) not in ("", header.kind):
        notes = ("img-wrong-extension", *notes)
    if turn:
        return Picture(pixels=_turned(pixels, header.orientation), notes=notes)
    return Picture(pixels=pixels, notes=notes, padded=padded)


def _refuse(header: PictureHeader, max_pixels: int) -> None:
    """Raise for what the header alone condemns; the size comes first, before any work that depends on it."""
    size = f"{header.width_px} x {header.height_px} pixels"
    if header.width_px * header.height_px > max_pixels:
        raise PictureProblem("img-too-large", f"{header.kind} of {size}; the limit is {max_pixels} pixels")
    if header.damage:
        raise PictureProblem("img-truncated", f"{header.kind}: {header.damage}")
    bits_read = _READABLE_BITS if header.kind != "JPEG" else _JPEG_BITS
    if header.mode not in _READABLE_MODES or header.bits not in bits_read:
        raise PictureProblem("img-mode", f"{header.kind} in mode {header.mode}, {header.bits} bits")
    if header.frames > 1:
        raise PictureProblem("img-animated", f"{header.kind} with more than one frame")


def _decide_turn(
    header: PictureHeader, expected_wh: tuple[int, int] | None, exif: ExifRule
) -> tuple[bool, tuple[str, ...]]:
    """Return whether to turn the pixels, and the note about it."""
    stored = (header.width_px, header.height_px)
    if header.orientation == 1:
        if expected_wh is not None and stored != expected_wh:
            raise PictureProblem("img-size-mismatch", _mismatch(stored, expected_wh))
        return False, ()
    seen = stored[::-1] if header.orientation >= 5 else stored
    turn = exif == "apply" or (exif == "auto" and expected_wh not in (None, stored))
    if expected_wh is not None and (seen if turn else stored) != expected_wh:
        detail = f"{_mismatch(stored, expected_wh)} (EXIF orientation {header.orientation}, exif={exif})"
        raise PictureProblem("img-size-mismatch", detail)
    return turn, ("img-exif-applied" if turn else "img-exif-ignored",)


def _mismatch(stored: tuple[int, int], expected: tuple[int, int]) -> str:
    return f"the file has {stored[0]} x {stored[1]} pixels, the annotations say {expected[0]} x {expected[1]}"


def _decode_jpeg_padded(data: bytes, header: PictureHeader, buffer: bytearray | Pixels | None) -> Pixels:
    size = header.width_px * header.height_px * 4
    try:
        # strict: every warning of libjpeg is an error, or half a person becomes grey.
        pixels: Pixels = simplejpeg.decode_jpeg(data, "RGBX", buffer=_fitting(buffer, size), strict=True)
    except ValueError as error:
        raise PictureProblem("img-truncated", f"JPEG decoder: {error}") from None
    _check_shape(pixels, header)
    return pixels


def _fitting(buffer: bytearray | Pixels | None, size: int) -> bytearray | Pixels | None:
    """Return the buffer if it holds ``size`` bytes, grown if it can grow; else None."""
    if isinstance(buffer, bytearray):
        if len(buffer) < size:
            try:
                buffer.extend(bytes(size - len(buffer)))
            except BufferError:
                return None
        return buffer
    return buffer if buffer is not None and buffer.nbytes >= size else None


def _decode_other(data: bytes, header: PictureHeader) -> Pixels:
    if header.orientation_at and header.orientation != 1:
        # OpenCV turns TIFFs whatever its flags say, so the decoder gets a copy that says 1.
        value = struct.pack("<HH" if data.startswith(b"II") else ">HH", 1, 0)
        data = data[: header.orientation_at] + value + data[header.orientation_at + 4 :]
    # 16 bits as they are: OpenCV would cut the lower eight off.
    flags = cv2.IMREAD_UNCHANGED if header.bits == 16 else cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error:
        pixels = None
    if pixels is None:
        raise PictureProblem("img-truncated", f"the {header.kind} decoder refused the data")
    _check_shape(pixels, header)
    return _as_rgb8(pixels)


def _check_shape(pixels: NDArray[Any], header: PictureHeader) -> None:
    if pixels.shape[:2] != (header.height_px, header.width_px):
        detail = f"the header says {header.width_px} x {header.height_px} pixels, the decoder {pixels.shape[1::-1]}"
        raise PictureProblem("img-truncated", detail)


def _as_rgb8(pixels: NDArray[Any]) -> Pixels:
    """Return (H, W, 3) uint8 RGB of what OpenCV decoded: grey, BGR or BGRA, 8 or 16 bits."""
    if pixels.dtype == np.uint16:
        # 65535 = 255 * 257: exact rounding of value / 257.
        pixels = ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], 3, axis=2)
    return np.ascontiguousarray(pixels[:, :, 2::-1])


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Return the pixels as seen: EXIF orientation 1 to 8 (EXIF 2.3, tag 274) undone."""
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


# ---------------------------------------------------------------------------------- crops


class _ThreadCount:
    """OpenCV's thread count is the process's: the first to enter sets it, the last to leave puts it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = self._before = 0

    def enter(self) -> None:
        with self._lock:
            if self._users == 0:
                self._before = cv2.getNumThreads()
                cv2.setNumThreads(1)
            self._users += 1

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users == 0:
                cv2.setNumThreads(self._before)


_thread_count = _ThreadCount()


@contextmanager
def single_threaded() -> Iterator[None]:
    """Keep OpenCV to the calling thread, for callers that bring threads of their own; may be nested."""
    _thread_count.enter()
    try:
        yield
    finally:
        _thread_count.leave()


def warp_crop(
    pixels: Pixels,
    transform_image_to_crop: NDArray[np.float64],
    out: Pixels,
    *,
    border: int = 0,
    scratch: Pixels | None = None,
) -> None:
    """Write the bilinear affine warp of a picture into ``out``, without a copy.

    Args:
        pixels: (H, W, 3) uint8, or (H, W, 4) with an unused fourth channel (same result, twice as fast).
        transform_image_to_crop: (2, 3) float64, image frame to crop frame.
        out: (h, w, 3) uint8; pixels must be contiguous within a row (rows and windows of a larger array are).
        border: Grey level outside the picture.
        scratch: (h, w, 4) uint8, used for a four-channel warp; fresh memory for each costs time.
    """
    height, width = out.shape[:2]
    padded = pixels.shape[2] == 4
    done = cv2.warpAffine(
        pixels,
        transform_image_to_crop,
        (width, height),
        dst=scratch if padded else out,
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=(border, border, border, border),
    )
    if padded:
        done = cv2.cvtColor(done, cv2.COLOR_RGBA2RGB, dst=out)
    if done is not out:
        out[...] = done


def square_crop(
    pixels: Pixels, box_xywh_image: NDArray[np.float64], *, crop_px: int, frame: float, out: Pixels
) -> None:
    """Write a box, centred on a white square with a white frame and resized, into ``out``.

    The square's side is max(w, h), the box starts at (side - w) // 2 and (side - h) // 2, the frame
    is floor(frame * side) whole pixels on each side. Resizing keeps pixel areas aligned:
    x_crop = (x - canvas_x0 + 0.5) * crop_px / canvas_px - 0.5. Shrinking averages areas, enlarging is bilinear.

    Args:
        pixels: (H, W, 3) uint8, or (H, W, 4) with an unused fourth channel.
        box_xywh_image: (4,) whole numbers; the part outside the picture is white.
        crop_px: Side of the crop.
        frame: Width of the frame as a share of the square's side.
        out: (crop_px, crop_px, 3) uint8.

    Raises:
        PictureProblem: ``box-invalid`` where width or height is not positive.
    """
    left, top, width, height = (int(value) for value in box_xywh_image)
    if width <= 0 or height <= 0:
        raise PictureProblem("box-invalid", f"box of {width} x {height} pixels")
    side = max(width, height)
    frame_px = math.floor(frame * side)
    canvas_px = side + 2 * frame_px
    canvas = np.full((canvas_px, canvas_px, 3), 255, dtype=np.uint8)
    x0, y0 = max(left, 0), max(top, 0)
    patch = pixels[y0 : max(top + height, 0), x0 : max(left + width, 0)]
    row = frame_px + (side - height) // 2 + y0 - top
    column = frame_px + (side - width) // 2 + x0 - left
    canvas[row : row + patch.shape[0], column : column + patch.shape[1]] = patch[:, :, :3]
    method = cv2.INTER_AREA if canvas_px >= crop_px else cv2.INTER_LINEAR
    done = cv2.resize(canvas, (crop_px, crop_px), dst=out, interpolation=method)
    if done is not out:
        out[...] = done


# ---------------------------------------------------------------------------------- masks


def person_mask(segmentation: Any, width_px: int, height_px: int) -> Pixels | None:
    """Return the (H, W) uint8 mask, 0 or 1, of a COCO segmentation: polygons, or RLE plain or compressed.

    Polygons of fewer than three points are left out. None where nothing usable is there: malformed,
    of another size, or without a single pixel.
    """
    lengths: Any = None
    if isinstance(segmentation, list):
        polygons = _usable_polygons(segmentation, width_px, height_px)
        if polygons:
            runs = coco_mask.merge(coco_mask.frPyObjects(polygons, height_px, width_px))
            lengths = _run_lengths(runs["counts"].decode("ascii"))
    elif isinstance(segmentation, dict) and segmentation.get("size") == [height_px, width_px]:
        counts = segmentation.get("counts")
        lengths = _run_lengths(counts) if isinstance(counts, str) else counts
    if not _fills(lengths, width_px * height_px) or not any(lengths[1::2]):
        return None
    # Runs of 0 and 1 in turn, down the columns.
    values = (np.arange(len(lengths)) & 1).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(values, lengths).reshape(width_px, height_px).T)


def _usable_polygons(polygons: list[Any], width_px: int, height_px: int) -> list[list[float]]:
    """Return the polygons of three points and more; [] where one is malformed."""
    # pycocotools walks along every edge: far coordinates cost memory without bound.
    limit = 4.0 * max(width_px, height_px)
    usable = []
    for polygon in polygons:
        if not isinstance(polygon, list) or len(polygon) % 2:
            return []
        if not all(type(value) in (int, float) and abs(value) <= limit for value in polygon):
            return []
        if len(polygon) >= 6:
            usable.append([float(value) for value in polygon])
    return usable


def _fills(lengths: Any, pixel_count: int) -> bool:
    """Return whether run lengths are whole numbers that make up exactly the picture.

    The reason for decoding runs here: pycocotools leaves uninitialised memory where they are too short.
    """
    if not isinstance(lengths, list) or not all(type(length) is int and length >= 0 for length in lengths):
        return False
    return sum(lengths) == pixel_count


def _run_lengths(text: str) -> list[int] | None:
    """Return the run lengths of COCO's compressed RLE; None where it is malformed.

    Groups of 5 bits, least first, in characters from '0'; bit 5 says that more follow; bit 4 of
    the last is the sign; from the third run on the difference to the run before the last
    (pycocotools, common/maskApi.c).
    """
    lengths: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 30:
            return None
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        value = shift = 0
    return None if shift else lengths


def whiten_outside(pixels: Pixels, mask: Pixels) -> Pixels:
    """Return a copy of (H, W, 3) or (H, W, 4) pixels in which everything outside the (H, W) 0/1 mask is white."""
    white = np.full(pixels.shape, 255, dtype=np.uint8)
    return np.asarray(cv2.copyTo(np.ascontiguousarray(pixels), np.ascontiguousarray(mask), white))


# ---------------------------------------------------------------------------------- encoding


def encode_jpeg(pixels: Pixels, quality: int) -> bytes:
    """Return the JPEG bytes of (H, W, 3) uint8 RGB pixels, 4:4:4, quality 1 to 100.

    Huffman tables are made for each picture: 5 % smaller, and no slower to decode.
    """
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, quality),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        *(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    ]
    _, encoded = cv2.imencode(".jpg", pixels[:, :, ::-1], options)
    return encoded.tobytes()


def decode_jpeg(data: bytes, out: Pixels) -> None:
    """Decode a JPEG of our own into ``out``, (h, w, 3) uint8, contiguous.

    Raises:
        PictureProblem: ``img-truncated`` where it does not decode without warning,
            ``img-size-mismatch`` where its size is not that of ``out``.
    """
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        if (height, width) != out.shape[:2]:
            raise PictureProblem("img-size-mismatch", _mismatch((width, height), (out.shape[1], out.shape[0])))
        simplejpeg.decode_jpeg(data, "RGB", buffer=out, strict=True)
    except ValueError as error:
        raise PictureProblem("img-truncated", f"JPEG decoder: {error}") from None


def encode_png(pixels: Pixels) -> bytes:
    """Return the PNG bytes of (H, W, 3) uint8 RGB pixels."""
    _, encoded = cv2.imencode(".png", pixels[:, :, ::-1])
    return encoded.tobytes()
