"""Drawn persons: the frame is left alone, colours stand where they should, and files have the sources' names."""

import numpy as np
import pytest

from pose_data.drawing import LEFT, RIGHT
from pose_data.imaging import decode_picture
from pose_data.media import Frame, Source
from pose_data.people_drawing import DrawnFiles, draw_people
from pose_data.people_found import PeopleFound
from pose_data.skeleton import COCO_PERSON
from pose_data.video import VideoReader


def found(pixels, xy, *, score=0.9, box=(20.0, 20.0, 60.0, 80.0), track_id=None, source=None, number=0):
    keypoints = np.concatenate([xy, np.full((17, 1), score)], axis=1)[None]
    source = source or Source(kind="picture", place="a.jpg", name="a.jpg")
    return PeopleFound(
        frame=Frame(source=source, pixels=pixels, fps=10.0, number=number), image_id=1, width_px=pixels.shape[1],
        height_px=pixels.shape[0], keypoints=keypoints, score=np.array([score]), bbox_xywh=np.array([box]),
        track_id=None if track_id is None else np.array([track_id]),
    )  # fmt: skip


def spread():
    return np.stack([30 + 10.0 * (np.arange(17) % 5), 40 + 12.0 * (np.arange(17) // 5)], axis=1)


def test_sides_have_their_colours_and_the_frame_is_not_drawn_on():
    pixels = np.zeros((128, 128, 3), np.uint8)
    drawn = draw_people(pixels, found(pixels, spread()), COCO_PERSON, least_score=0.2)
    assert not pixels.any()
    for joint, colour in ((15, LEFT), (16, RIGHT)):
        x, y = spread()[joint].astype(int)
        assert drawn[y, x].tolist() == list(colour)


@pytest.mark.parametrize(("score", "filled"), [(0.5, True), (0.15, False), (0.05, None)])
def test_unsure_keypoints_are_rings_or_not_drawn(score, filled):
    pixels = np.full((128, 128, 3), 77, np.uint8)
    lone = np.full((17, 2), 1000.0)
    lone[15] = (64, 64)
    drawn = draw_people(pixels, found(pixels, lone, score=score), COCO_PERSON, least_score=0.2)
    centre = drawn[64, 64].tolist()
    if filled is None:
        assert centre == [77, 77, 77]
    else:
        assert (centre == list(LEFT)) == filled
        assert centre != [77, 77, 77]


def test_ids_decide_a_boxs_colour_and_the_whole_picture_has_no_box():
    pixels = np.zeros((128, 128, 3), np.uint8)
    nowhere = np.full((17, 2), -500.0)

    def drawn(**changes):
        return draw_people(pixels, found(pixels, nowhere, **changes), COCO_PERSON, least_score=0.2)

    first, second = drawn(track_id=1), drawn(track_id=2)
    assert first[100, 24].any()  # the box's lower left corner
    assert first[100, 24].tolist() != second[100, 24].tolist()
    whole = drawn(box=(0.0, 0.0, 128.0, 128.0))
    assert not whole[60:].any()
    assert whole[:20].any()  # the score


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (5000, 40)])
def test_any_size_can_be_drawn_on(size):
    pixels = np.zeros((*size, 3), np.uint8)
    xy = spread() % 3
    assert draw_people(pixels, found(pixels, xy, box=(0, 0, 1, 1)), COCO_PERSON, least_score=0.2).shape == (*size, 3)


def test_drawn_pictures_and_videos_are_named_after_their_sources(tmp_path):
    pixels = np.full((48, 64, 3), 90, np.uint8)
    picture = Source(kind="picture", place="/x/in/a/b.png", name="a/b.png")
    clips = [Source(kind="video", place=f"/x/{name}.avi", name=f"{name}.avi") for name in ("one", "two")]
    with DrawnFiles(tmp_path / "drawn", COCO_PERSON, least_score=0.2) as files:
        files.add(found(pixels, spread(), source=picture))
        for clip in clips:
            for number in range(3):
                files.add(found(pixels, spread(), source=clip, number=number, track_id=1))
        unread = PeopleFound(
            frame=Frame(source=picture, code="img-truncated"), image_id=2, width_px=0, height_px=0,
            keypoints=np.zeros((0, 17, 3)), score=np.zeros(0), bbox_xywh=np.zeros((0, 4)),
        )  # fmt: skip
        assert files.add(unread) is None
    assert len(files.paths) == 3
    names = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file())
    assert names == ["drawn/a/b.jpg", "drawn/one.mp4", "drawn/two.mp4"]
    data = (tmp_path / "drawn/a/b.jpg").read_bytes()
    assert decode_picture(data, file_name="b.jpg", expected_wh=(64, 48), exif="ignore").pixels.std() > 10
    with VideoReader(str(tmp_path / "drawn/two.mp4"), "video") as reader:
        assert (len(list(reader)), reader.fps) == (3, 10.0)
