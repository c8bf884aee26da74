"""Persons and detections to be judged, drawn from a seed."""

import json

import numpy as np

from pose_data.evaluation import Detections, GroundTruth
from pose_data.skeleton import COCO_PERSON


def judged_case(seed, *, pictures=12, persons=4, spread=0.25):
    """Return ground truth and detections: near ones, mirrored ones, swapped ones, second ones, and some of nobody."""
    random = np.random.default_rng(seed)
    flip = list(COCO_PERSON.flip_order())
    shape = random.uniform(0.1, 0.9, (17, 2))
    keypoints, boxes, image_id, found, scores, found_image = [], [], [], [], [], []
    for image in range(1, pictures + 1):
        mine = []
        for _ in range(random.integers(0, persons + 1)):
            size = random.uniform(15, 200)
            corner = random.uniform(0, 250, 2)
            xy = corner + (shape + random.normal(0, 0.05, (17, 2))) * size
            flags = random.choice([0, 1, 2], 17, p=[0.2, 0.2, 0.6]) * (random.random() > 0.15)
            keypoints.append(np.column_stack([np.round(xy) * (flags > 0)[:, None], flags]))
            boxes.append([*corner, size, size * random.uniform(1, 2)])
            image_id.append(image)
            mine.append((xy, size))
        for xy, size in mine:
            for _ in range(random.integers(0, 3)):
                noise = random.normal(size=(17, 2)) * size * spread * random.uniform(0, 1, (17, 1)) ** 3
                drawn = xy + noise
                if random.random() < 0.3:
                    part = random.random(17) < 0.3
                    drawn[part] = xy[flip][part]
                if len(mine) > 1 and random.random() < 0.4:
                    part = random.random(17) < 0.3
                    drawn[part] = mine[random.integers(len(mine))][0][part]
                found.append(drawn)
                scores.append(round(float(random.random()), 2))
                found_image.append(image)
        if random.random() < 0.4:
            found.append(random.uniform(0, 400, (17, 2)))
            scores.append(float(random.random()))
            found_image.append(image)
    count, many = len(boxes), len(found)
    points = np.array(keypoints, np.float64).reshape(count, 17, 3)
    box = np.array(boxes, np.float64).reshape(count, 4)
    truth = GroundTruth(
        image_ids=np.arange(1, pictures + 1), image_id=np.array(image_id, np.int64),
        annotation_id=np.arange(100, 100 + count), keypoints=points, bbox_xywh=box, area=box[:, 2] * box[:, 3] * 0.53,
        iscrowd=random.random(count) < 0.1, num_keypoints=(points[..., 2] > 0).sum(axis=1),
        sizes_wh=dict.fromkeys(range(1, pictures + 1), (480, 400)),
    )  # fmt: skip
    detections = Detections(
        image_id=np.array(found_image, np.int64), score=np.array(scores, np.float64),
        keypoints=np.concatenate([np.array(found, np.float64).reshape(many, 17, 2), np.ones((many, 17, 1))], axis=2),
    )  # fmt: skip
    return truth, detections


def write_case(folder, truth, detections, *, name="results.json"):
    """Write ground truth and results as COCO has them; return both paths."""
    folder.mkdir(parents=True, exist_ok=True)
    sizes = truth.sizes_wh
    images = [
        {"id": image, "file_name": f"{image:06d}.jpg", "width": sizes[image][0], "height": sizes[image][1]}
        for image in truth.image_ids.tolist()
    ]
    annotations = [
        {
            "id": int(truth.annotation_id[row]), "image_id": int(truth.image_id[row]), "category_id": 1,
            "keypoints": truth.keypoints[row].ravel().tolist(), "bbox": truth.bbox_xywh[row].tolist(),
            "area": float(truth.area[row]), "iscrowd": int(truth.iscrowd[row]),
            "num_keypoints": int(truth.num_keypoints[row]),
        }
        for row in range(len(truth.area))
    ]  # fmt: skip
    category = {"id": 1, "name": "person", "keypoints": list(truth.skeleton.names), "skeleton": []}
    (folder / "truth.json").write_text(
        json.dumps({"images": images, "annotations": annotations, "categories": [category]}), encoding="utf-8"
    )
    results = [
        {
            "image_id": int(detections.image_id[row]), "category_id": 1, "score": float(detections.score[row]),
            "keypoints": detections.keypoints[row].ravel().tolist(),
        }
        for row in range(len(detections))
    ]  # fmt: skip
    (folder / name).write_text(json.dumps(results), encoding="utf-8")
    return folder / "truth.json", folder / name
