"""The safe state: every step whatever happened to the others, in order, verified, never forever."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from drivers.errors import InstrumentTimeout
from station import safe_state
from station.line import Line
from station.safety import Trip
from station.twin.server import Twin


def silent() -> None:
    raise InstrumentTimeout("no answer in time", port="somewhere")


def bias_up(line: Line) -> None:
    line.switch_bias_on()
    line.ramp_bias(30.0)
    line.light.pulse_on()


def is_safe(line: Line, twin: Twin) -> bool:
    return not twin.bias.output_is_on() and not line.light.pulsing() and not line.switch.connected()


def test_a_line_at_work_is_made_safe_and_again_changes_nothing(line: Line, twin: Twin) -> None:
    bias_up(line)
    assert line.make_safe() == ()
    assert is_safe(line, twin)
    assert line.make_safe() == ()


@pytest.mark.parametrize(
    ("owner", "step", "what"),
    [("light", "pulse_off", "light"), ("switch", "disconnect", "bias switch")],
)
def test_a_step_that_fails_is_told_and_keeps_no_other_from_being_taken(
    line: Line, twin: Twin, monkeypatch: pytest.MonkeyPatch, owner: str, step: str, what: str
) -> None:
    bias_up(line)
    monkeypatch.setattr(getattr(line, owner), step, silent)
    (problem,) = line.make_safe()
    assert problem.startswith(f"{what}: no answer in time")
    assert not twin.bias.output_is_on()


def test_the_bias_switch_opens_only_after_the_bias_is_down(
    line: Line, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    bias_up(line)
    at_v: list[float] = []
    disconnect = line.switch.disconnect

    def note() -> None:
        at_v.append(twin.bias.true_voltage_v())
        disconnect()

    monkeypatch.setattr(line.switch, "disconnect", note)
    assert line.make_safe() == ()
    assert abs(at_v[0]) < 0.5


def test_a_step_that_hangs_is_given_up_and_a_hanging_bias_stops_the_heart(
    line: Line, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = threading.Event()
    monkeypatch.setattr(safe_state, "RAMP_SLACK_S", 0.2)
    monkeypatch.setattr(safe_state, "STEP_DEADLINE_S", 5.0)
    down: Callable[[], object] = line.bias_down

    def hang() -> object:
        go.wait(30)
        return down()

    monkeypatch.setattr(line, "bias_down", hang)
    problems = line.make_safe()
    assert any(problem.startswith("bias: not done within") for problem in problems)
    assert line.interlock.bias_stuck
    go.set()
    monkeypatch.undo()
    assert line.make_safe() == ()
    assert not line.interlock.bias_stuck


def test_a_trip_stops_the_gantry_and_a_plain_end_does_not(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    stops: list[str] = []
    stop = line.gantry.stop

    def note() -> None:
        stops.append("stop")
        stop()

    monkeypatch.setattr(line.gantry, "stop", note)
    assert line.make_safe() == ()
    assert stops == []
    line.interlock.trip(Trip(datetime.now(UTC), "zone", "the camera is inside the zone"))
    assert line.make_safe() == ()
    assert stops == ["stop"]


def test_a_trip_about_the_bias_takes_the_bias_first(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[str] = []
    start = safe_state._Taken.start

    def note(self: safe_state._Taken, beside: dict[str, safe_state._Taken]) -> None:
        begun.append(self._step.what)
        start(self, beside)  # type: ignore[arg-type]

    monkeypatch.setattr(safe_state._Taken, "start", note)
    line.interlock.trip(
        Trip(datetime.now(UTC), "over-current", "too much", quantity="bias.current_a")
    )
    assert line.make_safe() == ()
    assert begun[0] == "bias"
    assert begun.index("bias switch") > 0


def test_a_glue_valve_is_shut_and_read_back(line: Line) -> None:
    class Valve:
        def __init__(self) -> None:
            self.open = True

        def shut(self) -> None:
            self.open = False

        def is_open(self) -> bool:
            return self.open

        def dispense(self, duration_s: float) -> None: ...

    valve = Valve()
    line.glue_valve = valve
    assert line.make_safe() == ()
    assert not valve.open


def test_several_threads_may_make_the_line_safe_at_once(line: Line, twin: Twin) -> None:
    bias_up(line)
    said: list[tuple[str, ...]] = []
    threads = [threading.Thread(target=lambda: said.append(line.make_safe())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert said == [()] * 4
    assert is_safe(line, twin)


def test_a_bias_that_hangs_for_one_thread_is_stuck_for_every_other(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The watchdog must not hear that all is well because a second thread gave up waiting."""
    go = threading.Event()
    monkeypatch.setattr(safe_state, "RAMP_SLACK_S", 0.2)
    down: Callable[[], object] = line.bias_down

    def hang() -> object:
        go.wait(30)
        return down()

    monkeypatch.setattr(line, "bias_down", hang)
    assert line.make_safe()
    for _ in range(2):
        problems = line.take_safe_steps(("bias_down",))
        assert problems
        assert line.interlock.bias_stuck
    go.set()
    monkeypatch.undo()
    assert line.make_safe() == ()


def test_the_steps_are_taken_one_after_the_other_when_no_thread_can_be_started(
    line: Line, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    bias_up(line)
    start = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("safe-state"):
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert line.make_safe() == ()
    assert is_safe(line, twin)
