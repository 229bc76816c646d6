"""The dimple of a clear tile: the bright ring of its rim."""

from dataclasses import dataclass

import cv2
import numpy as np

from vision.camera import CameraModel
from vision.outline import Picture, Points

_ANGLES = 180
_SEARCH_MM = 1.0
_RIDGE_PX = 3
_MODEL_SIGMA_MM = 0.004


@dataclass(frozen=True)
class Ring:
    """A ring found by its ridge: middle and radius in mm with their standard deviations."""

    centre_mm: Points
    sigma_mm: float
    radius_mm: float
    share: float


def _polar(
    picture: Picture, camera: CameraModel, centre: Points, radius_mm: Points
) -> tuple[Points, Picture]:
    angle = np.arange(_ANGLES) * (2.0 * np.pi / _ANGLES)
    direction = np.column_stack((np.cos(angle), np.sin(angle)))
    points = centre + radius_mm[None, :, None] * direction[:, None, :]
    px = camera.to_px(points.reshape(-1, 2)).astype(np.float32).reshape(_ANGLES, -1, 2)
    grey = cv2.remap(picture, px, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return direction, np.asarray(grey, dtype=np.float32)


def _ridge(grey: Picture) -> Picture:
    """Brightness of each sample over what lies three samples inside and outside of it."""
    ridge = np.zeros_like(grey)
    side = np.maximum(grey[:, : -2 * _RIDGE_PX], grey[:, 2 * _RIDGE_PX :])
    ridge[:, _RIDGE_PX:-_RIDGE_PX] = np.clip(grey[:, _RIDGE_PX:-_RIDGE_PX] - side, 0.0, 40.0)
    return ridge


def _vote(direction: Points, ridge: Picture, radius_px: float, n_radii: int) -> Points:
    """Shift in pixels of the ring's middle that gathers most of the ridge."""
    reach = (n_radii - 1) // 2 - 4
    votes = []
    shifts = np.arange(-reach, reach + 1, 2)
    middle = (n_radii - 1) / 2.0
    rows = np.arange(_ANGLES)
    for dy in shifts:
        along = direction[:, 0][None, :] * shifts[:, None] + direction[:, 1] * dy
        across2 = shifts[:, None] ** 2 + dy**2 - along**2
        column = middle + along - across2 / (2.0 * radius_px)
        index = np.clip(np.round(column).astype(np.int64), 0, n_radii - 1)
        votes.append(ridge[rows[None, :], index].mean(axis=1))
    best = np.unravel_index(int(np.argmax(votes)), (len(shifts), len(shifts)))
    return np.array([shifts[best[1]], shifts[best[0]]], dtype=np.float64)


def find_ring(
    picture: Picture, camera: CameraModel, *, centre_mm: Points, diameter_mm: float
) -> Ring | str:
    """The bright ring of ``diameter_mm`` near ``centre_mm``, or the reason why there is none.

    The middle is voted for by all directions, then fitted to the ridge's centroid in each of
    180 directions with outliers left out.
    """
    px = camera.mm_per_px
    radius = diameter_mm / 2.0
    reach = int(np.ceil(_SEARCH_MM / px)) + 8
    offsets = np.arange(-reach, reach + 1) * px
    offsets = offsets[offsets > -radius + 2 * px]
    n_radii = 2 * (len(offsets) // 2) + 1 if len(offsets) % 2 else len(offsets) - 1
    offsets = offsets[-n_radii:]
    if not camera.sees(centre_mm + np.array([[radius, 0], [-radius, 0], [0, radius], [0, -radius]]),
                       margin_px=4).all():  # fmt: skip
        return "the dimple lies outside the picture"
    middle_mm = float(offsets[(n_radii - 1) // 2])
    direction, grey = _polar(picture, camera, centre_mm, radius + offsets)
    ridge = _ridge(cv2.blur(grey, (1, 3)))
    shift = _vote(direction, ridge, radius / px, n_radii)
    centre = centre_mm + shift * px
    del middle_mm
    found = None
    window = np.arange(-8, 9) * px
    for _ in range(3):
        direction, grey = _polar(picture, camera, centre, radius + window)
        fit = _fit_ring(direction, grey, px)
        if isinstance(fit, str):
            return fit
        move, grow, sigma, share = fit
        centre = centre + move
        found = Ring(centre, float(np.hypot(sigma, _MODEL_SIGMA_MM)), radius + grow, share)
    assert found is not None
    return found


def _fit_ring(
    direction: Points, grey: Picture, px: float
) -> tuple[Points, float, float, float] | str:
    smooth = cv2.blur(grey, (1, 3), borderType=cv2.BORDER_REPLICATE)
    ridge = _ridge(smooth)
    at = np.argmax(ridge, axis=1)
    rows = np.arange(len(at))
    height = ridge[rows, at]
    near = np.clip(at[:, None] + np.arange(-3, 4), 0, grey.shape[1] - 1)
    values = grey[rows[:, None], near]
    values = np.maximum(values - values.min(axis=1, keepdims=True), 0.0)
    place = ((near * values).sum(axis=1) / np.maximum(values.sum(axis=1), 1e-6)).astype(np.float64)
    offset = (place - (grey.shape[1] - 1) / 2.0) * px
    seen = height > max(3.0, 0.25 * float(np.percentile(height, 80)))
    if seen.mean() < 0.5:
        return f"dimple ring seen in only {100 * seen.mean():.0f} % of its directions"
    design = np.column_stack((direction, np.ones(len(direction))))
    use = seen.copy()
    for _ in range(6):
        solution, *_ = np.linalg.lstsq(design[use], offset[use], rcond=None)
        residual = offset - design @ solution
        scale = max(1.4826 * float(np.median(np.abs(residual[use]))), 0.02 * px)
        use = seen & (np.abs(residual) < 3.0 * scale)
        if use.mean() < 0.4:
            return "dimple ring is not round: its directions disagree"
    rms = float(np.sqrt((residual[use] ** 2).mean()))
    if rms > 1.5 * px:
        return f"dimple ring is not round: scatter {1000 * rms:.0f} um"
    # Neighbouring directions overlap in the picture's pixels, so count every third.
    sigma = rms * np.sqrt(2.0 / (use.sum() / 3.0))
    return solution[:2], float(solution[2]), float(sigma), float(use.mean())
