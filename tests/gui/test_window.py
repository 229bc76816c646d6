"""What a person can do at the window, and what it shows of a shift."""

import threading
from collections.abc import Callable
from uuid import uuid4

import pytest

from tests.gui.conftest import NO_QT

pytest.importorskip("PyQt6.QtWidgets", reason=NO_QT, exc_type=ImportError)

from PyQt6.QtCore import QPoint, QSize, Qt
from PyQt6.QtTest import QTest
from PyQt6.QtWidgets import QApplication, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from gui.look import load_tokens
from gui.session import StationSession
from gui.window import (
    CLOSE_ANYWAY,
    CONTINUE,
    FRAME_PX,
    RETRY,
    STOP_AND_CLOSE,
    USUAL_PX,
    size_on,
)
from station.catalogue import BoardShape
from station.events import Ask, Happened, Listener, Message, Progress, RunStarted
from tests.gui.conftest import STORED_BEFORE, WAIT_MS, Bench
from tests.gui.fake import (
    FAILING,
    FLAGGED,
    MODULE,
    UNKNOWN,
    FakeSession,
    line_state,
    whole_shift,
)

Make = Callable[..., Bench]
PICK = Ask("The tile can't be picked up. Seat it and retry?", ("Retry", "Set aside"), "Set aside")
SCAN = Ask("Scan the tray.", (), "", task="scan_tray")


def press(bench: Bench, words: str) -> None:
    for made in bench.window.findChildren(QPushButton):
        if made.text() == words and made.isVisible():
            QTest.mouseClick(made, Qt.MouseButton.LeftButton)
            return
    raise AssertionError(f"no button {words!r} is shown")


def shown_buttons(bench: Bench) -> list[str]:
    return [made.text() for made in bench.window.ask.buttons]


def scan(bench: Bench, text: str) -> None:
    focus = QApplication.focusWidget() or bench.window
    QTest.keyClick(focus, Qt.Key.Key_B, Qt.KeyboardModifier.ControlModifier)
    QTest.keyClicks(focus, text)
    QTest.keyClick(focus, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)


def start(qtbot: QtBot, bench: Bench) -> None:
    press(bench, "Start the shift")
    qtbot.waitUntil(lambda: bool(bench.called("run_shift")), timeout=WAIT_MS)


def started_and_shown(qtbot: QtBot, bench: Bench, messages: int) -> None:
    start(qtbot, bench)
    last = bench.session.script[messages - 1]
    assert isinstance(last, Happened)
    qtbot.waitUntil(lambda: bench.desk.state.progress is last.event, timeout=WAIT_MS)


# -- labels ------------------------------------------------------------------------------------


def test_a_wrong_label_is_refused_with_its_reason_and_starts_nothing(make_bench: Make) -> None:
    bench = make_bench()
    QTest.keyClicks(bench.window.ask.entry, "320TMD8FX000471")
    QTest.keyClick(bench.window.ask.entry, Qt.Key.Key_Return)
    assert "tile material 'X'" in bench.window.ask.note.words
    assert bench.window.ask.entry.property("tone") == "fail"
    assert not bench.called("run_shift")


def test_the_label_of_another_kind_of_part_is_refused(make_bench: Make) -> None:
    bench = make_bench()
    QTest.keyClicks(bench.window.ask.entry, "320BC2400000042")
    QTest.keyClick(bench.window.ask.entry, Qt.Key.Key_Return)
    assert "the label of the tile module is needed" in bench.window.ask.note.words
    assert not bench.called("run_shift")


def test_a_typed_label_is_described_and_started_by_return(qtbot: QtBot, make_bench: Make) -> None:
    bench = make_bench()
    QTest.keyClicks(bench.window.ask.entry, MODULE)
    assert bench.window.ask.note.words == "Tile module D8, full, cast tiles · 64 channels"
    QTest.keyClick(bench.window.ask.entry, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: bench.called("run_shift") == [MODULE], timeout=WAIT_MS)


def test_a_scan_is_taken_wherever_the_focus_is(make_bench: Make) -> None:
    bench = make_bench()
    press(bench, "Test")
    bench.window.test.board.map.setFocus()
    scan(bench, MODULE)
    assert bench.window.ask.entry.text() == MODULE
    assert not bench.called("run_shift")
    assert len(bench.window.test.board.map.polygon(0)) > 0


def test_a_half_typed_label_is_not_called_wrong(make_bench: Make) -> None:
    bench = make_bench()
    QTest.keyClicks(bench.window.ask.entry, "320TM")
    assert bench.window.ask.note.words == ""
    assert bench.window.ask.entry.property("tone") == ""


def test_a_label_that_is_too_short_is_refused_by_return(make_bench: Make) -> None:
    bench = make_bench()
    QTest.keyClicks(bench.window.ask.entry, "320TM")
    QTest.keyClick(bench.window.ask.entry, Qt.Key.Key_Return)
    assert "Not accepted: 320TM" in bench.window.ask.note.words
    assert bench.window.ask.entry.property("tone") == "fail"
    assert not bench.called("run_shift")


def test_a_scan_that_is_too_short_is_refused_at_once(make_bench: Make) -> None:
    bench = make_bench()
    scan(bench, "320TM")
    assert "Not accepted: 320TM" in bench.window.ask.note.words
    assert bench.window.ask.entry.property("tone") == "fail"


def test_the_field_says_what_an_empty_label_does(make_bench: Make) -> None:
    entry = make_bench().window.ask.entry
    assert "fixture" in entry.placeholderText()
    assert entry.fontMetrics().horizontalAdvance(entry.placeholderText()) < entry.width() - 36


# -- a shift -----------------------------------------------------------------------------------


def test_a_shift_runs_to_its_verdict_in_colour_shape_and_word(
    qtbot: QtBot, make_bench: Make, board_shape: BoardShape
) -> None:
    bench = make_bench(whole_shift(board_shape))
    start(qtbot, bench)
    qtbot.waitUntil(lambda: bool(bench.desk.state.done), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not bench.desk.shift_on, timeout=WAIT_MS)
    window = bench.window
    assert window.strip.verdict.words == "FAIL"
    assert window.strip.verdict.property("tone") == "fail"
    assert window.strip.label.text() == MODULE
    assert "is finished: FAIL" in window.ask.sentence.words
    assert "1.69 beyond the lower limit 26" in window.ask.note.words
    assert shown_buttons(bench) == ["Report", "Start the shift"]
    assert window.test.board.whole.text() == "Breakdown (IV) 38.34 ± 0.02 V"
    assert any(MODULE in line and "FAIL" in line for line in bench.events())


def test_channels_carry_their_verdicts_values_and_sentences(
    qtbot: QtBot, make_bench: Make, board_shape: BoardShape
) -> None:
    script = list(whole_shift(board_shape, channels=59))
    bench = make_bench(script, holds=True)
    started_and_shown(qtbot, bench, len(script))
    channels = bench.desk.state.channels
    assert channels[FAILING].verdict == "fail"
    assert channels[FLAGGED].verdict == "flag"
    assert channels[UNKNOWN].verdict == "unknown"
    window = bench.window
    assert window.place == "Test"
    assert window.strip.verdict.words == "FAIL so far"
    window.test.board.map.picked.emit(FAILING)
    assert window.test.channel.title.text().startswith(f"Channel {FAILING} · ring")
    said = window.test.channel.values.words("gain")
    assert said == "Gain, ADC/p.e.: 24.31 ± 0.05 limit 26 … 30.5, fail"
    assert window.test.channel.reason.text().startswith(
        "Gain is 1.7 ADC/p.e. below the lower limit 26, 34 σ."
    )
    window.test.board.map.picked.emit(UNKNOWN)
    assert "no peaks can be told apart" in window.test.channel.reason.text()


def test_the_newest_channel_is_shown_until_another_is_picked(
    qtbot: QtBot, make_bench: Make, board_shape: BoardShape
) -> None:
    script = list(whole_shift(board_shape, channels=9))
    bench = make_bench(script, holds=True)
    started_and_shown(qtbot, bench, len(script))
    channel = bench.window.test.channel
    assert channel.title.text().startswith("Channel 8 ")
    centre = bench.window.test.board.map.polygon(3).boundingRect().center().toPoint()
    QTest.mouseClick(
        bench.window.test.board.map,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
        QPoint(centre),
    )
    assert channel.title.text().startswith("Channel 3 ")
    QTest.keyClick(bench.window.test.board.map, Qt.Key.Key_Right)
    assert channel.title.text().startswith("Channel 4 ")
    QTest.mouseClick(channel.follow, Qt.MouseButton.LeftButton)
    assert channel.title.text().startswith("Channel 8 ")


def test_the_quantity_on_the_map_is_chosen_by_a_button(
    qtbot: QtBot, make_bench: Make, board_shape: BoardShape
) -> None:
    script = list(whole_shift(board_shape, channels=20))
    bench = make_bench(script, holds=True)
    started_and_shown(qtbot, bench, len(script))
    board = bench.window.test.board
    assert board.map.scale is not None
    assert 20 < board.map.scale.low < 35
    press(bench, "Pedestal")
    assert board.map.scale is not None
    assert 90 < board.map.scale.low < 110


def test_a_place_that_a_person_picked_stays(
    qtbot: QtBot, make_bench: Make, board_shape: BoardShape
) -> None:
    script = list(whole_shift(board_shape, channels=3))
    bench = make_bench(script, holds=True)
    started_and_shown(qtbot, bench, len(script))
    assert bench.window.place == "Test"
    press(bench, "Line")
    bench.session.listener(line_state(40.0))
    qtbot.waitUntil(
        lambda: bench.desk.state.instruments[0].readback.startswith("40.000"), timeout=WAIT_MS
    )
    assert bench.window.place == "Line"


def test_results_of_today_count_on_from_the_records(
    qtbot: QtBot, make_bench: Make, board_shape: BoardShape
) -> None:
    script = list(whole_shift(board_shape))
    bench = make_bench(script)
    assert f"{STORED_BEFORE} results today" in bench.window.top.records.words
    start(qtbot, bench)
    qtbot.waitUntil(lambda: bool(bench.desk.state.done), timeout=WAIT_MS)
    stored = sum(
        isinstance(message, Happened) and hasattr(message.event, "sigma") for message in script
    )
    assert bench.desk.results_today == STORED_BEFORE + stored


def test_instruments_show_what_they_read_back(qtbot: QtBot, make_bench: Make) -> None:
    bench = make_bench()
    panel = bench.window.line.instruments
    assert panel.words("bias") == "Bias · Keithley 2450: 0.000 V   0.00 µA, off"
    assert "21.4 °C" in bench.window.top.temperature.words
    bench.session.listener(line_state(healthy=False))
    qtbot.waitUntil(lambda: "silent" in panel.words("gantry"), timeout=WAIT_MS)


# -- questions ---------------------------------------------------------------------------------


def asked(qtbot: QtBot, bench: Bench) -> None:
    start(qtbot, bench)
    qtbot.waitUntil(lambda: bench.desk.pending is not None, timeout=WAIT_MS)


def test_a_question_is_answered_by_its_button(qtbot: QtBot, make_bench: Make) -> None:
    bench = make_bench([PICK])
    asked(qtbot, bench)
    assert bench.window.ask.sentence.words == PICK.question
    assert shown_buttons(bench) == ["Retry", "Set aside"]
    press(bench, "Retry")
    qtbot.waitUntil(lambda: bench.session.answers == ["Retry"], timeout=WAIT_MS)


@pytest.mark.parametrize(
    ("key", "modifier", "answer"),
    [
        (Qt.Key.Key_Return, Qt.KeyboardModifier.NoModifier, "Set aside"),
        (Qt.Key.Key_Space, Qt.KeyboardModifier.NoModifier, "Set aside"),
        (Qt.Key.Key_1, Qt.KeyboardModifier.ControlModifier, "Retry"),
    ],
)
def test_a_question_is_answered_by_keys(
    qtbot: QtBot,
    make_bench: Make,
    key: Qt.Key,
    modifier: Qt.KeyboardModifier,
    answer: str,
) -> None:
    bench = make_bench([PICK])
    asked(qtbot, bench)
    focus = bench.window.ask.buttons[-1]
    qtbot.waitUntil(focus.hasFocus, timeout=WAIT_MS)
    QTest.keyClick(focus, key, modifier)
    qtbot.waitUntil(lambda: bench.session.answers == [answer], timeout=WAIT_MS)


def test_a_question_is_answered_by_a_scanned_code(qtbot: QtBot, make_bench: Make) -> None:
    bench = make_bench([PICK])
    asked(qtbot, bench)
    scan(bench, "TESSERA:RETRY")
    qtbot.waitUntil(lambda: bench.session.answers == ["Retry"], timeout=WAIT_MS)


def test_a_label_scanned_into_a_question_with_choices_answers_nothing(
    qtbot: QtBot, make_bench: Make
) -> None:
    bench = make_bench([PICK])
    asked(qtbot, bench)
    scan(bench, MODULE)
    assert bench.desk.pending is not None
    assert f"{MODULE} does not answer this question." in bench.window.ask.note.words


def test_a_question_for_a_scan_is_answered_by_the_scan_with_all_its_lines(
    qtbot: QtBot, make_bench: Make
) -> None:
    bench = make_bench([SCAN])
    asked(qtbot, bench)
    bench.window.scanner.scanned.emit("0 320BC2400000042\n1 320BC2400000107")
    qtbot.waitUntil(
        lambda: bench.session.answers == ["0 320BC2400000042\n1 320BC2400000107"], timeout=WAIT_MS
    )


def test_the_focus_never_slides_to_stop(qtbot: QtBot, make_bench: Make) -> None:
    bench = make_bench([PICK], holds=True)
    asked(qtbot, bench)
    press(bench, "Retry")
    qtbot.waitUntil(lambda: bench.session.answers == ["Retry"], timeout=WAIT_MS)
    assert not bench.window.top.stop.hasFocus()
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Return)
    assert not bench.called("stop")


# -- STOP --------------------------------------------------------------------------------------


def by_button(bench: Bench) -> None:
    QTest.mouseClick(bench.window.top.stop, Qt.MouseButton.LeftButton)


def by_key(bench: Bench) -> None:
    QTest.keyClick(bench.window, Qt.Key.Key_F12)


def by_scan(bench: Bench) -> None:
    scan(bench, "TESSERA:STOP")


@pytest.mark.parametrize("stop", [by_button, by_key, by_scan])
def test_stop_ends_the_run_and_names_the_operator(
    qtbot: QtBot, make_bench: Make, stop: Callable[[Bench], None]
) -> None:
    bench = make_bench(holds=True)
    start(qtbot, bench)
    stop(bench)
    qtbot.waitUntil(lambda: bench.called("stop") == ["A. Weber pressed STOP"], timeout=WAIT_MS)
    qtbot.waitUntil(lambda: not bench.desk.shift_on, timeout=WAIT_MS)
    assert "Stopped" in bench.window.ask.note.words


def test_a_stopped_module_has_no_verdict(
    qtbot: QtBot, make_bench: Make, board_shape: BoardShape
) -> None:
    script = list(whole_shift(board_shape, channels=3))
    bench = make_bench(script, holds=True)
    started_and_shown(qtbot, bench, len(script))
    badge = bench.window.strip.verdict
    assert badge.words == "PASS so far"
    by_button(bench)
    qtbot.waitUntil(lambda: not bench.desk.shift_on, timeout=WAIT_MS)
    assert badge.words == "stopped, no verdict"
    assert badge.property("tone") == "unknown"
    assert badge.sizeHint().width() <= badge.width()


def test_stop_withdraws_a_question_so_that_the_run_can_end(qtbot: QtBot, make_bench: Make) -> None:
    bench = make_bench([PICK])
    asked(qtbot, bench)
    by_button(bench)
    qtbot.waitUntil(lambda: not bench.desk.shift_on, timeout=WAIT_MS)
    assert bench.session.answers == [""]
    assert bench.desk.pending is None


def test_stop_is_in_reach_while_a_sheet_is_up(qtbot: QtBot, make_bench: Make) -> None:
    bench = make_bench(holds=True)
    start(qtbot, bench)
    bench.window.close()
    assert bench.window.sheet.isVisible()
    by_button(bench)
    qtbot.waitUntil(lambda: bool(bench.called("stop")), timeout=WAIT_MS)


# -- trips -------------------------------------------------------------------------------------


def test_a_trip_is_shown_latched_with_its_reason_and_reset_by_hand(
    qtbot: QtBot, make_bench: Make
) -> None:
    bench = make_bench()
    cause = "bias current 512.4 µA is above 400.0 µA"
    bench.session.listener(line_state(trip=cause))
    window = bench.window
    qtbot.waitUntil(lambda: cause in window.ask.sentence.words, timeout=WAIT_MS)
    assert window.ask.property("tone") == "trip"
    assert shown_buttons(bench) == ["Reset the trip"]
    assert not window.ask.buttons[0].hasFocus()
    QTest.keyClick(QApplication.focusWidget(), Qt.Key.Key_Return)
    assert not bench.called("reset_trip")
    press(bench, "Reset the trip")
    qtbot.waitUntil(lambda: bench.desk.state.trip is None, timeout=WAIT_MS)
    assert bench.called("reset_trip") == ["A. Weber"]
    assert window.ask.property("tone") == ""


def test_a_refused_reset_says_why_and_the_trip_stays(qtbot: QtBot, make_bench: Make) -> None:
    bench = make_bench(reset_refusal="can't reset: sensor 2 is at 61.0 °C")
    bench.session.listener(line_state(trip="sensor 2 is at 62.3 °C, above 45.0 °C"))
    qtbot.waitUntil(lambda: bench.desk.state.trip is not None, timeout=WAIT_MS)
    press(bench, "Reset the trip")
    qtbot.waitUntil(lambda: "61.0 °C" in bench.window.ask.note.words, timeout=WAIT_MS)
    assert bench.window.ask.property("tone") == "trip"
    assert bench.window.ask.buttons[0].isEnabled()


# -- closing -----------------------------------------------------------------------------------


def test_closing_during_a_run_asks_and_continue_leaves_it_alone(
    qtbot: QtBot, make_bench: Make
) -> None:
    bench = make_bench(holds=True)
    start(qtbot, bench)
    bench.window.close()
    assert bench.window.isVisible()
    assert [made.objectName() for made in bench.window.sheet.buttons] == [STOP_AND_CLOSE, CONTINUE]
    assert bench.window.sheet.press(CONTINUE)
    assert not bench.window.sheet.isVisible()
    assert bench.desk.shift_on
    assert not bench.called("stop")


def test_escape_continues_the_run(qtbot: QtBot, make_bench: Make) -> None:
    bench = make_bench(holds=True)
    start(qtbot, bench)
    bench.window.close()
    QTest.keyClick(bench.window.sheet, Qt.Key.Key_Escape)
    assert not bench.window.sheet.isVisible()
    assert bench.desk.shift_on


def test_the_question_whether_to_close_goes_when_the_run_ends(
    qtbot: QtBot, make_bench: Make
) -> None:
    bench = make_bench(holds=True)
    start(qtbot, bench)
    bench.window.close()
    assert bench.window.sheet.isVisible()
    bench.session.release.set()
    qtbot.waitUntil(lambda: not bench.desk.shift_on, timeout=WAIT_MS)
    assert not bench.window.sheet.isVisible()
    assert bench.window.isVisible()


def test_stop_and_close_waits_until_the_line_is_read_back_as_safe(
    qtbot: QtBot, make_bench: Make
) -> None:
    bench = make_bench(holds=True)
    bench.session.may_close = threading.Event()
    start(qtbot, bench)
    bench.window.close()
    bench.window.sheet.press(STOP_AND_CLOSE)
    qtbot.waitUntil(lambda: bool(bench.called("close")), timeout=WAIT_MS)
    assert bench.called("stop") == ["A. Weber closed the window"]
    assert bench.window.isVisible()
    assert bench.window.sheet.title.text() == "Bringing the bias down"
    bench.session.listener(line_state(17.2))
    qtbot.waitUntil(lambda: "17.200 V" in bench.window.sheet.text.text(), timeout=WAIT_MS)
    bench.session.may_close.set()
    qtbot.waitUntil(lambda: not bench.window.isVisible(), timeout=WAIT_MS)


def test_closing_with_a_question_open_does_not_hang(qtbot: QtBot, make_bench: Make) -> None:
    bench = make_bench([PICK])
    asked(qtbot, bench)
    bench.window.close()
    bench.window.sheet.press(STOP_AND_CLOSE)
    qtbot.waitUntil(lambda: not bench.window.isVisible(), timeout=WAIT_MS)
    assert bench.session.answers == [""]


def test_an_unverified_safe_state_keeps_the_window_until_it_was_read(
    qtbot: QtBot, make_bench: Make
) -> None:
    bench = make_bench(unverified=("bias still reads 38.10 V, output on",))
    bench.window.close()
    qtbot.waitUntil(lambda: "38.10 V" in bench.window.sheet.text.text(), timeout=WAIT_MS)
    assert bench.window.isVisible()
    assert bench.window.sheet.press(CLOSE_ANYWAY)
    assert not bench.window.isVisible()


# -- opening -----------------------------------------------------------------------------------


def test_a_line_that_does_not_open_says_why_and_is_tried_again(
    qtbot: QtBot, make_bench: Make
) -> None:
    bench = make_bench(failures=("Keithley 2450 at TCPIP::x does not answer",))
    assert "Keithley 2450 at TCPIP::x does not answer" in bench.window.sheet.text.text()
    assert not bench.window.top.stop.isEnabled()
    assert bench.window.sheet.press(RETRY)
    qtbot.waitUntil(lambda: bench.desk.phase == "open", timeout=WAIT_MS)
    assert not bench.window.sheet.isVisible()
    assert bench.window.top.stop.isEnabled()


def opening(make_bench: Make) -> tuple[Bench, threading.Event]:
    """A bench whose line is being opened again and waits for the event."""
    bench = make_bench(failures=("no answer",))
    answer = threading.Event()
    opener = bench.desk._opener

    def slow(listener: Listener) -> StationSession:
        answer.wait(WAIT_MS / 1000)
        return opener(listener)

    bench.desk._opener = slow
    bench.window.sheet.press(RETRY)
    assert bench.desk.phase == "opening"
    return bench, answer


def test_stop_while_the_line_opens_is_done_as_soon_as_it_answers(
    qtbot: QtBot, make_bench: Make
) -> None:
    bench, answer = opening(make_bench)
    by_button(bench)
    assert bench.window.top.stop.text() == "STOPPING"
    assert "as soon as the line answers" in bench.window.ask.note.words
    answer.set()
    qtbot.waitUntil(lambda: bool(bench.sessions) and bool(bench.called("stop")), timeout=WAIT_MS)
    qtbot.waitUntil(lambda: bench.window.top.stop.text() == "STOP", timeout=WAIT_MS)


def test_closing_while_the_line_opens_closes_it_once_it_is_open(
    qtbot: QtBot, make_bench: Make
) -> None:
    bench, answer = opening(make_bench)
    bench.window.close()
    assert bench.window.isVisible()
    answer.set()
    qtbot.waitUntil(lambda: not bench.window.isVisible(), timeout=WAIT_MS)
    assert bench.called("close")


def test_what_a_crash_left_is_told_until_it_is_understood(qtbot: QtBot, make_bench: Make) -> None:
    bench = make_bench(recovery=("the bias was found at 41.20 V, output on",))
    assert "The bias was found at 41.20 V, output on." in bench.window.ask.sentence.words
    assert shown_buttons(bench) == ["Understood"]
    press(bench, "Understood")
    assert shown_buttons(bench) == ["Start the shift"]


# -- bursts, theme, touch ----------------------------------------------------------------------


def test_a_burst_of_2000_messages_is_shown_in_few_frames_and_in_order(
    qtbot: QtBot, make_bench: Make
) -> None:
    bench = make_bench()
    run = uuid4()
    burst: list[Message] = [
        Happened(run, MODULE, Progress(done, 2000, f"step {done}")) for done in range(2000)
    ]
    frames: list[int] = []
    bench.desk.changed.connect(lambda: frames.append(1))

    def emit() -> None:
        for message in burst:
            bench.session.listener(message)

    threading.Thread(target=emit).start()
    qtbot.waitUntil(
        lambda: bench.desk.state.progress == Progress(1999, 2000, "step 1999"), timeout=WAIT_MS
    )
    assert len(frames) < 200
    assert bench.window.strip.doing.text() == "Step 1999"


def test_events_stay_a_short_list_in_a_burst(qtbot: QtBot, make_bench: Make) -> None:
    bench = make_bench()
    for number in range(2000):
        bench.session.listener(
            RunStarted(uuid4(), "test_board", uuid4(), f"M{number}", bench.desk.state.line_seen_at)  # type: ignore[arg-type]
        )
    qtbot.waitUntil(lambda: "M1999" in (bench.events() or [""])[-1], timeout=WAIT_MS)
    words = bench.window.line.events.words()
    assert "M1999" in words[0]
    assert len(words) == 200


def test_the_theme_changes_while_the_window_is_open(qtbot: QtBot, make_bench: Make) -> None:
    bench = make_bench()
    tokens = load_tokens()

    def corner() -> str:
        return bench.window.grab().toImage().pixelColor(300, 40).name().upper()

    assert corner() == tokens.light.panel
    press(bench, "Dark screen")
    assert bench.look.theme == "dark"
    assert corner() == tokens.dark.panel
    QTest.keyClick(bench.window, Qt.Key.Key_T, Qt.KeyboardModifier.ControlModifier)
    qtbot.waitUntil(lambda: corner() == tokens.light.panel, timeout=WAIT_MS)


def test_operator_actions_are_large_and_every_button_has_a_name_and_the_keyboard(
    qtbot: QtBot, make_bench: Make
) -> None:
    bench = make_bench([PICK])
    asked(qtbot, bench)
    least = load_tokens().target
    for made in [*bench.window.ask.buttons, bench.window.top.stop]:
        assert made.height() >= least.operator_min, made.text()
    for made in bench.window.findChildren(QPushButton):
        assert made.accessibleName()
        assert made.focusPolicy() & Qt.FocusPolicy.TabFocus
        if made.isVisible():
            assert made.height() >= least.scientist_min, made.text()


@pytest.mark.parametrize("available", [(1280, 720), (1366, 768), (1920, 1080)])
def test_the_window_fits_the_screen_with_its_frame(
    qtbot: QtBot, make_bench: Make, board_shape: BoardShape, available: tuple[int, int]
) -> None:
    script = list(whole_shift(board_shape, channels=3))
    bench = make_bench(script, holds=True)
    started_and_shown(qtbot, bench, len(script))
    window, room = bench.window, QSize(*available) - QSize(*FRAME_PX)
    wanted = size_on(QSize(*available))
    window.resize(wanted)
    assert window.size() == wanted
    assert wanted == QSize(*USUAL_PX).boundedTo(room)
    layout = window.layout()
    assert layout is not None
    qtbot.waitUntil(lambda: layout.minimumSize().height() <= window.height(), timeout=WAIT_MS)
    for part in (window.top.stop, window.ask, window.test.channel, window.test.instruments):
        corner = part.mapTo(window, QPoint(part.width(), part.height()))
        assert window.rect().contains(corner), part
    place = window.test.mapTo(window, QPoint(0, window.test.height()))
    assert place.y() <= window.ask.mapTo(window, QPoint(0, 0)).y()


def test_nothing_needs_hover_or_a_double_click(make_bench: Make) -> None:
    bench = make_bench()
    ours = [w for w in bench.window.findChildren(QWidget) if type(w).__module__.startswith("gui.")]
    assert ours
    for widget in ours:
        for part in type(widget).__mro__:
            if part.__module__.startswith("gui."):
                assert not {
                    "mouseDoubleClickEvent",
                    "enterEvent",
                    "mouseMoveEvent",
                    "dragMoveEvent",
                } & set(vars(part))
    assert not any(w.hasMouseTracking() for w in ours)


def test_every_verdict_fits_its_badge(make_bench: Make) -> None:
    badge = make_bench().window.strip.verdict
    for verdict in ("pass", "flag", "fail", "unknown", None):
        badge.show_verdict(verdict, " so far")
        assert badge.sizeHint().width() <= badge.width(), verdict


def test_a_long_question_stays_inside_its_bar(qtbot: QtBot, make_bench: Make) -> None:
    long = Ask("Look at the tile in slot 17 and at the nozzle above it. " * 30, ("Done",), "Done")
    bench = make_bench([long])
    asked(qtbot, bench)
    sentence = bench.window.ask.sentence
    assert sentence.heightForWidth(sentence.width()) <= bench.window.ask.height()
    assert sentence.text().endswith("…")
    assert sentence.accessibleName() == long.question
    assert any(long.question in line for line in bench.window.line.events.words())


def test_a_session_like_the_station_s_is_what_the_desktop_expects(catalogue: object) -> None:
    session: StationSession = FakeSession(lambda message: None, catalogue, [])  # type: ignore[arg-type]
    assert session.operator_name
