"""The watch: every role looked at on a thread of its own, judged at once, made safe when due.

    eyes (one thread per role) -> latest sightings -> rules -> latch -> safe state (its own thread)
                                          |-> heartbeat to the watchdog
                                          '-> listeners and records (their own thread)

A silent instrument keeps nobody waiting, nor does a listener or a full disk.
"""

import logging
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from station.events import LineState
from station.safety.heart import Heart, Watched
from station.safety.history import Aftermath, History
from station.safety.interlock import InterlockTrippedError, Trip
from station.safety.judge import FAULT_REMEDY, INTERLOCK_FAULT, Judge
from station.safety.looking import Eye, Sighting, look_at_all, merge, sight
from station.safety.rules import Breach, Snapshot, Value
from station.safety.section import POSITIONED, WATCHDOG_RULE, SafetySection

log = logging.getLogger(__name__)

ROUND_S = 0.1
SAFE_AGAIN_S = 0.5
OVERDUE_S = 3.0
"""A role whose last look is so much older than it should be is silent."""
END_WITHIN_S = 60.0
TOLD_WITHIN_S = 30.0
SWITCH_S = 0.0005
"""A busy thread keeps the interpreter for so long at a time. Python's own 5 ms, paid at every byte
that comes from an instrument, make ten commands under load take longer than a trip may."""


def _ignore(*_: object) -> None:
    pass


class Supervisor:
    """Watches the line from `start()` until `finish()`; `watch_once()` is one round by hand.

    Called on a thread of its own, one call after the other, whoever latched the trip:
    `on_state` with the line's state every `poll_s`; `on_trip` once per trip with what could not be
    made safe; `on_aftermath` once per trip with the readings after it; `on_warning` when a rule of
    severity "warn" begins to be broken. A safe state that could not be verified, and an `on_trip`
    that failed, are tried again.

    heart: the watchdog. It hears every complete round; without it alive the line trips.
    """

    def __init__(
        self,
        line: Watched,
        safety: SafetySection,
        *,
        on_state: Callable[[LineState], None],
        on_trip: Callable[[Trip, tuple[str, ...]], None],
        on_aftermath: Callable[[Trip, tuple[Mapping[str, Any], ...]], None] = _ignore,
        on_warning: Callable[[Breach], None] = _ignore,
        heart: Heart | None = None,
    ) -> None:
        self._line = line
        self._safety = safety
        self._on_state = on_state
        self._on_trip = on_trip
        self._on_aftermath = on_aftermath
        self._on_warning = on_warning
        self._heart = heart
        self._judge = Judge(safety, () if heart is None else (WATCHDOG_RULE,))
        self._eyes = line.eyes()
        self._sightings: dict[str, Sighting] = {}
        self._answered_s: dict[str, float] = {}
        self._begun_s = time.monotonic()
        self._reset_s = self._begun_s
        self._history = History()
        self._aftermath: Aftermath | None = None
        self._warned: set[tuple[str, str]] = set()
        self._to_warn: list[Breach] = []
        self._finish = threading.Event()
        self._round = threading.Lock()
        self._judging = threading.Lock()
        self._telling = threading.Lock()
        self._recovering = False
        self._tripped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._tried: Trip | None = None
        self._made_safe: Trip | None = None
        self._told: Trip | None = None
        self._unsafe: tuple[str, ...] = ()
        self._last: LineState | None = None
        self._last_seen: Snapshot | None = None

    @property
    def last_state(self) -> LineState | None:
        return self._last

    @property
    def last_seen(self) -> Snapshot | None:
        """The latest snapshot, for who records or shows it."""
        return self._last_seen

    def is_alive(self) -> bool:
        """Whether every thread of the watch runs."""
        return bool(self._threads) and all(thread.is_alive() for thread in self._threads)

    def start(self) -> None:
        """Begin the watch on threads of its own. Shortens the interpreter's switch interval."""
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_S))
        work: list[tuple[str, Callable[[], None]]] = [
            (f"interlock-eye-{eye.role}", lambda eye=eye: self._keep_looking(eye))  # type: ignore[misc]
            for eye in self._eyes
        ]
        work += [
            ("interlock-safe-state", self._keep_safe),
            ("interlock-teller", self._keep_telling),
            ("interlock-supervisor", self._keep_watch),
        ]
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True) for name, target in work
        ]
        self._begun_s = time.monotonic()
        self._answered_s = {eye.role: self._begun_s for eye in self._eyes}
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """End the watch; a trip that was not made safe or told yet is so now."""
        self._finish.set()
        self._tripped.set()
        for thread in self._threads:
            thread.join(END_WITHIN_S)
        with self._round:
            with _survived("the safe state"):
                self._make_safe()
            with _survived("telling a trip"):
                self._tell_trip()
                self._tell_aftermath(at_once=True)

    def watch_once(self) -> None:
        """One round by hand: look, judge, make safe when due, tell. Never raises."""
        with self._round:
            self._judge_what(lambda: look_at_all(self._eyes, self._derive))
            with _survived("the safe state"):
                self._make_safe()
            self._tell_all()

    def reset(self) -> None:
        """Release the latch, after a fresh look at everything.

        Raises InterlockTrippedError while a cause stands, anything can't be read, or the safe
        state can't be verified; and whatever `on_trip` raises while the trip can't be told.
        """
        with self._round:
            if self._line.interlock.step_under_way or self._recovering:
                raise InterlockTrippedError("can't reset: a step is still under way")
            seen = look_at_all(self._eyes, self._derive)
            with self._judging:
                self._reset_s = self._begun_s = time.monotonic()
                self._sightings.clear()
                standing = self._judge.judge(seen).standing
            causes = [breach.cause for breach in standing if breach.rule.severity == "trip"]
            causes += [f"{role} is silent: {why}" for role, why in seen.silent.items()]
            if causes:
                raise InterlockTrippedError(f"can't reset: {'; '.join(dict.fromkeys(causes))}")
            problems = self._line.make_safe()
            if problems:
                raise InterlockTrippedError(f"can't reset: {'; '.join(problems)}")
            self._tell_trip()
            self._unsafe = ()
            self._made_safe = None
            self._line.interlock.release()

    def recover(self, act: Callable[[], None]) -> None:
        """Do what ends an alarm of the gantry, on the word of a person; it may move.

        Nothing else may be wrong: what is keeps it from beginning, what becomes so stops it.
        Raises InterlockTrippedError, and whatever `act` raises.
        """
        with self._round:
            if self._recovering:
                raise InterlockTrippedError("can't recover the gantry: that is under way already")
            seen = look_at_all(self._eyes, self._derive)
            with self._judging:
                standing = self._judge.judge(seen).standing
            if causes := list(dict.fromkeys(_beside_the_gantry(standing))):
                raise InterlockTrippedError(f"can't recover the gantry: {'; '.join(causes)}")
            self._recovering = True
        try:
            act()
        finally:
            self._recovering = False

    # -- looking and judging -------------------------------------------------------------------

    def _derive(self, values: dict[str, Value]) -> None:
        self._line.derive(values)
        if self._heart is not None:
            values["watchdog.alive"] = self._heart.alive()

    def _keep_looking(self, eye: Eye) -> None:
        while not self._finish.is_set():
            begun_s = time.monotonic()
            sighting = sight(eye)
            # what was seen before a reset is no reason to trip after it
            if sighting is not None and begun_s >= self._reset_s:
                self._take_in(sighting)
                self._see()
            self._finish.wait(max(0.0, begun_s + eye.poll_s - time.monotonic()))

    def _take_in(self, sighting: Sighting) -> None:
        self._sightings[sighting.role] = sighting
        if sighting.silent is None and sighting.fault is None:
            self._answered_s[sighting.role] = sighting.at_s

    def _see(self) -> None:
        """Judge what is known now. From any thread."""
        self._judge_what(lambda: merge(self._latest(), self._answered_s, self._derive))

    def _judge_what(self, look: Callable[[], Snapshot]) -> None:
        with self._judging:
            try:
                self._apply(look())
            except Exception as error:
                log.exception("the line can't be watched")
                what = f"the line can't be watched: {type(error).__name__}: {error}. {FAULT_REMEDY}"
                self._latch(Trip(datetime.now(UTC), INTERLOCK_FAULT, what))

    def _latest(self) -> list[Sighting]:
        """The latest sighting of every role; those that are overdue as silent."""
        now_s = time.monotonic()
        latest = []
        for eye in self._eyes:
            sighting = self._sightings.get(eye.role)
            age_s = now_s - (self._begun_s if sighting is None else sighting.at_s)
            if age_s > eye.poll_s + OVERDUE_S:
                sighting = Sighting(
                    eye.role, eye.name, now_s, silent=f"no answer for {age_s:.1f} s"
                )
            if sighting is not None:
                latest.append(sighting)
        return latest

    def _apply(self, seen: Snapshot) -> None:
        verdict = self._judge.judge(seen)
        self._last_seen = seen
        if (breach := verdict.trip) is not None and self._line.interlock.tripped is None:
            self._latch(
                Trip(
                    seen.at,
                    breach.rule.name,
                    breach.told,
                    self._history.with_cause(seen),
                    breach.quantity,
                    breach.rule.action,
                )
            )
        if self._recovering and any(_beside_the_gantry(verdict.due)):
            self._recovering = False
            self._begin(lambda: self._line.take_safe_steps(("gantry_stop",)))
        self._history.saw(seen)
        if self._aftermath is not None:
            self._aftermath.saw(seen)
        warned = {(breach.rule.name, breach.quantity): breach for breach in verdict.warnings}
        self._to_warn += [breach for key, breach in warned.items() if key not in self._warned]
        self._warned = set(warned)

    def _begin(self, act: Callable[[], object]) -> None:
        threading.Thread(target=act, name="interlock-stop", daemon=True).start()

    def _latch(self, trip: Trip) -> None:
        if self._line.interlock.trip(trip):
            self._tripped.set()

    # -- the rounds ----------------------------------------------------------------------------

    def _keep_watch(self) -> None:
        while not self._finish.wait(ROUND_S):
            self._see()
            if self._line.interlock.tripped is not None:
                self._tripped.set()
            if self._heart is not None and self._is_well():
                self._heart.beat()

    def _is_well(self) -> bool:
        """Whether the station can still bring its own bias down."""
        return self.is_alive() and not self._line.interlock.bias_stuck

    # -- making safe ---------------------------------------------------------------------------

    def _keep_safe(self) -> None:
        while not self._finish.is_set():
            self._tripped.wait()
            self._tripped.clear()
            if self._finish.is_set():
                return
            with self._round, _survived("the safe state"):
                self._make_safe()
            if self._unsafe or self._made_safe is not self._line.interlock.tripped:
                self._finish.wait(SAFE_AGAIN_S)

    def _make_safe(self) -> None:
        """The safe state of a trip, until it is verified with no step under way."""
        trip = self._line.interlock.tripped
        if trip is None or (trip is self._made_safe and not self._unsafe):
            return
        if self._aftermath is None or self._aftermath.trip is not trip:
            self._aftermath = Aftermath(trip, time.monotonic())
        disturbed = self._line.interlock.step_under_way
        self._unsafe = (
            self._line.take_safe_steps(trip.steps) if trip.steps else self._line.make_safe()
        )
        self._tried = trip
        self._made_safe = None if disturbed else trip

    # -- telling -------------------------------------------------------------------------------

    def _keep_telling(self) -> None:
        while not self._finish.wait(self._safety.poll_s):
            self._tell_all()

    def _tell_all(self) -> None:
        with _survived("telling a trip"):
            if self._line.interlock.tripped is self._tried:
                self._tell_trip()
        with _survived("telling the readings after a trip"):
            self._tell_aftermath()
        with _survived("telling a warning"):
            self._tell_warnings()
        if (seen := self._last_seen) is not None:
            tripped = self._line.interlock.tripped
            self._last = LineState(seen.at, seen.states, tripped.cause if tripped else None)
            with _survived("telling the state of the line"):
                self._on_state(self._last)

    def _tell_trip(self) -> None:
        if not self._telling.acquire(timeout=TOLD_WITHIN_S):
            raise InterlockTrippedError("the trip is not in the records: they do not answer")
        try:
            trip = self._line.interlock.tripped
            if trip is None or trip is self._told:
                return
            self._on_trip(trip, self._unsafe)
            self._told = trip
        finally:
            self._telling.release()

    def _tell_aftermath(self, *, at_once: bool = False) -> None:
        aftermath = self._aftermath
        if aftermath is None or aftermath.trip is not self._told:
            return
        if at_once or aftermath.complete(time.monotonic()):
            self._on_aftermath(aftermath.trip, aftermath.readings)
            self._aftermath = None

    def _tell_warnings(self) -> None:
        while self._to_warn:
            self._on_warning(self._to_warn[0])
            self._to_warn.pop(0)


def _beside_the_gantry(breaches: Iterable[Breach]) -> Iterator[str]:
    """Causes of trips that are not about the gantry itself."""
    for breach in breaches:
        about_it = breach.quantity.startswith(POSITIONED)
        if breach.rule.severity == "trip" and not about_it:
            yield breach.cause


@contextmanager
def _survived(what: str) -> Iterator[None]:
    """Whatever fails inside is logged, and the watch goes on."""
    try:
        yield
    except Exception:
        log.exception("%s failed; the interlock watches on", what)
