"""Pauses, answers that nobody asked for, and what a port tells about itself."""

import time

import pytest

from drivers.errors import BrokenReply, InstrumentTimeout
from drivers.faults import LineFaults
from drivers.loopback import SocketEnd
from drivers.transport import SerialTransport, VisaTransport, ZmqTransport
from tests.drivers.transport.conftest import SerialEcho, number_in, visa_port

PAUSE_S = 0.03


class Stopwatch:
    """Says every line back and notes when it came."""

    def __init__(self):
        self.heard_at_s = []
        self.end = SocketEnd(self._answer, name="stopwatch")
        self.end.start()

    def _answer(self, line):
        self.heard_at_s.append(time.monotonic())
        return None if line.startswith(b"!") else line + b"\n"

    def shortest_s(self):
        pairs = zip(self.heard_at_s, self.heard_at_s[1:], strict=False)
        return min(after - before for before, after in pairs)


@pytest.fixture
def stopwatch():
    watch = Stopwatch()
    yield watch
    watch.end.stop()


@pytest.fixture
def paced(stopwatch):
    transport = VisaTransport(f"TCPIP::127.0.0.1::{stopwatch.end.port}::SOCKET", pause_s=PAUSE_S)
    yield transport
    transport.close()


def test_a_pause_lies_between_any_two_things_sent(stopwatch, paced):
    for _ in range(3):
        paced.query("a", deadline_s=5)
        paced.write("!b", deadline_s=5)
        with paced.transaction(deadline_s=5) as exchange:
            exchange.send("!c")
            exchange.send("d")
            exchange.receive()
            exchange.send("!e")
    ends_at_s = time.monotonic() + 5
    while len(stopwatch.heard_at_s) < 15 and time.monotonic() < ends_at_s:
        time.sleep(0.001)
    assert len(stopwatch.heard_at_s) == 15
    assert stopwatch.shortest_s() > 0.8 * PAUSE_S


def test_a_pause_that_is_over_costs_nothing(stopwatch, paced):
    paced.query("a", deadline_s=5)
    paced._quiet_since_s -= 1000
    began_s = time.monotonic()
    paced._keep_pause(paced._turn(5))
    assert paced._quiet_since_s < began_s - 900


def test_a_pause_counts_in_the_deadline(stopwatch, paced):
    paced.query("a", deadline_s=5)
    with pytest.raises(InstrumentTimeout):
        paced.query("b", deadline_s=PAUSE_S / 10)
    assert len(stopwatch.heard_at_s) == 1


@pytest.mark.parametrize("pause_s", [-1, float("nan"), float("inf")])
def test_a_pause_that_is_no_time_is_refused(pause_s):
    with pytest.raises(ValueError, match="pause"):
        ZmqTransport("tcp://127.0.0.1:1", pause_s=pause_s)


def test_a_copy_that_comes_within_the_pause_is_found_before_the_next_question(stopwatch, paced):
    for k in range(5):
        stopwatch.end.faults.plan("duplicated", delay_s=PAUSE_S / 5)
        assert paced.query(f"a{k}", deadline_s=5) == f"a{k}"
        assert paced.query(f"b{k}", deadline_s=5) == f"b{k}"


def test_a_second_copy_inside_a_transaction_is_never_the_answer_to_the_next_question():
    """Nothing in these answers tells whose they are: two flags, as of an output and a limit."""
    end = SocketEnd(lambda line: b"1\n" if line == b"output?" else b"0\n", name="flags")
    end.start()
    transport = VisaTransport(f"TCPIP::127.0.0.1::{end.port}::SOCKET")
    for _ in range(20):
        end.faults.plan("duplicated")
        with (
            pytest.raises(BrokenReply, match="none can be trusted"),
            transport.transaction(deadline_s=5) as exchange,
        ):
            exchange.send("output?")
            assert exchange.receive() == "1"
            exchange.send("limited?")
            raise AssertionError(exchange.receive())
        assert transport.query("limited?", deadline_s=5) == "0"
    transport.close()
    end.stop()


def test_a_driver_that_expects_messages_keeps_them():
    echo = SerialEcho()
    echo.end.start()
    transport = SerialTransport(echo.end.path)
    transport.keep_stray_lines = True
    echo.end.send(b"hello\n")
    with transport.transaction(deadline_s=5) as exchange:
        exchange.send("a")
        assert [exchange.receive(), exchange.receive()] == ["hello", "a"]
        echo.end.send(b"more\n")
        exchange.send("b")
        assert {exchange.receive(), exchange.receive()} == {"more", "b"}
    transport.close()
    echo.end.stop()


def test_several_questions_may_be_asked_before_the_first_answer_is_read():
    echo = SerialEcho()
    echo.end.start()
    transport = SerialTransport(echo.end.path)
    with transport.transaction(deadline_s=5) as exchange:
        for k in range(20):
            exchange.send(f"{k}")
        assert [exchange.receive() for _ in range(20)] == [f"{k}" for k in range(20)]
    transport.close()
    echo.end.stop()


def test_a_misread_digit_goes_through_where_the_protocol_has_no_check():
    faults = LineFaults()
    with visa_port(faults) as port:
        assert port.ask(1, 5) == 1
        faults.plan("misread", where=0.999)
        assert port.ask(1, 5) == 0


def test_a_port_counts_its_transactions_and_failures_and_keeps_the_slowest(port):
    before = port.transport.statistics
    for k in range(3):
        port.ask(k, 5)
    port.silence(True)
    with pytest.raises(InstrumentTimeout):
        port.ask(4, 0.05)
    after = port.transport.statistics
    assert after.count - before.count == 4
    assert after.failures - before.failures == 1
    assert after.last_s == after.slowest_s >= 0.05


def test_an_answer_of_any_length_up_to_the_limit_comes_whole():
    end = SocketEnd(lambda line: b"x" * int(line) + b"\n", name="long")
    end.start()
    transport = VisaTransport(f"TCPIP::127.0.0.1::{end.port}::SOCKET")
    for length in (0, 1, 4095, 4096, 65000):
        assert transport.query(f"{length}", deadline_s=5) == "x" * length
    with pytest.raises(BrokenReply, match="without an end"):
        transport.query("200000", deadline_s=5)
    assert transport.query("3", deadline_s=5) == "xxx"
    transport.close()
    end.stop()


def test_a_terminator_of_two_bytes_is_found_across_reads():
    end = SocketEnd(lambda line: line + b"\r\n", name="crlf")
    end.start()
    transport = VisaTransport(
        f"TCPIP::127.0.0.1::{end.port}::SOCKET", read_terminator=b"\r\n", write_terminator=b"\r\n"
    )
    assert transport.query("a", deadline_s=5) == "a"
    transport.close()
    end.stop()


def test_only_whole_numbers_of_an_echo_count_as_answers():
    assert number_in("q00000012!") == 12
    assert number_in("q0000001") is None
    assert number_in("q0000x012!") is None
