"""The states of runs and instruments, and which may follow which."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Generic, Literal, TypeVar

from station.events import (
    InstrumentChanged,
    InstrumentState,
    InstrumentStatus,
    LineState,
    Listener,
    RunState,
)

RUN_FOLLOWS: Mapping[RunState, frozenset[RunState]] = {
    "requested": frozenset({"running", "stopping"}),
    "running": frozenset({"waiting", "stopping"}),
    "waiting": frozenset({"running", "stopping"}),
    "stopping": frozenset({"ended"}),
    "ended": frozenset(),
}
"""A run that ends, however it ends, passes `stopping`: the line is brought to its safe state."""

INSTRUMENT_FOLLOWS: Mapping[InstrumentStatus, frozenset[InstrumentStatus]] = {
    "unknown": frozenset({"ready", "busy", "on", "safe", "silent", "alarmed"}),
    "safe": frozenset({"ready", "busy", "on", "silent", "alarmed"}),
    "ready": frozenset({"busy", "on", "safe", "silent", "alarmed"}),
    "busy": frozenset({"ready", "on", "safe", "silent", "alarmed"}),
    "on": frozenset({"ready", "busy", "safe", "silent", "alarmed"}),
    "silent": frozenset({"unknown"}),
    "alarmed": frozenset({"safe", "ready", "unknown", "silent"}),
}
"""An instrument that answers again is unknown first; one in alarm does not work before it was
brought to rest."""

_Working = Literal["busy", "on"]
_STATUS_WORDS: Mapping[str, InstrumentStatus] = {
    "silent": "silent",
    "alarm": "alarmed",
    "off": "safe",
    "on": "on",
    "LED on": "on",
    "open": "on",
    "run": "busy",
    "jog": "busy",
    "home": "busy",
    "hold:0": "busy",
    "hold:1": "busy",
    "idle": "ready",
}

_State = TypeVar("_State", bound=str)


class IllegalTransitionError(Exception):
    """A state that may not follow the one before: a mistake in the program."""


class Machine(Generic[_State]):
    """One thing with one state at a time; `on_change` is told (before, after)."""

    def __init__(
        self,
        state: _State,
        follows: Mapping[_State, frozenset[_State]],
        on_change: Callable[[_State, _State], object],
    ) -> None:
        self._state = state
        self._follows = follows
        self._on_change = on_change

    @property
    def state(self) -> _State:
        return self._state

    def to(self, state: _State) -> None:
        """Go to a state that may follow. Raises IllegalTransitionError for any other."""
        if state not in self._follows[self._state]:
            raise IllegalTransitionError(f"{state} may not follow {self._state}")
        before, self._state = self._state, state
        self._on_change(before, state)

    def reach(self, state: _State) -> None:
        """Go to a state that was observed, over those that must lie between."""
        for between in self._way_to(state):
            self.to(between)

    def _way_to(self, state: _State) -> list[_State]:
        ways: deque[list[_State]] = deque([[self._state]])
        seen = {self._state}
        while ways:
            way = ways.popleft()
            if way[-1] == state:
                return way[1:]
            for following in sorted(self._follows[way[-1]] - seen):
                seen.add(following)
                ways.append([*way, following])
        raise IllegalTransitionError(f"{state} can't be reached from {self._state}")


def status_of(seen: InstrumentState) -> InstrumentStatus:
    """The status of an instrument as it was read back."""
    known = _STATUS_WORDS.get(seen.state)
    if known in ("silent", "alarmed"):
        return known
    if not seen.healthy:
        return "alarmed"
    return known or "ready"


class InstrumentStates:
    """Follows what the instruments of a line read back and tells when one changes its status."""

    def __init__(self, listener: Listener) -> None:
        self._tell = listener
        self._machines: dict[str, Machine[InstrumentStatus]] = {}

    def see(self, line: LineState) -> None:
        """Take in one round of the supervisor."""
        for seen in line.instruments:
            self._machine(seen.role).reach(status_of(seen))

    def status(self, role: str) -> InstrumentStatus:
        return self._machine(role).state

    def _machine(self, role: str) -> Machine[InstrumentStatus]:
        if role not in self._machines:

            def changed(before: InstrumentStatus, after: InstrumentStatus) -> None:
                self._tell(InstrumentChanged(role, before, after))

            self._machines[role] = Machine("unknown", INSTRUMENT_FOLLOWS, changed)
        return self._machines[role]
