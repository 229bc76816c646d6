"""The cells of a board map: where each tile of a board shape is, as polygons in mm."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from station.catalogue import BoardShape, Catalogue


@dataclass(frozen=True)
class Cell:
    """One tile position; `corners_mm` (4, 2) in the board frame, y outward."""

    channel: int
    row: int
    column: int
    ring: int | None
    corners_mm: NDArray[np.float64]

    @property
    def place(self) -> str:
        """`ring 6, column 3`, or by row on a board that is not made of rings."""
        across = f"row {self.row}" if self.ring is None else f"ring {self.ring}"
        return f"{across}, column {self.column}"


def cells_of(shape: "BoardShape", catalogue: "Catalogue") -> tuple[Cell, ...]:
    """The outline of the wrapped tile of every position, turned and moved to its place."""
    cells = []
    for position in shape.positions:
        corners = catalogue.tile_formats[position.format_code].wrapped_corners_mm()
        c, s = math.cos(position.rotation_rad), math.sin(position.rotation_rad)
        turned = np.asarray(corners) @ np.array([[c, s], [-s, c]])
        cells.append(
            Cell(
                position.channel,
                position.row,
                position.column,
                position.ring,
                turned + np.array([position.x_mm, position.y_mm]),
            )
        )
    return tuple(cells)
