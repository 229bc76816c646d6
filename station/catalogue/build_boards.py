"""Board shapes made from the entries of catalogue files."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from station.catalogue import layout
from station.catalogue.board_shape import BoardShape, Fiducial
from station.catalogue.entries import (
    BoardFamilyEntry,
    BoardShapeEntry,
    GridEntry,
    PositionEntry,
)
from station.catalogue.label import BOARD_LETTERS, BOARD_ROWS, LabelError, parse_shape_name
from station.catalogue.merge import Complaints, Entry, Origin
from station.catalogue.polygon import Points, area_mm2
from station.catalogue.tile_format import RingGrid, TileFormat


@dataclass(frozen=True)
class BoardPlan:
    """What board shapes are made of: the merged entries of all files and the tile formats."""

    grids: Mapping[str, RingGrid]
    grid_entries: Mapping[str, Entry[GridEntry]]
    formats: Mapping[str, TileFormat]
    format_origins: Mapping[str, list[Origin]]
    shared: Mapping[str, Entry[Any]]
    families: Mapping[str, Entry[BoardFamilyEntry]]
    entries: Mapping[str, Entry[BoardShapeEntry]]
    complaints: Complaints

    def ring_formats(self, grid: RingGrid) -> dict[int, TileFormat]:
        """The tile format of each ring of a grid."""
        return {r: f for f in self.formats.values() if f.grid == grid.name for r in f.rings}


def build_boards(plan: BoardPlan) -> dict[str, BoardShape]:
    """All board shapes by name; what is wrong goes to the plan's complaints."""
    made: dict[str, tuple[BoardShape | None, Origin]] = {}
    for family in plan.families.values():
        for name in _members(plan, family):
            if name not in plan.entries:
                made[name] = _ring_board(plan, name, family, family.origin), family.origin
    for name, entry in plan.entries.items():
        made[name] = _board_of_entry(plan, entry), entry.origin
    shapes = {}
    for name, (shape, origin) in made.items():
        if shape is not None:
            _complain_of_faults(plan, shape, origin)
            shapes[name] = shape
    return shapes


def _members(plan: BoardPlan, family: Entry[BoardFamilyEntry]) -> Iterator[str]:
    letter = family.value.letter
    if letter not in tuple(BOARD_LETTERS):
        expected = f"a letter that labels can carry: {', '.join(BOARD_LETTERS)}"
        plan.complaints.add([family.origin], repr(letter), expected)
        return
    for index, rows in enumerate(family.value.rows):
        if rows not in BOARD_ROWS:
            at = family.origin.inside("rows", index)
            plan.complaints.add([at], f"{rows} rows", "3 to 12 rows, as labels can carry")
            continue
        for cut in family.value.cuts:
            yield f"{letter}{rows}{cut}"


def _board_of_entry(plan: BoardPlan, entry: Entry[BoardShapeEntry]) -> BoardShape | None:
    given = entry.value
    try:
        letter, _rows, _cut = parse_shape_name(given.name)
    except LabelError as error:
        plan.complaints.add([entry.origin], repr(given.name), f"a board shape name: {error.reason}")
        return None
    if given.position is not None:
        return _explicit_board(plan, entry, given.position)
    if letter not in plan.families:
        plan.complaints.add(
            [entry.origin],
            f"{given.name!r} without a [[board_family]] of letter {letter}",
            "one, or explicit positions",
        )
        return None
    family = plan.families[letter]
    if given.sipm is not None:
        family = Entry(family.value.model_copy(update={"sipm": given.sipm}), family.origin)
    return _ring_board(plan, given.name, family, entry.origin)


def _ring_board(
    plan: BoardPlan, name: str, family: Entry[BoardFamilyEntry], origin: Origin
) -> BoardShape | None:
    letter, rows, cut = parse_shape_name(name)
    grid, first = plan.grids[family.value.grid], family.value.first_ring
    grid_origin = plan.grid_entries[grid.name].origin
    if first + rows - 1 > grid.n_rings:
        plan.complaints.add(
            [origin, family.origin, grid_origin],
            f"board shape {name} up to ring {first + rows - 1}",
            f"rings 1 to {grid.n_rings} of the {grid.name} grid",
        )
        return None
    formats = plan.ring_formats(grid)
    empty = [ring for ring in range(first, first + rows) if ring not in formats]
    if empty:
        all_formats = [o for origins in plan.format_origins.values() for o in origins]
        plan.complaints.add(
            [origin, family.origin, grid_origin, *all_formats],
            f"no tile format for ring {empty[0]} of board shape {name}",
            "a tile format for every ring",
        )
        return None
    removed = getattr(plan.shared["removed_columns"].value, grid.name)
    columns = layout.columns_left(grid.columns, cut, removed)
    if not columns:
        plan.complaints.add(
            [plan.shared["removed_columns"].origin, origin, family.origin, grid_origin],
            f"{removed} of {grid.columns} columns cut from board shape {name}",
            "columns that are left",
        )
        return None
    block = layout.RingBlock(grid, first, rows, columns, plan.shared["rim_mm"].value)
    outline = layout.ring_outline_mm(block)
    outline.setflags(write=False)
    return BoardShape(
        name=name,
        letter=letter,
        rows=rows,
        cut=cut,
        grid=family.value.grid,
        sipm_area_mm2=float(family.value.sipm),
        positions=layout.ring_positions(block, formats),
        fiducials=layout.rim_fiducials(block, plan.shared["fiducials"].value),
        outline_mm=outline,
    )


def _explicit_board(
    plan: BoardPlan, entry: Entry[BoardShapeEntry], places: tuple[PositionEntry, ...]
) -> BoardShape | None:
    given = entry.value
    letter, rows, cut = parse_shape_name(given.name)
    outline = np.array(given.outline_mm, dtype=np.float64)
    outline.setflags(write=False)
    if not _explicit_entry_is_good(plan, entry, places, outline) or given.sipm is None:
        return None
    grids = {plan.formats[place.format].grid for place in places}
    return BoardShape(
        name=given.name,
        letter=letter,
        rows=rows,
        cut=cut,
        grid=grids.pop() if len(grids) == 1 else "free",
        sipm_area_mm2=float(given.sipm),
        positions=tuple(
            layout.tile_position(
                plan.formats[place.format],
                index=index,
                ring=place.ring,
                row=place.row,
                column=place.column,
                channel=index if place.channel is None else place.channel,
                x_mm=place.x_mm,
                y_mm=place.y_mm,
                rotation_rad=math.radians(place.rotation_deg),
            )
            for index, place in enumerate(places)
        ),
        fiducials=tuple(Fiducial(f.x_mm, f.y_mm, f.diameter_mm) for f in given.fiducial or ()),
        outline_mm=outline,
    )


def _explicit_entry_is_good(
    plan: BoardPlan,
    entry: Entry[BoardShapeEntry],
    places: tuple[PositionEntry, ...],
    outline: Points,
) -> bool:
    before = len(plan.complaints.problems)
    with_channel = sum(place.channel is not None for place in places)
    if with_channel not in (0, len(places)):
        plan.complaints.add(
            [entry.origin], f"a channel at {with_channel} of {len(places)} positions", "all or none"
        )
    for index, place in enumerate(places):
        if place.format not in plan.formats:
            at = entry.origin.inside("position", index, "format")
            plan.complaints.add([at], repr(place.format), "a tile format of the catalogue")
    if area_mm2(outline) <= 0:
        at = entry.origin.inside("outline_mm")
        plan.complaints.add([at], "corners that go clockwise", "counter-clockwise corners")
    rows = len({place.row for place in places})
    if rows != parse_shape_name(entry.value.name)[1]:
        plan.complaints.add(
            [entry.origin],
            f"{entry.value.name!r} with {rows} rows",
            "as many rows as its name says",
        )
    return len(plan.complaints.problems) == before


def _complain_of_faults(plan: BoardPlan, shape: BoardShape, origin: Origin) -> None:
    """Checks every shape that a site's file has a part in; the project's own are known good."""
    involved = [origin, *(entry.origin for entry in plan.shared.values())]
    for code in {position.format_code for position in shape.positions}:
        involved += plan.format_origins[code]
    if all(origin.layer == 0 for origin in involved):
        return
    for found, expected in layout.faults(shape, plan.formats):
        plan.complaints.add(involved, f"in board shape {shape.name} {found}", expected)
