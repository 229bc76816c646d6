"""A thread around a loop that a pipe can wake, and the replies that wait to be sent."""

import math
import os
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from drivers.faults import LineFaults, spoilt

STOP_WITHIN_S = 5.0

Message = TypeVar("Message")


class Outbox(Generic[Message]):
    """Replies on their way to one client, in order, each not before its time."""

    def __init__(self, faults: LineFaults) -> None:
        self._faults = faults
        self._queue: deque[tuple[float, Message]] = deque()
        self._lock = threading.Lock()
        self.away_s: float | None = None

    def put(self, reply: bytes, message: Callable[[bytes], Message]) -> None:
        """Queue what is left of a reply, made a message; sets ``away_s`` on a disconnection."""
        fault = self._faults.next_fault(reply)
        with self._lock:
            if fault is not None and fault.kind == "disconnect":
                self.away_s = fault.delay_s
                return
            due_s = self._queue[-1][0] if self._queue else 0.0
            for delay_s, left in spoilt(reply, fault):
                if delay_s > 0:
                    due_s = max(due_s, time.monotonic() + delay_s)
                self._queue.append((due_s, message(left)))

    def due(self) -> list[Message]:
        now_s = time.monotonic()
        ready = []
        with self._lock:
            while self._queue and self._queue[0][0] <= now_s:
                ready.append(self._queue.popleft()[1])
        return ready

    def put_back(self, unsent: Message) -> None:
        with self._lock:
            self._queue.appendleft((0.0, unsent))

    def clear(self) -> None:
        with self._lock:
            self._queue.clear()
            self.away_s = None

    def wait_s(self) -> float:
        """Real seconds until something is due; infinite for never."""
        with self._lock:
            return max(0.0, self._queue[0][0] - time.monotonic()) if self._queue else math.inf


def as_it_is(reply: bytes) -> bytes:
    return reply


class Service(ABC):
    """A thread around a loop that a pipe can wake."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._wake_read, self._wake_write = -1, -1
        self._stopping = threading.Event()

    @property
    def running(self) -> bool:
        return self._thread is not None

    def wake(self) -> None:
        """Let the loop look around now; from any thread."""
        if self._thread is not None and threading.current_thread() is not self._thread:
            os.write(self._wake_write, b"w")

    def _launch(self) -> None:
        self._wake_read, self._wake_write = os.pipe()
        self._stopping.clear()
        self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
        self._thread.start()

    def _halt(self) -> None:
        if self._thread is None:
            return
        self._stopping.set()
        os.write(self._wake_write, b"x")
        self._thread.join(STOP_WITHIN_S)
        if self._thread.is_alive():
            raise RuntimeError(f"{self._name} does not stop")
        self._thread = None
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _take_wake_ups(self) -> None:
        os.read(self._wake_read, 4096)

    @abstractmethod
    def _serve(self) -> None: ...
