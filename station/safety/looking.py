"""Looking at roles: one look each, on threads of their own, merged into one snapshot."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType

from drivers.errors import InstrumentError, InstrumentInterrupted
from station.events import InstrumentState
from station.safety.rules import Snapshot, Value

LOOK_DEADLINE_S = 10.0
"""Longer than any driver takes to give a look up; one that takes longer is silent."""

Seen = tuple[dict[str, Value], InstrumentState | None]
"""Quantities by name, and what people see of the role."""
Derive = Callable[[dict[str, Value]], None]
"""Adds to the values of one snapshot what follows from several roles."""


@dataclass(frozen=True)
class Eye:
    """How one role is looked at. `look` raises InstrumentError when it does not answer."""

    role: str
    name: str
    look: Callable[[], Seen]
    poll_s: float


@dataclass(frozen=True)
class Sighting:
    """What one look at a role brought. Without `values` it says why in `silent` or `fault`."""

    role: str
    name: str
    at_s: float
    values: Mapping[str, Value] = field(default_factory=dict)
    state: InstrumentState | None = None
    silent: str | None = None
    fault: str | None = None
    look_s: float = 0.0


def sight(eye: Eye) -> Sighting | None:
    """Look once. None when another thread broke the look off: that says nothing of the role."""
    begun_s = time.monotonic()
    try:
        values, state = eye.look()
        at_s = time.monotonic()
        return Sighting(eye.role, eye.name, at_s, values, state, look_s=at_s - begun_s)
    except InstrumentInterrupted:
        return None
    except InstrumentError as error:
        return Sighting(eye.role, eye.name, time.monotonic(), silent=str(error))
    except Exception as error:  # noqa: BLE001 - a bug in a driver must not end the watch
        return Sighting(
            eye.role, eye.name, time.monotonic(), fault=f"{type(error).__name__}: {error}"
        )


def look_at_all(eyes: Iterable[Eye], derive: Derive) -> Snapshot:
    """Look at every role now, all at once, and wait for all of them (`LOOK_DEADLINE_S` at most)."""
    begun_s = time.monotonic()
    brought: dict[str, Sighting] = {}

    def look(eye: Eye) -> None:
        seen = sight(eye) or sight(eye)
        if seen is not None:
            brought[eye.role] = seen

    looking = [
        (eye, threading.Thread(target=look, args=(eye,), name=f"look-{eye.role}", daemon=True))
        for eye in eyes
    ]
    for _, thread in looking:
        thread.start()
    for _, thread in looking:
        thread.join(max(0.0, begun_s + LOOK_DEADLINE_S - time.monotonic()))
    sightings = [
        brought.get(
            eye.role,
            Sighting(eye.role, eye.name, begun_s, silent="the look at it did not end in time"),
        )
        for eye, _ in looking
    ]
    return merge(sightings, {s.role: s.at_s for s in sightings if s.silent is None}, derive)


def merge(
    sightings: Iterable[Sighting], answered_s: Mapping[str, float], derive: Derive
) -> Snapshot:
    """One snapshot of the latest look at every role.

    answered_s: when each role last answered (`time.monotonic`); a role that is silent, or has not
    been seen for long, is silent for the time since then.
    """
    now_s = time.monotonic()
    values: dict[str, Value] = {}
    states: list[InstrumentState] = []
    silent: dict[str, str] = {}
    faults: dict[str, str] = {}
    for sighting in sightings:
        role = sighting.role
        why = sighting.silent or sighting.fault
        if sighting.fault is not None:
            faults[role] = sighting.fault
        if why is not None:
            silent[role] = why
            values[f"{role}.silent_s"] = max(0.0, now_s - answered_s.get(role, now_s))
            states.append(
                InstrumentState(
                    role, sighting.name, "silent", why.partition("\n")[0], healthy=False
                )
            )
            continue
        values[f"{role}.silent_s"] = 0.0
        values[f"{role}.look_s"] = sighting.look_s
        values.update(sighting.values)
        if sighting.state is not None:
            states.append(sighting.state)
    derive(values)
    return Snapshot(
        at=datetime.now(UTC),
        monotonic_s=now_s,
        values=MappingProxyType(values),
        states=tuple(states),
        silent=MappingProxyType(silent),
        faults=MappingProxyType(faults),
    )
