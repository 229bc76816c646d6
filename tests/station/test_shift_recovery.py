"""A shift meets what an earlier one left: interrupted modules and parts that are set aside."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlmodel import select

import db
from db import Store
from station.catalogue import load_catalogue, parse_label
from station.events import Ask, RefusedError
from station.line import Line
from station.proposals import CONTINUE, SET_ASIDE, STOP
from station.questions import RELEASE
from station.recipes import load_recipes
from station.run_record import Crew
from station.set_aside import set_aside, set_aside_parts
from station.shift import Shift, ShiftStoppedError
from station.twin.server import Twin


class GotThere(RefusedError):  # noqa: N818 - it is what the test waits for
    """The shift went on to its first work."""


class Operator:
    """Does the twin's tasks, and answers questions by a word in them."""

    def __init__(self, twin: Twin, **said: str) -> None:
        self.world = twin.world
        self.said = said
        self.asked: list[Ask] = []

    def __call__(self, ask: Ask) -> str:
        if ask.task in ("scan_board", "scan_module", "scan_tray"):
            return str(getattr(self.world, ask.task)())
        self.asked.append(ask)
        return next((to for word, to in self.said.items() if word in ask.question), ask.default)


class NobodyThere(Operator):
    unattended = True


@pytest.fixture
def shift(
    tmp_path: Path,
    line: Line,
    twin: Twin,
    store: Store,
    crew: Crew,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[Operator], None]:
    twin.world.load()

    def got_there(self: Shift, module: object) -> None:
        raise GotThere("got there")

    monkeypatch.setattr(Shift, "_inspect", got_there)

    def run(operator: Operator) -> None:
        Shift(
            line,
            load_catalogue(),
            store,
            crew,
            load_recipes(),
            reports=tmp_path,
            listener=lambda message: None,
            answer=operator,
        ).run(boards=1)

    return run


@pytest.fixture
def module_part(store: Store, crew: Crew, twin: Twin, shift: object) -> db.Part:
    label = twin.world.scan_module()
    return store.ensure_part(
        db.Part(kind="tile_module", label=label, subtype=label[5:9], site_id=crew.site_id)
    )


@pytest.fixture
def interrupted(store: Store, crew: Crew, module_part: db.Part) -> db.Part:
    recipe = store.ensure_recipe(
        db.Recipe(name="test_board", version="1", sha256="0" * 64, content={})
    )
    run = db.Run(
        procedure="test_board",
        part_id=module_part.id,
        recipe_id=recipe.id,
        operator_id=crew.operator_id,
        station_id=crew.station_id,
        started_at=datetime.now(UTC),
        software_version="0",
    )
    end = db.RunEnd(
        run_id=run.id,
        at=datetime.now(UTC),
        ending="interrupted",
        verdict="unknown",
        reasons=["the station stopped without ending this run, at: ramping to 40.78 V"],
    )
    store.record(run, end)
    return module_part


def answers(store: Store) -> list[dict[str, object]]:
    with store.session() as session:
        events = session.exec(select(db.Event).where(db.Event.kind == "recovery")).all()
    return [event.data for event in events if "answer" in event.data]


@pytest.mark.parametrize("nobody", [False, True])
def test_an_interrupted_module_goes_on_where_the_records_end(
    shift: Callable[[Operator], None], twin: Twin, store: Store, interrupted: db.Part, nobody: bool
) -> None:
    operator = NobodyThere(twin) if nobody else Operator(twin)
    with pytest.raises(ShiftStoppedError, match="got there"):
        shift(operator)
    (ask,) = operator.asked
    assert ask.choices == (CONTINUE, SET_ASIDE, STOP)
    assert "interrupted" in ask.question
    assert "ramping to 40.78 V" in ask.question
    (data,) = answers(store)
    assert (data["answer"], data["asked"]) == (CONTINUE, "nobody" if nobody else "operator")


def test_an_interrupted_module_is_set_aside_and_used_only_after_its_release(
    shift: Callable[[Operator], None], twin: Twin, store: Store, interrupted: db.Part
) -> None:
    with pytest.raises(ShiftStoppedError, match=r"was set aside.*Take it out"):
        shift(Operator(twin, interrupted=SET_ASIDE))
    assert list(set_aside_parts(store)) == [interrupted.id]
    with pytest.raises(ShiftStoppedError, match="is set aside: test_board was interrupted"):
        shift(NobodyThere(twin))
    with pytest.raises(ShiftStoppedError, match="got there"):
        shift(Operator(twin, Release=RELEASE))
    assert set_aside_parts(store) == {}


def test_an_interrupted_module_stops_the_shift_on_the_operators_word(
    shift: Callable[[Operator], None], twin: Twin, interrupted: db.Part
) -> None:
    with pytest.raises(ShiftStoppedError, match="stopped by the operator"):
        shift(Operator(twin, interrupted=STOP))


def test_a_tile_that_is_set_aside_is_not_used(
    line: Line, twin: Twin, store: Store, crew: Crew, tmp_path: Path
) -> None:
    twin.world.load()
    label = str(twin.world.truth()["tray"][0]["bare_label"])
    part = store.ensure_part(
        db.Part(kind="tile", label=label, subtype=parse_label(label).subtype, site_id=crew.site_id)
    )
    set_aside(store, crew, part, "it hung on the nozzle and is gone")
    operator = Operator(twin, Tile=STOP)
    with pytest.raises(ShiftStoppedError, match="it hung on the nozzle and is gone"):
        Shift(
            line,
            load_catalogue(),
            store,
            crew,
            load_recipes(),
            reports=tmp_path,
            listener=lambda message: None,
            answer=operator,
        ).run(boards=1)
    assert operator.asked[-1].task == "replace:0"
