"""Cameras read through OpenCV: on the network or on this computer's USB."""

import math
import threading
import time
from urllib.parse import urlsplit

from drivers.clock import Clock
from drivers.errors import InstrumentLost, InstrumentTimeout, PictureRefused, errors_of
from drivers.opencv_camera.device import DeviceSettings, VideoDevice, device_index
from drivers.opencv_camera.shot import Size, Source
from drivers.opencv_camera.stream import HttpStream
from drivers.picture_trouble import PictureCheck, picture_trouble
from drivers.roles import Frame, Identity


class OpenCvCamera:
    """A network camera or a USB video camera; fulfils the role ``Camera``.

    Args:
        address: ``http://...`` of a motion JPEG stream, or ``/dev/video2`` or ``2``.
        width_px, height_px: size of the pictures; None takes the camera's.
        latency_frames: the number of pictures that the camera may hold at the moment of a call,
            exposed but not yet sent; so many are thrown away. 1 is right for a camera that exposes,
            encodes and sends in turn or hands out its last picture first; add the depth of the
            queue of one that works ahead.
        pixel_format, exposure_s, gain, frames_per_s: of a USB camera, set and read back.
        trouble: what makes a picture useless.
        clock: taken like by every driver; a camera keeps real time.

    Raises:
        InstrumentLost: nobody answers at the address, or no pictures come from it.
        InstrumentTimeout: someone answers at the address, but no picture came in time.
        WrongInstrument: the pictures have another format or size.
        SetpointRefused: the camera does not take a setting.
    """

    def __init__(
        self,
        address: str,
        *,
        clock: Clock | None = None,
        width_px: int | None = None,
        height_px: int | None = None,
        latency_frames: int = 1,
        pixel_format: str | None = None,
        exposure_s: float | None = None,
        gain: float | None = None,
        frames_per_s: float | None = None,
        open_deadline_s: float = 5.0,
        trouble: PictureCheck = picture_trouble,
        source: Source | None = None,
    ) -> None:
        del clock
        settings = DeviceSettings(
            pixel_format=pixel_format,
            exposure_s=exposure_s,
            gain=gain,
            frames_per_s=frames_per_s,
            latency_frames=latency_frames,
        )
        self._source = source or _open_source(
            address, (width_px, height_px), settings, open_deadline_s
        )
        self._trouble = trouble
        self._lock = threading.Lock()
        self._closed = False
        self._sequence = 0
        self._before: Frame | None = None

    @classmethod
    def open(
        cls,
        address: str,
        *,
        clock: Clock | None = None,
        width_px: int | None = None,
        height_px: int | None = None,
        latency_frames: int = 1,
        pixel_format: str | None = None,
        exposure_s: float | None = None,
        gain: float | None = None,
        frames_per_s: float | None = None,
        open_deadline_s: float = 5.0,
        trouble: PictureCheck = picture_trouble,
    ) -> "OpenCvCamera":
        """The camera at this address."""
        return cls(
            address,
            clock=clock,
            width_px=width_px,
            height_px=height_px,
            latency_frames=latency_frames,
            pixel_format=pixel_format,
            exposure_s=exposure_s,
            gain=gain,
            frames_per_s=frames_per_s,
            open_deadline_s=open_deadline_s,
            trouble=trouble,
        )

    @property
    def identity(self) -> Identity:
        return self._source.identity

    @errors_of("camera")
    def grab(self, *, deadline_s: float) -> Frame:
        """A picture whose exposure began after this call; ``at`` is when it arrived.

        A picture that arrives broken is passed over for the next one.

        Raises:
            InstrumentTimeout: no such picture within ``deadline_s`` (real time), waiting for
                another thread's ``grab`` included. A stream that stops halfway is given up after
                less than twice that time.
            InstrumentLost: the camera can't be reached or stopped; the next call tries again.
            WrongInstrument: the pictures changed their format or size, or another camera answers.
            BrokenReply: the picture can't be decoded.
            PictureRefused: the camera is frozen or dark.
        """
        if not (math.isfinite(deadline_s) and deadline_s > 0):
            raise ValueError(f"a deadline must be positive and finite, got {deadline_s}")
        ends_at_s = time.monotonic() + deadline_s
        if not self._lock.acquire(timeout=deadline_s):
            raise InstrumentTimeout(
                f"another picture kept the camera busy for {deadline_s:g} s",
                port=self._source.port,
            )
        try:
            if self._closed:
                raise InstrumentLost(
                    "the camera is closed", port=self._source.port, advice="Reconnect the camera."
                )
            shot = self._source.shoot(ends_at_s)
            self._sequence += 1
            frame = Frame(image=shot.image, at=shot.at, sequence=self._sequence)
            trouble = self._trouble(self._before, frame)
            self._before = frame
        finally:
            self._lock.release()
        if trouble is not None:
            raise PictureRefused(trouble, port=self._source.port)
        return frame

    def close(self) -> None:
        """Refuse further calls and give the camera back; a ``grab`` under way ends first."""
        self._closed = True
        if self._lock.acquire(timeout=1.0):
            try:
                self._source.close()
            finally:
                self._lock.release()


def _open_source(
    address: str, size_px: Size, settings: DeviceSettings, open_deadline_s: float
) -> Source:
    index = device_index(address)
    if index is not None:
        return VideoDevice(index, size_px=size_px, settings=settings)
    pieces = urlsplit(address)
    if pieces.scheme != "http" or not pieces.hostname:
        raise ValueError(
            f"expected the address of an HTTP stream or a device such as /dev/video0, "
            f"got {address!r}"
        )
    for name in ("pixel_format", "exposure_s", "gain", "frames_per_s"):
        if getattr(settings, name) is not None:
            raise ValueError(f"{name} of a network camera is set in the camera itself")
    if not (math.isfinite(open_deadline_s) and open_deadline_s > 0):
        raise ValueError(f"a deadline must be positive and finite, got {open_deadline_s}")
    return HttpStream(
        address,
        size_px=size_px,
        latency_frames=settings.latency_frames,
        open_deadline_s=open_deadline_s,
    )
