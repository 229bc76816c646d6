"""What the commissioning found: the old value beside the new one with its error."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import QGridLayout, QWidget

from gui.look import Look
from gui.widgets.parts import fitted, text
from gui.widgets.scrolled import ScrolledPanel, paragraph

if TYPE_CHECKING:
    from station.setup_facts import ChangeFacts

HEADINGS = (("Quantity", 5), ("Before", 1), ("Now", 2), ("Unit", 0), ("Moved", 1))
NEVER_CUT = (1, 2, 3, 4)
"""Columns of numbers: they get the width that they need."""
NOTHING = "Nothing is measured yet. The values of the profile stay as they are until you save."
ONLY_TOLD = "Grey: how good the line is. Not written into the profile."


class ChangesPanel(ScrolledPanel):
    def __init__(self, look: Look) -> None:
        super().__init__(look, "Old and new")
        self._shown: Sequence[ChangeFacts] | None = None
        self._words: dict[str, str] = {}

    def show_changes(self, changes: "Sequence[ChangeFacts]") -> None:
        if changes == self._shown:
            return
        self._shown, self._words = changes, {}
        self.clear()
        if not changes:
            self.put(paragraph("quiet", NOTHING))
            return
        spacing = self.look.tokens.spacing
        table = QWidget()
        table.setProperty("role", "clear")
        grid = QGridLayout(table)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(spacing.close)
        grid.setVerticalSpacing(spacing.tight)
        for column, (heading, stretch) in enumerate(HEADINGS):
            label = text("caption", heading)
            label.setAlignment(_side(column))
            grid.addWidget(label, 0, column)
            grid.setColumnStretch(column, stretch)
        for row, change in enumerate(changes, start=1):
            cells = (change.name, change.before, change.now, change.unit, change.moved)
            for column, words in enumerate(cells):
                role = "strong" if column == 2 and change.kept else "body"
                made = fitted if column in NEVER_CUT else text
                label = made(role if change.kept else "quiet", words)
                label.setAlignment(_side(column))
                label.setToolTip(words)
                grid.addWidget(label, row, column)
            self._words[change.name] = ", ".join(cells)
        self.put(table)
        if not all(change.kept for change in changes):
            self.put(paragraph("caption", ONLY_TOLD))

    def words(self, name: str) -> str:
        return self._words[name]


def _side(column: int) -> Qt.AlignmentFlag:
    right = column in (1, 2, 4)
    return (
        Qt.AlignmentFlag.AlignRight if right else Qt.AlignmentFlag.AlignLeft
    ) | Qt.AlignmentFlag.AlignVCenter
