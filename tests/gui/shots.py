"""Pictures of the window in its states, for looking at: `python -m tests.gui.shots FOLDER`."""

import os
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PyQt6.QtCore import QEventLoop, QTimer
from PyQt6.QtWidgets import QApplication

from gui.desk import Desk
from gui.look import Look, ThemeName
from gui.window import Window
from station.catalogue import load_catalogue
from station.events import Ask, Message
from station.setup_facts import STEP_WORDS, TripFacts
from tests.gui.fake import COMMISSIONED, MODULE, FakeSession, line_state, whole_shift

SIZES = ((1280, 800), (1920, 1080))
LONG = (
    "Tile 320BC2400000042 in slot 17 can't be picked up: the vacuum switch stayed open after two "
    "attempts, with the nozzle 0.02 mm above its nominal height. Look for a chip or foil under the "
    "nozzle, seat the tile flat in its slot, then choose."
)
LONG_ASK = Ask(LONG, ("Continue", "Retry", "Reconnect", "Set aside", "Stop"), "Retry")
LONG_TRIP = (
    "bias current 512.4 µA is above 400.0 µA while ramping to 40.78 V; the supply was brought down "
    "to 0.003 V and its output is off"
)

LONG_REFUSAL = (
    "the dots lie 0.41 px (RMS) from where the camera model has them, more than 0.16 px: is the "
    "target flat, and its pitch 5 mm?; 37 of 899 dots do not fit: clean the target"
)
TRIPS = (
    TripFacts(
        datetime.now(UTC),
        "over-current: bias.current_a is 0.00163, beyond ±0.0015, while ramping to 40.78 V",
        "bias.current_a",
        ("bias.current_a before: 0.000412, 0.000518, 0.00121, 0.00163",),
        "",
    ),
    TripFacts(
        datetime.now(UTC) - timedelta(days=3),
        "silent-instrument: gantry.silent_s is 5.2, above 5",
        "gantry.silent_s",
        ("gantry.silent_s before: 0.5, 1.9, 3.4, 5.2", "not verified safe: gantry does not answer"),
        "interlock reset by A. Weber: cable was loose, 2026-11-19 14:02",
    ),
)


def settle(milliseconds: int = 150) -> None:
    loop = QEventLoop()
    QTimer.singleShot(milliseconds, loop.quit)
    loop.exec()


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    application = QApplication([])
    catalogue = load_catalogue()
    shape = catalogue.board_shapes["D8F"]

    def take(
        name: str,
        script: list[Message | Ask],
        act: Callable[[Window, FakeSession], None],
        **options: object,
    ) -> None:
        for theme in ("light", "dark"):
            made: list[FakeSession] = []

            def opener(listener: object, made: list[FakeSession] = made) -> FakeSession:
                if options.get("fails"):
                    raise RuntimeError(str(options["fails"]))
                session = FakeSession(listener, catalogue, script, holds=True)  # type: ignore[arg-type]
                session.recovery = options.get("recovery", ())  # type: ignore[assignment]
                made.append(session)
                for volts in (0.0, 0.0, 0.01, 0.0):
                    session.listener(line_state(volts, temperature_c=21.4 + volts))
                return session

            look = Look(application, _theme(theme))
            desk = Desk(opener, lambda session, since: 312, boards=1)  # type: ignore[arg-type]
            window = Window(desk, look)
            window.show()
            desk.open()
            settle()
            if made:
                act(window, made[0])
            settle()
            for width, height in SIZES:
                window.resize(width, height)
                settle(60)
                window.grab().save(str(folder / f"{name}-{theme}-{width}.png"))
            for session in made:
                session.stop("picture taken")
            desk.closed.disconnect()
            desk.close()
            settle(100)
            application.removeEventFilter(window.scanner)
            window.deleteLater()

    def nothing(window: Window, session: FakeSession) -> None:
        return

    def start(window: Window, session: FakeSession) -> None:
        window.desk.start_shift("")

    def pinned(channel: int) -> Callable[[Window, FakeSession], None]:
        def act(window: Window, session: FakeSession) -> None:
            start(window, session)
            settle(300)
            for volts in range(30):
                session.listener(line_state(40.78 + 0.01 * (volts % 3)))
            window.test.board.map.picked.emit(channel)

        return act

    def line_place(window: Window, session: FakeSession) -> None:
        start(window, session)
        settle(300)
        window.rail.chosen.emit("Line")

    def trip(window: Window, session: FakeSession) -> None:
        pinned(12)(window, session)
        session.listener(line_state(0.003, trip=LONG_TRIP, healthy=False))

    def typed(text: str) -> Callable[[Window, FakeSession], None]:
        def act(window: Window, session: FakeSession) -> None:
            window.rail.chosen.emit("Test")
            window.scanned(text)

        return act

    def closing(window: Window, session: FakeSession) -> None:
        start(window, session)
        settle()
        window.close()

    def bringing_down(window: Window, session: FakeSession) -> None:
        start(window, session)
        settle()
        session.may_close = threading.Event()
        window.desk.close()

    def finished(window: Window, session: FakeSession) -> None:
        session.holds = False
        start(window, session)
        settle(400)
        window.rail.chosen.emit("Line")

    def keys(window: Window, session: FakeSession) -> None:
        window.rail.keys_asked.emit()

    def setup(*done: str) -> Callable[[Window, FakeSession], None]:
        def act(window: Window, session: FakeSession) -> None:
            session.steps_done = done
            session.measured = COMMISSIONED if len(done) > 1 else COMMISSIONED[: len(done)]
            window.rail.chosen.emit("Setup")

        return act

    def setup_working(window: Window, session: FakeSession) -> None:
        setup("focus")(window, session)
        settle()
        window.desk.start_step("camera")

    def setup_refused(window: Window, session: FakeSession) -> None:
        setup("focus")(window, session)
        session.holds, session.step_refusal = False, LONG_REFUSAL
        settle()
        window.desk.start_step("camera")

    def setup_save(window: Window, session: FakeSession) -> None:
        setup(*STEP_WORDS)(window, session)
        settle()
        window.desk.setup.ask_to_save(True)

    def setup_trip(window: Window, session: FakeSession) -> None:
        session.trips = TRIPS
        setup("focus", "camera")(window, session)
        settle()
        session.listener(line_state(0.003, trip=TRIPS[0].cause, healthy=False))
        window.desk.look_around()

    wanted = sys.argv[2:]
    asked = list(whole_shift(shape, ask=LONG_ASK))
    states: dict[str, tuple[list[Message | Ask], Callable[[Window, FakeSession], None], dict]] = {
        "empty": ([], nothing, {}),
        "failing": (list(whole_shift(shape, channels=59)), pinned(43), {}),
        "unknown": (list(whole_shift(shape, channels=59)), pinned(20), {}),
        "offset": (list(whole_shift(shape, channels=0)), start, {}),
        "line": (list(whole_shift(shape, channels=59)), line_place, {}),
        "ask": (asked, start, {}),
        "scan": ([*asked[:3], Ask("Scan the tray.", (), "", task="scan_tray")], start, {}),
        "trip": (list(whole_shift(shape, channels=59)), trip, {}),
        "refused": ([], typed("320TMD8FX000471"), {}),
        "accepted": ([], typed(MODULE), {}),
        "closing": (list(whole_shift(shape, channels=20)), closing, {}),
        "down": (list(whole_shift(shape, channels=20)), bringing_down, {}),
        "finished": (list(whole_shift(shape)), finished, {}),
        "keys": ([], keys, {}),
        "setup": ([], setup(), {}),
        "setup-working": ([], setup_working, {}),
        "setup-refused": ([], setup_refused, {}),
        "setup-save": ([], setup_save, {}),
        "setup-trip": ([], setup_trip, {}),
        "recovery": (
            [],
            nothing,
            {
                "recovery": (
                    "the bias was found at 41.20 V, output on; it was ramped down and reads "
                    "0.00 V, output off",
                    f"run test_board of {MODULE} was closed as interrupted",
                )
            },
        ),
        "no-line": (
            [],
            nothing,
            {
                "fails": "Keithley 2450 at TCPIP::127.0.0.1::5025::SOCKET does not answer: sent "
                "'*IDN?', no reply within 2.0 s. Check that the supply is on and its network cable "
                "is plugged in."
            },
        ),
    }
    for name, (script, act, options) in states.items():
        if not wanted or name in wanted:
            take(name, script, act, **options)


def _theme(name: str) -> ThemeName:
    return "dark" if name == "dark" else "light"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
