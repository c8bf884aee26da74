"""What a preparation was before: scripts that keep everything in one list and save it at the end.

Two baselines for ``prepare.py``, written from descriptions of public projects' behaviour, with the
given number of threads (the originals have one).
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco_mask

__all__ = ["full_size_script", "plain_script"]

Array = npt.NDArray[Any]


def _persons(annotations: Path, images: Path, *, seed_filter: bool) -> list[tuple[Path, list[dict[str, Any]]]]:
    content = json.loads(annotations.read_text(encoding="utf-8"))
    names = {image["id"]: image["file_name"] for image in content["images"]}
    by_picture: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for person in content["annotations"]:
        good = not person["iscrowd"] and person["num_keypoints"] > 0
        if seed_filter:
            segmentation = person["segmentation"]
            area = person["bbox"][2] * person["bbox"][3]
            one = isinstance(segmentation, list) and len(segmentation) == 1
            good = good and one and person["num_keypoints"] > 15 and area > 2500
        if good:
            by_picture[person["image_id"]].append(person)
    return [(images / names[key], persons) for key, persons in by_picture.items()]


def plain_script(annotations: Path, images: Path, out: Path, *, threads: int, limit: int | None = None) -> int:
    """Crop 256 x 192, draw each joint's Gaussian on the whole 64 x 48 grid, keep float32, save one ``.npy``.

    Returns the number of persons.
    """
    y, x = np.mgrid[0:64, 0:48].astype(np.float32)

    def one(job: tuple[Path, Sequence[dict[str, Any]]]) -> list[Array]:
        picture = cv2.imread(str(job[0]))
        rows = []
        for person in job[1]:
            left, top, width, height = person["bbox"]
            size = 1.25 * max(height, width * 256 / 192)
            scale = 256 / size
            centre_x, centre_y = left + width / 2, top + height / 2
            affine = np.array([[scale, 0, 96 - scale * centre_x], [0, scale, 128 - scale * centre_y]])
            crop = cv2.warpAffine(picture, affine, (192, 256)).astype(np.float32) / 255
            maps = np.zeros((17, 64, 48), np.float32)
            for joint, (joint_x, joint_y, flag) in enumerate(np.reshape(person["keypoints"], (17, 3))):
                if flag > 0:
                    map_x, map_y = (affine @ [joint_x, joint_y, 1]) / 4
                    maps[joint] = np.exp(-((x - map_x) ** 2 + (y - map_y) ** 2) / (2 * 2.0**2))
            rows.append(np.concatenate([crop.ravel(), maps.ravel()]))
        return rows

    return _save(one, _persons(annotations, images, seed_filter=False)[:limit], out, threads)


def full_size_script(annotations: Path, images: Path, out: Path, *, threads: int, limit: int | None = None) -> int:
    """Mask to white, square, frame, resize to 320; for each of 13 joints a multivariate normal density on 320 x 320.

    Returns the number of persons.
    """
    y, x = np.mgrid[0:320, 0:320]
    grid = np.stack([x, y], axis=-1).astype(np.float64)
    whitening = np.linalg.cholesky(np.linalg.inv(np.diag([64.0, 64.0])))

    def density(mean: Array) -> Array:
        return np.exp(-0.5 * np.sum(np.square((grid - mean) @ whitening), axis=-1))

    def one(job: tuple[Path, Sequence[dict[str, Any]]]) -> list[Array]:
        picture = cv2.imread(str(job[0]))
        rows = []
        for person in job[1]:
            runs = coco_mask.frPyObjects(person["segmentation"], *picture.shape[:2])
            outside = np.asarray(coco_mask.decode(coco_mask.merge(runs))) == 0
            whitened = np.where(outside[..., None], 255, picture)
            left, top, width, height = (int(value) for value in person["bbox"])
            side = max(width, height)
            canvas_px = side + 2 * (side // 5)
            canvas = np.full((canvas_px, canvas_px, 3), 255, np.uint8)
            at_x, at_y = (canvas_px - width) // 2, (canvas_px - height) // 2
            canvas[at_y : at_y + height, at_x : at_x + width] = whitened[top : top + height, left : left + width]
            crop = cv2.resize(canvas, (320, 320)).astype(np.float32) / 127.5 - 1
            joints = np.reshape(person["keypoints"], (17, 3))[[0, *range(5, 17)]]
            maps = np.zeros((13, 320, 320), np.float32)
            for joint, (joint_x, joint_y, flag) in enumerate(joints):
                if flag == 2:
                    place = np.array([joint_x - left + at_x, joint_y - top + at_y]) * 320 / canvas_px
                    maps[joint] = density(place)
            rows.append(np.concatenate([crop.ravel(), maps.ravel()]))
        return rows

    return _save(one, _persons(annotations, images, seed_filter=True)[:limit], out, threads)


def _save(one: Any, jobs: Sequence[Any], out: Path, threads: int) -> int:
    everything: list[Array] = []
    with ThreadPoolExecutor(threads) as pool:
        for rows in pool.map(one, jobs):
            everything.extend(rows)
    np.save(out, np.array(everything))
    return len(everything)
