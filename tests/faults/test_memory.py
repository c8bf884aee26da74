"""Fault 36: memory is planned and held to a limit, and does not grow with the data set."""

import json
import shutil
import subprocess
import sys

import pytest

from pose_data.errors import UsageError

PEAK = """
import sys
from pathlib import Path
from cli.posedata import main
try:
    main(["prepare", "coco", "--root", sys.argv[1], "--out", sys.argv[2], "--scheduler", "threads", "--quiet"])
except SystemExit as end:
    assert end.code == 0, end
# Not ru_maxrss: that begins with the size of the process that started this one.
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:")))
"""


def test_more_than_the_limit_is_refused_before_work(kit, tmp_path):
    out = tmp_path / "crops.zarr"
    with pytest.raises(UsageError) as caught:
        kit.prepare(out, memory_bytes=100_000_000)
    assert (caught.value.code, caught.value.exit_code) == ("memory-limit", 2)
    assert "2 workers would take about" in caught.value.message
    assert "the limit is 100 MB" in caught.value.message
    assert "fewer --workers" in caught.value.hint
    assert not out.exists()


def test_the_plan_grows_with_workers_and_pictures_and_not_with_the_data_set(kit, small_kit, tmp_path):
    def planned_bytes(kit, **changes):
        return kit.prepare(tmp_path / "crops.zarr", dry_run=True, **changes).planned_memory_bytes

    recipe = kit.recipe
    assert planned_bytes(small_kit, recipe=recipe) == planned_bytes(kit)
    one, two, three = (planned_bytes(kit, workers=workers) for workers in (1, 2, 3))
    assert three - two == two - one > 160 * 112 * 4
    assert planned_bytes(kit, scheduler="local") > two
    # Threads that wait for the disk hold a shard's data, too: two beside the workers, none without threads.
    assert two - planned_bytes(kit, scheduler="sync", workers=1) == 3 * (three - two)


def test_the_limit_of_the_command_line(kit, tmp_path):
    done = kit.run(tmp_path / "crops.zarr", "--memory", "100M")
    assert done.returncode == 2
    assert "memory-limit" in done.stderr


def multiplied(kit, out, times):
    """Write the data set so many times over, under other names and ids."""
    source = json.loads((kit.coco / "annotations" / "person_keypoints_val2017.json").read_text(encoding="utf-8"))
    images, annotations = [], []
    (out / "val2017").mkdir(parents=True)
    (out / "annotations").mkdir()
    for turn in range(times):
        for image in source["images"]:
            name = f"{turn}-{image['file_name']}"
            shutil.copyfile(kit.coco / "val2017" / image["file_name"], out / "val2017" / name)
            images.append({**image, "id": turn * 1000 + image["id"], "file_name": name})
        for annotation in source["annotations"]:
            number = turn * 1000 + annotation["image_id"]
            annotations.append({**annotation, "id": len(annotations) + 1, "image_id": number})
    content = {"images": images, "annotations": annotations, "categories": source["categories"]}
    text = json.dumps(content)
    (out / "annotations" / "person_keypoints_val2017.json").write_text(text, encoding="utf-8")
    return out


def peak_kib(coco, out):
    command = [sys.executable, "-c", PEAK, str(coco), str(out)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=300)
    return int(done.stdout.split()[-1])  # after the table of the command


@pytest.mark.slow
def test_ten_times_the_data_take_little_more_memory(kit, tmp_path):
    # Rows are packed while they are read and planned. What grows is the shards: 128 rows each, and 1,024.
    once = multiplied(kit, tmp_path / "once", 10)
    ten_times = multiplied(kit, tmp_path / "ten", 100)
    small, large = peak_kib(once, tmp_path / "once.zarr"), peak_kib(ten_times, tmp_path / "ten.zarr")
    more_annotations = 90 * 120
    assert large - small <= 2.5 * more_annotations
    assert large < 250 * 1024
