"""Small COCO data sets and stores for tests: generated pictures, real files, a second or less each."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pose_data.atomic import make_folder
from pose_data.commit import commit_split
from pose_data.formats.coco import read_coco
from pose_data.imaging import encode_jpeg
from pose_data.job import save_job
from pose_data.manifest import SplitFolder
from pose_data.plan import plan_table, write_plan
from pose_data.recipes import Recipe, build_recipe
from pose_data.selection import select_samples
from pose_data.shard import ShardJob, make_shard
from pose_data.skeleton import COCO_PERSON
from pose_data.store import SplitFacts, create_split

SMALL: dict[str, Any] = {
    "crop_width_px": 24, "crop_height_px": 32, "map_width": 12, "map_height": 16, "sigma": 1.0,
    "shard_rows": 8, "chunk_rows": 4,
}  # fmt: skip


@dataclass
class CocoMaker:
    """A COCO folder in the making; write() puts one split's annotation file and pictures on disk."""

    folder: Path
    seed: int = 0
    pictures: int = 6
    persons: int = 3
    width_px: int = 80
    height_px: int = 64
    hostile: str = ""
    image_records: list[dict[str, Any]] = field(default_factory=list)
    annotations: list[dict[str, Any]] = field(default_factory=list)

    def write(self, split: str, *, broken: bool = True) -> Path:
        """Write a split; with ``broken`` also a crowd, an unlabelled person, a missing and a truncated picture."""
        self.image_records, self.annotations = [], []
        random = np.random.default_rng([self.seed, len(split), *split.encode()])
        images = self.folder / split
        images.mkdir(parents=True)
        (self.folder / "annotations").mkdir(exist_ok=True)
        for number in range(self.pictures):
            name = self.picture(random, images, f"{self.hostile}{number:012d}.jpg")
            for _ in range(self.persons):
                self.person(random, name)
        if broken:
            self.person(random, 1, iscrowd=1)
            self.person(random, 1, keypoints=[0] * 51, num_keypoints=0)
            missing = self.picture(random, images, "missing.jpg")
            self.person(random, missing)
            (images / "missing.jpg").unlink()
            torn = self.picture(random, images, "torn.jpg")
            self.person(random, torn)
            (images / "torn.jpg").write_bytes((images / "torn.jpg").read_bytes()[:-300])
        return self.dump(split)

    def dump(self, split: str) -> Path:
        """Write the annotation file of what was added."""
        path = self.folder / "annotations" / f"person_keypoints_{split}.json"
        category = {
            "id": 1, "name": "person", "keypoints": list(COCO_PERSON.names),
            "skeleton": [[a + 1, b + 1] for a, b in COCO_PERSON.limbs],
        }  # fmt: skip
        content = {"images": self.image_records, "annotations": self.annotations, "categories": [category]}
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    def picture(self, random: np.random.Generator, images: Path, name: str) -> int:
        """Add a picture of soft noise; return its id."""
        coarse = random.integers(0, 256, (self.height_px // 16, self.width_px // 16, 3))
        pixels = np.kron(coarse, np.ones((16, 16, 1))).astype(np.uint8)
        (images / name).write_bytes(encode_jpeg(pixels, 90))
        number = len(self.image_records) + 1
        record = {"id": number, "file_name": name, "width": self.width_px, "height": self.height_px}
        self.image_records.append(record)
        return number

    def person(self, random: np.random.Generator, image_id: int, **changes: Any) -> None:
        """Add a person somewhere in the picture."""
        x, y = random.uniform(0, self.width_px / 2), random.uniform(0, self.height_px / 2)
        width, height = random.uniform(14, self.width_px / 2), random.uniform(20, self.height_px / 2)
        flags = random.choice([0, 1, 2], 17, p=[0.2, 0.2, 0.6])
        flags[0] = 2
        keypoints: list[float] = []
        for flag in flags:
            point = (x + random.uniform(0, width), y + random.uniform(0, height)) if flag else (0.0, 0.0)
            keypoints += [round(point[0], 1), round(point[1], 1), int(flag)]
        box = [round(value, 2) for value in (x, y, width, height)]
        corners = [x, y, x + width, y, x + width, y + height, x, y + height]
        self.annotations.append({
            "id": 1000 + len(self.annotations), "image_id": image_id, "category_id": 1, "iscrowd": 0,
            "bbox": box, "area": width * height, "keypoints": keypoints, "num_keypoints": int((flags > 0).sum()),
            "segmentation": [[round(value, 2) for value in corners]],
            **changes,
        })  # fmt: skip


def small_recipe(**changes: Any) -> Recipe:
    """Return a recipe with crops of 24 x 32 and shards of 8 rows."""
    return build_recipe(changes.pop("name", "coco-256x192"), **{**SMALL, **changes})


def scene_recipe(**changes: Any) -> Recipe:
    """Return a recipe of scenes with pictures of 64 x 64, of which 48 x 48 are the window, and shards of 4 rows."""
    small: dict[str, Any] = {
        "crop_width_px": 48, "crop_height_px": 48, "context_px": 8, "map_width": 12, "map_height": 12,
        "shard_rows": 4, "chunk_rows": 2,
    }  # fmt: skip
    return build_recipe(changes.pop("name", "openpose-368"), **{**small, **changes})


def prepare_split(root: Path, coco: Path, split: str, recipe: Recipe) -> None:
    """Prepare one split the plain way, one shard after another, with a run log."""
    annotations, images = coco / "annotations" / f"person_keypoints_{split}.json", coco / split
    read = read_coco(annotations, boxes=recipe.boxes, keep_segmentation=recipe.takes_masks)
    table = select_samples(read.table, recipe)
    shard_rows = recipe.shard_rows
    planned = plan_table(table, recipe, shard_rows)
    rows, persons_a_shard = planned.rows, planned.persons_a_shard if recipe.rows == "scenes" else 0
    folder = SplitFolder(root / split)
    make_folder(root / ".posedata")
    make_folder(folder.records / "shards")
    make_folder(folder.work)
    skeleton, indices = recipe.skeleton_of(read.skeleton)
    facts = SplitFacts(
        split=split, recipe=recipe, skeleton=skeleton, full_skeleton=read.skeleton, keypoint_indices=indices, rows=rows,
        shard_rows=shard_rows, annotation_file=annotations.name, annotation_sha256=read.sha256,
        annotation_count=table.num_rows, persons_a_shard=persons_a_shard,
    )  # fmt: skip
    metadata = create_split(root, facts)
    job = ShardJob(
        split=folder, images_root=images, recipe=recipe, keypoint_indices=indices, rows=rows, shard_rows=shard_rows,
        persons_a_shard=persons_a_shard,
    )  # fmt: skip
    save_job(job)
    write_plan(folder.plan, table, recipe, shard_rows)
    for shard in range(job.shards):
        make_shard(job, shard)
    commit_split(job, root, metadata, facts=facts)
    make_folder(folder.records / "runs")
    log = {"annotations": str(annotations), "images_root": str(images)}
    (folder.records / "runs" / "20260101T000000.json").write_text(json.dumps(log), encoding="utf-8")


def store_bytes(root: Path) -> dict[str, bytes]:
    """Return every file of a store but logs and lock: what two equal stores have in common."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and "runs" not in path.parts and path.name != "lock"
    }
