"""A network camera that shows whatever a function draws."""

import contextlib
import math
import socket
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.faults import LineFaults, spoilt
from drivers.opencv_camera.protocol import JPEG_QUALITY, STREAM_PATH, STREAM_TYPE, part


class CameraStreamSimulator:
    """An HTTP server that sends motion JPEG to any number of clients.

    ``frame`` returns the picture of this instant, uint8 of shape (h, w). It is called once for each
    picture sent, at the instant of its exposure, on the thread of the client that gets it; it is
    never called while nobody watches. A picture that takes longer than ``1 / fps`` slows the stream
    down, nothing is queued.

    ``faults`` hit pictures: a doubled one is sent twice, and a disconnected camera hangs up on
    every client and answers nobody until it is back.
    """

    def __init__(
        self,
        frame: Callable[[], NDArray[np.uint8]],
        fps: float = 30.0,
        port: int = 0,
        host: str = "127.0.0.1",
        *,
        faults: LineFaults | None = None,
    ) -> None:
        if not (math.isfinite(fps) and fps > 0):
            raise ValueError(f"fps must be positive and finite, got {fps}")
        self.faults = faults or LineFaults()
        self._back_at_s = -math.inf
        self._frame = frame
        self._period_s = 1.0 / fps
        self._host = host
        self._port = port
        self._server: _StreamServer | None = None
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._running = threading.Event()
        self._running.set()
        self._broken_lock = threading.Lock()
        self._broken_left = 0

    @property
    def address(self) -> str:
        """URL of the stream; fixed from the first ``start`` on."""
        return f"http://{self._host}:{self._port}{STREAM_PATH}"

    def start(self) -> None:
        """Listen; a second start after a stop uses the same port."""
        self._stopping.clear()
        self._server = _StreamServer((self._host, self._port), self)
        self._port = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.02},
            name=f"camera simulator {self._port}",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Hang up on every client and stop listening; does nothing when it is not running."""
        server, thread = self._server, self._thread
        self._server = self._thread = None
        if server is None or thread is None:
            return
        self._stopping.set()
        server.shutdown()
        thread.join()
        server.hang_up()
        server.server_close()

    def wait_until_unwatched(self, within_s: float) -> bool:
        """Wait until the last client has gone; False when one is still there after that time."""
        return self._server is None or self._server.wait_until_unwatched(within_s)

    def drop_clients(self) -> None:
        """Hang up on every client as a camera does that restarts; new ones are served."""
        if self._server is not None:
            self._server.hang_up()

    def freeze(self) -> None:
        """Keep every connection and send nothing more."""
        self._running.clear()

    def thaw(self) -> None:
        """Go on sending."""
        self._running.set()

    def break_pictures(self, count: int) -> None:
        """Send the next ``count`` pictures without their second half."""
        with self._broken_lock:
            self._broken_left = count

    def _jpeg(self) -> bytes:
        image = self._frame()
        if image.ndim != 2 or image.dtype != np.uint8:
            raise ValueError(f"a frame is uint8 (h, w), got {image.dtype} {image.shape}")
        encoded, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        if not encoded:
            raise ValueError(f"a frame of shape {image.shape} can't be encoded")
        data = jpeg.tobytes()
        with self._broken_lock:
            if self._broken_left > 0:
                self._broken_left -= 1
                data = data[: len(data) // 2]
        return data

    def _stream(self, client: socket.socket) -> None:
        due_s = time.monotonic()
        while not self._stopping.is_set():
            if not self._running.wait(timeout=0.02):
                if _hung_up(client):
                    return
                due_s = time.monotonic()
                continue
            if not self._send(self._jpeg(), client):
                return
            due_s = max(due_s + self._period_s, time.monotonic())
            self._stopping.wait(due_s - time.monotonic())

    def _send(self, picture: bytes, client: socket.socket) -> bool:
        """Send what the faults leave of a picture; False when the camera goes away instead."""
        fault = self.faults.next_fault(picture)
        if fault is not None and fault.kind == "disconnect":
            self._back_at_s = time.monotonic() + fault.delay_s
            self.drop_clients()
            return False
        for delay_s, left in spoilt(picture, fault):
            self._stopping.wait(delay_s)
            client.sendall(part(left))
        return True

    @property
    def is_away(self) -> bool:
        """Whether the camera is unplugged just now."""
        return time.monotonic() < self._back_at_s


def _hung_up(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    finally:
        client.setblocking(True)


class _StreamServer(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], simulator: CameraStreamSimulator) -> None:
        self.simulator = simulator
        self._clients: set[socket.socket] = set()
        self._clients_changed = threading.Condition()
        super().__init__(address, _StreamHandler)

    def add(self, client: socket.socket) -> None:
        with self._clients_changed:
            self._clients.add(client)

    def remove(self, client: socket.socket) -> None:
        with self._clients_changed:
            self._clients.discard(client)
            self._clients_changed.notify_all()

    def wait_until_unwatched(self, within_s: float) -> bool:
        with self._clients_changed:
            return self._clients_changed.wait_for(lambda: not self._clients, within_s)

    def hang_up(self) -> None:
        with self._clients_changed:
            for client in self._clients:
                with contextlib.suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)


class _StreamHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _StreamServer

    def log_message(self, *_: Any) -> None:
        """Say nothing on the terminal."""

    def do_GET(self) -> None:
        if self.server.simulator.is_away:
            self.close_connection = True
            return
        if self.path != STREAM_PATH:
            self.send_error(404)
            return
        self.server.add(self.connection)
        try:
            self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.send_response(200)
            self.send_header("Content-Type", STREAM_TYPE)
            self.send_header("Cache-Control", "no-store")
            self.send_header("Connection", "close")
            self.end_headers()
            self.server.simulator._stream(self.connection)
        except OSError:
            self.close_connection = True
        finally:
            self.server.remove(self.connection)
