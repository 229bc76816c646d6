"""Where in the picture an outline roughly lies: a search over shift and rotation."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from vision.camera import CameraModel
from vision.sampling import Picture, Points, grey_at

_ROWS = 32
_EDGE_SHARE = 0.84
_POOL_PX = 4
_SIZE_TOLERANCE_MM = 0.75
_STEP_LIMIT_DN = 45.0


@dataclass(frozen=True)
class EdgeFrame:
    """A straight edge to look at: s runs along it in mm from its middle, t outwards.

    Attributes:
        origin_mm: point at s = t = 0, relative to the optical axis.
        along: unit vector of s; outwards is to its right.
        length_mm: expected length.
    """

    origin_mm: Points
    along: Points
    length_mm: float

    @property
    def outward(self) -> Points:
        """Unit vector of t."""
        return np.array([self.along[1], -self.along[0]])

    def moved(self, offset_mm: float, slope: float) -> "EdgeFrame":
        """The frame whose s axis is the line t = offset + slope * s of this one."""
        along = self.along + slope * self.outward
        return EdgeFrame(
            self.origin_mm + offset_mm * self.outward,
            along / np.linalg.norm(along),
            self.length_mm,
        )


@dataclass(frozen=True)
class RoughOutline:
    """Edges of an outline to about a pixel, and how clearly each was seen.

    ``step_dn`` is the mean grey step across each edge, clipped at a moderate value, so that
    it measures over how much of its length an edge is there.
    """

    edges: tuple[EdgeFrame, ...]
    step_dn: Points
    rotation_rad: float
    centre_mm: Points


def edge_frames(corners_mm: ArrayLike) -> tuple[EdgeFrame, ...]:
    """The edges of a counter-clockwise polygon (n, 2), the first from corner 0 to corner 1."""
    corners = np.asarray(corners_mm, dtype=np.float64)
    frames = []
    for start, stop in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        length = float(np.linalg.norm(stop - start))
        frames.append(EdgeFrame((start + stop) / 2.0, (stop - start) / length, length))
    return tuple(frames)


def intersections(origin: Points, direction: Points) -> Points:
    """Corners (..., n, 2) of polygons whose edges run through ``origin`` along ``direction``.

    Corner i is where edge i begins, on the edge before it.
    """
    before, along = np.roll(origin, 1, axis=-2), np.roll(direction, 1, axis=-2)
    apart = origin - before
    cross = along[..., 0] * direction[..., 1] - along[..., 1] * direction[..., 0]
    reach = (apart[..., 0] * direction[..., 1] - apart[..., 1] * direction[..., 0]) / cross
    return np.asarray(before + reach[..., None] * along)


def corners_of(edges: Sequence[EdgeFrame]) -> Points:
    """Intersections of consecutive edges, shape (n, 2): corner i starts edge i."""
    return intersections(
        np.array([edge.origin_mm for edge in edges]), np.array([edge.along for edge in edges])
    )


def sample(
    picture: Picture,
    camera: CameraModel,
    frame: EdgeFrame,
    s_mm: Points,
    t_mm: Points,
    *,
    interpolation: int = cv2.INTER_LINEAR,
) -> Picture:
    """Grey values on the grid (s, t) of an edge, shape (len(s), len(t)); NaN off the picture."""
    points = (
        frame.origin_mm + s_mm[:, None, None] * frame.along + t_mm[None, :, None] * frame.outward
    )
    return grey_at(picture, camera, points, interpolation=interpolation)


def step_response(strip: Picture) -> Picture:
    """How much darker it gets outwards at each sample: mean of three before, least of three after.

    The minimum keeps the response of a gap that is narrower than the filter. Zero where the
    filter reaches off the picture.
    """
    padded = np.pad(strip, ((0, 0), (3, 3)), mode="edge")
    n = strip.shape[1]
    inside = (padded[:, 0:n] + padded[:, 1 : n + 1] + padded[:, 2 : n + 2]) / np.float32(3.0)
    outside = np.minimum(
        np.minimum(padded[:, 4 : n + 4], padded[:, 5 : n + 5]), padded[:, 6 : n + 6]
    )
    response = np.clip(inside - outside, 0.0, _STEP_LIMIT_DN)
    return np.asarray(np.nan_to_num(response, nan=0.0, copy=False), dtype=np.float32)


def edge_slope(strip: Picture) -> Picture:
    """Half the fall of grey over two samples outwards; zero where it gets brighter."""
    slope = np.zeros_like(strip)
    slope[:, 1:-1] = np.clip((strip[:, :-2] - strip[:, 2:]) / 2.0, 0.0, _STEP_LIMIT_DN)
    return np.nan_to_num(slope, nan=0.0, copy=False)


def _sheared_sums(
    response: Picture, shifts: Points, columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Means of the response (n_s, n_t) along inclined lines through ``columns``.

    Shape (n_angles, n_columns) for shifts (n_angles, n_s) in samples.
    """
    n_rows, n_t = response.shape
    at = np.round(shifts).astype(np.int64)
    reach = int(np.abs(at).max()) + 1
    low, high = int(columns[0]) - reach, int(columns[-1]) + reach + 1
    padded = np.pad(
        response[:, max(low, 0) : min(high, n_t)],
        ((0, 0), (max(-low, 0), max(high - n_t, 0))),
    )
    width = padded.shape[1]
    start = at - low + np.arange(n_rows) * width
    index = start[:, :, None] + columns
    return np.asarray(padded.ravel()[index].mean(axis=1, dtype=np.float64))


def _dilated(profile: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    kernel = np.ones((1, 2 * reach + 1), dtype=np.uint8)
    return np.asarray(cv2.dilate(profile, kernel), dtype=np.float64)


def locate_outline(
    picture: Picture,
    camera: CameraModel,
    corners_mm: ArrayLike,
    *,
    near_mm: ArrayLike,
    search_mm: float,
    search_rad: float,
) -> RoughOutline:
    """The best place of the outline ``corners_mm`` (4, 2) within the search range.

    Each edge counts where the picture gets darker outwards, so the opposite edge of a
    neighbour across a narrow gap doesn't attract it. All edges turn together and opposite
    edges move together, up to a deviation in size of 0.75 mm; then each edge is refined by
    itself. The result is always the best place; judge it by ``step_dn``.
    """
    frames = edge_frames(np.asarray(corners_mm) + np.asarray(near_mm))
    px = camera.mm_per_px
    longest = max(frame.length_mm for frame in frames)
    half_span = 0.5 * _EDGE_SHARE * longest
    reach = search_mm + half_span * np.sin(search_rad) + _SIZE_TOLERANCE_MM
    n_bins = int(np.ceil(reach / (px * _POOL_PX)))
    n_t = (2 * n_bins + 1) * _POOL_PX
    t_mm = np.asarray((np.arange(n_t) - (n_t - 1) / 2.0) * px, dtype=np.float64)
    responses, gradients, rows = [], [], []
    for frame in frames:
        half_mm = 0.5 * _EDGE_SHARE * frame.length_mm
        s_mm = np.linspace(-half_mm, half_mm, _ROWS)
        strip = sample(picture, camera, frame, s_mm, t_mm)
        responses.append(step_response(strip))
        gradients.append(edge_slope(strip))
        rows.append(s_mm)

    bin_mm = _POOL_PX * px
    n_angles = 2 * int(np.ceil(search_rad * half_span / bin_mm)) + 1
    angles = np.linspace(-search_rad, search_rad, n_angles)
    pooled = []
    for response, s_mm in zip(responses, rows, strict=True):
        bins = response.reshape(_ROWS, -1, _POOL_PX).max(axis=2)
        # Turning counter-clockwise carries the far end (s > 0) inwards, to negative t.
        shifts = -np.tan(angles)[:, None] * s_mm[None, :] / bin_mm
        pooled.append(_sheared_sums(bins, shifts, np.arange(2 * n_bins + 1)))
    tolerance = int(np.ceil(0.5 * _SIZE_TOLERANCE_MM / bin_mm))
    wide = [_dilated(profile, tolerance) for profile in pooled]
    limit = int(np.ceil(search_mm / bin_mm))
    window = slice(n_bins - limit, n_bins + limit + 1)
    along_y = (wide[2] + wide[0][:, ::-1])[:, window]
    along_x = (wide[1] + wide[3][:, ::-1])[:, window]
    best = int(np.argmax(along_x.max(axis=1) + along_y.max(axis=1)))
    shift = np.array([along_x[best].argmax() - limit, along_y[best].argmax() - limit]) * bin_mm
    signs = ((1, -1.0), (0, 1.0), (1, 1.0), (0, -1.0))
    edges, steps = [], []
    for index, frame in enumerate(frames):
        axis, sign = signs[index]
        edge, step = _refined(
            responses[index],
            gradients[index],
            rows[index],
            frame,
            px,
            around_mm=float(sign * shift[axis]),
            slope=float(-np.tan(angles[best])),
            slope_reach=bin_mm / half_span,
        )
        edges.append(edge)
        steps.append(step)
    found = tuple(edges)
    return RoughOutline(
        found,
        np.array(steps),
        float(angles[best]),
        corners_of(found).mean(axis=0),
    )


def _refined(
    response: Picture,
    gradient: Picture,
    s_mm: Points,
    frame: EdgeFrame,
    px: float,
    *,
    around_mm: float,
    slope: float,
    slope_reach: float,
) -> tuple[EdgeFrame, float]:
    n_t = response.shape[1]
    n_slopes = 2 * int(np.ceil(slope_reach * abs(s_mm[0]) / px)) + 1
    slopes = slope + np.linspace(-slope_reach, slope_reach, n_slopes)
    shifts = slopes[:, None] * s_mm[None, :] / px
    middle = (n_t - 1) / 2.0 + around_mm / px
    reach = (_SIZE_TOLERANCE_MM + _POOL_PX * px) / px
    columns = np.arange(max(int(middle - reach), 0), min(int(middle + reach) + 1, n_t))
    sums = _sheared_sums(gradient, shifts, columns)
    row, column = np.unravel_index(int(sums.argmax()), sums.shape)
    place = columns[column : column + 1]
    step = _sheared_sums(response, shifts[row : row + 1], place)[0, 0]
    offset = (float(place[0]) - (n_t - 1) / 2.0) * px
    return frame.moved(offset, float(slopes[row])), float(step)
