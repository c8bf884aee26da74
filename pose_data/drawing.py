"""Lines, circles, text and glowing maps on pictures; beside ``imaging`` the only user of cv2.

Pixels are (H, W, 3) uint8 RGB and drawn on in place. Text is ASCII: OpenCV before 5 has no other letters.
"""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from pose_data.skeleton import Skeleton

__all__ = [
    "CENTRE",
    "LEFT",
    "RIGHT",
    "Colour",
    "draw_box",
    "draw_corners",
    "draw_label",
    "draw_skeleton",
    "draw_text",
    "fit_text",
    "flow",
    "glow",
    "keypoint_colours",
    "resized",
    "resized_by",
    "veiled",
]

Pixels = NDArray[np.uint8]
Colour = tuple[int, int, int]

# Told apart by people who do not see red and green alike (Okabe and Ito's palette, a little lighter).
LEFT: Colour = (255, 159, 28)
RIGHT: Colour = (51, 181, 255)
CENTRE: Colour = (232, 232, 232)
_DARK: Colour = (16, 18, 22)
_VEIL: Colour = (255, 90, 90)
_SHIFT = 4
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_BOLD_FONT = cv2.FONT_HERSHEY_DUPLEX
_SCALE_A_PX = 1 / 30.0


def keypoint_colours(skeleton: Skeleton) -> tuple[Colour, ...]:
    """Return each keypoint's colour: of the left side, of the right side, or of neither."""
    colours = [CENTRE] * skeleton.keypoint_count
    for left, right in skeleton.pairs:
        colours[left], colours[right] = LEFT, RIGHT
    return tuple(colours)


def draw_skeleton(
    pixels: Pixels, keypoints: NDArray[np.floating[Any]], skeleton: Skeleton, *, unit: float = 1.0
) -> None:
    """Draw limbs and keypoints (K, 3) x, y, visibility, in the frame of ``pixels``.

    A visible keypoint (2) is filled, a hidden one (1) a ring, an unlabelled one (0) not drawn. With ``unit`` 1 a
    keypoint is 6 pixels across.
    """
    colours = keypoint_colours(skeleton)
    for first, second in skeleton.limbs:
        if keypoints[first, 2] > 0 and keypoints[second, 2] > 0:
            colour = colours[first] if colours[first] == colours[second] else CENTRE
            ends = _fixed(keypoints[first, :2]), _fixed(keypoints[second, :2])
            cv2.line(pixels, *ends, _DARK, max(2, round(3.4 * unit)), cv2.LINE_AA, _SHIFT)
            cv2.line(pixels, *ends, colour, max(1, round(1.7 * unit)), cv2.LINE_AA, _SHIFT)
    for (x, y, flag), colour in zip(keypoints, colours, strict=True):
        if flag <= 0:
            continue
        centre, radius = _fixed((x, y)), (3.1 if flag >= 2 else 3.7) * unit
        cv2.circle(pixels, centre, round((radius + 1.1) * 2**_SHIFT), _DARK, -1, cv2.LINE_AA, _SHIFT)
        cv2.circle(pixels, centre, round(radius * 2**_SHIFT), colour, -1, cv2.LINE_AA, _SHIFT)
        if flag < 2:
            cv2.circle(pixels, centre, round(0.62 * radius * 2**_SHIFT), _DARK, -1, cv2.LINE_AA, _SHIFT)


def _fixed(xy: Sequence[float] | NDArray[np.floating[Any]]) -> tuple[int, int]:
    # OpenCV takes whole numbers of 1/16 pixels; far points must stay inside its 32 bits.
    x, y = (round(float(min(max(value, -1e5), 1e5)) * 2**_SHIFT) for value in xy)
    return x, y


def draw_box(pixels: Pixels, box_xywh: Sequence[float], colour: Colour, thickness: int = 2) -> None:
    """Draw a box with a dark rim."""
    x, y, width, height = box_xywh
    corners = _fixed((x, y)), _fixed((x + width, y + height))
    cv2.rectangle(pixels, *corners, _DARK, thickness + 2, cv2.LINE_AA, _SHIFT)
    cv2.rectangle(pixels, *corners, colour, thickness, cv2.LINE_AA, _SHIFT)


def draw_corners(pixels: Pixels, box_xywh: Sequence[float], colour: Colour, thickness: int = 1) -> None:
    """Draw the four corners of a box, a fifth of its shorter side long, with a dark rim: it hides less than a box."""
    x, y, width, height = box_xywh
    length = 0.2 * min(width, height)
    for shade, extra in ((_DARK, 2), (colour, 0)):
        for corner_x, step_x in ((x, length), (x + width, -length)):
            for corner_y, step_y in ((y, length), (y + height, -length)):
                corner = _fixed((corner_x, corner_y))
                for end in ((corner_x + step_x, corner_y), (corner_x, corner_y + step_y)):
                    cv2.line(pixels, corner, _fixed(end), shade, thickness + extra, cv2.LINE_AA, _SHIFT)


def draw_label(pixels: Pixels, corner_xy: tuple[float, float], text: str, *, colour: Colour, size_px: float) -> None:
    """Write dark text on a coloured plate that stands on ``corner_xy``, moved so that it lies inside the picture.

    Nothing is written on a picture that is smaller than the plate.
    """
    plain, margin = _ascii(text), max(2, round(0.25 * size_px))
    width, height = _text_width(plain, size_px, False) + 2 * margin, round(0.8 * size_px) + 2 * margin
    if width > pixels.shape[1] or height > pixels.shape[0]:
        return
    left = min(max(round(corner_xy[0]), 0), pixels.shape[1] - width)
    top = min(max(round(corner_xy[1]) - height, 0), pixels.shape[0] - height)
    cv2.rectangle(pixels, (left, top), (left + width - 1, top + height - 1), colour, -1)
    draw_text(pixels, (left + margin, top + height - margin - 1), plain, size_px=size_px)


def glow(
    pixels: Pixels, maps: NDArray[np.float32], colours: Sequence[Colour], map_to_pixels: NDArray[np.float64]
) -> Pixels:
    """Return the picture, dark and grey, with maps (K, h, w) of 0 to 1 glowing on it, each in its colour.

    ``map_to_pixels`` (2, 3) takes a map cell to the frame of ``pixels``.
    """
    base = _dark_grey(pixels)
    size_wh = pixels.shape[1], pixels.shape[0]
    # Maps of one colour do not add up: the brightest counts.
    for colour in dict.fromkeys(colours):
        chosen = [index for index, own in enumerate(colours) if own == colour]
        brightest = np.ascontiguousarray(maps[chosen].max(axis=0))
        spread = cv2.warpAffine(brightest, map_to_pixels, size_wh, flags=cv2.INTER_LINEAR)
        strength = np.clip(spread, 0.0, 1.0)[..., None] ** 0.8
        base = base * (1.0 - strength) + np.array(colour, np.float32) * strength
    lit: Pixels = np.clip(base, 0, 255).astype(np.uint8)
    return lit


def _dark_grey(pixels: Pixels) -> NDArray[np.float32]:
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
    return np.repeat(np.float32(18.0) + np.float32(0.42) * grey, 3, axis=2)


def flow(pixels: Pixels, fields: NDArray[np.float32], map_to_pixels: NDArray[np.float64]) -> Pixels:
    """Return the picture, dark and grey, with vector fields (L, 2, h, w) on it, hue by direction.

    In every cell the longest vector counts. ``map_to_pixels`` (2, 3) takes a cell to the frame of ``pixels``.
    """
    length = np.hypot(fields[:, 0], fields[:, 1])
    longest = length.argmax(axis=0)[None, None]
    x, y = np.take_along_axis(fields, longest, axis=0)[0]
    hue = (np.degrees(np.arctan2(y, x)) % 360.0) / 2.0
    full = np.full(hue.shape, 255, np.uint8)
    colours = cv2.cvtColor(np.stack([hue.astype(np.uint8), full // 4 * 3, full], axis=-1), cv2.COLOR_HSV2RGB)
    size_wh = pixels.shape[1], pixels.shape[0]
    spread = cv2.warpAffine(colours.astype(np.float32), map_to_pixels, size_wh, flags=cv2.INTER_NEAREST)
    strength = np.minimum(length.max(axis=0), 1.0).astype(np.float32)
    strength = cv2.warpAffine(strength, map_to_pixels, size_wh, flags=cv2.INTER_LINEAR)[..., None]
    drawn: Pixels = np.clip(_dark_grey(pixels) * (1.0 - strength) + spread * strength, 0, 255).astype(np.uint8)
    return drawn


def veiled(pixels: Pixels, mask: NDArray[np.float32], map_to_pixels: NDArray[np.float64]) -> Pixels:
    """Return the picture striped where ``mask`` (h, w), 1 and below, says that it does not count."""
    size_wh = pixels.shape[1], pixels.shape[0]
    hidden = cv2.warpAffine(1.0 - mask, map_to_pixels, size_wh, flags=cv2.INTER_LINEAR)[..., None]
    y, x = np.indices(pixels.shape[:2])
    stripes = np.where(((x + y) // 4 % 2 == 0)[..., None], np.array(_VEIL, np.float32), pixels.astype(np.float32))
    drawn: Pixels = np.clip(pixels * (1.0 - 0.6 * hidden) + 0.6 * hidden * stripes, 0, 255).astype(np.uint8)
    return drawn


def draw_text(
    pixels: Pixels, xy: tuple[int, int], text: str, *, size_px: float, colour: Colour = _DARK, bold: bool = False
) -> int:
    """Write text with its base line at y; return its width in pixels. Other than ASCII is escaped."""
    plain = _ascii(text)
    font, scale = (_BOLD_FONT if bold else _FONT), size_px * _SCALE_A_PX
    cv2.putText(pixels, plain, xy, font, scale, colour, 1, cv2.LINE_AA)
    return _text_width(plain, size_px, bold)


def fit_text(text: str, width_px: int, *, size_px: float, bold: bool = False) -> str:
    """Return the text, cut to fit into a width."""
    plain = _ascii(text)
    while plain and _text_width(plain, size_px, bold) > width_px:
        plain = plain[: -4 if plain.endswith("...") else -1].rstrip() + "..."
        if plain == "...":
            return ""
    return plain


def _text_width(plain: str, size_px: float, bold: bool) -> int:
    (width, _), _ = cv2.getTextSize(plain, _BOLD_FONT if bold else _FONT, size_px * _SCALE_A_PX, 1)
    return int(width)


def _ascii(text: str) -> str:
    plain = text.encode("ascii", "backslashreplace").decode("ascii")
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in plain)


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """Return the picture at another size; shrinking averages areas."""
    method = cv2.INTER_AREA if width <= pixels.shape[1] and height <= pixels.shape[0] else cv2.INTER_CUBIC
    return cv2.resize(pixels, (width, height), interpolation=method).astype(np.uint8, copy=False)


def resized_by(before_px: int, after_px: int) -> tuple[float, float]:
    """Return scale and offset that take a pixel centre to its place after :func:`resized`, along one axis."""
    scale = after_px / before_px
    return scale, 0.5 * scale - 0.5
