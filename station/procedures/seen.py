"""What vision saw below the camera, in the gantry frame."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from station.line import Line, Look
from vision.points import PointMeasurement
from vision.tile import TileMeasurement, measure_tile


@dataclass(frozen=True)
class SeenPoint:
    """Where a SiPM or a fiducial was seen, gantry frame (mm); `sigma_mm` along one axis."""

    x_mm: float
    y_mm: float
    sigma_mm: float


@dataclass(frozen=True)
class SeenTile:
    """Where a tile was seen: centre of its outline, gantry frame, and its rotation there."""

    x_mm: float
    y_mm: float
    sigma_mm: float
    rotation_rad: float
    rotation_sigma_rad: float


def find_tile(
    line: Line,
    near_mm: tuple[float, float],
    *,
    plane_z_mm: float,
    corners_mm: NDArray[np.float64],
    attempts: int,
    dimple_diameter_mm: float | None = None,
) -> tuple[Look, TileMeasurement]:
    """Look for a tile near a place (gantry frame) and measure it; at most `attempts` pictures.

    When a picture shows a tile that it can't measure whole, the next one is centred on it.
    Returns the last picture and what was measured in it.
    """
    x_mm, y_mm = near_mm
    for _ in range(attempts):
        look = line.look_at(x_mm, y_mm, plane_z_mm=plane_z_mm)
        measured = measure_tile(
            look.image, line.camera_model, corners_mm, dimple_diameter_mm=dimple_diameter_mm
        )
        if measured.found:
            break
        if measured.seen_near_mm is not None:
            x_mm = look.x_mm + float(measured.seen_near_mm[0])
            y_mm = look.y_mm + float(measured.seen_near_mm[1])
    return look, measured


def seen_point(look: Look, point: PointMeasurement) -> SeenPoint | None:
    """The point in the gantry frame; None when it was not found."""
    if point.x_mm is None or point.y_mm is None or point.sigma_mm is None:
        return None
    return SeenPoint(look.x_mm + point.x_mm, look.y_mm + point.y_mm, point.sigma_mm)


def seen_tile(look: Look, tile: TileMeasurement) -> SeenTile | None:
    """The tile in the gantry frame; None when it was not found."""
    if (
        tile.centre_mm is None
        or tile.centre_sigma_mm is None
        or tile.rotation_rad is None
        or tile.rotation_sigma_rad is None
    ):
        return None
    return SeenTile(
        look.x_mm + float(tile.centre_mm[0]),
        look.y_mm + float(tile.centre_mm[1]),
        tile.centre_sigma_mm,
        tile.rotation_rad,
        tile.rotation_sigma_rad,
    )
