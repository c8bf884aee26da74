"""Boxes, affine crops and their inverses, map coordinates and flips.

Frames: ``image`` (pixels of the source picture), ``crop`` (pixels of the training window), ``map``
(cells of a confidence map). **Pixel centres are integer coordinates** in all of them. An affine is
a (2, 3) float64 matrix ``[A | t]`` with ``xy_out = A @ xy_in + t``; everything is vectorised over
persons.

The conventions, by name; all of them grow the box about its centre to the crop's aspect and by
``padding``, to ``bw x bh``, except ``box`` and ``square``; the crop is W x H:

``msra``
    Scale W / bw on both axes, box centre to (W / 2, H / 2). Source:
    microsoft/human-pose-estimation.pytorch, lib/utils/transforms.py (also HRNet, SimCC, mmpose).
``dark``
    Scale (W - 1) / (bw - 1) on both axes, box centre to ((W - 1) / 2, (H - 1) / 2). Source:
    ilovepose/DarkPose, lib/utils/transforms.py.
``udp``
    Scale (W - 1) / bw and (H - 1) / bh, centre as in ``dark``, rotation of the opposite sign.
    Source: Huang et al., "The Devil is in the Details", CVPR 2020, and HuangJunJie2017/UDP-Pose.
``box``
    The box stretched to the crop, its aspect lost; no padding, no rotation.
``square``
    The box centred on a square canvas with a frame, no padding, no rotation; see :func:`square_canvas`.

``letterbox``
    A whole picture, its aspect kept, in the middle of its frame; see :func:`letterbox_transforms`.

The references solve for the affine from three float32 points; this is the exact float64 formula,
which differs from theirs by up to 3.3e-5 px in the translation.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pose_data.errors import UsageError

__all__ = [
    "apply_affines",
    "boxes_from_keypoints",
    "clean_boxes",
    "crop_to_map",
    "crop_transforms",
    "flip_keypoints",
    "invert_affines",
    "letterbox_transforms",
    "map_to_crop",
    "shift_transforms",
    "square_canvas",
]

_Float = NDArray[np.float64]


def clean_boxes(bbox_xywh_image: ArrayLike, image_wh: ArrayLike, box_rule: str) -> _Float:
    """Return the boxes (N, 4) float64 ``x, y, w, h`` in image pixels after the named rule.

    ``annotated`` leaves them alone. ``msra-clean`` clips to the picture and takes one pixel off width
    and height (source: microsoft/human-pose-estimation.pytorch, lib/dataset/coco.py). ``truncated``
    drops the fractions of all four numbers, then clips to the picture.

    ``image_wh`` is (N, 2) or (2,). A box that became unusable has w <= 0 or h <= 0.
    Raises UsageError for an unknown rule.
    """
    boxes = np.array(bbox_xywh_image, dtype=np.float64).reshape(-1, 4)
    if box_rule == "annotated":
        return boxes
    size = np.asarray(image_wh, dtype=np.float64)
    if box_rule == "msra-clean":
        low = np.maximum(boxes[:, :2], 0.0)
        high = np.minimum(size - 1.0, low + np.maximum(boxes[:, 2:] - 1.0, 0.0))
    elif box_rule == "truncated":
        whole = np.trunc(boxes)
        low = np.maximum(whole[:, :2], 0.0)
        high = np.minimum(size, whole[:, :2] + whole[:, 2:])
    else:
        raise _unknown("box_rule", box_rule, ("annotated", "msra-clean", "truncated"))
    return np.concatenate([low, high - low], axis=1)


def crop_transforms(
    bbox_xywh_image: ArrayLike,
    *,
    geometry: str,
    crop_width_px: int,
    crop_height_px: int,
    padding: float = 1.25,
    frame: float = 0.0,
    rotation_deg: float | ArrayLike = 0.0,
) -> _Float:
    """Return the affines (N, 2, 3) float64 from image pixels to the crop window.

    ``bbox_xywh_image`` is (N, 4); ``rotation_deg`` one number or (N,), of the sign that the named
    geometry's reference uses (a positive one turns the picture anticlockwise in ``msra`` and ``dark``,
    clockwise in ``udp``). ``padding`` counts for msra, dark and udp, ``frame`` for square.

    Raises UsageError for an unknown geometry, a box without positive finite size, or a rotation of
    ``box`` or ``square``.
    """
    boxes = _usable(bbox_xywh_image)
    degrees = np.broadcast_to(np.asarray(rotation_deg, dtype=np.float64), (len(boxes),))
    crop_wh = np.array([crop_width_px, crop_height_px], dtype=np.float64)
    if geometry in ("box", "square"):
        if degrees.any():
            raise UsageError("option-conflict", f"the {geometry} geometry does not rotate", hint="rotate the crop")
        return _stretched(boxes, crop_wh) if geometry == "box" else _squared(boxes, crop_wh, frame)
    if geometry not in ("msra", "dark", "udp"):
        raise _unknown("geometry", geometry, ("msra", "udp", "dark", "box", "square"))
    scale = _crop_scale(_grown_size(boxes[:, 2:], crop_wh, padding), crop_wh, geometry)
    radians = np.deg2rad(-degrees if geometry == "udp" else degrees)
    cosine, sine = np.cos(radians), np.sin(radians)
    rotation = np.stack([np.stack([cosine, sine], -1), np.stack([-sine, cosine], -1)], 1)
    centre = boxes[:, :2] + boxes[:, 2:] * 0.5
    target = crop_wh / 2.0 if geometry == "msra" else (crop_wh - 1.0) / 2.0
    return _about(rotation * scale[:, :, None], centre, target)


def square_canvas(bbox_xywh_image: ArrayLike, frame: float) -> _Float:
    """Return ``x0, y0, side`` (N, 3) float64 of the square canvas around each box, in image pixels.

    The box is centred in a square of side ``max(w, h)`` (offset ``(side - w) // 2`` whole pixels);
    then ``floor(frame * side)`` whole pixels are put on each side. Source of the steps:
    qyzdao/single-human-pose-estimation. x0 and y0 are the canvas's first pixel.
    """
    boxes = np.asarray(bbox_xywh_image, dtype=np.float64).reshape(-1, 4)
    side = boxes[:, 2:].max(axis=1, keepdims=True)
    # The slack keeps a frame such as 0.29 of 100 pixels from losing one to binary fractions.
    frame_px = np.floor(frame * side + 1e-9)
    first = boxes[:, :2] - np.floor((side - boxes[:, 2:]) / 2.0) - frame_px
    return np.concatenate([first, side + 2.0 * frame_px], axis=1)


def letterbox_transforms(image_wh: ArrayLike, *, width_px: int, height_px: int) -> _Float:
    """Return the affines (N, 2, 3) float64 that put whole pictures into the middle of a frame of W x H pixels.

    ``image_wh`` is (N, 2). The greatest scale s at which all of the picture fits, on both axes; pixel areas are
    aligned, as resizing does it: ``x_out = s (x + 1/2) - 1/2 + floor((W - s w) / 2)``, likewise y. So the picture
    begins on a whole pixel.

    Raises UsageError for a picture without positive finite size.
    """
    size = np.asarray(image_wh, dtype=np.float64).reshape(-1, 2)
    if not (np.isfinite(size) & (size > 0)).all():
        raise UsageError("box-invalid", "a picture has no positive, finite size", hint="leave such pictures out")
    frame = np.array([width_px, height_px], dtype=np.float64)
    scale = (frame / size).min(axis=1)
    # The slack keeps a picture that fills the frame from losing a pixel to binary fractions.
    first = np.floor((frame - scale[:, None] * size) / 2.0 + 1e-9)
    return _axis_aligned(np.stack([scale, scale], axis=1), first + (scale[:, None] - 1.0) / 2.0)


def shift_transforms(transforms: _Float, dx_px: float, dy_px: float) -> _Float:
    """Return the affines (..., 2, 3) with their results moved by (dx_px, dy_px), such as a stored image's context."""
    shifted = np.array(transforms, dtype=np.float64)
    shifted[..., 0, 2] += dx_px
    shifted[..., 1, 2] += dy_px
    return shifted


def invert_affines(transforms: _Float) -> _Float:
    """Return the inverses of affines (..., 2, 3), float64. Raises UsageError when one has no inverse."""
    matrix = np.asarray(transforms, dtype=np.float64)
    (a, b, c), (d, e, f) = np.moveaxis(matrix[..., 0, :], -1, 0), np.moveaxis(matrix[..., 1, :], -1, 0)
    determinant = a * e - b * d
    if not (np.isfinite(determinant) & (determinant != 0)).all():
        raise UsageError("affine-singular", "an affine has no inverse", hint="its box has no area, or is not finite")
    first = np.stack([e, -b, b * f - c * e], axis=-1)
    second = np.stack([-d, a, c * d - a * f], axis=-1)
    inverse: _Float = np.stack([first, second], axis=-2) / determinant[..., None, None]
    return inverse


def apply_affines(transforms: _Float, xy: ArrayLike) -> _Float:
    """Return points (N, K, 2) float64 mapped by affines (N, 2, 3), row by row."""
    # Written out, not as a matrix product: the last bit must not depend on the BLAS or the batch.
    points = np.asarray(xy, dtype=np.float64)
    matrix = np.asarray(transforms, dtype=np.float64)[:, None]
    x, y = points[..., 0], points[..., 1]
    return np.stack(
        [
            matrix[..., 0, 0] * x + matrix[..., 0, 1] * y + matrix[..., 0, 2],
            matrix[..., 1, 0] * x + matrix[..., 1, 1] * y + matrix[..., 1, 2],
        ],
        axis=-1,
    )


def crop_to_map(
    xy_crop: ArrayLike, *, geometry: str, crop_width_px: int, crop_height_px: int, map_width: int, map_height: int
) -> _Float:
    """Return points (..., 2) in map cells, float64 and unrounded.

    ``udp`` maps by (map - 1) / (crop - 1), which keeps the outer pixel centres; the others divide by
    the stride crop / map. Raises UsageError for an unknown geometry.
    """
    ratio = _map_ratio(geometry, (crop_width_px, crop_height_px), (map_width, map_height))
    return np.asarray(xy_crop, dtype=np.float64) * ratio


def map_to_crop(
    xy_map: ArrayLike, *, geometry: str, crop_width_px: int, crop_height_px: int, map_width: int, map_height: int
) -> _Float:
    """Return points (..., 2) in crop pixels, float64: the inverse of :func:`crop_to_map`."""
    ratio = _map_ratio(geometry, (crop_width_px, crop_height_px), (map_width, map_height))
    return np.asarray(xy_map, dtype=np.float64) / ratio


def boxes_from_keypoints(keypoints: ArrayLike) -> _Float:
    """Return the tight boxes (N, 4) ``x, y, w, h`` around the labelled (v > 0) of keypoints (N, K, 3).

    Float64, in the frame of the keypoints. Zeros where none is labelled; one keypoint, or several on
    a line along an axis, give a box without area.
    """
    points = np.asarray(keypoints, dtype=np.float64)
    labelled = points[..., 2] > 0
    if points.shape[1] == 0:
        return np.zeros((len(points), 4))
    low = np.where(labelled[..., None], points[..., :2], np.inf).min(axis=1)
    high = np.where(labelled[..., None], points[..., :2], -np.inf).max(axis=1)
    found = labelled.any(axis=1, keepdims=True)
    low, high = np.where(found, low, 0.0), np.where(found, high, 0.0)
    return np.concatenate([low, high - low], axis=1)


def flip_keypoints(keypoints: ArrayLike, width_px: float, flip_order: Sequence[int]) -> _Float:
    """Return keypoints (..., K, 3) ``x, y, v`` of the left/right mirrored image, float64.

    ``width_px`` is the width of the mirrored frame: x becomes ``width_px - 1 - x``, since pixel centres
    are integers. ``flip_order`` names, for each keypoint, the one whose place it takes. Unlabelled
    keypoints (v <= 0) keep their coordinates. Applying it twice gives the keypoints back.
    """
    flipped = np.array(keypoints, dtype=np.float64)[..., list(flip_order), :]
    mirrored = (width_px - 1.0) - flipped[..., 0]
    flipped[..., 0] = np.where(flipped[..., 2] > 0, mirrored, flipped[..., 0])
    return flipped


def _usable(bbox_xywh_image: ArrayLike) -> _Float:
    boxes = np.asarray(bbox_xywh_image, dtype=np.float64).reshape(-1, 4)
    if not (np.isfinite(boxes).all() and (boxes[:, 2:] > 0).all()):
        raise UsageError("box-invalid", "a box has no positive, finite width and height", hint="leave such boxes out")
    return boxes


def _crop_scale(grown_wh: _Float, crop_wh: _Float, geometry: str) -> _Float:
    """Return the scales (N, 2) along the crop's x and y."""
    if geometry == "udp":
        return (crop_wh - 1.0) / grown_wh
    if geometry == "dark":
        # A box of one pixel has no size in this convention; the floor only keeps the numbers finite.
        same = (crop_wh[0] - 1.0) / np.maximum(grown_wh[:, :1] - 1.0, 1e-3)
    else:
        same = crop_wh[0] / grown_wh[:, :1]
    return np.repeat(same, 2, axis=1)


def _grown_size(box_wh: _Float, crop_wh: _Float, padding: float) -> _Float:
    aspect = crop_wh[0] / crop_wh[1]
    width = np.maximum(box_wh[:, 0], box_wh[:, 1] * aspect)
    return np.stack([width, width / aspect], axis=1) * padding


def _about(linear: _Float, centre: _Float, target: _Float) -> _Float:
    moved_x = linear[:, 0, 0] * centre[:, 0] + linear[:, 0, 1] * centre[:, 1]
    moved_y = linear[:, 1, 0] * centre[:, 0] + linear[:, 1, 1] * centre[:, 1]
    translation = target - np.stack([moved_x, moved_y], axis=-1)
    return np.concatenate([linear, translation[:, :, None]], axis=2)


def _axis_aligned(scale: _Float, offset: _Float) -> _Float:
    transforms = np.zeros((len(scale), 2, 3))
    transforms[:, 0, 0], transforms[:, 1, 1] = scale[:, 0], scale[:, 1]
    transforms[:, :, 2] = offset
    return transforms


def _stretched(boxes: _Float, crop_wh: _Float) -> _Float:
    scale = crop_wh / boxes[:, 2:]
    return _axis_aligned(scale, -boxes[:, :2] * scale)


def _squared(boxes: _Float, crop_wh: _Float, frame: float) -> _Float:
    canvas = square_canvas(boxes, frame)
    scale = crop_wh / canvas[:, 2:]
    # Area resampling lines up pixel edges, so a centre moves by half a pixel before and after.
    return _axis_aligned(scale, (0.5 - canvas[:, :2]) * scale - 0.5)


def _map_ratio(geometry: str, crop_wh: tuple[int, int], map_wh: tuple[int, int]) -> _Float:
    if geometry not in ("msra", "udp", "dark", "box", "square"):
        raise _unknown("geometry", geometry, ("msra", "udp", "dark", "box", "square"))
    less = 1.0 if geometry == "udp" else 0.0
    return (np.array(map_wh, dtype=np.float64) - less) / (np.array(crop_wh, dtype=np.float64) - less)


def _unknown(what: str, value: str, known: Sequence[str]) -> UsageError:
    return UsageError("option-value", f"{what} is {value!r}", hint=f"one of: {', '.join(known)}")
