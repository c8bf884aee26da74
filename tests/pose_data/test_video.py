"""Videos that are whole, cut off, empty and absent, and videos that are written."""

import subprocess
import sys

import numpy as np
import pytest

from pose_data.errors import InputError
from pose_data.video import DEFAULT_FPS, VideoReader, VideoWriter


def clip(path, sizes_wh, *, fps=30.0):
    with VideoWriter(path, fps=fps) as writer:
        for number, (width, height) in enumerate(sizes_wh):
            writer.write(np.full((height, width, 3), (200, 20 * number, 40), np.uint8))
    return path


def read(path):
    with VideoReader(str(path), "video") as reader:
        return reader, list(reader)


def test_what_was_written_is_read_again(tmp_path):
    reader, frames = read(clip(tmp_path / "a.mp4", [(64, 48)] * 8))
    assert (reader.fps, reader.frame_count, reader.endless) == (30.0, 8, False)
    assert [frame.number for frame in frames] == list(range(8))
    assert np.diff([frame.time_s for frame in frames]) == pytest.approx(np.full(7, 1 / 30), abs=1e-3)
    # Red stays red, and the frames are in order.
    assert np.abs(frames[5].pixels[24, 32].astype(int) - (200, 100, 40)).max() <= 12
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]


@pytest.mark.parametrize(("size_wh", "seen_wh"), [((65, 49), (64, 48)), ((1, 1), (2, 2)), ((3, 2), (2, 2))])
def test_odd_and_tiny_frames_get_even_sides(tmp_path, size_wh, seen_wh):
    _, frames = read(clip(tmp_path / "a.mp4", [size_wh] * 3))
    assert [frame.pixels.shape[1::-1] for frame in frames] == [seen_wh] * 3


def test_frames_of_another_size_are_fitted_into_the_first(tmp_path):
    _, frames = read(clip(tmp_path / "a.mp4", [(64, 48), (128, 128), (20, 10)]))
    assert [frame.pixels.shape for frame in frames] == [(48, 64, 3)] * 3


def test_a_failure_leaves_no_file(tmp_path):
    def fail():
        with VideoWriter(tmp_path / "a.mp4", fps=5) as writer:
            writer.write(np.zeros((8, 8, 3), np.uint8))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_without_a_frame_there_is_no_file(tmp_path):
    with VideoWriter(tmp_path / "a.mp4", fps=5):
        pass
    assert list(tmp_path.iterdir()) == []


_ON_A_FULL_DISK = """
import resource, sys
import numpy as np
from pathlib import Path
from pose_data.errors import StorageError
from pose_data.video import VideoWriter
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
frames = np.random.default_rng(0).integers(0, 256, (60, 240, 320, 3), dtype=np.uint8)
try:
    with VideoWriter(Path(sys.argv[1]), fps=25) as writer:
        for frame in frames:
            writer.write(frame)
except StorageError as error:
    sys.exit(f"{error.code}: {error.message}")
"""


def test_a_video_that_the_disk_has_no_room_for_is_no_video(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _ON_A_FULL_DISK, str(tmp_path / "a.mp4")], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == "video-not-writable: not all of a video's 60 frames could be written"
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_video_is_named(tmp_path, capfd):
    whole = clip(tmp_path / "a.mp4", [(64, 48)] * 8).read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("a text", encoding="utf-8")
    for name, told in (
        ("cut.mp4", "no video that"), ("empty.mp4", "0 bytes"), ("text.mp4", "no video that"), ("none.mp4", "no such")
    ):  # fmt: skip
        with pytest.raises(InputError, match=told):
            VideoReader(str(tmp_path / name), "video")
    assert capfd.readouterr().err == ""


def test_absent_cameras_and_streams_are_named(capfd):
    with pytest.raises(InputError, match="camera 983 cannot be opened"):
        VideoReader("983", "camera")
    # Nothing listens at port 9 of this computer.
    for address in ("rtsp://127.0.0.1:9/live", "http://127.0.0.1:9/live"):
        with pytest.raises(InputError, match="stream cannot be opened"):
            VideoReader(address, "stream", open_timeout_ms=500)
    assert capfd.readouterr().err == ""


def test_a_source_without_a_rate_gets_the_default(tmp_path, monkeypatch):
    path = clip(tmp_path / "a.mp4", [(64, 48)] * 4)
    monkeypatch.setattr("pose_data.video._HIGHEST_FPS", 1.0)
    reader, frames = read(path)
    assert reader.fps == DEFAULT_FPS
    assert np.all(np.diff([frame.time_s for frame in frames]) > 0)
