"""A network camera read through OpenCV."""

import contextlib
import math
import socket
import threading
import time
from collections.abc import Generator
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.errors import BrokenReply, InstrumentLost, InstrumentTimeout, WrongInstrument
from drivers.opencv_camera.protocol import FOURCC, fourcc_text, is_whole_jpeg
from drivers.roles import Frame, Identity

_UNDECODED = -1


class OpenCvCamera:
    """A camera that sends motion JPEG over HTTP; fulfils the role ``Camera``.

    Every ``grab`` opens the stream anew and closes it after its picture: what comes over a
    connection made after the call can't have waited in a buffer before it, however busy the
    computer is, and nothing is sent, drawn or decoded while no picture is wanted.

    ``latency_frames`` is the number of pictures that the camera may hold at the moment of a call,
    exposed but not yet sent; so many are thrown away. 1 is right for a camera that exposes, encodes
    and sends in turn or hands out its last picture first; add the depth of the queue of one that
    works ahead.

    Raises:
        InstrumentLost: nobody answers at the address, or no stream comes from it.
        InstrumentTimeout: someone answers at the address, but no picture came in time.
        WrongInstrument: the stream is no motion JPEG or has another size than
            ``width_px`` x ``height_px``.
    """

    def __init__(
        self,
        url: str,
        *,
        width_px: int | None = None,
        height_px: int | None = None,
        latency_frames: int = 1,
        open_deadline_s: float = 5.0,
    ) -> None:
        if urlsplit(url).scheme != "http" or not urlsplit(url).hostname:
            raise ValueError(f"expected the address of an HTTP stream, got {url!r}")
        if latency_frames < 0:
            raise ValueError(f"latency_frames can't be negative, got {latency_frames}")
        self._url = url
        self._port = _without_password(url)
        self._latency_frames = latency_frames
        self._lock = threading.Lock()
        self._closed = False
        self._sequence = 0
        self._size_px = (width_px, height_px)
        with self._stream(open_deadline_s) as capture:
            self._size_px = _size_px(capture)
        self._identity = Identity(
            maker="network camera",
            model=f"{FOURCC} {self._size_px[0]}x{self._size_px[1]}",
            serial=self._port,
            firmware=f"OpenCV {cv2.__version__} FFmpeg",
            port=self._port,
        )

    @property
    def identity(self) -> Identity:
        return self._identity

    def grab(self, *, deadline_s: float) -> Frame:
        """A picture whose exposure began after this call; ``at`` is when it arrived.

        A picture that arrives broken is passed over for the next one.

        Raises:
            InstrumentTimeout: no such picture within ``deadline_s`` (real time), waiting for
                another thread's ``grab`` included. A stream that stops halfway is given up after
                less than twice that time.
            InstrumentLost: the stream can't be opened or ended; the next call tries again.
            WrongInstrument: the stream changed its format or size.
            BrokenReply: the picture can't be decoded.
        """
        ends_at_s = time.monotonic() + deadline_s
        with self._stream(deadline_s) as capture:
            jpeg = self._next_whole_picture(capture, ends_at_s)
            at = datetime.now(UTC)
            self._sequence += 1
            sequence = self._sequence
        image = cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE)
        if image is None or image.shape[::-1] != self._size_px:
            found = "no picture" if image is None else f"{image.shape[1]}x{image.shape[0]} px"
            raise BrokenReply(f"expected {_size_text(self._size_px)}, got {found}", port=self._port)
        return Frame(image=np.asarray(image, np.uint8), at=at, sequence=sequence)

    def close(self) -> None:
        """Refuse further calls; a ``grab`` under way ends as it would have."""
        self._closed = True

    def _next_whole_picture(self, capture: cv2.VideoCapture, ends_at_s: float) -> NDArray[np.uint8]:
        arrived = broken = 0
        while time.monotonic() < ends_at_s:
            if not capture.grab():
                if time.monotonic() >= ends_at_s:
                    break
                raise InstrumentLost(
                    f"the picture stream ended after {arrived} pictures", port=self._port
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
            port=self._port,
            advice="Check the camera's network cable and its picture rate, then retry.",
        )

    @contextlib.contextmanager
    def _stream(self, within_s: float) -> Generator[cv2.VideoCapture]:
        if not (math.isfinite(within_s) and within_s > 0):
            raise ValueError(f"a deadline must be positive and finite, got {within_s}")
        ends_at_s = time.monotonic() + within_s
        if not self._lock.acquire(timeout=within_s):
            raise InstrumentTimeout(
                f"another picture kept the camera busy for {within_s:g} s", port=self._port
            )
        try:
            if self._closed:
                raise InstrumentLost(
                    "the camera is closed", port=self._port, advice="Reconnect the camera."
                )
            capture = self._connected(ends_at_s)
            try:
                self._check_format(capture)
                yield capture
            finally:
                capture.release()
        finally:
            self._lock.release()

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
                port=self._port,
                advice="Restart the camera if this repeats.",
            )
        _check_reachable(self._url, self._port, ends_at_s)
        raise InstrumentLost(
            "someone answers at this address, but sends no picture stream",
            port=self._port,
            advice="Check the camera's address and stream path in the site profile.",
        )

    def _check_format(self, capture: cv2.VideoCapture) -> None:
        codec = fourcc_text(capture.get(cv2.CAP_PROP_FOURCC))
        size_px = _size_px(capture)
        expected_px = tuple(want or have for want, have in zip(self._size_px, size_px, strict=True))
        if codec != FOURCC or size_px != expected_px:
            raise WrongInstrument(
                f"expected {FOURCC} pictures of {_size_text(expected_px)}, "
                f"the stream has {codec or 'unknown'} of {_size_text(size_px)}",
                port=self._port,
                advice="Set the camera's format and resolution as in the site profile.",
            )


def _size_px(capture: cv2.VideoCapture) -> tuple[int, int]:
    return (
        round(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
    )


def _size_text(size_px: tuple[int | None, ...]) -> str:
    return f"{size_px[0]}x{size_px[1]} px"


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
