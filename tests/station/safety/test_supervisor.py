"""The watch on a line that does what a test says: nobody waits for a silent instrument."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from drivers.errors import InstrumentTimeout
from station.events import LineState
from station.safety import InterlockTrippedError, Supervisor, Trip
from station.safety.looking import Seen
from station.safety.rules import Breach, Value
from tests.station.safety.fake_line import ScriptedLine
from tests.station.safety.lines import profile

WITHIN_S = 20.0


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline_s, "did not come true in time"
        time.sleep(0.002)


class Bench:
    """A scripted line under a supervisor, and everything it said."""

    def __init__(self, **safety: Any) -> None:
        self.shows: dict[str, dict[str, Value]] = {
            "bias": {
                "bias.current_a": 0.0,
                "bias.in_compliance": False,
                "bias.output_on": True,
            },
            "readout": {"readout.temperature_c.a": 20.0},
            "gantry": {"gantry.state": "Idle"},
        }
        self.line = ScriptedLine({role: self._look(role) for role in self.shows})
        self.safety = profile(**safety).safety
        self.states: list[LineState] = []
        self.trips: list[Trip] = []
        self.after: list[tuple[Mapping[str, Any], ...]] = []
        self.warnings: list[Breach] = []
        self.heart: Heart | None = None

    def _look(self, role: str) -> Callable[[], Seen]:
        return lambda: (dict(self.shows[role]), None)

    def supervisor(self) -> Supervisor:
        return Supervisor(
            self.line,
            self.safety,
            on_state=self.states.append,
            on_trip=lambda trip, unverified: self.trips.append(trip),
            on_aftermath=lambda trip, readings: self.after.append(readings),
            on_warning=self.warnings.append,
            heart=self.heart,
        )

    @contextmanager
    def watched(self) -> Iterator[Supervisor]:
        watch = self.supervisor()
        watch.start()
        try:
            yield watch
        finally:
            watch.finish()


class Heart:
    def __init__(self) -> None:
        self.beats = 0
        self.is_alive = True

    def beat(self) -> None:
        self.beats += 1

    def alive(self) -> bool:
        return self.is_alive


def test_a_silent_instrument_keeps_nobody_from_seeing_the_current() -> None:
    bench = Bench(silent_after_s=30.0)
    asked, answer = threading.Event(), threading.Event()

    def hang() -> Seen:
        asked.set()
        answer.wait(WITHIN_S)
        raise InstrumentTimeout("no answer in time", port="tester")

    bench.line.looks["readout"] = hang
    with bench.watched():
        assert asked.wait(WITHIN_S)
        bench.shows["bias"]["bias.current_a"] = 2e-3
        until(lambda: bench.line.interlock.tripped)
        answer.set()
    assert [trip.rule for trip in bench.trips] == ["over-current"]
    assert bench.line.steps_taken


def test_an_instrument_that_stays_silent_trips() -> None:
    bench = Bench(silent_after_s=0.2)

    def silent() -> Seen:
        raise InstrumentTimeout("no answer in time", port="tester")

    with bench.watched():
        until(lambda: bench.states)
        bench.line.looks["readout"] = silent
        until(lambda: bench.line.interlock.tripped)
    (trip,) = bench.trips
    assert trip.rule == "silent-instrument"
    assert "readout" in trip.cause
    assert "tester" in trip.cause


def test_a_look_that_never_ends_makes_its_instrument_silent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("station.safety.supervisor.OVERDUE_S", 0.2)
    bench = Bench(silent_after_s=0.3)
    answer = threading.Event()

    def hang() -> Seen:
        answer.wait(WITHIN_S)
        return {"readout.temperature_c.a": 20.0}, None

    bench.line.looks["readout"] = hang
    with bench.watched():
        until(lambda: bench.line.interlock.tripped)
        answer.set()
    assert bench.trips[0].rule == "silent-instrument"


def test_a_listener_that_hangs_does_not_keep_the_line_unsafe() -> None:
    bench = Bench()
    entered, leave = threading.Event(), threading.Event()

    def hang(state: LineState) -> None:
        entered.set()
        leave.wait(WITHIN_S)

    bench.states = type("Hanging", (list,), {"append": staticmethod(hang)})()
    with bench.watched():
        assert entered.wait(WITHIN_S)
        bench.shows["bias"]["bias.current_a"] = 2e-3
        until(lambda: bench.line.steps_taken)
        leave.set()


def test_the_heart_beats_while_the_watch_is_well_and_stops_when_the_bias_hangs() -> None:
    bench = Bench()
    bench.heart = heart = Heart()
    with bench.watched():
        until(lambda: heart.beats > 2)
        bench.line.interlock.bias_stuck = True
        time.sleep(0.3)
        beats = heart.beats
        time.sleep(0.3)
        assert heart.beats == beats


def test_the_heart_beats_on_although_the_safe_state_takes_long() -> None:
    bench = Bench()
    bench.heart = heart = Heart()
    end = threading.Event()

    def slow() -> tuple[str, ...]:
        end.wait(WITHIN_S)
        return ()

    bench.line.safe = slow
    with bench.watched():
        bench.shows["bias"]["bias.current_a"] = 2e-3
        until(lambda: bench.line.steps_taken)
        beats = heart.beats
        until(lambda: heart.beats > beats + 3)
        end.set()


def test_without_a_watchdog_the_line_trips() -> None:
    bench = Bench()
    bench.heart = heart = Heart()
    with bench.watched() as watch:
        until(lambda: heart.beats > 2)
        heart.is_alive = False
        until(lambda: bench.trips)
        with pytest.raises(InterlockTrippedError, match="watchdog"):
            watch.reset()
        heart.is_alive = True
        watch.reset()
    assert [trip.rule for trip in bench.trips] == ["watchdog"]


def test_the_first_cause_stays_and_a_reset_names_every_cause_that_stands() -> None:
    bench = Bench()
    watch = bench.supervisor()
    bench.shows["bias"]["bias.current_a"] = 2e-3
    watch.watch_once()
    bench.shows["bias"]["bias.current_a"] = 0.0
    bench.shows["readout"]["readout.temperature_c.a"] = 99.0
    bench.shows["gantry"]["gantry.state"] = "Alarm:1"
    watch.watch_once()
    assert [trip.rule for trip in bench.trips] == ["over-current"]
    with pytest.raises(InterlockTrippedError, match=r"99 °C.*Alarm:1"):
        watch.reset()


@pytest.mark.parametrize("value", [float("nan"), None])
def test_no_reset_passes_what_cannot_be_read(value: float | None) -> None:
    bench = Bench()
    watch = bench.supervisor()
    watch.watch_once()
    bench.line.interlock.trip(Trip(bench.states[0].at, "unsafe", "by hand"))
    watch.watch_once()
    if value is None:
        del bench.shows["readout"]["readout.temperature_c.a"]
    else:
        bench.shows["readout"]["readout.temperature_c.a"] = value
    with pytest.raises(InterlockTrippedError, match="can't reset"):
        watch.reset()
    bench.shows["readout"]["readout.temperature_c.a"] = 20.0
    watch.reset()
    assert bench.line.interlock.tripped is None


def test_a_rule_takes_only_the_steps_that_it_names() -> None:
    lid = {
        "name": "door",
        "watch": "gantry.state",
        "equals": "Door*",
        "action": ["gantry_stop", "light_off"],
    }
    bench = Bench(rules=[lid])
    watch = bench.supervisor()
    bench.shows["gantry"]["gantry.state"] = "Door:0"
    watch.watch_once()
    assert bench.line.steps_taken == [("gantry_stop", "light_off")]


def test_a_warning_is_told_once_and_again_after_it_was_fine() -> None:
    warm = {"name": "warm", "watch": "readout.temperature_c.*", "above": 30.0, "severity": "warn"}
    bench = Bench(rules=[warm])
    watch = bench.supervisor()
    for temperature in (35.0, 36.0, 20.0, 35.0):
        bench.shows["readout"]["readout.temperature_c.a"] = temperature
        watch.watch_once()
    assert [breach.rule.name for breach in bench.warnings] == ["warm", "warm"]
    assert bench.line.interlock.tripped is None


def test_a_trip_keeps_the_readings_before_it_and_later_tells_those_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("station.safety.history.EVERY_S", 0.0)
    monkeypatch.setattr("station.safety.history.AFTER_S", 0.3)
    bench = Bench()
    with bench.watched():
        until(lambda: len(bench.states) > 1)
        bench.shows["bias"]["bias.current_a"] = 2e-3
        until(lambda: bench.line.interlock.tripped)
        bench.shows["bias"]["bias.current_a"] = 0.0
        until(lambda: bench.after)
    before = [look["values"].get("bias.current_a") for look in bench.trips[0].history]
    assert before[-1] == 2e-3
    assert 0.0 in before
    after = [look["values"].get("bias.current_a") for look in bench.after[0]]
    assert after[-1] == 0.0


def test_a_safe_state_that_cannot_be_verified_is_tried_again() -> None:
    bench = Bench()
    bench.line.safe = lambda: () if len(bench.line.steps_taken) > 2 else ("bias: no answer",)
    with bench.watched():
        bench.shows["bias"]["bias.current_a"] = 2e-3
        until(lambda: len(bench.line.steps_taken) == 3)


def test_a_gantry_in_alarm_is_not_recovered_while_anything_else_is_wrong() -> None:
    """Recovering homes: not with a lid open, or with a cause that can't be read."""
    bench = Bench()
    moved: list[str] = []
    with bench.watched() as watch:
        bench.shows["gantry"]["gantry.state"] = "Alarm:1"
        bench.shows["readout"]["readout.temperature_c.a"] = 60.0
        until(lambda: bench.line.interlock.tripped)
        with pytest.raises(InterlockTrippedError, match="can't recover the gantry: readout"):
            watch.recover(lambda: moved.append("home"))
        assert moved == []
        bench.shows["readout"]["readout.temperature_c.a"] = 20.0
        watch.recover(lambda: moved.append("home"))
        assert moved == ["home"]


def test_a_gantry_that_is_recovered_is_stopped_when_anything_else_goes_wrong() -> None:
    bench = Bench()
    with bench.watched() as watch:
        bench.shows["gantry"]["gantry.state"] = "Alarm:1"
        until(lambda: bench.line.interlock.tripped)

        def home() -> None:
            with pytest.raises(InterlockTrippedError, match="under way"):
                watch.reset()
            bench.shows["readout"]["readout.temperature_c.a"] = 60.0
            until(lambda: ("gantry_stop",) in bench.line.steps_taken)

        watch.recover(home)


def test_a_trip_that_is_told_slowly_is_told_once_though_it_is_reset_meanwhile() -> None:
    bench = Bench()
    telling, go_on = threading.Event(), threading.Event()
    told: list[Trip] = []

    def slowly(trip: Trip) -> None:
        telling.set()
        go_on.wait(WITHIN_S)
        told.append(trip)

    bench.trips = type("Slow", (list,), {"append": staticmethod(slowly)})()
    with bench.watched() as watch:
        bench.shows["bias"]["bias.current_a"] = 2e-3
        assert telling.wait(WITHIN_S)
        bench.shows["bias"]["bias.current_a"] = 0.0
        resetting = threading.Thread(target=watch.reset)
        resetting.start()
        until(lambda: len(bench.line.steps_taken) > 1)
        go_on.set()
        resetting.join(WITHIN_S)
        assert bench.line.interlock.tripped is None
    assert len(told) == 1
