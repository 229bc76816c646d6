"""Motion JPEG over HTTP, opened anew for every picture."""

import contextlib
import socket
import time
from collections.abc import Generator
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.errors import BrokenReply, InstrumentLost, InstrumentTimeout, WrongInstrument
from drivers.opencv_camera.protocol import FOURCC, fourcc_text, is_whole_jpeg
from drivers.opencv_camera.shot import Shot, Size, size_px_of, size_text
from drivers.roles import Identity

_UNDECODED = -1


class HttpStream:
    """Pictures of a network camera.

    Every picture opens the stream anew and closes it after itself: what comes over a connection
    made after the call can't have waited in a buffer before it, however busy the computer is, and
    nothing is sent, drawn or decoded while no picture is wanted.

    Raises:
        InstrumentLost: nobody answers at the address, or no stream comes from it.
        InstrumentTimeout: someone answers at the address, but no picture came in time.
        WrongInstrument: the stream is no motion JPEG or has another size.
    """

    def __init__(
        self, url: str, *, size_px: Size, latency_frames: int, open_deadline_s: float
    ) -> None:
        self._url = url
        self.port = _without_password(url)
        self._latency_frames = latency_frames
        self._size_px = size_px
        with self._opened(time.monotonic() + open_deadline_s) as capture:
            self._size_px = size_px_of(capture)
        self.identity = Identity(
            maker="network camera",
            model=f"{FOURCC} {self._size_px[0]}x{self._size_px[1]}",
            serial=self.port,
            firmware=f"OpenCV {cv2.__version__} FFmpeg",
            port=self.port,
        )

    def shoot(self, ends_at_s: float) -> Shot:
        """The first whole picture after those that the camera may have held."""
        with self._opened(ends_at_s) as capture:
            jpeg = self._next_whole_picture(capture, ends_at_s)
            at = datetime.now(UTC)
        image = cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE)
        if image is None or image.shape[::-1] != self._size_px:
            found = "no picture" if image is None else f"{image.shape[1]}x{image.shape[0]} px"
            raise BrokenReply(f"expected {size_text(self._size_px)}, got {found}", port=self.port)
        return Shot(np.asarray(image, np.uint8), at)

    def close(self) -> None:
        """Nothing is open between two pictures."""

    def _next_whole_picture(self, capture: cv2.VideoCapture, ends_at_s: float) -> NDArray[np.uint8]:
        arrived = broken = 0
        while time.monotonic() < ends_at_s:
            if not capture.grab():
                if time.monotonic() >= ends_at_s:
                    break
                raise InstrumentLost(
                    f"the picture stream ended after {arrived} pictures", port=self.port
                )
            arrived += 1
            if arrived <= self._latency_frames:
                continue
            retrieved, data = capture.retrieve()
            if retrieved and is_whole_jpeg(data.tobytes()):
                return np.asarray(data, np.uint8)
            broken += 1
        raise InstrumentTimeout(
            f"no new picture in time: {arrived} came, {broken} of them broken",
            port=self.port,
            advice="Check the camera's network cable and its picture rate, then retry.",
        )

    @contextlib.contextmanager
    def _opened(self, ends_at_s: float) -> Generator[cv2.VideoCapture]:
        capture = self._connected(ends_at_s)
        try:
            self._check_format(capture)
            yield capture
        finally:
            capture.release()

    def _connected(self, ends_at_s: float) -> cv2.VideoCapture:
        left_ms = max(1, round((ends_at_s - time.monotonic()) * 1000))
        capture = cv2.VideoCapture(
            self._url,
            cv2.CAP_FFMPEG,
            [
                cv2.CAP_PROP_FORMAT,
                _UNDECODED,
                cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
                left_ms,
                cv2.CAP_PROP_READ_TIMEOUT_MSEC,
                left_ms,
            ],
        )
        if capture.isOpened():
            return capture
        capture.release()
        if time.monotonic() >= ends_at_s:
            raise InstrumentTimeout(
                "no picture came in time after connecting",
                port=self.port,
                advice="Restart the camera if this repeats.",
            )
        _check_reachable(self._url, self.port, ends_at_s)
        raise InstrumentLost(
            "someone answers at this address, but sends no picture stream",
            port=self.port,
            advice="Check the camera's address and stream path in the site profile.",
        )

    def _check_format(self, capture: cv2.VideoCapture) -> None:
        codec = fourcc_text(capture.get(cv2.CAP_PROP_FOURCC))
        size_px = size_px_of(capture)
        expected_px = (self._size_px[0] or size_px[0], self._size_px[1] or size_px[1])
        if codec != FOURCC or size_px != expected_px:
            raise WrongInstrument(
                f"expected {FOURCC} pictures of {size_text(expected_px)}, "
                f"the stream has {codec or 'unknown'} of {size_text(size_px)}",
                port=self.port,
                advice="Set the camera's format and resolution as in the site profile.",
            )


def _without_password(url: str) -> str:
    pieces = urlsplit(url)
    return urlunsplit(pieces._replace(netloc=pieces.netloc.rpartition("@")[2]))


def _check_reachable(url: str, port: str, ends_at_s: float) -> None:
    pieces = urlsplit(url)
    within_s = max(0.01, ends_at_s - time.monotonic())
    try:
        socket.create_connection((pieces.hostname or "", pieces.port or 80), within_s).close()
    except OSError as error:
        raise InstrumentLost(f"can't connect: {error}", port=port) from error
