"""VISA resources that are no sockets: a serial resource of pyvisa, and a bus with a status byte."""

import threading
import time

import pytest
import pyvisa
from pyvisa import constants
from pyvisa.resources import MessageBasedResource

from drivers.errors import (
    BrokenReply,
    InstrumentError,
    InstrumentInterrupted,
    InstrumentLost,
    InstrumentTimeout,
)
from drivers.transport import VisaTransport, messages
from tests.drivers.transport.conftest import SerialEcho


@pytest.fixture
def echo():
    echo = SerialEcho()
    echo.end.start()
    yield echo
    echo.end.stop()


@pytest.fixture
def asrl(echo):
    transport = VisaTransport(f"ASRL{echo.end.path}::INSTR")
    yield transport
    transport.close()


def test_a_resource_of_pyvisa_is_asked_and_answers(asrl):
    for k in range(20):
        assert asrl.query(f"a{k}", deadline_s=5) == f"a{k}"


def test_silence_of_a_resource_ends_with_the_deadline(asrl, echo):
    echo.is_silent = True
    with pytest.raises(InstrumentTimeout):
        asrl.query("x", deadline_s=0.05)
    echo.is_silent = False
    assert asrl.query("y", deadline_s=5) == "y"


def test_an_address_that_is_no_resource_is_lost():
    with pytest.raises(InstrumentLost, match="can't connect"):
        VisaTransport("ASRL/dev/no-such-port::INSTR")
    with pytest.raises(InstrumentLost):
        VisaTransport("what is this")


class Instrument(MessageBasedResource):
    """An IEEE 488.2 instrument that answers a question after so many looks at its status."""

    def __init__(self):  # not that of pyvisa, which needs a session
        self.answers = []
        self.looks_needed = 3
        self.looks = 0
        self.clears = 0
        self.fails_with = None
        self.timeout = 0.0

    def __del__(self):
        pass

    def set_visa_attribute(self, name, state):
        return constants.StatusCode.success

    @property
    def read_termination(self):
        return None

    @read_termination.setter
    def read_termination(self, value):
        pass

    timeout = 0.0

    def clear(self):
        self.clears += 1
        self.answers.clear()

    def write_raw(self, message):
        if self.fails_with is not None:
            raise pyvisa.errors.VisaIOError(self.fails_with)
        self.looks = 0
        self.answers.append(message)
        return len(message)

    def read_stb(self):
        self.looks += 1
        return 0x10 if self.answers and self.looks > self.looks_needed else 0x00

    def read_raw(self, size=None):
        return self.answers.pop(0)

    def close(self):
        pass


@pytest.fixture
def instrument(monkeypatch):
    instrument = Instrument()

    class Library:
        def open_resource(self, address, open_timeout):
            return instrument

    monkeypatch.setattr(messages, "_visa_library", lambda backend: Library())
    return instrument


@pytest.fixture
def gpib(instrument):
    transport = VisaTransport("GPIB0::24::INSTR")
    yield transport
    transport.close()


def test_the_answer_is_read_when_the_status_byte_says_so(gpib, instrument):
    assert gpib.query("*IDN?", deadline_s=5) == "*IDN?"
    assert instrument.looks > 3


def test_waiting_for_the_status_byte_is_broken_off(gpib, instrument):
    instrument.looks_needed = 10**9
    outcome = []

    def ask():
        try:
            gpib.query("x", deadline_s=30)
        except InstrumentError as error:
            outcome.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    ends_at_s = time.monotonic() + 5
    while not gpib.interrupt() and time.monotonic() < ends_at_s:
        time.sleep(0)
    thread.join(5)
    assert isinstance(outcome[0], InstrumentInterrupted)


def test_a_late_answer_is_cleared_before_the_next_question(gpib, instrument):
    instrument.looks_needed = 10**9
    with pytest.raises(InstrumentTimeout):
        gpib.query("old", deadline_s=0.02)
    instrument.looks_needed = 0
    cleared = instrument.clears
    assert gpib.query("new", deadline_s=5) == "new"
    assert instrument.clears == cleared + 1


def test_an_answer_without_an_end_is_broken(gpib, instrument):
    gpib.write_terminator = b""
    with pytest.raises(BrokenReply, match="no end"):
        gpib.query("x", deadline_s=5)


def test_a_resource_that_fails_is_lost(gpib, instrument):
    instrument.fails_with = constants.StatusCode.error_connection_lost
    with pytest.raises(InstrumentLost):
        gpib.query("x", deadline_s=5)
    instrument.fails_with = None
    assert gpib.query("y", deadline_s=5) == "y"
