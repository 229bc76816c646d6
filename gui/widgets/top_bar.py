"""The bar at the top: where am I, who works, what is stored, how warm is the board, and STOP."""

from PyQt6.QtCore import Qt
from PyQt6.QtGui import QKeySequence
from PyQt6.QtWidgets import QFrame, QHBoxLayout, QVBoxLayout, QWidget

from gui.look import Look
from gui.widgets.parts import button, fitted, set_property, text

STOP_KEYS = ("F12", "Pause")


class TopBar(QFrame):
    def __init__(self, look: Look) -> None:
        super().__init__()
        self.setProperty("role", "bar")
        size, spacing = look.tokens.size, look.tokens.spacing
        self.setFixedHeight(size.top_bar)
        self.setAccessibleName("Station")
        self._where = text("quiet")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(spacing.broad, 0, spacing.even, 0)
        layout.setSpacing(spacing.broad)
        layout.addWidget(_stack(text("title", "Tessera"), self._where), 1)
        self.operator = _Fact("operator")
        self.records = _Fact("")
        self.temperature = _Fact("board temperature")
        for fact in (self.operator, self.records, self.temperature):
            layout.addWidget(fact)
        self.stop = button("stop", "STOP", "Stop: end the run and bring the bias down")
        self.stop.setFixedWidth(size.stop_width)
        self.stop.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.stop.setToolTip(f"Keys: {', '.join(STOP_KEYS)}")
        layout.addWidget(self.stop)

    def show_where(self, where: str) -> None:
        self._where.setText(where)


class _Fact(QWidget):
    """Two lines: what, and what about it."""

    def __init__(self, caption: str) -> None:
        super().__init__()
        self.setProperty("role", "clear")
        self._value = fitted("strong")
        self._caption = fitted("caption", caption)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addStretch(1)
        layout.addWidget(self._value)
        layout.addWidget(self._caption)
        layout.addStretch(1)

    @property
    def words(self) -> str:
        return f"{self._value.text()} · {self._caption.text()}"

    def show_fact(self, value: str, caption: str, tone: str = "") -> None:
        self._value.setText(value)
        self._caption.setText(caption)
        set_property(self._value, "tone", tone)
        self.setAccessibleName(f"{caption}: {value}")


def _stack(*widgets: QWidget) -> QWidget:
    box = QWidget()
    box.setProperty("role", "clear")
    layout = QVBoxLayout(box)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(0)
    layout.addStretch(1)
    for widget in widgets:
        layout.addWidget(widget)
    layout.addStretch(1)
    return box


def stop_sequences() -> list[QKeySequence]:
    return [QKeySequence(keys) for keys in STOP_KEYS]
