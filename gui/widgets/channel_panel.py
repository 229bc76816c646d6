"""The channel that is selected or newest: spectrum, values, and what is wrong in one sentence."""

from PyQt6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout

from gui.board_cells import Cell
from gui.look import Look
from gui.state import Measured, reason_text
from gui.widgets.parts import VerdictBadge, button, text, wrapped
from gui.widgets.spectrum import SpectrumPlot
from gui.widgets.values_grid import ValuesGrid

SHOWN = (
    "gain",
    "light_yield",
    "crosstalk",
    "gain_spread",
    "pedestal",
    "noise",
    "sipm_offset",
    "placed_rotation",
)


class ChannelPanel(QFrame):
    def __init__(self, look: Look) -> None:
        super().__init__()
        self.setProperty("role", "panel")
        self.setAccessibleName("Channel")
        spacing = look.tokens.spacing
        self.title = text("title", "Channel")
        self.follow = button("choose", "Newest", "Follow the newest channel")
        self.follow.setCheckable(True)
        self.follow.setChecked(True)
        self.follow.setShortcut("Ctrl+N")
        self.verdict = VerdictBadge(look, "chip", "not judged yet")
        head = QHBoxLayout()
        head.setSpacing(spacing.tight)
        head.addWidget(self.title, 1)
        head.addWidget(self.follow)
        head.addWidget(self.verdict)
        self.spectrum = SpectrumPlot(look)
        self.values = ValuesGrid(look, SHOWN, columns=4)
        self.reason = wrapped("quiet")
        lines = self.reason.fontMetrics().lineSpacing()
        self.reason.setMinimumHeight(2 * lines)
        self.reason.setMaximumHeight(3 * lines + spacing.hair)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(spacing.even, spacing.close, spacing.even, spacing.tight)
        layout.setSpacing(spacing.tight)
        layout.addLayout(head)
        layout.addWidget(self.spectrum, 1)
        layout.addWidget(self.values)
        layout.addWidget(self.reason)

    def show_channel(self, cell: Cell | None, measured: Measured | None) -> None:
        values = {} if measured is None else measured.values
        self.title.setText("Channel" if cell is None else f"Channel {cell.channel} · {cell.place}")
        self.verdict.show_verdict(None if measured is None else measured.verdict)
        self.spectrum.show_curve(
            None if measured is None else measured.spectrum,
            values.get("gain"),
            values.get("pedestal"),
        )
        self.values.show_values(values)
        self.reason.setText(reason_text(measured))
