"""The case of benchmarks/evaluation.py: persons and results as many as COCO val2017's, synthesised.

5,000 images, 11,004 persons, of whom 6,352 have labelled keypoints and 227 are crowds; 104,125 results, up to 83 in an
image, many images above the 20 that count, and scores that tie.
"""

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pose_data.skeleton import COCO_PERSON

__all__ = ["write_case"]

IMAGES, PERSONS, LABELLED, CROWDS, RESULTS = 5_000, 11_004, 6_352, 227, 104_125
_MOST_IN_AN_IMAGE = 83
# A standing person, in heights: x from the middle, y from the top.
_POSE = np.array([
    (0.00, 0.07), (0.02, 0.05), (-0.02, 0.05), (0.05, 0.06), (-0.05, 0.06), (0.12, 0.20), (-0.12, 0.20), (0.17, 0.35),
    (-0.17, 0.35), (0.18, 0.48), (-0.18, 0.48), (0.08, 0.50), (-0.08, 0.50), (0.09, 0.73), (-0.09, 0.73), (0.09, 0.95),
    (-0.09, 0.95),
])  # fmt: skip
_Float = npt.NDArray[np.float64]


def write_case(folder: Path, *, seed: int = 0) -> None:
    """Write ``truth.json`` and ``results.json`` (no boxes, full floats) into the folder."""
    random = np.random.default_rng(seed)
    images = np.sort(random.choice(600_000, IMAGES, replace=False)) + 1
    image = np.sort(random.integers(0, IMAGES, PERSONS))
    height = np.exp(random.uniform(np.log(20), np.log(420), PERSONS))
    xy = _people(random, height, PERSONS)
    labelled = random.permutation(PERSONS) < LABELLED
    flags = np.where(labelled[:, None], random.choice([0, 1, 2], (PERSONS, 17), p=(0.3, 0.1, 0.6)), 0)
    flags[labelled, 5] = 2
    crowd = np.zeros(PERSONS, bool)
    crowd[random.choice(np.flatnonzero(~labelled), CROWDS, replace=False)] = True
    folder.mkdir(parents=True, exist_ok=True)
    records = [
        _annotation(random, number, int(images[image[number]]), xy[number], flags[number], bool(crowd[number]))
        for number in range(PERSONS)
    ]
    content = {
        "images": [
            {"id": number, "width": 640, "height": 480, "file_name": f"{number:012d}.jpg"} for number in images.tolist()
        ],
        "annotations": [records[number] for number in random.permutation(PERSONS).tolist()],
        "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_PERSON.names), "skeleton": []}],
    }
    (folder / "truth.json").write_text(json.dumps(content), encoding="utf-8")
    (folder / "results.json").write_text(json.dumps(_results(random, images, image, xy, height)), encoding="utf-8")


def _people(random: np.random.Generator, height: _Float, count: int) -> _Float:
    """Return keypoints (n, 17, 2): the pose, bent a little, of these heights, somewhere in a picture."""
    bent = _POSE + random.normal(size=(count, 17, 2)) * 0.04
    return bent * height[:, None, None] + random.uniform(0, 1, (count, 1, 2)) * (600, 300)


def _annotation(
    random: np.random.Generator, number: int, image: int, xy: _Float, flags: npt.NDArray[np.int64], crowd: bool
) -> dict[str, object]:
    points = np.column_stack([np.round(xy) * (flags > 0)[:, None], flags]).astype(int)
    low, size = xy.min(axis=0).round(2), np.ptp(xy, axis=0).round(2)
    outline = (low + random.uniform(0, 1, (30, 2)) * size).round(2)
    return {
        "segmentation": [outline.ravel().tolist()], "num_keypoints": int((flags > 0).sum()),
        "area": round(float(0.53 * size.prod()), 4), "iscrowd": int(crowd), "keypoints": points.ravel().tolist(),
        "image_id": image, "bbox": [*low.tolist(), *size.tolist()], "category_id": 1, "id": 200_000 + number,
    }  # fmt: skip


def _results(
    random: np.random.Generator, images: npt.NDArray[np.int64], image: npt.NDArray[np.int64], xy: _Float, height: _Float
) -> list[dict[str, object]]:
    weight = random.gamma(1.5, 1.0, IMAGES)
    count = np.minimum(1 + np.floor(weight / weight.sum() * (RESULTS - IMAGES)), _MOST_IN_AN_IMAGE).astype(int)
    while count.sum() < RESULTS:
        place = random.integers(IMAGES)
        count[place] += count[place] < _MOST_IN_AN_IMAGE
    start = np.searchsorted(image, np.arange(IMAGES + 1))
    place = np.repeat(np.arange(IMAGES), count)
    there = start[place + 1] - start[place]
    near = (random.random(RESULTS) < 0.6) & (there > 0)
    person = start[place] + np.floor(random.random(RESULTS) * np.maximum(there, 1)).astype(int)
    person = np.minimum(person, PERSONS - 1)
    error = random.choice([0.01, 0.02, 0.05], RESULTS) * height[person]
    found = xy[person] + random.normal(size=(RESULTS, 17, 2)) * error[:, None, None]
    other_height = np.exp(random.uniform(np.log(20), np.log(420), RESULTS))
    found = np.where(near[:, None, None], found, _people(random, other_height, RESULTS))
    score = random.random(RESULTS) * np.where(near, 1.0, 0.6)
    tied = random.random(RESULTS) < 0.1
    score[tied] = score[tied].round(1)
    numbers = np.concatenate([found, random.random((RESULTS, 17, 1))], axis=2).reshape(RESULTS, 51)
    return [
        {"image_id": one, "category_id": 1, "keypoints": points, "score": value}
        for one, points, value in zip(images[place].tolist(), numbers.tolist(), score.tolist(), strict=True)
    ]
