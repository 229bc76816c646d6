"""A tile in a picture: its outline, size, place, dimple and chips, in mm with uncertainties."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vision.camera import CameraModel
from vision.chips import EdgeDefect, find_chips
from vision.dimple import find_ring
from vision.edges import EdgeLine, fit_edges
from vision.outline import RoughOutline, corners_of, locate_outline
from vision.refusal import Refusal
from vision.sampling import Picture, Points
from vision.size import HEIGHT, INNER, OUTER, ROTATION, X, Y, outline_size, quantities
from vision.usable import picture_usable

SEARCH_MM = 3.0
SEARCH_RAD = 0.0875
GAP_DN = 4.0
"""Grey value at the bottom of a gap between two tiles: as good as black."""
_MIN_STEP_DN = 10.0
_MIN_SHARE = 0.6
_MAX_RMS_MM = 0.05
_MAX_BLUR_PX = 1.7
_MAX_BRIGHT_DN = 245.0
_MIN_CONTRAST_RATIO = 0.4
_RAISED_REL = 0.15
_MAX_RAISED_MM = 3.0
_MAX_TILT_RAD = 0.02
_MAX_SIZE_MM = 1.0
_PICTURE_MARGIN_PX = 4.0
_SEARCH_MARGIN_MM = 0.3


@dataclass(frozen=True)
class Length:
    """A length with its standard deviation."""

    value_mm: float
    sigma_mm: float


@dataclass(frozen=True)
class TileMeasurement:
    """What was seen of a tile. Positions are relative to the optical axis, in gantry axes.

    Where ``found`` is False the numbers are None and ``reasons`` says why; where it is True
    ``reasons`` may still say what could not be measured.

    Attributes:
        corners_mm: (4, 2) inner-left, inner-right, outer-right, outer-left.
        corner_sigma_mm: (4,) standard deviation of each corner along one axis.
        centre_mm: (2,) mean of the corners.
        centre_sigma_mm: standard deviation of the centre along one axis.
        rotation_rad: rotation of the outline against the nominal one, counter-clockwise.
        inner_width, outer_width: distances of the corners at the narrow and the wide edge.
        height: distance of the middle of the outer edge from the inner edge.
        dimple_mm: (2,) middle of the dimple in the tile's own frame.
        edge_rms_mm: largest scatter of an edge about its straight line.
        defects: chips along the outline.
        seen_near_mm: rough place of an outline that could not be measured, e.g. to centre the
            camera on a tile that the picture cuts.
    """

    found: bool
    corners_mm: Points | None = None
    corner_sigma_mm: Points | None = None
    centre_mm: Points | None = None
    centre_sigma_mm: float | None = None
    rotation_rad: float | None = None
    rotation_sigma_rad: float | None = None
    inner_width: Length | None = None
    outer_width: Length | None = None
    height: Length | None = None
    dimple_mm: Points | None = None
    dimple_sigma_mm: float | None = None
    edge_rms_mm: float | None = None
    defects: tuple[EdgeDefect, ...] = ()
    reasons: tuple[str, ...] = ()
    seen_near_mm: Points | None = None


EDGE_NAMES = ("inner", "right", "outer", "left")


def _checked_outline(corners_mm: ArrayLike) -> Points:
    corners = np.asarray(corners_mm, dtype=np.float64)
    if corners.shape != (4, 2) or not np.isfinite(corners).all():
        raise ValueError(f"nominal outline needs four finite corners, got {corners.shape}")
    ahead = np.roll(corners, -1, axis=0)
    if (corners[:, 0] * ahead[:, 1] - ahead[:, 0] * corners[:, 1]).sum() <= 0:
        raise ValueError("nominal corners must run counter-clockwise from inner-left")
    return corners


def _check_consistency(lines: Sequence[EdgeLine], values: Points, nominal: Points) -> None:
    reasons = []
    wanted = quantities(nominal, nominal)
    along = np.roll(nominal, -1, axis=0) - nominal
    cos, sin = np.cos(values[ROTATION]), np.sin(values[ROTATION])
    expected = along @ np.array([[cos, sin], [-sin, cos]])
    expected /= np.linalg.norm(expected, axis=1)[:, None]
    for name, line, direction in zip(EDGE_NAMES, lines, expected, strict=True):
        if line.share < _MIN_SHARE:
            reasons.append(
                f"{name} edge: only {100 * line.share:.0f} % of it lies on a straight line"
            )
        if line.rms_mm > _MAX_RMS_MM:
            reasons.append(f"{name} edge: scatter of {1000 * line.rms_mm:.0f} um about its line")
        seen = line.fitted.along
        tilt = float(abs(seen[0] * direction[1] - seen[1] * direction[0]))
        if tilt > _MAX_TILT_RAD:
            reasons.append(
                f"{name} edge: turned by {np.degrees(tilt):.1f} degrees against the outline"
            )
    for what, value, target in zip(
        ("inner width", "outer width", "height"), values[:3], wanted[:3], strict=True
    ):
        if abs(value - target) > _MAX_SIZE_MM:
            reasons.append(f"{what} {value:.2f} mm does not fit the format's {target:.2f} mm")
    if reasons:
        raise Refusal(*reasons)


def _fitted_lines(
    picture: Picture, camera: CameraModel, rough: RoughOutline
) -> tuple[EdgeLine, ...]:
    if np.sum(rough.step_dn < _MIN_STEP_DN) >= 3:
        raise Refusal("no tile: no outline whose edges fall from bright to dark")
    if not camera.sees(corners_of(rough.edges), margin_px=_PICTURE_MARGIN_PX).all():
        raise Refusal("cut: the tile reaches out of the picture")
    faint = [
        f"{name} edge: no step from bright to dark"
        for name, step in zip(EDGE_NAMES, rough.step_dn, strict=True)
        if step < _MIN_STEP_DN
    ]
    if faint:
        raise Refusal(*faint)
    fitted = fit_edges(picture, camera, rough.edges, dark_dn=GAP_DN)
    unseen = [
        f"{name} edge: too little of it is seen"
        for name, line in zip(EDGE_NAMES, fitted, strict=True)
        if line is None
    ]
    if unseen:
        raise Refusal(*unseen)
    lines = tuple(line for line in fitted if line is not None)
    _check_light(lines)
    _check_alone(lines)
    return lines


def _check_light(lines: Sequence[EdgeLine]) -> None:
    if lines[0].blur_px > _MAX_BLUR_PX:
        raise Refusal(
            f"blurred: the tile's edges are smeared over {lines[0].blur_px:.1f} px (rms); "
            "check the focus and that the gantry stood still"
        )
    for name, line in zip(EDGE_NAMES, lines, strict=True):
        if line.bright_dn > _MAX_BRIGHT_DN:
            raise Refusal(f"saturated: the {name} edge is at the top of the scale; dim the lamp")


def _check_alone(lines: Sequence[EdgeLine]) -> None:
    """Where another tile lies under or over the outline, an edge's outside isn't dark."""
    contrast = max(line.contrast_dn for line in lines)
    outside = np.concatenate([line.open_dn for line in lines])
    free = outside[np.isfinite(outside)]
    limit = np.percentile(free, 20) + _RAISED_REL * contrast if free.size else np.inf
    for name, line in zip(EDGE_NAMES, lines, strict=True):
        if line.contrast_dn < _MIN_CONTRAST_RATIO * contrast:
            raise Refusal(
                f"{name} edge: a step of {line.contrast_dn:.0f} grey values where others have "
                f"{contrast:.0f}; does another tile overlap it?"
            )
        raised = line.open_dn > limit
        raised_mm = line.frame.length_mm * float(raised.mean())
        if raised_mm > _MAX_RAISED_MM:
            raise Refusal(
                f"{name} edge: not dark outside over {raised_mm:.0f} mm; "
                "does another tile overlap it?"
            )


def measure_tile(
    image: NDArray[np.uint8],
    camera: CameraModel,
    corners_mm: ArrayLike,
    *,
    near_mm: ArrayLike = (0.0, 0.0),
    dimple_diameter_mm: float | None = None,
    dimple_near_mm: ArrayLike = (0.0, 0.0),
    search_mm: float = SEARCH_MM,
    search_rad: float = SEARCH_RAD,
) -> TileMeasurement:
    """Measure the tile whose nominal outline is ``corners_mm`` (4, 2), in the tile frame.

    The tile is looked for within ``search_mm`` of ``near_mm`` (relative to the optical axis)
    along both axes and ``search_rad`` of the nominal rotation. Its edges are where the picture
    falls from bright to dark outwards. The dimple is looked for within 1 mm of
    ``dimple_near_mm`` in the tile's frame when its diameter is given.

    Nothing is guessed: a dark, blurred or saturated picture, a tile that the picture cuts,
    edges that are missing or don't fit together give ``found = False`` and the reasons.

    Raises:
        ValueError: if the picture's size is not the camera's, or the outline is malformed.
    """
    nominal = _checked_outline(corners_mm)
    near = np.asarray(near_mm, dtype=np.float64)
    if image.shape != (camera.height_px, camera.width_px):
        raise ValueError(
            f"picture {image.shape} is not the camera's {(camera.height_px, camera.width_px)}"
        )
    usable = picture_usable(image)
    if not usable.ok:
        return TileMeasurement(False, reasons=usable.reasons)
    picture = image.astype(np.float32)
    rough = locate_outline(
        picture, camera, nominal, near_mm=near, search_mm=search_mm, search_rad=search_rad
    )
    try:
        lines = _fitted_lines(picture, camera, rough)
        measured = _measured(lines, camera, nominal)
        assert measured.corners_mm is not None
        assert measured.centre_mm is not None
        if np.abs(measured.centre_mm - near).max() > search_mm + _SEARCH_MARGIN_MM:
            raise Refusal("the outline lies outside the search range")
        if not camera.sees(measured.corners_mm, margin_px=_PICTURE_MARGIN_PX).all():
            raise Refusal("cut: the tile reaches out of the picture")
    except Refusal as refusal:
        seen = None if refusal.reasons[0].startswith("no tile") else rough.centre_mm
        return TileMeasurement(False, reasons=refusal.reasons, seen_near_mm=seen)
    measured = replace(measured, defects=find_chips(picture, camera, lines))
    if dimple_diameter_mm is None:
        return measured
    try:
        return _with_dimple(measured, picture, camera, dimple_diameter_mm, dimple_near_mm)
    except Refusal as refusal:
        return replace(measured, reasons=(*measured.reasons, *refusal.reasons))


def _measured(lines: Sequence[EdgeLine], camera: CameraModel, nominal: Points) -> TileMeasurement:
    size = outline_size(lines, nominal, camera.mm_per_px_sigma_rel)
    _check_consistency(lines, size.values, nominal)
    lengths = [
        Length(float(size.values[which]), float(size.sigmas[which]))
        for which in (INNER, OUTER, HEIGHT)
    ]
    return TileMeasurement(
        found=True,
        corners_mm=size.corners_mm,
        corner_sigma_mm=size.corner_sigma_mm,
        centre_mm=size.values[[X, Y]],
        centre_sigma_mm=float(np.sqrt((size.sigmas[[X, Y]] ** 2).mean())),
        rotation_rad=float(size.values[ROTATION]),
        rotation_sigma_rad=float(size.sigmas[ROTATION]),
        inner_width=lengths[0],
        outer_width=lengths[1],
        height=lengths[2],
        edge_rms_mm=max(line.rms_mm for line in lines),
    )


def _with_dimple(
    measured: TileMeasurement,
    picture: Picture,
    camera: CameraModel,
    diameter_mm: float,
    near_in_tile_mm: ArrayLike,
) -> TileMeasurement:
    assert measured.rotation_rad is not None
    assert measured.centre_mm is not None
    assert measured.centre_sigma_mm is not None
    cos, sin = np.cos(measured.rotation_rad), np.sin(measured.rotation_rad)
    to_scene = np.array([[cos, -sin], [sin, cos]])
    ring = find_ring(
        picture,
        camera,
        centre_mm=measured.centre_mm + to_scene @ np.asarray(near_in_tile_mm, dtype=np.float64),
        diameter_mm=diameter_mm,
    )
    return replace(
        measured,
        dimple_mm=to_scene.T @ (ring.centre_mm - measured.centre_mm),
        dimple_sigma_mm=float(np.hypot(ring.sigma_mm, measured.centre_sigma_mm)),
    )
