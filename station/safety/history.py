"""The readings around a trip: those before it are kept, those after it are waited for."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from station.safety.interlock import Trip
from station.safety.rules import Snapshot

BEFORE_S = 20.0
AFTER_S = 10.0
EVERY_S = 0.25
"""Looks that come closer together are thinned out; the look that trips is always kept."""


class History:
    """What was seen during the last `BEFORE_S` seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, Mapping[str, Any]]] = deque()

    def saw(self, seen: Snapshot) -> None:
        if self._seen and seen.monotonic_s - self._seen[-1][0] < EVERY_S:
            return
        self._seen.append((seen.monotonic_s, seen.as_data()))
        while seen.monotonic_s - self._seen[0][0] > BEFORE_S:
            self._seen.popleft()

    def with_cause(self, seen: Snapshot) -> tuple[Mapping[str, Any], ...]:
        """The history up to and with the look that trips."""
        kept = [data for at_s, data in self._seen if at_s != seen.monotonic_s]
        return (*kept, seen.as_data())


class Aftermath:
    """Collects what is seen after a trip."""

    def __init__(self, trip: Trip, now_s: float) -> None:
        self.trip = trip
        self._until_s = now_s + AFTER_S
        self._seen: list[Mapping[str, Any]] = []
        self._last_s = now_s

    def saw(self, seen: Snapshot) -> None:
        if seen.monotonic_s - self._last_s >= EVERY_S and seen.monotonic_s <= self._until_s:
            self._seen.append(seen.as_data())
            self._last_s = seen.monotonic_s

    def complete(self, now_s: float) -> bool:
        return now_s > self._until_s

    @property
    def readings(self) -> tuple[Mapping[str, Any], ...]:
        return tuple(self._seen)


def as_columns(readings: tuple[Mapping[str, Any], ...]) -> dict[str, Any]:
    """Readings by quantity, as the records keep them: a tenth of the size of rows.

    `at` has the time of every look; a quantity that one look did not read is None there.
    """
    names = sorted({name for reading in readings for name in reading["values"]})
    return {
        "at": [reading["at"] for reading in readings],
        "values": {name: [r["values"].get(name) for r in readings] for name in names},
        "silent": [dict(reading["silent"]) for reading in readings],
    }
