"""The live picture: in a window where OpenCV has windows and a display is there, else on a page for this computer."""

import os
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Protocol, Self

import cv2
import numpy as np
import numpy.typing as npt

from pose_data.imaging import encode_jpeg

__all__ = ["LivePage", "LiveView", "LiveWindow", "open_live_view"]

Pixels = npt.NDArray[np.uint8]
_QUALITY = 80
_TITLE = "posetrain predict"
_STOP_KEYS = frozenset([ord("q"), 27])
_POLL_S = 0.5
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>posetrain predict</title>
<style>
body { margin: 0; background: #15171c; color: #e6e6e6; font: 15px/1.5 system-ui, sans-serif; }
main { display: flex; flex-direction: column; align-items: center; gap: 12px; padding: 16px; }
img { max-width: 100%; max-height: calc(100vh - 90px); background: #000; }
button { font: inherit; color: inherit; background: #2a2e37; border: 1px solid #454b58; border-radius: 6px;
  padding: 6px 20px; cursor: pointer; }
button:hover { background: #383e4a; }
</style></head>
<body><main><img src="/live.mjpg" alt="the live picture">
<button onclick="fetch('/stop', {method: 'POST'}).then(() => this.textContent = 'Stopped')">Stop</button>
</main></body></html>
"""


class LiveView(Protocol):
    """Something that shows one picture after another."""

    where: str
    """What to tell the person who wants to look."""

    @property
    def stopped(self) -> bool:
        """Return whether the person has seen enough."""
        ...

    def show(self, pixels: Pixels) -> None:
        """Show a picture (H, W, 3) uint8 RGB; always from the same thread."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def open_live_view() -> LiveView:
    """Return a window where one can be opened, else a page."""
    return LiveWindow() if _has_windows() else LivePage()


def _has_windows() -> bool:
    """Return whether OpenCV was built with windows (its headless packages are not) and a display is there."""
    gui = next((line for line in cv2.getBuildInformation().splitlines() if line.strip().startswith("GUI:")), "NONE")
    return "NONE" not in gui and bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


class LiveWindow:
    """A window of OpenCV's; q, Escape or closing it stops."""

    def __init__(self) -> None:
        self.where = "a window; q ends it"
        self._opened = self._stopped = False

    def __enter__(self) -> Self:
        return self

    @property
    def stopped(self) -> bool:
        """Return whether a key or the window's own button asked for the end."""
        return self._stopped

    def show(self, pixels: Pixels) -> None:
        """Show a picture (H, W, 3) uint8 RGB."""
        if self._stopped:
            return
        if not self._opened:
            cv2.namedWindow(_TITLE, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
            self._opened = True
        cv2.imshow(_TITLE, np.ascontiguousarray(pixels[:, :, ::-1]))
        key = cv2.waitKey(1) & 0xFF
        self._stopped = key in _STOP_KEYS or cv2.getWindowProperty(_TITLE, cv2.WND_PROP_VISIBLE) < 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._opened:
            cv2.destroyAllWindows()


class LivePage:
    """A page with the newest picture as MJPEG, served to this computer alone (127.0.0.1).

    A picture is encoded only while somebody looks. Requests that name another host, and stops that come from another
    page, are refused: whatever a browser here is made to ask for, only a person looking at this page can stop it.
    """

    def __init__(self, port: int = 0) -> None:
        """Listen at ``port``, 0 for any that is free. Raises OSError where it is taken."""
        self._changed = threading.Condition()
        self._jpeg, self._number, self._viewers = b"", 0, 0
        self._stopped = self._closed = False
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler_of(self))
        self._server.daemon_threads = True
        self.where = f"http://127.0.0.1:{self._server.server_port}/"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_POLL_S,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    @property
    def stopped(self) -> bool:
        """Return whether the page's button was pressed."""
        return self._stopped

    def show(self, pixels: Pixels) -> None:
        """Show a picture (H, W, 3) uint8 RGB."""
        with self._changed:
            if not self._viewers and self._jpeg:
                return
        data = encode_jpeg(pixels, _QUALITY)
        with self._changed:
            self._jpeg, self._number = data, self._number + 1
            self._changed.notify_all()

    def stop(self) -> None:
        """Ask for the end, as the button does."""
        self._stopped = True

    def pictures(self, send: Callable[[bytes], None]) -> None:
        """Call ``send`` with every new JPEG until the page is closed."""
        seen = 0
        with self._changed:
            self._viewers += 1
        try:
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or self._number > seen, _POLL_S)  # noqa: B023
                    if self._closed:
                        return
                    if self._number == seen:
                        continue
                    data, seen = self._jpeg, self._number
                send(data)
        finally:
            with self._changed:
                self._viewers -= 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler_of(page: LivePage) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self._is_ours():
                self.send_error(403)
            elif self.path == "/":
                self._answer(200, "text/html; charset=utf-8", _PAGE.encode())
            elif self.path == "/live.mjpg":
                self._stream()
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            origin = self.headers.get("Origin")
            if not self._is_ours() or (origin is not None and origin != page.where.rstrip("/")):
                self.send_error(403)
            elif self.path == "/stop":
                page.stop()
                self._answer(200, "text/plain", b"stopped\n")
            else:
                self.send_error(404)

        def _is_ours(self) -> bool:
            # Another name for 127.0.0.1 would let a foreign page read the picture.
            port = page.where.rstrip("/").rpartition(":")[2]
            return self.headers.get("Host", "") in (f"127.0.0.1:{port}", f"localhost:{port}")

        def _answer(self, status: int, kind: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.send_header("Cache-Control", "no-store")
            self.end_headers()

            def send(data: bytes) -> None:
                self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(data))
                self.wfile.write(data + b"\r\n")

            try:
                page.pictures(send)
            except OSError:
                self.close_connection = True  # whoever looked has gone

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing: the terminal shows the prediction."""

    return Handler
