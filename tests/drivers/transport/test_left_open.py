"""Nothing stays open: no file descriptor and no thread."""

import os
import random
import threading

import pytest

from drivers.errors import InstrumentError
from drivers.sc18im700.simulator import BridgeSimulator
from drivers.transport import BridgeI2cTransport, SerialTransport, VisaTransport, ZmqTransport
from tests.drivers.transport.conftest import KINDS, PORTS, skip_to_fresh_tokens


def open_again(kind, address):
    if kind == "visa":
        return VisaTransport(address)
    if kind == "zmq":
        return ZmqTransport(address)
    if kind == "i2c":
        return BridgeI2cTransport(address)
    transport = SerialTransport(address)
    transport.verify = skip_to_fresh_tokens()
    return transport


def ask(kind, transport, deadline_s):
    if kind == "zmq":
        transport.request(["x"], deadline_s=deadline_s)
    elif kind == "i2c":
        transport.exchange(0x44, b"\x01", 1, deadline_s=deadline_s)
    else:
        transport.query("x", deadline_s=deadline_s)


def live_through(kind, port, draw):
    """One life of a transport: asked, perhaps cut off, perhaps interrupted, closed."""
    transport = open_again(kind, port.transport.port)
    fate = draw.choice(["asked", "never asked", "cut off", "interrupted", "closed in use"])
    if fate == "cut off":
        port.faults.plan("disconnect")
    if fate != "never asked":
        thread = threading.Thread(target=ask_whatever_comes, args=(kind, transport))
        thread.start()
        if fate == "interrupted":
            transport.interrupt()
        if fate == "closed in use":
            transport.close()
        thread.join(10)
        assert not thread.is_alive()
    transport.close()
    transport.close()
    assert transport.is_closed


def ask_whatever_comes(kind, transport):
    for _ in range(2):
        try:
            # a ZMQ socket does not tell a lost connection from silence
            ask(kind, transport, 0.1 if kind == "zmq" else 5)
        except InstrumentError:
            continue


def count_open():
    return len(os.listdir("/proc/self/fd"))


def check_lives(kind, count):
    draw = random.Random(count)
    with PORTS[kind]() as port:
        port.ask(1, 5)
        port.transport.close()
        live_through(kind, port, draw)
        files, threads = count_open(), threading.active_count()
        for _ in range(count):
            live_through(kind, port, draw)
        # the far end may still hold the connection of the last one
        assert count_open() <= files + 2
        assert threading.active_count() <= threads


@pytest.mark.parametrize("kind", KINDS)
def test_ports_leave_nothing_open(kind):
    check_lives(kind, 100)


@pytest.mark.study
@pytest.mark.parametrize("kind", KINDS)
def test_a_thousand_ports_leave_nothing_open(kind):
    check_lives(kind, 1000)


def test_a_port_that_cannot_be_opened_leaves_nothing_open(monkeypatch):
    monkeypatch.setattr("drivers.transport.i2c_bridge.OPEN_WITHIN_S", 0.3)
    simulator = BridgeSimulator({})
    simulator.is_silent = True
    simulator.start()
    before = count_open()
    for _ in range(20):
        for open_it in (
            lambda: VisaTransport("TCPIP::127.0.0.1::9::SOCKET"),
            lambda: SerialTransport("/dev/no-such-port"),
        ):
            with pytest.raises(InstrumentError):
                open_it()
    with pytest.raises(InstrumentError):
        BridgeI2cTransport(simulator.path)
    assert count_open() == before
    simulator.stop()
