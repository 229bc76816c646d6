"""Tile formats: the nominal outline of a tile, its dimple, its thickness and its tolerances."""

import math
from dataclasses import dataclass
from typing import Literal

from station.catalogue.polygon import Points, trapezoid

GridName = Literal["coarse", "fine", "free"]


@dataclass(frozen=True)
class RingGrid:
    """Rings of tiles: ring k (from 1) lies between ring_edges_mm[k-1] and ring_edges_mm[k].

    `n_phi` tiles make a full circle, a full board is `columns` tiles wide.
    """

    name: str
    n_phi: int
    columns: int
    ring_edges_mm: tuple[float, ...]

    @property
    def phi_rad(self) -> float:
        """Opening angle of one tile."""
        return 2 * math.pi / self.n_phi

    @property
    def n_rings(self) -> int:
        return len(self.ring_edges_mm) - 1

    def edges_mm(self, ring: int) -> tuple[float, float]:
        """Inner and outer radius of a ring, counted from 1."""
        if not 1 <= ring <= self.n_rings:
            raise ValueError(f"ring {ring} of the {self.name} grid, which has {self.n_rings} rings")
        return self.ring_edges_mm[ring - 1], self.ring_edges_mm[ring]


@dataclass(frozen=True)
class Allowances:
    """What lies between bare tiles: `gap_mm` between neighbouring wrapped tiles, `foil_mm` of
    reflector on each side of a tile."""

    gap_mm: float
    foil_mm: float


@dataclass(frozen=True)
class Dimple:
    """Centre in the tile frame and diameter of the dimple that houses the SiPM."""

    x_mm: float
    y_mm: float
    diameter_mm: float


@dataclass(frozen=True)
class Tolerances:
    """How far a tile may be from nominal, each one as plus or minus.

    `size_mm`: each of inner width, outer width, height. `dimple_mm`: distance of the dimple from
    its place. `placement_mm`: distance of the placed tile's dimple from its SiPM.
    `rotation_rad`: of the placed tile.
    """

    size_mm: float
    dimple_mm: float
    placement_mm: float
    rotation_rad: float


@dataclass(frozen=True)
class TileFormat:
    """One nominal size of tile. Widths and height are those of the bare tile.

    `rings` are the rings of `grid` that it is made for; `r_inner_mm` and `r_outer_mm` are the
    radii of the innermost of them (None for a special format that belongs to no ring).
    """

    code: str
    grid: GridName
    rings: tuple[int, ...]
    r_inner_mm: float | None
    r_outer_mm: float | None
    phi_rad: float
    inner_width_mm: float
    outer_width_mm: float
    height_mm: float
    foil_mm: float
    thickness_mm: float
    dimple: Dimple
    tolerances: Tolerances

    def corners_mm(self) -> Points:
        """Corners (4, 2) of the bare tile in the tile frame, from inner left counter-clockwise."""
        return trapezoid(self.inner_width_mm, self.outer_width_mm, self.height_mm)

    def wrapped_corners_mm(self) -> Points:
        """Corners (4, 2) of the wrapped tile: every edge moved out by the foil."""
        return trapezoid(
            *offset_trapezoid(
                self.inner_width_mm, self.outer_width_mm, self.height_mm, self.foil_mm
            )
        )


def offset_trapezoid(
    inner_width_mm: float, outer_width_mm: float, height_mm: float, offset_mm: float
) -> tuple[float, float, float]:
    """Inner width, outer width and height after every edge moved out by `offset_mm` (in when
    negative). The centre stays.

    With half opening angle a = atan((outer - inner) / (2 height)), a side moved out by d is
    d / cos(a) further at the same height, and the new inner and outer edges lie d beyond the old
    ones, where the width differs by 2 d tan(a).
    """
    slope = (outer_width_mm - inner_width_mm) / (2 * height_mm)
    beside = offset_mm * math.hypot(1.0, slope)
    inner = inner_width_mm + 2 * (beside - offset_mm * slope)
    outer = outer_width_mm + 2 * (beside + offset_mm * slope)
    return inner, outer, height_mm + 2 * offset_mm


def cell(grid: RingGrid, ring: int) -> tuple[float, float, float]:
    """Inner width, outer width and height of the straight-edged cell of a ring.

    The corners of the cell are the four corners of the annular sector, so for radii r0 < r1 and
    opening angle p: widths 2 r sin(p/2), height (r1 - r0) cos(p/2). Cells of neighbouring columns
    and rings share their edges.
    """
    r0, r1 = grid.edges_mm(ring)
    half = grid.phi_rad / 2
    return 2 * r0 * math.sin(half), 2 * r1 * math.sin(half), (r1 - r0) * math.cos(half)


def nominal_size(
    grid: RingGrid, rings: tuple[int, ...], allowances: Allowances
) -> tuple[float, float, float]:
    """Inner width, outer width and height (mm) of the bare tile that fits in all `rings`.

    Opening angle and height are (nearly) the same in all of them and widths grow with the radius,
    so this is the cell of the innermost ring, cut to the smallest height of the group, with every
    edge moved in by half the gap plus the foil. In the outer rings of the group the gap beside the
    tile is wider than nominal.

    Raises:
        ValueError: when nothing of the cell is left.
    """
    inner, outer, height = cell(grid, min(rings))
    lowest = min(cell(grid, ring)[2] for ring in rings)
    slope = (outer - inner) / (2 * height)
    bare = offset_trapezoid(
        inner, inner + 2 * slope * lowest, lowest, -(allowances.gap_mm / 2 + allowances.foil_mm)
    )
    if min(bare) <= 0:
        raise ValueError(f"gap and foil leave nothing of the cell of ring {min(rings)}")
    return bare
