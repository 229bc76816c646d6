import socket
import threading

import pytest

from drivers.keithley import Keithley2450Simulator, protocol
from drivers.transport import VisaTransport


@pytest.fixture
def line(simulator):
    transport = VisaTransport(simulator.address)
    yield lambda text: transport.query(text, deadline_s=5)
    transport.close()


@pytest.fixture
def write(simulator):
    transport = VisaTransport(simulator.address)
    yield lambda text: transport.query(text + ";*OPC?", deadline_s=5)
    transport.close()


@pytest.mark.parametrize("header", [":SOUR:VOLT", "sour:volt", ":SOURce1:VOLTage:LEVel:IMM:AMPL"])
def test_headers_are_understood_in_long_and_short_form(line, write, header):
    write(f"{header} 12.5")
    assert float(line(":SOURCE:VOLTAGE?")) == 12.5


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (":SOURC:VOLT 1", -113),
        (":SENS:CURR:PROT 1e-4", -113),
        (":SOUR:VOLT", -109),
        (":SOUR:VOLT abc", -104),
        (":SOUR:VOLT 211", -222),
        (":SOUR:VOLT:PROT PROT30", -224),
        (":OUTP MAYBE", -224),
    ],
)
def test_a_bad_command_queues_its_error_and_changes_nothing(line, command, code):
    before = line(":SOUR:VOLT?")
    line(f"*OPC?;{command}")
    error = protocol.parse_error(line(":SYST:ERR?"), port="", sent="")
    assert error.code == code
    assert line(":SYST:ERR?") == '0,"No error;0;0 0"'
    assert line(":SOUR:VOLT?") == before


def test_the_error_queue_overflows_with_its_own_error(line):
    for _ in range(protocol.ERROR_QUEUE_LENGTH + 5):
        line("*OPC?;:NONSENSE")
    assert int(line(":SYST:ERR:COUN?")) == protocol.ERROR_QUEUE_LENGTH
    codes = [
        protocol.parse_error(line(":SYST:ERR?"), port="", sent="").code
        for _ in range(protocol.ERROR_QUEUE_LENGTH)
    ]
    assert codes[0] == -113
    assert codes[-1] == -350


def test_the_voltage_sags_to_where_the_load_draws_the_limit(world, line, write, simulator):
    world.load = lambda v: 1e-6 * v**2
    for command in (":SOUR:VOLT:ILIM 1e-4", ":SOUR:VOLT 30", ":OUTP ON"):
        write(command)
    voltage_v, current_a, status = map(float, line(protocol.MEASURE).split(","))
    assert voltage_v == pytest.approx(10, abs=0.01)
    assert current_a == pytest.approx(1e-4, rel=1e-3)
    assert int(status) & protocol.STATUS_LIMITED
    assert line(":SOUR:VOLT:ILIM:TRIP?") == "1"
    assert simulator.true_voltage_v() == pytest.approx(10, abs=1e-6)


def test_the_overvoltage_protection_holds_the_output_down(line, write, simulator):
    for command in (":SOUR:VOLT:ILIM 1e-3", ":SOUR:VOLT:PROT PROT20", ":SOUR:VOLT 35", ":OUTP ON"):
        write(command)
    status = int(line(protocol.MEASURE).split(",")[2])
    assert status & protocol.STATUS_PROTECTION
    assert line(":SOUR:VOLT:PROT:TRIP?") == "1"
    assert simulator.true_voltage_v() == pytest.approx(20, abs=1e-6)


def test_the_interlock_drops_a_high_output_and_spares_a_low_one(line, write, world, simulator):
    for command in (":SOUR:VOLT:ILIM 1e-3", ":SOUR:VOLT 30", ":OUTP ON"):
        write(command)
    world.interlock_closed = False
    assert line(":OUTP:INT:TRIP?") == "0"
    assert line(":OUTP?") == "1"
    line("*OPC?;:SOUR:VOLT 45")
    assert line(":SYST:ERR?").startswith("-221,")
    world.interlock_closed = True
    write(":SOUR:VOLT 45")
    world.interlock_closed = False
    assert not simulator.output_is_on()
    assert line(":OUTP?") == "0"


def test_equal_seeds_make_equal_noise():
    def readings(seed):
        simulator = Keithley2450Simulator(lambda v: 1e-9, seed=seed)
        return [simulator.answer(b":SENS:CURR:NPLC 0.01;:READ?") for _ in range(5)]

    assert readings(3) == readings(3)
    assert readings(3) != readings(4)


def test_state_outlives_a_client_that_dies_and_the_next_one_is_served_at_once(simulator):
    _, host, port, _ = simulator.address.split("::")
    dead = socket.create_connection((host, int(port)))
    dead.sendall(b":SOUR:VOLT 7;:OUTP ON\n:SOUR:VOL")
    dead.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    dead.close()
    transport = VisaTransport(simulator.address)
    assert float(transport.query(":SOUR:VOLT?", deadline_s=1)) == 7
    assert transport.query(":OUTP?", deadline_s=1) == "1"
    transport.close()


def test_a_client_that_hangs_does_not_block_another(simulator):
    _, host, port, _ = simulator.address.split("::")
    with socket.create_connection((host, int(port))):
        transport = VisaTransport(simulator.address)
        assert transport.query("*LANG?", deadline_s=1) == "SCPI"
        transport.close()


def test_it_stops_with_clients_connected_and_leaves_no_thread_behind():
    before = set(threading.enumerate())
    simulator = Keithley2450Simulator(lambda v: 0.0)
    simulator.start()
    transport = VisaTransport(simulator.address)
    simulator.stop()
    assert set(threading.enumerate()) <= before
    simulator.start()
    assert simulator.address == transport.port
    simulator.stop()
    transport.close()
