import collections
import os
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import InstrumentLost, InstrumentTimeout
from drivers.faults import (
    DEFAULT_RATES,
    FAULT_KINDS,
    FaultPlan,
    LineFaults,
    WireFault,
    garbled,
    misread,
    other_identity,
    spoilt,
)
from drivers.loopback import PtyEnd, SocketEnd, ZmqReplyEnd
from drivers.transport import SerialTransport, VisaTransport, ZmqTransport
from tests.drivers.transport.conftest import PORTS, SerialEcho, skip_to_fresh_tokens

DIGITS = b"0123456789"


def test_the_same_seed_gives_the_same_plan_and_another_wire_another_one():
    plan = FaultPlan.from_seed(7, wire="bias")
    assert plan == FaultPlan.from_seed(7, wire="bias")
    assert plan.faults != FaultPlan.from_seed(7, wire="gantry").faults
    assert plan.faults != FaultPlan.from_seed(8, wire="bias").faults


def test_a_plan_is_the_same_on_every_machine():
    plan = FaultPlan.from_seed(1, wire="bias", replies=1000)
    assert [(fault.kind, fault.after_replies) for fault in plan.faults[:4]] == [
        ("misread", 189),
        ("misread", 10),
        ("garbled", 9),
        ("disconnect", 63),
    ]


def test_a_plan_draws_every_kind_at_its_rate():
    plan = FaultPlan.from_seed(3, replies=50_000)
    counts = collections.Counter(fault.kind for fault in plan.faults)
    assert set(counts) == set(FAULT_KINDS)
    for kind, rate in DEFAULT_RATES.items():
        assert counts[kind] == pytest.approx(50_000 * rate, abs=5 * (50_000 * rate) ** 0.5)


def test_a_plan_of_one_kind_has_only_that():
    plan = FaultPlan.from_seed(3, replies=100, rates={"lost": 1.0})
    assert plan.faults == (WireFault("lost", 0.0, 0, plan.faults[0].where), *plan.faults[1:])
    assert {fault.kind for fault in plan.faults} == {"lost"}
    assert len(plan.faults) == 100


@pytest.mark.parametrize("rates", [{"lost": 1.1}, {"lost": -0.1}, {"lost": float("nan")}])
def test_rates_that_are_no_probabilities_are_refused(rates):
    with pytest.raises(ValueError, match="at most 1"):
        FaultPlan.from_seed(0, rates=rates)


def test_planned_faults_hit_the_replies_they_were_planned_for():
    faults = LineFaults()
    faults.plan("lost", after_replies=2)
    faults.plan("late", delay_s=1.0, after_replies=1)
    hits = [hit and (hit.kind, hit.delay_s) for hit in (faults.next_fault() for _ in range(5))]
    assert hits == [None, None, ("lost", 0.0), None, ("late", 1.0)]
    assert [hit.kind for hit in faults.hits] == ["lost", "late"]


def test_a_misread_waits_for_a_reply_with_a_digit():
    faults = LineFaults()
    faults.plan("misread")
    assert faults.next_fault(b"ok\r\n") is None
    hit = faults.next_fault(b"42\r\n")
    assert hit is not None
    assert hit.kind == "misread"


def test_a_wrong_identity_waits_for_the_question_and_answers_it_once():
    faults = LineFaults()
    faults.plan("wrong_identity")
    faults.plan("lost")
    hit = faults.next_fault(b"1")
    assert hit is not None
    assert hit.kind == "lost"
    assert faults.identity("KEITHLEY,2450,04412026") == "KEITHLEY,3561,15523137"
    assert faults.identity("KEITHLEY,2450,04412026") == "KEITHLEY,2450,04412026"


def test_a_wrong_identity_comes_after_its_good_replies():
    faults = LineFaults()
    faults.plan("wrong_identity", after_replies=1)
    assert faults.identity("a1") == "a1"
    faults.next_fault(b"1")
    assert faults.identity("a1") == "a2"


@given(st.text(max_size=40))
def test_another_identity_always_differs(own):
    assert other_identity(own) != own


@given(st.from_regex(rb"[ -~]{0,30}\r\n", fullmatch=True), st.floats(0, 1, exclude_max=True))
def test_a_misread_text_keeps_its_form_and_differs_in_one_digit(reply, where):
    read = misread(reply, where)
    changed = [k for k in range(len(reply)) if read[k] != reply[k]]
    assert len(read) == len(reply)
    assert len(changed) == (1 if any(byte in DIGITS for byte in reply) else 0)
    assert all(reply[k] in DIGITS and read[k] in DIGITS for k in changed)


@given(st.binary(min_size=1, max_size=20), st.floats(0, 1, exclude_max=True))
def test_misread_bytes_differ_in_one_bit(data, where):
    reply = b"\x80" + data
    read = misread(reply, where)
    changed = int.from_bytes(reply, "big") ^ int.from_bytes(read, "big")
    assert changed.bit_count() == 1


@given(st.binary(max_size=30), st.sampled_from(FAULT_KINDS), st.floats(0, 1, exclude_max=True))
def test_any_reply_can_be_spoilt_in_any_way(reply, kind, where):
    for delay_s, left in spoilt(reply, WireFault(kind, 0.5, 0, where)):
        assert delay_s in (0.0, 0.5)
        assert len(left) <= len(reply)


def test_garbling_changes_the_reply_and_keeps_its_end():
    for reply in (b"ok\r\n", b"1\n", b"4.000000E+01,1.0E-06,136\n"):
        assert garbled(reply) != reply
        assert garbled(reply).endswith(b"\n")
        assert len(garbled(reply)) == len(reply)


@pytest.mark.parametrize("kind", PORTS)
def test_a_port_that_goes_away_is_there_again_at_the_same_address(kind):
    with PORTS[kind]() as port:
        assert port.ask(1, 5) == 1
        for k in range(3):
            port.faults.plan("disconnect", delay_s=0.1)
            with pytest.raises((InstrumentLost, InstrumentTimeout)):
                port.ask(10 + k, 0.2)
            assert answer_once_back(port, 20 + k) == 20 + k


def answer_once_back(port, number):
    """The answer; a question that was asked before the line went away is asked again."""
    ends_at_s = time.monotonic() + 5
    while True:
        try:
            return port.ask(number, 5)
        except InstrumentLost:
            if time.monotonic() > ends_at_s:
                raise


@pytest.mark.parametrize("kind", ["visa", "serial"])
def test_a_port_that_stays_away_is_lost(kind):
    with PORTS[kind]() as port:
        assert port.ask(1, 5) == 1
        port.stop()
        for _ in range(2):
            with pytest.raises(InstrumentLost):
                port.ask(2, 5)


def test_a_serial_port_that_is_away_has_no_path():
    echo = SerialEcho()
    echo.end.start()
    path = echo.end.path
    transport = SerialTransport(path)
    transport.verify = skip_to_fresh_tokens()
    echo.faults.plan("disconnect", delay_s=0.3)
    with pytest.raises(InstrumentLost):
        transport.query("x", deadline_s=5)
    assert not os.path.exists(path)
    with pytest.raises(InstrumentLost, match="can't open"):
        SerialTransport(path)
    ends_at_s = time.monotonic() + 5
    while not os.path.exists(path) and time.monotonic() < ends_at_s:
        time.sleep(0.01)
    assert transport.query("y", deadline_s=5) == "y"
    transport.close()
    echo.end.stop()
    assert not os.path.exists(os.path.dirname(path))


def test_a_machine_keeps_its_port_over_a_stop():
    echo = SerialEcho()
    for _ in range(3):
        echo.end.start()
        transport = SerialTransport(echo.end.path)
        transport.query("x", deadline_s=5)
        transport.close()
        echo.end.stop()


def test_a_second_copy_of_an_answer_is_dropped_before_the_next_question():
    for kind in PORTS:
        with PORTS[kind]() as port:
            for k in range(20):
                port.faults.plan("duplicated")
                assert port.ask(2 * k, 5) == 2 * k
                assert port.ask(2 * k + 1, 5) == 2 * k + 1


def test_a_zmq_answer_in_parts_is_hit_in_its_last_part():
    end = ZmqReplyEnd(lambda parts: parts, name="echo")
    end.start()
    transport = ZmqTransport(end.endpoint)
    end.faults.plan("truncated")
    assert transport.request(["configure", "abcdef"], deadline_s=5) == [b"configure", b"abc"]
    transport.close()
    end.stop()


def test_a_zmq_reply_end_takes_its_port_again():
    end = ZmqReplyEnd(lambda parts: parts, name="echo")
    end.start()
    port = end.port
    end.stop()
    end.start()
    assert end.port == port
    transport = ZmqTransport(end.endpoint)
    assert transport.request(["x"], deadline_s=5) == [b"x"]
    transport.close()
    end.stop()


def test_all_clients_of_a_socket_are_cut_off_at_once():
    end = SocketEnd(lambda line: line + b"\n", name="echo")
    end.start()
    transports = [VisaTransport(f"TCPIP::127.0.0.1::{end.port}::SOCKET") for _ in range(3)]
    for transport in transports:
        transport.query("x", deadline_s=5)
    end.faults.plan("disconnect")
    with pytest.raises(InstrumentLost):
        transports[0].query("x", deadline_s=5)
    for transport in transports:
        assert transport.query("y", deadline_s=5) == "y"
        transport.close()
    end.stop()


def test_stopping_an_end_leaves_no_thread_and_no_file():
    class Quiet:
        def receive(self, data):
            pass

        def advance(self):
            return None

    threads, files = threading.active_count(), len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        ends = [
            SocketEnd(lambda line: line, name="a"),
            PtyEnd(Quiet(), name="b"),
            ZmqReplyEnd(lambda parts: parts, name="c"),
        ]
        for end in ends:
            end.start()
        for end in ends:
            end.stop()
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == files
