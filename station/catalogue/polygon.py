"""Plane geometry of outlines: arrays (n, 2) of corners in mm, counter-clockwise."""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.float64]


def trapezoid(inner_width_mm: float, outer_width_mm: float, height_mm: float) -> Points:
    """Corners (4, 2) of an isosceles trapezoid centred on the middle of its axis, +y to the outer
    edge, counter-clockwise from the inner left corner."""
    wi, wo, h = inner_width_mm / 2, outer_width_mm / 2, height_mm / 2
    return np.array([(-wi, -h), (wi, -h), (wo, h), (-wo, h)])


def moved(points: Points, x_mm: float, y_mm: float, rotation_rad: float) -> Points:
    """The same points (n, 2) after a counter-clockwise rotation about the origin and a shift."""
    c, s = np.cos(rotation_rad), np.sin(rotation_rad)
    x, y = points.T
    return np.column_stack((c * x - s * y + x_mm, s * x + c * y + y_mm))


def gap_mm(a: Points, b: Points) -> Points:
    """Widest gap that an edge normal shows between convex polygons, negative when they overlap.

    Separating axis theorem: convex polygons are apart exactly when the normal of an edge of one of
    them separates them. The gap is at most their distance, and equal to it when an edge of one
    faces the other.

    Args:
        a: corners (..., n, 2), counter-clockwise.
        b: corners (..., m, 2), counter-clockwise, same leading shape.

    Returns:
        Gaps of the leading shape, in mm.
    """
    return np.maximum(_one_sided_gap(a, b), _one_sided_gap(b, a))


def distance_to_outline_mm(points: Points, corners_mm: Points) -> Points:
    """Distances (n,) of points (n, 2) to the outline of a simple polygon, negative inside."""
    start = corners_mm[None, :, :]
    edge = np.roll(corners_mm, -1, axis=0)[None, :, :] - start
    to_point = points[:, None, :] - start
    along = np.sum(to_point * edge, axis=2) / np.sum(edge * edge, axis=2)
    foot = start + np.clip(along, 0.0, 1.0)[:, :, None] * edge
    nearest = np.linalg.norm(points[:, None, :] - foot, axis=2).min(axis=1)
    signed: Points = np.where(contains(corners_mm, points), -nearest, nearest)
    return signed


def contains(corners_mm: Points, points: Points) -> NDArray[np.bool_]:
    """Which points (n, 2) lie in a simple polygon: a ray to the right crosses it an odd number of
    times."""
    x, y = points[:, 0, None], points[:, 1, None]
    x0, y0 = corners_mm.T[:, None, :]
    x1, y1 = np.roll(corners_mm, -1, axis=0).T[:, None, :]
    crosses = (y0 > y) != (y1 > y)
    rise = np.where(y1 == y0, 1.0, y1 - y0)
    right = x < x0 + (y - y0) / rise * (x1 - x0)
    inside: NDArray[np.bool_] = np.count_nonzero(crosses & right, axis=1) % 2 == 1
    return inside


def area_mm2(corners_mm: Points) -> float:
    """Signed area by the shoelace formula, positive for counter-clockwise corners."""
    x, y = corners_mm.T
    return float(np.sum(x * np.roll(y, -1) - np.roll(x, -1) * y) / 2)


def _one_sided_gap(a: Points, b: Points) -> Points:
    edges = np.roll(a, -1, axis=-2) - a
    outward = np.stack((edges[..., 1], -edges[..., 0]), axis=-1)
    outward = outward / np.linalg.norm(outward, axis=-1, keepdims=True)
    reach = np.sum(outward * a, axis=-1)
    nearest = np.min(outward @ np.swapaxes(b, -1, -2), axis=-1)
    gaps: Points = np.max(nearest - reach, axis=-1)
    return gaps
