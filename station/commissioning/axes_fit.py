"""The machine's axes as the camera sees them: how the target's picture moves with the head."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEWEST_PLACES = 5


@dataclass(frozen=True)
class AxesFit:
    """Camera and axes of the gantry.

    rotation_rad: of the camera, from the gantry's x axis to the picture's u axis,
    counter-clockwise; the mean of what x and y say. scale_x, scale_y: mm that the target measures
    per mm that the machine was told. skew_rad: the angle between x and y beyond a right one.
    residual_mm: RMS of what is left over per axis: how well the machine goes where it is told.
    """

    rotation_rad: float
    rotation_sigma_rad: float
    scale_x: float
    scale_y: float
    scale_sigma: float
    skew_rad: float
    skew_sigma_rad: float
    residual_mm: float


def fit_axes(head_mm: NDArray[np.float64], shift_mm: NDArray[np.float64]) -> AxesFit:
    """Least squares of shift = A - M head, without any model of the 2 x 2 matrix M.

    The columns of M are what the picture sees of one mm in x and in y: their lengths are the
    scales, their directions the rotation (with the opposite sign) and the skew.

    Args:
        head_mm: (n, 2) places that the head was told, approached from one side.
        shift_mm: (n, 2) of the target's origin in the axes of the picture.

    Raises:
        ValueError: for fewer than five places, or places on one line.
    """
    n = len(head_mm)
    if n < FEWEST_PLACES:
        raise ValueError(f"{n} places; at least {FEWEST_PLACES} are needed")
    away = head_mm - head_mm.mean(axis=0)
    normal = away.T @ away
    if np.linalg.cond(normal) > 1e4:
        raise ValueError("the places lie on one line")
    inverse = np.linalg.inv(normal)
    moved = shift_mm - shift_mm.mean(axis=0)
    matrix = -(inverse @ away.T @ moved).T
    left = moved + away @ matrix.T
    variance = float((left**2).sum()) / (2 * n - 6)
    sigma = np.sqrt(variance * np.diag(inverse))
    along_x, along_y = matrix[:, 0], matrix[:, 1]
    scale_x, scale_y = float(np.hypot(*along_x)), float(np.hypot(*along_y))
    from_x = -math.atan2(along_x[1], along_x[0])
    from_y = math.atan2(along_y[0], along_y[1])
    return AxesFit(
        rotation_rad=(from_x + from_y) / 2,
        rotation_sigma_rad=float(np.hypot(*sigma)) / 2,
        scale_x=scale_x,
        scale_y=scale_y,
        scale_sigma=float(sigma.max()),
        skew_rad=from_x - from_y,
        skew_sigma_rad=float(np.hypot(*sigma)),
        residual_mm=math.sqrt(variance),
    )
