"""Basler cameras with a software trigger."""

import contextlib
import math
import threading
import time
from collections.abc import Generator, Mapping
from datetime import UTC, datetime
from typing import Literal

from drivers.basler import protocol
from drivers.basler.device import CameraDevice, Shot, Value
from drivers.basler.features import feature, write_checked, write_exposure, write_gain
from drivers.clock import Clock
from drivers.errors import (
    BrokenReply,
    InstrumentLost,
    InstrumentTimeout,
    PictureRefused,
    SetpointRefused,
    WrongInstrument,
    errors_of,
)
from drivers.picture_trouble import PictureCheck, picture_trouble
from drivers.roles import Frame, Identity

PixelKind = Literal["mono", "bgr", "bayer"]


class BaslerCamera:
    """A Basler camera that exposes when it is told to; fulfils the role ``Camera``.

    Every picture is exposed by a software trigger of its own, so that it can't show what was before
    the call. A camera that was unplugged is looked for again by every call until it is back.

    Args:
        address: the serial number; may be empty when only one camera is connected.
        exposure_us, gain_db: set and read back; None leaves what the camera has.
        pixel_format: ``mono`` (8 bit), ``bgr``, or ``bayer``, which the computer turns into BGR.
        width_px, height_px: size of the picture, taken from the middle of the sensor; None leaves
            what the camera has.
        features: further features of the camera by their GenICam names, set in this order before
            everything else and read back.
        trouble: what makes a picture useless.
        clock: taken like by every driver; a camera keeps real time.

    Raises:
        InstrumentLost: no such camera, another program has it, or its library is missing.
        WrongInstrument: the camera is no Basler.
        SetpointRefused: a setting that this camera does not take.
    """

    def __init__(
        self,
        device: CameraDevice,
        *,
        clock: Clock | None = None,
        exposure_us: float | None = None,
        gain_db: float | None = None,
        pixel_format: PixelKind = "mono",
        width_px: int | None = None,
        height_px: int | None = None,
        features: Mapping[str, Value] | None = None,
        trouble: PictureCheck = picture_trouble,
    ) -> None:
        del clock
        self._device: CameraDevice | None = device
        self._identity = device.identity
        self._pixel_kind = pixel_format
        self._size_px = {"Width": width_px, "Height": height_px}
        self._features = dict(features or {})
        self._exposure_us = exposure_us
        self._gain_db = gain_db
        self._trouble = trouble
        self._lock = threading.Lock()
        self._closed = False
        self._out_of_step = False
        self._sequence = 0
        self._before: Frame | None = None
        try:
            if not device.identity.maker.startswith(protocol.MAKER):
                raise WrongInstrument(f"a camera of {device.identity.maker}", port=device.port)
            self._prepare(device)
        except BaseException:
            device.close()
            raise

    @classmethod
    def open(
        cls,
        address: str,
        *,
        clock: Clock | None = None,
        exposure_us: float | None = None,
        gain_db: float | None = None,
        pixel_format: PixelKind = "mono",
        width_px: int | None = None,
        height_px: int | None = None,
        features: Mapping[str, Value] | None = None,
        trouble: PictureCheck = picture_trouble,
    ) -> "BaslerCamera":
        """The camera with this serial number."""
        return cls(
            CameraDevice(address),
            clock=clock,
            exposure_us=exposure_us,
            gain_db=gain_db,
            pixel_format=pixel_format,
            width_px=width_px,
            height_px=height_px,
            features=features,
            trouble=trouble,
        )

    @property
    def identity(self) -> Identity:
        return self._identity

    # settings

    def exposure_us(self) -> float:
        """The exposure time that the camera has."""
        with self._device_alone(1.0) as device:
            return float(device.read(feature(device, protocol.EXPOSURE_US, "exposure")))

    def set_exposure(self, exposure_us: float) -> None:
        """Set the exposure time and read it back.

        Raises:
            SetpointRefused: the camera can't expose for this time; nothing was changed.
        """
        with self._device_alone(1.0) as device:
            write_exposure(device, exposure_us)
            self._exposure_us = exposure_us

    def gain_db(self) -> float:
        """The analogue gain that the camera has.

        Raises:
            InstrumentRefused: its gain is not in dB.
        """
        with self._device_alone(1.0) as device:
            return float(device.read(feature(device, protocol.GAIN_DB, "gain in dB")))

    def set_gain(self, gain_db: float) -> None:
        """Set the analogue gain and read it back.

        Raises:
            SetpointRefused: the camera has not this gain; nothing was changed.
            InstrumentRefused: its gain is not in dB.
        """
        with self._device_alone(1.0) as device:
            write_gain(device, gain_db)
            self._gain_db = gain_db

    def _prepare(self, device: CameraDevice) -> None:
        for name, value in self._features.items():
            write_checked(device, name, value)
        for name in protocol.AUTOMATIC_FEATURES:
            if device.is_writable(name):
                write_checked(device, name, "Off")
        self._choose_format(device)
        self._choose_size(device)
        for name, entry in protocol.SOFTWARE_TRIGGER:
            write_checked(device, name, entry)
        if self._exposure_us is not None:
            write_exposure(device, self._exposure_us)
        if self._gain_db is not None:
            write_gain(device, self._gain_db)
        device.start(in_colour=self._pixel_kind != "mono")

    def _choose_format(self, device: CameraDevice) -> None:
        wanted = protocol.PIXEL_FORMATS.get(self._pixel_kind)
        if wanted is None:
            known = ", ".join(protocol.PIXEL_FORMATS)
            raise SetpointRefused(
                f"no pixel format {self._pixel_kind!r}; there are {known}", port=device.port
            )
        choices = device.choices("PixelFormat")
        name = next((name for name in wanted if name in choices), None)
        if name is None:
            raise SetpointRefused(
                f"the camera gives no {self._pixel_kind} pictures; it has {', '.join(choices)}",
                port=device.port,
                advice="Correct the pixel format in the site profile.",
            )
        write_checked(device, "PixelFormat", name)

    def _choose_size(self, device: CameraDevice) -> None:
        for name, size_px in self._size_px.items():
            if size_px is None:
                continue
            offset = {"Width": "OffsetX", "Height": "OffsetY"}[name]
            if device.is_writable(offset):
                device.write(offset, round(device.limits(offset)[0]))
            low, high = device.limits(name)
            if not low <= size_px <= high:
                raise SetpointRefused(
                    f"{name.lower()} must be {low:g} to {high:g} px, not {size_px}",
                    port=device.port,
                )
            write_checked(device, name, size_px)
            if device.is_writable(offset):
                # sensors take offsets in steps of up to 16 pixels
                device.write(offset, round(device.limits(offset)[1]) // 2 // 16 * 16)

    # pictures

    @errors_of("camera")
    def grab(self, *, deadline_s: float) -> Frame:
        """A picture whose exposure began after this call; ``at`` is when it was triggered.

        A buffer that arrives broken is passed over for a new picture.

        Raises:
            InstrumentTimeout: no picture within ``deadline_s`` (real time), waiting for another
                thread included.
            BrokenReply: only broken buffers came in that time.
            InstrumentLost: the camera is unplugged; the next call looks for it again.
            PictureRefused: the camera is frozen or dark.
        """
        if not (math.isfinite(deadline_s) and deadline_s > 0):
            raise ValueError(f"a deadline must be positive and finite, got {deadline_s}")
        ends_at_s = time.monotonic() + deadline_s
        with self._device_alone(deadline_s) as device:
            frame = self._expose(device, ends_at_s)
            trouble = self._trouble(self._before, frame)
            self._before = frame
        if trouble is not None:
            raise PictureRefused(trouble, port=self._identity.port)
        return frame

    def _expose(self, device: CameraDevice, ends_at_s: float) -> Frame:
        failures: list[str] = []
        while (left_s := ends_at_s - time.monotonic()) > 0:
            self._out_of_step = True
            if not device.trigger(left_s):
                break
            at = datetime.now(UTC)
            shot: Shot | None = device.receive(max(0.001, ends_at_s - time.monotonic()))
            if shot is None:
                break
            self._out_of_step = False
            if shot.image is not None:
                self._sequence += 1
                return Frame(image=shot.image, at=at, sequence=self._sequence)
            failures.append(shot.failure)
        if failures:
            raise BrokenReply(
                f"{len(failures)} pictures arrived broken: {failures[-1]}",
                port=device.port,
                advice="Check the camera's cable and that no other device shares its bus.",
            )
        raise InstrumentTimeout("no picture in time", port=device.port, sent="software trigger")

    @contextlib.contextmanager
    def _device_alone(self, within_s: float) -> Generator[CameraDevice]:
        if not self._lock.acquire(timeout=within_s):
            raise InstrumentTimeout(
                f"another picture kept the camera busy for {within_s:g} s",
                port=self._identity.port,
            )
        try:
            if self._closed:
                raise InstrumentLost(
                    "the camera is closed",
                    port=self._identity.port,
                    advice="Reconnect the camera.",
                )
            device = self._present_device()
            if self._out_of_step:
                # a picture of an earlier trigger may still be on its way
                device.stop()
                device.start(in_colour=self._pixel_kind != "mono")
                self._out_of_step = False
            try:
                yield device
            except InstrumentLost:
                self._let_go()
                raise
        finally:
            self._lock.release()

    def _present_device(self) -> CameraDevice:
        if self._device is not None and self._device.is_removed():
            self._let_go()
            raise InstrumentLost(
                "the camera was unplugged",
                port=self._identity.port,
                advice="Plug the camera in again; the next picture finds it by itself.",
            )
        if self._device is None:
            device = CameraDevice(self._identity.serial)
            try:
                if device.identity != self._identity:
                    raise WrongInstrument(
                        f"expected {self._identity.model} with firmware {self._identity.firmware}, "
                        f"found {device.identity.model} with {device.identity.firmware}",
                        port=device.port,
                        advice="Reconnect the camera from the station.",
                    )
                self._prepare(device)
            except BaseException:
                device.close()
                raise
            self._device = device
        return self._device

    def _let_go(self) -> None:
        device, self._device = self._device, None
        self._before = None
        self._out_of_step = False
        if device is not None:
            device.close()

    def close(self) -> None:
        """Give the camera back and refuse further calls; a ``grab`` under way gets one second."""
        locked = self._lock.acquire(timeout=1.0)
        try:
            self._closed = True
            if locked:
                self._let_go()
        finally:
            if locked:
                self._lock.release()
