"""A scanner with a port: what it reads arrives as a message of the station."""

import pytest

from tests.gui.conftest import NO_QT

pytest.importorskip("PyQt6.QtWidgets", reason=NO_QT, exc_type=ImportError)

from pytestqt.qtbot import QtBot

from station.events import Ask, Scanned
from tests.gui.fake import MODULE
from tests.gui.test_window import SCAN, WAIT_MS, Make, asked


def test_a_label_read_while_nothing_is_asked_is_the_label_of_the_shift(
    qtbot: QtBot, make_bench: Make
) -> None:
    bench = make_bench([])
    bench.session.listener(Scanned(MODULE))
    qtbot.waitUntil(lambda: bench.window.ask.entry.text() == MODULE, timeout=WAIT_MS)


def test_a_command_that_is_read_stops(qtbot: QtBot, make_bench: Make) -> None:
    bench = make_bench([SCAN])
    asked(qtbot, bench)
    bench.session.listener(Scanned("TESSERA:STOP"))
    qtbot.waitUntil(lambda: bool(bench.called("stop")), timeout=WAIT_MS)


def test_why_nothing_was_read_is_told(qtbot: QtBot, make_bench: Make) -> None:
    bench = make_bench([])
    bench.session.listener(Scanned("", trouble="the label was cut off"))
    qtbot.waitUntil(lambda: bench.desk.note == "the label was cut off", timeout=WAIT_MS)


def test_a_question_that_the_scanner_answered_is_taken_back_and_no_other(
    qtbot: QtBot, make_bench: Make
) -> None:
    bench = make_bench([SCAN])
    asked(qtbot, bench)
    answers = bench.desk._answer
    answers.withdraw(Ask(SCAN.question, (), "", task="scan_tray"))
    qtbot.wait(20)
    assert bench.desk.pending is not None
    answers.withdraw(SCAN)
    qtbot.waitUntil(lambda: bench.desk.pending is None, timeout=WAIT_MS)
    qtbot.waitUntil(lambda: bench.session.answers == [""], timeout=WAIT_MS)
