"""Where the board lies: its fiducials seen by the camera give position and rotation."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class BoardPose:
    """Board frame in the gantry frame: `to_gantry(p) = R(rotation) p + (x, y)`.

    `residual_mm` is the RMS distance of the fiducials from the fitted place, `sigma_mm` the error
    of the place of a point on the board that follows from it.
    """

    x_mm: float
    y_mm: float
    rotation_rad: float
    residual_mm: float
    sigma_mm: float

    def to_gantry(self, x_mm: float, y_mm: float) -> tuple[float, float]:
        c, s = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        return self.x_mm + c * x_mm - s * y_mm, self.y_mm + s * x_mm + c * y_mm

    def to_board_axes(self, dx_mm: float, dy_mm: float) -> tuple[float, float]:
        """A difference of gantry positions along the axes of the board."""
        c, s = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        return c * dx_mm + s * dy_mm, -s * dx_mm + c * dy_mm


def fit_pose(
    board_mm: NDArray[np.float64], gantry_mm: NDArray[np.float64], sigma_mm: NDArray[np.float64]
) -> BoardPose:
    """Least-squares rotation and shift from points (n, 2) on the board to the gantry frame.

    The rotation is the orthogonal Procrustes solution without scale (Kabsch 1976). `sigma_mm` (n,)
    are the errors of the seen points. Raises ValueError for fewer than two points.
    """
    if len(board_mm) < 2:
        raise ValueError(f"{len(board_mm)} fiducials seen; at least two are needed")
    board_centre, gantry_centre = board_mm.mean(axis=0), gantry_mm.mean(axis=0)
    b, g = board_mm - board_centre, gantry_mm - gantry_centre
    rotation = math.atan2(
        float(np.sum(b[:, 0] * g[:, 1] - b[:, 1] * g[:, 0])), float(np.sum(b * g))
    )
    c, s = math.cos(rotation), math.sin(rotation)
    turned = board_centre @ np.array([[c, s], [-s, c]])
    x_mm, y_mm = gantry_centre - turned
    left = g - b @ np.array([[c, s], [-s, c]])
    residual = float(np.sqrt(np.mean(np.sum(left**2, axis=1))))
    seen = float(np.sqrt(np.mean(sigma_mm**2)))
    return BoardPose(
        float(x_mm), float(y_mm), rotation, residual, max(residual, seen) / math.sqrt(len(b))
    )
