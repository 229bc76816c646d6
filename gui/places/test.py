"""The test bench: the board map, the channel at hand and the instruments."""

from PyQt6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from gui.board_cells import Cell
from gui.look import Look
from gui.state import ShiftState
from gui.widgets.board_map import BoardPanel, MapContent
from gui.widgets.channel_panel import ChannelPanel
from gui.widgets.instruments import ROWS_SEEN, InstrumentRow, InstrumentsPanel

LOW_PX = 450


class TestPlace(QWidget):
    """The board map, the channel at hand and the instruments."""

    __test__ = False

    def __init__(self, look: Look) -> None:
        super().__init__()
        self.setProperty("role", "clear")
        spacing = look.tokens.spacing
        self.board = BoardPanel(look)
        self.channel = ChannelPanel(look)
        self.instruments = InstrumentsPanel(look, InstrumentRow)
        self._chosen: str | None = None
        self._pinned: int | None = None
        self._cells: tuple[Cell, ...] = ()
        self._state = ShiftState()
        self.board.quantity_chosen.connect(self._choose)
        self.board.map.picked.connect(self._pin)
        self.channel.follow.clicked.connect(self._follow)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(spacing.close)
        right = QVBoxLayout()
        right.setSpacing(spacing.close)
        right.addWidget(self.channel, 3)
        right.addWidget(self.instruments, 1)
        layout.addWidget(self.board, 1)
        layout.addLayout(right, 1)

    def resizeEvent(self, event: object) -> None:
        self.instruments.keep_seen(1 if self.height() < LOW_PX else ROWS_SEEN)

    def show_state(self, state: ShiftState, cells: tuple[Cell, ...]) -> None:
        if cells is not self._cells:
            self._pinned = self._chosen = None
        self._state, self._cells = state, cells
        self.instruments.show_instruments(state.instruments, state.trends)
        self._show_board()

    def _show_board(self) -> None:
        state = self._state
        selected = state.newest if self._pinned is None else self._pinned
        in_work = state.newest if state.run is not None else None
        self.board.show_content(
            MapContent(self._cells, state.channels, self.quantity, in_work, selected),
            state.module_values,
        )
        cell = next((c for c in self._cells if c.channel == selected), None)
        self.channel.follow.setChecked(self._pinned is None)
        self.channel.show_channel(cell, None if cell is None else state.channels.get(cell.channel))

    @property
    def quantity(self) -> str:
        """The chosen quantity, or the one that the step measures."""
        return self._chosen or ("sipm_offset" if self._state.step == "place" else "gain")

    def _choose(self, quantity: str) -> None:
        self._chosen = quantity
        self._show_board()

    def _pin(self, channel: int) -> None:
        self._pinned = channel
        self._show_board()

    def _follow(self) -> None:
        self._pinned = None
        self._show_board()
