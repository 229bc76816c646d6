"""Tile formats, board shapes and labels: the parts that the station knows how to build."""

from station.catalogue.board_shape import BoardShape, Fiducial, TilePosition
from station.catalogue.catalogue import Catalogue, load_catalogue
from station.catalogue.label import Label, LabelError, format_label, parse_label
from station.catalogue.tile_format import Allowances, Dimple, RingGrid, TileFormat, Tolerances

__all__ = [
    "Allowances",
    "BoardShape",
    "Catalogue",
    "Dimple",
    "Fiducial",
    "Label",
    "LabelError",
    "RingGrid",
    "TileFormat",
    "TilePosition",
    "Tolerances",
    "format_label",
    "load_catalogue",
    "parse_label",
]
