import contextlib
import hashlib
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from pose_data.errors import StorageError, UsageError
from pose_data.sample import SampleSummary, generate, generate_sample, plan_pictures
from pose_data.sample.scene import Scene, draw_scene

# pycocotools' decode has not followed NumPy 2's __array__(copy=...).
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

PICTURES, SEED = 6, 3


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SampleSummary]:
    out = tmp_path_factory.mktemp("sample") / "new" / "one"
    return out, generate_sample(out, pictures=PICTURES, seed=SEED, workers=1)


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [draw_scene(plan, SEED) for plan in plan_pictures(40, SEED, 0.25)[:16]]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def loaded(out: Path, split: str) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(out / "annotations" / f"person_keypoints_{split}.json"))


def records_of(out: Path) -> list[tuple[COCO, dict]]:
    sets = [loaded(out, split) for split in ("train", "val")]
    return [(coco, record) for coco in sets for record in coco.dataset["annotations"]]


def test_two_workers_give_the_bytes_of_one(made, tmp_path):
    generate_sample(tmp_path / "two", pictures=PICTURES, seed=SEED, workers=2)
    assert digests(tmp_path / "two") == digests(made[0])


def test_another_seed_gives_other_pictures(made, tmp_path):
    generate_sample(tmp_path / "other", pictures=2, seed=SEED + 1, workers=1)
    assert not set(digests(tmp_path / "other").values()) & set(digests(made[0]).values())


def test_the_summary_counts_what_the_files_hold(made):
    out, summary = made
    records = [record for _, record in records_of(out)]
    assert summary.out == out
    assert (summary.pictures, summary.splits, summary.seed) == (PICTURES, ("train", "val"), SEED)
    assert summary.persons == len(records)
    assert summary.labelled_persons == sum(record["num_keypoints"] > 0 for record in records) > 0
    assert len({record["id"] for record in records}) == len(records)


def test_splits_share_no_picture_and_every_picture_is_there(made):
    out, _ = made
    images = {split: loaded(out, split).dataset["images"] for split in ("train", "val")}
    names = {split: {image["file_name"] for image in members} for split, members in images.items()}
    assert not names["train"] & names["val"]
    for split, expected in names.items():
        assert {path.name for path in (out / split).iterdir()} == expected
        for image in images[split]:
            pixels = cv2.imread(str(out / split / image["file_name"]))
            assert pixels.shape == (image["height"], image["width"], 3)


def test_areas_and_boxes_are_those_of_the_segmentation(made):
    for coco, record in records_of(made[0]):
        mask = coco.annToMask(record)
        assert abs(int(mask.sum()) - record["area"]) <= 0.02 * record["area"]
        rows, columns = np.nonzero(mask)
        corners = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        x, y, width, height = record["bbox"]
        assert np.abs(np.array(corners) - [x, y, x + width, y + height]).max() <= 1


def test_each_split_has_one_crowd_record_with_run_lengths(made):
    for split in ("train", "val"):
        crowds = [record for record in loaded(made[0], split).dataset["annotations"] if record["iscrowd"]]
        assert len(crowds) == 1
        (crowd,) = crowds
        image = next(image for image in loaded(made[0], split).dataset["images"] if image["id"] == crowd["image_id"])
        assert crowd["num_keypoints"] == 0
        assert crowd["keypoints"] == [0] * 51
        assert crowd["segmentation"]["size"] == [image["height"], image["width"]]
        assert sum(crowd["segmentation"]["counts"]) == image["height"] * image["width"]


def test_keypoints_keep_cocos_rules(made):
    for coco, record in records_of(made[0]):
        points = np.array(record["keypoints"]).reshape(17, 3)
        image = coco.imgs[record["image_id"]]
        assert all(isinstance(value, int) for value in record["keypoints"])
        assert set(points[:, 2]) <= {0, 1, 2}
        assert not points[points[:, 2] == 0].any()
        assert record["num_keypoints"] == (points[:, 2] > 0).sum()
        labelled = points[points[:, 2] > 0]
        assert ((labelled[:, :2] >= 0) & (labelled[:, :2] < [image["width"], image["height"]])).all()


def test_visible_keypoints_lie_on_the_person_and_hidden_ones_occur(scenes):
    on_person = [
        bool(person.mask[y, x]) for scene in scenes for person in scene.people for x, y, v in person.keypoints if v == 2
    ]
    flags = np.concatenate([person.keypoints[:, 2] for scene in scenes for person in scene.people if not person.crowd])
    assert len(on_person) > 150
    assert np.mean(on_person) >= 0.95
    assert (flags == 1).sum() > 20
    assert (flags == 0).sum() > 20


def test_the_left_side_is_at_larger_x_in_front_views(scenes):
    people = [person for scene in scenes for person in scene.people if person.facing_front]
    spans = [
        person.keypoints[left, 0] - person.keypoints[right, 0]
        for person in people
        for left, right in ((5, 6), (11, 12))
        if person.keypoints[left, 2] and person.keypoints[right, 2]
    ]
    assert len(spans) >= 8
    assert min(spans) > 0


def test_pictures_look_like_pictures(scenes):
    for scene in scenes:
        assert 30 < scene.pixels.mean() < 225
        assert scene.pixels.std() > 12


def test_a_folder_with_something_in_it_is_refused_and_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError) as caught:
        generate_sample(tmp_path, pictures=2, workers=1)
    assert caught.value.code == "output-exists"
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_an_empty_folder_is_used(tmp_path):
    out = tmp_path / "empty"
    out.mkdir()
    generate_sample(out, pictures=2, workers=1)
    assert len(list(out.rglob("*.jpg"))) == 2


def test_no_workers_are_refused(tmp_path):
    with pytest.raises(UsageError) as caught:
        generate_sample(tmp_path / "out", pictures=2, workers=0)
    assert caught.value.code == "sample-workers"


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def failing(pixels: np.ndarray, quality: int) -> bytes:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(generate, "encode_jpeg", failing)
    with pytest.raises(StorageError) as caught:
        generate_sample(tmp_path / "out", pictures=2, workers=1)
    assert caught.value.code == "sample-write"
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_to_the_end(tmp_path):
    calls: list[tuple[int, int]] = []
    generate_sample(tmp_path / "out", pictures=2, workers=1, progress=lambda done, of: calls.append((done, of)))
    assert calls == [(1, 2), (2, 2)]
    document = json.loads((tmp_path / "out" / "annotations" / "person_keypoints_val.json").read_text())
    assert set(document) == {"info", "licenses", "images", "annotations", "categories"}
