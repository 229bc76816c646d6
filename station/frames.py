"""What the pictures of a camera say about the camera itself."""

import threading
import zlib

import numpy as np
from numpy.typing import NDArray

from drivers.roles import Frame

ALIKE = 3
"""So many equal pictures in a row are no chance: a sensor's noise differs from one to the next."""
EVERY = 8


class FrameWatch:
    """Sees every picture that the line takes. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: tuple[int, tuple[int, ...]] | None = None
        self._alike = 1
        self._level: float | None = None

    def saw(self, frame: Frame) -> None:
        image: NDArray[np.uint8] = np.ascontiguousarray(frame.image)
        mark = (zlib.crc32(image.data), image.shape)
        level = float(image[::EVERY, ::EVERY].mean())
        with self._lock:
            self._alike = self._alike + 1 if mark == self._last else 1
            self._last = mark
            self._level = level

    @property
    def frozen(self) -> bool:
        """Whether the last pictures are equal to the last pixel: the camera repeats itself."""
        return self._alike >= ALIKE

    @property
    def level(self) -> float | None:
        """Mean grey value (0 to 255) of the last picture; None before the first."""
        return self._level
