"""Frames and their persons: who waits for whom, what is kept, crops of each geometry."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from pose_data.media import Frame, Source
from pose_models.estimator import open_estimator
from pose_models.frame_batches import BatchOptions, people_in_frames

CLIP = Source(kind="video", place="a.mp4", name="a.mp4")


class Watched:
    """An estimator that finds everybody in the crop's middle, and notes how many crops it got at a time."""

    name = "watched"

    def __init__(self, conventions):
        self.conventions = conventions
        self.batches = []

    def keypoints(self, images):
        self.batches.append(len(images))
        recipe = self.conventions.recipe
        found = np.full((len(images), 17, 3), 0.9)
        middle = np.array([recipe.crop_width_px, recipe.crop_height_px]) / 2
        found[..., :2] = middle if recipe.geometry in ("msra", "box") else middle - 0.5
        return found


class Boxes:
    def __init__(self, *counts):
        self.counts = list(counts)

    def boxes_of(self, frame, image_id):
        count = self.counts[frame.number % len(self.counts)]
        boxes = np.array([[10.0 + 40 * number, 20.0, 30.0, 60.0] for number in range(count)]).reshape(count, 4)
        return boxes, np.full(count, 0.8)


@pytest.fixture
def watched(untrained_run):
    options = {"checkpoint": "best", "device": torch.device("cpu"), "flip_test": False}
    return Watched(open_estimator(untrained_run, **options).conventions)


def frames(count, *, live=False):
    for number in range(count):
        yield Frame(source=CLIP, number=number, pixels=np.zeros((100, 200, 3), np.uint8), live=live)


def found(watched, boxes, *, count=6, live=False, **options):
    return list(
        people_in_frames(
            frames(count, live=live), boxes, watched, lambda frame: frame.number + 1, BatchOptions(**options)
        )
    )


def test_persons_come_back_to_their_frames_and_to_their_places(watched):
    people = found(watched, Boxes(0, 3, 1), batch_size=4)
    assert [len(each) for each in people] == [0, 3, 1, 0, 3, 1]
    assert [each.image_id for each in people] == [1, 2, 3, 4, 5, 6]
    assert people[1].keypoints[:, 0, :2] == pytest.approx(np.array([[25, 50], [65, 50], [105, 50]]))
    assert people[1].score == pytest.approx(np.full(3, 0.8 * 0.9))


@pytest.mark.parametrize(
    ("options", "batches"),
    [
        ({"batch_size": 4}, [4, 4]), ({"batch_size": 100}, [8]), ({"batch_size": 2}, [2, 1, 2, 2, 1]),
        ({"batch_size": 100, "live": True}, [3, 1, 3, 1]), ({"batch_size": 100, "each_frame": True}, [3, 1, 3, 1]),
    ],
)  # fmt: skip
def test_frames_wait_for_a_full_batch_but_not_live_ones(watched, options, batches):
    found(watched, Boxes(3, 1), count=4, **options)
    assert watched.batches == batches


def test_frames_without_persons_do_not_wait_for_ever(watched):
    taken = []

    def counted():
        for frame in frames(100):
            taken.append(frame.number)
            yield frame

    people = people_in_frames(counted(), Boxes(0), watched, lambda frame: 1, BatchOptions(batch_size=2))
    next(people)
    # A batch is eight frames here; one is looked at while the next one is put together.
    assert len(taken) <= 16


def test_pixels_are_kept_only_where_they_are_drawn(watched):
    assert all(each.frame.pixels is None for each in found(watched, Boxes(1), keep_pixels=False))
    assert all(each.frame.pixels is not None for each in found(watched, Boxes(1)))
    assert {(each.width_px, each.height_px) for each in found(watched, Boxes(1), keep_pixels=False)} == {(200, 100)}


def test_a_frame_that_could_not_be_read_has_no_persons(watched):
    bad = Frame(source=CLIP, code="img-truncated", detail="short")
    (each,) = people_in_frames([bad], Boxes(2), watched, lambda frame: 7, BatchOptions())
    assert (len(each), each.frame.code, each.image_id) == (0, "img-truncated", 7)
    assert watched.batches == []


def test_the_same_person_twice_is_suppressed(watched):
    class Twice:
        def boxes_of(self, frame, image_id):
            return np.array([[10.0, 20, 30, 60], [11, 20, 30, 60], [100, 20, 30, 60]]), np.array([0.5, 0.9, 0.7])

    (each,) = found(watched, Twice(), count=1)
    assert each.bbox_xywh[:, 0].tolist() == [11.0, 100.0]
    (each,) = found(watched, Twice(), count=1, nms_threshold=1.0)
    assert len(each) == 3


@pytest.mark.parametrize("geometry", ["msra", "dark", "udp", "box", "square"])
def test_crops_of_every_geometry_lead_back(watched, geometry):
    recipe = watched.conventions.recipe
    size = {"crop_width_px": 128, "crop_height_px": 128} if geometry == "square" else {}
    watched.conventions = replace(watched.conventions, recipe=replace(recipe, geometry=geometry, **size))
    (each,) = found(watched, Boxes(1), count=1)
    # The middle of the crop is the middle of the box, to half a pixel of the picture.
    assert each.keypoints[0, 0, :2] == pytest.approx([25, 50], abs=0.6)
