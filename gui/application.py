"""Starting the desktop: arguments, the application, the window, and signals from outside."""

import argparse
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from gui.session import StationSession
from station.events import Listener

NO_QT = 3
SYSTEM_PACKAGES = (
    "libegl1 libgl1 libxkbcommon-x11-0 libdbus-1-3 libfontconfig1 libxcb-cursor0 libxcb-icccm4 "
    "libxcb-image0 libxcb-keysyms1 libxcb-render-util0 libxcb-shape0 libxcb-xinerama0"
)


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m gui", description="The desktop of a Tessera station."
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the records")
    parser.add_argument("--line", type=Path, help="profile of the line; without it, a twin is used")
    parser.add_argument("--seed", type=int, help="seed of the twin")
    parser.add_argument("--shape", default="D8F", help="board shape of the twin (default: D8F)")
    parser.add_argument("--speed", type=float, default=20.0, help="how fast the twin's time runs")
    parser.add_argument("--boards", type=int, default=1, help="modules in a shift (default: 1)")
    parser.add_argument("--operator", help="name of the operator (default: the user's)")
    parser.add_argument("--theme", choices=("light", "dark"), help="default: as the system")
    chosen = parser.parse_args(argv)
    if chosen.boards < 1:
        parser.error("--boards must be at least 1")
    return chosen


def why_no_desktop() -> str:
    """Why a window can't be shown here, with what to do; empty when nothing speaks against it."""
    try:
        import PyQt6.QtWidgets  # noqa: F401
    except ImportError as error:
        return (
            f"The desktop can't load Qt ({error}). On Debian or Ubuntu install its libraries:\n"
            f"    sudo apt-get install {SYSTEM_PACKAGES}\n"
            "or work in the terminal: tessera run --headless"
        )
    somewhere = ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    if sys.platform.startswith("linux") and not any(os.environ.get(name) for name in somewhere):
        return (
            "There is no display here (DISPLAY and WAYLAND_DISPLAY are not set). "
            "Work in the terminal: tessera run --headless"
        )
    return ""


def count_results(session: StationSession, since: datetime) -> int:
    """How many readings the records of the station hold since `since`."""
    from sqlmodel import col, func, select

    from db import Reading
    from station.session import Session

    assert isinstance(session, Session)
    with session.store.session() as records:
        return records.exec(
            select(func.count())
            .select_from(Reading)
            .where(col(Reading.at) >= since.astimezone(UTC))
        ).one()


def close_on_signals(close: Callable[[], object]) -> None:
    """Call `close` when the program is asked to end: Ctrl+C, a kill, or its terminal gone."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), lambda *_: close())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the desktop until its window closes. Returns the exit code."""
    chosen = arguments(argv)
    trouble = why_no_desktop()
    if trouble:
        print(trouble, file=sys.stderr)
        return NO_QT
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")

    from PyQt6.QtCore import QTimer
    from PyQt6.QtWidgets import QApplication

    from gui.desk import Desk
    from gui.look import Look
    from gui.window import Window, size_on

    def open_line(listener: Listener) -> StationSession:
        from station.session import open_session

        return open_session(
            chosen.data,
            line_file=chosen.line,
            seed=chosen.seed,
            operator=chosen.operator,
            listener=listener,
            shape=chosen.shape,
            speed=chosen.speed,
        )

    application = QApplication(sys.argv[:1])
    application.setApplicationName("Tessera")
    look = Look(application, chosen.theme)
    desk = Desk(open_line, count_results, boards=chosen.boards)
    window = Window(desk, look)
    screen = window.screen()
    if screen is not None:
        window.resize(size_on(screen.availableGeometry().size()))
    window.show()
    QTimer.singleShot(0, desk.open)
    QTimer.singleShot(0, lambda: window.test)
    close_on_signals(desk.close)
    # Python runs its signal handlers only between its own instructions: give it some.
    heartbeat = QTimer()
    heartbeat.timeout.connect(lambda: None)
    heartbeat.start(200)
    return application.exec()
