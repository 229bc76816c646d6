"""Scanners that type: bursts of keys framed by STX and ETX or CR, caught wherever the focus is."""

import time
from collections.abc import Callable

from PyQt6.QtCore import QEvent, QObject, Qt, QTimer, pyqtSignal
from PyQt6.QtGui import QKeyEvent
from PyQt6.QtWidgets import QApplication, QLineEdit, QWidget

STX, ETX, CR, LF = "\x02", "\x03", "\r", "\n"
SILENCE_MS = 500
"""A framed burst that stops for this long was cut off and is dropped."""
LINE_END_MS = 60
"""A scan ends this long after a CR when no further line follows."""
UNFRAMED_GAP_S = 0.05
UNFRAMED_LEAST = 6
COMMAND_PREFIX = "TESSERA:"


class WedgeFilter(QObject):
    """Watches all key presses of the application.

    `scanned` carries the text between STX and ETX (or the CR that ends it); lines inside are joined
    by newlines. A burst without STX that is typed faster than by hand outside a text field, and
    ends in CR, counts as a scan too, so that its CR never presses the focused button.
    `broken` tells that a framed burst was cut off.
    """

    scanned = pyqtSignal(str)
    broken = pyqtSignal(str)

    def __init__(
        self,
        parent: QObject | None = None,
        *,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(parent)
        self._now_s = now_s
        self._text: str | None = None
        self._line_ended = False
        self._loose = ""
        self._loose_at_s = -1.0
        self._silence = QTimer(self)
        self._silence.setSingleShot(True)
        self._silence.timeout.connect(self._quiet)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if not isinstance(event, QKeyEvent):
            return False
        if event.type() == QEvent.Type.ShortcutOverride:
            if self._text is not None or _character(event) == STX:
                event.accept()
                return True
            return False
        if event.type() != QEvent.Type.KeyPress or not _receives_first(watched):
            return False
        character = _character(event)
        if self._text is None and character != STX:
            return self._unframed(character)
        self._framed(character)
        return True

    def _framed(self, character: str) -> None:
        if character == STX or self._text is None:
            self._text, self._line_ended = "", False
        elif character == ETX:
            self._finish()
            return
        elif character in (CR, LF):
            self._line_ended = True
            self._silence.start(LINE_END_MS)
            return
        elif character:
            if self._line_ended:
                self._text += "\n"
                self._line_ended = False
            self._text += character
        self._silence.start(SILENCE_MS)

    def _quiet(self) -> None:
        if self._line_ended:
            self._finish()
        elif self._text is not None:
            text, self._text = self._text, None
            self.broken.emit(text)

    def _finish(self) -> None:
        text, self._text = self._text or "", None
        self._line_ended = False
        self._silence.stop()
        self.scanned.emit(text)

    def _unframed(self, character: str) -> bool:
        if isinstance(QApplication.focusWidget(), QLineEdit):
            self._loose = ""
            return False
        at_s = self._now_s()
        fast = at_s - self._loose_at_s <= UNFRAMED_GAP_S
        self._loose_at_s = at_s
        if character in (CR, LF) and fast and len(self._loose) >= UNFRAMED_LEAST:
            text, self._loose = self._loose, ""
            self.scanned.emit(text)
            return True
        if len(character) == 1 and character.isprintable() and character != " ":
            self._loose = self._loose + character if fast else character
        else:
            self._loose = ""
        return False


def _receives_first(watched: QObject | None) -> bool:
    """Whether `watched` gets a key first; the same key is offered to its parents afterwards."""
    focus = QApplication.focusWidget()
    if focus is not None:
        return watched is focus
    return isinstance(watched, QWidget) and watched.isWindow()


def _character(event: QKeyEvent) -> str:
    """The character of a key, with STX and ETX also as Ctrl+B and Ctrl+C."""
    if event.modifiers() & Qt.KeyboardModifier.ControlModifier:
        if event.key() == Qt.Key.Key_B:
            return STX
        if event.key() == Qt.Key.Key_C:
            return ETX
    if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
        return CR
    return event.text()
