"""What the station's threads say, handed to the window in batches and in order."""

import threading
from collections import deque

from PyQt6.QtCore import QObject, QTimer, pyqtSignal

FRAME_MS = 40
BATCH = 2000


class Inbox(QObject):
    """`put` may be called by any thread at any rate; `arrived` comes at most once a frame.

    `arrived` carries the items of one frame in their order, at most `BATCH` of them; the rest
    waits for the next frame, so that the window answers in between.
    """

    arrived = pyqtSignal(list)
    _woken = pyqtSignal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._lock = threading.Lock()
        self._waiting: deque[object] = deque()
        self._frame = QTimer(self)
        self._frame.setSingleShot(True)
        self._frame.setInterval(FRAME_MS)
        self._frame.timeout.connect(self._hand_over)
        self._woken.connect(self._frame.start)

    def put(self, item: object) -> None:
        with self._lock:
            first = not self._waiting
            self._waiting.append(item)
        if first:
            self._woken.emit()

    def empty(self) -> None:
        """Hand over everything that waits, now."""
        while self._waiting:
            self._hand_over()

    def _hand_over(self) -> None:
        with self._lock:
            batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
            more = bool(self._waiting)
        if more:
            self._frame.start()
        if batch:
            self.arrived.emit(batch)
