"""How many of COCO's persons does grouping give back from perfect fields, and what is lost where?

    python benchmarks/grouping_accuracy.py --coco data/coco

Draws maps and fields of every picture's own annotations, letterboxed to 368 high, groups them, and scores
the persons with pycocotools. The first lines have no grouping at all: exact keypoints, joined wherever a
limb of the table joins two labelled ones. No grouping by that table alone can give more.
"""

import argparse
import contextlib
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from pose_data.grouping import GROUPINGS, GroupingOptions, find_grouping, group_persons
from pose_data.limbs import LIMB_TABLES, LimbTable, add_neck, drop_neck
from pose_data.targets.paf import SCENE_RULES, SceneRules, encode_fields, encode_scene_maps

_HEIGHT_PX = 368
Found = list[tuple[np.ndarray, float]]


def labels(coco: COCO, picture: int) -> tuple[np.ndarray, np.ndarray]:
    """Return points (P, 18, 2) in input pixels and labels (P, 18) of a picture's persons with keypoints."""
    persons = [one for one in coco.imgToAnns[picture] if one["num_keypoints"] > 0 and not one["iscrowd"]]
    keypoints = np.array([person["keypoints"] for person in persons], dtype=np.float64).reshape(-1, 17, 3)
    scale = _HEIGHT_PX / coco.imgs[picture]["height"]
    return add_neck((keypoints[..., :2] + 0.5) * scale - 0.5, keypoints[..., 2] > 0)


def joined_by_limbs(coco: COCO, picture: int, table: LimbTable, minimum_joints: int) -> Found:
    """Return exact keypoints, in as many parts as the labelled limbs leave them."""
    found = []
    for xy, labelled in zip(*labels(coco, picture), strict=True):
        part = np.arange(18)
        for start, end in table.limbs:
            if labelled[start] and labelled[end]:
                part[part == part[end]] = part[start]
        for one in np.unique(part[labelled]):
            has = labelled & (part == one)
            if has.sum() >= minimum_joints:
                found.append((np.column_stack([np.where(has[:, None], xy, 0.0), has]), float(has.sum())))
    return found


def grouped(coco: COCO, picture: int, rules: SceneRules, table: LimbTable, options: GroupingOptions) -> Found:
    """Return the persons that grouping finds in the fields of the picture's annotations."""
    image = coco.imgs[picture]
    width = int(np.ceil(image["width"] * _HEIGHT_PX / image["height"] / 8))
    shape = {"rules": rules, "map_width": width, "map_height": _HEIGHT_PX // 8}
    points = labels(coco, picture)
    maps, fields = encode_scene_maps(*points, **shape), encode_fields(*points, table.limbs, **shape)
    persons = group_persons(maps[None], fields[None], table, options)[0]
    return list(zip(persons.keypoints_input(), persons.coco_score().tolist(), strict=True))


def average_precision(coco: COCO, find: Callable[[int], Found]) -> tuple[float, int]:
    """Return AP and the number of results of all pictures."""
    results: list[dict[str, Any]] = []
    for picture in coco.getImgIds():
        scale = _HEIGHT_PX / coco.imgs[picture]["height"]
        for keypoints, score in find(picture):
            one = drop_neck(keypoints)
            one[:, :2] = np.where(one[:, 2:] > 0, (one[:, :2] + 0.5) / scale - 0.5, 0.0)
            results.append({"image_id": picture, "category_id": 1, "keypoints": one.ravel().tolist(), "score": score})
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco, coco.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), len(results)


def main() -> None:
    """Measure and print, one split after the other."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coco", type=Path, required=True)
    options = parser.parse_args()
    for path in sorted((options.coco / "annotations").glob("person_keypoints_*.json")):
        with contextlib.redirect_stdout(io.StringIO()):
            coco = COCO(str(path))
        print(path.name)
        report(coco)


def report(coco: COCO) -> None:
    """Print what is lost of one split."""

    def show(name: str, find: Callable[[int], Found]) -> None:
        precision, count = average_precision(coco, find)
        print(f"  {name:<72} AP {precision:.3f}   {count} persons", flush=True)

    for table in LIMB_TABLES.values():
        for least in (3, 1):
            name = f"no grouping, limbs of {table.name}, {least} keypoints or more"
            show(name, lambda picture, t=table, n=least: joined_by_limbs(coco, picture, t, n))
    openpose = LIMB_TABLES["openpose"]
    cases = [(rules, openpose, find_grouping(name, rules)) for name in GROUPINGS for rules in SCENE_RULES.values()]
    paper, published = SCENE_RULES["paper"], GROUPINGS["published"]
    cases += [
        (SCENE_RULES["tensorboy"], LIMB_TABLES["tensorboy"], published),
        (paper, openpose, replace(published, name="published, refined", refine=True)),
        (paper, openpose, replace(find_grouping("subcell", paper), name="subcell, optimal", assignment="optimal")),
    ]
    for rules, table, grouping in cases:
        name = f"rules {rules.name}, limbs of {table.name}, grouping {grouping.name}"
        show(name, lambda picture, r=rules, t=table, g=grouping: grouped(coco, picture, r, t, g))


if __name__ == "__main__":
    main()
