"""A file of the size of COCO train2017 is read in bounded memory and time; a larger one is refused."""

import json
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from pose_data.formats import read_coco
from pose_data.skeleton import COCO_PERSON

REPOSITORY = Path(__file__).resolve().parents[3]
MIB = 1 << 20
# person_keypoints_train2017.json: 118,287 pictures, 262,465 annotations, 0.24 GB, mostly polygons.
PICTURES = 118_000
ANNOTATIONS = 262_000

READ = """
import json, resource, sys, time
from pathlib import Path
from pose_data.formats import read_coco
start_s = time.perf_counter()
read = read_coco(Path(sys.argv[1]), keep_segmentation=False)
seconds = time.perf_counter() - start_s
# Not ru_maxrss: that begins with the size of the process that started this one.
status = Path("/proc/self/status").read_text()
peak_bytes = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
kept = sum(read.table["kept"].to_pylist())
print(json.dumps({"rows": read.table.num_rows, "kept": kept, "peak": peak_bytes, "seconds": seconds,
                  "pictures": read.image_count, "size": read.size_bytes}))
"""

FLOODED = """
import json, resource, sys
from pathlib import Path
from pose_data.errors import InputError
from pose_data.formats import read_coco
before = resource.getrlimit(resource.RLIMIT_AS)
try:
    read_coco(Path(sys.argv[1]))
except InputError as error:
    code = error.code
# Not ru_maxrss: that begins with the size of the process that started this one.
status = Path("/proc/self/status").read_text()
peak_bytes = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
print(json.dumps({"code": code, "peak": peak_bytes, "restored": resource.getrlimit(resource.RLIMIT_AS) == before}))
"""

REFUSED = """
import resource, sys
from pathlib import Path
from pose_data.errors import InputError
from pose_data.formats import read_coco
limit = 3 << 29
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    read_coco(Path(sys.argv[1]), max_file_bytes=int(sys.argv[2]))
except InputError as error:
    print(error.code, error)
"""


def run(script: str, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_large(path: Path) -> None:
    """Write a file like train2017's: long polygons, 17 keypoints, several persons a picture."""
    polygon = [[round(100 + 0.37 * index % 300, 2) for index in range(54)]]
    keypoints = [number for index in range(17) for number in (100 + index, 120 + index, 2)]
    category = {"id": 1, "name": "person", "supercategory": "person", "keypoints": list(COCO_PERSON.names)}
    with path.open("w", encoding="utf-8") as file:
        file.write('{"info": {}, "licenses": [], "images": [')
        for index in range(PICTURES):
            file.write(", " if index else "")
            file.write(
                f'{{"license": 3, "file_name": "{index:012d}.jpg", "coco_url": '
                f'"http://images.cocodataset.org/train2017/{index:012d}.jpg", "height": 480, "width": 640, '
                f'"date_captured": "2013-11-14 11:18:45", "flickr_url": '
                f'"http://farm9.staticflickr.com/8186/{index:010d}_e1c8a1b1b1_z.jpg", "id": {index}}}'
            )
        file.write('], "annotations": [')
        segmentation, points = json.dumps(polygon), json.dumps(keypoints)
        for index in range(ANNOTATIONS):
            file.write(", " if index else "")
            file.write(
                f'{{"segmentation": {segmentation}, "num_keypoints": 17, "area": 6142.5, "iscrowd": 0, '
                f'"keypoints": {points}, "image_id": {index % PICTURES}, "bbox": [95.5, 110.25, 60.0, 90.5], '
                f'"category_id": 1, "id": {index + 1}}}'
            )
        file.write(f'], "categories": [{json.dumps(category)}]}}')


@pytest.mark.slow
def test_a_file_like_train2017_is_read_below_800_mb_and_15_s(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    write_large(path)
    assert path.stat().st_size > 230_000_000
    result = json.loads(run(READ, str(path)))
    path.unlink()
    assert (result["rows"], result["kept"], result["pictures"]) == (ANNOTATIONS, ANNOTATIONS, PICTURES)
    assert result["peak"] < 800_000_000, result
    assert result["seconds"] < 15, result


def test_a_file_beyond_the_limit_is_refused_before_it_is_mapped(tmp_path: Path) -> None:
    path = tmp_path / "sparse.json"
    with path.open("wb") as file:
        file.truncate(2048 * MIB)
    refusal = run(REFUSED, str(path), str(1024 * MIB))
    assert refusal.startswith("json-too-large")
    for named in ("2,147,483,648", "1,073,741,824", "--max-annotation-bytes"):
        assert named in refusal


def test_a_file_that_does_not_fit_is_refused_even_when_the_limit_allows_it(tmp_path: Path) -> None:
    path = tmp_path / "sparse.json"
    with path.open("wb") as file:
        file.truncate(2048 * MIB)
    assert run(REFUSED, str(path), str(4096 * MIB)).startswith("json-too-large")


@pytest.mark.parametrize("top", ['{"images": [], "categories": [], "annotations": [$]}', "[$]"])
def test_records_that_do_not_fit_into_memory_are_a_refusal(tmp_path: Path, top: str) -> None:
    path = tmp_path / "many.json"
    path.write_bytes(top.encode().replace(b"$", b"0," * (30 * MIB) + b"0"))
    assert run(REFUSED, str(path), str(1024 * MIB)).startswith("json-too-large")


@pytest.mark.parametrize("record", ["0", "{}", '""', "[]"])
def test_a_flood_of_tiny_records_is_refused_in_bounded_memory(tmp_path: Path, record: str) -> None:
    path = tmp_path / "flood.json"
    size = 60_000_000
    flood = f"{record},".encode() * (size // (len(record) + 1))
    path.write_bytes(b'{"images": [], "categories": [], "annotations": [' + flood + record.encode() + b"]}")
    # Without a limit of its own the decoder would hold 64 bytes for each: 1.9 GB for the zeros.
    result = json.loads(run(FLOODED, str(path)))
    assert result["code"] == "json-too-large"
    assert result["peak"] < 1_000_000_000, result
    assert result["restored"]


def test_many_threads_reading_leave_the_processs_limit_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "good.json"
    category = json.dumps({"id": 1, "name": "person", "keypoints": list(COCO_PERSON.names)})
    path.write_text(f'{{"images": [], "annotations": [], "categories": [{category}]}}', encoding="utf-8")
    before = resource.getrlimit(resource.RLIMIT_AS)
    with ThreadPoolExecutor(8) as threads:
        assert {read.annotation_count for read in threads.map(read_coco, [path] * 50)} == {0}
    assert resource.getrlimit(resource.RLIMIT_AS) == before


def test_long_lists_in_many_records_do_not_pile_up(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    category = json.dumps({"id": 1, "name": "person", "keypoints": list(COCO_PERSON.names)})
    good = json.dumps({"id": 1, "image_id": 1, "category_id": 1, "keypoints": [5, 5, 2] * 17, "bbox": [1, 1, 9, 9]})
    image = '{"id": 1, "file_name": "a.jpg", "width": 9, "height": 9}'
    zeros = "0," * (3 * MIB) + "0"
    long = f'{{"id": 2, "image_id": 1, "category_id": 1, "keypoints": [{zeros}], "bbox": [{"0," * 1000}0]}}'
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"images": [{image}], "categories": [{category}], "annotations": [')
        # The good ones are the majority of what has keypoints, the long ones nearly all of the file.
        file.write(", ".join([*[good] * 20, *[long] * 16]))
        file.write("]}")
    result = json.loads(run(READ, str(path)))
    assert (result["rows"], result["kept"]) == (36, 20)
    assert result["peak"] < 800_000_000, result
