import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor

import pytest

from drivers.errors import BrokenReply, InstrumentLost, InstrumentTimeout
from drivers.roles import Scanner
from drivers.scanner import SerialScanner, SerialScannerSimulator

LABEL = "320TMD8FC000471"


@pytest.fixture
def simulator() -> Generator[SerialScannerSimulator]:
    simulator = SerialScannerSimulator(prefix="\x02", suffix="\x03")
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def scanner(simulator: SerialScannerSimulator) -> Generator[SerialScanner]:
    scanner = SerialScanner.open(simulator.path, prefix="\x02", suffix="\x03")
    yield scanner
    scanner.close()


def read_while(scanner: SerialScanner, act: Callable[[], None]) -> str:
    """The label that is read by a call during which ``act`` happens."""
    waiting = threading.Event()
    wait_for = scanner._changed.wait_for

    def noted(predicate: Callable[[], object], timeout: float | None = None) -> object:
        waiting.set()
        return wait_for(predicate, timeout)

    scanner._changed.wait_for = noted  # type: ignore[method-assign]
    try:
        with ThreadPoolExecutor(1) as pool:
            label = pool.submit(scanner.read, deadline_s=5.0)
            assert waiting.wait(5.0)
            act()
            return label.result()
    finally:
        scanner._changed.wait_for = wait_for  # type: ignore[method-assign]


def test_a_label_comes_without_its_frame(
    scanner: SerialScanner, simulator: SerialScannerSimulator
) -> None:
    role: Scanner = scanner
    assert role.identity.port == simulator.path
    assert read_while(scanner, lambda: simulator.scan(LABEL)) == LABEL


def test_a_label_that_was_scanned_before_the_call_is_not_its_answer(
    scanner: SerialScanner, simulator: SerialScannerSimulator
) -> None:
    simulator.scan("OLD-1")
    while not scanner._scans:
        threading.Event().wait(0.005)
    assert read_while(scanner, lambda: simulator.scan(LABEL)) == LABEL
    with pytest.raises(InstrumentTimeout, match="nothing was scanned"):
        scanner.read(deadline_s=0.05)


def test_two_labels_in_one_burst_are_two_labels(
    scanner: SerialScanner, simulator: SerialScannerSimulator
) -> None:
    burst = b"\x02FIRST-1\x03\x02SECOND-2\x03"
    assert read_while(scanner, lambda: simulator.send(burst)) == "FIRST-1"
    assert [scan.text for scan in scanner._scans] == ["SECOND-2"]


def test_a_label_in_pieces_is_one_label(
    scanner: SerialScanner, simulator: SerialScannerSimulator
) -> None:
    def send() -> None:
        for character in f"\x02{LABEL}\x03":
            simulator.send(character.encode())

    assert read_while(scanner, send) == LABEL


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x02320TM", "cut off"),
        (b"320TM\x03", "no beginning"),
        (b"\x0232\xfeTM\x03", "characters"),
        (b"\x02\x03", "empty"),
    ],
)
def test_what_is_no_label_is_told_and_the_next_one_is_good(
    scanner: SerialScanner, simulator: SerialScannerSimulator, data: bytes, why: str
) -> None:
    with pytest.raises(BrokenReply, match=rf"{why}.*Scan it again"):
        read_while(scanner, lambda: simulator.send(data))
    assert read_while(scanner, lambda: simulator.scan(LABEL)) == LABEL


def test_a_scanner_that_is_pulled_out_is_lost_and_found_again(
    scanner: SerialScanner, simulator: SerialScannerSimulator
) -> None:
    simulator.faults.plan("disconnect", delay_s=0.1)
    with pytest.raises(InstrumentLost):
        read_while(scanner, lambda: simulator.scan("GONE-1"))
    while scanner._lost is not None:
        threading.Event().wait(0.01)
    assert read_while(scanner, lambda: simulator.scan(LABEL)) == LABEL


def test_closing_ends_a_call_that_waits(scanner: SerialScanner) -> None:
    with pytest.raises(InstrumentLost, match="closed"):
        read_while(scanner, scanner.close)
    scanner.close()


def test_a_carriage_return_scanner_without_a_prefix_works(
    simulator: SerialScannerSimulator,
) -> None:
    plain = SerialScannerSimulator()
    plain.start()
    scanner = SerialScanner.open(plain.path)
    assert read_while(scanner, lambda: plain.scan(LABEL)) == LABEL
    scanner.close()
    plain.stop()


def test_a_port_that_is_not_there_is_lost() -> None:
    with pytest.raises(InstrumentLost, match="/dev/none"):
        SerialScanner.open("/dev/none")


@pytest.mark.parametrize("deadline_s", [0.0, -1.0, float("nan"), float("inf")])
def test_a_deadline_is_a_length_of_time(scanner: SerialScanner, deadline_s: float) -> None:
    with pytest.raises(ValueError, match="deadline"):
        scanner.read(deadline_s=deadline_s)
