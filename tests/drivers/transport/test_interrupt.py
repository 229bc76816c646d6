"""Any thread may break the transactions of the others off, at once and only those."""

import random
import signal
import threading
import time

import pytest

from drivers.errors import InstrumentInterrupted, InstrumentLost, InstrumentTimeout
from drivers.loopback import SocketEnd
from drivers.transport import VisaTransport

ROUNDS = 150
LONG_S = 30.0


def start(action):
    """Run ``action`` in a thread; returns the thread and a list that gets its outcome."""
    outcome = []

    def run():
        try:
            outcome.append(action())
        except (InstrumentInterrupted, InstrumentTimeout, InstrumentLost) as error:
            outcome.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, outcome


def interrupt_until_it_hits(transport):
    ends_at_s = time.monotonic() + 10
    hit = 0
    while not hit and time.monotonic() < ends_at_s:
        hit = transport.interrupt()
    return hit


def test_a_read_that_waits_ends_long_before_its_deadline(port):
    assert port.ask(1, 5) == 1
    port.silence(True)
    thread, outcome = start(lambda: port.ask(2, LONG_S))
    assert interrupt_until_it_hits(port.transport) == 1
    thread.join(5)
    assert isinstance(outcome[0], InstrumentInterrupted)
    assert port.transport.port in str(outcome[0])


def test_the_next_transaction_is_answered_with_its_own_answer(port):
    port.faults.plan("late", delay_s=0.1)
    thread, outcome = start(lambda: port.ask(1, LONG_S))
    interrupt_until_it_hits(port.transport)
    thread.join(5)
    assert isinstance(outcome[0], InstrumentInterrupted)
    answers = []
    while not answers:
        try:
            answers.append(port.ask(2, 2))
        except InstrumentTimeout:
            continue
    assert answers == [2]


def test_who_waits_for_the_port_is_broken_off_too(port):
    port.silence(True)
    threads = [start(lambda: port.ask(1, LONG_S)) for _ in range(3)]
    while len(port.transport._turnstile._waiting) != 2:
        time.sleep(0)
    assert port.transport.interrupt() == 3
    for thread, outcome in threads:
        thread.join(5)
        assert isinstance(outcome[0], InstrumentInterrupted)


def test_with_nothing_under_way_it_does_nothing(port):
    assert port.transport.interrupt() == 0
    assert port.ask(1, 5) == 1
    assert port.transport.interrupt() == 0
    assert port.ask(2, 5) == 2
    port.transport.close()
    assert port.transport.interrupt() == 0


def test_the_thread_that_interrupts_goes_on_itself():
    end = SocketEnd(lambda line: line + b"\n", name="echo")
    end.start()
    transport = VisaTransport(f"TCPIP::127.0.0.1::{end.port}::SOCKET")
    with transport.transaction(deadline_s=5) as exchange:
        assert transport.interrupt() == 0
        exchange.send("mine")
        assert exchange.receive() == "mine"
    transport.close()
    end.stop()


def test_one_that_has_its_answer_but_has_not_ended_raises_all_the_same():
    end = SocketEnd(lambda line: line + b"\n", name="echo")
    end.start()
    transport = VisaTransport(f"TCPIP::127.0.0.1::{end.port}::SOCKET")
    answered, go_on = threading.Event(), threading.Event()

    def ask():
        with transport.transaction(deadline_s=LONG_S) as exchange:
            exchange.send("x")
            answer = exchange.receive()
            answered.set()
            go_on.wait(5)
        return answer

    thread, outcome = start(ask)
    assert answered.wait(5)
    assert transport.interrupt() == 1
    assert transport.interrupt() == 0
    go_on.set()
    thread.join(5)
    assert isinstance(outcome[0], InstrumentInterrupted)
    assert transport.query("next", deadline_s=5) == "next"
    transport.close()
    end.stop()


def test_a_pause_is_broken_off():
    end = SocketEnd(lambda line: line + b"\n", name="echo")
    end.start()
    transport = VisaTransport(f"TCPIP::127.0.0.1::{end.port}::SOCKET", pause_s=20)
    transport.query("x", deadline_s=5)
    thread, outcome = start(lambda: transport.query("y", deadline_s=LONG_S))
    interrupt_until_it_hits(transport)
    thread.join(5)
    assert isinstance(outcome[0], InstrumentInterrupted)
    transport.close()
    end.stop()


def test_an_instrument_that_takes_no_bytes_is_broken_off():
    end = SocketEnd(lambda line: None, name="deaf")
    end.start()
    transport = VisaTransport(f"TCPIP::127.0.0.1::{end.port}::SOCKET")
    busy = threading.Event()
    end._receive = lambda connection: busy.wait(10)  # type: ignore[method-assign]
    thread, outcome = start(lambda: transport.write("x" * 50_000_000, deadline_s=LONG_S))
    interrupt_until_it_hits(transport)
    thread.join(5)
    assert isinstance(outcome[0], InstrumentInterrupted)
    busy.set()
    transport.close()
    end.stop()


def test_every_interruption_hits_whom_it_counts_and_nobody_else(port):
    """Random interleavings: as many interruptions arrive as were made, all answers are right."""
    draw = random.Random(4)
    stopping = threading.Event()
    tallies = [{"interrupted": 0, "wrong": 0, "right": 0} for _ in range(2)]

    def ask_on(index):
        k = (index + 1) * 10_000_000
        while not stopping.is_set():
            k += 1
            try:
                answer = port.ask(k, LONG_S)
                tallies[index]["right" if answer == k else "wrong"] += 1
            except InstrumentInterrupted:
                tallies[index]["interrupted"] += 1

    threads = [threading.Thread(target=ask_on, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    hit = 0
    for k in range(ROUNDS):
        ends_at_s = time.monotonic() + draw.choice([0, 0, 1e-5, 1e-4, 1e-3]) * draw.random()
        while time.monotonic() < ends_at_s:
            pass
        hit += port.transport.interrupt()
        if draw.random() < 0.3:
            assert port.ask(k, LONG_S) == k
    stopping.set()
    for thread in threads:
        thread.join(LONG_S)
    assert sum(tally["interrupted"] for tally in tallies) == hit
    assert sum(tally["wrong"] for tally in tallies) == 0
    assert sum(tally["right"] for tally in tallies) > 0 or hit > 0
    assert port.ask(7, 5) == 7


def test_the_port_is_given_in_the_order_of_asking():
    order = []

    def answer(line):
        order.append(line)
        return line + b"\n"

    end = SocketEnd(answer, name="echo")
    end.start()
    transport = VisaTransport(f"TCPIP::127.0.0.1::{end.port}::SOCKET")
    with transport.transaction(deadline_s=LONG_S):
        threads = []
        for index in range(4):
            threads.append(start(lambda index=index: transport.query(f"{index}", deadline_s=9))[0])
            while len(transport._turnstile._waiting) <= index:
                time.sleep(0)
    for thread in threads:
        thread.join(10)
    assert order == [b"0", b"1", b"2", b"3"]
    transport.close()
    end.stop()


def test_control_c_while_waiting_for_the_port_blocks_nobody():
    end = SocketEnd(lambda line: line + b"\n", name="echo")
    end.start()
    transport = VisaTransport(f"TCPIP::127.0.0.1::{end.port}::SOCKET")
    inside, go_on = threading.Event(), threading.Event()

    def hold():
        with transport.transaction(deadline_s=LONG_S):
            inside.set()
            go_on.wait(10)

    def press():
        while not transport._turnstile._waiting:
            time.sleep(0)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    holder, _ = start(hold)
    inside.wait(5)
    presser, _ = start(press)
    with pytest.raises(KeyboardInterrupt):
        transport.query("never sent", deadline_s=LONG_S)
    presser.join(5)
    go_on.set()
    holder.join(5)
    assert transport.query("next", deadline_s=5) == "next"
    transport.close()
    end.stop()


def test_a_port_that_is_closed_inside_its_own_transaction_is_closed_at_once():
    end = SocketEnd(lambda line: line + b"\n", name="echo")
    end.start()
    transport = VisaTransport(f"TCPIP::127.0.0.1::{end.port}::SOCKET")

    def close_inside():
        with transport.transaction(deadline_s=LONG_S) as exchange:
            transport.close()
            exchange.send("x")

    with pytest.raises(InstrumentLost):
        close_inside()
    with pytest.raises(InstrumentLost, match="closed"):
        transport.query("x", deadline_s=5)
    end.stop()


def test_a_transaction_that_does_not_end_loses_its_port_when_it_is_closed():
    end = SocketEnd(lambda line: None, name="silent")
    end.start()
    transport = VisaTransport(f"TCPIP::127.0.0.1::{end.port}::SOCKET")
    threads = [start(lambda: transport.query("x", deadline_s=LONG_S)) for _ in range(3)]
    while len(transport._turnstile._waiting) != 2:
        time.sleep(0)
    transport.close()
    for thread, outcome in threads:
        thread.join(5)
        assert isinstance(outcome[0], InstrumentInterrupted)
    end.stop()
