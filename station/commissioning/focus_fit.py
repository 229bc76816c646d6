"""Where a picture is sharpest, from its sharpness at several heights."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST = 7
SURE = 5.0


@dataclass(frozen=True)
class FocusFit:
    """offset_mm: where the sharpness has its maximum. model: (n,) the fitted sharpness."""

    offset_mm: float
    sigma_mm: float
    model: NDArray[np.float64]


def fit_focus(offset_mm: NDArray[np.float64], sharp: NDArray[np.float64]) -> FocusFit:
    """The vertex of a parabola through 1 / sharpness squared.

    A rim that is blurred by lens and pixel (s0) and by defocus (c dz) has the gradient energy
    E ~ (s0^2 + c^2 dz^2)^(-1/2), so that 1/E^2 is a parabola in the height.

    Raises:
        ValueError: for fewer than seven heights, no clear maximum, or one outside the heights.
    """
    if len(offset_mm) < FEWEST:
        raise ValueError(f"{len(offset_mm)} heights; at least {FEWEST} are needed")
    if not (sharp > 0).all():
        raise ValueError("a picture has no contrast at all: is the lamp on, the target in view?")
    y = (sharp.max() / sharp) ** 2
    # The error of 1/E^2 grows with it: far out counts less.
    weight = 1.0 / y
    design = np.vander(offset_mm, 3)
    a = design * weight[:, None]
    normal = a.T @ a
    values = np.linalg.solve(normal, a.T @ (y * weight))
    left = (design @ values - y) * weight
    variance = float((left**2).sum()) / (len(y) - 3)
    covariance = np.linalg.inv(normal) * variance
    curve, slope, _ = values
    if curve <= SURE * np.sqrt(covariance[0, 0]):
        raise ValueError("the sharpness has no clear maximum")
    vertex = -slope / (2 * curve)
    if not offset_mm.min() < vertex < offset_mm.max():
        raise ValueError("the sharpest picture is at the end of the range or beyond")
    gradient = np.array([slope / (2 * curve**2), -1 / (2 * curve), 0.0])
    sigma = float(np.sqrt(gradient @ covariance @ gradient))
    model = sharp.max() / np.sqrt(np.maximum(design @ values, 1e-12))
    return FocusFit(float(vertex), max(sigma, 0.005), np.asarray(model, dtype=np.float64))
