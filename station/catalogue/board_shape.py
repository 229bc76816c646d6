"""Board shapes: where the tiles, SiPMs and fiducials of a tileboard are."""

from dataclasses import dataclass, field

from station.catalogue.polygon import Points
from station.catalogue.tile_format import GridName

CHANNELS_PER_ROC = 72
MAX_CHANNELS = 144


@dataclass(frozen=True)
class TilePosition:
    """One place for a tile on a board, in the board frame.

    `index` counts from 0 in the order of the board's positions; `row` counts from 1 outward and
    `column` from 1 rightward (columns that a cut removed are counted too); `ring` counts from 1
    (None on a board that is not made of rings). `x_mm`, `y_mm` is the centre of the tile and
    `rotation_rad` its rotation, counter-clockwise. `channel` counts from 0 over all ROCs.
    """

    index: int
    ring: int | None
    row: int
    column: int
    channel: int
    x_mm: float
    y_mm: float
    rotation_rad: float
    format_code: str
    sipm_x_mm: float
    sipm_y_mm: float

    @property
    def name(self) -> str:
        """The position as people say it, such as ``R3C2``."""
        return f"R{self.row}C{self.column}"

    @property
    def roc(self) -> int:
        return self.channel // CHANNELS_PER_ROC

    @property
    def roc_channel(self) -> int:
        return self.channel % CHANNELS_PER_ROC


@dataclass(frozen=True)
class Fiducial:
    """A disc on the board that the camera can find."""

    x_mm: float
    y_mm: float
    diameter_mm: float


@dataclass(frozen=True)
class BoardShape:
    """A tileboard layout. `cut` is F (full), L or R (columns missing on the left or right).

    `outline_mm` (n, 2) is the counter-clockwise edge of the board, read-only. Lengths in mm in the
    board frame: origin at the middle of the full board on its central line, y outward.
    """

    name: str
    letter: str
    rows: int
    cut: str
    grid: GridName
    sipm_area_mm2: float
    positions: tuple[TilePosition, ...]
    fiducials: tuple[Fiducial, ...]
    outline_mm: Points = field(compare=False, repr=False)

    @property
    def n_channels(self) -> int:
        return len(self.positions)

    @property
    def n_rocs(self) -> int:
        return max(p.roc for p in self.positions) + 1

    def position_of_channel(self, channel: int) -> TilePosition:
        """The position that a channel reads.

        Raises:
            KeyError: for a channel that this board does not have.
        """
        for position in self.positions:
            if position.channel == channel:
                return position
        raise KeyError(f"board shape {self.name} has no channel {channel}")
