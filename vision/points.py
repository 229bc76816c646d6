"""SiPMs and fiducials on a board: where their middles are."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vision.camera import CameraModel
from vision.circle import fit_circle, polar
from vision.edges import fit_edges
from vision.outline import corners_of, edge_frames
from vision.refusal import Refusal
from vision.sampling import Picture, Points, grey_at
from vision.usable import picture_usable

SEARCH_MM = 1.5
_MIN_MATCH = 0.6
_RIVAL = 0.92
_FRAME_MM = 0.3
_SIPM_SIZE_ERROR_MM = 0.15
_SIPM_MARGIN_MM = 0.2
_FIDUCIAL_SIZE_ERROR = 0.12
_ANGLES = 120
_MODEL_SIGMA_MM = 0.001


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


def _checked_picture(image: NDArray[np.uint8], camera: CameraModel) -> Picture:
    if image.shape != (camera.height_px, camera.width_px):
        raise ValueError(
            f"picture {image.shape} is not the camera's {(camera.height_px, camera.width_px)}"
        )
    reasons = picture_usable(image).reasons
    if reasons:
        raise Refusal(*reasons)
    return image.astype(np.float32)


def _flat_patch(
    picture: Picture, camera: CameraModel, centre_mm: Points, half_mm: float, what: str
) -> Picture:
    """A square of the plane at the camera's scale, along the gantry's axes, y downwards."""
    px = camera.mm_per_px
    half = int(np.ceil(half_mm / px))
    steps = np.arange(-half, half + 1) * px
    points = np.stack(np.meshgrid(steps, -steps), axis=-1) + centre_mm
    if not camera.sees(points[[0, 0, -1, -1], [0, -1, 0, -1]]).all():
        raise Refusal(f"{what}: the place to look at reaches out of the picture")
    return grey_at(picture, camera, points)


def _matched(patch: Picture, template: Picture, px: float, what: str) -> Points:
    """Place of the template relative to the patch's middle in mm."""
    score = cv2.matchTemplate(patch, template, cv2.TM_CCOEFF_NORMED)
    row, column = np.unravel_index(int(score.argmax()), score.shape)
    best = float(score[row, column])
    if best < _MIN_MATCH:
        raise Refusal(f"no {what} here: best correlation {best:.2f}")
    apart = template.shape[0] // 3
    others = score.copy()
    others[max(row - apart, 0) : row + apart + 1, max(column - apart, 0) : column + apart + 1] = -1
    if others.max() > _RIVAL * best:
        raise Refusal(f"two places look like a {what}; narrow the search")
    middle = (np.array(score.shape) - 1) / 2.0
    return np.array([column - middle[1], middle[0] - row]) * px


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
    near = np.asarray(near_mm, dtype=np.float64)
    try:
        return locate_sipm(_checked_picture(image, camera), camera, size_mm, near, search_mm)
    except Refusal as refusal:
        return PointMeasurement(False, reasons=refusal.reasons)


def locate_sipm(
    picture: Picture, camera: CameraModel, size_mm: float, near: Points, search_mm: float
) -> PointMeasurement:
    """As `find_sipm`, in a picture that has been judged already.

    Raises:
        Refusal: where `find_sipm` gives ``found = False``.
    """
    px = camera.mm_per_px
    patch = _flat_patch(picture, camera, near, search_mm + size_mm / 2.0 + _FRAME_MM, "SiPM")
    frame, side = round(_FRAME_MM / px), round(size_mm / px)
    template = np.full((side + 2 * frame, side + 2 * frame), 1.0, dtype=np.float32)
    template[frame : frame + side, frame : frame + side] = 0.0
    middle = near + _matched(patch, template, px, "SiPM")
    inverted = np.float32(255.0) - picture
    package_dn = float(np.percentile(patch, 99))
    square = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])
    frames = edge_frames(middle + size_mm / 2.0 * square)
    fitted = fit_edges(
        inverted,
        camera,
        frames,
        dark_dn=255.0 - package_dn,
        margin_mm=_SIPM_MARGIN_MM,
        block_rows=2,
    )
    lines = [line for line in fitted if line is not None]
    if len(lines) < 4:
        raise Refusal("SiPM: a side of its active area is not clear")
    corners = corners_of([line.fitted for line in lines])
    sides = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)
    worst = float(sides[np.abs(sides - size_mm).argmax()])
    if abs(worst - size_mm) > _SIPM_SIZE_ERROR_MM:
        raise Refusal(f"SiPM: a side of {worst:.2f} mm instead of {size_mm:.2f} mm")
    if min(line.share for line in lines) < 0.6:
        raise Refusal("SiPM: its sides are not straight")
    centre = corners.mean(axis=0)
    if np.abs(centre - near).max() > search_mm + 0.1:
        raise Refusal("SiPM: outside the search range")
    offsets = np.array([line.offset_sigma_mm for line in lines])
    along = corners[1] - corners[0] + corners[2] - corners[3]
    return PointMeasurement(
        True,
        float(centre[0]),
        float(centre[1]),
        _point_sigma(camera, centre, float(np.sqrt((offsets**2).sum() / 8.0))),
        size_mm=float(sides.mean()),
        rotation_rad=float(np.arctan2(along[1], along[0])),
    )


def _point_sigma(camera: CameraModel, centre: Points, sigma_mm: float) -> float:
    scale = camera.mm_per_px_sigma_rel * float(np.hypot(*centre)) / np.sqrt(2.0)
    return float(np.sqrt(sigma_mm**2 + scale**2 + _MODEL_SIGMA_MM**2))


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
    near = np.asarray(near_mm, dtype=np.float64)
    try:
        return _fiducial(_checked_picture(image, camera), camera, diameter_mm, near, search_mm)
    except Refusal as refusal:
        return PointMeasurement(False, reasons=refusal.reasons)


def _fiducial(
    picture: Picture, camera: CameraModel, diameter_mm: float, near: Points, search_mm: float
) -> PointMeasurement:
    px = camera.mm_per_px
    radius = diameter_mm / 2.0
    ring = min(0.5 * radius, 0.4)
    patch = _flat_patch(picture, camera, near, search_mm + radius + ring, "fiducial")
    half = int(np.ceil((radius + ring) / px))
    y, x = np.mgrid[-half : half + 1, -half : half + 1] * px
    template = np.clip((radius - np.hypot(x, y)) / px + 0.5, 0.0, 1.0).astype(np.float32)
    centre = near + _matched(patch, template, px, "fiducial")
    reach = int(min(radius / px - 1, 7))
    window = np.asarray(np.arange(-reach, reach + 1) * px, dtype=np.float64)
    size, sigma = radius, 0.0
    for _ in range(3):
        direction, grey = polar(picture, camera, centre, radius + window, _ANGLES)
        offset, seen = _half_height(grey)
        step = fit_circle(direction, (offset - reach) * px, seen, floor_mm=0.02 * px)
        if step is None:
            raise Refusal("fiducial: its rim is not clear all around")
        if step.rms_mm > px:
            raise Refusal(f"fiducial: not round, scatter {1000 * step.rms_mm:.0f} um")
        centre = centre + step.move_mm
        size, sigma = radius + step.grow_mm, step.sigma_mm
    if abs(size - radius) > _FIDUCIAL_SIZE_ERROR * radius:
        raise Refusal(f"fiducial: diameter {2 * size:.2f} mm instead of {diameter_mm:.2f} mm")
    return PointMeasurement(
        True,
        float(centre[0]),
        float(centre[1]),
        _point_sigma(camera, centre, sigma),
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
