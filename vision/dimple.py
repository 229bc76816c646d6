"""The dimple of a clear tile: the bright ring of its rim."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.camera import CameraModel
from vision.circle import fit_circle, polar
from vision.refusal import Refusal
from vision.sampling import Picture, Points

_ANGLES = 180
_SEARCH_MM = 1.0
_RIDGE_PX = 3
_RIDGE_LIMIT_DN = 40.0
_MODEL_SIGMA_MM = 0.0025
_MAX_RADIUS_ERROR = 0.12


@dataclass(frozen=True)
class Ring:
    """A ring found by its ridge: middle and radius in mm, and the middle's standard deviation."""

    centre_mm: Points
    sigma_mm: float
    radius_mm: float
    share: float


def _ridge(grey: Picture) -> Picture:
    """Brightness of each sample over what lies three samples inside and outside of it."""
    ridge = np.zeros_like(grey)
    side = np.maximum(grey[:, : -2 * _RIDGE_PX], grey[:, 2 * _RIDGE_PX :])
    ridge[:, _RIDGE_PX:-_RIDGE_PX] = np.clip(
        grey[:, _RIDGE_PX:-_RIDGE_PX] - side, 0.0, _RIDGE_LIMIT_DN
    )
    return ridge


def _voted_shift_px(direction: Points, ridge: Picture, radius_px: float, reach_px: int) -> Points:
    """Shift of the ring's middle that gathers most of the ridge; column 0 is -reach - 8."""
    shifts = np.arange(-reach_px, reach_px + 1, 3, dtype=np.float64)
    rows = np.arange(len(direction))
    last = ridge.shape[1] - 1
    votes = np.empty((len(shifts), len(shifts)))
    for k, dy in enumerate(shifts):
        along = direction[:, 0] * shifts[:, None] + direction[:, 1] * dy
        across2 = shifts[:, None] ** 2 + dy**2 - along**2
        column = np.round(reach_px + 8 + along - across2 / (2.0 * radius_px)).astype(np.int64)
        votes[k] = ridge[rows, np.clip(column, 0, last)].mean(axis=1)
    best = np.unravel_index(int(votes.argmax()), votes.shape)
    return np.array([shifts[best[1]], shifts[best[0]]])


def _ridge_places(grey: Picture) -> tuple[Points, NDArray[np.bool_]]:
    """Column of the ridge's centroid in each direction, and where there is a ridge."""
    ridge = _ridge(grey)
    at = np.argmax(ridge, axis=1)
    rows = np.arange(len(at))
    height = ridge[rows, at]
    near = np.clip(at[:, None] + np.arange(-3, 4), 0, grey.shape[1] - 1)
    values = grey[rows[:, None], near]
    values = np.maximum(values - values.min(axis=1, keepdims=True), 0.0)
    total = np.maximum(values.sum(axis=1), 1e-6)
    place = ((near * values).sum(axis=1) / total).astype(np.float64)
    return place, height > max(3.0, 0.25 * float(np.percentile(height, 80)))


def find_ring(
    picture: Picture, camera: CameraModel, *, centre_mm: Points, diameter_mm: float
) -> Ring:
    """The bright ring of ``diameter_mm`` within 1 mm of ``centre_mm``.

    The middle is voted for by 180 directions, then fitted to the centroid of the ridge in each
    of them, with outliers left out.

    Raises:
        Refusal: if there is no such ring.
    """
    px = camera.mm_per_px
    radius = diameter_mm / 2.0
    sides = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    if not camera.sees(centre_mm + (radius + _SEARCH_MM) * sides, margin_px=10).all():
        raise Refusal("dimple: it may lie outside the picture")
    reach = int(np.ceil(min(_SEARCH_MM, 0.6 * radius) / px))
    offsets = np.asarray(np.arange(-reach - 8, reach + 9) * px, dtype=np.float64)
    direction, grey = polar(picture, camera, centre_mm, np.maximum(radius + offsets, 0.0), _ANGLES)
    ridge = _ridge(np.asarray(cv2.blur(grey, (1, 3)), dtype=np.float32))
    centre = centre_mm + px * _voted_shift_px(direction, ridge, radius / px, reach)
    window = np.asarray(np.arange(-8, 9) * px, dtype=np.float64)
    size, sigma, share = radius, 0.0, 0.0
    for _ in range(2):
        direction, grey = polar(picture, camera, centre, radius + window, _ANGLES)
        place, seen = _ridge_places(np.asarray(cv2.blur(grey, (1, 3)), dtype=np.float32))
        if seen.mean() < 0.5:
            raise Refusal(
                f"dimple: its ring is seen in only {100 * seen.mean():.0f} % of all directions"
            )
        step = fit_circle(direction, (place - 8.0) * px, seen, floor_mm=0.02 * px)
        if step is None:
            raise Refusal("dimple: what is there is not a ring, its directions disagree")
        if step.rms_mm > 1.5 * px:
            raise Refusal(f"dimple: its ring is not round, scatter {1000 * step.rms_mm:.0f} um")
        centre = centre + step.move_mm
        size, sigma, share = radius + step.grow_mm, step.sigma_mm, step.share
    if abs(size - radius) > _MAX_RADIUS_ERROR * radius:
        raise Refusal(
            f"dimple: the ring's diameter is {2 * size:.2f} mm instead of {diameter_mm:.2f} mm"
        )
    return Ring(centre, float(np.hypot(sigma, _MODEL_SIGMA_MM)), size, share)
