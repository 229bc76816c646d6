"""Work on other threads, and its way back to the window."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from PyQt6.QtCore import QObject, pyqtSignal

log = logging.getLogger(__name__)

REFUSALS = frozenset(
    {
        "db.errors.StoreError",
        "drivers.errors.InstrumentError",
        "station.catalogue.label.LabelError",
        "station.commissioning.write.WriteRefusedError",
        "station.events.RefusedError",
        "station.line.RunAbortedError",
        "station.safety.interlock.InterlockTrippedError",
        "station.session.SessionError",
        "station.settings.SettingsError",
        "station.shift.ShiftStoppedError",
    }
)
"""Errors whose message says all. Named, not imported: importing them loads the instruments."""


class Job(QObject):
    """One call on a thread of its own; exactly one of the signals follows, in the window's thread.

    The thread is a daemon: a call that never returns can't keep the program alive.
    """

    done = pyqtSignal(object)
    failed = pyqtSignal(object)

    def __init__(self, name: str, call: Callable[[], Any], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._call = call
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    def start(self) -> None:
        """Begin. Connect the signals before: a quick call may end at once."""
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def wait(self, timeout_s: float) -> None:
        self._thread.join(timeout_s)

    def _work(self) -> None:
        try:
            result = self._call()
        # nobody else would hear of it on this thread: the window shows every failure
        except BaseException as error:
            unexpected = not is_refusal(error)
            log.warning("%s: %s", self._thread.name, error, exc_info=unexpected)
            self.failed.emit(error)
        else:
            self.done.emit(result)


def is_refusal(error: BaseException) -> bool:
    """Whether `error` is one of the station's own, with a message for the operator."""
    return any(f"{kind.__module__}.{kind.__qualname__}" in REFUSALS for kind in type(error).__mro__)
