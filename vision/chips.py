"""Material missing along a measured outline."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from vision.camera import CameraModel
from vision.edges import EdgeLine
from vision.outline import EdgeFrame, corners_of, sample
from vision.sampling import Picture, Points

_REACH_MM = 2.4
_MIN_DEPTH_MM = 0.10
_MIN_RUN_MM = 0.24
_MIN_AREA_MM2 = 0.03
_START_PX = 2.0
_CORNER_SKIP_PX = 3
_ROW_PX = 2
_MERGE_MM = 0.3


@dataclass(frozen=True)
class EdgeDefect:
    """A chip: where its middle on the outline is, how deep it goes and what area is missing.

    The position is relative to the optical axis, in gantry axes.
    """

    kind: Literal["chip"]
    x_mm: float
    y_mm: float
    depth_mm: float
    area_mm2: float


@dataclass(frozen=True)
class _Bite:
    """A run of missing material along one edge, s counted from the edge's first corner."""

    edge: int
    from_mm: float
    to_mm: float
    depth_mm: float
    area_mm2: float
    length_mm: float


def _missing_depth(
    picture: Picture, camera: CameraModel, line: EdgeLine, frame: EdgeFrame
) -> tuple[Points, Points]:
    """Along a fitted edge: s in mm from its first corner, and how far inside it material begins."""
    px = camera.mm_per_px
    rows = int(frame.length_mm / (px * _ROW_PX))
    s_mm = np.asarray((np.arange(rows) - (rows - 1) / 2.0) * px * _ROW_PX, dtype=np.float64)
    t_px = np.arange(-np.ceil(_REACH_MM / px), _START_PX + 1, dtype=np.float64)
    strip = sample(picture, camera, frame, s_mm, t_px * px)
    strip = np.nan_to_num(strip, nan=0.0)
    level = 0.5 * (line.bright_dn + line.dark_dn)
    inwards = strip[:, ::-1]
    bright = inwards >= level
    # A narrow gap's far side may already be bright at the start; begin at its darkest sample.
    begin = np.argmin(inwards[:, : 2 * int(_START_PX) + 1], axis=1)
    bright &= np.arange(inwards.shape[1])[None, :] > begin[:, None]
    at = np.where(bright.any(axis=1), bright.argmax(axis=1), inwards.shape[1] - 1)
    rows_index = np.arange(rows)
    before, after = inwards[rows_index, at - 1], inwards[rows_index, at]
    rise = np.where(after > before, after - before, 1.0)
    place = at - 1 + np.clip((level - before) / rise, 0.0, 1.0)
    depth = (place - _START_PX) * px
    depth[~bright.any(axis=1)] = _REACH_MM
    return np.asarray(s_mm + frame.length_mm / 2.0), depth.astype(np.float64)


def _bites(edge: int, s_mm: Points, depth_mm: Points, length_mm: float, px: float) -> list[_Bite]:
    keep = (s_mm > _CORNER_SKIP_PX * px) & (s_mm < length_mm - _CORNER_SKIP_PX * px)
    s_mm, depth_mm = s_mm[keep], np.maximum(depth_mm[keep], 0.0)
    step = _ROW_PX * px
    deep = np.concatenate(([False], depth_mm > 0.5 * _MIN_DEPTH_MM, [False]))
    starts = np.flatnonzero(deep[1:] & ~deep[:-1])
    stops = np.flatnonzero(~deep[1:] & deep[:-1])
    bites = []
    for start, stop in zip(starts, stops, strict=True):
        depth = depth_mm[start:stop]
        area = float(depth.sum() * step)
        first, last = float(s_mm[start] - step / 2), float(s_mm[stop - 1] + step / 2)
        deepest = float(depth.max())
        if start == 0:
            at_corner = _extrapolated(s_mm[:stop], depth, 0.0)
            area += first * (at_corner + float(depth[0])) / 2.0
            deepest, first = max(deepest, at_corner), 0.0
        if stop == len(s_mm):
            at_corner = _extrapolated(s_mm[start:], depth, length_mm)
            area += (length_mm - last) * (at_corner + float(depth[-1])) / 2.0
            deepest, last = max(deepest, at_corner), length_mm
        bites.append(_Bite(edge, first, last, deepest, area, length_mm))
    return [
        bite
        for bite in bites
        if bite.depth_mm >= _MIN_DEPTH_MM
        and bite.to_mm - bite.from_mm >= _MIN_RUN_MM
        and bite.area_mm2 >= _MIN_AREA_MM2
    ]


def _extrapolated(s_mm: Points, depth_mm: Points, to_mm: float) -> float:
    """Depth at a corner, which profiles next to it can't show, by a line through the next few."""
    nearest = np.argsort(np.abs(s_mm - to_mm))[:5]
    if len(nearest) < 3:
        return float(depth_mm.max())
    slope, offset = np.polyfit(s_mm[nearest], depth_mm[nearest], 1)
    return float(np.clip(slope * to_mm + offset, 0.0, _REACH_MM))


def find_chips(
    picture: Picture, camera: CameraModel, lines: Sequence[EdgeLine]
) -> tuple[EdgeDefect, ...]:
    """Chips along the fitted edges of an outline, deepest first.

    Reported from 0.1 mm depth, 0.24 mm length and 0.03 mm^2 on; smaller things are as likely
    dust. Depths beyond 2.4 mm are given as 2.4 mm.
    """
    corners = corners_of(tuple(line.fitted for line in lines))
    px = camera.mm_per_px
    bites: list[_Bite] = []
    for index, line in enumerate(lines):
        start, stop = corners[index], corners[(index + 1) % len(lines)]
        length = float(np.linalg.norm(stop - start))
        frame = EdgeFrame((start + stop) / 2.0, (stop - start) / length, length)
        s_mm, inwards_mm = _missing_depth(picture, camera, line, frame)
        bites.extend(_bites(index, s_mm, inwards_mm, length, px))
    defects = []
    used: set[int] = set()
    for i, bite in enumerate(bites):
        if i in used:
            continue
        start, stop = corners[bite.edge], corners[(bite.edge + 1) % len(lines)]
        along = (stop - start) / np.linalg.norm(stop - start)
        middle = start + along * (bite.from_mm + bite.to_mm) / 2.0
        depth, area = bite.depth_mm, bite.area_mm2
        for j, other in enumerate(bites):
            corner = _shared_corner(bite, other, len(lines))
            if j != i and corner is not None:
                used.add(j)
                middle = corners[corner]
                depth, area = max(depth, other.depth_mm), (area + other.area_mm2) / 2.0
        defects.append(EdgeDefect("chip", float(middle[0]), float(middle[1]), depth, area))
    return tuple(sorted(defects, key=lambda defect: -defect.depth_mm))


def _shared_corner(first: _Bite, second: _Bite, n_edges: int) -> int | None:
    """The corner that a bite at the end of one edge and one at the start of the next share."""
    for before, after in ((first, second), (second, first)):
        if (
            (before.edge + 1) % n_edges == after.edge
            and before.to_mm > before.length_mm - _MERGE_MM
            and after.from_mm < _MERGE_MM
        ):
            return after.edge
    return None
