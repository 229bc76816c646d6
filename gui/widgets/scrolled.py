"""A panel with a title whose rows scroll when there are more than fit."""

from PyQt6.QtCore import Qt
from PyQt6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from gui.look import Look
from gui.widgets.parts import fitted, panel, text, wrapped


def paragraph(role: str, words: str = "") -> QLabel:
    """A label that wraps and is no higher than its words."""
    label = wrapped(role, words)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Minimum)
    return label


class ScrolledPanel(QFrame):
    """`rows` is the layout that rows are put into; `head` the line of the title."""

    def __init__(self, look: Look, title: str) -> None:
        super().__init__()
        self.setProperty("role", "panel")
        self.setAccessibleName(title)
        spacing = look.tokens.spacing
        self.look = look
        self.head = QHBoxLayout()
        self.head.addWidget(text("title", title), 1)
        self.aside = fitted("quiet")
        self.head.addWidget(self.aside)
        inner = panel("clear")
        self.rows = QVBoxLayout(inner)
        self.rows.setContentsMargins(0, 0, spacing.tight, 0)
        self.rows.setSpacing(spacing.tight)
        self.rows.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._scroll = QScrollArea()
        self._scroll.setWidgetResizable(True)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._scroll.setWidget(inner)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(spacing.even, spacing.close, spacing.even, spacing.close)
        self.column.setSpacing(spacing.tight)
        self.column.addLayout(self.head)
        self.column.addWidget(self._scroll, 1)

    def clear(self) -> None:
        """Take all rows out."""
        while (item := self.rows.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()

    def put(self, row: QWidget) -> None:
        self.rows.addWidget(row)
