"""The catalogue: tile formats and board shapes from the project's data and a site's own files."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from station.catalogue.board_shape import BoardShape
from station.catalogue.build_boards import BoardPlan, build_boards
from station.catalogue.build_formats import FormatPlan, build_formats, ring_grids
from station.catalogue.entries import CatalogueFile
from station.catalogue.label import Label, LabelError
from station.catalogue.merge import (
    Complaints,
    Layers,
    merged_grids,
    merged_list,
    merged_values,
)
from station.catalogue.tile_format import Allowances, RingGrid, TileFormat
from station.settings import Problem, SettingsError, SettingsFile, read_settings

DATA = Path(__file__).parent / "data"


@dataclass(frozen=True)
class Catalogue:
    """What the station knows how to build. `tile_formats` by size code, `board_shapes` by name."""

    tile_formats: Mapping[str, TileFormat]
    board_shapes: Mapping[str, BoardShape]
    allowances: Allowances
    grids: Mapping[str, RingGrid]

    def format_of(self, label: Label) -> TileFormat:
        """The format of a bare or wrapped tile.

        Raises:
            LabelError: for a part that is no tile, or a size code that the catalogue does not have.
        """
        if label.format_code is None:
            raise LabelError(label.text, f"names a {_word(label)}, not a tile")
        if label.format_code not in self.tile_formats:
            raise LabelError(label.text, f"the catalogue has no tile format {label.format_code!r}")
        return self.tile_formats[label.format_code]

    def shape_of(self, label: Label) -> BoardShape:
        """The shape of a tileboard or tile module.

        Raises:
            LabelError: for a part that is no board, or a shape that the catalogue does not have.
        """
        if label.shape_name is None:
            raise LabelError(label.text, f"names a {_word(label)}, not a tileboard or tile module")
        if label.shape_name not in self.board_shapes:
            raise LabelError(label.text, f"the catalogue has no board shape {label.shape_name!r}")
        return self.board_shapes[label.shape_name]

    def of_label(self, label: Label) -> TileFormat | BoardShape | None:
        """The tile format or board shape that a label names; None for parts that have neither.

        Raises:
            LabelError: when the catalogue does not have it.
        """
        if label.format_code is not None:
            return self.format_of(label)
        if label.shape_name is not None:
            return self.shape_of(label)
        return None


def load_catalogue(*site_files: Path) -> Catalogue:
    """The project's catalogue, with entries added or replaced by a site's files in their order.

    Raises:
        SettingsError: naming file, line and field of everything that is wrong with a site file;
            nothing of it is used.
    """
    layers = _read_layers(site_files)
    complaints = Complaints()
    formats = FormatPlan(
        grids=merged_grids(layers),
        shared=merged_values(layers, "tile"),
        entries=merged_list(layers, "tile_format", "code", complaints),
        complaints=complaints,
    )
    tile_formats = build_formats(formats)
    complaints.stop_if_any()
    grids = ring_grids(formats.grids)
    boards = BoardPlan(
        grids=grids,
        grid_entries=formats.grids,
        formats=tile_formats,
        format_origins=formats.origins,
        shared=merged_values(layers, "board"),
        families=merged_list(layers, "board_family", "letter", complaints),
        entries=merged_list(layers, "board_shape", "name", complaints),
        complaints=complaints,
    )
    board_shapes = build_boards(boards)
    complaints.stop_if_any()
    return Catalogue(
        MappingProxyType(tile_formats),
        MappingProxyType(board_shapes),
        formats.allowances,
        MappingProxyType(grids),
    )


def _read_layers(site_files: tuple[Path, ...]) -> Layers:
    layers = [(0, file) for file in _own_files()]
    problems: list[Problem] = []
    for layer, path in enumerate(site_files, start=1):
        try:
            layers.append((layer, read_settings(path, CatalogueFile)))
        except SettingsError as error:
            problems.extend(error.problems)
    if problems:
        raise SettingsError(*problems)
    return layers


@functools.cache
def _own_files() -> tuple[SettingsFile[CatalogueFile], ...]:
    return tuple(read_settings(path, CatalogueFile) for path in sorted(DATA.glob("*.toml")))


def _word(label: Label) -> str:
    return "SiPM" if label.kind == "sipm" else label.kind.replace("_", " ")
