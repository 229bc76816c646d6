"""The theme in use: light or dark, as chosen or as the system says."""

from PyQt6.QtCore import QObject, Qt, pyqtSignal
from PyQt6.QtGui import QFont, QGuiApplication
from PyQt6.QtWidgets import QApplication

from gui.look.style import style_sheet
from gui.look.tokens import Palette, ThemeName, Tokens, load_tokens


class Look(QObject):
    """Tokens and the palette in use. `changed` tells painted widgets to read the palette again."""

    changed = pyqtSignal()

    def __init__(self, application: QApplication, theme: ThemeName | None = None) -> None:
        super().__init__()
        self.tokens: Tokens = load_tokens()
        self._application = application
        self._chosen = theme
        self._theme: ThemeName = theme or _theme_of_system()
        application.setFont(_font(self.tokens))
        application.setStyleSheet(style_sheet(self.tokens, self.palette))
        hints = QGuiApplication.styleHints()
        if hints is not None:
            hints.colorSchemeChanged.connect(self._follow_system)

    @property
    def theme(self) -> ThemeName:
        return self._theme

    @property
    def palette(self) -> Palette:
        return self.tokens.palette(self._theme)

    def choose(self, theme: ThemeName | None) -> None:
        """Use `theme` from now on; None follows the system."""
        self._chosen = theme
        self._apply(theme or _theme_of_system())

    def _follow_system(self) -> None:
        if self._chosen is None:
            self._apply(_theme_of_system())

    def _apply(self, theme: ThemeName) -> None:
        if theme == self._theme:
            return
        self._theme = theme
        self._application.setStyleSheet(style_sheet(self.tokens, self.palette))
        self.changed.emit()


def _theme_of_system() -> ThemeName:
    hints = QGuiApplication.styleHints()
    dark = hints is not None and hints.colorScheme() == Qt.ColorScheme.Dark
    return "dark" if dark else "light"


def _font(tokens: Tokens) -> QFont:
    font = QFont()
    font.setFamilies(list(tokens.families))
    font.setPixelSize(tokens.type.body)
    if hasattr(font, "setFeature"):
        font.setFeature(QFont.Tag("tnum"), 1)
    return font
