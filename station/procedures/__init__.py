"""Procedures of the line: generators of events that know roles, never brands."""

from station.procedures.inspect_tile import TileInSlot, inspect_tile, inspection_limits
from station.procedures.place_tiles import BoardInPlace, PlaceTask, place_tiles
from station.procedures.seen import SeenPoint
from station.procedures.test_board import BoardUnderTest, test_board
from station.procedures.wrap_tiles import BareTile, wrap_tiles

__all__ = [
    "BareTile",
    "BoardInPlace",
    "BoardUnderTest",
    "PlaceTask",
    "SeenPoint",
    "TileInSlot",
    "inspect_tile",
    "inspection_limits",
    "place_tiles",
    "test_board",
    "wrap_tiles",
]
