"""One opened camera behind the vendor's library: features, triggers and buffers.

The library is imported here and nowhere else, when the first camera is looked for.
"""

import contextlib
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.basler import protocol
from drivers.errors import InstrumentError, InstrumentLost, SetpointRefused
from drivers.roles import Identity

Value = float | int | bool | str
_LOOK_S = 0.0005


@dataclass(frozen=True)
class Shot:
    """What came after a trigger: a picture, or why its buffer failed."""

    image: NDArray[np.uint8] | None
    failure: str = ""


def vendor_library(port: str) -> tuple[Any, Any]:
    """The modules ``pylon`` and ``genicam``.

    Raises:
        InstrumentLost: the library is not installed; the message names the extra.
    """
    try:
        from pypylon import genicam, pylon
    except ImportError as error:
        raise InstrumentLost(
            f"the library of Basler cameras is missing: {error}",
            port=port,
            advice="Install the extra: pip install 'tessera-qc[cameras]'.",
        ) from error
    return pylon, genicam


class CameraDevice:
    """A camera of this computer, found by its serial number and opened.

    ``serial`` may be empty when there is only one camera.

    Raises:
        InstrumentLost: no such camera, or another program has it.
    """

    def __init__(self, serial: str) -> None:
        self.port = serial or "any Basler camera"
        self._pylon, self._genicam = vendor_library(self.port)
        self._vendor_error: type[Exception] = self._genicam.GenericException
        with self._translated("looking for cameras"):
            factory = self._pylon.TlFactory.GetInstance()
            found = {str(info.GetSerialNumber()): info for info in factory.EnumerateDevices()}
        chosen = self._chosen(serial, found)
        self.port = chosen
        try:
            self._camera = self._pylon.InstantCamera(factory.CreateDevice(found[chosen]))
            self._camera.Open()
        except self._vendor_error as error:
            raise InstrumentLost(
                f"can't open the camera: {_first_line(error)}",
                port=self.port,
                advice="Close other programs that use this camera, then reconnect.",
            ) from error
        with self._translated("asking who it is"):
            self._nodes = self._camera.GetNodeMap()
            info = self._camera.GetDeviceInfo()
            self.identity = Identity(
                maker=str(info.GetVendorName()),
                model=str(info.GetModelName()),
                serial=str(info.GetSerialNumber()),
                firmware=str(self.read(self.name_of(protocol.FIRMWARE) or "DeviceVersion")),
                port=self.port,
            )
            self._to_bgr = self._pylon.ImageFormatConverter()
            self._to_bgr.OutputPixelFormat = self._pylon.PixelType_BGR8packed
        self._in_colour = False

    def _chosen(self, serial: str, found: dict[str, Any]) -> str:
        here = ", ".join(sorted(found)) or "none"
        if not serial and len(found) == 1:
            return next(iter(found))
        if serial in found:
            return serial
        what = f"no camera with the serial number {serial}" if serial else "no serial number given"
        raise InstrumentLost(
            f"{what}; connected are: {here}",
            port=self.port,
            advice="Check cable and power, and the serial number in the site profile.",
        )

    # features

    def name_of(self, alternatives: Sequence[str]) -> str | None:
        """The first feature of ``alternatives`` that this camera has and lets be read."""
        return next((name for name in alternatives if self._is_readable(name)), None)

    def _is_readable(self, name: str) -> bool:
        return bool(self._genicam.IsReadable(self._nodes.GetNode(name)))

    def is_writable(self, name: str) -> bool:
        return bool(self._genicam.IsWritable(self._nodes.GetNode(name)))

    def limits(self, name: str) -> tuple[float, float]:
        """Smallest and largest value that the camera takes now."""
        with self._translated(f"reading the limits of {name}"):
            node = self._nodes.GetNode(name)
            return float(node.GetMin()), float(node.GetMax())

    def choices(self, name: str) -> tuple[str, ...]:
        """The entries of an enumeration feature that can be chosen now."""
        with self._translated(f"reading the choices of {name}"):
            return tuple(str(entry) for entry in self._nodes.GetNode(name).GetSymbolics())

    def read(self, name: str) -> Value:
        with self._translated(f"reading {name}"):
            value: Value = self._nodes.GetNode(name).GetValue()
            return value

    def write(self, name: str, value: Value) -> None:
        """Write a feature.

        Raises:
            SetpointRefused: the camera has no such feature, or not this value.
        """
        if not self.is_writable(name):
            raise SetpointRefused(
                f"the camera {self.identity.model} has no feature {name} that can be set",
                port=self.port,
                advice="Correct the feature in the site profile.",
            )
        try:
            self._nodes.GetNode(name).SetValue(value)
        except (self._vendor_error, TypeError, ValueError) as error:
            if self.is_removed():
                raise self._lost(f"writing {name}") from error
            raise SetpointRefused(
                f"the camera does not take {value!r} for {name}: {_first_line(error)}",
                port=self.port,
                sent=f"{name}={value}",
            ) from error

    def execute(self, name: str) -> None:
        """Execute a command feature."""
        with self._translated(f"executing {name}"):
            self._nodes.GetNode(name).Execute()

    # pictures

    def start(self, *, in_colour: bool) -> None:
        """Arm the camera: every trigger gives one buffer, in order."""
        self._in_colour = in_colour
        with self._translated("starting"):
            self._camera.StartGrabbing(self._pylon.GrabStrategy_OneByOne)

    def stop(self) -> None:
        """Disarm the camera; what it had exposed before is thrown away."""
        with self._translated("stopping"):
            self._camera.StopGrabbing()

    # The vendor's waits end by the signal SIGALRM of the process: where somebody else handles it,
    # one that runs out fires this handler or never returns. Looking without waiting needs no signal
    # and costs 5 us a time.

    def trigger(self, within_s: float) -> bool:
        """Expose one picture as soon as the camera is ready; False when it is not in time."""
        ends_at_s = time.monotonic() + within_s
        with self._translated("waiting for the trigger"):
            while not self._camera.WaitForFrameTriggerReady(0, self._pylon.TimeoutHandling_Return):
                if time.monotonic() >= ends_at_s:
                    return False
                time.sleep(_LOOK_S)
            self._camera.ExecuteSoftwareTrigger()
        return True

    def receive(self, within_s: float) -> Shot | None:
        """The next buffer; None when none comes in time."""
        ends_at_s = time.monotonic() + within_s
        with self._translated("waiting for a picture"):
            while True:
                result = self._camera.RetrieveResult(0, self._pylon.TimeoutHandling_Return)
                if result.IsValid():
                    break
                if time.monotonic() >= ends_at_s:
                    return None
                time.sleep(_LOOK_S)
            try:
                if not result.GrabSucceeded():
                    return Shot(None, str(result.ErrorDescription) or f"0x{result.ErrorCode:08X}")
                if self._in_colour:
                    return Shot(np.array(self._to_bgr.Convert(result).GetArray(), np.uint8))
                return Shot(np.array(result.GetArray(), np.uint8))
            finally:
                result.Release()

    def is_removed(self) -> bool:
        return bool(self._camera.IsCameraDeviceRemoved())

    def close(self) -> None:
        """Give the camera back; one that is gone already is let go."""
        with contextlib.suppress(self._vendor_error):
            self._camera.StopGrabbing()
        with contextlib.suppress(self._vendor_error):
            self._camera.Close()
        with contextlib.suppress(self._vendor_error):
            self._camera.DestroyDevice()

    @contextlib.contextmanager
    def _translated(self, doing: str) -> Generator[None]:
        try:
            yield
        except self._vendor_error as error:
            camera = getattr(self, "_camera", None)
            if camera is not None and camera.IsCameraDeviceRemoved():
                raise self._lost(doing) from error
            raise InstrumentError(
                f"the camera failed while {doing}: {_first_line(error)}", port=self.port
            ) from error

    def _lost(self, doing: str) -> InstrumentLost:
        return InstrumentLost(
            f"the camera was unplugged while {doing}",
            port=self.port,
            advice="Plug the camera in again; the next picture finds it by itself.",
        )


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].split(" : ")[0]
