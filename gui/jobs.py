"""Work on other threads, and its way back to the window."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from PyQt6.QtCore import QObject, pyqtSignal

log = logging.getLogger(__name__)


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
        except BaseException as error:
            log.exception("%s failed", self._thread.name)
            self.failed.emit(error)
        else:
            self.done.emit(result)
