import pytest

from drivers.keithley6517 import Keithley6517Simulator

from ..hand_clock import HandClock


@pytest.fixture
def clock():
    return HandClock()


@pytest.fixture
def ask(clock):
    simulator = Keithley6517Simulator(
        lambda v: 1e-6 * v, clock=clock, noise_a=0, relative_noise=0, offset_a=1e-9
    )

    def ask(line):
        reply = simulator.answer(line.encode())
        return None if reply is None else reply.decode().removesuffix("\n")

    ask.simulator = simulator
    return ask


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (":NONSENSE", "-113"),
        (":SOUR:VOLT 101", "-222"),
        (":SOUR:VOLT:RANG 1001", "-222"),
        (":SYST:ZCH MAYBE", "-224"),
    ],
)
def test_a_bad_command_queues_its_error_and_says_nothing(ask, command, code):
    assert ask(command) is None
    assert ask(":SYST:ERR?").split(",")[0] == code
    assert ask(":SYST:ERR?") == '0,"No error"'


def test_the_voltage_limit_holds_the_output_down(ask, clock):
    ask(":SOUR:VOLT:LIM 30;:SOUR:VOLT:LIM:STAT ON;:SOUR:VOLT 45;:OUTP ON")
    clock.sleep(1)
    assert ask.simulator.true_voltage_v() == pytest.approx(30)


def test_the_resistor_takes_its_part_of_the_voltage(ask, clock):
    ask(":SOUR:VOLT:MCON ON;:FORM:ELEM READ;:SYST:ZCH OFF;:SYST:ZCOR ON;:SOUR:VOLT 10;:OUTP ON")
    assert float(ask(":READ?")) == pytest.approx(1e-5)
    ask(":SOUR:CURR:RLIM:STAT ON")
    assert float(ask(":READ?")) == pytest.approx(5e-6)
    assert ask.simulator.true_load_v() == pytest.approx(5)


def test_zero_check_marks_a_reading_and_zero_correct_takes_the_offset_off(ask):
    ask(":SOUR:VOLT:MCON ON")
    assert ask(":READ?").startswith("+1.000000E-09ZADC")
    ask(":SYST:ZCH OFF;:FORM:ELEM READ")
    assert float(ask(":READ?")) == pytest.approx(1e-9)
    ask(":SYST:ZCOR ON")
    assert float(ask(":READ?")) == 0


def test_the_current_of_the_range_folds_the_voltage_back(clock):
    simulator = Keithley6517Simulator(lambda v: 1e-3 * v, clock=clock)
    simulator.answer(b":SOUR:VOLT 50;:OUTP ON")
    clock.sleep(1)
    assert simulator.true_voltage_v() == pytest.approx(10)
    assert simulator.answer(b":SOUR:CURR:LIM:STAT?") == b"1\n"
