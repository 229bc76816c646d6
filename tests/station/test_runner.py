"""Whatever ends a procedure: the bias is down and read back, the run closed with its reason."""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlmodel import func, select

import db
from db import Store, StoreError
from drivers.errors import RampInterrupted
from station.events import (
    Ask,
    Finding,
    Happened,
    Message,
    Note,
    Procedure,
    Progress,
    Reading,
    RefusedError,
    RunChanged,
    RunEnded,
    RunStarted,
)
from station.journal import Journal
from station.limits import Limit
from station.line import Line, RunAbortedError
from station.recipes import ModuleRule
from station.run_record import Crew
from station.runner import Order, Runner
from station.safety import InterlockTrippedError, Trip
from station.tally import Tally
from station.twin.server import Twin


@dataclass
class Desk:
    """A runner with its store and everything it told."""

    runner: Runner
    store: Store
    part: db.Part
    recipe: db.Recipe
    told: list[Message] = field(default_factory=list)

    def run(
        self,
        steps: Procedure,
        limits: dict[str, Limit] | None = None,
        rule: ModuleRule | None = None,
    ) -> RunEnded:
        return self.runner.run(
            Order("test_board", steps, self.part, self.recipe.id, limits or {}, rule)
        )

    def end(self, ended: RunEnded) -> db.RunEnd:
        with self.store.session() as session:
            return session.exec(select(db.RunEnd).where(db.RunEnd.run_id == ended.run_id)).one()


@pytest.fixture
def desk(line: Line, store: Store, crew: Crew, module: db.Part) -> Desk:
    recipe = store.ensure_recipe(
        db.Recipe(name="test_board", version="1", sha256="0" * 64, content={})
    )
    told: list[Message] = []
    runner = Runner(line, store, crew, listener=told.append, answer=lambda ask: ask.default)
    return Desk(runner, store, module, recipe, told)


@pytest.fixture
def biased(line: Line, twin: Twin) -> Callable[[Callable[[], Procedure]], Procedure]:
    """A procedure that ramps the bias up before it does its own steps."""

    def make(then: Callable[[], Procedure]) -> Procedure:
        def steps() -> Procedure:
            line.switch_bias_on()
            line.ramp_bias(40.0)
            assert twin.bias.true_voltage_v() > 39
            yield Progress(1, 2, "bias is up")
            yield from then()

        return steps()

    return make


def assert_bias_off(twin: Twin) -> None:
    assert not twin.bias.output_is_on()
    assert abs(twin.bias.true_voltage_v()) < 0.5
    assert twin.tester.bias_connected == (False, False)


def test_a_run_that_is_done_leaves_the_bias_down(
    desk: Desk, twin: Twin, biased: Callable[[Callable[[], Procedure]], Procedure]
) -> None:
    def steps() -> Procedure:
        yield Reading("gain", 28.0, 0.1, "ADC/pe", "test", channel=0)

    ended = desk.run(biased(steps), {"gain": Limit(unit="ADC/pe", low=26)})
    assert (ended.ending, ended.verdict) == ("done", "pass")
    assert desk.end(ended).ending == "done"
    assert_bias_off(twin)


@pytest.mark.parametrize("ending", ["refused", "aborted", "tripped", "lost_instrument"])
def test_every_other_ending_leaves_the_bias_down_and_says_why(
    desk: Desk,
    line: Line,
    twin: Twin,
    biased: Callable[[Callable[[], Procedure]], Procedure],
    ending: str,
) -> None:
    def steps() -> Procedure:
        if ending == "refused":
            raise RefusedError("the fiducials do not fit")
        if ending == "aborted":
            line.abort("the fiducials do not fit")
        if ending == "tripped":
            trip = Trip(datetime.now(UTC), "over-current", "the fiducials do not fit")
            line.interlock.trip(trip)
        if ending == "lost_instrument":
            twin.camera.stop()
            line.camera.grab(deadline_s=0.3)
        yield Progress(1, 2, "never seen")

    ended = desk.run(biased(steps))
    assert ended.ending == ending
    assert ended.verdict == "unknown"
    stored = desk.end(ended)
    assert stored.ending == ending
    if ending != "lost_instrument":
        assert "the fiducials do not fit" in stored.reasons[0]
    assert_bias_off(twin)


def test_a_bug_in_a_procedure_closes_the_run_as_failed_and_comes_out(
    desk: Desk, twin: Twin, biased: Callable[[Callable[[], Procedure]], Procedure]
) -> None:
    def steps() -> Procedure:
        yield Note("before the bug")
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        desk.run(biased(steps))
    with desk.store.session() as session:
        end = session.exec(select(db.RunEnd)).one()
    assert end.ending == "failed"
    assert "ZeroDivisionError" in end.reasons[0]
    assert_bias_off(twin)


def test_a_store_that_refuses_leaves_the_line_safe_and_the_run_open(
    desk: Desk,
    twin: Twin,
    biased: Callable[[Callable[[], Procedure]], Procedure],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = desk.store.record

    def refuse(*facts: db.Fact) -> None:
        if any(isinstance(fact, db.Reading | db.RunEnd) for fact in facts):
            raise StoreError("disk full", "station.sqlite")
        real(*facts)

    monkeypatch.setattr(desk.store, "record", refuse)

    def steps() -> Procedure:
        yield Reading("gain", 28.0, 0.1, "ADC/pe", "test", channel=0)

    with pytest.raises(StoreError, match="disk full"):
        desk.run(biased(steps))
    assert_bias_off(twin)
    with desk.store.session() as session:
        assert session.exec(select(func.count()).select_from(db.RunEnd)).one() == 0


def test_each_fact_is_stored_before_it_is_told(desk: Desk) -> None:
    def steps() -> Procedure:
        yield Reading("gain", 28.0, 0.1, "ADC/pe", "test", channel=0)
        yield Finding("chip", "a chip", 1.0, 2.0, 0.5, "fail")

    seen: list[bool] = []

    def check(message: Message) -> None:
        if isinstance(message, Happened) and message.fact_id is not None:
            model = db.Reading if isinstance(message.event, Reading) else db.Finding
            with desk.store.session() as session:
                seen.append(session.get(model, message.fact_id) is not None)

    desk.runner._tell = check
    ended = desk.run(steps())
    assert seen == [True, True]
    assert ended.verdict == "fail"


def test_a_run_passes_its_states_in_order_and_listeners_hear_of_them(desk: Desk) -> None:
    def steps() -> Procedure:
        yield Ask("Go on?", ("Yes", "No"), "Yes")
        raise RefusedError("no")

    desk.run(steps())
    states = [m.state for m in desk.told if isinstance(m, RunChanged)]
    assert states == ["running", "waiting", "running", "stopping", "ended"]


def test_the_line_is_safe_before_the_procedure_tidies_up(
    desk: Desk, line: Line, twin: Twin
) -> None:
    was_on: list[bool] = []

    def steps() -> Procedure:
        line.switch_bias_on()
        line.ramp_bias(40.0)
        try:
            yield Note("up")
            yield Note("stopped before this")
        finally:
            was_on.append(twin.bias.output_is_on())

    def stop(message: Message) -> None:
        if isinstance(message, Happened):
            line.abort("the operator pressed STOP")

    desk.runner._tell = stop
    assert desk.run(steps()).ending == "aborted"
    assert was_on == [False]
    line.clear_abort()


def test_a_run_whose_act_cannot_be_written_down_ends_before_the_act(
    desk: Desk, line: Line, twin: Twin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line.keep_journal(Journal.open(tmp_path / "line.journal", "TWIN/line"))

    def steps() -> Procedure:
        line.switch_bias_on()
        line.ramp_bias(30.0)
        yield Note("up")
        monkeypatch.setattr("station.journal.os.write", full_disk)
        line.ramp_bias(40.0)
        yield Note("never")

    def full_disk(file: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    ended = desk.run(steps())
    assert ended.ending == "failed"
    assert "No space left" in ended.reasons[0]
    assert "Make room on the disk" in ended.reasons[0]
    assert_bias_off(twin)


@pytest.mark.parametrize("during", ["wait", "ramp", "picture"])
def test_a_stop_ends_a_long_step_at_once(
    desk: Desk, line: Line, twin: Twin, during: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, hanging = threading.Event(), threading.Event()

    def hang(deadline_s: float) -> None:
        began.set()
        hanging.wait()

    monkeypatch.setattr(line.camera, "grab", hang)

    def steps() -> Procedure:
        line.switch_bias_on()
        yield Note("on")
        if during == "wait":
            began.set()
            line.wait(1e9)
        elif during == "picture":
            line.look_at(300.0, 300.0, plane_z_mm=8.0)
        else:
            began.set()
            line.bias.ramp_to(40.0, rate_v_per_s=1e-3, checkpoint=line.checkpoint)
        yield Note("never")

    ended: list[RunEnded] = []
    run = threading.Thread(target=lambda: ended.append(desk.run(steps())))
    run.start()
    assert began.wait(30)
    line.abort("the operator pressed STOP")
    assert line.halt() == ()
    run.join(30)
    hanging.set()
    line.clear_abort()
    assert [(end.ending, end.reasons[0]) for end in ended] == [
        ("aborted", "aborted: the operator pressed STOP")
    ]
    assert_bias_off(twin)


def test_an_answer_that_was_not_offered_stops_the_run(desk: Desk) -> None:
    def steps() -> Procedure:
        answer = yield Ask("Go on?", ("Yes", "No"), "Yes")
        yield Note(f"the operator said {answer}")

    assert desk.run(steps()).ending == "done"
    desk.runner._answer = lambda ask: ""
    ended = desk.run(steps())
    assert ended.ending == "aborted"
    assert "no answer to: Go on?" in ended.reasons[0]


def test_questions_and_answers_are_remembered(desk: Desk) -> None:
    def steps() -> Procedure:
        yield Ask("Go on?", ("Yes", "No"), "No")

    desk.run(steps())
    with desk.store.session() as session:
        said = [(e.kind, e.text) for e in session.exec(select(db.Event).order_by(db.Event.at))]
    assert said == [("ask", "Go on?"), ("answer", "No")]


@contextmanager
def tally(*channels: str) -> Iterator[Tally]:
    counted = Tally()
    for channel, verdict in enumerate(channels):
        counted.add(verdict, (f"{verdict} reason",) if verdict != "pass" else (), channel)  # type: ignore[arg-type]
    yield counted


@pytest.mark.parametrize(
    ("channels", "expected"),
    [
        (("pass", "pass"), "pass"),
        (("pass", "flag"), "pass"),
        (("flag", "flag"), "flag"),
        (("fail", "pass"), "flag"),
        (("fail", "fail"), "fail"),
        (("unknown", "pass"), "unknown"),
    ],
)
def test_channel_verdicts_make_the_module_verdict_by_the_rule(
    channels: tuple[str, ...], expected: str
) -> None:
    rule = ModuleRule(max_failed_channels=1, max_unknown_channels=0, max_flagged_channels=1)
    with tally(*channels) as counted:
        assert counted.verdict(rule)[0] == expected


def test_a_run_that_measured_nothing_is_unknown(desk: Desk) -> None:
    def steps() -> Procedure:
        yield Progress(1, 1, "nothing")

    ended = desk.run(steps())
    assert (ended.ending, ended.verdict) == ("done", "unknown")


@pytest.mark.parametrize("cause", ["trip", "abort"])
def test_a_refusal_that_a_trip_or_a_stop_brought_about_is_not_blamed_on_the_part(
    desk: Desk, line: Line, cause: str
) -> None:
    def steps() -> Procedure:
        yield Progress(0, 1, "measuring")
        if cause == "trip":
            line.interlock.trip(Trip(datetime.now(UTC), "over-current", "too much current"))
        else:
            line.abort("the operator pressed STOP")
        raise RefusedError("the bias reads 12.3 V instead of 40.8 V")

    ended = desk.run(steps())
    assert ended.ending == {"trip": "tripped", "abort": "aborted"}[cause]
    assert "12.3 V" not in ended.reasons[0]


def test_a_listener_that_fails_at_the_start_of_a_run_does_not_leave_it_open(
    desk: Desk, line: Line, twin: Twin
) -> None:
    def steps() -> Procedure:
        yield Progress(0, 1, "never begun")

    def fail(message: Message) -> None:
        if isinstance(message, RunStarted):
            raise BrokenPipeError("the terminal is gone")

    line.switch_bias_on()
    desk.runner._tell = fail
    with pytest.raises(BrokenPipeError):
        desk.run(steps())
    with desk.store.session() as session:
        end = session.exec(select(db.RunEnd)).one()
    assert end.ending == "failed"
    assert "the terminal is gone" in end.reasons[0]
    assert_bias_off(twin)


def test_a_fact_that_the_records_refuse_ends_the_run_as_failed_when_they_take_its_end(
    desk: Desk,
) -> None:
    def steps() -> Procedure:
        yield Reading("gain", float("nan"), 0.1, "ADC/pe", "test", channel=0)

    with pytest.raises(StoreError, match="finite"):
        desk.run(steps())
    with desk.store.session() as session:
        end = session.exec(select(db.RunEnd)).one()
    assert end.ending == "failed"
    assert "finite" in end.reasons[0]


def test_a_safe_state_that_cannot_be_verified_trips_the_interlock(
    desk: Desk, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steps() -> Procedure:
        yield Reading("gain", 28.0, 0.1, "ADC/pe", "test", channel=0)

    monkeypatch.setattr(line, "make_safe", lambda: ("bias: no answer",))
    ended = desk.run(steps())
    assert any("bias: no answer" in reason for reason in ended.reasons)
    assert line.interlock.tripped is not None
    assert "bias: no answer" in line.interlock.tripped.cause


def test_a_safe_state_that_is_verified_at_the_second_try_does_not_trip(
    desk: Desk, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    def steps() -> Procedure:
        yield Reading("gain", 28.0, 0.1, "ADC/pe", "test", channel=0)

    answers = [("light: no answer",), ()]
    monkeypatch.setattr(line, "make_safe", lambda: answers.pop(0))
    ended = desk.run(steps())
    assert (ended.ending, ended.verdict, ended.reasons) == ("done", "pass", ())
    assert line.interlock.tripped is None


def test_a_current_limit_reached_in_a_ramp_is_a_trip_and_no_lost_instrument(
    desk: Desk, line: Line, twin: Twin
) -> None:
    def steps() -> Procedure:
        line.switch_bias_on()
        twin.world.extra_load_a = 1.0
        line.ramp_bias(40.0)
        yield Progress(1, 1, "never seen")

    ended = desk.run(steps())
    assert ended.ending == "tripped"
    assert "current limit" in ended.reasons[0]
    assert line.interlock.tripped is not None
    assert line.interlock.tripped.rule == "over-current"
    twin.world.extra_load_a = 0.0
    assert_bias_off(twin)


def test_a_ramp_that_does_not_arrive_is_a_failure_and_no_lost_instrument(desk: Desk) -> None:
    def steps() -> Procedure:
        yield Progress(0, 1, "ramping")
        raise RampInterrupted("the output measures 3.0 V where 4.0 V was set", port="here")

    ended = desk.run(steps())
    assert ended.ending == "failed"
    assert "measures 3.0 V" in ended.reasons[0]


def test_what_has_a_limit_but_was_never_measured_is_unknown(desk: Desk) -> None:
    limits = {
        "gain": Limit(unit="ADC/pe", low=26),
        "noise": Limit(unit="ADC", high=5),
        "vbd_iv": Limit(unit="V", low=37),
    }

    def steps() -> Procedure:
        yield Reading("gain", 28.0, 0.1, "ADC/pe", "test", channel=0)
        yield Reading("noise", 2.0, 0.1, "ADC", "test", channel=0)
        yield Reading("gain", 28.0, 0.1, "ADC/pe", "test", channel=1)

    ended = desk.run(steps(), limits)
    assert ended.verdict == "unknown"
    assert ended.reasons == (
        "vbd_iv was never measured",
        "channel 1: noise was never measured",
    )


@pytest.mark.parametrize("reset", [True, False])
def test_nothing_that_was_measured_across_a_trip_is_stored(
    desk: Desk, line: Line, reset: bool
) -> None:
    """Even when a person resets the trip before the run meets it."""

    def steps() -> Procedure:
        yield Progress(0, 1, "measuring")
        line.interlock.trip(Trip(datetime.now(UTC), "over-current", "too much current"))
        if reset:
            line.interlock.release()
        yield Reading("gain", 28.0, 0.1, "ADC/pe", "test", channel=0)

    ended = desk.run(steps())
    assert ended.ending == "tripped"
    assert "too much current" in ended.reasons[0]
    with desk.store.session() as session:
        assert session.exec(select(func.count()).select_from(db.Reading)).one() == 0


def test_a_run_does_not_go_on_after_a_trip_that_was_reset_while_it_waited_for_an_answer(
    desk: Desk, line: Line
) -> None:
    went_on: list[str] = []

    def steps() -> Procedure:
        yield Ask("Ready?", ("Continue",), "Continue")
        went_on.append("the next step")
        with line.checkpoint():
            went_on.append("a move")
        yield Progress(1, 1, "done")

    def answer(ask: Ask) -> str:
        line.interlock.trip(Trip(datetime.now(UTC), "lid", "the lid is open"))
        line.interlock.release()
        return "Continue"

    desk.runner._answer = answer
    assert desk.run(steps()).ending == "tripped"
    assert went_on == []
    desk.runner._answer = lambda ask: ask.default
    assert desk.run(steps()).ending == "done"


@pytest.mark.parametrize("stop", ["trip", "abort"])
def test_a_motion_whose_intent_is_still_on_its_way_to_the_disk_does_not_begin_after_a_stop(
    line: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    """The safe state has stopped the gantry already: nothing may begin behind it."""
    line.keep_journal(Journal.open(tmp_path / "line.journal", "TWIN/line 1"))
    before = line.gantry.position()
    flush = os.fdatasync

    def slowly(file: int) -> None:
        if stop == "trip":
            line.interlock.trip(Trip(datetime.now(UTC), "lid", "the lid is open"))
        else:
            line.abort("the operator pressed STOP")
        flush(file)

    monkeypatch.setattr("station.journal._flush", slowly)
    with pytest.raises((InterlockTrippedError, RunAbortedError)):
        line.lower_to(before.z_mm - 5.0)
    assert line.gantry.position() == before
    assert line.journal is not None
    assert line.journal.known.under_way == ()
    line.journal.close(clean=False)
