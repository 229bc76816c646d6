"""The interlock: it sees by itself, trips once, brings the bias down and stays tripped."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest

from station.events import LineState
from station.line import Line
from station.profile import SafetySection
from station.safety import (
    Interlock,
    InterlockTrippedError,
    Snapshot,
    Supervisor,
    Trip,
    broken_rule,
)
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


def test_an_instrument_that_stays_silent_trips_after_its_time(line: Line, watch: Watch) -> None:
    seen = line.observe()
    silent = replace(seen, silent={"readout": "no answer"}, states=())
    observed = iter(
        replace(silent, monotonic_s=seen.monotonic_s + later) for later in (0.0, 4.9, 5.1)
    )
    line.observe = lambda: next(observed)  # type: ignore[method-assign]
    watch.supervisor.watch_once()
    watch.supervisor.watch_once()
    assert watch.trips == []
    watch.supervisor.watch_once()
    assert [trip.rule for trip, _ in watch.trips] == ["silent-instrument"]


def test_an_instrument_that_answers_again_in_time_does_not_trip(line: Line, watch: Watch) -> None:
    seen = line.observe()
    silent = replace(seen, silent={"gantry": "no answer"})
    observed = iter(
        [
            silent,
            replace(seen, monotonic_s=seen.monotonic_s + 4.0),
            replace(silent, monotonic_s=seen.monotonic_s + 6.0),
        ]
    )
    line.observe = lambda: next(observed)  # type: ignore[method-assign]
    for _ in range(3):
        watch.supervisor.watch_once()
    assert watch.trips == []


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


@pytest.mark.parametrize("temperature_c", [41.0, float("nan")])
def test_a_temperature_that_is_high_or_no_number_breaks_the_rule(temperature_c: float) -> None:
    seen = Snapshot(datetime.now(UTC), 0.0, temperatures_c={"board": temperature_c})
    broken = broken_rule(seen, LIMITS)
    assert broken is not None
    assert broken[0] == "over-temperature"


def test_a_step_under_way_ends_before_a_trip_latches() -> None:
    interlock = Interlock()
    with interlock.guard():
        assert interlock.tripped is None
    assert interlock.trip(Trip(datetime.now(UTC), "rule", "cause"))
    assert not interlock.trip(Trip(datetime.now(UTC), "other", "later"))
    with pytest.raises(InterlockTrippedError, match="cause"), interlock.guard():
        pass
