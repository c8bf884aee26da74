"""A larger data set for the benchmarks: the pictures of a COCO folder, many times, under new names and ids.

Pictures are copied byte for byte, so sizes, persons and decoding cost are those of the originals;
only their number grows.
"""

import json
import shutil
from pathlib import Path

__all__ = ["multiply_coco"]


def multiply_coco(root: Path, out: Path, *, times: int) -> Path:
    """Write ``out`` with one split ``all``: every picture of every split of ``root`` that has a keypoint person.

    Each is there ``times`` times; return ``out``. Pictures without a keypoint person are left out, since a
    preparation would not decode them.
    """
    images: list[dict[str, object]] = []
    annotations: list[dict[str, object]] = []
    categories: list[dict[str, object]] = []
    (out / "all").mkdir(parents=True)
    (out / "annotations").mkdir()
    for file in sorted((root / "annotations").glob("person_keypoints_*.json")):
        split = file.stem.removeprefix("person_keypoints_")
        folder = root / split if (root / split).is_dir() else root / "images" / split
        content = json.loads(file.read_text(encoding="utf-8"))
        categories = content["categories"]
        wanted = {a["image_id"] for a in content["annotations"] if a["num_keypoints"] and not a["iscrowd"]}
        sources = {image["id"]: image for image in content["images"] if image["id"] in wanted}
        for _ in range(times):
            numbers = {}
            for key, image in sources.items():
                number = len(images) + 1
                numbers[key] = number
                name = f"{number:012d}.jpg"
                shutil.copyfile(folder / str(image["file_name"]), out / "all" / name)
                images.append({**image, "id": number, "file_name": name})
            annotations.extend(
                {**a, "id": len(annotations) + offset + 1, "image_id": numbers[a["image_id"]]}
                for offset, a in enumerate(x for x in content["annotations"] if x["image_id"] in numbers)
            )
    text = json.dumps({"images": images, "annotations": annotations, "categories": categories})
    (out / "annotations" / "person_keypoints_all.json").write_text(text, encoding="utf-8")
    return out
