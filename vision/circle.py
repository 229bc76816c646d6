"""Round things: sampling around a middle, and a robust circle through what was found there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vision.camera import CameraModel
from vision.sampling import Picture, Points, grey_at

_ROUNDS = 5


@dataclass(frozen=True)
class CircleStep:
    """Correction to an assumed circle: shift of its middle and growth of its radius in mm.

    ``sigma_mm`` is the shift's standard deviation along one axis, ``rms_mm`` the scatter of the
    accepted directions and ``share`` how many of all directions these are.
    """

    move_mm: Points
    grow_mm: float
    sigma_mm: float
    rms_mm: float
    share: float


def polar(
    picture: Picture, camera: CameraModel, centre_mm: Points, radius_mm: Points, n_angles: int
) -> tuple[Points, Picture]:
    """Directions (n, 2) and grey values (n, m) at the radii (m,) around a middle."""
    angle = np.arange(n_angles) * (2.0 * np.pi / n_angles)
    direction = np.column_stack((np.cos(angle), np.sin(angle)))
    points = centre_mm + radius_mm[None, :, None] * direction[:, None, :]
    grey = grey_at(picture, camera, points)
    return direction, np.nan_to_num(grey, nan=0.0, copy=False)


def fit_circle(
    direction: Points, offset_mm: Points, seen: NDArray[np.bool_], *, floor_mm: float
) -> CircleStep | None:
    """Least squares of offset = move . direction + grow, without outliers beyond 3 sigma.

    ``offset_mm`` (n,) is how far beyond the assumed circle it was seen in each direction; None
    if fewer than 40 % of the directions agree. ``floor_mm`` is the least scatter to assume.
    """
    design = np.column_stack((direction, np.ones(len(direction))))
    use = seen.copy()
    solution = np.zeros(3)
    residual: Points = offset_mm
    for _ in range(_ROUNDS):
        if use.mean() < 0.4:
            return None
        used = design[use]
        solution = np.asarray(np.linalg.solve(used.T @ used, used.T @ offset_mm[use]))
        residual = np.asarray(offset_mm - design @ solution, dtype=np.float64)
        scale = max(1.4826 * float(np.median(np.abs(residual[use]))), floor_mm)
        use = seen & (np.abs(residual) < 3.0 * scale)
    if use.mean() < 0.4:
        return None
    rms = float(np.sqrt((residual[use] ** 2).mean()))
    # Neighbouring directions share pixels: count every third as independent.
    sigma = float(rms * np.sqrt(2.0 / (use.sum() / 3.0)))
    return CircleStep(solution[:2], float(solution[2]), sigma, rms, float(use.mean()))
