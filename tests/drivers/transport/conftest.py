"""Instruments that say back what they are asked, behind every kind of port."""

import contextlib
import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any

import pytest

from drivers.faults import LineFaults
from drivers.loopback import PtyEnd, SocketEnd, ZmqReplyEnd
from drivers.sc18im700.simulator import BridgeSimulator
from drivers.transport import (
    BridgeI2cTransport,
    Exchange,
    SerialTransport,
    VisaTransport,
    ZmqTransport,
)

KINDS = ["visa", "serial", "zmq", "i2c"]
ADDRESS = 0x44


@dataclass
class Port:
    """A transport, the faults of its wire, and a question that is answered with itself.

    ``ask(k, deadline_s)`` returns the number that the answer holds, or None for none.
    """

    transport: Any
    faults: LineFaults
    ask: Callable[[int, float], int | None]
    silence: Callable[[bool], None]
    stop: Callable[[], None] = field(default=lambda: None)


class SerialEcho:
    """A machine on a pseudo-terminal that says every line back."""

    def __init__(self, faults: LineFaults | None = None) -> None:
        self.end = PtyEnd(self, name="echo", faults=faults)
        self.faults = self.end.faults
        self.is_silent = False
        self._unread = b""

    def receive(self, data: bytes) -> None:
        *lines, self._unread = (self._unread + data).split(b"\n")
        for line in lines:
            if not self.is_silent:
                self.end.send(line + b"\n")

    def advance(self) -> None:
        return None


class BusEcho:
    """A device on the bus that gives back what was written to it."""

    def __init__(self) -> None:
        self.is_silent = False
        self._written = b""

    def write(self, data: bytes) -> bool:
        self._written = data
        return True

    def read(self, count: int) -> bytes:
        return self._written[:count]


def skip_to_fresh_tokens() -> Callable[[Exchange], None]:
    """A check that drops everything before the answer to a question never asked before."""
    tokens = itertools.count()

    def verify(exchange: Exchange) -> None:
        token = f"token{next(tokens)}"
        exchange.send(token)
        while exchange.receive() != token:
            pass

    return verify


def number_in(text: str) -> int | None:
    """The number of a whole answer; None for one that was cut or hit."""
    if len(text) == 10 and text[0] == "q" and text[-1] == "!" and text[1:-1].isdigit():
        return int(text[1:-1])
    return None


@contextlib.contextmanager
def visa_port(faults: LineFaults | None = None) -> Generator[Port]:
    silent = [False]
    end = SocketEnd(lambda line: None if silent[0] else line + b"\n", name="echo", faults=faults)
    end.start()
    transport = VisaTransport(f"TCPIP::127.0.0.1::{end.port}::SOCKET")
    yield Port(
        transport,
        end.faults,
        lambda k, deadline_s: number_in(transport.query(f"q{k:08d}!", deadline_s=deadline_s)),
        lambda value: silent.__setitem__(0, value),
        end.stop,
    )
    transport.close()
    end.stop()


@contextlib.contextmanager
def serial_port(faults: LineFaults | None = None) -> Generator[Port]:
    echo = SerialEcho(faults)
    echo.end.start()
    transport = SerialTransport(echo.end.path)
    transport.verify = skip_to_fresh_tokens()
    yield Port(
        transport,
        echo.faults,
        lambda k, deadline_s: number_in(transport.query(f"q{k:08d}!", deadline_s=deadline_s)),
        lambda value: setattr(echo, "is_silent", value),
        echo.end.stop,
    )
    transport.close()
    echo.end.stop()


@contextlib.contextmanager
def zmq_port(faults: LineFaults | None = None) -> Generator[Port]:
    silent = [False]
    end = ZmqReplyEnd(lambda parts: None if silent[0] else parts, name="echo", faults=faults)
    end.start()
    transport = ZmqTransport(end.endpoint)

    def ask(k: int, deadline_s: float) -> int | None:
        (answer,) = transport.request([f"q{k:08d}!"], deadline_s=deadline_s)
        return number_in(answer.decode("ascii", "replace"))

    yield Port(transport, end.faults, ask, lambda value: silent.__setitem__(0, value), end.stop)
    transport.close()
    end.stop()


@contextlib.contextmanager
def i2c_port(faults: LineFaults | None = None) -> Generator[Port]:
    simulator = BridgeSimulator({ADDRESS: BusEcho()})
    simulator.start()
    transport = BridgeI2cTransport(simulator.path)
    if faults is not None:
        simulator.faults.plan_all(faults.planned)

    def ask(k: int, deadline_s: float) -> int | None:
        data = k.to_bytes(4, "big")
        check = bytes((sum(data) & 0xFF,))
        answer = transport.exchange(ADDRESS, data + check, 5, deadline_s=deadline_s)
        whole = answer[4] == sum(answer[:4]) & 0xFF
        return int.from_bytes(answer[:4], "big") if whole else None

    def silence(value: bool) -> None:
        simulator.is_silent = value

    yield Port(transport, simulator.faults, ask, silence, simulator.stop)
    transport.close()
    simulator.stop()


PORTS = {"visa": visa_port, "serial": serial_port, "zmq": zmq_port, "i2c": i2c_port}


@pytest.fixture(params=KINDS)
def port(request: pytest.FixtureRequest) -> Generator[Port]:
    """Each kind of port in turn."""
    with PORTS[request.param]() as opened:
        yield opened
