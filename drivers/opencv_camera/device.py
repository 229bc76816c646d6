"""A camera on this computer's USB, through Video for Linux (V4L2).

V4L2 hands out filled buffers in their order, so the oldest picture comes first: as many as the
queue holds are thrown away, and those that the camera may have had under way. A read may block for
ten seconds when the camera stops sending; it is therefore done by a thread that can be left behind.
"""

import queue
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.errors import (
    BrokenReply,
    InstrumentError,
    InstrumentLost,
    InstrumentTimeout,
    SetpointRefused,
    WrongInstrument,
)
from drivers.opencv_camera.protocol import (
    EXPOSURE_MANUAL,
    EXPOSURE_UNIT_S,
    QUEUE_FRAMES,
    SYSFS,
    fourcc_text,
    is_whole_jpeg,
)
from drivers.opencv_camera.shot import Shot, Size, size_px_of, size_text
from drivers.roles import Identity

OpenCapture = Callable[[int], Any]
_Outcome = NDArray[np.uint8] | str | Exception | None


@dataclass(frozen=True)
class DeviceSettings:
    """How a camera is set up when it is opened; None leaves what it has.

    Attributes:
        pixel_format: four letters, such as MJPG, YUYV or GREY.
        exposure_s: exposure time, in steps of 0.1 ms; switches the automatic exposure off.
        gain: in the camera's own units.
        frames_per_s: picture rate.
        latency_frames: pictures that the camera may hold, exposed but not yet sent.
    """

    pixel_format: str | None = None
    exposure_s: float | None = None
    gain: float | None = None
    frames_per_s: float | None = None
    latency_frames: int = 1

    def __post_init__(self) -> None:
        if self.latency_frames < 0:
            raise ValueError(f"latency_frames can't be negative, got {self.latency_frames}")
        if self.pixel_format is not None and len(self.pixel_format) != 4:
            raise ValueError(f"a pixel format has four letters, got {self.pixel_format!r}")
        for name in ("exposure_s", "frames_per_s"):
            value = getattr(self, name)
            if value is not None and not 0 < value < float("inf"):
                raise ValueError(f"{name} must be positive and finite, got {value}")


def open_v4l2(index: int) -> Any:
    """The capture of ``/dev/video<index>``."""
    return cv2.VideoCapture(index, cv2.CAP_V4L2)


class VideoDevice:
    """Pictures of ``/dev/video<index>``; the device stays open between them.

    Raises:
        InstrumentLost: no such device, or another program has it.
        SetpointRefused: the camera does not take a setting.
        WrongInstrument: the pictures have another size than asked for.
    """

    def __init__(
        self,
        index: int,
        *,
        size_px: Size,
        settings: DeviceSettings,
        open_capture: OpenCapture = open_v4l2,
        sysfs: Path = SYSFS,
    ) -> None:
        self.port = f"/dev/video{index}"
        self._index = index
        self._size_px = size_px
        self._settings = settings
        self._open_capture = open_capture
        self._sysfs = sysfs
        self._capture: Any = None
        self._connect()
        self.identity = self._read_identity()

    def _connect(self) -> None:
        capture = self._open_capture(self._index)
        if not capture.isOpened():
            capture.release()
            raise InstrumentLost(
                "can't open the camera",
                port=self.port,
                advice="Check its cable, and that no other program uses it.",
            )
        try:
            self._set_up(capture)
        except BaseException:
            capture.release()
            raise
        self._capture = capture

    def _set_up(self, capture: Any) -> None:
        width_px, height_px = self._size_px
        wanted = self._settings
        # left as they come: a broken JPEG is seen, and grey is not mixed from colours
        capture.set(cv2.CAP_PROP_CONVERT_RGB, 0)
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        if wanted.pixel_format is not None:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*wanted.pixel_format))
            found = fourcc_text(capture.get(cv2.CAP_PROP_FOURCC))
            if found != wanted.pixel_format:
                raise SetpointRefused(
                    f"the camera sends {found or 'an unknown format'}, not {wanted.pixel_format}",
                    port=self.port,
                    advice="Correct the pixel format in the site profile.",
                )
        for name, size in (
            (cv2.CAP_PROP_FRAME_WIDTH, width_px),
            (cv2.CAP_PROP_FRAME_HEIGHT, height_px),
        ):
            if size is not None:
                capture.set(name, size)
        found_px = size_px_of(capture)
        if found_px != (width_px or found_px[0], height_px or found_px[1]):
            raise WrongInstrument(
                f"expected {size_text(self._size_px)}, the camera gives {size_text(found_px)}",
                port=self.port,
                advice="Correct the size in the site profile.",
            )
        self._size_px = found_px
        if wanted.frames_per_s is not None:
            self._set(capture, "picture rate", cv2.CAP_PROP_FPS, wanted.frames_per_s, 0.5)
        if wanted.exposure_s is not None:
            self._set(capture, "exposure mode", cv2.CAP_PROP_AUTO_EXPOSURE, EXPOSURE_MANUAL, 0)
            units = round(wanted.exposure_s / EXPOSURE_UNIT_S)
            self._set(capture, "exposure (0.1 ms)", cv2.CAP_PROP_EXPOSURE, max(1, units), 0.5)
        if wanted.gain is not None:
            self._set(capture, "gain", cv2.CAP_PROP_GAIN, wanted.gain, 0.5)

    def _set(self, capture: Any, name: str, code: int, value: float, within: float) -> None:
        taken = capture.set(code, value)
        found = capture.get(code)
        if not taken or abs(found - value) > within:
            raise SetpointRefused(
                f"{name} was set to {value:g} and reads back {found:g}",
                port=self.port,
                advice="Choose a value that this camera has.",
            )

    def _read_identity(self) -> Identity:
        folder = self._sysfs / f"video{self._index}"
        return Identity(
            maker="USB video camera",
            model=_first_line(folder / "name") or "unknown",
            serial=_first_line(folder / "device" / ".." / "serial"),
            firmware=f"OpenCV {cv2.__version__} V4L2",
            port=self.port,
        )

    def shoot(self, ends_at_s: float) -> Shot:
        """The first whole picture after those that were exposed before the call.

        Raises:
            InstrumentTimeout: it did not come in time; the device is opened anew by the next call.
            InstrumentLost: the camera is gone; the next call looks for it again.
            WrongInstrument: another camera has taken its place.
        """
        capture = self._present_capture()
        reading = _Reading(capture, self._pictures_to_drop(capture), ends_at_s)
        outcome = reading.wait()
        if isinstance(outcome, Exception):
            raise InstrumentError(f"reading the camera failed: {outcome}", port=self.port)
        if outcome is None:
            self._capture = None
            raise InstrumentTimeout(
                "no new picture in time",
                port=self.port,
                advice="Check the camera's cable and its picture rate, then retry.",
            )
        if isinstance(outcome, str):
            self._let_go()
            raise InstrumentLost(outcome, port=self.port)
        return Shot(self._grey(outcome), datetime.now(UTC))

    def _pictures_to_drop(self, capture: Any) -> int:
        held: int = round(capture.get(cv2.CAP_PROP_BUFFERSIZE))
        return max(held, 0 if held > 0 else QUEUE_FRAMES) + self._settings.latency_frames

    def _present_capture(self) -> Any:
        if self._capture is None:
            self._connect()
            found = self._read_identity()
            if found != self.identity:
                self._let_go()
                raise WrongInstrument(
                    f"expected {self.identity.model} {self.identity.serial}, "
                    f"found {found.model} {found.serial}",
                    port=self.port,
                    advice="Plug the station's camera into the socket of its own.",
                )
        return self._capture

    def _grey(self, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
        image = _to_grey(data)
        if image is None or image.shape[::-1] != self._size_px:
            found = "no picture" if image is None else size_text(image.shape[::-1])
            raise BrokenReply(f"expected {size_text(self._size_px)}, got {found}", port=self.port)
        return image

    def _let_go(self) -> None:
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()

    def close(self) -> None:
        """Give the device back."""
        self._let_go()


class _Reading:
    """A thread that reads until a fresh whole picture, and can be left behind."""

    def __init__(self, capture: Any, drop: int, ends_at_s: float) -> None:
        self._capture = capture
        self._drop = drop
        self._ends_at_s = ends_at_s
        self._lock = threading.Lock()
        self._abandoned = False
        self._done = False
        self._outcome: queue.SimpleQueue[_Outcome] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="video device", daemon=True).start()

    def wait(self) -> _Outcome:
        """The picture, how the camera was lost, what OpenCV raised, or None: the time is over."""
        try:
            outcome = self._outcome.get(timeout=max(0.001, self._ends_at_s - time.monotonic()))
        except queue.Empty:
            with self._lock:
                self._abandoned = True
                if self._done:
                    self._capture.release()
            return None
        if outcome is None:
            self._capture.release()
        return outcome

    def _run(self) -> None:
        outcome: _Outcome
        try:
            outcome = self._read()
        except cv2.error as error:
            outcome = error
        with self._lock:
            self._done = True
            if self._abandoned:
                self._capture.release()
                return
            self._outcome.put(outcome)

    def _read(self) -> _Outcome:
        arrived = 0
        while time.monotonic() < self._ends_at_s:
            if not self._capture.grab():
                return f"the camera stopped sending after {arrived} pictures"
            arrived += 1
            if arrived <= self._drop:
                continue
            retrieved, data = self._capture.retrieve()
            if retrieved and data is not None and _is_whole(data):
                return np.asarray(data, np.uint8)
        return None


def _is_whole(data: NDArray[np.uint8]) -> bool:
    return min(data.shape) > 1 or is_whole_jpeg(data.tobytes())


def _to_grey(data: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """Grey values of what V4L2 gives: JPEG bytes, grey, packed YUYV or BGR."""
    if data.ndim == 2 and min(data.shape) == 1:
        decoded = cv2.imdecode(data.ravel(), cv2.IMREAD_GRAYSCALE)
        return None if decoded is None else np.asarray(decoded, np.uint8)
    if data.ndim == 2:
        return data
    if data.shape[2] == 2:
        return np.ascontiguousarray(data[:, :, 0])
    return np.asarray(cv2.cvtColor(data, cv2.COLOR_BGR2GRAY), np.uint8)


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


_DEVICE = re.compile(r"(?:/dev/video)?(\d{1,3})")


def device_index(address: str) -> int | None:
    """Number of a video device, from ``/dev/video2`` or ``2``; None for anything else."""
    match = _DEVICE.fullmatch(address)
    return int(match[1]) if match else None
