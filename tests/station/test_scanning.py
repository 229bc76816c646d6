"""A scanner with a port: its labels answer what asks for one, and the rest is told."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from drivers.scanner import SerialScanner, SerialScannerSimulator
from station.events import Ask, Message, Scanned
from station.scanning import ScannerWatch
from station.session import open_session
from station.shift import ShiftStoppedError
from station.twin.server import Twin, to_toml

LABEL = "320TMD8FC000471"
ASK = Ask("Scan the tileboard.", (), "", task="scan_board")
WAIT_S = 10.0


class Person:
    """Answers when `types` is called, or when the question is withdrawn."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.withdrawn: list[Ask] = []
        self._done = threading.Event()
        self._said = ""

    def __call__(self, ask: Ask) -> str:
        self.asked.set()
        assert self._done.wait(WAIT_S)
        return self._said

    def types(self, text: str) -> None:
        self._said = text
        self._done.set()

    def withdraw(self, ask: Ask) -> None:
        self.withdrawn.append(ask)
        self._done.set()


class Nobody:
    unattended = True

    def __call__(self, ask: Ask) -> str:
        return ask.default


class Bench:
    def __init__(self, simulator: SerialScannerSimulator) -> None:
        self.simulator = simulator
        self.told: list[Message] = []
        self.stopped = False
        self.scanner = SerialScanner.open(simulator.path)
        self.watch = ScannerWatch(self.scanner, self.told.append, lambda: self.stopped)

    def ask(self, answer: Callable[[Ask], str], ask: Ask = ASK) -> "Asking":
        return Asking(self.watch.answering(answer), ask)


class Asking:
    """A question on a thread of its own, as a shift asks."""

    def __init__(self, answer: Callable[[Ask], str], ask: Ask) -> None:
        self._said: list[str] = []
        self._thread = threading.Thread(target=lambda: self._said.append(answer(ask)))
        self._thread.start()

    def answer(self) -> str:
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        return self._said[0]


@pytest.fixture
def bench() -> Iterator[Bench]:
    simulator = SerialScannerSimulator()
    simulator.start()
    made = Bench(simulator)
    made.watch.start()
    yield made
    made.watch.finish()
    made.scanner.close()
    simulator.stop()


def until(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def test_a_scan_answers_the_question_and_takes_it_back_from_the_person(bench: Bench) -> None:
    person = Person()
    asking = bench.ask(person)
    assert person.asked.wait(WAIT_S)
    bench.simulator.scan(LABEL)
    assert asking.answer() == LABEL
    assert set(person.withdrawn) == {ASK}
    assert bench.told == []


def test_a_person_may_type_instead(bench: Bench) -> None:
    person = Person()
    asking = bench.ask(person)
    person.types("320TMD8FC000472")
    assert asking.answer() == "320TMD8FC000472"


def test_what_no_scan_answers_is_left_to_the_person(bench: Bench) -> None:
    person = Person()
    asking = bench.ask(person, Ask("Clean?", ("Done", "Stop"), "Done", task="wrap"))
    assert person.asked.wait(WAIT_S)
    bench.simulator.scan(LABEL)
    until(lambda: bench.told == [Scanned(LABEL)])
    person.types("Stop")
    assert asking.answer() == "Stop"


def test_a_command_is_no_answer(bench: Bench) -> None:
    person = Person()
    asking = bench.ask(person)
    assert person.asked.wait(WAIT_S)
    bench.simulator.scan("TESSERA:STOP")
    until(lambda: bench.told == [Scanned("TESSERA:STOP")])
    assert person.withdrawn == []
    person.types("")
    asking.answer()


def test_a_line_without_a_person_waits_for_the_scan_until_it_is_stopped(bench: Bench) -> None:
    asking = bench.ask(Nobody())
    bench.simulator.scan(LABEL)
    assert asking.answer() == LABEL
    again = bench.ask(Nobody())
    bench.stopped = True
    assert again.answer() == ""


def test_a_label_that_was_cut_off_is_told_and_the_next_one_answers(bench: Bench) -> None:
    person = Person()
    asking = bench.ask(person)
    assert person.asked.wait(WAIT_S)
    bench.simulator.send(b"320TM")
    until(lambda: bool(bench.told))
    (trouble,) = bench.told
    assert isinstance(trouble, Scanned)
    assert "cut off" in trouble.trouble
    bench.simulator.scan(LABEL)
    assert asking.answer() == LABEL


@pytest.fixture
def line_file(tmp_path: Path, twin: Twin) -> Path:
    """The twin's line as a real one would be told of: nobody's hands, and no scaled time."""
    profile = twin.profile.model_copy(
        update={
            "twin": None,
            "station": twin.profile.station.model_copy(update={"time_scale": 1.0}),
        }
    )
    path = tmp_path / "line.toml"
    path.write_text(to_toml(profile), encoding="utf-8")
    return path


def test_a_shift_without_a_twin_takes_its_labels_from_the_scanner_of_the_line(
    tmp_path: Path, line_file: Path
) -> None:
    simulator = SerialScannerSimulator()
    simulator.start()
    with line_file.open("a", encoding="utf-8") as file:
        file.write(f'\n[scanner]\ndriver = "serial"\nport = "{simulator.path}"\n')
    told: list[Message] = []
    session = open_session(
        tmp_path / "data", line_file=line_file, operator="A", listener=told.append
    )
    try:
        simulator.scan("320TMG3LC000001")
        until(lambda: Scanned("320TMG3LC000001") in told)
        person = Person()
        stopped: list[str] = []

        def work() -> None:
            try:
                session.run_shift(boards=1, answer=person)
            except ShiftStoppedError as error:
                stopped.append(str(error))

        shift = threading.Thread(target=work)
        shift.start()
        assert person.asked.wait(WAIT_S)
        simulator.scan("320TMG3LC000001")
        shift.join(WAIT_S)
        assert person.withdrawn
        assert "is a tile module; the label of the tileboard is needed here" in stopped[0]
    finally:
        session.close()
        simulator.stop()
    until(lambda: "scanner-watch" not in [thread.name for thread in threading.enumerate()])
