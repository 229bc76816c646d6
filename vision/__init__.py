"""Pixels in, findings in millimetres out."""

from vision.camera import CameraModel
from vision.chips import EdgeDefect
from vision.points import PointMeasurement, find_fiducial, find_sipm
from vision.presence import Presence, tile_present
from vision.tile import Length, TileMeasurement, measure_tile
from vision.usable import Usable, picture_usable

__all__ = [
    "CameraModel",
    "EdgeDefect",
    "Length",
    "PointMeasurement",
    "Presence",
    "TileMeasurement",
    "Usable",
    "find_fiducial",
    "find_sipm",
    "measure_tile",
    "picture_usable",
    "tile_present",
]
