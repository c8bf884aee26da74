"""How long do a scene's targets and its grouping take, and how do they grow with the number of persons?

    OMP_NUM_THREADS=1 python benchmarks/grouping.py

Draws maps and fields of 5 to 100 figures of 60 to 140 pixels at random places of a 368 x 368 input (46 x 46
cells), adds noise, and groups them on one core with every named grouping. Times are medians of one
picture, enlarging of maps and fields included. The bar: 5 ms for 20 persons with maps and fields enlarged
four times ("published"), and no more than five times that time for 100.
"""

import argparse
import os
import statistics
import time
from dataclasses import replace

import numpy as np
from machine import describe_machine

from pose_data.grouping import GROUPINGS, GroupingOptions, group_persons
from pose_data.limbs import find_limb_table
from pose_data.targets.paf import SCENE_RULES, encode_fields, encode_scene_maps

_FIGURE = np.array(
    [(50, 10), (50, 25), (38, 26), (33, 42), (30, 57), (62, 26), (67, 42), (70, 57), (43, 56), (42, 77), (41, 97),
     (57, 56), (58, 77), (59, 97), (47, 7), (53, 7), (43, 9), (57, 9)], dtype=np.float64
) / 100.0  # fmt: skip
"""A standing figure in the order of OpenPose's skeleton, 1 high."""
_INPUT_PX, _MAP_CELLS = 368, 46


def place_figures(persons: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return points (persons, 18, 2) in input pixels and which are labelled (persons, 18)."""
    height = generator.uniform(60.0, 140.0, (persons, 1, 1))
    place = generator.uniform(0.0, 1.0, (persons, 1, 2)) * (_INPUT_PX - height)
    xy = place + height * (_FIGURE + generator.normal(0.0, 0.02, (persons, *_FIGURE.shape)))
    return xy, generator.random(xy.shape[:2]) < 0.9


def draw_scene(xy: np.ndarray, labelled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return maps (19, 46, 46) and fields (38, 46, 46)."""
    options = {"rules": SCENE_RULES["lightweight"], "map_width": _MAP_CELLS, "map_height": _MAP_CELLS}
    limbs = find_limb_table("openpose").limbs
    return encode_scene_maps(xy, labelled, **options), encode_fields(xy, labelled, limbs, **options)


def measure_drawing(persons: int, repeats: int) -> float:
    """Return the median milliseconds that drawing one picture's targets takes."""
    times = []
    for seed in range(repeats):
        figures = place_figures(persons, np.random.default_rng(seed))
        begun = time.perf_counter()
        draw_scene(*figures)
        times.append(1e3 * (time.perf_counter() - begun))
    return statistics.median(times)


def noisy_scene(persons: int, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return maps and fields of a batch of one picture, with noise of that deviation."""
    generator = np.random.default_rng(seed)
    scene = draw_scene(*place_figures(persons, generator))
    maps, fields = (part + generator.normal(0.0, noise, part.shape).astype(np.float32) for part in scene)
    return maps[None], fields[None]


def measure(options: GroupingOptions, persons: int, noise: float, repeats: int) -> tuple[float, float]:
    """Return the median milliseconds and the mean number of persons found, over as many scenes."""
    scenes = [noisy_scene(persons, noise, seed) for seed in range(repeats)]
    table = find_limb_table("openpose")
    group_persons(*scenes[0], table, options)
    times, found = [], []
    for maps, fields in scenes:
        begun = time.perf_counter()
        grouped = group_persons(maps, fields, table, options)
        times.append(1e3 * (time.perf_counter() - begun))
        found.append(len(grouped[0].score))
    return statistics.median(times), statistics.mean(found)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--noise", type=float, default=0.02)
    parser.add_argument("--repeats", type=int, default=20)
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print(describe_machine())
    counts = (5, 10, 20, 40, 60, 80, 100)
    drawing = "  ".join(f"{measure_drawing(persons, options.repeats):6.2f}        " for persons in counts)
    print(f"persons in the picture: {', '.join(map(str, counts))}; ms a picture")
    print(f"  {'drawing the targets':<20} {drawing}")
    print("grouping, persons found in brackets")
    chosen = [*GROUPINGS.values(), replace(GROUPINGS["published"], name="published, optimal", assignment="optimal")]
    for grouping in chosen:
        results = [measure(grouping, persons, options.noise, options.repeats) for persons in counts]
        cells = "  ".join(f"{ms:6.2f} ({found:5.1f})" for ms, found in results)
        growth = (results[-1][0] / results[2][0]) / (counts[-1] / counts[2])
        print(f"  {grouping.name:<20} {cells}   growth from 20 to 100, where linear is 1: {growth:.2f}")


if __name__ == "__main__":
    main()
