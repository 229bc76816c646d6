"""SiPMs and fiducials on a board: where their middles are."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vision.camera import CameraModel
from vision.circle import fit_circle, polar
from vision.edges import fit_edge
from vision.outline import Picture, Points, corners_of, edge_frames
from vision.usable import picture_usable

SEARCH_MM = 1.5
_MIN_MATCH = 0.6
_RIVAL = 0.92
_FRAME_MM = 0.3
_SIPM_SIZE_ERROR_MM = 0.15
_SIPM_MARGIN_MM = 0.2
_FIDUCIAL_SIZE_ERROR = 0.12
_ANGLES = 120
_MODEL_SIGMA_MM = 0.002


@dataclass(frozen=True)
class PointMeasurement:
    """A middle relative to the optical axis, in gantry axes, with its sigma along one axis.

    Where ``found`` is False the numbers are None and ``reasons`` says why. ``size_mm`` is the
    measured side of a SiPM's active area or diameter of a fiducial.
    """

    found: bool
    x_mm: float | None = None
    y_mm: float | None = None
    sigma_mm: float | None = None
    size_mm: float | None = None
    rotation_rad: float | None = None
    reasons: tuple[str, ...] = ()


def _refused(*reasons: str) -> PointMeasurement:
    return PointMeasurement(False, reasons=reasons)


def _checked_picture(image: NDArray[np.uint8], camera: CameraModel) -> tuple[str, ...]:
    if image.shape != (camera.height_px, camera.width_px):
        raise ValueError(
            f"picture {image.shape} is not the camera's {(camera.height_px, camera.width_px)}"
        )
    return picture_usable(image).reasons


def _flat_patch(
    picture: Picture, camera: CameraModel, centre_mm: Points, half_mm: float
) -> Picture | None:
    """A square of the plane at the camera's scale, along the gantry's axes, y downwards."""
    px = camera.mm_per_px
    half = int(np.ceil(half_mm / px))
    steps = np.arange(-half, half + 1) * px
    points = np.stack(np.meshgrid(steps, -steps), axis=-1).reshape(-1, 2) + centre_mm
    if not camera.sees(points[[0, 2 * half, -2 * half - 1, -1]]).all():
        return None
    at = camera.to_px(points).astype(np.float32).reshape(2 * half + 1, 2 * half + 1, 2)
    return np.asarray(cv2.remap(picture, at, None, cv2.INTER_LINEAR), dtype=np.float32)


def _matched(patch: Picture, template: Picture, px: float, what: str) -> tuple[Points, float] | str:
    """Place of the template relative to the patch's middle in mm and its correlation."""
    score = cv2.matchTemplate(patch, template, cv2.TM_CCOEFF_NORMED)
    row, column = np.unravel_index(int(score.argmax()), score.shape)
    best = float(score[row, column])
    if best < _MIN_MATCH:
        return f"no {what} here: best correlation {best:.2f}"
    apart = template.shape[0] // 3
    others = score.copy()
    others[max(row - apart, 0) : row + apart + 1, max(column - apart, 0) : column + apart + 1] = -1
    if others.max() > _RIVAL * best:
        return f"two places look like a {what}; narrow the search"
    middle = (np.array(score.shape) - 1) / 2.0
    return np.array([column - middle[1], middle[0] - row]) * px, best


def find_sipm(
    image: NDArray[np.uint8],
    camera: CameraModel,
    *,
    size_mm: float,
    near_mm: ArrayLike,
    search_mm: float = SEARCH_MM,
) -> PointMeasurement:
    """Middle of the active area, a dark square of side ``size_mm`` in a bright package.

    Looked for within ``search_mm`` of ``near_mm`` along both axes; turned by up to about 5
    degrees. Its four sides are fitted as straight edges.

    Raises:
        ValueError: if the picture's size is not the camera's, or ``size_mm`` is not positive.
    """
    if not size_mm > 0:
        raise ValueError(f"size_mm must be positive, got {size_mm}")
    reasons = _checked_picture(image, camera)
    if reasons:
        return _refused(*reasons)
    near = np.asarray(near_mm, dtype=np.float64)
    px = camera.mm_per_px
    picture = image.astype(np.float32)
    patch = _flat_patch(picture, camera, near, search_mm + size_mm / 2.0 + _FRAME_MM)
    if patch is None:
        return _refused("SiPM: the place to look at reaches out of the picture")
    frame = round(_FRAME_MM / px)
    side = round(size_mm / px)
    template = np.full((side + 2 * frame, side + 2 * frame), 1.0, dtype=np.float32)
    template[frame : frame + side, frame : frame + side] = 0.0
    match = _matched(patch, template, px, "SiPM")
    if isinstance(match, str):
        return _refused(match)
    middle = near + match[0]
    inverted = np.float32(255.0) - picture
    package = float(np.percentile(patch, 99))
    lines = []
    frames = edge_frames(
        middle + size_mm / 2.0 * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    )
    for start in frames:
        edge = start
        line = None
        for _ in range(2):
            line = fit_edge(
                inverted,
                camera,
                edge,
                dark_dn=255.0 - package,
                margin_mm=_SIPM_MARGIN_MM,
                block_rows=2,
            )
            if line is None:
                return _refused("SiPM: a side of its active area is not clear")
            edge = line.fitted
        assert line is not None
        lines.append(line)
    corners = corners_of(tuple(line.fitted for line in lines))
    sides = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    if np.abs(sides - size_mm).max() > _SIPM_SIZE_ERROR_MM:
        worst = sides[np.abs(sides - size_mm).argmax()]
        return _refused(f"SiPM: a side of {worst:.2f} mm instead of {size_mm:.2f} mm")
    if min(line.share for line in lines) < 0.6:
        return _refused("SiPM: its sides are not straight")
    centre = corners.mean(axis=0)
    if np.abs(centre - near).max() > search_mm + 0.1:
        return _refused("SiPM: outside the search range")
    offsets = np.array([line.offset_sigma_mm for line in lines])
    sigma = np.sqrt((offsets**2).sum() / 8.0)
    scale = camera.mm_per_px_sigma_rel * float(np.hypot(*centre)) / np.sqrt(2.0)
    along = corners[1] - corners[0] + corners[2] - corners[3]
    return PointMeasurement(
        True,
        float(centre[0]),
        float(centre[1]),
        float(np.sqrt(sigma**2 + scale**2 + _MODEL_SIGMA_MM**2)),
        size_mm=float(sides.mean()),
        rotation_rad=float(np.arctan2(along[1], along[0])),
    )


def find_fiducial(
    image: NDArray[np.uint8],
    camera: CameraModel,
    *,
    diameter_mm: float,
    near_mm: ArrayLike,
    search_mm: float = SEARCH_MM,
) -> PointMeasurement:
    """Middle of a bright disc on darker ground within ``search_mm`` of ``near_mm`` on both axes.

    The rim is where the grey value passes half-way between disc and ground in each of 120
    directions; a circle is fitted through these points.

    Raises:
        ValueError: if the picture's size is not the camera's, or ``diameter_mm`` not positive.
    """
    if not diameter_mm > 0:
        raise ValueError(f"diameter_mm must be positive, got {diameter_mm}")
    reasons = _checked_picture(image, camera)
    if reasons:
        return _refused(*reasons)
    near = np.asarray(near_mm, dtype=np.float64)
    px = camera.mm_per_px
    radius = diameter_mm / 2.0
    picture = image.astype(np.float32)
    ring = min(0.5 * radius, 0.4)
    patch = _flat_patch(picture, camera, near, search_mm + radius + ring)
    if patch is None:
        return _refused("fiducial: the place to look at reaches out of the picture")
    half = int(np.ceil((radius + ring) / px))
    y, x = np.mgrid[-half : half + 1, -half : half + 1] * px
    template = np.clip((radius - np.hypot(x, y)) / px + 0.5, 0.0, 1.0).astype(np.float32)
    match = _matched(patch, template, px, "fiducial")
    if isinstance(match, str):
        return _refused(match)
    centre = near + match[0]
    reach = int(min(radius / px - 1, 7))
    window = np.arange(-reach, reach + 1) * px
    size, sigma = radius, 0.0
    for _ in range(3):
        direction, grey = polar(picture, camera, centre, radius + window, _ANGLES)
        offset, seen = _half_height(grey)
        step = fit_circle(direction, (offset - reach) * px, seen, floor_mm=0.02 * px)
        if step is None:
            return _refused("fiducial: its rim is not clear all around")
        if step.rms_mm > px:
            return _refused(f"fiducial: not round, scatter {1000 * step.rms_mm:.0f} um")
        centre = centre + step.move_mm
        size, sigma = radius + step.grow_mm, step.sigma_mm
    if abs(size - radius) > _FIDUCIAL_SIZE_ERROR * radius:
        return _refused(f"fiducial: diameter {2 * size:.2f} mm instead of {diameter_mm:.2f} mm")
    scale = camera.mm_per_px_sigma_rel * float(np.hypot(*centre)) / np.sqrt(2.0)
    return PointMeasurement(
        True,
        float(centre[0]),
        float(centre[1]),
        float(np.sqrt(sigma**2 + scale**2 + _MODEL_SIGMA_MM**2)),
        size_mm=2.0 * size,
    )


def _half_height(grey: Picture) -> tuple[Points, NDArray[np.bool_]]:
    """Column where each row falls through the middle between its two ends."""
    high, low = grey[:, :3].mean(axis=1), grey[:, -3:].mean(axis=1)
    level = (high + low) / 2.0
    below = grey < level[:, None]
    at = np.maximum(below.argmax(axis=1), 1)
    rows = np.arange(len(at))
    before, after = grey[rows, at - 1], grey[rows, at]
    fall = np.where(before > after, before - after, 1.0)
    place = at - 1 + np.clip((before - level) / fall, 0.0, 1.0)
    contrast = high - low
    seen = below.any(axis=1) & (contrast > max(8.0, 0.5 * float(np.median(contrast))))
    return place.astype(np.float64), seen
