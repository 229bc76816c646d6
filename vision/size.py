"""Sizes, place and rotation of an outline from its fitted edges, with their uncertainties."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vision.edges import EdgeLine
from vision.outline import intersections
from vision.sampling import Points

INNER, OUTER, HEIGHT, X, Y, ROTATION = range(6)
"""Order of the quantities of an outline."""


@dataclass(frozen=True)
class OutlineSize:
    """Corners (4, 2) and the six quantities of an outline, each with its standard deviation.

    ``corner_sigma_mm`` (4,) is along one axis; ``values`` and ``sigmas`` (6,) are inner width,
    outer width, height, x, y in mm and the rotation in rad.
    """

    corners_mm: Points
    corner_sigma_mm: Points
    values: Points
    sigmas: Points


def quantities(corners: Points, nominal: Points) -> Points:
    """Inner width, outer width, height, x, y and rotation of outlines (..., 4, 2): (..., 6).

    The height is from the inner edge to the middle of the outer one; the rotation is the one
    that fits the nominal corners (4, 2) best.
    """
    inner, outer = corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 3, :]
    inner_width, outer_width = np.hypot(*_xy(inner)), np.hypot(*_xy(outer))
    middle = corners[..., 2:, :].mean(axis=-2) - corners[..., :2, :].mean(axis=-2)
    height = (inner[..., 0] * middle[..., 1] - inner[..., 1] * middle[..., 0]) / inner_width
    centre = corners.mean(axis=-2)
    seen, wanted = corners - centre[..., None, :], nominal - nominal.mean(axis=0)
    cross = (wanted[:, 0] * seen[..., 1] - wanted[:, 1] * seen[..., 0]).sum(axis=-1)
    rotation = np.arctan2(cross, (wanted * seen).sum(axis=(-2, -1)))
    return np.stack((inner_width, outer_width, height, *_xy(centre), rotation), axis=-1)


def _xy(vectors: Points) -> tuple[Points, Points]:
    return vectors[..., 0], vectors[..., 1]


def outline_size(lines: Sequence[EdgeLine], nominal: Points, scale_sigma_rel: float) -> OutlineSize:
    """Propagate the uncertainties of four edges and of the camera's scale, to first order.

    Each edge moves and turns by itself; shading and the dark level of gaps move all edges at
    once, so that they change sizes and hardly the place.
    """
    origin = np.array([line.frame.origin_mm for line in lines])
    along = np.array([line.frame.along for line in lines])
    outward = np.array([line.frame.outward for line in lines])
    offsets = np.tile([line.offset_mm for line in lines], (11, 1))
    slopes = np.tile([line.slope for line in lines], (11, 1))
    offsets[1] += [line.shading_sigma_mm for line in lines]
    offsets[2] += [line.gap_sigma_mm for line in lines]
    offsets[3:7] += np.diag([line.offset_sigma_mm for line in lines])
    slopes[7:11] += np.diag([line.slope_sigma for line in lines])
    corners = intersections(
        origin + offsets[..., None] * outward, along + slopes[..., None] * outward
    )
    values = quantities(corners, nominal)
    scaled = quantities(corners[0] * (1.0 + scale_sigma_rel), nominal) - values[0]
    variance = ((values[1:] - values[0]) ** 2).sum(axis=0) + scaled**2
    moved = ((corners[1:] - corners[0]) ** 2).sum(axis=(0, 2))
    scale = scale_sigma_rel**2 * (corners[0] ** 2).sum(axis=1)
    return OutlineSize(corners[0], np.sqrt((moved + scale) / 2.0), values[0], np.sqrt(variance))
