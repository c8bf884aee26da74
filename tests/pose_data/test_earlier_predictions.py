"""What an earlier prediction left is taken away, and nothing else."""

import pytest

from pose_data.earlier_predictions import earlier_files, remove_all_but

HEAD = "image_id,source,frame,time_s,width_px,height_px,persons,code,detail\n"


def written(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")


def left(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def folder(tmp_path):
    """Return the folder of a prediction of two pictures and a video, with files of others in it."""
    rows = ["1,a.jpg,0,0.000,8,8,1,,", "2,sub/b.png,0,0.000,8,8,1,,", "3,'=c.mp4,0,0.000,8,8,1,,", "4,'=c.mp4,1,,,,,,"]
    written(tmp_path, "keypoints.json", "keypoints.csv", "notes.txt")
    written(tmp_path / "drawn", "a.jpg", "sub/b.jpg", "=c.mp4", "mine.jpg", "sub/notes.txt")
    (tmp_path / "frames.csv").write_text(HEAD + "\n".join(rows) + "\n")
    return tmp_path


def test_only_what_frames_csv_stands_for_is_a_predictions(folder):
    names = sorted(path.relative_to(folder).as_posix() for path in earlier_files(folder))
    assert names == ["drawn/=c.mp4", "drawn/a.jpg", "drawn/sub/b.jpg", "keypoints.csv", "keypoints.json"]
    (folder / "frames.csv").unlink()
    assert earlier_files(folder) == frozenset()


def test_what_is_written_anew_and_what_is_not_ours_stays(folder):
    remove_all_but(earlier_files(folder), [folder / "keypoints.json", folder / "drawn" / "a.jpg"])
    assert left(folder) == [
        "drawn/a.jpg", "drawn/mine.jpg", "drawn/sub/notes.txt", "frames.csv", "keypoints.json", "notes.txt"
    ]  # fmt: skip


def test_folders_of_drawings_that_are_empty_go_too(folder):
    (folder / "drawn" / "mine.jpg").unlink()
    (folder / "drawn" / "sub" / "notes.txt").unlink()
    remove_all_but(earlier_files(folder), [])
    assert not (folder / "drawn").exists()
    assert left(folder) == ["frames.csv", "notes.txt"]


@pytest.mark.parametrize("source", ["../../outside.jpg", "/outside.jpg", "", ".", "'../outside.jpg"])
def test_a_table_that_somebody_changed_leads_nowhere(tmp_path, source):
    written(tmp_path, "outside.jpg", "out/drawn/other.jpg")
    (tmp_path / "out" / "frames.csv").write_text(f"{HEAD}1,{source},0,0,8,8,1,,\n")
    assert earlier_files(tmp_path / "out") == frozenset()


def test_a_table_that_cannot_be_read_stands_for_no_drawing(folder):
    (folder / "frames.csv").write_bytes(b"\xff\xfe\x00source")
    assert {path.name for path in earlier_files(folder)} == {"keypoints.json", "keypoints.csv"}
