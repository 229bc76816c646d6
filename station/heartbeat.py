"""Heartbeats for the watchdog while the station closes and its supervisor watches no more."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from station.safety.heart import Heart

EVERY_S = 0.2


@contextmanager
def beating(heart: Heart, longest_s: float) -> Iterator[None]:
    """Beat on a thread of its own while the body works, but no longer than `longest_s`.

    A body that hangs is left to the watchdog then.
    """
    ended = threading.Event()

    def beat() -> None:
        until_s = time.monotonic() + longest_s
        while time.monotonic() < until_s and not ended.wait(EVERY_S):
            heart.beat()

    thread = threading.Thread(target=beat, name="heartbeat-closing", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
