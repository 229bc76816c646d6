"""What every source of pictures gives, whatever it reads them from."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from drivers.roles import Identity

Size = tuple[int | None, int | None]
"""Width and height in pixels; None where any will do."""


@dataclass(frozen=True)
class Shot:
    """One picture, uint8 of shape (h, w), and when it arrived."""

    image: NDArray[np.uint8]
    at: datetime


class Source(Protocol):
    """Pictures from one camera; used by one thread at a time."""

    port: str
    identity: Identity

    def shoot(self, ends_at_s: float) -> Shot:
        """A picture whose exposure began after this call, before ``ends_at_s`` (monotonic)."""
        ...

    def close(self) -> None: ...


def size_px_of(capture: cv2.VideoCapture) -> tuple[int, int]:
    return (
        round(capture.get(cv2.CAP_PROP_FRAME_WIDTH)),
        round(capture.get(cv2.CAP_PROP_FRAME_HEIGHT)),
    )


def size_text(size_px: Size) -> str:
    return f"{size_px[0]}x{size_px[1]} px"
