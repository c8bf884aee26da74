"""The files of keypoints: the same numbers in each, empty but valid without persons, whole or not there."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

from pose_data.media import Frame, Source
from pose_data.people_found import PeopleFiles, PeopleFound
from pose_data.skeleton import COCO_PERSON

VIDEO = Source(kind="video", place="x/walk.mp4", name="walk.mp4")
ALL = ("json", "csv", "parquet")


def csv_rows(path):
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def found(persons=2, *, image_id=7, number=3, tracked=True, name="walk.mp4", code=""):
    random = np.random.default_rng(image_id)
    source = Source(kind="video", place=name, name=name)
    return PeopleFound(
        frame=Frame(source=source, number=number, time_s=number / 25, code=code), image_id=image_id, width_px=640,
        height_px=480, keypoints=random.uniform(0, 100, (persons, 17, 3)), score=random.uniform(0, 1, persons),
        bbox_xywh=random.uniform(1, 50, (persons, 4)),
        track_id=np.arange(1, persons + 1) if tracked else None,
    )  # fmt: skip


def written(folder, *frames, kinds=ALL):
    with PeopleFiles(folder, COCO_PERSON, kinds) as files:
        for frame in frames:
            files.add(frame)
    return files.paths


def test_every_file_has_the_same_persons(tmp_path):
    frames = [found(2), found(0, image_id=8, number=4), found(1, image_id=9, number=5)]
    written(tmp_path, *frames)
    records = json.loads((tmp_path / "keypoints.json").read_bytes())
    rows = csv_rows(tmp_path / "keypoints.csv")
    table = pq.read_table(tmp_path / "keypoints.parquet").to_pylist()
    assert [len(each) for each in (records, rows, table)] == [3, 3, 3]
    keypoints = np.concatenate([frame.keypoints for frame in frames]).reshape(3, 51)
    assert np.array([record["keypoints"] for record in records]) == pytest.approx(keypoints, abs=6e-4)
    assert np.array([row["keypoints"] for row in table]).tolist() == keypoints.tolist()
    columns = [f"{name}_{part}" for name in COCO_PERSON.names for part in ("x", "y", "score")]
    assert np.array([[float(row[column]) for column in columns] for row in rows]) == pytest.approx(keypoints, abs=6e-4)
    for each in (records, rows, table):
        assert [int(one["image_id"]) for one in each] == [7, 7, 9]
        assert [int(one["track_id"]) for one in each] == [1, 2, 1]
    assert [(row["source"], row["frame"], row["time_s"]) for row in rows][2] == ("walk.mp4", "5", "0.200")
    frame_rows = csv_rows(tmp_path / "frames.csv")
    assert [(row["image_id"], row["persons"]) for row in frame_rows] == [("7", "2"), ("8", "0"), ("9", "1")]


def test_without_persons_files_are_empty_and_valid(tmp_path):
    written(tmp_path, found(0, code="img-truncated"))
    assert json.loads((tmp_path / "keypoints.json").read_bytes()) == []
    assert len((tmp_path / "keypoints.csv").read_text(encoding="utf-8").splitlines()) == 1
    table = pq.read_table(tmp_path / "keypoints.parquet")
    assert table.num_rows == 0
    assert json.loads(table.schema.metadata[b"keypoint_names"]) == list(COCO_PERSON.names)
    assert "img-truncated" in (tmp_path / "frames.csv").read_text(encoding="utf-8")


def test_persons_that_are_not_followed_have_no_id(tmp_path):
    written(tmp_path, found(tracked=False))
    assert "track_id" not in json.loads((tmp_path / "keypoints.json").read_bytes())[0]
    assert pq.read_table(tmp_path / "keypoints.parquet")["track_id"].to_pylist() == [None, None]
    rows = csv_rows(tmp_path / "keypoints.csv")
    assert rows[0]["track_id"] == ""


def test_only_what_was_asked_for_is_written(tmp_path):
    paths = written(tmp_path, found(), kinds=("csv",))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames.csv", "keypoints.csv"]
    assert {path.name for path in paths} == {"frames.csv", "keypoints.csv"}


def test_a_failure_leaves_nothing(tmp_path):
    def fail():
        with PeopleFiles(tmp_path, COCO_PERSON, ALL) as files:
            files.add(found())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_many_rows_go_to_the_disk_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("pose_data.people_found._ROWS_AT_ONCE", 4)
    written(tmp_path, *(found(3, image_id=number) for number in range(1, 8)))
    assert pq.ParquetFile(tmp_path / "keypoints.parquet").num_row_groups == 4
    assert pq.read_table(tmp_path / "keypoints.parquet").num_rows == 21


def test_names_are_no_formulas_for_a_spreadsheet(tmp_path):
    written(tmp_path, found(1, name='=HYPERLINK("x")'))
    rows = csv_rows(tmp_path / "keypoints.csv")
    assert rows[0]["source"] == '\'=HYPERLINK("x")'
