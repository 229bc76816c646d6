"""What a catalogue file may hold: the same for the project's own data and a site's files."""

import itertools
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from station.settings import Settings

RingGridName = Literal["coarse", "fine"]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Point = tuple[float, float]


class GridEntry(Settings):
    n_phi: Annotated[int, Field(ge=8)]
    columns: Annotated[int, Field(ge=2, multiple_of=2)]
    ring_edges_mm: Annotated[tuple[Positive, ...], Field(min_length=2)]

    @field_validator("ring_edges_mm")
    @classmethod
    def edges_grow(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        for inner, outer in itertools.pairwise(edges):
            if outer <= inner:
                raise ValueError(f"ring edges that grow ({outer} follows {inner})")
        return edges


class DimpleEntry(Settings):
    x_mm: float
    y_mm: float
    diameter_mm: Positive


class TolerancesEntry(Settings):
    size_mm: Positive
    dimple_mm: Positive
    placement_mm: Positive
    rotation_deg: Positive


class TileEntry(Settings):
    """Values shared by all tile formats; a site file may give some of them."""

    gap_mm: NotNegative | None = None
    foil_mm: NotNegative | None = None
    thickness_mm: Positive | None = None
    dimple: DimpleEntry | None = None
    tolerances: TolerancesEntry | None = None


class SizeEntry(Settings):
    """Outline of a bare tile, instead of the one computed from its rings."""

    inner_width_mm: Positive
    outer_width_mm: Positive
    height_mm: Positive


class TileFormatEntry(Settings):
    """A tile format: rings of a grid, or a size, or both (a size made for those rings)."""

    code: str
    grid: RingGridName | None = None
    rings: Annotated[tuple[int, ...], Field(min_length=1)] | None = None
    size: SizeEntry | None = None
    thickness_mm: Positive | None = None
    dimple: DimpleEntry | None = None
    tolerances: TolerancesEntry | None = None

    @model_validator(mode="after")
    def says_its_size(self) -> Self:
        if (self.grid is None) != (self.rings is None):
            raise ValueError("grid and rings together")
        if self.rings is None and self.size is None:
            raise ValueError("grid and rings, or a size")
        return self


class RemovedColumnsEntry(Settings):
    coarse: Annotated[int, Field(ge=1)]
    fine: Annotated[int, Field(ge=1)]


class RimFiducialEntry(Settings):
    edge: Literal["inner", "outer"]
    along: Annotated[float, Field(ge=0, le=1)]
    diameter_mm: Positive


class BoardEntry(Settings):
    """Values shared by all boards that follow a rule; a site file may give some of them."""

    removed_columns: RemovedColumnsEntry | None = None
    rim_mm: NotNegative | None = None
    fiducials: Annotated[tuple[RimFiducialEntry, ...], Field(min_length=3, max_length=4)] | None = (
        None
    )


class BoardFamilyEntry(Settings):
    """All boards of one letter: a grid, the innermost ring, and the rows and cuts that exist."""

    letter: str
    grid: RingGridName
    first_ring: Annotated[int, Field(ge=1)]
    rows: Annotated[tuple[int, ...], Field(min_length=1)]
    cuts: Annotated[tuple[Literal["F", "L", "R"], ...], Field(min_length=1)]
    sipm: Literal["04", "09"]


class PositionEntry(Settings):
    """One tile of a board that is given position by position."""

    row: Annotated[int, Field(ge=1)]
    column: Annotated[int, Field(ge=1)]
    x_mm: float
    y_mm: float
    rotation_deg: float = 0.0
    format: str
    channel: Annotated[int, Field(ge=0)] | None = None
    ring: Annotated[int, Field(ge=1)] | None = None


class FiducialEntry(Settings):
    x_mm: float
    y_mm: float
    diameter_mm: Positive


class BoardShapeEntry(Settings):
    """One board shape: by the rule of its letter's family, or by explicit positions."""

    name: str
    sipm: Literal["04", "09"] | None = None
    position: Annotated[tuple[PositionEntry, ...], Field(min_length=1)] | None = None
    fiducial: Annotated[tuple[FiducialEntry, ...], Field(min_length=3, max_length=4)] | None = None
    outline_mm: Annotated[tuple[Point, ...], Field(min_length=3)] | None = None

    @model_validator(mode="after")
    def explicit_boards_say_everything(self) -> Self:
        if self.position is None and (self.fiducial or self.outline_mm):
            raise ValueError("fiducial and outline_mm only with explicit positions")
        if self.position is not None and not (self.sipm and self.fiducial and self.outline_mm):
            raise ValueError("sipm, fiducial and outline_mm together with explicit positions")
        return self


class CatalogueFile(Settings):
    grid: dict[RingGridName, GridEntry] = Field(default_factory=dict)
    tile: TileEntry = TileEntry()
    tile_format: tuple[TileFormatEntry, ...] = ()
    board: BoardEntry = BoardEntry()
    board_family: tuple[BoardFamilyEntry, ...] = ()
    board_shape: tuple[BoardShapeEntry, ...] = ()
