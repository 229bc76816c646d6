"""The watch: rules on a thread of their own, a trip that latches, a safe state that is verified."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Protocol

from station.events import LineState
from station.profile import SafetySection
from station.safety.interlock import Interlock, InterlockTrippedError, Trip
from station.safety.rules import Snapshot, broken_rule

log = logging.getLogger(__name__)


class Watched(Protocol):
    """What the supervisor needs of a line."""

    @property
    def interlock(self) -> Interlock: ...

    def observe(self) -> Snapshot: ...

    def make_safe(self) -> tuple[str, ...]: ...


class Supervisor(threading.Thread):
    """Watches the line every `limits.poll_s` seconds until `finish()`.

    `on_state` is called with every round's `LineState`, `on_trip` once per trip, whoever latched
    it, both on this thread. A safe state that could not be verified, and an `on_trip` that failed,
    are tried again in every round.
    """

    def __init__(
        self,
        line: Watched,
        limits: SafetySection,
        *,
        on_state: Callable[[LineState], None],
        on_trip: Callable[[Trip, tuple[str, ...]], None],
    ) -> None:
        super().__init__(name="interlock-supervisor", daemon=True)
        self._line = line
        self._limits = limits
        self._on_state = on_state
        self._on_trip = on_trip
        self._finish = threading.Event()
        self._round = threading.Lock()
        self._silent_since: dict[str, float] = {}
        self._history: deque[Mapping[str, Any]] = deque(maxlen=20)
        self._made_safe: Trip | None = None
        self._told: Trip | None = None
        self._unsafe: tuple[str, ...] = ()
        self._last: LineState | None = None

    @property
    def last_state(self) -> LineState | None:
        return self._last

    def run(self) -> None:
        while not self._finish.wait(self._limits.poll_s):
            self.watch_once()

    def finish(self) -> None:
        """End the watch; a trip that could not be told yet is told once more."""
        self._finish.set()
        if self.is_alive():
            self.join()
        with self._round, _survived("telling a trip"):
            self._tell_trip()

    def watch_once(self) -> None:
        """One round: look, judge, trip when needed, make safe, tell. Never raises."""
        with self._round:
            seen, broken = self._look()
            if broken is not None:
                self._line.interlock.trip(Trip(seen.at, *broken, tuple(self._history)))
            with _survived("the safe state"):
                self._make_safe()
            with _survived("telling a trip"):
                self._tell_trip()
            tripped = self._line.interlock.tripped
            self._last = LineState(seen.at, seen.states, tripped.cause if tripped else None)
            with _survived("telling the state of the line"):
                self._on_state(self._last)

    def reset(self) -> None:
        """Release the latch. Raises InterlockTrippedError while the cause still stands, and
        whatever `on_trip` raises while the trip can't be told."""
        with self._round:
            if self._line.interlock.step_under_way:
                raise InterlockTrippedError("can't reset: a step is still under way")
            seen = self._line.observe()
            broken = broken_rule(seen, self._limits)
            if broken is not None:
                raise InterlockTrippedError(f"can't reset: {broken[1]}")
            if seen.silent:
                raise InterlockTrippedError(f"can't reset: silent: {', '.join(seen.silent)}")
            problems = self._line.make_safe()
            if problems:
                raise InterlockTrippedError(f"can't reset: {'; '.join(problems)}")
            self._tell_trip()
            self._unsafe = ()
            self._made_safe = self._told = None
            self._silent_since.clear()
            self._line.interlock.release()

    def _look(self) -> tuple[Snapshot, tuple[str, str] | None]:
        try:
            seen = self._line.observe()
            self._history.append(seen.as_data())
            return seen, broken_rule(seen, self._limits) or self._too_silent(seen)
        except Exception as error:
            log.exception("the line can't be watched")
            blind = Snapshot(datetime.now(UTC), time.monotonic())
            return blind, (
                "interlock-fault",
                f"the line can't be watched: {type(error).__name__}: {error}",
            )

    def _make_safe(self) -> None:
        """The safe state of a trip, until it is verified with no step under way."""
        trip = self._line.interlock.tripped
        if trip is None or (trip is self._made_safe and not self._unsafe):
            return
        disturbed = self._line.interlock.step_under_way
        self._unsafe = self._line.make_safe()
        self._made_safe = None if disturbed else trip

    def _tell_trip(self) -> None:
        trip = self._line.interlock.tripped
        if trip is not None and trip is not self._told:
            self._on_trip(trip, self._unsafe)
            self._told = trip

    def _too_silent(self, seen: Snapshot) -> tuple[str, str] | None:
        for role in set(self._silent_since) - set(seen.silent):
            del self._silent_since[role]
        for role, complaint in seen.silent.items():
            since = self._silent_since.setdefault(role, seen.monotonic_s)
            if seen.monotonic_s - since >= self._limits.silent_after_s:
                return "silent-instrument", f"{role} does not answer: {complaint}"
        return None


@contextmanager
def _survived(what: str) -> Iterator[None]:
    """Whatever fails inside is logged, and the watch goes on."""
    try:
        yield
    except Exception:
        log.exception("%s failed; the interlock watches on", what)
