"""Where the tiles of a board are drawn, and the range of their colours."""

import numpy as np
import pytest

from tests.gui.conftest import NO_QT

pytest.importorskip("PyQt6.QtWidgets", reason=NO_QT, exc_type=ImportError)

from PyQt6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from gui.board_cells import cells_of
from gui.look import Look
from gui.scale import scale_of
from gui.state import Measured
from gui.widgets.board_map import BoardMap, MapContent
from gui.words import Value
from station.catalogue import BoardShape, Catalogue


def test_outer_rows_are_drawn_above_and_wider(
    qtbot: QtBot, qapp: QApplication, catalogue: Catalogue, board_shape: BoardShape
) -> None:
    drawn = BoardMap(Look(qapp, "light"))
    qtbot.addWidget(drawn)
    drawn.resize(700, 600)
    cells = cells_of(board_shape, catalogue)
    drawn.show_content(MapContent(cells, {}))
    rows = {cell.row: [c for c in cells if c.row == cell.row] for cell in cells}
    inner, outer = rows[min(rows)], rows[max(rows)]

    def top(row: list) -> float:
        return min(drawn.polygon(c.channel).boundingRect().top() for c in row)

    def width(row: list) -> float:
        boxes = [drawn.polygon(c.channel).boundingRect() for c in row]
        return max(b.right() for b in boxes) - min(b.left() for b in boxes)

    assert top(outer) < top(inner)
    assert width(outer) > width(inner)
    first = next(c for c in outer if c.column == min(x.column for x in outer))
    assert drawn.polygon(first.channel).boundingRect().center().x() < 350


@pytest.mark.parametrize("name", ["D8F", "J12F", "K4L", "B11R", "A5F"])
def test_every_kind_of_board_is_drawn_inside_the_map(
    qtbot: QtBot, qapp: QApplication, catalogue: Catalogue, name: str
) -> None:
    drawn = BoardMap(Look(qapp, "light"))
    qtbot.addWidget(drawn)
    drawn.resize(510, 400)
    cells = cells_of(catalogue.board_shapes[name], catalogue)
    drawn.show_content(MapContent(cells, {}))
    for cell in cells:
        assert drawn.rect().contains(drawn.polygon(cell.channel).boundingRect().toAlignedRect())


def test_one_dead_channel_does_not_flatten_the_colours_of_the_others() -> None:
    values = [*np.linspace(27, 29, 60), 0.0]
    scale = scale_of(values)
    assert scale is not None
    assert scale.fraction(29.0) - scale.fraction(27.0) > 0.3
    assert scale.fraction(0.0) == 0.0


def test_the_ends_of_the_scale_are_round_and_labelled_exactly() -> None:
    scale = scale_of([26.3, 27.1, 28.4, 29.7])
    assert scale is not None
    assert (scale.low, scale.high) == (26.0, 30.0)
    assert [scale.label(v) for v in (scale.low, 28.0, scale.high)] == ["26", "28", "30"]


@pytest.mark.parametrize("values", [[5.0], [0.0, 0.0], [1e-6, 1e-6], [-3.0, -3.0]])
def test_equal_values_still_have_a_scale(values: list[float]) -> None:
    scale = scale_of(values)
    assert scale is not None
    assert scale.low < scale.high
    assert scale.low <= values[0] <= scale.high


def test_no_values_have_no_scale() -> None:
    assert scale_of([]) is None


def test_a_channel_is_marked_by_its_worst_verdict_whatever_the_map_shows() -> None:
    good = Value("gain", 28.0, 0.05, "ADC/pe", None, None, "pass")
    unknown = Value("crosstalk", None, None, "1", None, None, "unknown", ("no peaks",))
    content = MapContent((), {7: Measured({"gain": good, "crosstalk": unknown})}, "gain")
    assert content.verdict(7) == "unknown"
    assert content.verdict(8) == ""
