"""The latch: the first trip stays until a person releases it, and no rising step passes it."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from station.safety.section import SafeStep


class InterlockTrippedError(Exception):
    """The interlock has tripped; nothing may raise the bias or move until a person resets it."""


@dataclass(frozen=True)
class Trip:
    """A latched trip: which rule, what was seen, and what was seen before it.

    quantity: what the rule watches, such as `bias.current_a`; empty for a trip of no rule.
    steps: the steps of the safe state to take; empty means all of them.
    """

    at: datetime
    rule: str
    cause: str
    history: tuple[Mapping[str, Any], ...] = ()
    quantity: str = ""
    steps: tuple[SafeStep, ...] = ()


class Interlock:
    """A latch between the supervisor and everything that may raise the bias or move.

    Whoever does one such step does it inside `guard()`: once tripped no further step can begin. A
    trip does not wait for the step under way, which may hang.
    """

    def __init__(self) -> None:
        self._one_step = threading.RLock()
        self._steps = 0
        self._latch = threading.Lock()
        self._trip: Trip | None = None
        self._latest: Trip | None = None
        self.bias_stuck = False
        """Whether a step that brings the bias down does not end: then only the watchdog can."""

    @property
    def tripped(self) -> Trip | None:
        return self._trip

    @property
    def latest(self) -> Trip | None:
        """The trip that was latched last, also when it was released since."""
        return self._latest

    @property
    def step_under_way(self) -> bool:
        """Whether a step that began before a trip may still do something."""
        return self._steps > 0

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Do one step inside. Raises InterlockTrippedError once tripped."""
        with self._one_step:
            self._steps += 1
            try:
                if (trip := self._trip) is not None:
                    raise InterlockTrippedError(trip.cause)
                yield
            finally:
                self._steps -= 1

    def trip(self, trip: Trip) -> bool:
        """Latch `trip`; False when an earlier one is latched already (the first cause stays)."""
        with self._latch:
            if self._trip is not None:
                return False
            self._trip = self._latest = trip
            return True

    def release(self) -> None:
        with self._latch:
            self._trip = None
