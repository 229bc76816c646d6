"""The setup place: instruments, the commissioning step by step, and the safety."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("PyQt6.QtWidgets", reason="PyQt6 can't load its system libraries here")

from gui.places import SETUP
from gui.prompt import ASK_SAVE, KEEP, RESET, SAVE, STEP
from station.setup_facts import STEP_WORDS, TripFacts
from tests.gui.conftest import WAIT_MS, Bench
from tests.gui.fake import COMMISSIONED, line_state

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

MakeBench = Callable[..., Bench]
CAUSE = "over-current: bias.current_a is 0.00163, beyond ±0.0015"


@pytest.fixture
def at_setup(qtbot: "QtBot", make_bench: MakeBench) -> MakeBench:
    def make(**fields: object) -> Bench:
        bench = make_bench(**fields)
        bench.window.rail.chosen.emit(SETUP)
        qtbot.waitUntil(lambda: bench.desk.setup.state.facts is not None, timeout=WAIT_MS)
        return bench

    return make


def offered(bench: Bench) -> list[str]:
    return [made.objectName() for made in bench.window.ask.buttons]


def test_the_place_shows_instruments_rules_and_the_one_next_step(at_setup: MakeBench) -> None:
    bench = at_setup()
    place = bench.window.setup
    assert bench.window.place == SETUP
    assert "serial 04512345" in place.identities.words("bias")
    assert ": off." in place.identities.words("bias")
    assert place.steps.words("focus") == "Focus: next"
    assert place.steps.words("tool") == "Nozzle: later"
    assert offered(bench) == [STEP + "focus"]
    assert "Next: Focus." in bench.window.ask.sentence.words


def test_the_steps_are_done_one_after_the_other(qtbot: "QtBot", at_setup: MakeBench) -> None:
    bench = at_setup()
    for step in STEP_WORDS:
        assert offered(bench)[-1] == STEP + step
        bench.window.ask.press(STEP + step)
        if step == "tool":
            qtbot.waitUntil(lambda: bench.desk.pending is not None, timeout=WAIT_MS)
            assert "clean pad" in bench.window.ask.sentence.words
            bench.desk.answer("Continue")
        qtbot.waitUntil(
            lambda step=step: (
                step in bench.session.steps_done
                and not bench.desk.shift_on
                and step not in [s.step for s in bench.desk.setup.state.facts.steps if not s.done]
            ),
            timeout=WAIT_MS,
        )
        assert bench.window.setup.steps.words(step).endswith(": done")
    assert bench.called("commission") == list(STEP_WORDS)
    assert "All steps are done" in bench.window.ask.sentence.words
    assert offered(bench) == [ASK_SAVE]


def test_a_step_in_work_shows_how_far_it_is_and_can_be_stopped(
    qtbot: "QtBot", at_setup: MakeBench
) -> None:
    bench = at_setup(holds=True)
    bench.window.ask.press(STEP + "focus")
    qtbot.waitUntil(lambda: bench.desk.state.progress is not None, timeout=WAIT_MS)
    assert bench.window.setup.steps.words("focus") == "Focus: 4 of 13"
    assert "looking for the focus" in bench.window.ask.sentence.words
    assert offered(bench) == []
    bench.desk.stop()
    qtbot.waitUntil(lambda: not bench.desk.shift_on, timeout=WAIT_MS)
    assert bench.called("stop") == ["A. Weber pressed STOP"]


def test_a_refused_step_says_why_and_offers_to_try_again(
    qtbot: "QtBot", at_setup: MakeBench
) -> None:
    bench = at_setup(step_refusal="the target is not seen: dark: is the lamp on?")
    bench.window.ask.press(STEP + "focus")
    qtbot.waitUntil(lambda: bool(bench.desk.setup.state.refused), timeout=WAIT_MS)
    assert "is the lamp on?" in bench.window.ask.sentence.words
    assert bench.window.setup.steps.words("focus") == "Focus: not done"
    assert offered(bench) == [STEP + "focus"]
    bench.session.step_refusal = ""
    bench.window.ask.press(STEP + "focus")
    qtbot.waitUntil(
        lambda: bench.window.setup.steps.words("focus") == "Focus: done", timeout=WAIT_MS
    )


def test_saving_asks_first_and_says_where_the_old_file_is(
    qtbot: "QtBot", at_setup: MakeBench
) -> None:
    bench = at_setup(steps_done=tuple(STEP_WORDS), measured=COMMISSIONED)
    place = bench.window.setup
    assert place.changes.words("Scale") == "Scale, 0.0606, 0.0600023 ± 0.0000017, mm/px, far"
    bench.window.ask.press(ASK_SAVE)
    assert "Write 9 measured values into line.toml?" in bench.window.ask.sentence.words
    bench.window.ask.press(KEEP)
    assert bench.called("save_commissioning") == []
    bench.window.ask.press(ASK_SAVE)
    bench.window.ask.press(SAVE)
    qtbot.waitUntil(lambda: bench.desk.setup.state.saved is not None, timeout=WAIT_MS)
    assert "line.toml.20261122-061500.bak" in bench.desk.note
    assert offered(bench) == []


def test_a_profile_that_can_not_be_written_is_told(qtbot: "QtBot", at_setup: MakeBench) -> None:
    bench = at_setup(
        steps_done=tuple(STEP_WORDS), measured=COMMISSIONED, save_refusal="the disk is full"
    )
    bench.window.ask.press(ASK_SAVE)
    bench.window.ask.press(SAVE)
    qtbot.waitUntil(lambda: "disk is full" in bench.desk.note, timeout=WAIT_MS)
    assert bench.desk.note_tone == "fail"
    assert bench.desk.setup.state.saved is None


def test_a_latched_trip_stands_with_its_story_its_rule_and_who_resets_it(
    qtbot: "QtBot", at_setup: MakeBench
) -> None:
    bench = at_setup()
    story = ("bias.current_a before: 0.0004, 0.0016",)
    bench.session.trips = (TripFacts(datetime.now(UTC), CAUSE, "bias.current_a", story, ""),)
    bench.session.listener(line_state(trip=CAUSE))
    rules = bench.window.setup.rules
    qtbot.waitUntil(
        lambda: story[0] in all_words(rules) and "broken" in all_words(rules), timeout=WAIT_MS
    )
    words = all_words(rules)
    assert "The reset is recorded under A. Weber." in words
    assert words.count("broken") == 1
    assert rules.aside.text() == "tripped"
    assert offered(bench) == [RESET]
    bench.window.ask.press(RESET)
    qtbot.waitUntil(lambda: rules.aside.text() == "watching", timeout=WAIT_MS)
    assert bench.called("reset_trip") == ["A. Weber"]


def test_looking_for_others_shows_who_is_connected_and_what_to_do(
    qtbot: "QtBot", at_setup: MakeBench
) -> None:
    bench = at_setup()
    panel = bench.window.setup.identities
    panel.others.click()
    qtbot.waitUntil(lambda: bench.desk.setup.state.others is not None, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: "JULABO FP50-HE" in " ".join(all_words(panel)), timeout=WAIT_MS)
    assert "usermod -aG dialout" in " ".join(all_words(panel))
    assert panel.others.isEnabled()


def all_words(widget: object) -> list[str]:
    from PyQt6.QtWidgets import QLabel, QWidget

    assert isinstance(widget, QWidget)
    return [label.text() for label in widget.findChildren(QLabel) if not label.isHidden()]
