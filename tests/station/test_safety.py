"""The interlock: it sees by itself, trips once, brings the bias down and stays tripped."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from db import StoreError
from station.events import LineState
from station.line import Line
from station.safety import (
    Interlock,
    InterlockTrippedError,
    Supervisor,
    Trip,
)
from station.safety.section import SafetySection
from station.twin.server import Twin

LIMITS = SafetySection(max_current_a=1e-3, max_temperature_c=40.0, silent_after_s=5.0, poll_s=0.02)


@dataclass
class Watch:
    """A supervisor that is stepped by hand, and everything it said."""

    supervisor: Supervisor
    states: list[LineState] = field(default_factory=list)
    trips: list[tuple[Trip, tuple[str, ...]]] = field(default_factory=list)


@pytest.fixture
def watch(line: Line) -> Watch:
    states: list[LineState] = []
    trips: list[tuple[Trip, tuple[str, ...]]] = []
    supervisor = Supervisor(
        line,
        LIMITS,
        on_state=states.append,
        on_trip=lambda trip, unverified: trips.append((trip, unverified)),
    )
    return Watch(supervisor, states, trips)


def bias_up(line: Line, voltage_v: float = 40.0) -> None:
    line.switch_bias_on()
    line.ramp_bias(voltage_v)


def test_a_healthy_line_does_not_trip(line: Line, watch: Watch, twin: Twin) -> None:
    bias_up(line)
    watch.supervisor.watch_once()
    assert watch.trips == []
    assert twin.bias.output_is_on()
    assert watch.states[-1].trip is None
    by_role = {state.role: state for state in watch.states[-1].instruments}
    assert by_role["bias"].state == "on"
    assert by_role["bias"].readback.startswith(("39.9", "40.0"))


def overload(twin: Twin, line: Line) -> None:
    twin.world.extra_load_a = 1.5e-3


def heat(twin: Twin, line: Line) -> None:
    twin.world.extra_heat_k = 25.0


@pytest.mark.parametrize(("harm", "rule"), [(overload, "over-current"), (heat, "over-temperature")])
def test_a_broken_rule_brings_the_bias_down_and_latches(
    line: Line,
    watch: Watch,
    twin: Twin,
    harm: Callable[[Twin, Line], None],
    rule: str,
) -> None:
    bias_up(line)
    harm(twin, line)
    watch.supervisor.watch_once()
    watch.supervisor.watch_once()
    assert [trip.rule for trip, _ in watch.trips] == [rule]
    assert watch.trips[0][1] == ()
    assert not twin.bias.output_is_on()
    assert abs(twin.bias.true_voltage_v()) < 0.5
    with pytest.raises(InterlockTrippedError):
        line.ramp_bias(1.0)
    with pytest.raises(InterlockTrippedError):
        line.move_over(10.0, 10.0)
    assert watch.states[-1].trip is not None


@pytest.mark.parametrize("voltage_v", [5.0, 30.0, 40.0])
def test_a_lid_opened_under_bias_brings_it_down_and_one_without_bias_may_be_open(
    line: Line, twin: Twin, voltage_v: float
) -> None:
    trips: list[Trip] = []
    supervisor = Supervisor(
        line,
        twin.profile.safety,
        on_state=lambda state: None,
        on_trip=lambda trip, unverified: trips.append(trip),
    )
    for closed in (False, True):
        twin.world.lid_closed = closed
        supervisor.watch_once()
        assert trips == []
    bias_up(line, voltage_v)
    supervisor.watch_once()
    assert trips == []
    twin.world.lid_closed = False
    supervisor.watch_once()
    assert [trip.rule for trip in trips] == ["lid-open"]
    assert not twin.bias.output_is_on()
    assert abs(twin.bias.true_voltage_v()) < 0.5
    assert line.bias.read().set_v == 0.0
    twin.world.lid_closed = True
    supervisor.watch_once()
    supervisor.reset()
    bias_up(line, voltage_v)


def test_a_trip_is_released_by_a_person_only_once_its_cause_is_gone(
    line: Line, watch: Watch, twin: Twin
) -> None:
    heat(twin, line)
    watch.supervisor.watch_once()
    with pytest.raises(InterlockTrippedError, match="can't reset"):
        watch.supervisor.reset()
    twin.world.extra_heat_k = 0.0
    watch.supervisor.watch_once()
    assert line.interlock.tripped is not None
    watch.supervisor.reset()
    assert line.interlock.tripped is None
    bias_up(line, 5.0)


def test_a_lost_instrument_shows_as_silent_and_not_as_its_last_value(
    line: Line, twin: Twin
) -> None:
    twin.tester.faults.silent["slow"] = 1
    seen = line.observe()
    assert "readout" in seen.silent
    assert seen.temperatures_c == {}
    assert seen.bias_voltage_v is not None


def test_the_supervisor_trips_on_its_own_thread_while_a_procedure_waits(
    line: Line, watch: Watch, twin: Twin
) -> None:
    bias_up(line)
    watch.supervisor.start()
    heat(twin, line)
    with pytest.raises(InterlockTrippedError):
        line.wait(60_000.0)
    watch.supervisor.finish()
    assert not twin.bias.output_is_on()


def test_the_first_cause_stays_when_more_rules_break(line: Line, watch: Watch, twin: Twin) -> None:
    heat(twin, line)
    watch.supervisor.watch_once()
    bias = line.interlock.tripped
    overload(twin, line)
    watch.supervisor.watch_once()
    assert line.interlock.tripped is bias


def test_a_step_under_way_ends_before_a_trip_latches() -> None:
    interlock = Interlock()
    with interlock.guard():
        assert interlock.tripped is None
    assert interlock.trip(Trip(datetime.now(UTC), "rule", "cause"))
    assert not interlock.trip(Trip(datetime.now(UTC), "other", "later"))
    with pytest.raises(InterlockTrippedError, match="cause"), interlock.guard():
        pass


def test_a_trip_that_the_records_refuse_is_recorded_as_soon_as_they_can(
    line: Line, twin: Twin
) -> None:
    told: list[Trip] = []
    refusals = [StoreError("disk full", "station.sqlite")]

    def on_trip(trip: Trip, unverified: tuple[str, ...]) -> None:
        if refusals:
            raise refusals.pop()
        told.append(trip)

    supervisor = Supervisor(line, LIMITS, on_state=lambda state: None, on_trip=on_trip)
    bias_up(line)
    heat(twin, line)
    supervisor.watch_once()
    assert not twin.bias.output_is_on()
    assert told == []
    supervisor.watch_once()
    supervisor.watch_once()
    assert [trip.rule for trip in told] == ["over-temperature"]


def test_a_listener_that_fails_does_not_stop_the_watch(line: Line, twin: Twin) -> None:
    def on_state(state: LineState) -> None:
        raise BrokenPipeError("the terminal is gone")

    supervisor = Supervisor(line, LIMITS, on_state=on_state, on_trip=lambda trip, unverified: None)
    bias_up(line)
    supervisor.start()
    heat(twin, line)
    with pytest.raises(InterlockTrippedError):
        line.wait(60_000.0)
    assert supervisor.is_alive()
    supervisor.finish()
    assert not twin.bias.output_is_on()


def test_a_line_that_cannot_be_watched_trips(
    line: Line, watch: Watch, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    bias_up(line)

    def broken() -> bool:
        raise ZeroDivisionError("a bug in a driver")

    monkeypatch.setattr(line.light, "pulsing", broken)
    watch.supervisor.watch_once()
    assert [trip.rule for trip, _ in watch.trips] == ["interlock-fault"]
    assert "ZeroDivisionError" in watch.trips[0][0].cause
    assert not twin.bias.output_is_on()


def test_the_bias_comes_down_although_a_step_before_it_fails_with_a_bug(
    line: Line, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise ZeroDivisionError("a bug in a driver")

    bias_up(line)
    monkeypatch.setattr(line.light, "pulse_off", broken)
    problems = line.make_safe()
    assert len(problems) == 1
    assert "ZeroDivisionError" in problems[0]
    assert not twin.bias.output_is_on()


def test_a_trip_brings_the_bias_down_although_a_step_hangs(
    line: Line, watch: Watch, twin: Twin
) -> None:
    bias_up(line)
    begun, let_go = threading.Event(), threading.Event()

    def hang() -> None:
        with line.checkpoint():
            begun.set()
            let_go.wait(30)

    step = threading.Thread(target=hang)
    step.start()
    begun.wait(30)
    heat(twin, line)
    watcher = threading.Thread(target=watch.supervisor.watch_once, daemon=True)
    watcher.start()
    watcher.join(20)
    hung = watcher.is_alive()
    let_go.set()
    step.join()
    assert not hung
    assert not twin.bias.output_is_on()
    assert [trip.rule for trip, _ in watch.trips] == ["over-temperature"]


def test_what_a_step_under_way_at_the_trip_still_did_is_undone(
    line: Line, watch: Watch, twin: Twin
) -> None:
    begun, let_go = threading.Event(), threading.Event()
    line.bias.program_limits(max_voltage_v=45.0, compliance_a=2e-3)

    def step_late() -> None:
        with line.checkpoint():
            begun.set()
            let_go.wait(30)
            line.bias.switch_on()

    step = threading.Thread(target=step_late)
    step.start()
    begun.wait(30)
    heat(twin, line)
    watch.supervisor.watch_once()
    let_go.set()
    step.join()
    assert twin.bias.output_is_on()
    watch.supervisor.watch_once()
    assert not twin.bias.output_is_on()


def test_a_gantry_in_alarm_trips_at_once_although_its_position_is_unknown(
    line: Line, watch: Watch, twin: Twin
) -> None:
    twin.gantry.power_cycle()
    watch.supervisor.watch_once()
    assert [trip.rule for trip, _ in watch.trips] == ["gantry-alarm"]


def test_a_trip_that_others_latched_is_made_safe_and_recorded(
    line: Line, watch: Watch, twin: Twin
) -> None:
    bias_up(line)
    line.interlock.trip(Trip(datetime.now(UTC), "unsafe", "the run could not verify its end"))
    watch.supervisor.watch_once()
    assert [trip.rule for trip, _ in watch.trips] == ["unsafe"]
    assert not twin.bias.output_is_on()
