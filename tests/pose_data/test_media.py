"""What is found under the names that a person gives, and what becomes of inputs that cannot be read."""

import http.server
import struct
import threading
import zlib

import cv2
import numpy as np
import pytest

from pose_data.errors import InputError, UsageError
from pose_data.imaging import encode_jpeg, encode_png
from pose_data.media import Source, find_sources, frames_of_sources, numbered_pictures
from pose_data.video import VideoWriter


def picture(path, width=12, height=8, value=90):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_jpeg(np.full((height, width, 3), value, np.uint8), 95))
    return path


def video(path, frames=4):
    with VideoWriter(path, fps=10) as writer:
        for number in range(frames):
            writer.write(np.full((16, 32, 3), 40 * number, np.uint8))
    return path


def named(sources):
    return [(source.kind, source.name) for source in sources]


def test_a_folder_is_searched_to_the_bottom_and_sorted(tmp_path):
    picture(tmp_path / "in/b.jpg")
    picture(tmp_path / "in/a/c.JPEG")
    video(tmp_path / "in/z.mp4")
    (tmp_path / "in/notes.txt").write_text("no picture", encoding="utf-8")
    assert named(find_sources([tmp_path / "in"])) == [("picture", "a/c.JPEG"), ("picture", "b.jpg"), ("video", "z.mp4")]


def test_earlier_results_inside_a_folder_are_left_out(tmp_path):
    picture(tmp_path / "in/b.jpg")
    picture(tmp_path / "in/found/drawn/b.jpg")
    assert named(find_sources([tmp_path / "in"], leave_out=tmp_path / "in/found")) == [("picture", "b.jpg")]


def test_patterns_cameras_and_streams(tmp_path, monkeypatch):
    picture(tmp_path / "a1.jpg")
    picture(tmp_path / "a2.jpg")
    picture(tmp_path / "7")
    monkeypatch.chdir(tmp_path)
    assert named(find_sources(["a*.jpg"])) == [("picture", "a1.jpg"), ("picture", "a2.jpg")]
    assert named(find_sources(["0"])) == [("camera", "camera-0")]
    assert named(find_sources(["camera:12"])) == [("camera", "camera-12")]
    assert named(find_sources(["7"])) == [("picture", "7")]  # a file of that name is there
    assert named(find_sources(["rtsp://host/live"])) == [("stream", "stream")]


def test_sources_of_one_name_are_told_apart(tmp_path):
    paths = [picture(tmp_path / folder / name) for folder, name in (("x", "a.jpg"), ("y", "a.jpg"), ("y", "A.png"))]
    assert [source.name for source in find_sources(paths)] == ["a.jpg", "a-2.jpg", "A-3.png"]


def test_what_is_not_there_is_said(tmp_path):
    (tmp_path / "empty").mkdir()
    for given, told in (
        (tmp_path / "none.jpg", "no such file"), (tmp_path / "*.jpg", "no such file"),
        (tmp_path / "empty", "no picture or video"), ("a\0b", "cannot be looked at|no such file"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=told):
            find_sources([given])
    with pytest.raises(UsageError, match="must be the only input"):
        find_sources(["0", "1"])
    with pytest.raises(UsageError, match="no input"):
        find_sources([])


def test_pictures_named_by_different_whole_numbers_have_these_numbers(tmp_path):
    paths = [picture(tmp_path / name) for name in ("000000000139.jpg", "7.jpg")]
    assert numbered_pictures(find_sources(paths)) == {str(paths[0]): 139, str(paths[1]): 7}
    assert numbered_pictures(find_sources([*paths, picture(tmp_path / "b.jpg")])) is None
    assert numbered_pictures(find_sources([*paths, picture(tmp_path / "x/007.jpg")])) is None


def exif_jpeg(orientation):
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[:, 8:] = 255
    data = encode_jpeg(pixels, 95)
    tiff = b"II*\0" + struct.pack("<IHHHIHHI", 8, 1, 274, 3, 1, orientation, 0, 0)
    segment = b"Exif\0\0" + tiff
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]


@pytest.mark.parametrize(("exif", "shape"), [("apply", (16, 8, 3)), ("ignore", (8, 16, 3))])
def test_pictures_are_turned_by_their_exif_orientation_when_asked(tmp_path, exif, shape):
    (tmp_path / "a.jpg").write_bytes(exif_jpeg(6))
    (frame,) = frames_of_sources(find_sources([tmp_path / "a.jpg"]), exif=exif)
    assert frame.pixels.shape == shape


def huge_png(side):
    """Return a black PNG of one bit a pixel."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    rows = zlib.compressobj()
    row = b"\0" * (1 + (side + 7) // 8)
    data = b"".join(rows.compress(row) for _ in range(side)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_jpegs_keep_their_unused_channel_for_warping_and_facts_alone_hold_no_pixels(tmp_path):
    (tmp_path / "b.png").write_bytes(encode_png(np.zeros((8, 12, 3), np.uint8)))
    jpeg, png = frames_of_sources(find_sources([picture(tmp_path / "a.jpg"), tmp_path / "b.png"]))
    assert jpeg.to_warp.shape == (8, 12, 4)
    assert np.array_equal(jpeg.to_warp[:, :, :3], jpeg.pixels)
    assert np.shares_memory(jpeg.to_warp, jpeg.pixels)
    assert png.to_warp is png.pixels
    for frame in (jpeg, png):
        alone = frame.without_pixels()
        assert (alone.pixels, alone.padded, alone.to_warp) == (None, None, None)
        assert (alone.source, alone.read_at_s) == (frame.source, frame.read_at_s)


def test_the_smallest_and_the_largest_pictures(tmp_path):
    (tmp_path / "1.png").write_bytes(encode_png(np.full((1, 1, 3), 9, np.uint8)))
    (tmp_path / "2.png").write_bytes(huge_png(20_000))
    (tmp_path / "3.jpg").write_bytes(b"not a picture")
    small, huge, text = frames_of_sources(find_sources([tmp_path]))
    assert small.pixels.tolist() == [[[9, 9, 9]]]
    assert (huge.pixels, huge.code) == (None, "img-too-large")
    assert "20000 x 20000" in huge.detail
    assert text.code == "img-not-an-image"


def test_a_side_that_the_warp_cannot_take_is_refused(tmp_path):
    (tmp_path / "1.png").write_bytes(encode_png(np.zeros((2, 33_000, 3), np.uint8)))
    (frame,) = frames_of_sources(find_sources([tmp_path]))
    assert (frame.pixels, frame.code) == (None, "img-too-large")


def test_frames_of_a_video_have_numbers_and_times(tmp_path):
    frames = list(frames_of_sources(find_sources([video(tmp_path / "a.mp4")])))
    assert [frame.number for frame in frames] == [0, 1, 2, 3]
    assert [frame.time_s for frame in frames] == pytest.approx([0, 0.1, 0.2, 0.3], abs=1e-6)
    assert {(frame.fps, frame.expected, frame.live) for frame in frames} == {(10.0, 4, False)}


def test_unreadable_videos_are_frames_with_a_code(tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"\0" * 100)
    video(tmp_path / "good.mp4")
    frames = list(frames_of_sources(find_sources([tmp_path])))
    assert [frame.code for frame in frames] == ["video-unreadable", "", "", "", ""]


def jpeg_clip(path, frames):
    """Write an AVI of JPEGs, whose head says how many frames there are and whose index may be missing."""
    writer = cv2.VideoWriter(str(path), cv2.CAP_OPENCV_MJPEG, cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    for number in range(frames):
        writer.write(np.random.default_rng(number).integers(0, 256, (48, 64, 3), np.uint8))
    writer.release()
    return path.read_bytes()


@pytest.mark.parametrize(("share", "told"), [(1.0, False), (0.98, False), (0.5, True)])
def test_a_video_that_ends_early_is_told_and_its_frames_are_there(tmp_path, share, told):
    whole = jpeg_clip(tmp_path / "a.avi", 60)
    (tmp_path / "a.avi").write_bytes(whole[: round(share * len(whole))])
    frames = list(frames_of_sources(find_sources([tmp_path / "a.avi"])))
    read = [frame for frame in frames if not frame.code]
    assert [frame.number for frame in read] == list(range(len(read)))
    assert len(read) == pytest.approx(60 * share, abs=3)
    assert [frame.code for frame in frames[len(read) :]] == (["video-cut"] if told else [])
    if told:
        assert "lasts 6.0 s, and its frames end at 2." in frames[-1].detail
        assert frames[-1].number == len(read)


def test_a_video_without_one_frame_that_decodes(tmp_path, monkeypatch):
    monkeypatch.setattr("pose_data.video.VideoReader.__iter__", lambda reader: iter(()))
    (frame,) = frames_of_sources(find_sources([video(tmp_path / "a.mp4")]))
    assert (frame.code, frame.detail) == ("video-empty", "not one frame can be read")


class Camera(http.server.BaseHTTPRequestHandler):
    """Sends 30 JPEG frames as MJPEG and hangs up; after two visits it has nothing more."""

    served = 0

    def do_GET(self):
        Camera.served += 1
        if Camera.served > 2:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        data = encode_jpeg(np.full((48, 64, 3), 120, np.uint8), 90)
        for _ in range(30):
            self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data))
            self.wfile.write(data + b"\r\n")

    def log_message(self, *arguments):
        """Say nothing."""


@pytest.fixture
def network_camera():
    Camera.served = 0
    server = http.server.HTTPServer(("127.0.0.1", 0), Camera)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/live.mjpg"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_stream_that_is_lost_is_opened_again_and_then_ends(network_camera):
    source = Source(kind="stream", place=network_camera, name="stream")
    *frames, last = frames_of_sources([source], reconnects=2, reconnect_wait_s=0.01)
    assert len(frames) > 30
    assert frames[0].live
    assert frames[0].pixels.shape == (48, 64, 3)
    assert [frame.number for frame in frames] == list(range(len(frames)))
    assert np.all(np.diff([frame.time_s for frame in frames]) > 0)
    assert (last.pixels, last.code) == (None, "source-lost")
    assert f"after {len(frames)} frames" in last.detail


def test_a_stream_that_never_was_there_is_a_frame_with_a_code():
    source = Source(kind="stream", place="http://127.0.0.1:9/none", name="stream")
    (frame,) = frames_of_sources([source], reconnects=0)
    assert frame.code == "stream-unreachable"
