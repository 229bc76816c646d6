"""A session: one station on a line, STOP from any thread, closing whatever fails."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path

import pytest
from sqlmodel import select

import db
from db import StoreError
from drivers.errors import InstrumentError, NotHomed, WrongInstrument
from drivers.grbl.protocol import HARD_LIMITS
from station.catalogue import format_label, parse_label
from station.events import (
    Ask,
    Happened,
    InstrumentChanged,
    Joined,
    Message,
    ModuleDone,
    RunEnded,
    RunStarted,
)
from station.safety import InterlockTrippedError
from station.session import Session, SessionError, open_session, sole_owner
from station.shift import Shift, ShiftStoppedError
from station.twin.process import TWIN_FILE, running_in, start_or_adopt
from station.twin.server import Twin, to_toml


def default(ask: Ask) -> str:
    return ask.default


@pytest.fixture
def file(tmp_path: Path, twin: Twin) -> Path:
    return tmp_path / "twin" / "line.toml"


@pytest.fixture
def told() -> list[Message]:
    return []


@pytest.fixture
def listeners(told: list[Message]) -> list[Callable[[Message], None]]:
    return [told.append]


@pytest.fixture
def session(
    tmp_path: Path, file: Path, listeners: list[Callable[[Message], None]]
) -> Iterator[Session]:
    def tell(message: Message) -> None:
        for listener in listeners:
            listener(message)

    opened = open_session(tmp_path / "data", line_file=file, operator="A", listener=tell)
    yield opened
    opened.close()


def test_a_stop_between_the_start_and_the_first_step_is_not_lost(session: Session) -> None:
    session.line.abort("stopped from the terminal")
    with pytest.raises(ShiftStoppedError, match="stopped from the terminal"):
        session.run_shift(boards=1, answer=default)


def test_a_stop_while_nothing_runs_does_not_stop_the_next_shift(
    session: Session, told: list[Message], listeners: list[Callable[[Message], None]]
) -> None:
    session.stop("just to be sure")

    def stop_at_first_run(message: Message) -> None:
        if isinstance(message, RunStarted):
            session.line.abort("far enough")

    listeners.append(stop_at_first_run)
    with pytest.raises(ShiftStoppedError, match="far enough"):
        session.run_shift(boards=1, answer=default)
    assert any(isinstance(message, RunStarted) for message in told)


def test_no_shift_begins_once_the_station_is_closing(session: Session) -> None:
    session.close()
    with pytest.raises(SessionError, match="closed"):
        session.run_shift(boards=1, answer=default)


def test_closing_during_a_shift_waits_for_its_end_and_leaves_the_line_safe(
    session: Session, twin: Twin, listeners: list[Callable[[Message], None]]
) -> None:
    begun = threading.Event()
    stopped: list[BaseException] = []

    def note_begin(message: Message) -> None:
        if isinstance(message, RunStarted):
            begun.set()

    def work() -> None:
        try:
            session.run_shift(boards=1, answer=default)
        except ShiftStoppedError as error:
            stopped.append(error)

    listeners.append(note_begin)
    shift = threading.Thread(target=work)
    shift.start()
    assert begun.wait(60)
    assert session.close() == ()
    shift.join(60)
    assert "the station is closing" in str(stopped[0])
    assert session.store.open_runs(session.crew.station_id) == []
    assert not twin.bias.output_is_on()


def test_closing_again_says_the_same_and_writes_nothing(session: Session) -> None:
    assert session.close() == ()
    assert session.close() == ()
    with session.store.session() as records:
        assert records.exec(select(db.Event)).all() == []


def test_closing_tells_what_could_not_be_verified_and_closes_the_rest(
    session: Session, file: Path, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*facts: db.Fact) -> None:
        raise StoreError("disk full", "station.sqlite")

    twin.tester.stop()
    monkeypatch.setattr(session.store, "record", refuse)
    problems = session.close()
    assert any("bias switch" in problem for problem in problems)
    assert any("disk full" in problem for problem in problems)
    with sole_owner(file):
        pass
    assert not twin.bias.output_is_on()


def test_a_stop_that_cannot_be_verified_latches_the_interlock(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session.line, "halt", lambda: ("bias: no answer",))
    session.stop("smoke")
    assert session.line.interlock.tripped is not None
    assert "bias: no answer" in session.line.interlock.tripped.cause


def test_a_second_station_is_refused_and_leaves_the_line_of_the_first_alone(
    tmp_path: Path,
) -> None:
    first = open_session(tmp_path / "data", seed=1, shape="G3L", speed=200.0)
    try:
        with pytest.raises(SessionError, match="another station"):
            open_session(tmp_path / "data", seed=1, shape="G3L", speed=200.0)
        assert running_in(tmp_path / "data" / "twin") is not None
        assert first.line.bias.read().output_on is False
    finally:
        assert first.close() == ()
    assert running_in(tmp_path / "data" / "twin") is None


def test_another_supply_than_the_one_of_the_profile_is_refused_and_left_alone(
    tmp_path: Path, twin: Twin
) -> None:
    profile = twin.profile.model_copy(
        update={"bias": twin.profile.bias.model_copy(update={"expected_serial": "04999999"})}
    )
    file = tmp_path / "other.toml"
    file.write_text(to_toml(profile))
    with pytest.raises(WrongInstrument, match="04999999"):
        open_session(tmp_path / "data", line_file=file)


def test_a_shift_stopped_with_a_tile_on_the_nozzle_goes_on_in_the_same_session(
    session: Session, twin: Twin, listeners: list[Callable[[Message], None]]
) -> None:
    stop = threading.Event()
    move_over = session.line.move_over

    def move_and_stop(x_mm: float, y_mm: float) -> None:
        if not stop.is_set() and twin.world.truth()["held"] is not None:
            stop.set()
            session.line.abort("the operator wants a break")
        move_over(x_mm, y_mm)

    session.line.move_over = move_and_stop  # type: ignore[method-assign]
    with pytest.raises(ShiftStoppedError, match="wants a break"):
        session.run_shift(boards=1, answer=default)
    assert twin.world.truth()["held"] is not None

    def stop_when_placed(message: Message) -> None:
        event = message.event if isinstance(message, Happened) else None
        if isinstance(event, Joined) and event.x_mm is not None:
            session.line.abort("far enough")

    listeners.append(stop_when_placed)
    with pytest.raises(ShiftStoppedError, match="far enough"):
        session.run_shift(boards=1, answer=default)
    truth = twin.world.truth()
    assert truth["held"] is None
    (offset,) = truth["placed"].values()
    assert abs(offset["x_mm"]) < 0.3


def test_an_alarm_at_a_limit_is_left_and_the_gantry_homed_when_the_trip_is_reset(
    session: Session, twin: Twin
) -> None:
    session.line.move_over(1200.0, 700.0)
    twin.gantry._settings[HARD_LIMITS] = 1
    twin.gantry.lose_steps("x", 50.0)
    with pytest.raises(InstrumentError):
        session.line.gantry.move_to(x_mm=1290.0, feed_mm_per_min=5000.0)
    wait_for(lambda: session.line.interlock.tripped is not None)
    wait_for(lambda: can_be_reset(session))
    assert session.line.interlock.tripped is None
    assert session.line.gantry.is_homed()
    session.line.move_over(100.0, 100.0)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def can_be_reset(session: Session) -> bool:
    try:
        session.reset_trip("A. Weber")
    except (InterlockTrippedError, InstrumentError):
        return False
    return True


def test_listeners_hear_of_every_change_of_an_instrument(
    session: Session, twin: Twin, told: list[Message]
) -> None:
    def seen(role: str) -> list[str]:
        return [m.status for m in told if isinstance(m, InstrumentChanged) and m.role == role]

    wait_for(lambda: "safe" in seen("bias"))
    session.line.switch_bias_on()
    wait_for(lambda: seen("bias")[-1] == "on")
    session.line.bias_down()
    wait_for(lambda: seen("bias")[-1] == "safe")


def test_a_twin_that_is_taken_over_belongs_to_the_station_that_took_it(
    tmp_path: Path, twin: Twin
) -> None:
    card = {"pid": os.getpid(), "hands": twin.hands.endpoint}
    (tmp_path / "twin" / TWIN_FILE).write_text(json.dumps(card))
    twin.hands.station_pid = 999_999_999

    def never() -> int:
        raise AssertionError("no new twin is needed")

    taken = start_or_adopt(
        tmp_path / "twin", seed=None, shape="G3L", speed=200.0, first_serial=never
    )
    assert taken.pid == os.getpid()
    assert twin.hands.station_pid == os.getpid()


def test_nobody_is_asked_to_touch_a_board_whose_bias_is_not_known_to_be_down(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []
    make_safe = session.line.make_safe

    def answer(ask: Ask) -> str:
        asked.append(ask.task)
        if ask.task == "wrap":
            monkeypatch.setattr(
                session.line, "make_safe", lambda: (*make_safe(), "bias: no answer")
            )
        return ask.default

    with pytest.raises(ShiftStoppedError, match="bias: no answer"):
        session.run_shift(boards=2, answer=answer)
    assert asked[-1] == "wrap"


def test_a_tile_is_not_condemned_when_the_gantry_refuses(session: Session, twin: Twin) -> None:
    asked: list[str | None] = []

    def answer(ask: Ask) -> str:
        asked.append(ask.task)
        return ask.default

    def refuse(x_mm: float, y_mm: float) -> None:
        raise NotHomed("the gantry is not homed", port="here")

    session.line.move_over = refuse  # type: ignore[method-assign]
    with pytest.raises(ShiftStoppedError, match="not homed"):
        session.run_shift(boards=1, answer=answer)
    assert asked == ["load"]


def join(session: Session, parent: str, child: str, position: str) -> None:
    """Record that `child` is in `parent`, as another shift did."""

    def part(label: str) -> db.Part:
        known = parse_label(label)
        return session.store.ensure_part(
            db.Part(
                kind=known.kind, label=label, subtype=known.subtype, site_id=session.crew.site_id
            )
        )

    recipe = session.store.ensure_recipe(
        db.Recipe(name="place_tiles", version="0", sha256="0" * 64, content={})
    )
    run = db.Run(
        procedure="place_tiles",
        part_id=part(parent).id,
        recipe_id=recipe.id,
        operator_id=session.crew.operator_id,
        station_id=session.crew.station_id,
        started_at=datetime.now(UTC),
        software_version="0",
    )
    now = datetime.now(UTC)
    session.store.record(
        run,
        db.RunEnd(run_id=run.id, at=now, ending="done", verdict="pass", reasons=[]),
        db.Assembly(
            parent_id=part(parent).id,
            child_id=part(child).id,
            position=position,
            run_id=run.id,
            at=now,
        ),
    )


def test_a_board_that_is_in_another_module_is_refused(
    session: Session, twin: Twin, told: list[Message]
) -> None:
    twin.world.load()
    join(session, "320TMG3LC000777", twin.world.scan_board(), "board")
    with pytest.raises(ShiftStoppedError, match="already in 320TMG3LC000777"):
        session.run_shift(boards=1, answer=default)
    assert not any(isinstance(message, RunStarted) for message in told)


def test_a_module_label_that_another_board_bears_is_refused(
    session: Session, twin: Twin, told: list[Message]
) -> None:
    twin.world.load()
    other = format_label("TB", "G3L", 777)
    join(session, twin.world.scan_module(), other, "board")
    with pytest.raises(ShiftStoppedError, match=f"{other} is in it"):
        session.run_shift(boards=1, answer=default)
    assert not any(isinstance(message, RunStarted) for message in told)


@pytest.mark.parametrize(("scan", "other"), [("scan_board", "module"), ("scan_module", "board")])
def test_the_same_label_scanned_for_board_and_module_is_refused(
    session: Session, twin: Twin, scan: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin.world.load()
    wrong = {"module": twin.world.scan_module(), "board": twin.world.scan_board()}[other]
    assert session._hands is not None
    do = session._hands.do
    monkeypatch.setattr(session._hands, "do", lambda task: wrong if task == scan else do(task))
    with pytest.raises(ShiftStoppedError, match="is a tile"):
        session.run_shift(boards=1, answer=default)


def test_a_tile_that_the_records_have_elsewhere_is_not_picked(session: Session, twin: Twin) -> None:
    twin.world.load()
    wrapped = twin.world.truth()["tray"][3]["wrapped_label"]
    join(session, "320TMG3LC000777", wrapped, "R1C1")
    with pytest.raises(ShiftStoppedError, match=f"{wrapped} is already at R1C1"):
        session.run_shift(boards=1, answer=default)
    assert twin.world.truth()["placed_tiles"] == []


def test_a_module_that_was_not_taken_out_is_not_built_twice(
    session: Session, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session._hands is not None
    do = session._hands.do
    monkeypatch.setattr(session._hands, "do", lambda task: None if task == "unload" else do(task))
    monkeypatch.setattr(Shift, "_build", lambda shift, module: done_with(module.label.text))
    with pytest.raises(ShiftStoppedError, match="is still in the fixture"):
        session.run_shift(boards=2, answer=default)


def done_with(label: str) -> ModuleDone:
    return ModuleDone(label, "pass", (), "", "")


def test_a_tile_that_could_not_be_judged_is_looked_at_again(
    session: Session, twin: Twin, told: list[Message], listeners: list[Callable[[Message], None]]
) -> None:
    def answer(ask: Ask) -> str:
        return "Stop" if ask.task and ask.task.startswith("replace") else ask.default

    def stop_soon(message: Message) -> None:
        if isinstance(message, RunEnded):
            session.line.abort("far enough")

    twin.world.lamp = 0.05
    with pytest.raises(ShiftStoppedError, match="stopped by the operator"):
        session.run_shift(boards=1, answer=answer)
    (first,) = [m for m in told if isinstance(m, RunEnded)]
    assert (first.ending, first.verdict) == ("done", "unknown")
    twin.world.lamp = 1.0
    told.clear()
    listeners.append(stop_soon)
    with pytest.raises(ShiftStoppedError, match="far enough"):
        session.run_shift(boards=1, answer=answer)
    assert next(m for m in told if isinstance(m, RunEnded)).label == first.label


def test_the_profile_names_the_sites_own_recipes_and_catalogue(tmp_path: Path, twin: Twin) -> None:
    folder = tmp_path / "twin"
    recipes = resources.files("station").joinpath("recipes.toml").read_text()
    (folder / "recipes.toml").write_text(recipes.replace("n_events = 2500", "n_events = 3111"))
    (folder / "tiles.toml").write_text("[tile]\ngap_mm = 0.21\n")
    line = folder / "line.toml"
    line.write_text(
        line.read_text() + '\n[files]\nrecipes = "recipes.toml"\ncatalogue = ["tiles.toml"]\n'
    )
    session = open_session(tmp_path / "data", line_file=line)
    try:
        assert session._recipes.test_board.n_events == 3111
        assert session.catalogue.allowances.gap_mm == 0.21
    finally:
        session.close()


def test_the_next_twin_in_a_folder_raises_no_questions(tmp_path: Path) -> None:
    """A new twin has new addresses; an address is no serial number."""

    def nothing_is_asked(ask: Ask) -> str:
        raise AssertionError(ask.question)

    for seed in (1, 2):
        session = open_session(tmp_path, seed=seed, shape="G3L", speed=200.0)
        try:
            session.settle(nothing_is_asked)
        finally:
            assert session.close() == ()
