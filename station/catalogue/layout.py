"""How the rule makes a board of rings, columns and a cut, and what must hold for every board."""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from station.catalogue.board_shape import (
    MAX_CHANNELS,
    BoardShape,
    Fiducial,
    TilePosition,
)
from station.catalogue.entries import RimFiducialEntry
from station.catalogue.polygon import Points, distance_to_outline_mm, gap_mm
from station.catalogue.tile_format import RingGrid, TileFormat

FIDUCIAL_AMBIGUITY_MM = 1.0
"""Fiducial patterns closer than this to a turned or mirrored self cannot tell how a board lies."""


@dataclass(frozen=True)
class RingBlock:
    """The tiles of a board made by rule: `rows` rings outward from `first_ring`, the `columns` that
    its cut leaves (numbers from 1, left to right, of the full board), and the rim beyond them."""

    grid: RingGrid
    first_ring: int
    rows: int
    columns: Sequence[int]
    rim_mm: float

    @property
    def inner_mm(self) -> float:
        """Radius of the board's inner edge."""
        return self.grid.edges_mm(self.first_ring)[0] - self.rim_mm

    @property
    def outer_mm(self) -> float:
        """Radius of the board's outer edge."""
        return self.grid.edges_mm(self.first_ring + self.rows - 1)[1] + self.rim_mm

    @property
    def middle_mm(self) -> float:
        """Distance from the beam axis to the middle of the full board's outline, where the origin
        of the board frame is."""
        lowest = self.inner_mm * math.cos(self.grid.columns / 2 * self.grid.phi_rad)
        return (lowest + self.outer_mm) / 2

    @property
    def left_rad(self) -> float:
        """Angle of the left side, from the central line of the full board to the right."""
        return self.angle_rad(self.columns[0]) - self.grid.phi_rad / 2

    @property
    def width_rad(self) -> float:
        """Angle from the left side to the right side."""
        return len(self.columns) * self.grid.phi_rad

    def angle_rad(self, column: int) -> float:
        """Angle of the middle of a column, from the central line to the right."""
        return (column - (self.grid.columns + 1) / 2) * self.grid.phi_rad

    def board_mm(self, radius_mm: Points | float, angle_rad: Points | float) -> Points:
        """Board coordinates (n, 2) of points given by radius and angle."""
        x = radius_mm * np.sin(angle_rad)
        y = radius_mm * np.cos(angle_rad) - self.middle_mm
        return np.column_stack((x, y))


def columns_left(columns: int, cut: str, removed: int) -> range:
    """Column numbers (from 1, left to right) that a cut leaves of a full board."""
    match cut:
        case "L":
            return range(1 + removed, columns + 1)
        case "R":
            return range(1, columns - removed + 1)
        case _:
            return range(1, columns + 1)


def ring_positions(block: RingBlock, formats: Mapping[int, TileFormat]) -> tuple[TilePosition, ...]:
    """Tile positions row by row from the innermost, each row from left to right.

    The tile of ring edges r0 < r1 and column c stands in the middle of its straight-edged cell: at
    radius (r0 + r1)/2 cos(p/2) on the line at angle t = (c - (n + 1)/2) p to the right of the
    board's central line, for opening angle p and n columns of a full board; turned by -t. Channels
    follow the positions, none is skipped.

    Args:
        formats: tile format of each ring.
    """
    positions: list[TilePosition] = []
    angles = np.array([block.angle_rad(column) for column in block.columns])
    for row, ring in enumerate(range(block.first_ring, block.first_ring + block.rows), start=1):
        radius = sum(block.grid.edges_mm(ring)) / 2 * math.cos(block.grid.phi_rad / 2)
        centres = block.board_mm(radius, angles)
        for column, angle, (x_mm, y_mm) in zip(block.columns, angles, centres, strict=True):
            positions.append(
                tile_position(
                    formats[ring],
                    index=len(positions),
                    ring=ring,
                    row=row,
                    column=column,
                    channel=len(positions),
                    x_mm=float(x_mm),
                    y_mm=float(y_mm),
                    rotation_rad=-float(angle),
                )
            )
    return tuple(positions)


def tile_position(
    tile_format: TileFormat,
    *,
    index: int,
    ring: int | None,
    row: int,
    column: int,
    channel: int,
    x_mm: float,
    y_mm: float,
    rotation_rad: float,
) -> TilePosition:
    """A position whose SiPM stands where the dimple of a tile of that format comes to lie."""
    dimple, c, s = tile_format.dimple, math.cos(rotation_rad), math.sin(rotation_rad)
    return TilePosition(
        index=index,
        ring=ring,
        row=row,
        column=column,
        channel=channel,
        x_mm=x_mm,
        y_mm=y_mm,
        rotation_rad=rotation_rad,
        format_code=tile_format.code,
        sipm_x_mm=x_mm + c * dimple.x_mm - s * dimple.y_mm,
        sipm_y_mm=y_mm + s * dimple.x_mm + c * dimple.y_mm,
    )


def ring_outline_mm(block: RingBlock) -> Points:
    """Outline (n, 2) of a board: its cells' outer edges, with the rim added inward and outward."""
    angles: Points = block.left_rad + block.grid.phi_rad * np.arange(len(block.columns) + 1.0)
    inner = block.board_mm(block.inner_mm, angles)
    outer = block.board_mm(block.outer_mm, angles)
    return np.concatenate((inner, outer[::-1]))


def rim_fiducials(block: RingBlock, places: Sequence[RimFiducialEntry]) -> tuple[Fiducial, ...]:
    """Discs in the middle of the rim, `along` of the way from its left to its right end."""
    discs = []
    for place in places:
        edge = block.inner_mm if place.edge == "inner" else block.outer_mm
        toward_tiles = block.rim_mm / 2 if place.edge == "inner" else -block.rim_mm / 2
        angle = block.left_rad + place.along * block.width_rad
        x_mm, y_mm = block.board_mm(edge + toward_tiles, angle)[0]
        discs.append(Fiducial(float(x_mm), float(y_mm), place.diameter_mm))
    return tuple(discs)


def tile_outlines_mm(shape: BoardShape, formats: Mapping[str, TileFormat]) -> Points:
    """Corners (n_positions, 4, 2) of the nominal wrapped tiles in the board frame."""
    codes = [p.format_code for p in shape.positions]
    wrapped = {code: formats[code].wrapped_corners_mm() for code in set(codes)}
    corners = np.stack([wrapped[code] for code in codes])
    x_mm, y_mm, turn = np.array([(p.x_mm, p.y_mm, p.rotation_rad) for p in shape.positions]).T
    c, s = np.cos(turn)[:, None], np.sin(turn)[:, None]
    x, y = corners[..., 0], corners[..., 1]
    outlines: Points = np.stack(
        (c * x - s * y + x_mm[:, None], s * x + c * y + y_mm[:, None]), axis=-1
    )
    return outlines


def overlaps_mm(tiles: Points) -> Iterator[tuple[int, int, float]]:
    """Pairs of overlapping tiles (first index, second index, depth in mm).

    Args:
        tiles: convex corners (n, 4, 2).
    """
    centres = tiles.mean(axis=1)
    reach = np.linalg.norm(tiles - centres[:, None, :], axis=2).max(axis=1)
    apart = np.linalg.norm(centres[:, None, :] - centres[None, :, :], axis=2)
    first, second = np.nonzero(np.triu(apart < reach[:, None] + reach[None, :], k=1))
    gaps = gap_mm(tiles[first], tiles[second])
    for pair in np.flatnonzero(gaps < 0):
        yield int(first[pair]), int(second[pair]), float(-gaps[pair])


def faults(shape: BoardShape, formats: Mapping[str, TileFormat]) -> Iterator[tuple[str, str]]:
    """What is wrong with a board shape, as (what was found, what was expected); empty when good."""
    yield from _numbering_faults(shape)
    tiles = tile_outlines_mm(shape, formats)
    for i, j, depth in overlaps_mm(tiles):
        names = f"{shape.positions[i].name} and {shape.positions[j].name}"
        yield f"tiles {names} overlapping by {depth:.3f} mm", "tiles that keep apart"
    beyond = distance_to_outline_mm(tiles.reshape(-1, 2), shape.outline_mm).reshape(-1, 4)
    for index in np.flatnonzero(beyond.max(axis=1) > 0):
        name, reach = shape.positions[index].name, beyond[index].max()
        yield f"tile {name} {reach:.3f} mm outside the outline", "tiles on the board"
    yield from _fiducial_faults(shape, tiles)


def _numbering_faults(shape: BoardShape) -> Iterator[tuple[str, str]]:
    seen: dict[int, str] = {}
    places: set[str] = set()
    for position in shape.positions:
        if position.channel >= MAX_CHANNELS:
            yield f"channel {position.channel}", f"channels below {MAX_CHANNELS}"
        if position.channel in seen:
            names = f"{seen[position.channel]} and {position.name}"
            yield f"channel {position.channel} at {names}", "one position per channel"
        if position.name in places:
            yield f"two positions {position.name}", "one tile per row and column"
        seen[position.channel] = position.name
        places.add(position.name)


def _fiducial_faults(shape: BoardShape, tiles: Points) -> Iterator[tuple[str, str]]:
    centres = np.array([(f.x_mm, f.y_mm) for f in shape.fiducials])
    radii = np.array([f.diameter_mm / 2 for f in shape.fiducials])
    beyond = distance_to_outline_mm(centres, shape.outline_mm) + radii
    for number, reach in enumerate(beyond, start=1):
        if reach > 0:
            yield f"fiducial {number} {reach:.3f} mm outside the outline", "fiducials on the board"
    middles = tiles.mean(axis=1)
    reach = np.linalg.norm(tiles - middles[:, None, :], axis=2).max(axis=1)
    for number, (centre, radius) in enumerate(zip(centres, radii, strict=True), start=1):
        near = np.linalg.norm(middles - centre, axis=1) < reach + radius
        for index in np.flatnonzero(near):
            if distance_to_outline_mm(centre[None, :], tiles[index])[0] < radius:
                name = shape.positions[index].name
                yield f"fiducial {number} under tile {name}", "fiducials beside the tiles"
    distances = np.linalg.norm(centres[:, None, :] - centres[None, :, :], axis=2)
    for order in itertools.permutations(range(len(centres))):
        changed = np.abs(distances[np.ix_(order, order)] - distances).max()
        if order != tuple(range(len(centres))) and changed < FIDUCIAL_AMBIGUITY_MM:
            yield (
                "fiducials that look the same when the board is turned or mirrored",
                "an asymmetrical pattern",
            )
            return
