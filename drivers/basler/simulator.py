"""The vendor's own emulated cameras, set up to show our pictures.

The cameras live inside the vendor's library, in this process: the driver finds and drives them like
real ones. What they show is a folder of pictures, replayed in the order of the names; the faults
are the vendor's own as well.
"""

import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.basler import protocol
from drivers.basler.device import Value
from drivers.basler.driver import BaslerCamera


def announce_emulated_cameras(count: int) -> list[str]:
    """Let the vendor's library emulate ``count`` cameras; returns their serial numbers.

    Raises:
        RuntimeError: the library was loaded before, and it looks only once.
    """
    wanted = str(count)
    if os.environ.get(protocol.EMULATION_VARIABLE) != wanted:
        if "pypylon.pylon" in sys.modules:
            raise RuntimeError("the library of Basler cameras is loaded already")
        os.environ[protocol.EMULATION_VARIABLE] = wanted
    return [protocol.EMULATED_SERIAL.format(index=index) for index in range(count)]


def store_frames(folder: Path, images: Iterable[NDArray[np.uint8]]) -> None:
    """Write pictures into a folder, to be shown in this order."""
    for index, image in enumerate(images):
        path = folder / f"{index:06d}.png"
        if not cv2.imwrite(str(path), image):
            raise OSError(f"can't write {path}")


def replay_features(folder: Path) -> dict[str, Value]:
    """The features that let an emulated camera show the pictures of ``folder``, again and again."""
    return {"TestImageSelector": "Off", "ImageFilename": str(folder), "ImageFileMode": "On"}


class EmulatedFaults:
    """Faults of the emulated camera that a driver has open."""

    def __init__(self, camera: BaslerCamera) -> None:
        self._camera = camera

    def _device(self) -> Any:
        device = self._camera._device
        if device is None:
            raise RuntimeError("the camera is not open")
        return device

    def break_pictures(self, count: int) -> None:
        """Let the next ``count`` buffers fail."""
        device = self._device()
        device.write("ForceFailedBufferCount", count)
        device.execute("ForceFailedBuffer")

    def unplug(self) -> None:
        """Tell the library that the camera was pulled out; it can be found again at once."""
        self._device().execute("FirePnPCallback")
