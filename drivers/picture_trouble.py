"""Pictures that no working camera takes: frozen ones and dark ones."""

from collections.abc import Callable

import numpy as np

from drivers.roles import Frame

PictureCheck = Callable[[Frame | None, Frame], str | None]
"""Says what is wrong with a frame, given the frame before it from the same camera."""

BLACK_LEVEL = 5.0
"""Mean, of 255, up to which a picture is what a covered sensor gives: its offset and its noise."""
_SAMPLE = 16


def picture_trouble(frame_before: Frame | None, frame: Frame) -> str | None:
    """What makes a frame useless for measuring, or None.

    A sensor's noise never repeats, so a frame that equals the one before bit by bit was not exposed
    anew: the camera is frozen. A frame whose mean is at the black level saw no light.
    """
    image = frame.image
    mean = float(np.mean(image[:: _SAMPLE // 4, :: _SAMPLE // 4]))
    if mean <= BLACK_LEVEL:
        return f"the picture is dark: its mean is {mean:.1f} of 255"
    if frame_before is not None and _identical(frame_before, frame):
        return (
            f"the camera is frozen: picture {frame.sequence} repeats picture "
            f"{frame_before.sequence} bit by bit"
        )
    return None


def accept_any(frame_before: Frame | None, frame: Frame) -> str | None:
    """No check: for lenses that are capped on purpose and for scenes without noise."""
    del frame_before, frame
    return None


def _identical(before: Frame, frame: Frame) -> bool:
    if before.image.shape != frame.image.shape:
        return False
    # a few rows tell two noisy pictures apart, and only a frozen camera costs the whole comparison
    if not np.array_equal(before.image[::_SAMPLE], frame.image[::_SAMPLE]):
        return False
    return np.array_equal(before.image, frame.image)
