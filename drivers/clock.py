"""The time that instruments settle, ramp and move in; a simulated line can run it faster.

Deadlines of transactions never use it: they are always real time.
"""

import time
from typing import Protocol


class Clock(Protocol):
    """A source of seconds and a way to let them pass."""

    def now_s(self) -> float:
        """Seconds since an arbitrary start; never goes back."""
        ...

    def sleep(self, duration_s: float) -> None:
        """Return after ``duration_s`` seconds of this clock; at once for zero or less."""
        ...


class RealClock:
    """Seconds as they pass."""

    def now_s(self) -> float:
        return time.monotonic()

    def sleep(self, duration_s: float) -> None:
        if duration_s > 0:
            time.sleep(duration_s)


class ScaledClock:
    """Seconds that pass ``speed`` times faster than real ones.

    Raises:
        ValueError: when ``speed`` is not positive and finite.
    """

    def __init__(self, speed: float) -> None:
        if not 0 < speed < float("inf"):
            raise ValueError(f"the speed of a clock must be positive and finite, got {speed}")
        self.speed = speed
        self._start_s = time.monotonic()

    def now_s(self) -> float:
        return (time.monotonic() - self._start_s) * self.speed

    def sleep(self, duration_s: float) -> None:
        if duration_s > 0:
            time.sleep(duration_s / self.speed)


def real_s(clock: Clock, duration_s: float) -> float:
    """Real seconds that pass while so many seconds of a clock do: for the deadline of an answer
    that comes when a motion ends."""
    return duration_s / clock.speed if isinstance(clock, ScaledClock) else duration_s
