"""Labels from scanners: those that type, and the one of the line that has a port.

A scanner that types is told from a person by `KeyBurst`, wherever the keyboard is read. The one
with a port is read here all the time: a label answers the question that asks for one, and
everything else that it reads goes to the listener.
"""

import threading
from collections.abc import Callable

from drivers.errors import BrokenReply, InstrumentError, InstrumentTimeout
from drivers.roles import Scanner
from drivers.scanner import Heard, KeyBurst
from station.events import (
    COMMAND_PREFIX,
    SCAN,
    Answer,
    Ask,
    Listener,
    Scanned,
    unattended,
)

__all__ = ["Heard", "KeyBurst", "ScannerWatch"]

LISTEN_S = 3600.0
LOOK_AGAIN_S = 0.5
WITHDRAW_AGAIN_S = 0.1


class ScannerWatch:
    """Reads a scanner from `start()` until `finish()`, which is called before it is closed.

    listener: gets `Scanned` for what answers no question, and once for every trouble.
    stopped: whether nobody waits for an answer any more.
    """

    def __init__(self, scanner: Scanner, listener: Listener, stopped: Callable[[], bool]) -> None:
        self._scanner = scanner
        self._listener = listener
        self._stopped = stopped
        self._finish = threading.Event()
        self._gate = threading.Lock()
        self._question: _Question | None = None
        self._trouble = ""
        self._thread = threading.Thread(target=self._listen, name="scanner-watch", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def finish(self) -> None:
        """Nothing that is scanned from now on is told to anybody."""
        self._finish.set()

    def answering(self, answer: Answer) -> Answer:
        """`answer`, in which a scan answers what asks for one; a person may type it all the same.

        An answer that is given for nobody waits for the scan instead, until the work is stopped.
        From a person the question is withdrawn by `answer.withdraw(ask)`; without such a method it
        is told what was scanned, and the person ends the question.
        """

        def from_scanner(ask: Ask) -> str:
            if ask.task is None or not ask.task.startswith(SCAN):
                return answer(ask)
            question = _Question(ask, getattr(answer, "withdraw", None))
            with self._gate:
                self._question = question
            try:
                typed = self._wait(question) if unattended(answer) else answer(ask)
            finally:
                with self._gate:
                    self._question = None
                question.closed.set()
            return typed if question.scanned is None else question.scanned

        from_scanner.unattended = unattended(answer)  # type: ignore[attr-defined]
        return from_scanner

    def _wait(self, question: "_Question") -> str:
        while not (question.is_answered.wait(WITHDRAW_AGAIN_S) or self._stopped()):
            if self._finish.is_set():
                break
        return ""

    def _listen(self) -> None:
        while not self._finish.is_set():
            try:
                text = self._scanner.read(deadline_s=LISTEN_S)
            except InstrumentTimeout:
                continue
            except InstrumentError as error:
                self._tell_trouble(error)
                if not isinstance(error, BrokenReply):
                    self._finish.wait(LOOK_AGAIN_S)
                continue
            self._trouble = ""
            self._take(text)

    def _take(self, text: str) -> None:
        is_command = text.strip().upper().startswith(COMMAND_PREFIX)
        with self._gate:
            question = None if is_command else self._question
            if question is not None:
                question.scanned = text
                question.is_answered.set()
        if question is None or question.withdraw is None:
            self._tell(Scanned(text))
            return
        # it may be on its way to the person still, and is then withdrawn when it is there
        while not question.closed.is_set():
            question.withdraw(question.ask)
            question.closed.wait(WITHDRAW_AGAIN_S)

    def _tell_trouble(self, error: InstrumentError) -> None:
        told = str(error)
        if told != self._trouble or isinstance(error, BrokenReply):
            self._tell(Scanned("", trouble=told))
        self._trouble = told

    def _tell(self, scanned: Scanned) -> None:
        if not self._finish.is_set():
            self._listener(scanned)


class _Question:
    """A question that a scan may answer. `withdraw` takes it back from the person."""

    def __init__(self, ask: Ask, withdraw: Callable[[Ask], object] | None) -> None:
        self.ask = ask
        self.withdraw = withdraw
        self.scanned: str | None = None
        self.is_answered = threading.Event()
        self.closed = threading.Event()
