"""The instruments: what they read back, one word of state, and a trend beside each."""

from collections.abc import Mapping, Sequence
from math import isfinite

from PyQt6.QtCore import QPointF, QRectF, Qt
from PyQt6.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from PyQt6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from gui.look import Look, draw_mark
from gui.widgets.parts import panel, set_property, text
from gui.words import ROLE_WORDS
from station.events import InstrumentState

ROWS_SEEN = 4
QUIET_STATES = ("off", "idle")


class Dot(QWidget):
    """Filled circle when healthy, grey when at rest, the mark of a failure otherwise."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        self._look = look
        self._health = "quiet"
        self.setFixedWidth(look.tokens.type.body)
        look.changed.connect(self.update)

    def show_health(self, health: str) -> None:
        """`health` is "pass", "quiet" or "fail"."""
        if health != self._health:
            self._health = health
            self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        palette, side = self._look.palette, self._look.tokens.size.dot
        middle = QRectF(self.rect()).center()
        if self._health == "fail":
            side = self.width()
        box = QRectF(middle.x() - side / 2, middle.y() - side / 2, side, side)
        if self._health == "fail":
            draw_mark(painter, "fail", box, palette, on_panel=False)
            return
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(palette.ink3 if self._health == "quiet" else palette.of("pass")))
        painter.drawEllipse(box)


class Trend(QWidget):
    """A small line of the last values; breaks where there was none."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        self._look = look
        self._values: list[float | None] = []
        size = look.tokens.size
        self.setMinimumWidth(size.trend_width_least)
        self.setMaximumWidth(size.trend_width)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(size.row_least)
        look.changed.connect(self.update)

    def show_trend(self, values: Sequence[float | None]) -> None:
        self._values = list(values)
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        known = [value for value in self._values if value is not None and isfinite(value)]
        if len(known) < 2:
            return
        low, high = min(known), max(known)
        span = max(high - low, 1e-3 * max(abs(low), abs(high)), 1e-12)
        middle = (low + high) / 2
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(QColor(self._look.palette.ink3), 1.5))
        step = (self.width() - 4) / max(len(self._values) - 1, 1)
        line: list[QPointF] = []
        for place, value in enumerate([*self._values, None]):
            if value is None or not isfinite(value):
                if len(line) > 1:
                    painter.drawPolyline(QPolygonF(line))
                line = []
                continue
            y = self.height() / 2 - (value - middle) / span * (self.height() - 8)
            line.append(QPointF(2 + place * step, y))


class InstrumentRow(QWidget):
    """Dot, name, readback, state and trend on one line, in columns that line up between rows."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        self.setProperty("role", "clear")
        self._dot = Dot(look)
        self._name = text("body")
        self._readback = text("strong")
        self._state = text("quiet")
        self._trend = Trend(look)
        self._lay_out(look)

    def _lay_out(self, look: Look) -> None:
        size, spacing = look.tokens.size, look.tokens.spacing
        self.setMinimumHeight(size.row_least)
        self.setMaximumHeight(size.row)
        self._readback.setMinimumWidth(size.readback_width)
        self._state.setMinimumWidth(size.state_width)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(spacing.tight)
        layout.addWidget(self._dot)
        layout.addWidget(self._name, 6)
        layout.addWidget(self._readback, 4)
        layout.addWidget(self._state, 2)
        layout.addWidget(self._trend, 2)

    def show_state(self, state: InstrumentState, trend: Sequence[float | None]) -> None:
        name = f"{ROLE_WORDS.get(state.role, state.role.capitalize())} · {state.name}"
        self._name.setText(name)
        self._readback.setText(state.readback)
        self._state.setText(state.state)
        set_property(self._state, "tone", "" if state.healthy else "fail")
        self._dot.show_health("fail" if not state.healthy else _rest(state.state))
        self._trend.show_trend(trend)
        self.setAccessibleName(f"{name}: {state.readback}, {state.state}")
        self.setToolTip(self.accessibleName())


class TallRow(InstrumentRow):
    """The same on two lines, for a narrow panel."""

    def _lay_out(self, look: Look) -> None:
        size, spacing = look.tokens.size, look.tokens.spacing
        self.setFixedHeight(size.row_tall)
        set_property(self._name, "role", "caption")
        words = QVBoxLayout()
        words.setSpacing(0)
        words.addStretch(1)
        words.addWidget(self._name)
        words.addWidget(self._readback)
        words.addStretch(1)
        self._state.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        self._state.setFixedWidth(size.state_width)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(spacing.tight)
        layout.addWidget(self._dot)
        layout.addLayout(words, 1)
        layout.addWidget(self._state)
        layout.addWidget(self._trend)


def _rest(state: str) -> str:
    return "quiet" if state in QUIET_STATES else "pass"


class InstrumentsPanel(QFrame):
    """One row per instrument; further rows than fit are scrolled to."""

    def __init__(self, look: Look, row: type[InstrumentRow]) -> None:
        super().__init__()
        self._look, self._row = look, row
        self.setProperty("role", "panel")
        self.setAccessibleName("Instruments")
        spacing = look.tokens.spacing
        self._rows: dict[str, InstrumentRow] = {}
        self._seen = ROWS_SEEN
        self._none = text("quiet", "No instrument has answered yet.")
        inner = panel("clear")
        self._list = QVBoxLayout(inner)
        self._list.setContentsMargins(0, 0, 0, 0)
        self._list.setSpacing(0)
        self._list.addWidget(self._none)
        self._list.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidget(inner)
        self._scroll = scroll
        layout = QVBoxLayout(self)
        layout.setContentsMargins(spacing.even, spacing.close, spacing.even, spacing.tight)
        layout.setSpacing(spacing.hair)
        layout.addWidget(text("title", "Instruments"))
        layout.addWidget(scroll, 1)

    def show_instruments(
        self,
        states: Sequence[InstrumentState],
        trends: Mapping[str, Sequence[float | None]],
    ) -> None:
        self._none.setVisible(not states)
        for place, state in enumerate(states):
            row = self._rows.get(state.role)
            if row is None:
                row = self._rows[state.role] = self._row(self._look)
                self._list.insertWidget(place + 1, row, 1)
                self.keep_seen(self._seen)
                self._scroll.setMaximumHeight(len(self._rows) * row.maximumHeight())
            row.show_state(state, trends.get(state.role, ()))

    def keep_seen(self, rows: int) -> None:
        """Keep room for this many instruments, or for all when there are fewer."""
        self._seen = rows
        heights = [row.minimumHeight() for row in self._rows.values()]
        self._scroll.setMinimumHeight(sum(heights[:rows]))

    def words(self, role: str) -> str:
        return self._rows[role].accessibleName()
