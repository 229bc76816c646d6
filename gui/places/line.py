"""The line at a glance: the shift's steps, the camera, the instruments and the events."""

from PyQt6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from gui.look import Look
from gui.state import ShiftState
from gui.widgets.events_list import EventsPanel
from gui.widgets.instruments import InstrumentsPanel, TallRow
from gui.widgets.shift_panel import ShiftPanel
from gui.widgets.tile_panel import TilePanel


class LinePlace(QWidget):
    """The shift's steps, the camera, the instruments and the events."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        self.setProperty("role", "clear")
        spacing = look.tokens.spacing
        self.shift = ShiftPanel(look)
        self.tile = TilePanel(look)
        self.instruments = InstrumentsPanel(look, TallRow)
        self.events = EventsPanel(look)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(spacing.close)
        right = QVBoxLayout()
        right.setSpacing(spacing.close)
        right.addWidget(self.instruments)
        right.addWidget(self.events, 1)
        layout.addWidget(self.shift, 5)
        layout.addWidget(self.tile, 9)
        layout.addLayout(right, 8)

    def show_state(self, state: ShiftState) -> None:
        self.shift.show_shift(
            state.step, state.board_number, state.boards, state.finished is not None, state.done
        )
        if state.looked_at is None:
            self.tile.show_tile(state.tile)
        else:
            self.tile.show_look(*state.looked_at)
        self.instruments.show_instruments(state.instruments, state.trends)
        self.events.show_events(state.events)
