"""The board as it is: tiles with their true outline and place, coloured by one quantity."""

from collections.abc import Mapping
from dataclasses import dataclass

from PyQt6.QtCore import QPointF, QRectF, QSize, Qt, pyqtSignal
from PyQt6.QtGui import (
    QColor,
    QFont,
    QKeyEvent,
    QLinearGradient,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPolygonF,
)
from PyQt6.QtWidgets import QButtonGroup, QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from gui.board_cells import Cell
from gui.look import MARKED, Look, draw_mark
from gui.scale import Scale, scale_of
from gui.state import Measured
from gui.widgets.parts import button, text
from gui.words import VERDICT_WORDS, Value, quantity_named, value_line, value_text

QUANTITIES = ("gain", "light_yield", "crosstalk", "noise", "pedestal", "sipm_offset")
_ARROWS = {
    Qt.Key.Key_Left: (-1, 0),
    Qt.Key.Key_Right: (1, 0),
    Qt.Key.Key_Up: (0, 1),
    Qt.Key.Key_Down: (0, -1),
}


@dataclass(frozen=True)
class MapContent:
    """What the map shows: cells with what is known of each channel, in one quantity.

    `in_work` and `selected` are channels.
    """

    cells: tuple[Cell, ...] = ()
    measured: Mapping[int, Measured] | None = None
    quantity: str = "gain"
    in_work: int | None = None
    selected: int | None = None

    def value(self, channel: int) -> Value | None:
        known = (self.measured or {}).get(channel)
        return known.values.get(self.quantity) if known is not None else None

    def verdict(self, channel: int) -> str:
        """The verdict of the channel over all its quantities; empty before the first."""
        known = (self.measured or {}).get(channel)
        return (known.verdict or "") if known is not None else ""


class BoardMap(QWidget):
    """The drawing. `picked` carries the channel that was clicked or reached by the arrows."""

    picked = pyqtSignal(int)

    def __init__(self, look: Look) -> None:
        super().__init__()
        self._look = look
        self._content = MapContent()
        self._polygons: dict[int, QPolygonF] = {}
        self._scale: Scale | None = None
        from pyqtgraph import colormap

        self._colours = colormap.get(look.tokens.sequential_colour_map)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Board map")
        look.changed.connect(self.update)

    @property
    def scale(self) -> Scale | None:
        return self._scale

    def sizeHint(self) -> QSize:
        return QSize(480, 320)

    def show_content(self, content: MapContent) -> None:
        laid_out = content.cells is not self._content.cells
        self._content = content
        shown = [value.shown for cell in content.cells if (value := content.value(cell.channel))]
        self._scale = scale_of([number for number in shown if number is not None])
        if laid_out:
            self._lay_out()
        self.setAccessibleDescription(self._describe())
        self.update()

    def polygon(self, channel: int) -> QPolygonF:
        """Where a channel is drawn, in the widget's pixels."""
        return self._polygons[channel]

    def resizeEvent(self, event: object) -> None:
        self._lay_out()

    def _lay_out(self) -> None:
        size, spacing = self._look.tokens.size, self._look.tokens.spacing
        room = QRectF(self.rect()).adjusted(
            spacing.hair,
            spacing.hair,
            -spacing.even - size.colour_bar - size.colour_bar_labels,
            -spacing.hair,
        )
        self._polygons = {}
        cells = self._content.cells
        if not cells or room.width() <= 0 or room.height() <= 0:
            return
        xs = [x for cell in cells for x in cell.corners_mm[:, 0]]
        ys = [y for cell in cells for y in cell.corners_mm[:, 1]]
        px_per_mm = min(room.width() / (max(xs) - min(xs)), room.height() / (max(ys) - min(ys)))
        x0, y0 = (max(xs) + min(xs)) / 2, (max(ys) + min(ys)) / 2
        centre = room.center()
        for cell in cells:
            self._polygons[cell.channel] = QPolygonF(
                [
                    QPointF(centre.x() + (x - x0) * px_per_mm, centre.y() - (y - y0) * px_per_mm)
                    for x, y in cell.corners_mm
                ]
            )

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if not self._polygons:
            self._say_nothing(painter)
            return
        self._draw_cells(painter)
        self._draw_outlines(painter)
        self._draw_marks(painter)
        if self._scale is not None:
            self._draw_scale(painter, self._scale)

    def _say_nothing(self, painter: QPainter) -> None:
        painter.setPen(QColor(self._look.palette.ink3))
        painter.drawText(
            self.rect(), Qt.AlignmentFlag.AlignCenter, "The board appears here with its label."
        )

    def _draw_cells(self, painter: QPainter) -> None:
        palette, size = self._look.palette, self._look.tokens.size
        gap = QPen(QColor(palette.panel), size.tile_gap)
        gap.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
        to_come = QPen(QColor(palette.ink3), size.hairline, Qt.PenStyle.DashLine)
        for channel, polygon in self._polygons.items():
            value = self._content.value(channel)
            shown = None if value is None else value.shown
            if value is None:
                painter.setBrush(QColor(palette.bg))
                painter.setPen(to_come)
                painter.drawPolygon(_shrunk(polygon, size.tile_gap / 2))
                continue
            if shown is None or self._scale is None:
                painter.setBrush(QColor(palette.unknown_soft))
            else:
                painter.setBrush(self._colours.map(self._scale.fraction(shown), mode="qcolor"))
            painter.setPen(gap)
            painter.drawPolygon(polygon)

    def _draw_outlines(self, painter: QPainter) -> None:
        palette, size = self._look.palette, self._look.tokens.size
        painter.setBrush(Qt.BrushStyle.NoBrush)
        outlines = ((self._content.in_work, palette.ink), (self._content.selected, palette.accent))
        for channel, colour in outlines:
            if channel is None or channel not in self._polygons:
                continue
            inner = _shrunk(self._polygons[channel], size.tile_gap)
            painter.setPen(QPen(QColor(palette.panel), size.outline + size.tile_gap))
            painter.drawPolygon(inner)
            pen = QPen(QColor(colour), size.outline)
            pen.setJoinStyle(Qt.PenJoinStyle.MiterJoin)
            painter.setPen(pen)
            painter.drawPolygon(inner)
        if self.hasFocus():
            painter.setPen(QPen(QColor(palette.accent), size.hairline, Qt.PenStyle.DotLine))
            painter.drawRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5))

    def _draw_marks(self, painter: QPainter) -> None:
        side = self._look.tokens.size.mark
        for channel, polygon in self._polygons.items():
            verdict = self._content.verdict(channel)
            if verdict not in MARKED:
                continue
            box = polygon.boundingRect()
            fit = min(side, 0.6 * box.width(), 0.6 * box.height())
            corner = box.center() - QPointF(fit / 2, fit / 2)
            where = QRectF(corner.x(), corner.y(), fit, fit)
            draw_mark(painter, verdict, where, self._look.palette, on_panel=True)

    def _draw_scale(self, painter: QPainter, scale: Scale) -> None:
        tokens, palette = self._look.tokens, self._look.palette
        font = QFont(self.font())
        font.setPixelSize(tokens.type.caption)
        painter.setFont(font)
        line = painter.fontMetrics().height()
        top, bottom = float(line), float(self.height() - 2 * line)
        left = self.width() - tokens.size.colour_bar - tokens.size.colour_bar_labels
        bar = QRectF(left, top, tokens.size.colour_bar, bottom - top)
        gradient = QLinearGradient(bar.bottomLeft(), bar.topLeft())
        for stop in range(17):
            gradient.setColorAt(stop / 16, self._colours.map(stop / 16, mode="qcolor"))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(gradient)
        painter.drawRoundedRect(bar, tokens.spacing.hair / 2, tokens.spacing.hair / 2)
        painter.setPen(QColor(palette.ink2))
        beside = bar.right() + tokens.spacing.hair + 2
        room = self.width() - beside
        for fraction in (0.0, 0.5, 1.0):
            value = scale.low + fraction * (scale.high - scale.low)
            y = bar.bottom() - fraction * bar.height()
            painter.drawText(
                QRectF(beside, y - line / 2, room, line),
                Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignLeft,
                scale.label(value),
            )
        unit = quantity_named(self._content.quantity).unit
        painter.drawText(
            QRectF(left - tokens.spacing.wide, bottom + line / 2, self.width() - left + 20, line),
            Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignHCenter,
            unit,
        )

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        if event is None:
            return
        for channel, polygon in self._polygons.items():
            if polygon.containsPoint(event.position(), Qt.FillRule.OddEvenFill):
                self.picked.emit(channel)
                return

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        step = _ARROWS.get(Qt.Key(event.key())) if event is not None else None
        if step is None or not self._content.cells:
            super().keyPressEvent(event)
            return
        cells = self._content.cells
        here = next((c for c in cells if c.channel == self._content.selected), None)
        if here is None:
            self.picked.emit(cells[0].channel)
            return
        target = (here.row + step[1], here.column + step[0])
        for cell in cells:
            if (cell.row, cell.column) == target:
                self.picked.emit(cell.channel)

    def focusInEvent(self, event: object) -> None:
        self.update()

    def focusOutEvent(self, event: object) -> None:
        self.update()

    def _describe(self) -> str:
        content = self._content
        cell = next((c for c in content.cells if c.channel == content.selected), None)
        if cell is None:
            return "no channel selected"
        name = quantity_named(content.quantity).name
        value = content.value(cell.channel)
        if value is None:
            return f"channel {cell.channel}, {cell.place}: {name} still to come"
        verdict = VERDICT_WORDS.get(value.verdict or "", "not judged")
        return f"channel {cell.channel}, {cell.place}: {name} {value_text(value)}, {verdict}"


class BoardPanel(QFrame):
    """The map with its title and the choice of quantity. `quantity_chosen` tells a new choice."""

    quantity_chosen = pyqtSignal(str)

    def __init__(self, look: Look) -> None:
        super().__init__()
        self.setProperty("role", "panel")
        self.setAccessibleName("Board")
        spacing = look.tokens.spacing
        layout = QVBoxLayout(self)
        layout.setContentsMargins(spacing.even, spacing.even, spacing.even, spacing.even)
        layout.setSpacing(spacing.close)
        head = QHBoxLayout()
        head.setSpacing(spacing.tight)
        self._title = text("title")
        head.addWidget(self._title, 1)
        self._group = QButtonGroup(self)
        self.choices = {}
        for name in QUANTITIES:
            shown = quantity_named(name)
            choice = button("choose", shown.name, f"Show {shown.name} on the map")
            choice.setCheckable(True)
            choice.setChecked(name == QUANTITIES[0])
            choice.clicked.connect(lambda _=False, name=name: self.quantity_chosen.emit(name))
            self._group.addButton(choice)
            self.choices[name] = choice
            head.addWidget(choice)
        self.map = BoardMap(look)
        self.whole = text("caption")
        layout.addLayout(head)
        layout.addWidget(self.map, 1)
        layout.addWidget(self.whole)

    def show_content(self, content: MapContent, whole: Mapping[str, Value]) -> None:
        """The map, and under it what was measured of the board as a whole."""
        self.whole.setText(" · ".join(value_line(value) for value in whole.values()))
        self._title.setText(quantity_named(content.quantity).name)
        self.choices[content.quantity].setChecked(True)
        self.map.show_content(content)


def _shrunk(polygon: QPolygonF, by_px: float) -> QPolygonF:
    """The polygon moved in at every corner towards its centre by about `by_px` on each side."""
    centre = polygon.boundingRect().center()
    box = polygon.boundingRect()
    fx = max(0.0, 1 - 2 * by_px / max(box.width(), 1.0))
    fy = max(0.0, 1 - 2 * by_px / max(box.height(), 1.0))
    return QPolygonF(
        [
            QPointF(
                centre.x() + (point.x() - centre.x()) * fx,
                centre.y() + (point.y() - centre.y()) * fy,
            )
            for point in (polygon.at(i) for i in range(polygon.count()))
        ]
    )
