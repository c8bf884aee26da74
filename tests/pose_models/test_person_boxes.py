"""Where persons are looked for, and which number a picture has."""

import json

import numpy as np
import pytest

from pose_data.errors import InputError, UsageError
from pose_data.media import Frame, Source
from pose_models.person_boxes import FileBoxes, ImageNumbers, WholePicture

PICTURES = [Source(kind="picture", place=f"in/{name}", name=name) for name in ("b.jpg", "a.jpg")]
CLIP = Source(kind="video", place="in/c.mp4", name="c.mp4")


def coco(tmp_path, **images):
    path = tmp_path / "annotations.json"
    path.write_text(json.dumps({"images": [{"id": n, "file_name": name} for name, n in images.items()]}))
    return path


def test_the_whole_picture_is_one_box():
    boxes, score = WholePicture().boxes_of(Frame(source=CLIP, pixels=np.zeros((30, 50, 3), np.uint8)), 1)
    assert (boxes.tolist(), score.tolist()) == ([[0, 0, 50, 30]], [1])


def test_a_files_boxes_are_found_by_the_pictures_number(tmp_path):
    records = [
        {"image_id": number, "category_id": 1, "bbox": [x, 1, 2, 3], "score": score}
        for number, x, score in ((9, 1, 0.9), (4, 2, 0.8), (9, 3, 0.1), (9, 4, 0.3))
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(records), encoding="utf-8")
    finder = FileBoxes(tmp_path / "boxes.json", least_score=0.2)
    boxes, score = finder.boxes_of(Frame(source=CLIP), 9)
    assert (boxes[:, 0].tolist(), score.tolist()) == ([1, 4], [0.9, 0.3])
    assert finder.boxes_of(Frame(source=CLIP), 5)[0].shape == (0, 4)


def test_pictures_are_counted_or_numbered_by_name_or_by_the_annotation_file(tmp_path):
    counted = ImageNumbers(PICTURES, None, must_be_known=False)
    assert [counted.of(Frame(source=source)) for source in PICTURES] == [1, 2]
    named = [Source(kind="picture", place=f"in/{name}", name=name) for name in ("007.jpg", "3.jpg")]
    assert [ImageNumbers(named, None, must_be_known=True).of(Frame(source=source)) for source in named] == [7, 3]
    listed = ImageNumbers(PICTURES, coco(tmp_path, **{"a.jpg": 50, "b.jpg": 40}), must_be_known=True)
    assert [listed.of(Frame(source=source)) for source in PICTURES] == [40, 50]


def test_two_pictures_are_not_one_of_the_annotation_file(tmp_path):
    twins = [Source(kind="picture", place=f"{folder}/a.jpg", name=f"{folder}.jpg") for folder in ("one", "two")]
    with pytest.raises(InputError, match="picture 50 has the name of this input") as caught:
        ImageNumbers(twins, coco(tmp_path, **{"a.jpg": 50}), must_be_known=True)
    assert caught.value.where == "one/a.jpg, two/a.jpg"
    apart = coco(tmp_path, **{"one/a.jpg": 50, "two/a.jpg": 60})
    numbers = ImageNumbers(twins, apart, must_be_known=True)
    assert [numbers.of(Frame(source=source)) for source in twins] == [50, 60]


def test_all_pictures_that_the_annotation_file_lacks_are_told_before_anything_is_read(tmp_path):
    with pytest.raises(InputError, match="no picture of this name, and 1 others") as caught:
        ImageNumbers(PICTURES, coco(tmp_path, **{"c.jpg": 50}), must_be_known=False)
    assert caught.value.where == PICTURES[0].place


def test_boxes_of_other_pictures_are_refused(tmp_path):
    record = {"image_id": 9, "category_id": 1, "bbox": [1, 1, 2, 3], "score": 0.5}
    (tmp_path / "boxes.json").write_text(json.dumps([record]), encoding="utf-8")
    finder = FileBoxes(tmp_path / "boxes.json")
    finder.require_any([8, 9])
    finder.require_any([])  # pictures that are only counted
    with pytest.raises(InputError, match="none of the 1 boxes is of a picture"):
        finder.require_any([7, 8])
    (tmp_path / "boxes.json").write_text("[]", encoding="utf-8")
    FileBoxes(tmp_path / "boxes.json").require_any([7])  # nobody was found: that is no mistake


def test_boxes_of_no_person_are_refused_with_the_categories_that_are_there(tmp_path):
    record = {"image_id": 9, "bbox": [1, 1, 2, 3], "score": 0.5}
    (tmp_path / "boxes.json").write_text(json.dumps([{**record, "category_id": 0}, {**record, "category_id": 17}]))
    with pytest.raises(InputError, match="no box is of category 1, a person; the file has 0, 17"):
        FileBoxes(tmp_path / "boxes.json")
    (tmp_path / "boxes.json").write_text(json.dumps([{**record, "category_id": [1]}]))
    with pytest.raises(InputError, match=r"no box is of category 1, a person; the file has \[1\]"):
        FileBoxes(tmp_path / "boxes.json")
    (tmp_path / "boxes.json").write_text(json.dumps([1]))
    with pytest.raises(InputError, match="a box is not image_id"):
        FileBoxes(tmp_path / "boxes.json")


def test_the_frames_of_a_video_are_counted_from_1():
    numbers = ImageNumbers([CLIP], None, must_be_known=True)
    assert [numbers.of(Frame(source=CLIP, number=number)) for number in range(3)] == [1, 2, 3]


def test_boxes_want_pictures_with_numbers(tmp_path):
    with pytest.raises(UsageError, match="name their pictures by number"):
        ImageNumbers(PICTURES, None, must_be_known=True)
    with pytest.raises(InputError, match="no picture of this name"):
        ImageNumbers(PICTURES, coco(tmp_path, other=1), must_be_known=True)
    (tmp_path / "list.json").write_text("[]", encoding="utf-8")
    with pytest.raises(InputError, match="no list of images"):
        ImageNumbers(PICTURES, tmp_path / "list.json", must_be_known=True)
