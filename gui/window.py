"""The window: one frame for every place, kept in step with the desk."""

import time
from typing import TYPE_CHECKING

from PyQt6.QtCore import QCoreApplication, QSize, Qt
from PyQt6.QtGui import QCloseEvent, QShortcut
from PyQt6.QtWidgets import QApplication, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

if TYPE_CHECKING:
    from gui.places.setup import SetupPlace
    from gui.places.test import TestPlace
    from station.catalogue import BoardShape

from gui.board_cells import Cell, cells_of
from gui.desk import Desk
from gui.look import Look
from gui.places import LINE, PLACE_OF_STEP, PLACES, SETUP, TEST
from gui.places.line import LinePlace
from gui.prompt import (
    ANSWER,
    ASK_SAVE,
    ENTER,
    KEEP,
    REPORT,
    RESET,
    SAVE,
    START,
    STEP,
    UNDERSTOOD,
    Action,
    prompt_of,
)
from gui.scanner import WedgeFilter
from gui.widgets.ask_bar import AskBar
from gui.widgets.part_strip import PartStrip
from gui.widgets.rail import Rail
from gui.widgets.sheet import Sheet, SheetContent
from gui.widgets.shift_panel import open_report
from gui.widgets.top_bar import TopBar, stop_sequences
from gui.words import STEP_WORDS, duration, plural
from station.events import COMMAND_PREFIX

CONTINUE, STOP_AND_CLOSE, RETRY, CLOSE, CLOSE_ANYWAY, DONE = (
    "continue",
    "stop and close",
    "retry",
    "close",
    "close anyway",
    "done",
)
PLACE_WORDS = {LINE: "overview", TEST: "test bench", SETUP: "set-up of the line"}
STOPPED = "stopped, no verdict"
NARROW_PX = 1500
LOW_PX = 800
LEAST_PX = (1180, 668)
USUAL_PX = (1440, 900)
FRAME_PX = (16, 52)
"""Room that the frame of the window and its title bar may take."""


class Window(QWidget):
    """The desktop's only window. Everything it shows comes from `desk`."""

    def __init__(self, desk: Desk, look: Look) -> None:
        super().__init__()
        self.desk, self.look = desk, look
        self.setObjectName("window")
        self.setWindowTitle("Tessera")
        self.setMinimumSize(*LEAST_PX)
        self._asks_to_close = self._shows_keys = False
        self._place, self._picked_place = LINE, False
        self._preview: BoardShape | None = None
        self._cells: dict[str, tuple[Cell, ...]] = {}
        self.top = TopBar(look)
        self.rail = Rail(look, PLACES)
        self.strip = PartStrip(look)
        self.line = LinePlace(look)
        self._test: TestPlace | None = None
        self._setup: SetupPlace | None = None
        self.ask = AskBar(look)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.line)
        self._work = QWidget()
        self._work.setObjectName("work")
        self._column = QVBoxLayout(self._work)
        self._column.addWidget(self.strip)
        self._column.addWidget(self._stack, 1)
        self._column.addWidget(self.ask)
        self._below = QWidget()
        self._below.setProperty("role", "clear")
        self._body = QWidget(self._below)
        self._body.setProperty("role", "clear")
        row = QHBoxLayout(self._body)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self.rail)
        row.addWidget(self._work, 1)
        below = QVBoxLayout(self._below)
        below.setContentsMargins(0, 0, 0, 0)
        below.addWidget(self._body)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.top)
        layout.addWidget(self._below, 1)
        self.sheet = Sheet(look, self._below)
        self._wire()
        self._space()
        self.refresh()

    def _wire(self) -> None:
        self.desk.changed.connect(self.refresh)
        self.desk.closed.connect(self.close)
        self.top.stop.clicked.connect(self.desk.stop)
        self.rail.chosen.connect(self._pick_place)
        self.rail.theme_asked.connect(self._other_theme)
        self.rail.keys_asked.connect(self._ask_keys)
        self.ask.acted.connect(self._act)
        self.ask.entry.textEdited.connect(self._check_typed)
        self.sheet.acted.connect(self._settle)
        for keys in stop_sequences():
            shortcut = QShortcut(keys, self)
            shortcut.setContext(Qt.ShortcutContext.ApplicationShortcut)
            shortcut.activated.connect(self.desk.stop)
        self.desk.scanned.connect(self.scanned)
        self.scanner = WedgeFilter(self)
        self.scanner.scanned.connect(self.scanned)
        self.scanner.broken.connect(
            lambda text: self.desk.tell(f"The scan was cut off after {text!r}. Scan again.", "fail")
        )
        _application().installEventFilter(self.scanner)

    # -- showing -----------------------------------------------------------------------------

    @property
    def test(self) -> "TestPlace":
        """The test place; it is made when it is first needed, because its plots load slowly."""
        if self._test is None:
            from gui.places.test import TestPlace

            self._test = TestPlace(self.look)
            self._stack.addWidget(self._test)
        return self._test

    @property
    def setup(self) -> "SetupPlace":
        """The setup place; it is made when it is first needed."""
        if self._setup is None:
            from gui.places.setup import SetupPlace

            self._setup = SetupPlace(self.look)
            self._setup.look_asked.connect(self.desk.look_around)
            self._stack.addWidget(self._setup)
        return self._setup

    @property
    def place(self) -> str:
        return self._place

    def refresh(self) -> None:
        """Show the desk as it is now. Cheap enough for every frame."""
        desk, state = self.desk, self.desk.state
        if not self._picked_place and state.step:
            self._place = PLACE_OF_STEP.get(state.step, LINE)
        self.rail.mark(self._place)
        self._show_top()
        self._show_strip()
        if self._place == TEST:
            self._stack.setCurrentWidget(self.test)
            self.test.show_state(state, self._board_cells())
        elif self._place == SETUP:
            self._stack.setCurrentWidget(self.setup)
            self.setup.show_state(state, desk.setup.state, desk.operator)
        else:
            self._stack.setCurrentWidget(self.line)
            self.line.show_state(state)
        self.ask.show_prompt(prompt_of(desk, self._place))
        self._show_sheet()

    def _show_top(self) -> None:
        desk = self.desk
        profile = None if desk.session is None else desk.session.profile
        where = "not open" if desk.phase == "failed" else "opening"
        if profile is not None:
            where = f"{profile.site.name} · {profile.station.name}"
        self.top.show_where(f"{where} · {PLACE_WORDS[self._place]}")
        self.top.operator.show_fact(desk.operator or "–", "operator")
        results = desk.results_today
        if results is None:
            self.top.records.show_fact("–", "records")
        else:
            self.top.records.show_fact(f"{plural(results, 'result')} today", "all stored here")
        readout = desk.state.instrument("readout")
        if readout is None or readout.trend is None or not readout.healthy:
            self.top.temperature.show_fact("–", "board temperature")
        else:
            self.top.temperature.show_fact(f"{readout.trend:.1f} °C", "board temperature")
        self.top.stop.setText("STOPPING" if desk.stopping or desk.stop_wanted else "STOP")
        self.top.stop.setEnabled(desk.phase in ("opening", "open"))

    def _show_strip(self) -> None:
        state = self.desk.state
        label = state.module if state.step else ""
        if not label and state.run is not None:
            label = state.run.label
        if label:
            self.strip.show_part(label, self._about(label))
        else:
            self._show_no_part()
        if state.progress is not None:
            doing = state.progress.text
            done, total = state.progress.done, state.progress.total
        else:
            done, total = 0, 1
            doing = state.step_text if self.desk.shift_on else ""
        left = state.seconds_left
        shape = self._shape(state.board_shape)
        if state.step == "inspect" and shape is not None:
            done, total = state.tiles_good, shape.n_channels
            left = state.inspecting_left(total, time.monotonic())
        if state.finished is not None:
            doing, done, total = "Finished", 1, 1
        elif state.stopped:
            doing = "Stopped"
        doing = doing[:1].upper() + doing[1:] or "Nothing runs"
        following = []
        if self.desk.shift_on and state.step:
            here = STEP_WORDS.get(state.step, state.step)
            following.append(
                f"{here}, then: {state.next_step.lower()}" if state.next_step else here
            )
        if left is not None and self.desk.shift_on and state.finished is None:
            following.append(f"{duration(left)} left in this step")
        self.strip.show_run(doing, done, total, " · ".join(following))
        if state.stopped:
            self.strip.verdict.show_none(STOPPED)
        else:
            suffix = "" if state.finished is not None else " so far"
            self.strip.verdict.show_verdict(state.verdict, suffix)

    def _show_no_part(self) -> None:
        if self._place == SETUP:
            self.strip.show_part("Calibration target", "lies on the base plate")
        else:
            self.strip.show_part("No part yet", "scan a label to begin")

    def _about(self, text: str) -> str:
        if self.desk.session is None:
            return ""
        from gui.labels import about_label

        return about_label(text, self.desk.session.catalogue)

    def _shape(self, name: str) -> "BoardShape | None":
        session = self.desk.session
        return None if session is None else session.catalogue.board_shapes.get(name)

    def _board_cells(self) -> tuple[Cell, ...]:
        shape = self._shape(self.desk.state.board_shape) or self._preview
        session = self.desk.session
        if shape is None or session is None:
            return ()
        if shape.name not in self._cells:
            self._cells[shape.name] = cells_of(shape, session.catalogue)
        return self._cells[shape.name]

    def _show_sheet(self) -> None:
        self._asks_to_close = self._asks_to_close and self.desk.shift_on
        content = self._sheet_content()
        self._body.setEnabled(content is None)
        self.sheet.show_content(content)

    def _sheet_content(self) -> SheetContent | None:
        desk = self.desk
        if desk.phase == "closing":
            return self._closing_content()
        if desk.phase == "failed":
            return SheetContent(
                "The line could not be opened",
                f"{desk.failure}\n\nCheck what is named above (power, cable, profile of the line), "
                "then retry.\n\nUntil then STOP does not reach the line. Look at the display of "
                "the bias supply: if its output is on, switch it off there.",
                (Action(CLOSE, "Close"), Action(RETRY, "Retry", likely=True)),
                "fail",
                CLOSE,
            )
        if self._asks_to_close:
            return SheetContent(
                "A run is on",
                "Closing the window stops the run and brings the bias down. "
                "What was measured so far stays in the records.",
                (
                    Action(STOP_AND_CLOSE, "Stop and close"),
                    Action(CONTINUE, "Continue the run", likely=True),
                ),
                "flag",
                CONTINUE,
            )
        if self._shows_keys:
            return SheetContent("Keys", KEYS, (Action(DONE, "Done", likely=True),), "", DONE)
        return None

    def _closing_content(self) -> SheetContent:
        if self.desk.failure:
            actions: tuple[Action, ...] = (Action(CLOSE_ANYWAY, "Close all the same"),)
            if self.desk.session is not None:
                actions += (Action(RETRY, "Try again", likely=True),)
            return SheetContent(
                "The line may not be safe",
                f"{self.desk.failure}\n\nLook at the display of the bias supply. If its output is "
                "on, switch it off there.",
                actions,
                "fail",
            )
        bias = self.desk.state.instrument("bias")
        reads = (
            "" if bias is None else f"\n\nThe supply reads {bias.readback}, output {bias.state}."
        )
        return SheetContent(
            "Bringing the bias down",
            f"The window closes when the line is read back as safe.{reads}",
        )

    # -- doing -------------------------------------------------------------------------------

    def _act(self, name: str, text: str) -> None:
        if name == START:
            self._picked_place = False
            self.desk.start_shift(text)
        elif name == ENTER:
            self.desk.answer(text.strip())
        elif name == RESET:
            self.desk.reset_trip()
        elif name == REPORT and self.desk.state.finished is not None:
            open_report(self.desk.state.finished)
        elif name == UNDERSTOOD:
            self.desk.understood()
        elif name.startswith(STEP):
            self._picked_place = True
            self.desk.start_step(name.removeprefix(STEP))
        elif name == SAVE:
            self.desk.save_setup()
        elif name in (ASK_SAVE, KEEP):
            self.desk.setup.ask_to_save(name == ASK_SAVE)
        elif name.startswith(ANSWER):
            self.desk.answer(name.removeprefix(ANSWER))

    def _settle(self, name: str) -> None:
        if name == CONTINUE:
            self._asks_to_close = False
        elif name == STOP_AND_CLOSE:
            self._asks_to_close = False
            self.desk.close()
        elif name == RETRY and self.desk.phase == "failed":
            self.desk.open()
        elif name == RETRY:
            self.desk.retry_close()
        elif name == CLOSE:
            self.desk.close()
        elif name == CLOSE_ANYWAY:
            self.desk.give_up_closing()
        elif name == DONE:
            self._shows_keys = False
        self.refresh()

    def scanned(self, text: str) -> None:
        """Take what the scanner sent: a command, an answer, or a label."""
        text = text.strip()
        desk = self.desk
        if text.upper().startswith(COMMAND_PREFIX):
            self._command(text[len(COMMAND_PREFIX) :].strip())
        elif desk.pending is not None:
            self._scanned_answer(text)
        elif desk.phase == "open" and not desk.shift_on and desk.state.trip is None:
            self.ask.entry.setText(text)
            self._check_typed(text)
            refusal = desk.check_label(text).refusal if text else ""
            if refusal:
                desk.tell(refusal, "fail")
            self.ask.entry.setFocus()
        else:
            desk.tell(f"{text} was scanned while nothing was asked: not used.", "flag")

    def _scanned_answer(self, text: str) -> None:
        pending = self.desk.pending
        assert pending is not None
        if not pending.ask.choices:
            self.desk.answer(text)
            return
        for choice in pending.ask.choices:
            if choice.upper() == text.upper():
                self.desk.answer(choice)
                return
        self.desk.tell(f"{text} does not answer this question.", "fail")

    def _command(self, command: str) -> None:
        if command.upper() == "STOP":
            self.desk.stop()
            return
        if self.desk.pending is not None and self.desk.pending.ask.choices:
            self._scanned_answer(command)
        elif not self.ask.press(command.lower()):
            self.desk.tell(f"The command {command} can't be done now.", "fail")

    def _check_typed(self, text: str) -> None:
        desk = self.desk
        if desk.pending is not None or desk.phase != "open":
            return
        text = text.strip()
        if not text:
            self._preview = None
            desk.tell("")
            return
        checked = desk.check_label(text)
        self._preview = checked.shape
        if checked.refusal:
            desk.tell(*((checked.refusal, "fail") if checked.whole else ("", "")))
        else:
            desk.tell(checked.about)

    def _pick_place(self, place: str) -> None:
        self._place, self._picked_place = place, True
        if place == SETUP:
            self.desk.read_setup()
        self.refresh()

    def _other_theme(self) -> None:
        self.look.choose("light" if self.look.theme == "dark" else "dark")

    def _ask_keys(self) -> None:
        self._shows_keys = True
        self.refresh()

    # -- the window itself -------------------------------------------------------------------

    def resizeEvent(self, event: object) -> None:
        self._space()

    def _space(self) -> None:
        tokens, spacing = self.look.tokens, self.look.tokens.spacing
        gap = spacing.close if self.width() < NARROW_PX else spacing.even
        edge = spacing.close if self.width() < NARROW_PX else spacing.wide
        bar = (tokens.size.strip, tokens.size.bottom_bar)
        if self.height() < LOW_PX:
            bar, edge, gap = (
                (tokens.size.bar_low, tokens.size.bar_low),
                spacing.tight,
                spacing.tight,
            )
        self.strip.setFixedHeight(bar[0])
        self.ask.setFixedHeight(bar[1])
        self._column.setContentsMargins(edge, edge, edge, edge)
        self._column.setSpacing(gap)

    def closeEvent(self, event: QCloseEvent | None) -> None:
        if event is None or self.desk.phase == "closed":
            _application().removeEventFilter(self.scanner)
            return
        event.ignore()
        if self.desk.phase == "closing":
            return
        if self.desk.shift_on:
            self._asks_to_close = True
            self.refresh()
        else:
            self.desk.close()


def size_on(available: QSize) -> QSize:
    """The usual size of the window, or as much of it as a screen has room for."""
    room = available - QSize(*FRAME_PX)
    return QSize(*USUAL_PX).boundedTo(room)


def _application() -> QCoreApplication:
    application = QApplication.instance()
    assert application is not None
    return application


KEYS = """F12 or Pause: STOP
Return: the filled button
Ctrl+1, Ctrl+2, …: the buttons at the bottom, from the left
Alt+1, Alt+2, Alt+3: the places
Arrows on the board map: another channel
Ctrl+N: follow the newest channel
Ctrl+T: light or dark screen
Tab: from one field to the next

Scanner: set it to send STX before and ETX or CR after the code. Labels and answers are taken \
wherever the cursor is. Codes that read TESSERA:STOP, TESSERA:START, TESSERA:RESET, or TESSERA: \
and the words of a button do the same as the button."""
