"""What vision saw below the camera, in the gantry frame."""

from dataclasses import dataclass

from station.line import Look
from vision.points import PointMeasurement
from vision.tile import TileMeasurement


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
