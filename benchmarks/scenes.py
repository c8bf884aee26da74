"""What scenes take: bytes a picture of every array, processor time of preparing, reading and augmenting one.

    python benchmarks/scenes.py --coco data/coco --split val2017

Times are of the processor, all threads together, so that they hold on a machine that others use. Reading and
augmenting are the best of five rounds; the first fills the page cache.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

from pipelines.prepare import prepare
from pose_data.info import info
from pose_data.recipes import RECIPES, build_recipe
from pose_data.skeleton import COCO_PERSON
from pose_data.store import open_store
from pose_models.augment import PixelRule
from pose_models.scene_augment import SCENE_ARRAYS, augment_scenes, find_scene_augmentation
from pose_models.stream import SampleStream

_BATCH = 16
_ROUNDS = 5


def milliseconds(work: Callable[[], int]) -> float:
    """Return processor time in ms for each of the pictures that ``work`` counts, at best."""
    best = float("inf")
    for _ in range(_ROUNDS):
        began_s = time.process_time()
        pictures = work()
        best = min(best, 1000.0 * (time.process_time() - began_s) / pictures)
    return best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coco", type=Path, required=True)
    parser.add_argument("--split", default="val2017")
    scenes = [name for name, recipe in RECIPES.items() if recipe.rows == "scenes"]
    parser.add_argument("--recipe", choices=scenes, default=scenes[0])
    parser.add_argument("--image-codec", default="lossless")
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipe = build_recipe(options.recipe, image_codec=options.image_codec)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "scenes.zarr"
        began_s = time.process_time()
        prepare(store, root=options.coco, splits=(options.split,), recipe=recipe, workers=1, max_bad=1.0)
        seconds = time.process_time() - began_s
        (found,) = info(store).splits
        for array in found.arrays:
            print(f"{array.name:<14}{array.size_bytes / found.rows:>12,.0f} bytes a picture")
        print(f"{found.rows} pictures, {found.kept} persons")
        print(f"preparing {1000.0 * seconds / found.rows:.1f} ms a picture, annotations and verification with it")
        stream = SampleStream(open_store(store)[options.split], batch_size=_BATCH, arrays=SCENE_ARRAYS, threads=1)
        epoch = iter(range(_ROUNDS + 1))
        print(f"reading {milliseconds(lambda: sum(int(b.valid.sum()) for b in stream.epoch(next(epoch)))):.2f} ms")
        batch = next(stream.epoch(0))
        augmentation = find_scene_augmentation("openpose")

        def augmented() -> int:
            augment_scenes(batch, recipe, COCO_PERSON, augmentation, PixelRule(), seed=0, epoch=0)
            return _BATCH

        print(f"augmenting, with targets and mask, {milliseconds(augmented):.2f} ms")
        stream.close()


if __name__ == "__main__":
    main()
