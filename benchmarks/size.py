"""How large is a store? Bytes a person by image codec, extrapolated to COCO train2017's 149,813 persons.

python benchmarks/size.py --coco data/coco
"""

import argparse
import shutil
import tempfile
from pathlib import Path

from machine import describe_machine

from pipelines.prepare import prepare
from pose_data.recipes import build_recipe
from pose_data.sample import generate_sample

_TRAIN2017_PERSONS = 149_813


def array_bytes(out: Path, array: str) -> int:
    """Return the bytes of an array's shard files over all splits."""
    return sum(path.stat().st_size for path in out.glob(f"*/{array}/c.*"))


def main() -> None:
    """Prepare with every codec and map encoding, and print the sizes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--coco", type=Path, help="a COCO folder; without it the generated sample is used")
    options = parser.parse_args()
    print(describe_machine())
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        source = options.coco or generate_sample(scratch / "sample").out
        out = scratch / "crops.zarr"
        print(f"bytes a person, and GB extrapolated to {_TRAIN2017_PERSONS:,} persons")
        variants = [("coco-256x192", {"image_codec": codec}) for codec in ("lossless", "fast", "raw", "jpeg")]
        variants += [("coco-256x192-udp", {}), ("coco-256x192-dark", {}), ("coco-256x192", {"map_dtype": "float16"})]
        for recipe, changes in variants:
            report = prepare(out, root=source, recipe=build_recipe(recipe, **changes))
            persons = sum(split.kept for split in report.splits)
            images, maps = (array_bytes(out, name) / persons for name in ("images", "heatmaps"))
            whole = sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) / persons
            gigabytes = [value * _TRAIN2017_PERSONS / 1e9 for value in (images, maps, whole)]
            print(
                f"  {recipe:<18} {changes!s:<28} images {images:9,.0f} ({gigabytes[0]:5.2f} GB)   "
                f"maps {maps:6,.0f} ({gigabytes[1]:5.3f} GB)   all {whole:9,.0f} ({gigabytes[2]:5.2f} GB)"
            )
            shutil.rmtree(out)


if __name__ == "__main__":
    main()
