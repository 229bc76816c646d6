"""The desk: one open session, what it does now, and every blocking call on a thread of its own."""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from PyQt6.QtCore import QObject, pyqtSignal

from station.events import Ask, Message, Scanned

if TYPE_CHECKING:
    from gui.labels import Checked

from gui.inbox import Inbox
from gui.jobs import Job
from gui.session import CountResults, Opener, StationSession
from gui.setup_desk import SetupDesk
from gui.state import ShiftState

log = logging.getLogger(__name__)

Phase = Literal["opening", "open", "failed", "closing", "closed"]
RUN_END_DEADLINE_S = 60.0
NO_ANSWER = ""
"""Given to a question that is withdrawn; the runner takes it as a refusal to answer."""


class PendingAsk:
    """A question on its way between a station thread, which waits, and the operator."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        self._answered = threading.Event()
        self._text = NO_ANSWER

    def answer(self, text: str) -> None:
        self._text = text
        self._answered.set()

    def wait(self) -> str:
        self._answered.wait()
        return self._text


class OperatorAnswers:
    """Hands a question of the station's thread to the desk and waits for the operator.

    `withdraw` takes a question back that was answered elsewhere.
    """

    def __init__(
        self, put: Callable[[PendingAsk], object], withdraw: Callable[[Ask], object]
    ) -> None:
        self._put = put
        self.withdraw = withdraw

    def __call__(self, ask: Ask) -> str:
        pending = PendingAsk(ask)
        self._put(pending)
        return pending.wait()


class Desk(QObject):
    """Holds the session for the window. `changed` follows everything that may change what is shown.

    `scanned` carries what a scanner with a port read that answered no question.
    All methods return at once and are called in the window's thread.
    """

    changed = pyqtSignal()
    closed = pyqtSignal()
    scanned = pyqtSignal(str)
    _withdrawn = pyqtSignal()
    _answered_elsewhere = pyqtSignal(object)

    def __init__(self, opener: Opener, count_results: CountResults, *, boards: int) -> None:
        super().__init__()
        self.state = ShiftState()
        self.phase: Phase = "opening"
        self.session: StationSession | None = None
        self.pending: PendingAsk | None = None
        self.recovery: tuple[str, ...] = ()
        self.note, self.note_tone = "", ""
        self.failure = ""
        self.stopping = False
        self.resetting = False
        self.reset_refusal = ""
        self.stored_today: int | None = None
        self._stored_on = datetime.now().astimezone().date()
        self._opener, self._count_results, self._boards = opener, count_results, boards
        self.setup = SetupDesk(self._start, explain, self.changed.emit, self.tell)
        self._shift: Job | None = None
        self._jobs: set[Job] = set()
        self._stop_wanted = False
        self._stopped_by_hand = False
        self._inbox = Inbox(self)
        self._inbox.arrived.connect(self._take)
        self._withdrawn.connect(self._withdraw)
        self._answered_elsewhere.connect(self._withdraw_one)
        self._answer = OperatorAnswers(self._inbox.put, self._answered_elsewhere.emit)

    @property
    def shift_on(self) -> bool:
        return self._shift is not None

    @property
    def stop_wanted(self) -> bool:
        """STOP was pressed while the line was opening; it is done as soon as the line answers."""
        return self._stop_wanted

    @property
    def operator(self) -> str:
        return self.session.operator_name if self.session is not None else ""

    # -- opening -----------------------------------------------------------------------------

    def open(self) -> None:
        """Open the line on its own thread; `phase` becomes "open" or "failed"."""
        self.phase, self.failure = "opening", ""
        self._start(
            "open",
            lambda: self._opener(self._inbox.put),
            self._opened,
            self._open_failed,
        )
        self.changed.emit()

    def _opened(self, session: StationSession) -> None:
        self.session = session
        if self.phase == "closing":
            self._close_session()
            return
        self.phase = "open"
        self.recovery = session.recovery
        for story in session.recovery:
            self._say(story, "flag")
        self._count()
        if self._stop_wanted:
            self.stop()
        self.changed.emit()

    def _open_failed(self, error: BaseException) -> None:
        if self.phase == "closing":
            self._finish_closing()
            return
        self.phase, self.failure = "failed", explain(error)
        self._say(f"The line could not be opened: {self.failure}", "fail")
        self.changed.emit()

    def _count(self) -> None:
        session = self.session
        if session is None:
            return
        midnight = datetime.now().astimezone().replace(hour=0, minute=0, second=0, microsecond=0)
        self._stored_on = midnight.date()
        before = self.state.results_stored
        self._start(
            "count results",
            lambda: self._count_results(session, midnight) - before,
            self._counted,
            lambda error: self._say(f"Results could not be counted: {explain(error)}", "flag"),
        )

    def _counted(self, count: int) -> None:
        self.stored_today = count
        self.changed.emit()

    @property
    def results_today(self) -> int | None:
        """Results in the records since midnight; None before they are counted."""
        if self.stored_today is None:
            return None
        return self.stored_today + self.state.results_stored

    # -- the shift ---------------------------------------------------------------------------

    def check_label(self, text: str) -> "Checked":
        """Read a label of a tile module; the line has to be open."""
        from gui.labels import check_module

        assert self.session is not None
        return check_module(text, self.session.catalogue)

    def start_shift(self, text: str) -> None:
        """Start the shift with a typed or scanned label; without one the line brings its own."""
        session = self.session
        if session is None or self.phase != "open" or self.shift_on:
            return
        label: str | None = None
        if text.strip():
            checked = self.check_label(text)
            if checked.refusal:
                self.tell(checked.refusal, "fail")
                return
            label = checked.text
        self.tell("")
        self._stopped_by_hand = False
        self.state.begin_shift()
        self._shift = self._start(
            "shift",
            lambda: session.run_shift(boards=self._boards, answer=self._answer, label=label),
            lambda _: self._shift_ended(""),
            lambda error: self._shift_ended(explain(error)),
        )
        self.changed.emit()

    def _shift_ended(self, failure: str) -> None:
        self._inbox.empty()
        self._shift = None
        self.state.end_shift()
        if failure:
            self._say(f"The shift ended: {failure}", "fail")
        if failure and not self._stopped_by_hand:
            self.tell(f"The shift ended: {_sentence(failure)}", "fail")
        self.changed.emit()

    # -- the setup ---------------------------------------------------------------------------

    def read_setup(self) -> None:
        """Read instruments, rules, trips and commissioning anew."""
        if self.session is not None and self.phase == "open":
            self.setup.read(self.session)

    def start_step(self, step: str) -> None:
        """Do one step of the commissioning."""
        session = self.session
        if session is None or self.phase != "open" or self.shift_on:
            return
        self.tell("")
        self._stopped_by_hand = False
        self._shift = self.setup.begin_step(session, step, self._answer, self._step_ended)
        self.changed.emit()

    def _step_ended(self, failure: str) -> None:
        self._inbox.empty()
        self._shift = None
        self.state.run = self.state.progress = None
        if failure:
            self._say(f"The commissioning step ended: {failure}", "fail")
        self.changed.emit()

    def save_setup(self) -> None:
        if self.session is not None and self.phase == "open":
            self.setup.save(self.session)

    def look_around(self) -> None:
        if self.session is not None and self.phase == "open":
            self.setup.look_around(self.session)

    def _show_ask(self, pending: PendingAsk) -> None:
        if self.stopping or self.phase != "open":
            pending.answer(NO_ANSWER)
            return
        self.pending = pending
        self.note, self.note_tone = "", ""
        self._say(f"Asked: {pending.ask.question}")

    def answer(self, text: str) -> None:
        """Answer the question that is open."""
        pending, self.pending = self.pending, None
        if pending is not None:
            self._say(f"Answered: {text.splitlines()[0] if text else 'nothing'}")
            pending.answer(text)
        self.tell("")

    def stop(self) -> None:
        """End the run and bring the bias down; works at any time, also while the line opens."""
        session = self.session
        if session is None or self.phase != "open":
            self._stop_wanted = self.phase == "opening"
            self.changed.emit()
            return
        self._stop_wanted = False
        self.stopping = self._stopped_by_hand = True
        self._say("STOP was pressed", "flag")
        self._start(
            "stop",
            lambda: session.stop(f"{session.operator_name} pressed STOP"),
            lambda _: self._stopped(""),
            lambda error: self._stopped(explain(error)),
        )
        self.changed.emit()

    def _stopped(self, failure: str) -> None:
        self.stopping = False
        self._withdraw()
        if failure:
            self.tell(f"STOP could not be completed: {failure}", "fail")
            self._say(self.note, "fail")
        else:
            self.tell("Stopped. The bias was brought down.")

    def _withdraw(self) -> None:
        pending, self.pending = self.pending, None
        if pending is not None:
            pending.answer(NO_ANSWER)

    def _withdraw_one(self, ask: Ask) -> None:
        if self.pending is not None and self.pending.ask is ask:
            self._say("Answered by the scanner")
            self._withdraw()
            self.tell("")

    def reset_trip(self) -> None:
        session = self.session
        if session is None or self.resetting:
            return
        self.resetting, self.reset_refusal = True, ""
        self._start(
            "reset",
            lambda: session.reset_trip(session.operator_name),
            lambda _: self._reset_done(""),
            lambda error: self._reset_done(explain(error)),
        )
        self.changed.emit()

    def _reset_done(self, failure: str) -> None:
        self.resetting, self.reset_refusal = False, failure
        self.changed.emit()

    def understood(self) -> None:
        """The operator has read what was found at the start."""
        self.recovery = ()
        self.changed.emit()

    # -- closing -----------------------------------------------------------------------------

    def close(self) -> None:
        """Stop, bring the bias down, read back, close; `closed` follows, or `failure` is set."""
        if self.phase in ("closing", "closed"):
            return
        opening = self.phase == "opening"
        self.phase, self.failure = "closing", ""
        self.changed.emit()
        if opening:
            return
        self._close_session()

    def retry_close(self) -> None:
        """Try again to close a session whose closing failed."""
        self.failure = ""
        self._close_session()
        self.changed.emit()

    def give_up_closing(self) -> None:
        """Let the window close although the safe state was not verified."""
        self._finish_closing()

    def _close_session(self) -> None:
        session, shift, operator = self.session, self._shift, self.operator
        if session is None:
            self._finish_closing()
            return

        def close() -> tuple[str, ...]:
            if shift is not None and shift.alive:
                session.stop(f"{operator} closed the window")
                self._withdrawn.emit()
                shift.wait(RUN_END_DEADLINE_S)
            return tuple(session.close() or ())

        self._start("close", close, self._session_closed, self._close_failed)

    def _session_closed(self, unverified: tuple[str, ...]) -> None:
        self.session = None
        if not unverified:
            self._finish_closing()
            return
        self.failure = f"The safe state could not be verified: {'; '.join(unverified)}"
        self.changed.emit()

    def _close_failed(self, error: BaseException) -> None:
        self.failure = explain(error)
        self._say(f"Closing failed: {self.failure}", "fail")
        self.changed.emit()

    def _finish_closing(self) -> None:
        self.phase = "closed"
        self.session = None
        self.closed.emit()

    # -- from the station --------------------------------------------------------------------

    def tell(self, note: str, tone: str = "") -> None:
        """Show a sentence beside what is asked."""
        self.note, self.note_tone = note, tone
        self.changed.emit()

    def _say(self, text: str, tone: str = "") -> None:
        self.state.say(text, datetime.now().astimezone(), tone)

    def _take(self, items: list[Message | PendingAsk]) -> None:
        at, now_s = datetime.now().astimezone(), time.monotonic()
        tripped = self.state.trip
        for item in items:
            if isinstance(item, PendingAsk):
                self._show_ask(item)
            elif isinstance(item, Scanned):
                self._take_scan(item)
            else:
                self.state.apply(item, at=at, now_s=now_s)
        if at.date() != self._stored_on:
            self._count()
        if self.state.trip != tripped and self.setup.state.facts is not None:
            self.read_setup()
        self.changed.emit()

    def _take_scan(self, scan: Scanned) -> None:
        if scan.trouble:
            self.tell(scan.trouble, "fail")
        else:
            self.scanned.emit(scan.text)

    def _start(
        self,
        name: str,
        call: Callable[[], Any],
        done: Callable[[Any], object],
        failed: Callable[[BaseException], object],
    ) -> Job:
        job = Job(name, call, self)
        self._jobs.add(job)
        for signal, then in ((job.done, done), (job.failed, failed)):
            signal.connect(then)
            signal.connect(lambda _: self._jobs.discard(job))
        job.start()
        return job


def explain(error: BaseException) -> str:
    """What an exception says, or its name when it says nothing."""
    return str(error).strip() or type(error).__name__


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."
