"""Outlines as signed distances in the plane, and the share of a blurred pixel inside them."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from vision.camera import CameraModel, pixel_grid_mm

Field = NDArray[np.float32]
Points = NDArray[np.float64]


@dataclass(frozen=True)
class Window:
    """A rectangle of the picture."""

    rows: slice
    columns: slice

    def of(self, picture: Field) -> Field:
        """The part of a picture that the window shows, as a view."""
        return picture[self.rows, self.columns]

    def grid_mm(self, camera: CameraModel) -> tuple[Field, Field]:
        """x and y in mm seen by each pixel of the window."""
        x, y = pixel_grid_mm(camera)
        return self.of(x), self.of(y)

    def within(self, outer: "Window") -> tuple[slice, slice]:
        """Rows and columns of this window counted from the corner of another."""
        top, left = outer.rows.start, outer.columns.start
        return (
            slice(self.rows.start - top, self.rows.stop - top),
            slice(self.columns.start - left, self.columns.stop - left),
        )


def window_around(camera: CameraModel, points_mm: Points, margin_mm: float) -> Window | None:
    """The part of the picture that shows the points (n, 2) and a margin; None if off it."""
    low, high = points_mm.min(axis=0) - margin_mm, points_mm.max(axis=0) + margin_mm
    reach = np.hypot(camera.width_px, camera.height_px) * camera.mm_per_px
    if np.any(low > reach) or np.any(high < -reach):
        return None
    low, high = np.maximum(low, -reach), np.minimum(high, reach)
    share = np.linspace(0.0, 1.0, 5)
    zero, one = np.zeros(5), np.ones(5)
    ring = np.concatenate(
        [
            np.column_stack(side)
            for side in ((share, zero), (share, one), (zero, share), (one, share))
        ]
    )
    px = camera.to_px(low + ring * (high - low))
    return clipped(camera, np.floor(px.min(axis=0)), np.ceil(px.max(axis=0)) + 1)


def clipped(camera: CameraModel, low_px: Points, high_px: Points) -> Window | None:
    """The window from ``low_px`` to ``high_px`` (u, v) as far as it lies in the picture."""
    columns = slice(max(int(low_px[0]), 0), min(int(high_px[0]), camera.width_px))
    rows = slice(max(int(low_px[1]), 0), min(int(high_px[1]), camera.height_px))
    if rows.stop - rows.start < 1 or columns.stop - columns.start < 1:
        return None
    return Window(rows, columns)


def half_plane(x: Field, y: Field, point: Points, inward: Points) -> Field:
    """Distance in mm from the line through ``point``, positive towards ``inward``."""
    offset = -float(inward @ point)
    return np.asarray(
        cv2.addWeighted(x, float(inward[0]), y, float(inward[1]), offset), dtype=np.float32
    )


def inward_normals(corners: Points) -> Points:
    """Unit normals (n, 2) of a counter-clockwise polygon's edges, the first from corner 0 to 1."""
    along = np.roll(corners, -1, axis=0) - corners
    along /= np.linalg.norm(along, axis=1)[:, None]
    return np.column_stack((-along[:, 1], along[:, 0]))


def polygon_distance(x: Field, y: Field, corners: Points, normals: Points) -> Field:
    """Distance from the outline in mm, positive inside a convex polygon with these normals."""
    distance = half_plane(x, y, corners[0], normals[0])
    for corner, normal in zip(corners[1:], normals[1:], strict=True):
        np.minimum(distance, half_plane(x, y, corner, normal), out=distance)
    return distance


def disc_distance(x: Field, y: Field, centre: Points, radius_mm: float) -> Field:
    """Distance from a circle in mm, positive inside."""
    r = np.hypot(x - np.float32(centre[0]), y - np.float32(centre[1]))
    return np.asarray(np.float32(radius_mm) - r)


def coverage(distance: Field, sigma_mm: float) -> Field:
    """Share of light that a pixel of blur ``sigma_mm`` takes from inside an outline."""
    cover = (distance > 0).astype(np.float32)
    near = np.flatnonzero(np.abs(distance) < 4.5 * sigma_mm)
    cover.ravel()[near] = ndtr(distance.ravel()[near] / np.float32(sigma_mm))
    return cover


def blend(picture: Field, cover: Field, grey: Field | float) -> None:
    """Put a surface of the given grey over the part of each pixel that it covers."""
    picture += cover * (grey - picture)
