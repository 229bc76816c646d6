"""What a transaction costs above the wire, with the bare wire and other clients beside it.

The instruments that answer run in a process of their own, as real ones do.
"""

import multiprocessing
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Generator
from multiprocessing.connection import Connection
from typing import Any

import pytest
import pyvisa
import serial
import zmq
from pytest_benchmark.fixture import BenchmarkFixture

from drivers.errors import InstrumentInterrupted
from drivers.loopback import PtyEnd, SocketEnd, ZmqReplyEnd
from drivers.sc18im700.simulator import BridgeSimulator
from drivers.transport import BridgeI2cTransport, SerialTransport, VisaTransport, ZmqTransport
from drivers.transport.stream import Stream

QUESTION = "MEAS:VOLT?"
ROUNDS = 3000


class _SerialEcho:
    def __init__(self) -> None:
        self.end = PtyEnd(self, name="echo")
        self._unread = b""

    def receive(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            self.end.send(line + b"\n")

    def advance(self) -> None:
        return None


class _BusEcho:
    def write(self, data: bytes) -> bool:
        self._written = data
        return True

    def read(self, count: int) -> bytes:
        return self._written[:count]


def _instruments(pipe: Connection) -> None:
    tcp = SocketEnd(lambda line: line + b"\n", name="echo")
    port = _SerialEcho()
    bridge = BridgeSimulator({0x44: _BusEcho()})
    requests = ZmqReplyEnd(lambda parts: parts, name="echo")
    for end in (tcp, port.end, bridge, requests):
        end.start()
    pipe.send((tcp.port, port.end.path, bridge.path, requests.endpoint))
    pipe.recv()
    for end in (tcp, port.end, bridge, requests):
        end.stop()


@pytest.fixture(scope="module")
def addresses() -> Generator[tuple[int, str, str, str]]:
    here, there = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=_instruments, args=(there,))
    process.start()
    yield here.recv()
    here.send("stop")
    process.join(10)


def _measure(benchmark: BenchmarkFixture, ask: Callable[[], Any]) -> Any:
    return benchmark.pedantic(ask, rounds=ROUNDS, warmup_rounds=100)


def test_tcp_bare_socket(benchmark: BenchmarkFixture, addresses: tuple[int, ...]) -> None:
    client = socket.create_connection(("127.0.0.1", addresses[0]))
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask() -> bytes:
        client.sendall(b"MEAS:VOLT?\n")
        return client.recv(4096)

    assert _measure(benchmark, ask) == b"MEAS:VOLT?\n"
    client.close()


def test_tcp_transport(benchmark: BenchmarkFixture, addresses: tuple[int, ...]) -> None:
    transport = VisaTransport(f"TCPIP::127.0.0.1::{addresses[0]}::SOCKET")
    assert _measure(benchmark, lambda: transport.query(QUESTION, deadline_s=3)) == QUESTION
    transport.close()


def test_tcp_pyvisa(benchmark: BenchmarkFixture, addresses: tuple[int, ...]) -> None:
    resource: Any = pyvisa.ResourceManager("@py").open_resource(
        f"TCPIP::127.0.0.1::{addresses[0]}::SOCKET"
    )
    resource.read_termination = resource.write_termination = "\n"
    assert _measure(benchmark, lambda: resource.query(QUESTION)) == QUESTION
    resource.close()


def test_serial_bare_file(benchmark: BenchmarkFixture, addresses: tuple[int, str]) -> None:
    fd = os.open(addresses[1], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    poll = select.poll()
    poll.register(fd, select.POLLIN)

    def ask() -> bytes:
        os.write(fd, b"MEAS:VOLT?\n")
        poll.poll(3000)
        return os.read(fd, 4096)

    assert _measure(benchmark, ask) == b"MEAS:VOLT?\n"
    os.close(fd)


def test_serial_transport(benchmark: BenchmarkFixture, addresses: tuple[int, str]) -> None:
    transport = SerialTransport(addresses[1])
    assert _measure(benchmark, lambda: transport.query(QUESTION, deadline_s=3)) == QUESTION
    transport.close()


def test_serial_pyserial(benchmark: BenchmarkFixture, addresses: tuple[int, str]) -> None:
    port = serial.Serial(addresses[1], timeout=3)

    def ask() -> bytes:
        port.write(b"MEAS:VOLT?\n")
        return port.read_until(b"\n")

    assert _measure(benchmark, ask) == b"MEAS:VOLT?\n"
    port.close()


def test_i2c_bridge_bare_file(benchmark: BenchmarkFixture, addresses: tuple[int, str, str]) -> None:
    fd = os.open(addresses[2], os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
    poll = select.poll()
    poll.register(fd, select.POLLIN)

    def ask() -> bytes:
        os.write(fd, b"S\x88\x02\x24\x00PR\x0aP")
        poll.poll(3000)
        os.read(fd, 4096)
        os.write(fd, b"S\x89\x02P")
        poll.poll(3000)
        return os.read(fd, 4096)

    assert _measure(benchmark, ask) == b"\x24\x00"
    os.close(fd)


def test_i2c_bridge_transport(benchmark: BenchmarkFixture, addresses: tuple[int, str, str]) -> None:
    bus = BridgeI2cTransport(addresses[2])
    answer = _measure(benchmark, lambda: bus.exchange(0x44, b"\x24\x00", 2, deadline_s=3))
    assert answer == b"\x24\x00"
    bus.close()


def test_zmq_bare_socket(benchmark: BenchmarkFixture, addresses: tuple[int, str, str, str]) -> None:
    context = zmq.Context()
    requester = context.socket(zmq.REQ)
    requester.connect(addresses[3])

    def ask() -> bytes:
        requester.send(b"status")
        return bytes(requester.recv())

    assert _measure(benchmark, ask) == b"status"
    context.destroy(linger=0)


def test_zmq_transport(benchmark: BenchmarkFixture, addresses: tuple[int, str, str, str]) -> None:
    transport = ZmqTransport(addresses[3])
    assert _measure(benchmark, lambda: transport.request(["status"], deadline_s=3)) == [b"status"]
    transport.close()


class _NoWire(VisaTransport):
    """Answers every question at once, without a wire: what is left is the transport itself."""

    def _connect(self, turn: object) -> Stream:
        self._far, near = socket.socketpair()
        near.setblocking(False)
        # waiting for input costs its system call, and finds some only after a question
        return Stream(
            near.fileno(),
            read=near.recv,
            write=self._far.send,
            close=near.close,
            turnstile=self._turnstile,
        )


def test_transport_without_a_wire(benchmark: BenchmarkFixture) -> None:
    transport = _NoWire("TCPIP::nowhere::1::SOCKET")
    assert _measure(benchmark, lambda: transport.query(QUESTION, deadline_s=3)) == QUESTION
    transport.close()
    transport._far.close()


def test_interruption_reaches_a_thread_that_waits(
    benchmark: BenchmarkFixture, addresses: tuple[int, ...]
) -> None:
    """From the call to the error in the other thread, while the instrument is silent."""
    listener = socket.create_server(("127.0.0.1", 0))
    transport = VisaTransport(f"TCPIP::127.0.0.1::{listener.getsockname()[1]}::SOCKET")
    asked, ended = threading.Event(), threading.Event()
    stopping = threading.Event()

    def ask_on() -> None:
        while not stopping.is_set():
            asked.set()
            try:
                transport.query(QUESTION, deadline_s=30)
            except InstrumentInterrupted:
                ended.set()

    thread = threading.Thread(target=ask_on)
    thread.start()

    def wait_until_it_reads() -> None:
        asked.wait()
        asked.clear()
        ended.clear()
        while not transport.is_busy():
            time.sleep(0)
        time.sleep(0.002)

    def interrupt() -> None:
        transport.interrupt()
        ended.wait()

    benchmark.pedantic(interrupt, setup=wait_until_it_reads, rounds=200)
    stopping.set()
    while thread.is_alive():
        transport.interrupt()
        thread.join(0.01)
    transport.close()
    listener.close()
