"""Scanners that type, caught wherever the focus is."""

import time
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from PyQt6.QtCore import QEvent, QObject, Qt, QTimer, pyqtSignal
from PyQt6.QtGui import QKeyEvent
from PyQt6.QtWidgets import QApplication, QLineEdit, QWidget

if TYPE_CHECKING:
    from station.scanning import Heard, KeyBurst

STX, ETX, CR = "\x02", "\x03", "\r"


class WedgeFilter(QObject):
    """Watches all key presses of the application.

    `scanned` carries a label that a scanner typed (`KeyBurst` tells it from a person), none of
    whose keys reaches field or button; `broken` what came of one that was cut off.
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
        self._pressed_s = 0.0
        self._silence = QTimer(self)
        self._silence.setSingleShot(True)
        self._silence.timeout.connect(self._quiet)

    @cached_property
    def _burst(self) -> "KeyBurst":
        # the window is shown before anything of the instruments is loaded
        from station.scanning import KeyBurst

        return KeyBurst()

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if not isinstance(event, QKeyEvent):
            return False
        if event.type() == QEvent.Type.ShortcutOverride:
            if self._burst.is_framed or _character(event) == STX:
                event.accept()
                return True
            return False
        if event.type() != QEvent.Type.KeyPress or not _receives_first(watched):
            return False
        in_field = isinstance(QApplication.focusWidget(), QLineEdit)
        press = self._burst.press_in_field if in_field else self._burst.press
        self._pressed_s = self._now_s()
        heard = press(_character(event), self._pressed_s)
        self._wait_for_silence()
        self._tell(heard)
        return heard.taken

    def _wait_for_silence(self) -> None:
        within_s = self._burst.settles_in_s()
        if within_s is None:
            self._silence.stop()
        else:
            self._silence.start(round(within_s * 1000))

    def _quiet(self) -> None:
        within_s = self._burst.settles_in_s()
        if within_s is not None:
            self._tell(self._burst.settle(self._pressed_s + within_s))

    def _tell(self, heard: "Heard") -> None:
        if heard.cut is not None:
            self.broken.emit(heard.cut)
        if heard.label is not None:
            self.scanned.emit(heard.label)


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
