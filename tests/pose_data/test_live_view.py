"""The page with the live picture: what it sends, to whom, and how it ends."""

import http.client
import socket
import threading

import numpy as np
import pytest

from pose_data.imaging import decode_jpeg
from pose_data.live_view import LivePage, open_live_view


@pytest.fixture
def page():
    with LivePage() as live:
        yield live


def ask(page, path, *, method="GET", **headers):
    host = page.where.split("/")[2]
    connection = http.client.HTTPConnection(host, timeout=5)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read() if path != "/live.mjpg" else b""
    finally:
        connection.close()


def next_picture(file):
    while not (line := file.readline()).startswith(b"Content-Length"):
        assert line
    length = int(line.partition(b":")[2])
    file.readline()
    return file.read(length)


def test_there_is_no_window_without_a_display(monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    view = open_live_view()
    assert isinstance(view, LivePage)
    with view:
        assert view.where.startswith("http://127.0.0.1:")


def test_it_listens_on_this_computer_alone(page):
    assert page._server.socket.getsockname()[0] == "127.0.0.1"


def test_the_page_shows_the_stream_and_the_stream_shows_the_newest_picture(page):
    status, body = ask(page, "/")
    assert status == 200
    assert b'src="/live.mjpg"' in body
    page.show(np.full((16, 24, 3), 60, np.uint8))
    connection = http.client.HTTPConnection(page.where.split("/")[2], timeout=5)
    connection.request("GET", "/live.mjpg")
    answer = connection.getresponse()
    assert answer.getheader("Content-Type").startswith("multipart/x-mixed-replace")
    decoded = np.empty((16, 24, 3), np.uint8)
    for value in (60, 200):
        if value == 200:
            page.show(np.full((16, 24, 3), value, np.uint8))
        decode_jpeg(next_picture(answer), decoded)
        assert np.abs(decoded.astype(int) - value).max() <= 3
    connection.close()


def test_nothing_is_encoded_while_nobody_looks(page, monkeypatch):
    encoded = []
    monkeypatch.setattr("pose_data.live_view.encode_jpeg", lambda pixels, quality: encoded.append(1) or b"x")
    for _ in range(5):
        page.show(np.zeros((8, 8, 3), np.uint8))
    assert len(encoded) == 1  # the first, so that a page that is opened later shows something


def test_the_button_stops(page):
    assert not page.stopped
    assert ask(page, "/stop", method="POST", Origin=page.where.rstrip("/"))[0] == 200
    assert page.stopped


def test_other_hosts_and_other_pages_are_refused(page):
    assert ask(page, "/", Host="evil.example")[0] == 403
    assert ask(page, "/live.mjpg", Host="evil.example:80")[0] == 403
    assert ask(page, "/stop", method="POST", Origin="http://evil.example")[0] == 403
    assert not page.stopped
    assert ask(page, "/other")[0] == 404
    assert ask(page, "/other", method="POST")[0] == 404


def test_leaving_ends_streams_and_frees_the_port():
    with LivePage() as page:
        host, port = page.where.split("/")[2].split(":")
        page.show(np.zeros((8, 8, 3), np.uint8))
        connection = http.client.HTTPConnection(host, int(port), timeout=5)
        connection.request("GET", "/live.mjpg")
        answer = connection.getresponse()
        next_picture(answer)
        reader = threading.Thread(target=answer.read)
        reader.start()
    reader.join(5)
    assert not reader.is_alive()
    connection.close()
    with socket.socket() as again:
        assert again.connect_ex((host, int(port))) != 0
