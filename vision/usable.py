"""Is a picture good enough to measure in: lit, sharp, not saturated, and new."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

DARK_DN = 14.0
SATURATED_DN = 254
SATURATED_SHARE = 0.02
FLAT_DN = 4.0
STRUCTURE_DN = 25.0
BLURRED_PER_PX = 0.10
_STEEP_SHARE = 2e-4


@dataclass(frozen=True)
class Usable:
    """What a picture is good for.

    Attributes:
        ok: no reason against measuring in it.
        reasons: what is wrong, in words for an operator.
        sharpness: steepest edges relative to the picture's contrast, in 1/px; about
            0.4 / (blur in px) for a clean edge. None where there is no edge to judge by.
        saturation: share of pixels at the top of the scale.
        contrast: spread of the grey values with the noise averaged out, in grey values.
    """

    ok: bool
    reasons: tuple[str, ...]
    sharpness: float | None
    saturation: float
    contrast: float


def picture_usable(
    image: NDArray[np.uint8], *, previous: NDArray[np.uint8] | None = None
) -> Usable:
    """Judge a grey picture (h, w) of 8 bits; ``previous`` is the one before it, if any.

    A sensor's noise never repeats, so a picture equal to the previous one was not taken anew.

    Raises:
        ValueError: for anything but a two-dimensional uint8 array of at least 64 x 64 pixels.
    """
    if image.ndim != 2 or image.dtype != np.uint8 or min(image.shape) < 64:
        raise ValueError(f"expected uint8 (h, w) of 64 px or more: {image.dtype} {image.shape}")
    reasons = []
    coarse = cv2.blur(image[::4, ::4].astype(np.float32), (5, 5))
    low, high = (float(v) for v in np.percentile(coarse, [0.5, 99.5]))
    contrast = high - low
    saturation = float((image[::2, ::2] >= SATURATED_DN).mean())
    sharpness = None
    if high < DARK_DN:
        reasons.append(f"dark: the brightest parts reach only {high:.0f} of 255; is the lamp on?")
    elif contrast < FLAT_DN:
        reasons.append(f"flat: grey values spread over only {contrast:.1f}; is the lens covered?")
    if saturation > SATURATED_SHARE:
        reasons.append(
            f"saturated: {100 * saturation:.1f} % of the pixels are at the top of the scale; "
            "dim the lamp or shorten the exposure"
        )
    if contrast >= STRUCTURE_DN:
        sharpness = _sharpness(image, contrast)
        if sharpness < BLURRED_PER_PX:
            reasons.append(
                f"blurred: the steepest edges rise over about {1.0 / sharpness:.0f} px; "
                "check the focus and that the gantry stood still"
            )
    if previous is not None and np.array_equal(image, previous):
        reasons.append("frozen: the same picture as before; the camera delivers no new ones")
    return Usable(not reasons, tuple(reasons), sharpness, saturation, contrast)


def _sharpness(image: NDArray[np.uint8], contrast: float) -> float:
    steps = []
    for turned in (image, image.T):
        rows = turned[: turned.shape[0] // 8 * 8]
        four = np.zeros(rows[::8].shape, dtype=np.int16)
        for first in range(4):
            four += rows[first::8]
        slope = np.abs(four[:, 2:] - four[:, :-2]).ravel()
        rank = slope.size - max(int(_STEEP_SHARE * slope.size), 4)
        steps.append(float(np.partition(slope, rank)[rank]) / 8.0)
    return max(*steps, 0.5) / contrast
