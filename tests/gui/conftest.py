"""A window on a scripted session. Qt is imported where it is needed: test modules that use it are
skipped where its system libraries are missing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from station.catalogue import BoardShape, Catalogue, load_catalogue
from station.events import Listener, Message
from tests.gui.fake import FakeSession, line_state

if TYPE_CHECKING:
    from PyQt6.QtWidgets import QApplication
    from pytestqt.qtbot import QtBot

    from gui.desk import Desk
    from gui.look import Look
    from gui.window import Window

NO_QT = "PyQt6 can't load its system libraries here"
STORED_BEFORE = 312
WAIT_MS = 8000


@dataclass
class Bench:
    """A window, its desk, and the scripted session behind it (the newest one after a retry)."""

    window: "Window"
    desk: "Desk"
    look: "Look"
    sessions: list[FakeSession]

    @property
    def session(self) -> FakeSession:
        return self.sessions[-1]

    def called(self, name: str) -> list[str]:
        return [argument for call, argument in self.session.calls if call == name]

    def events(self) -> list[str]:
        return [line.text for line in self.desk.state.events]


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture
def board_shape(catalogue: Catalogue) -> BoardShape:
    return catalogue.board_shapes["D8F"]


@pytest.fixture
def make_bench(
    qtbot: "QtBot", qapp: "QApplication", catalogue: Catalogue
) -> Iterator[Callable[..., Bench]]:
    """`make_bench(script, failures=..., **fields of FakeSession)`: an open window."""
    from gui.desk import Desk
    from gui.look import Look
    from gui.window import Window

    benches: list[Bench] = []

    def make(script: Any = (), failures: tuple[str, ...] = (), **fields: Any) -> Bench:
        sessions: list[FakeSession] = []
        left = list(failures)

        def opener(listener: Listener) -> FakeSession:
            if left:
                raise RuntimeError(left.pop(0))
            session = FakeSession(listener, catalogue, list(script), **fields)
            sessions.append(session)
            listener(line_state())
            return session

        look = Look(qapp, "light")
        desk = Desk(opener, lambda session, since: STORED_BEFORE, boards=1)
        window = Window(desk, look)
        bench = Bench(window, desk, look, sessions)
        benches.append(bench)
        window.resize(1280, 800)
        window.show()
        window.activateWindow()
        qtbot.waitUntil(window.isActiveWindow, timeout=WAIT_MS)
        desk.open()
        wanted = "failed" if failures else "open"
        qtbot.waitUntil(lambda: desk.phase == wanted, timeout=WAIT_MS)
        if not failures:
            qtbot.waitUntil(
                lambda: desk.results_today is not None and bool(desk.state.instruments),
                timeout=WAIT_MS,
            )
        return bench

    yield make
    for bench in benches:
        for session in bench.sessions:
            session.may_close.set()
            session.stop("the test is over")
        if bench.desk.phase != "closed":
            bench.desk.close()
            for _ in range(3):
                if bench.desk.failure:
                    bench.desk.give_up_closing()
                qtbot.wait(20)
            qtbot.waitUntil(lambda desk=bench.desk: desk.phase == "closed", timeout=WAIT_MS)
        bench.window.close()
        bench.window.deleteLater()


@pytest.fixture
def burst() -> list[Message]:
    return [line_state(volts / 100, temperature_c=21.0) for volts in range(2000)]
