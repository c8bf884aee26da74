"""Keypoints from a file of `posetrain export --format onnx`, with ONNX Runtime, NumPy and Pillow alone.

    python onnx_keypoints.py small.onnx photo.jpg             the whole picture is one person's box
    python onnx_keypoints.py small.onnx photo.jpg 10 20 80 200    a box: x, y, width, height in pixels

One line a keypoint: name, x, y in pixels of the picture, score.
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image


def crop_to_picture(box_xywh: tuple[float, float, float, float], recipe: dict) -> np.ndarray:
    """Return the (2, 3) affine from pixels of the crop to pixels of the picture; pixel centres are whole numbers.

    The box grows about its centre to the crop's aspect and by the padding; what then becomes of it stands in
    docs/geometry.md.
    """
    x, y, width, height = box_xywh
    crop = np.array([recipe["crop_width_px"], recipe["crop_height_px"]], float)
    if recipe["geometry"] == "box":
        scale = np.array([width, height]) / crop
        return np.column_stack([np.diag(scale), [x, y]])
    if recipe["geometry"] not in ("msra", "dark", "udp"):
        raise SystemExit(f"this example has no {recipe['geometry']} crops")
    wide = max(width, height * crop[0] / crop[1]) * recipe["padding"]
    grown = np.array([wide, wide * crop[1] / crop[0]])
    if recipe["geometry"] == "msra":
        scale, middle = np.full(2, grown[0] / crop[0]), crop / 2
    elif recipe["geometry"] == "dark":
        scale, middle = np.full(2, (grown[0] - 1) / (crop[0] - 1)), (crop - 1) / 2
    else:
        scale, middle = grown / (crop - 1), (crop - 1) / 2
    centre = np.array([x + width / 2, y + height / 2])
    return np.column_stack([np.diag(scale), centre - scale * middle])


def cut_out(picture: Image.Image, affine: np.ndarray, recipe: dict) -> np.ndarray:
    """Return the crop (H, W, 3) uint8 RGB, black outside the picture."""
    # Pillow counts from the corners of pixels, the affine from their centres.
    linear, offset = affine[:, :2], affine[:, 2]
    offset = offset + 0.5 - linear @ np.array([0.5, 0.5])
    numbers = [*linear[0], offset[0], *linear[1], offset[1]]
    size = (recipe["crop_width_px"], recipe["crop_height_px"])
    return np.asarray(picture.transform(size, Image.Transform.AFFINE, numbers, Image.Resampling.BILINEAR))


def main(arguments: list[str]) -> None:
    """Print the keypoints of one person."""
    if len(arguments) not in (2, 6):
        raise SystemExit(__doc__)
    session = onnxruntime.InferenceSession(arguments[0], providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["posedata"])
    recipe, names = facts["conventions"]["recipe"], facts["conventions"]["skeleton"]["names"]
    with Image.open(arguments[1]) as opened:
        picture = opened.convert("RGB")
    box = tuple(float(text) for text in arguments[2:]) or (0.0, 0.0, *map(float, picture.size))
    affine = crop_to_picture(box, recipe)
    crops = cut_out(picture, affine, recipe)[None]
    keypoints, scores = session.run(["keypoints", "scores"], {"images": crops})
    in_picture = keypoints[0] @ affine[:, :2].T + affine[:, 2]
    for name, (x, y), score in zip(names, in_picture, scores[0], strict=True):
        print(f"{name:16} {x:8.2f} {y:8.2f} {score:6.3f}")


if __name__ == "__main__":
    main(sys.argv[1:])
