"""The rail of places, and at its foot the theme and the list of keys."""

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import QButtonGroup, QFrame, QVBoxLayout

from gui.look import Look
from gui.widgets.parts import button


class Rail(QFrame):
    """`chosen` tells which place a person picked; `theme_asked` and `keys_asked` what else."""

    chosen = pyqtSignal(str)
    theme_asked = pyqtSignal()
    keys_asked = pyqtSignal()

    def __init__(self, look: Look, places: tuple[str, ...]) -> None:
        super().__init__()
        self._look = look
        self.setProperty("role", "rail")
        size, spacing = look.tokens.size, look.tokens.spacing
        self.setFixedWidth(size.rail)
        self.setAccessibleName("Places")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(spacing.tight, spacing.even, spacing.tight, spacing.even)
        layout.setSpacing(spacing.hair)
        self._group = QButtonGroup(self)
        self._places = {}
        for number, place in enumerate(places, start=1):
            entry = button("place", place)
            entry.setCheckable(True)
            entry.setShortcut(f"Alt+{number}")
            entry.clicked.connect(lambda _=False, place=place: self.chosen.emit(place))
            self._group.addButton(entry)
            self._places[place] = entry
            layout.addWidget(entry)
        layout.addStretch(1)
        self.theme = button("plain", "")
        self.theme.setShortcut("Ctrl+T")
        self.theme.clicked.connect(self.theme_asked)
        keys = button("plain", "Keys", "List of keys and scanner commands")
        keys.setShortcut("F1")
        keys.clicked.connect(self.keys_asked)
        layout.addWidget(self.theme)
        layout.addWidget(keys)
        look.changed.connect(self._name_theme)
        self._name_theme()

    def mark(self, place: str) -> None:
        self._places[place].setChecked(True)

    def _name_theme(self) -> None:
        self.theme.setText("Light screen" if self._look.theme == "dark" else "Dark screen")
        self.theme.setAccessibleName(self.theme.text())
        self.theme.setShortcut("Ctrl+T")
