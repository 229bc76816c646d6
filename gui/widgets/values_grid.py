"""Measured values side by side: name and unit, value with its error, limits."""

from collections.abc import Mapping, Sequence

from PyQt6.QtWidgets import QGridLayout, QVBoxLayout, QWidget

from gui.look import Look
from gui.widgets.parts import set_property, text
from gui.words import NO_VALUE, Value, limits_text, quantity, quantity_named, value_text

NARROW_PX = 150


class ValuesGrid(QWidget):
    """One cell per quantity, in rows of `columns`; a cell keeps its place when it is empty."""

    def __init__(self, look: Look, quantities: Sequence[str], *, columns: int) -> None:
        super().__init__()
        self.setProperty("role", "clear")
        spacing = look.tokens.spacing
        self._cells = {name: ValueCell(look, name) for name in quantities}
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setHorizontalSpacing(spacing.tight)
        layout.setVerticalSpacing(spacing.tight)
        for place, cell in enumerate(self._cells.values()):
            layout.addWidget(cell, *divmod(place, columns))
        for column in range(columns):
            layout.setColumnStretch(column, 1)

    def show_values(self, values: Mapping[str, Value]) -> None:
        for name, cell in self._cells.items():
            cell.show_value(values.get(name))

    def words(self, name: str) -> str:
        """What the cell of a quantity says, for tests and for screen readers."""
        return self._cells[name].accessibleName()


class ValueCell(QWidget):
    def __init__(self, look: Look, name: str) -> None:
        super().__init__()
        self.setProperty("role", "clear")
        self._quantity = name
        self._name = text("caption")
        self._value = text("number")
        self._limits = text("faint")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        for label in (self._name, self._value, self._limits):
            layout.addWidget(label)
        self.show_value(None)

    def resizeEvent(self, event: object) -> None:
        set_property(self._value, "role", "strong" if self.width() < NARROW_PX else "number")

    def show_value(self, value: Value | None) -> None:
        shown = quantity_named(self._quantity) if value is None else quantity(value)
        self._name.setText(f"{shown.name}, {shown.unit}" if shown.unit else shown.name)
        self._value.setText(NO_VALUE if value is None else value_text(value))
        tone = "" if value is None or value.verdict in (None, "pass") else str(value.verdict)
        set_property(self._value, "tone", tone)
        limits = "" if value is None else limits_text(value)
        self._limits.setText(f"limit {limits}" if limits else "")
        verdict = "" if value is None or value.verdict is None else f", {value.verdict}"
        self.setAccessibleName(
            f"{self._name.text()}: {self._value.text()} {self._limits.text()}{verdict}".strip()
        )
