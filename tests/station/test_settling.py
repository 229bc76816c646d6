"""After a crash on the twin: what was found is compared, told, asked and put right."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

import db
from db import Store
from station.events import Ask, RefusedError
from station.journal_file import JournalError
from station.last_known import Carried
from station.line import Line, RunAbortedError
from station.proposals import CONTINUE, DONE, RETRY, SET_ASIDE, STOP
from station.recovery import Recovery, read_machine
from station.run_record import Crew
from station.set_aside import release, set_aside_parts
from station.taking_up import bias_as_found, take_up
from station.twin.server import Twin

ROLES = ("bias", "switch", "gantry", "gripper")


class Person:
    """Answers questions by what they begin with; everything else by its default."""

    def __init__(self, **said: str) -> None:
        self.said = {start.replace("_", " "): answer for start, answer in said.items()}
        self.asked: list[Ask] = []

    def __call__(self, ask: Ask) -> str:
        self.asked.append(ask)
        for word, answer in self.said.items():
            if word in ask.question:
                return answer
        return ask.default


class Nobody(Person):
    unattended = True


@dataclass
class Bench:
    """A line that one station after the other works on."""

    line: Line
    store: Store
    crew: Crew
    twin: Twin
    path: Path
    told: tuple[str, ...] = ()
    bare: dict[str, Any] = field(default_factory=dict)

    def start(self) -> Recovery:
        """What a station does when it starts."""
        self.bare = {role: getattr(self.line, role) for role in ROLES}
        found, story = bias_as_found(self.line.bias, ramp_v_per_s=5.0)
        assert self.line.make_safe() == ()
        self.told, recovery = take_up(
            self.line, self.store, self.crew, self.path, bias=found, bias_story=story
        )
        return recovery

    def crash(self) -> None:
        """What kill -9 leaves: nothing is put right."""
        assert self.line.journal is not None
        self.line.journal.close(clean=False)
        self.forget()

    def forget(self) -> None:
        for role, instrument in self.bare.items():
            setattr(self.line, role, instrument)
        self.line.journal = self.line.carried = None

    def part(self, label: str, kind: str) -> db.Part:
        return self.store.ensure_part(db.Part(kind=kind, label=label, site_id=self.crew.site_id))

    def events(self) -> list[db.Event]:
        with self.store.session() as reading:
            return list(reading.exec(select(db.Event).where(db.Event.kind == "recovery")).all())

    def pick(self, slot: int = 4) -> str:
        """Pick the bare tile of a slot and carry it away; its label."""
        self.twin.world.load()
        line = self.line
        thickness = self.twin.world._tray[slot].top_z_mm - line.profile.tray.surface_z_mm
        label = str(self.twin.world.truth()["tray"][slot]["bare_label"])
        line.move_over(*line.tray_slot(slot))
        line.lower_to(line.profile.tray.surface_z_mm + thickness)
        line.grip(Carried(label, slot, thickness, str(self.part(label, "tile").id)))
        line.lift()
        line.move_over(700.0, 300.0)
        assert line.gripper.holding()
        return label

    def held(self) -> object:
        return self.twin.world.truth()["held"]


@pytest.fixture
def bench(tmp_path: Path, line: Line, store: Store, crew: Crew, twin: Twin) -> Bench:
    return Bench(line, store, crew, twin, tmp_path / "line.journal")


def bias_up(line: Line, voltage_v: float = 40.0) -> None:
    line.switch_bias_on()
    line.ramp_bias(voltage_v)


def test_a_clean_line_asks_nothing(bench: Bench) -> None:
    person = Person()
    assert bench.start().settle(person) == ()
    bench.line.journal.close(clean=True)  # type: ignore[union-attr]
    bench.forget()
    assert bench.start().settle(person) == ()
    assert bench.told == ()
    assert person.asked == []


def test_a_tile_on_the_nozzle_is_put_back_on_the_operators_word(bench: Bench) -> None:
    bench.start()
    label = bench.pick()
    bench.crash()
    recovery = bench.start()
    assert any(f"{label} hangs on the nozzle" in story for story in bench.told)
    assert bench.held() is not None
    person = Person(hangs=CONTINUE)
    (story,) = recovery.settle(person)
    assert story == f"{label} was found on the nozzle and put back into slot 4"
    (ask,) = person.asked
    assert ask.choices == (CONTINUE, RETRY, SET_ASIDE, STOP)
    assert bench.held() is None
    assert bench.twin.world.truth()["tray"][4]["bare_label"] == label
    answers = [event.data for event in bench.events() if "answer" in event.data]
    assert [(data["answer"], data["asked"]) for data in answers] == [(CONTINUE, "operator")]


def test_nothing_moves_when_the_operator_stops_and_he_is_asked_again(bench: Bench) -> None:
    bench.start()
    bench.pick()
    bench.crash()
    recovery = bench.start()
    before = read_machine(bench.line)
    for _ in range(2):
        person = Person(hangs=STOP)
        with pytest.raises(RefusedError, match=r"stopped at: .* hangs on the nozzle"):
            recovery.settle(person)
        assert len(person.asked) == 1
        assert read_machine(bench.line) == before


def test_retry_looks_again_after_a_person_did_something(bench: Bench) -> None:
    bench.start()
    bench.pick()
    bench.crash()
    recovery = bench.start()

    def take_it(ask: Ask) -> str:
        bench.twin.world.drop()
        return RETRY if "hangs" in ask.question else ask.default

    stories = recovery.settle(take_it)
    assert any("vacuum is on and holds nothing" in story for story in stories)
    assert not bench.line.gripper.vacuum_on()


def test_a_tile_that_is_set_aside_is_handed_over_and_not_used_before_it_is_released(
    bench: Bench,
) -> None:
    bench.start()
    label = bench.pick()
    bench.crash()
    stories = bench.start().settle(Person(hangs=SET_ASIDE, Hold=DONE))
    assert any(f"{label} was set aside" in story for story in stories)
    assert not bench.line.gripper.vacuum_on()
    part = bench.part(label, "tile")
    assert list(set_aside_parts(bench.store)) == [part.id]
    release(bench.store, bench.crew, part, "A. Weber")
    assert set_aside_parts(bench.store) == {}


def test_a_tile_is_not_let_go_before_a_hand_is_under_it(bench: Bench) -> None:
    bench.start()
    bench.pick()
    bench.crash()
    with pytest.raises(RefusedError, match="Hold"):
        bench.start().settle(Person(hangs=SET_ASIDE))
    assert bench.line.gripper.holding()


def test_a_tile_that_is_gone_is_set_aside_where_nobody_sits(bench: Bench) -> None:
    bench.start()
    label = bench.pick()
    bench.twin.world.drop()
    bench.crash()
    nobody = Nobody()
    bench.start().settle(nobody)
    assert [ask.default for ask in nobody.asked] == [SET_ASIDE]
    assert not bench.line.gripper.vacuum_on()
    assert bench.part(label, "tile").id in set_aside_parts(bench.store)
    answers = [event.data["asked"] for event in bench.events() if "asked" in event.data]
    assert answers == ["nobody"]


def test_a_gantry_that_was_moved_by_hand_is_homed_after_asking(bench: Bench) -> None:
    bench.start()
    bench.line.move_over(700.0, 300.0)
    bench.crash()
    bench.line.gantry.move_to(x_mm=650.0, feed_mm_per_min=5000.0)
    recovery = bench.start()
    assert any("stands at X 650.0" in story for story in bench.told)
    person = Person(stands=CONTINUE)
    assert recovery.settle(person) == ("the gantry was homed",)
    assert recovery.settle(person) == ()
    assert len(person.asked) == 1


def lose_home(bench: Bench) -> None:
    """What a reset of the controller does."""
    bench.line.gantry.controller.command("T0")  # type: ignore[attr-defined]


def test_a_gantry_that_lost_its_place_is_homed_after_asking(bench: Bench) -> None:
    bench.start()
    bench.crash()
    lose_home(bench)
    recovery = bench.start()
    assert not bench.line.gantry.is_homed()
    person = Person()
    assert recovery.settle(person) == ("the gantry was homed",)
    assert "does not know where it is" in person.asked[0].question
    assert bench.line.gantry.is_homed()


def test_a_gantry_that_lost_its_place_after_a_clean_close_is_homed_at_the_start(
    bench: Bench,
) -> None:
    bench.start()
    bench.line.journal.close(clean=True)  # type: ignore[union-attr]
    bench.forget()
    lose_home(bench)
    recovery = bench.start()
    assert bench.line.gantry.is_homed()
    assert recovery.settle(Person()) == ()


def test_nothing_is_homed_at_the_start_while_a_rule_is_broken(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lid that is open, or a contact that can't be read, is a hand in the machine."""
    bench.start()
    bench.line.journal.close(clean=True)  # type: ignore[union-attr]
    bench.forget()
    lose_home(bench)
    seen = bench.line.observe()
    hot = replace(seen, values={**seen.values, "readout.temperature_c.lid": 90.0})
    monkeypatch.setattr(bench.line, "observe", lambda: hot)
    bench.start()
    assert not bench.line.gantry.is_homed()
    assert any("where it is" in story for story in bench.told)


def test_a_bias_above_what_was_set_sets_the_part_aside_where_nobody_sits(bench: Bench) -> None:
    bench.start()
    part = bench.part("320TMG3LC000001", "tile_module")
    assert bench.line.journal is not None
    bench.line.journal.begin_run(
        run_id="r", procedure="test_board", label="320TMG3LC000001", part_id=str(part.id)
    )
    bias_up(bench.line, 30.0)
    bench.crash()
    bench.line.bias.ramp_to(40.0, rate_v_per_s=5.0)
    recovery = bench.start()
    assert not bench.twin.bias.output_is_on()
    nobody = Nobody()
    recovery.settle(nobody)
    assert [ask.default for ask in nobody.asked] == [SET_ASIDE]
    assert "at most 30.00 V was set" in nobody.asked[0].question
    assert list(set_aside_parts(bench.store)) == [part.id]
    assert recovery.settle(nobody) == ()


def test_a_part_that_could_not_be_set_aside_is_asked_about_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start()
    part = bench.part("320TMG3LC000001", "tile_module")
    assert bench.line.journal is not None
    bench.line.journal.begin_run(
        run_id="r", procedure="test_board", label="320TMG3LC000001", part_id=str(part.id)
    )
    bias_up(bench.line, 30.0)
    bench.crash()
    bench.line.bias.ramp_to(40.0, rate_v_per_s=5.0)
    recovery = bench.start()

    def full(*_: object) -> str:
        raise db.StoreError("the disk is full", "the records")

    monkeypatch.setattr("station.recovery.set_aside", full)
    with pytest.raises(db.StoreError):
        recovery.settle(Nobody())
    monkeypatch.undo()
    recovery.settle(Nobody())
    assert list(set_aside_parts(bench.store)) == [part.id]


def test_a_bias_left_on_is_brought_down_told_and_not_asked_about(bench: Bench) -> None:
    bench.start()
    bias_up(bench.line)
    bench.crash()
    recovery = bench.start()
    assert not bench.twin.bias.output_is_on()
    assert any("it was ramped down" in story for story in bench.told)
    nobody = Nobody()
    recovery.settle(nobody)
    assert nobody.asked == []


def test_another_supply_than_before_is_asked_about_once(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.start().settle(Person())
    bench.crash()
    recovery = bench.start()
    other = replace(bench.line.bias.identity, serial="04999999")
    monkeypatch.setattr(bench.line.bias, "identity", other, raising=False)
    with pytest.raises(RefusedError, match="has serial 04999999"):
        recovery.settle(Nobody())
    person = Person(serial=CONTINUE)
    recovery.settle(person)
    assert recovery.settle(person) == ()
    assert len(person.asked) == 1


def test_a_stop_ends_the_recovery(bench: Bench) -> None:
    bench.start()
    bench.pick()
    bench.crash()
    recovery = bench.start()

    def stop(ask: Ask) -> str:
        bench.line.abort("the operator pressed STOP")
        return CONTINUE

    with pytest.raises(RunAbortedError, match="pressed STOP"):
        recovery.settle(stop)
    assert bench.line.gripper.holding()
    bench.line.clear_abort()
    assert recovery.settle(Person(hangs=CONTINUE)) != ()


def test_a_journal_that_cannot_be_used_leaves_the_line_safe(bench: Bench) -> None:
    bench.start()
    bias_up(bench.line)
    bench.crash()
    bench.path.write_bytes(b"this is no journal")
    with pytest.raises(JournalError, match=r"line\.journal.*move it away"):
        bench.start()
    assert not bench.twin.bias.output_is_on()
    assert bench.twin.tester.bias_connected == (False, False)
    assert any("it was ramped down" in event.text for event in bench.events())
    bench.path.unlink()
    assert bench.start().settle(Person()) == ()
