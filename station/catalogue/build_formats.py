"""Tile formats made from the entries of catalogue files."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from station.catalogue.entries import GridEntry, TileFormatEntry
from station.catalogue.label import SIZE_CODES
from station.catalogue.merge import Complaints, Entry, Origin
from station.catalogue.polygon import distance_to_outline_mm, trapezoid
from station.catalogue.tile_format import (
    Allowances,
    Dimple,
    RingGrid,
    TileFormat,
    Tolerances,
    cell,
    nominal_size,
    offset_trapezoid,
)

ROUNDING_MM = 1e-6
"""Lengths that differ by less are the same: nothing is made to a nanometre."""


@dataclass(frozen=True)
class FormatPlan:
    """What tile formats are made of: the merged entries of all files.

    `origins` is filled with everything that a format depends on, by code.
    """

    grids: Mapping[str, Entry[GridEntry]]
    shared: Mapping[str, Entry[Any]]
    entries: Mapping[str, Entry[TileFormatEntry]]
    complaints: Complaints
    origins: dict[str, list[Origin]] = field(default_factory=dict)

    @property
    def allowances(self) -> Allowances:
        return Allowances(self.shared["gap_mm"].value, self.shared["foil_mm"].value)


def ring_grids(grids: Mapping[str, Entry[GridEntry]]) -> dict[str, RingGrid]:
    """The grids by name."""
    return {
        name: RingGrid(name, e.value.n_phi, e.value.columns, e.value.ring_edges_mm)
        for name, e in grids.items()
    }


def build_formats(plan: FormatPlan) -> dict[str, TileFormat]:
    """All tile formats by code; what is wrong goes to the plan's complaints."""
    _check_ring_owners(plan)
    grids = ring_grids(plan.grids)
    formats = {}
    for code, entry in plan.entries.items():
        plan.origins[code] = _origins(plan, entry)
        if code not in SIZE_CODES:
            plan.complaints.add(
                [entry.origin],
                repr(code),
                "a size code that labels can carry: 00 to 98 even, 99, F1 to F7 or S1 to S5",
            )
            continue
        grid, rings = _grid_and_rings(entry.value, grids)
        outside = [ring for ring in rings if grid is not None and not 1 <= ring <= grid.n_rings]
        if grid is not None and outside:
            plan.complaints.add(
                [entry.origin.inside("rings"), *plan.origins[code]],
                f"ring {outside[0]}",
                f"rings 1 to {grid.n_rings} of the {grid.name} grid",
            )
            continue
        size = _size(plan, entry, grid, rings)
        if size is not None:
            formats[code] = _tile_format(plan, entry, grid, size)
    return formats


def _grid_and_rings(
    given: TileFormatEntry, grids: Mapping[str, RingGrid]
) -> tuple[RingGrid | None, tuple[int, ...]]:
    if given.grid is None or given.rings is None:
        return None, ()
    return grids[given.grid], given.rings


def _origins(plan: FormatPlan, entry: Entry[TileFormatEntry]) -> list[Origin]:
    origins = [entry.origin, plan.shared["gap_mm"].origin, plan.shared["foil_mm"].origin]
    if entry.value.grid is not None:
        origins.append(plan.grids[entry.value.grid].origin)
    return origins


def _check_ring_owners(plan: FormatPlan) -> None:
    owners: dict[tuple[str, int], Entry[TileFormatEntry]] = {}
    for entry in plan.entries.values():
        for ring in entry.value.rings or ():
            other = owners.setdefault((str(entry.value.grid), ring), entry)
            if other is not entry:
                plan.complaints.add(
                    [entry.origin, other.origin],
                    f"ring {ring} of the {entry.value.grid} grid in formats "
                    f"{other.value.code!r} and {entry.value.code!r}",
                    "one tile format per ring",
                )


def _size(
    plan: FormatPlan, entry: Entry[TileFormatEntry], grid: RingGrid | None, rings: tuple[int, ...]
) -> tuple[float, float, float] | None:
    given, allowances = entry.value, plan.allowances
    if given.size is None:
        if grid is None:
            raise AssertionError("an entry without a size has a grid")
        try:
            return nominal_size(grid, rings, allowances)
        except ValueError as error:
            plan.complaints.add(
                plan.origins[given.code], str(error), f"room for tile format {given.code!r}"
            )
            return None
    size = (given.size.inner_width_mm, given.size.outer_width_mm, given.size.height_mm)
    space = trapezoid(*offset_trapezoid(*size, allowances.foil_mm + allowances.gap_mm / 2))
    cells = {} if grid is None else {ring: trapezoid(*cell(grid, ring)) for ring in rings}
    for ring, corners in cells.items():
        beyond = float(distance_to_outline_mm(space, corners).max())
        if beyond > ROUNDING_MM:
            plan.complaints.add(
                plan.origins[given.code],
                f"tile format {given.code!r} {beyond:.3f} mm too large for ring {ring}",
                "a tile that leaves room for foil and gap",
            )
            return None
    return size


def _tile_format(
    plan: FormatPlan,
    entry: Entry[TileFormatEntry],
    grid: RingGrid | None,
    size: tuple[float, float, float],
) -> TileFormat:
    given = entry.value
    inner, outer, height = size
    dimple = given.dimple or plan.shared["dimple"].value
    tolerances = given.tolerances or plan.shared["tolerances"].value
    centre = np.array([(dimple.x_mm, dimple.y_mm)])
    if distance_to_outline_mm(centre, trapezoid(*size))[0] > -dimple.diameter_mm / 2:
        plan.complaints.add(
            [entry.origin, plan.shared["dimple"].origin],
            f"a dimple across the edge of tile format {given.code!r}",
            "a dimple inside the tile",
        )
    r_inner, r_outer = grid.edges_mm(min(given.rings)) if grid and given.rings else (None, None)
    return TileFormat(
        code=given.code,
        grid=given.grid or "free",
        rings=given.rings or (),
        r_inner_mm=r_inner,
        r_outer_mm=r_outer,
        phi_rad=grid.phi_rad if grid else 2 * math.atan((outer - inner) / (2 * height)),
        inner_width_mm=inner,
        outer_width_mm=outer,
        height_mm=height,
        foil_mm=plan.allowances.foil_mm,
        thickness_mm=given.thickness_mm or plan.shared["thickness_mm"].value,
        dimple=Dimple(dimple.x_mm, dimple.y_mm, dimple.diameter_mm),
        tolerances=Tolerances(
            tolerances.size_mm,
            tolerances.dimple_mm,
            tolerances.placement_mm,
            math.radians(tolerances.rotation_deg),
        ),
    )
