"""Where a pixel looks: a camera above a plane, in the axes of the gantry."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

_NEWTON_STEPS = 6


@dataclass(frozen=True)
class CameraModel:
    """A downward camera with square pixels and one radial distortion term, valid for one plane.

    Pixel coordinates are (u, v), u to the right and v downwards, and the middle of the first
    pixel is (0, 0). Millimetres are relative to the point under the optical axis, x and y
    along the gantry's axes. With r the true radius in mm and r' the radius that the picture
    shows (pixels from the principal point times ``mm_per_px``), r' = r (1 + k1 r^2); this is
    the first term of D. C. Brown, "Close-range camera calibration", Photogrammetric
    Engineering 37 (1971) 855.

    Attributes:
        width_px: picture width.
        height_px: picture height.
        mm_per_px: scale at the optical axis.
        rotation_rad: angle from the gantry's x axis to the picture's u axis, counter-clockwise.
        k1: radial distortion in 1/mm^2; negative is barrel.
        principal_px: (u, v) of the optical axis; the picture's middle when None.
        mm_per_px_sigma_rel: relative uncertainty of ``mm_per_px`` from the calibration.

    Raises:
        ValueError: for sizes or a scale that are not positive, or a distortion so strong that
            two points of the plane would share a pixel inside the picture.
    """

    width_px: int
    height_px: int
    mm_per_px: float
    rotation_rad: float = 0.0
    k1: float = 0.0
    principal_px: tuple[float, float] | None = None
    mm_per_px_sigma_rel: float = 5e-5

    def __post_init__(self) -> None:
        if self.width_px < 1 or self.height_px < 1:
            raise ValueError(f"picture of {self.width_px} x {self.height_px} px has no pixels")
        if not (np.isfinite(self.mm_per_px) and self.mm_per_px > 0):
            raise ValueError(f"mm_per_px must be positive, got {self.mm_per_px}")
        if not (np.isfinite(self.mm_per_px_sigma_rel) and self.mm_per_px_sigma_rel >= 0):
            raise ValueError(f"mm_per_px_sigma_rel must be >= 0, got {self.mm_per_px_sigma_rel}")
        if not np.isfinite(self.k1):
            raise ValueError(f"k1 must be finite, got {self.k1}")
        # r (1 + k1 r^2) turns over at 2/3 of its radius r = 1 / sqrt(-3 k1).
        if -6.75 * self.k1 * self._corner_radius_mm() ** 2 >= 1.0:
            raise ValueError(f"k1 = {self.k1} 1/mm^2 folds the picture over at its corners")

    @property
    def centre_px(self) -> tuple[float, float]:
        """(u, v) under the optical axis."""
        if self.principal_px is not None:
            return self.principal_px
        return (self.width_px - 1) / 2.0, (self.height_px - 1) / 2.0

    def _corner_radius_mm(self) -> float:
        u0, v0 = self.centre_px
        du = max(u0, self.width_px - 1 - u0)
        dv = max(v0, self.height_px - 1 - v0)
        return float(np.hypot(du, dv) * self.mm_per_px)

    def to_mm(self, px: ArrayLike) -> NDArray[np.float64]:
        """Points of the plane, shape (n, 2) in mm, seen at the pixels ``px`` of shape (n, 2)."""
        points = np.asarray(px, dtype=np.float64).reshape(-1, 2)
        u0, v0 = self.centre_px
        x = (points[:, 0] - u0) * self.mm_per_px
        y = (v0 - points[:, 1]) * self.mm_per_px
        if self.k1 != 0.0:
            seen = np.hypot(x, y)
            radius = seen.copy()
            for _ in range(_NEWTON_STEPS):
                square = radius * radius
                slope = 1.0 + 3.0 * self.k1 * square
                radius -= (radius * (1.0 + self.k1 * square) - seen) / slope
            factor = np.divide(radius, seen, out=np.ones_like(seen), where=seen > 0)
            x, y = x * factor, y * factor
        cos, sin = np.cos(self.rotation_rad), np.sin(self.rotation_rad)
        return np.column_stack((cos * x - sin * y, sin * x + cos * y))

    def to_px(self, mm: ArrayLike) -> NDArray[np.float64]:
        """Pixels, shape (n, 2), where the points ``mm`` of the plane, shape (n, 2), are seen."""
        points = np.asarray(mm, dtype=np.float64).reshape(-1, 2)
        cos, sin = np.cos(self.rotation_rad), np.sin(self.rotation_rad)
        x = cos * points[:, 0] + sin * points[:, 1]
        y = cos * points[:, 1] - sin * points[:, 0]
        if self.k1 != 0.0:
            factor = 1.0 + self.k1 * (x * x + y * y)
            x, y = x * factor, y * factor
        u0, v0 = self.centre_px
        return np.column_stack((u0 + x / self.mm_per_px, v0 - y / self.mm_per_px))

    def sees(self, mm: ArrayLike, *, margin_px: float = 0.0) -> NDArray[np.bool_]:
        """Which of the points ``mm`` (n, 2) lie inside the picture by at least ``margin_px``."""
        px = self.to_px(mm)
        low = margin_px
        return np.asarray(
            (px[:, 0] >= low)
            & (px[:, 1] >= low)
            & (px[:, 0] <= self.width_px - 1 - margin_px)
            & (px[:, 1] <= self.height_px - 1 - margin_px)
        )


@lru_cache(maxsize=4)
def pixel_grid_mm(
    camera: CameraModel,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """x and y in mm seen by every pixel: two read-only arrays of shape (height, width)."""
    v, u = np.mgrid[0 : camera.height_px, 0 : camera.width_px]
    mm = camera.to_mm(np.column_stack((u.ravel(), v.ravel())))
    shape = (camera.height_px, camera.width_px)
    x = np.ascontiguousarray(mm[:, 0].reshape(shape), dtype=np.float32)
    y = np.ascontiguousarray(mm[:, 1].reshape(shape), dtype=np.float32)
    x.setflags(write=False)
    y.setflags(write=False)
    return x, y
