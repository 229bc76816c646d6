"""I2C through a serial bridge and through the computer's own bus."""

import errno
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.errors import (
    InstrumentError,
    InstrumentInterrupted,
    InstrumentLost,
    InstrumentRefused,
    InstrumentTimeout,
    WrongInstrument,
)
from drivers.sc18im700 import protocol
from drivers.sc18im700.simulator import BridgeSimulator
from drivers.transport import BridgeI2cTransport, LinuxI2cTransport, open_i2c
from tests.drivers.raw_port import hold_dialogue
from tests.drivers.transport.conftest import ADDRESS, BusEcho, SerialEcho


class Sensor(BusEcho):
    """Measures when asked, and is busy for so many reads."""

    def __init__(self, busy_reads=0):
        super().__init__()
        self.busy_reads = busy_reads
        self.refuses_data = False

    def write(self, data):
        return super().write(data) and not self.refuses_data

    def read(self, count):
        self.busy_reads -= 1
        return None if self.busy_reads >= 0 else super().read(count)


@pytest.fixture
def sensor():
    return Sensor()


@pytest.fixture
def simulator(sensor):
    simulator = BridgeSimulator({ADDRESS: sensor})
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def bus(simulator):
    bus = open_i2c(simulator.path)
    yield bus
    bus.close()


def test_the_bytes_on_the_serial_line_are_those_of_the_chip(simulator):
    hold_dialogue(
        simulator.path,
        [
            (b"W\x06\xf0P", b""),
            (b"S\x88\x02\x24\x00P", b""),
            (b"R\x0aP", b"\xf0"),
            (b"S\x89\x02P", b"\x24\x00"),
            (b"R\x0a\x06P", b"\xf0\xf0"),
            (b"S\x88\x01\x07S\x89\x01P", b"\x07"),
            (b"S\x8a\x01\x07P", b""),
            (b"R\x0aP", b"\xf1"),
            (b"IP", b"\x0f"),
            (b"O\x03P", b""),
            (b"IP", b"\x03"),
        ],
    )


def test_what_is_written_before_the_wait_is_read_after_it(bus):
    assert bus.exchange(ADDRESS, b"\x24\x00", 2, wait_s=0.001, deadline_s=5) == b"\x24\x00"
    assert bus.exchange(ADDRESS, b"", 1, deadline_s=5) == b"\x24"
    assert bus.exchange(ADDRESS, b"\x30", deadline_s=5) == b""


def test_an_address_where_nobody_is_is_told_at_once(bus):
    for write, count in ((b"\x01", 0), (b"\x01", 3), (b"", 3)):
        with pytest.raises(InstrumentRefused, match=r"0x45.*plugged in"):
            bus.exchange(0x45, write, count, deadline_s=30)
    assert bus.exchange(ADDRESS, b"\x01", 1, deadline_s=5) == b"\x01"


def test_a_sensor_that_still_measures_is_told_from_one_that_is_gone(bus, sensor):
    sensor.busy_reads = 2
    for _ in range(2):
        with pytest.raises(InstrumentRefused, match="0x44"):
            bus.exchange(ADDRESS, b"\x01", 1, deadline_s=5)
    assert bus.exchange(ADDRESS, b"\x01", 1, deadline_s=5) == b"\x01"


def test_data_that_are_not_acknowledged_are_told(bus, sensor):
    sensor.refuses_data = True
    with pytest.raises(InstrumentRefused, match="does not acknowledge what"):
        bus.exchange(ADDRESS, b"\x01", deadline_s=5)


def test_a_stuck_bus_is_told(bus, simulator):
    simulator.bus_is_stuck = True
    with pytest.raises(InstrumentTimeout, match="stuck"):
        bus.exchange(ADDRESS, b"\x01", 1, deadline_s=5)
    simulator.bus_is_stuck = False
    assert bus.exchange(ADDRESS, b"\x02", 1, deadline_s=5) == b"\x02"


def test_data_that_look_like_a_failure_are_data(bus):
    for mark in protocol.MARKS:
        data = bytes((protocol.NO_ADDRESS_ACKNOWLEDGE, mark, 0x01))
        assert bus.exchange(ADDRESS, data, 3, deadline_s=5) == data


def test_a_bridge_that_lost_its_power_is_asked_again(bus, simulator):
    simulator.power_cycle()
    while not bus._link.has_input():
        time.sleep(0.001)
    assert bus.exchange(ADDRESS, b"\x05", 1, deadline_s=5) == b"\x05"


@given(st.binary(min_size=1, max_size=40))
@settings(max_examples=50, deadline=None)
def test_any_bytes_go_there_and_back(data):
    bus = _shared_bus()
    assert bus.exchange(ADDRESS, data, len(data), deadline_s=5) == data


_OPEN = []


def _shared_bus():
    if not _OPEN:
        simulator = BridgeSimulator({ADDRESS: BusEcho()})
        simulator.start()
        _OPEN.extend([BridgeI2cTransport(simulator.path), simulator])
    return _OPEN[0]


def teardown_module():
    if _OPEN:
        _OPEN[0].close()
        _OPEN[1].stop()


@given(st.binary(max_size=60))
@settings(max_examples=200, deadline=None)
def test_any_bytes_at_the_bridge_leave_it_in_order(data):
    simulator = BridgeSimulator({ADDRESS: BusEcho()})
    said = []
    simulator._end.send = said.append  # type: ignore[method-assign]
    simulator.receive(data)
    simulator._unread.clear()
    said.clear()
    simulator.receive(b"R\x06P")
    assert len(b"".join(said)) == 1


def test_something_else_at_the_port_is_refused(monkeypatch):
    monkeypatch.setattr("drivers.transport.i2c_bridge.OPEN_WITHIN_S", 0.3)
    echo = SerialEcho()
    echo.end.start()
    with pytest.raises(WrongInstrument, match="no I2C bridge"):
        BridgeI2cTransport(echo.end.path)
    echo.end.stop()


def test_a_port_that_is_not_there_is_lost():
    with pytest.raises(InstrumentLost):
        open_i2c("/dev/no-such-port")


@pytest.mark.parametrize(
    ("address", "write", "count", "wait_s"),
    [
        (0x07, b"x", 0, 0),
        (0x78, b"x", 0, 0),
        (0x44, b"", 0, 0),
        (0x44, b"", -1, 0),
        (0x44, b"x", 256, 0),
        (0x44, b"x" * 256, 0, 0),
        (0x44, b"x", 1, -1),
        (0x44, b"x", 1, float("nan")),
    ],
)
def test_what_no_bus_can_do_is_refused(bus, address, write, count, wait_s):
    with pytest.raises(ValueError, match=r"address|at most|nothing|wait"):
        bus.exchange(address, write, count, wait_s=wait_s, deadline_s=5)


def test_a_conversion_that_is_waited_for_is_broken_off(bus):
    outcome = []

    def measure():
        try:
            bus.exchange(ADDRESS, b"\x01", 1, wait_s=20, deadline_s=30)
        except InstrumentError as error:
            outcome.append(error)

    thread = threading.Thread(target=measure)
    thread.start()
    while not bus.interrupt():
        pass
    thread.join(5)
    assert isinstance(outcome[0], InstrumentInterrupted)
    assert bus.exchange(ADDRESS, b"\x02", 1, deadline_s=5) == b"\x02"


class FakeBus:
    """Takes the kernel's messages; ``fails`` are the errors of the next transfers."""

    def __init__(self, path):
        if path != "/dev/i2c-1":
            raise FileNotFoundError(errno.ENOENT, "No such file or directory", path)
        self.transfers = []
        self.fails = []
        self.is_closed = False

    def i2c_rdwr(self, *messages):
        if self.fails:
            raise OSError(self.fails.pop(0), "it failed")
        self.transfers.append([(m.addr, m.flags & 1, m.len) for m in messages])
        for message in messages:
            if message.flags & 1:
                for k in range(message.len):
                    message.buf[k] = bytes((k + 1,))

    def close(self):
        self.is_closed = True


@pytest.fixture
def linux():
    bus = LinuxI2cTransport("/dev/i2c-1", open_bus=FakeBus)
    yield bus
    bus.close()


def test_without_a_wait_the_kernel_writes_and_reads_in_one_transfer(linux):
    assert linux.exchange(0x44, b"\x24\x00", 3, deadline_s=1) == b"\x01\x02\x03"
    assert linux.exchange(0x44, b"\x24\x00", 3, wait_s=0.001, deadline_s=1) == b"\x01\x02\x03"
    assert linux.exchange(0x44, b"\x24\x00", deadline_s=1) == b""
    assert linux._bus.transfers == [
        [(0x44, 0, 2), (0x44, 1, 3)],
        [(0x44, 0, 2)],
        [(0x44, 1, 3)],
        [(0x44, 0, 2)],
    ]


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (errno.ENXIO, InstrumentRefused),
        (errno.EREMOTEIO, InstrumentRefused),
        (errno.ETIMEDOUT, InstrumentTimeout),
        (errno.ENODEV, InstrumentLost),
    ],
)
def test_what_the_kernel_says_becomes_an_error_and_the_next_transfer_works(linux, number, error):
    linux._bus.fails.append(number)
    with pytest.raises(error):
        linux.exchange(0x44, b"\x01", 1, deadline_s=1)
    assert linux.exchange(0x44, b"\x01", 1, deadline_s=1) == b"\x01"


def test_a_bus_of_the_computer_that_is_not_there_is_lost():
    with pytest.raises(InstrumentLost, match="enabled"):
        open_i2c("/dev/i2c-99")
